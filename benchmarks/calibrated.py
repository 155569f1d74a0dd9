"""Does the rate that a calibration states hold on other people of the same kind? The share of random splits in which
the interval of the difference covers 0.

    python benchmarks/calibrated.py --vectors FILE [--splits 200] [--fmr 0.01]
    python benchmarks/calibrated.py --faces FACES [--by nobody-128/judge]

Half of the people are calibrated on; at their threshold, the false-match rate of the other half is measured. Both come
with intervals by drawing people again, and that of the difference is put together from the two (MOVER: Zou and Donner
2008, "Construction of confidence limits about effect measures"). 95 % intervals should cover 0 in 90 to 98 % of the
splits. Vectors are those of any labelled file that `idgen evaluate` reads.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from common import options
from numpy.typing import NDArray
from torch import Tensor

from idgen.faces.resolve import recogniser
from idgen.ground.vectors import load_vectors
from idgen.scoring import verification
from idgen.scoring.calibration import Calibration
from idgen.scoring.verification import pair_scores
from idgen.sets import read_source


def covered(vectors: Tensor, labels: NDArray, splits: int, fmr: float, seed: int = 0) -> float:
    """The share of splits of the people (N, D), (N,) in which the interval of the difference covers 0."""
    rng, names = np.random.default_rng(seed), np.unique(labels)
    return float(np.mean([_covers(vectors, labels, rng.permutation(names), fmr) for _ in range(splits)]))


def _covers(vectors: Tensor, labels: NDArray, order: NDArray, fmr: float) -> bool:
    here = np.isin(labels, order[: len(order) // 2])
    rates = Calibration.measure("x", vectors[here], labels[here], "one half").rates("image-image")
    threshold = rates.thresholds[f"{fmr:g}"]
    if threshold is None:
        raise SystemExit(f"{rates.impostor_pairs:,} comparisons are too few for a rate of {fmr:g}.")
    low, high = rates.intervals[f"fmr@{fmr:g}"]
    stated = float(np.mean([low, high])) if not low <= fmr <= high else fmr
    other = vectors[~here].numpy()
    who = np.unique(labels[~here], return_inverse=True)[1]
    first, second = np.triu_indices(len(other), 1)
    cosines = (other @ other.T)[first, second]
    same = who[first] == who[second]
    pairs = np.stack([who[first], who[second]], 1)[~same]
    found = verification.bootstrap(
        cosines[same], cosines[~same], {"x": threshold}, who[first][same][:, None], pairs, times=200
    )["fmr@x"]
    measured = float((pair_scores(other, who)[1] >= threshold).mean())
    difference = measured - stated
    below = np.hypot(measured - found[0], high - stated)
    above = np.hypot(found[1] - measured, stated - low)
    return bool(difference - below <= 0 <= difference + above)


if __name__ == "__main__":
    args = options(__doc__, vectors=None, faces=None, by="nobody-128/judge", splits=200, fmr=1e-2, people=100)
    if args.vectors:
        read = load_vectors(args.vectors)
        kept = np.flatnonzero(np.isin(read.labels, np.unique(read.labels)[: args.people]))
        vectors, labels = read.vectors[kept], read.labels[kept]
    else:
        source = read_source(Path(args.faces) / "val")
        kept = np.flatnonzero(np.isin(source.labels, np.unique(source.labels)[: args.people]))
        vectors, labels = recogniser(args.by).encode([source.open(row) for row in kept.tolist()]), source.labels[kept]
    share = covered(vectors, labels, args.splits, args.fmr)
    print(json.dumps({"splits": args.splits, "people": args.people, "fmr": args.fmr, "covered": share}))
