"""Where a head points to, by five landmarks: neither roll nor scale nor place plays a part."""

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

Array = NDArray[np.float64]


def _ways(landmarks: ArrayLike) -> tuple[Array, Array, Array]:
    """From the eyes' middle to the mouth's, from the eyes' middle to the nose tip, from eye to eye; each (N, 2)."""
    points = np.asarray(landmarks, np.float64)
    eyes = points[:, :2].mean(1)
    down = points[:, 3:].mean(1) - eyes
    if not np.isfinite(points).all() or not down.any(1).all():
        raise ValueError("Landmarks hold NaN or infinity, or eyes and mouth fall together: these are not faces.")
    return down, points[:, 2] - eyes, points[:, 1] - points[:, 0]


def yaw_from_landmarks(landmarks: ArrayLike, factor: float = YAW_FACTOR) -> Array:
    """(N,) yaw in degrees, positive when the nose points to the picture's right. An estimate: noses differ in length.

    Both the nose's offset and the eye distance are measured at right angles to the line from the eyes to the mouth:
    turning the head moves the nose, which stands out, by sin(yaw), and shortens the eye distance by cos(yaw).

    Args:
        landmarks: (N, 5, 2), each as in `idgen.faces.finder.Detection`; ValueError if they are not of faces.
        factor: eye distance ÷ how far the nose tip stands out, of an average face.
    """
    down, nose, eyes = _ways(landmarks)
    across = np.stack([down[:, 1], -down[:, 0]], 1) / np.hypot(down[:, 0], down[:, 1])[:, None] ** 2
    return np.degrees(np.arctan2(factor * (nose * across).sum(1), np.maximum((eyes * across).sum(1), 1e-9)))


def pitch_from_landmarks(landmarks: ArrayLike) -> Array:
    """(N,) rough pitch in degrees, growing as the nose tip nears the mouth; see `PITCH` for how rough.

    Arguments and errors as those of `yaw_from_landmarks`.
    """
    down, nose, _ = _ways(landmarks)
    return PITCH[0] + PITCH[1] * (nose * down).sum(1) / np.square(down).sum(1)
