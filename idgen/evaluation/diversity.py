"""How different the pictures of one person are: spread of the pose, and distance between their embeddings."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from idgen.ground.errors import InputError
from idgen.scoring.verification import numbered, unit


def spread_within(values: ArrayLike, labels: ArrayLike) -> float:
    """Standard deviation of a number among the pictures of one person: the root of the mean variance over people with
    two pictures or more (divided by n − 1); NaN where there are none."""
    array = np.asarray(values, np.float64)
    index = numbered(array, labels)
    counts = np.bincount(index)
    means = np.bincount(index, array) / counts
    squares = np.bincount(index, np.square(array - means[index]))
    several = counts > 1
    return float(np.sqrt((squares[several] / (counts[several] - 1)).mean())) if several.any() else float("nan")


def genuine_distance(embeddings: ArrayLike, labels: ArrayLike) -> float:
    """1 − the mean cosine over all pairs of pictures of one person, each person counting the same.

    Args:
        embeddings: (N, D), any length; normalised here.
        labels: (N,) whose equality means the same person; people with one picture are left out.
    """
    vectors = unit(np.asarray(embeddings, np.float64))
    index, means = numbered(vectors, labels), []
    for person in range(index.max() + 1):
        mine = vectors[index == person]
        if (count := len(mine)) > 1:  # the sum over all ordered pairs is |sum|² less the N ones of the diagonal
            means.append((np.square(mine.sum(0)).sum() - count) / (count * (count - 1)))
    if not means:
        raise InputError("Nobody has two pictures, so there are no pairs to compare.")
    return float(1 - np.mean(means))
