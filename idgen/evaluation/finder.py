"""How well a face finder finds: landmark error, misses, false finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

ELSEWHERE = 1.0
"""A find whose points are off by more than this many face scales on average is not this face: the face was missed."""


@dataclass(frozen=True)
class FinderFigures:
    """Figures over pictures with exactly one face.

    Attributes:
        landmark_error: mean over the found faces of (mean distance of the five points ÷ true eye distance).
        median_error: the same, median over the found faces.
        misses: share of faces with no find, or with one elsewhere.
        elsewhere: share of pictures whose find lies elsewhere; part of `misses`.
        pictures: how many pictures.
    """

    landmark_error: float
    median_error: float
    misses: float
    elsewhere: float
    pictures: int


def landmark_errors(found: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """(N,) mean distance of five points ÷ the distance of the true eyes, for landmarks (N, 5, 2) in the same pixels."""
    points, real = _landmarks(found), _landmarks(truth)
    eyes = np.linalg.norm(real[:, 1] - real[:, 0], axis=1)
    if (eyes == 0).any():
        raise ValueError("A true face has both eyes in one place: its error has no unit.")
    return np.linalg.norm(points - real, axis=2).mean(1) / eyes


def finder_figures(found: Sequence[ArrayLike | None], truth: ArrayLike) -> FinderFigures:
    """Judge one find a picture.

    Args:
        found: for each picture the landmarks (5, 2) of the face that was found, or None.
        truth: (N, 5, 2) where the one face is.

    Raises:
        ValueError: no pictures, or not as many finds as faces. With every face missed the errors are NaN.
    """
    real = _landmarks(truth)
    if len(found) != len(real) or not len(real):
        raise ValueError(f"One find (or None) is needed for each of the faces, got {len(found)} for {len(real)}.")
    rows = np.array([row for row, points in enumerate(found) if points is not None], int)
    errors, elsewhere = np.zeros(0), 0
    if len(rows):
        points, real = _landmarks([found[row] for row in rows]), real[rows]
        errors = landmark_errors(points, real)
        # In profile the eyes nearly meet; the way from eyes to mouth still tells the size of the face.
        eyes = np.linalg.norm(real[:, 1] - real[:, 0], axis=1)
        tall = np.linalg.norm(real[:, :2].mean(1) - real[:, 3:].mean(1), axis=1)
        far = errors * eyes > ELSEWHERE * np.maximum(eyes, tall)
        errors, elsewhere = errors[~far], int(far.sum())
    return FinderFigures(
        landmark_error=float(errors.mean()) if len(errors) else float("nan"),
        median_error=float(np.median(errors)) if len(errors) else float("nan"),
        misses=1 - len(errors) / len(found),
        elsewhere=elsewhere / len(found),
        pictures=len(found),
    )


def false_find_rate(finds: Sequence[object]) -> float:
    """Share of pictures without a face in which something was found; `finds` holds one list (or None) a picture."""
    if not len(finds):
        raise ValueError("There are no pictures, so there is no rate of false finds: give at least one.")
    return sum(bool(find) for find in finds) / len(finds)


def _landmarks(points: object) -> NDArray[np.float64]:
    array = np.asarray(points, np.float64)
    if array.ndim != 3 or array.shape[1:] != (5, 2):
        raise ValueError(f"Landmarks have the shape (N, 5, 2), got {array.shape}.")
    return array
