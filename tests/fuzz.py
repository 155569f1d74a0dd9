"""Mutated files and values against the functions behind the app, in a process of their own that may crash.

`python tests/fuzz.py MODEL N SEED` prints what became of N of them as JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mutate

WARM = 300  # calls before memory counts: until everything was used
HANG = 60  # seconds that nothing may take, not even beside busy neighbours


def cases(model: Any, folder: Path) -> list[tuple[str, float, Callable[[random.Random], object]]]:
    """What is called, how often in comparison, and the call with something mutated."""
    from PIL import Image

    from idgen.ground import provenance
    from idgen.ground.identity import Identities
    from idgen.ground.images import UPLOADS, open_image
    from idgen.ground.vectors import load_vectors
    from space import actions, people

    face = Image.effect_mandelbrot((96, 96), (-2, -1.5, 1, 1.5), 60).convert("RGB")
    photos = mutate.pictures(face)
    marked = [provenance.encode(face, {"model": "m", "seed": 1}, kind) for kind in provenance.MIME]
    vectors = mutate.vectors(model.encoder.space, model.encoder.dim)
    who = actions.sample(model, 1)[0]
    settings = {"images": 1, "steps": 1, "variation": 0.0, "guidance": None, "seed": 0}
    seals = people.Seals()

    def written(data: bytes, name: str) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    photo, vector = partial(mutate.picture, files=photos), partial(mutate.vector_file, files=vectors)

    def generate(chance: random.Random) -> object:
        wrong = {**settings, chance.choice(list(settings)): mutate.value(chance)}
        return deque(actions.generate(model, who, actions.Recipe.of(model, **wrong)))

    def identity(chance: random.Random) -> object:
        """What a program hands back."""
        content = seals.describe(who)
        content[chance.choice(list(content))] = mutate.value(chance)
        return seals.open(content, model, True)

    return [
        ("photo", 6, lambda chance: open_image(photo(chance), formats=UPLOADS)),
        ("any picture", 2, lambda chance: open_image(photo(chance), 1 << 20)),
        ("identify", 4, lambda chance: actions.identify(model, [photo(chance)], True)),
        ("consent", 1, lambda chance: actions.identify(model, [photos[0]], mutate.value(chance))),
        ("compare", 2, lambda chance: actions.compare(model, photos[0], photo(chance), True)),
        ("vector", 3, lambda chance: people.read_vector(vector(chance), model, model.encoder.space)),
        ("identity", 2, identity),
        ("sample", 2, lambda chance: actions.sample(model, mutate.value(chance))),
        ("generate", 2, generate),
        ("identities", 3, lambda chance: Identities.load(written(vector(chance), "x.safetensors"))),
        ("vectors", 2, lambda chance: load_vectors(written(vector(chance), "x.npy"))),
        ("provenance", 2, lambda chance: provenance.report(written(mutate.picture(chance, marked), "x.png"))),
    ]


def run(model_folder: str, count: int, seed: int) -> dict[str, Any]:
    """Make `count` calls; says how they ended, the slowest, and memory before and after."""
    import idgen.model
    from idgen.ground.errors import InputError

    if "IDGEN_FUZZ" not in os.environ:  # dlib looks at every photograph where it is there: in the long run only
        idgen.model.for_photographs = lambda: None
    model = idgen.model.load_model(model_folder)
    ends: Counter[str] = Counter()
    wrong: list[str] = []
    slowest, before = (0.0, ""), 0
    with tempfile.TemporaryDirectory(prefix="idgen-fuzz-") as folder:
        os.chdir(folder)
        table = cases(model, Path(folder))
        for number in range(-WARM, count):
            if number == 0:
                give_back()
                before = memory()
                ends.clear()
            chance = random.Random(f"{seed} {number}")
            name, _, call = chance.choices(table, [often for _, often, _ in table])[0]
            signal.alarm(HANG)
            began = time.monotonic()
            try:
                call(chance)
                ends["answered"] += 1
            except InputError as error:
                ends["refused"] += 1
                if not str(error).endswith((".", "?", "!")) or "Traceback" in str(error) or len(str(error)) > 1000:
                    wrong.append(f"{number} {name}: no sentence: {str(error)[:200]}")
            except Exception as error:
                wrong.append(f"{number} {name}: {type(error).__name__}: {str(error)[:200]}")
            signal.alarm(0)
            slowest = max(slowest, (time.monotonic() - began, f"{number} {name}"))
        unpickled = Path("unpickled-by-the-app").exists()
        give_back()
        os.chdir("/")
    return {**ends, "wrong": wrong, "slowest": slowest, "unpickled": unpickled, "before": before, "after": memory()}


def give_back() -> None:
    """Give memory that is free back to the system."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


def memory(pid: int | str = "self") -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    faulthandler.enable()
    faulthandler.register(signal.SIGALRM, chain=True)  # a hang ends the process, and says where it was
    sys.path.insert(0, str(Path(__file__).parents[1]))
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
