"""A model that was stripped becomes the same again: do verdicts of one completed by `idgen model add` agree?

    python benchmarks/complete.py --faces FACES [--people 500] [--images 3] [--sampled 40] [--steps 4]

Takes judge, sampler and calibrations out of a copy of nobody-128, adds them again by some people of `FACES/val`, and
lets both judge the same pictures: of people that the original samples, and of strangers instead of them. Shares of
verdicts come with 95 % intervals, by drawing people again; they agree where either share lies in the other's interval.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import options, timed, use_cores
from numpy.typing import NDArray

from idgen.convert.complete import add
from idgen.evaluation.completing import NEAREST
from idgen.ground.hub import BUILTIN
from idgen.model import Model, load_model
from idgen.similarity import with_own_pictures

FMR = 1e-2


def strip(source: Path, out: Path) -> Path:
    """A copy of a model's folder as converters leave one: a pipeline, and an encoder that nobody has measured."""
    shutil.copytree(source, out)
    for part in ("judge", "sampler"):
        shutil.rmtree(out / part)
    (out / "encoder" / "calibration.json").unlink()
    return out


def some_people(faces: Path, people: int, out: Path) -> Path:
    """The first people of a set, as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.concat_tables([pq.read_table(file, columns=["image", "identity"]) for file in sorted(faces.iterdir())])
    chosen = table["identity"].unique()[:people]
    pq.write_table(table.filter(pa.compute.is_in(table["identity"], chosen)), out)
    return out


def verdicts(model: Model, crowd: Any, pictures: list[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) whether the judge takes each picture for the person of this row."""
    people = with_own_pictures(model, crowd, FMR, progress=False)
    scores = model.scorer_at(FMR).score(pictures, [people[row] for row in rows.tolist()])
    return np.array([np.nan if one.match is None else one.match for one in scores], np.float64)


def interval(matches: NDArray[np.float64], who: NDArray[Any]) -> tuple[float, float, float]:
    """The share of matches, and its 95 % interval, by drawing people again."""
    each = np.array([matches[who == person].mean() for person in np.unique(who)])
    rng = np.random.default_rng(0)
    drawn = each[rng.integers(0, len(each), (2000, len(each)))].mean(1)
    return float(each.mean()), *np.quantile(drawn, (0.025, 0.975)).tolist()


def agree(original: Model, completed: Model, sampled: int, images: int, steps: int | None = None) -> dict[str, Any]:
    """What both judge of the same pictures: of the people they were made for, and of the next ones."""
    crowd = original.sampler.sample(sampled, 0)
    made = list(original.pipeline.iterate(crowd, images, seed=1, num_inference_steps=steps))
    pictures, who = [item.image for item in made], np.array([item.identity for item in made])
    out: dict[str, Any] = {}
    for name, rows in (("own", who), ("stranger", (who + 1) % sampled)):
        shares = {
            part: interval(verdicts(model, crowd, pictures, rows), who)
            for part, model in (("original", original), ("completed", completed))
        }
        (a, a_low, a_high), (b, b_low, b_high) = shares.values()
        out[name] = {**shares, "agree": bool(a_low <= b <= a_high and b_low <= a <= b_high)}
    return out


if __name__ == "__main__":
    args = options(__doc__, faces=Path, people=500, images=3, sampled=40, steps=4, threads=2)
    use_cores(args.threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bare = strip(BUILTIN / "nobody-128", folder / "stripped")
        people = some_people(args.faces / "val", args.people, folder / "people.parquet")
        judge = str(BUILTIN / "nobody-128" / "judge")
        seconds, lines = timed(
            add, bare, judge, people, aligned=True, domain="rendered", images=args.images, steps=args.steps
        )
        print(*lines, sep="\n")
        completed = load_model(bare, "cpu")
        found = agree(load_model("nobody-128", "cpu"), completed, args.sampled, args.images, args.steps)
        nearest = json.loads((bare / NEAREST).read_text())
    figures = {"seconds_to_add": round(seconds), "fmr": FMR, **found, "sampler": nearest["method"]}
    print(json.dumps(figures))
    for name, one in found.items():
        print(f"{name}: {'they agree' if one['agree'] else 'they differ'}")
