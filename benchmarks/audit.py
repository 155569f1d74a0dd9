"""What the audit says of the built-in model, and what a large set costs.

    python benchmarks/audit.py --faces FACES --out audits [--people 500] [--images 8] [--paint 100]
    python benchmarks/audit.py [--people 10000] [--images 10] [--dim 512] [--threads 2]

With FACES (train/ and val/), `people` × `images` pictures by nobody-128 are made and audited against val, and val is
audited itself, by the judge and the encoder; printed are all findings and the figures of the card. Without it, a set of
vectors and thumbnails is made up and everything after embedding is timed, and extrapolated to a million pictures: see
`growth`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch
from common import options, peak_gb, use_cores

from idgen import generate, load_model
from idgen.auditing import groups, search
from idgen.auditing.audit import SECTIONS, Audit, audit
from idgen.auditing.labels import Label
from idgen.auditing.looking import Looked, Seen
from idgen.auditing.section import Audited
from idgen.sets import Source

AFTER_EMBEDDING = ("groups", "quality", "attributes", "capacity", "lookalikes", "search")
MILLION = 1_000_000


def growth(section: str, pictures: int, images: int) -> float:
    """How many times as long a section takes for a million pictures: what compares all with all grows with the square
    up to the number that is compared at most, the rest in proportion."""
    people = pictures // images
    square = {
        "groups": (min(MILLION, groups.MOST_COMPARED) / min(pictures, groups.MOST_COMPARED)) ** 2,
        "lookalikes": (MILLION / pictures) ** 2,
        "search": (search.MOST_PEOPLE / min(people, search.MOST_PEOPLE)) ** 2,
    }
    return square.get(section, MILLION / pictures)


def of_the_model(faces: Path, out: Path, people: int, images: int, paint: int) -> dict[str, Audit]:
    """Both audits."""
    model = load_model("nobody-128")
    made = generate(model.sampler.sample(people, 0), out / "pictures", images, model=model)
    sets = {"nobody-128": (made, faces / "val", paint), "val": (faces / "val", faces / "train", 0)}
    return {
        name: audit(source, out / name, model=model, against=against, domain="rendered", paint=some)
        for name, (source, against, some) in sets.items()
    }


def made_up(people: int, images: int, dim: int) -> Audited:
    """A set as it is after embedding: two recognisers, a measure of quality, thumbnails, labels."""
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    who = np.repeat(np.arange(people), images)
    seen = []
    for number in range(2):
        vectors = np.empty((len(who), dim), np.float32)
        for start in range(0, people, 1000):  # so that making it up takes no more memory than it does
            some = min(1000, people - start)
            each = torch.randn(some, 1, dim, generator=generator) + 1.1 * torch.randn(
                some, images, dim, generator=generator
            )
            each = torch.nn.functional.normalize(each.flatten(0, 1))
            vectors[start * images : (start + some) * images] = each.numpy()
        quality = {"norm": rng.random(len(who)).astype(np.float32)}
        seen.append(Seen(f"recogniser {number}", f"space {number}", vectors, quality=quality))
    grey = rng.integers(0, 256, (people, 64), np.uint8)
    coarse = np.clip(grey[who].astype(np.int16) + rng.integers(-60, 60, (len(who), 64)), 0, 255).astype(np.uint8)
    thumbnails = np.empty((len(who), 1024), np.uint8)
    for start in range(0, len(who), 10_000):
        part = coarse[start : start + 10_000].reshape(-1, 8, 8)
        thumbnails[start : start + len(part)] = part.repeat(4, 1).repeat(4, 2).reshape(len(part), 1024)
    names = np.char.add("p", who.astype(str))
    source = Source("made up", names, names, domain="rendered")
    labels = {f"{name}.set": Label(name, "set", rng.choice(["a", "b", "c"], people)[who]) for name in ("one", "two")}
    return Audited(Looked(source, seen, thumbnails), None, labels, {}, None, 1e-3)


if __name__ == "__main__":
    args = options(__doc__, faces=None, out="audits", people=500, images=8, paint=100, dim=512, threads=2)
    if args.faces:
        for name, found in of_the_model(Path(args.faces), Path(args.out), args.people, args.images, args.paint).items():
            print(json.dumps({"set": name, "about": found.about, "findings": found.summary}, indent=1))
    else:
        use_cores(args.threads)
        what = made_up(args.people, args.images, args.dim)
        size, hours = args.people * args.images, 0.0
        for key in AFTER_EMBEDDING:
            since, worked = time.perf_counter(), time.process_time()
            SECTIONS[key](what)
            took = {"seconds": time.perf_counter() - since, "of_processor_time": time.process_time() - worked}
            hours += took["seconds"] * growth(key, size, args.images) / 3600
            took |= {"peak_gb": peak_gb()}
            found = {"section": key, "pictures": size, **{name: round(value, 2) for name, value in took.items()}}
            print(json.dumps(found), flush=True)
        print(json.dumps({"a million pictures, hours, extrapolated": round(hours, 2), "threads": args.threads}))
