"""How well a face finder finds: landmark error, misses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

ELSEWHERE = 1.0
"""A find whose points are off by more than this many face sizes on average is not this face: the face was missed."""


def landmark_errors(found: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """(N,) mean distance of five points ÷ the size of the true face, for landmarks (N, 5, 2) in the same pixels.

    The size is the distance of the eyes, or that from eyes to mouth if it is longer: in profile the eyes nearly meet.
    """
    points, real = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    eyes = np.linalg.norm(real[:, 1] - real[:, 0], axis=1)
    tall = np.linalg.norm(real[:, :2].mean(1) - real[:, 3:].mean(1), axis=1)
    return np.linalg.norm(points - real, axis=2).mean(1) / np.maximum(eyes, tall)


def finder_figures(found: Sequence[NDArray[Any] | None], truth: ArrayLike) -> dict[str, float]:
    """Judge one find a picture, of pictures with exactly one face.

    Args:
        found: for each picture the landmarks (5, 2) of the face that was found, or None.
        truth: (N, 5, 2) where the one face is.

    Returns:
        landmark_error, median_error: mean and median over the found faces of `landmark_errors`; NaN where all are
            missed.
        misses: share of faces with no find, or with one elsewhere.
        elsewhere: share of pictures whose find lies elsewhere; part of `misses`.
        pictures: how many.
    """
    points = {row: one for row, one in enumerate(found) if one is not None}
    errors, elsewhere = np.zeros(0), 0
    if points:
        real = np.asarray(truth, np.float64)[list(points)]
        errors = landmark_errors(list(points.values()), real)
        far = errors > ELSEWHERE
        errors, elsewhere = errors[~far], int(far.sum())
    return {
        "landmark_error": float(errors.mean()) if len(errors) else float("nan"),
        "median_error": float(np.median(errors)) if len(errors) else float("nan"),
        "misses": 1 - len(errors) / len(found),
        "elsewhere": elsewhere / len(found),
        "pictures": len(found),
    }
