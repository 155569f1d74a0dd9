"""Do the audit's 95 % intervals hold 95 times in 100? `python benchmarks/intervals.py [--people 100,500]`

Sets of people are drawn again and again from a population whose rates are known, with people who are hard to recognise
(goats), people whom others are taken for (lambs) and pictures that are bad: comparisons that share a person are not
independent. Printed is how often each interval holds the population's value, or lies above or
below it, or is absent.
"""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
from common import options

from idgen.ground.arguments import FMR
from idgen.scoring import intervals, verification


class Population:
    """People: a direction of their own, a shared one that lambs lie near, and noise that goats have more of."""

    def __init__(self, dim: int = 24, seed: int = 0):
        self.dim, self.shared = dim, np.eye(dim)[0]

    def draw(self, people: int, pictures: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(people · pictures, dim) vectors, and who is on each."""
        centres = (
            rng.standard_normal((people, self.dim)) / self.dim**0.5
            + 0.15 * rng.exponential(1, (people, 1)) * self.shared
        )
        noise = rng.lognormal(-0.7, 0.25, (people, 1, 1)) * rng.lognormal(0, 0.15, (people, pictures, 1))
        each = centres[:, None] + noise * rng.standard_normal((people, pictures, self.dim)) / self.dim**0.5
        return each.reshape(-1, self.dim), np.repeat(np.arange(people), pictures)


def truths(population: Population) -> dict[str, float]:
    """The figures of the population, and the threshold that the rates are taken at: of pairs that share nobody, so that
    the truth is surer, by far, than the intervals that are held against it."""
    rng, parts = np.random.default_rng(99), []
    for _ in range(100):
        vectors, _ = population.draw(20_000, 2, rng)
        one, other = verification.unit(vectors.astype(np.float32)).reshape(-1, 2, population.dim).swapaxes(0, 1)
        others = [(one * np.roll(other, step, 0)).sum(1) for step in range(1, 11)]
        parts.append(((one * other).sum(1), np.concatenate(others)))
    genuine, impostor = (np.sort(np.concatenate(scores)) for scores in zip(*parts, strict=True))
    threshold = verification.threshold_at_fmr(impostor, FMR)
    return {
        "eer": verification.eer(genuine, impostor),
        "tar": 1 - float(verification.fnmr(genuine, threshold)),
        "fnmr": float(verification.fnmr(genuine, threshold)),
        "fmr": float(verification.fmr(impostor, threshold)),
        "threshold": threshold,
    }


if __name__ == "__main__":
    args = options(__doc__, times=1000, people="100,500", pictures=3, seed=0)
    population = Population()
    truth = truths(population)
    for people in map(int, args.people.split(",")):
        rng, seen = np.random.default_rng(args.seed), {name: Counter() for name in ("eer", "tar", "fnmr", "fmr")}
        for _ in range(args.times):
            vectors, labels = population.draw(people, args.pictures, rng)
            errors = intervals.Errors.find(vectors, labels, truth["threshold"])
            found = {
                "eer": intervals.equal_error_rate(vectors, labels),
                "tar": intervals.tar_at_fmr(vectors, labels, FMR),
                "fnmr": errors.fnmr(),
                "fmr": errors.fmr(),
            }
            for name, one in found.items():
                where = (
                    "absent"
                    if one.low is None
                    else "below"
                    if one.high < truth[name]
                    else "above"
                    if one.low > truth[name]
                    else "holds"
                )
                seen[name][where] += 1
        for name, counts in seen.items():
            given = args.times - counts["absent"]
            print(
                json.dumps(
                    {
                        "people": people,
                        "figure": name,
                        "true": round(truth[name], 5),
                        "coverage": round(counts["holds"] / max(1, given), 4),
                        **counts,
                    }
                ),
                flush=True,
            )
