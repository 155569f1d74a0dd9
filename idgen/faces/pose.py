"""Where a head points to, by five landmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# tan(yaw) = YAW_FACTOR · (nose offset ÷ eye distance), fitted on 3,000 rendered faces with known landmarks and yaw,
# tested on 500 others: R² 0.969, median error 2.1°, spread of the estimates ÷ spread of the truth 1.001. The command:
#     python benchmarks/figures.py --faces FACES --only yaw
YAW_FACTOR = 1.789


# pitch = PITCH[0] + PITCH[1] · (how far down from the eyes to the mouth the nose tip is), fitted on the same 3,000
# faces. On 500 others R² is only 0.32 and the spread of the estimates ÷ that of the truth 0.58: noses differ in length
# more than heads tilt. Good for comparing two sets, not for one face.
PITCH = (-31.9, 48.8)


def nose_offset(landmarks: ArrayLike) -> NDArray[np.float64]:
    """(N, 2): distance of the nose tip from the line between the eyes' and the mouth's middle; distance of the eyes.

    Both measured at right angles to that line and in units of its length, so neither roll nor scale nor place plays a
    part. Turning the head by yaw moves the nose, which stands out, by sin(yaw), and shortens the eye distance by
    cos(yaw).

    Args:
        landmarks: (N, 5, 2) x, y: the eye on the picture's left, the other eye, nose tip, the mouth corner on the left,
            the other corner.
    """
    points = np.asarray(landmarks, np.float64)
    if points.ndim != 3 or points.shape[1:] != (5, 2):
        raise ValueError(f"Landmarks have the shape (N, 5, 2), got {points.shape}.")
    eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    down = mouth - eyes
    length = np.hypot(down[:, 0], down[:, 1])
    if not np.isfinite(points).all() or (length == 0).any():
        raise ValueError("Landmarks hold NaN or infinity, or eyes and mouth fall together: these are not faces.")
    across = np.stack([down[:, 1], -down[:, 0]], 1) / length[:, None] ** 2
    return np.stack([((points[:, 2] - eyes) * across).sum(1), ((points[:, 1] - points[:, 0]) * across).sum(1)], 1)


def yaw_from_landmarks(landmarks: ArrayLike, factor: float = YAW_FACTOR) -> NDArray[np.float64]:
    """(N,) yaw in degrees, positive when the nose points to the picture's right. An estimate: noses differ in length.

    Args:
        landmarks: (N, 5, 2), see `nose_offset`.
        factor: eye distance ÷ how far the nose tip stands out, of an average face.
    """
    nose, eyes = nose_offset(landmarks).T
    return np.degrees(np.arctan2(factor * nose, np.maximum(eyes, 1e-9)))


def pitch_from_landmarks(landmarks: ArrayLike) -> NDArray[np.float64]:
    """(N,) rough pitch in degrees, growing as the nose tip nears the mouth; see `PITCH` for how rough.

    Args:
        landmarks: (N, 5, 2), see `nose_offset`.
    """
    nose_offset(landmarks)  # refuses what are not faces
    points = np.asarray(landmarks, np.float64)
    eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    down = mouth - eyes
    share = ((points[:, 2] - eyes) * down).sum(1) / np.square(down).sum(1)
    return PITCH[0] + PITCH[1] * share
