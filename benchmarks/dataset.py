"""What the dataset factory costs over bare generation, and what a second worker brings; ratios within one run.

python benchmarks/dataset.py                  # overhead of 2,000 people × 10, on a slice of --rounds shards
python benchmarks/dataset.py --workers 2      # a plan of --people by one worker and by two
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from common import options, timed

from idgen.dataset.drawing import make_plan
from idgen.dataset.plan import Plan
from idgen.dataset.run import run
from idgen.dataset.shard import ShardMaker
from idgen.ground.devices import one_thread


def overhead(people: int, rounds: int) -> dict[str, float]:
    """A slice of a plan by the factory (filters, scores, PNG, Parquet) against the pipeline's `iterate` alone."""
    with tempfile.TemporaryDirectory() as folder, one_thread():
        plan = Plan(people=2000, images=10, seed=7, shard=people)
        planned = make_plan(plan, folder)
        maker = ShardMaker(planned)
        pipeline = maker.model.pipeline
        list(pipeline.iterate(planned.people[0], 1))  # warm
        factory = bare = 0.0
        pictures = tries = 0
        for number in range(rounds):
            took, made = timed(maker.make, number)
            factory, pictures, tries = factory + took, pictures + made["pictures"], tries + made["tries"]
            painted = pipeline.iterate(planned.people.take(plan.rows(number)), plan.images, seed=plan.seed)
            bare += timed(list, painted)[0]
    more = (factory / tries) / (bare / (rounds * people * plan.images)) - 1
    seconds = {"seconds_factory": round(factory, 1), "seconds_bare": round(bare, 1)}
    return {"pictures": pictures, "pictures_made": tries, **seconds, "overhead_a_picture_made": round(more, 4)}


def workers(most: int, people: int) -> dict[str, float]:
    """The same plan by one worker and by several, model loading and all."""
    seconds, shards = [], []
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, most):
            out = Path(folder) / str(count)
            make_plan(Plan(people=people, images=10, seed=7, shard=max(1, people // (4 * most))), out)
            seconds.append(timed(run, out, count, progress=False)[0])
            shards.append({path.name: path.read_bytes() for path in (out / "data").iterdir()})
    one, several = seconds
    out = {"workers": most, "seconds_one": round(one, 1), "seconds_all": round(several, 1)}
    return out | {"faster": round(one / several, 2), "same_bytes": shards[0] == shards[1]}


if __name__ == "__main__":
    args = options(__doc__, workers=0, people=4, rounds=4)
    print(json.dumps(workers(args.workers, args.people) if args.workers else overhead(args.people, args.rounds)))
