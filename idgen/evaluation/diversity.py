"""How different the pictures of one person are: spread of the pose, and distance between their embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from idgen.errors import InputError
from idgen.faces.pose import YAW_FACTOR, yaw_from_landmarks


def fit_yaw_factor(landmarks: ArrayLike, yaw: ArrayLike) -> float:
    """The factor with the least squared error in degrees, to three decimals, for faces whose yaw is known."""
    truth = np.asarray(yaw, np.float64)
    candidates = np.arange(500, 5000) / 1000
    errors = [np.square(yaw_from_landmarks(landmarks, factor) - truth).mean() for factor in candidates]
    return float(candidates[int(np.argmin(errors))])


@dataclass(frozen=True)
class YawFit:
    """How good an estimate of yaw is, on faces whose yaw is known."""

    r2: float
    median_error: float
    spread_ratio: float


def check_yaw(landmarks: ArrayLike, yaw: ArrayLike, factor: float = YAW_FACTOR) -> YawFit:
    """Compare the estimate with the truth in degrees."""
    truth, estimate = np.asarray(yaw, np.float64), yaw_from_landmarks(landmarks, factor)
    return YawFit(
        r2=float(1 - np.square(estimate - truth).mean() / truth.var()),
        median_error=float(np.median(np.abs(estimate - truth))),
        spread_ratio=float(estimate.std() / truth.std()),
    )


def spread_within(values: ArrayLike, labels: ArrayLike) -> float:
    """Standard deviation of a number among the pictures of one person: the root of the mean variance over people with
    two pictures or more (divided by n − 1); NaN where there are none."""
    array, names = np.asarray(values, np.float64), np.asarray(labels)
    people, index, counts = np.unique(names, return_inverse=True, return_counts=True)
    if len(index) != len(array):
        raise InputError(f"{len(array)} values need as many labels, got {len(index)}.")
    means = np.bincount(index, array) / counts
    squares = np.bincount(index, np.square(array - means[index]), minlength=len(people))
    several = counts > 1
    return float(np.sqrt((squares[several] / (counts[several] - 1)).mean())) if several.any() else float("nan")


def yaw_spread(landmarks: ArrayLike) -> float:
    """Standard deviation of the estimated yaw in degrees, over all pictures."""
    return float(yaw_from_landmarks(landmarks).std())


def genuine_distance(embeddings: ArrayLike, labels: ArrayLike) -> float:
    """1 − the mean cosine over all pairs of pictures of one person, each person counting the same.

    Args:
        embeddings: (N, D), any length; normalised here.
        labels: (N,) whose equality means the same person; people with one picture are left out.
    """
    vectors, names = np.asarray(embeddings, np.float64), np.asarray(labels)
    if len(vectors) != len(names):
        raise ValueError(f"{len(vectors)} embeddings need as many labels, got {len(names)}.")
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    means = []
    for name in np.unique(names):
        mine = vectors[names == name]
        if (count := len(mine)) > 1:  # the sum over all ordered pairs is |sum|² less the N ones of the diagonal
            means.append((np.square(mine.sum(0)).sum() - count) / (count * (count - 1)))
    if not means:
        raise ValueError("Nobody has two pictures, so there are no pairs to compare.")
    return float(1 - np.mean(means))
