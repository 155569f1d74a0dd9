"""What the dataset factory costs over bare generation, and what a second worker brings; ratios within one run.

python benchmarks/dataset.py                  # overhead of 2,000 people × 10, on a slice
python benchmarks/dataset.py --workers 2      # the same slice by one worker and by two
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from idgen.dataset.drawing import make_plan
from idgen.dataset.plan import Plan
from idgen.dataset.run import run
from idgen.dataset.shard import ShardMaker, one_thread


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
            began = time.perf_counter()
            made = maker.make(number)
            factory += time.perf_counter() - began
            pictures, tries = pictures + made["pictures"], tries + made["tries"]
            began = time.perf_counter()
            list(pipeline.iterate(planned.people.take(plan.rows(number)), plan.images, seed=plan.seed))
            bare += time.perf_counter() - began
    return {
        "pictures": pictures,
        "pictures_made": tries,
        "seconds_factory": round(factory, 1),
        "seconds_bare": round(bare, 1),
        "overhead_a_picture_made": round((factory / tries) / (bare / (rounds * people * plan.images)) - 1, 4),
    }


def workers(most: int, people: int) -> dict[str, float]:
    """The same plan by one worker and by several, model loading and all."""
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, most):
            out = Path(folder) / str(count)
            make_plan(Plan(people=people, images=10, seed=7, shard=max(1, people // (4 * most))), out)
            began = time.perf_counter()
            run(out, count)
            seconds[count] = time.perf_counter() - began
        same = all(
            path.read_bytes() == (Path(folder) / str(most) / "data" / path.name).read_bytes()
            for path in (Path(folder) / "1" / "data").iterdir()
        )
    return {
        "workers": most,
        "seconds_one": round(seconds[1], 1),
        "seconds_all": round(seconds[most], 1),
        "faster": round(seconds[1] / seconds[most], 2),
        "same_bytes": same,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=0, help="measure so many workers against one, instead")
    parser.add_argument("--people", type=int, default=4, help="people a shard (overhead) or in all (workers)")
    parser.add_argument("--rounds", type=int, default=4, help="shards (overhead)")
    args = parser.parse_args()
    print(json.dumps(workers(args.workers, args.people) if args.workers else overhead(args.people, args.rounds)))


if __name__ == "__main__":
    main()
