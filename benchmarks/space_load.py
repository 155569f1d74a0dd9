"""Many visitors at once: does each get what it would get alone, after how long, and in how much memory?

    python benchmarks/space_load.py [--visitors 32] [--requests 2] [--model nobody-128] [--images 4] [--steps 15]

Every visitor is a `gradio_client` in a thread of its own with settings of its own: people, seeds, numbers of pictures,
steps, variations, guidance, and photos among them, read and compared. First each request is made alone, one after
another, then all visitors make theirs at once; pixels, vectors and scores must be the same. Latency is what a visitor
waits, in the queue included.
"""

from __future__ import annotations

import hashlib
import json
import random
import statistics
import tempfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common import options, timed
from gradio_client import Client, handle_file
from PIL import Image
from served import Served, serve

SIDES = ("photo", "first", "second")


def plan(visitor: int, number: int, images: int, steps: int) -> dict[str, Any]:
    """What visitor `visitor` asks for in its request `number`: an endpoint and its arguments."""
    chance = random.Random(f"{visitor} {number}")
    if chance.random() < 0.2:
        return {"api_name": "/sample", "seed": chance.randrange(1000)}
    if chance.random() < 0.2:
        return {"api_name": "/identify", "photo": chance.randrange(1000), "consent": True}
    if chance.random() < 0.1:
        first, second = chance.randrange(1000), chance.randrange(1000)
        return {"api_name": "/compare", "first": first, "second": second, "consent": True}
    asked = {"images": chance.randint(1, images), "steps": chance.randint(1, steps)}
    asked |= {"variation": chance.choice((0.0, 0.0, 0.3)), "guidance": chance.choice((None, 1.0, 2.0))}
    return {"api_name": "/generate", **asked, "seed": chance.randrange(1000), "person": chance.randrange(1000)}


def ask(client: Client, wanted: dict[str, Any], face: Image.Image) -> tuple[float, str]:
    """Seconds until the answer, and all of it as text: numbers, and pictures by their pixels.

    Args:
        client: who asks.
        wanted: by `plan`.
        face: what photos are made of: the number of a photo says where in it the face is.
    """
    arguments = dict(wanted)
    with tempfile.TemporaryDirectory(prefix="idgen-load-") as folder:
        for name in arguments.keys() & SIDES:
            photo = Image.new("RGB", (480, 360), (176, 182, 190))
            photo.paste(face.resize((224, 224), Image.Resampling.BICUBIC), (arguments[name] % 250, 60))
            photo.save(Path(folder) / f"{name}.png")
            arguments[name] = handle_file(str(Path(folder) / f"{name}.png"))
        return timed(_answer, client, arguments)


def _answer(client: Client, arguments: dict[str, Any]) -> str:
    try:
        return _text(client.predict(**arguments))
    except Exception as error:  # no face in a photo, for example
        return f"refused: {error}"


def _text(answer: Any) -> str:
    if isinstance(answer, dict):  # the seal of an identity is of its process
        return json.dumps({key: _text(value) for key, value in sorted(answer.items()) if key != "seal"})
    if isinstance(answer, list | tuple):
        return json.dumps([_text(one) for one in answer])
    kind = Path(answer).suffix if isinstance(answer, str) and Path(answer).is_absolute() else ""
    if kind == ".zip":
        with zipfile.ZipFile(answer) as archive:
            return json.dumps([[one.filename, one.CRC] for one in archive.infolist()])
    if kind == ".png":
        with Image.open(answer) as image:
            return f"{image.size} {hashlib.sha256(image.convert('RGB').tobytes()).hexdigest()}"
    return json.dumps(answer)


def measure(app: Served, visitors: int, requests: int, images: int, steps: int, folder: Path) -> dict[str, Any]:
    """Alone, then all at once.

    Returns:
        `different`: what was not the same as alone (nothing, or there is a fault); `refused`: how many got a sentence;
        seconds alone and together (median, 95th percentile, the slowest); `pictures_per_second` of all together; memory
        in bytes before, and after both.
    """
    plans = [[plan(visitor, number, images, steps) for number in range(requests)] for visitor in range(visitors)]
    how = {"verbose": False, "download_files": str(folder), "httpx_kwargs": {"timeout": 3600}}  # patient
    clients = [Client(app.address, **how) for _ in range(visitors)]
    (first,) = clients[0].predict(images=1, person=3, seed=2, api_name="/generate")[1]
    face = Image.open(first).convert("RGB")
    before = app.memory()
    alone = [[ask(clients[0], one, face) for one in own] for own in plans]
    between = app.memory()
    ready = threading.Barrier(visitors)

    def visit(visitor: int) -> list[tuple[float, str]]:
        ready.wait()
        return [ask(clients[visitor], one, face) for one in plans[visitor]]

    with ThreadPoolExecutor(visitors) as pool:
        took, together = timed(list, pool.map(visit, range(visitors)))
    pairs = [(a, b, one) for own in zip(alone, together, plans, strict=True) for a, b, one in zip(*own, strict=True)]
    return {
        "visitors": visitors,
        "requests": len(pairs),
        "different": [one for a, b, one in pairs if a[1] != b[1]],
        "refused": sum(b[1].startswith("refused") for _, b, _ in pairs),
        "seconds_alone": _spread([a[0] for a, _, _ in pairs]),
        "seconds_together": _spread([b[0] for _, b, _ in pairs]),
        "pictures_per_second": round(sum(one.get("images", 0) for _, _, one in pairs) / took, 2),
        "memory": {"before": before, "after_alone": between, "after_together": app.memory()},
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    p95 = statistics.quantiles(ordered, n=20, method="inclusive")[18]
    return {name: round(x, 2) for name, x in (("p50", statistics.median(ordered)), ("p95", p95), ("max", ordered[-1]))}


if __name__ == "__main__":
    args = options(__doc__, visitors=32, requests=2, model="nobody-128", images=4, steps=15)
    with (
        tempfile.TemporaryDirectory(prefix="idgen-load-") as scratch,
        serve(args.model, Path(scratch) / "app", {"IDGEN_QUEUE_LENGTH": "1000"}) as app,
    ):
        said = measure(app, args.visitors, args.requests, args.images, args.steps, Path(scratch))
    print(json.dumps(said, indent=1))
