"""Maps of the plane, ArcFace's template and FFHQ's square: what finding, cutting out and drawing faces share.

A map is a (2, 3) matrix [A | t] that takes a point p to A p + t. Coordinates are continuous: (0, 0) is the outer corner
of the top-left pixel.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.float64]

TEMPLATE_SIZE = 112
# Eye on the picture's left, the other eye, nose tip, mouth corner on the left, the other corner, in a 112×112 crop
# (Deng et al. 2019, ArcFace; the points of SphereFace's 96×112 crop moved right by 8).
TEMPLATE: Array = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
TEMPLATE.setflags(write=False)


def apply(matrix: Array, points: ArrayLike) -> Array:
    """Map (..., 2) points."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: Array) -> Array:
    """The (2, 3) map that undoes `matrix`."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def ffhq_square(landmarks: ArrayLike, size: int) -> Array:
    """(2, 3) map to FFHQ's crop: an upright head with hair and chin, the eyes a little above the middle.

    Karras et al. 2018 (arXiv 1710.10196), appendix C, from the eyes e₀, e₁ and the mouth's corners m₀, m₁. There an eye
    is the mean of six points around it; here it is the one landmark.

    Landmarks are (5, 2) in the template's order, in pixels as the size. ValueError if they are not finite or coincide.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise ValueError(f"Expected five finite landmarks (5, 2), got the shape {points.shape}.")
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    across, up = points[1] - points[0], eyes - mouth
    side = max(4.0 * float(np.linalg.norm(across)), 3.6 * float(np.linalg.norm(up)))
    right = across - [up[1], -up[0]]  # `up` turned by a quarter, so that both the eyes and the nose say what is upright
    length = float(np.linalg.norm(right))
    if length < 1e-9:
        raise ValueError("The landmarks say nothing of what is upright.")
    x, y = right / length
    turn = np.array([[x, y], [-y, x]]) * (size / side)
    return np.column_stack([turn, size / 2 - turn @ (eyes - 0.1 * up)])
