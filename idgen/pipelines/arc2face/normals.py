"""The normal maps that steer the pose in Arc2Face's ControlNet: their convention, checked, and a head to draw them of.

A map is what EMOCA v2 renders of a FLAME head in the wanted pose: the picture's size (512×512), aligned as FFHQ, each
pixel of the head a unit surface normal (x to the right, y up, z towards the viewer, of the posed head) as RGB
(n + 1) / 2, and (128, 128, 128) around it. A face that looks at the viewer is bluish. The axes are those of DECA's
renderer, on which EMOCA builds. FLAME's head may not be shipped, so `head_normals` draws another one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from idgen.ground.arguments import number
from idgen.ground.errors import InputError
from idgen.ground.geometry import Array, apply, ffhq_square, invert
from idgen.ground.images import ImageSource, describe, open_image
from idgen.ground.words import percent

LEAST_HEAD = 0.02
"""Share of the picture that the head has at least."""
MOST_YAW, MOST_PITCH = 60, 30

# A head of ellipsoids, centre and radii: x to its left, so to the viewer's right, y up, z out of the face; the eyes are
# 0.34 apart. Nobody's measures: drawn by eye.
_HEAD: Array = np.array(
    [
        [[0, 0.12, -0.14], [0.50, 0.56, 0.62]],  # skull
        [[0, -0.20, 0.06], [0.37, 0.48, 0.42]],  # face
        [[0, -0.50, 0.27], [0.17, 0.15, 0.17]],  # chin
        [[0, -0.06, 0.47], [0.06, 0.19, 0.09]],  # bridge of the nose
        [[0, -0.17, 0.54], [0.095, 0.075, 0.095]],  # its tip
        [[0, -0.35, 0.41], [0.15, 0.06, 0.09]],  # upper lip
        [[0, -0.42, 0.40], [0.13, 0.055, 0.09]],  # lower lip
        *([[side * 0.17, 0.03, 0.36], [0.10, 0.065, 0.09]] for side in (-1, 1)),  # eyes
        *([[side * 0.17, 0.15, 0.40], [0.15, 0.05, 0.08]] for side in (-1, 1)),  # brows
        *([[side * 0.22, -0.17, 0.30], [0.13, 0.12, 0.12]] for side in (-1, 1)),  # cheeks
        *([[side * 0.50, -0.04, -0.12], [0.04, 0.15, 0.09]] for side in (-1, 1)),  # ears
        [[0, -0.80, -0.16], [0.27, 0.60, 0.27]],  # neck
    ]
)
_LANDMARKS: Array = np.array(
    [[-0.17, 0.03, 0.45], [0.17, 0.03, 0.45], [0, -0.17, 0.63], [-0.13, -0.385, 0.42], [0.13, -0.385, 0.42]]
)
_SHARPNESS = 28.0  # of the smooth minimum that joins them


def head_normals(yaw: float = 0.0, pitch: float = 0.0, size: int = 512) -> Image.Image:
    """A normal map of a plain head in a wanted pose, aligned as FFHQ.

    It keeps the convention above; **unverified** with the ControlNet, which was trained on FLAME's heads. Spheres are
    traced (Hart 1996) against a smooth minimum of ellipsoids, which takes some seconds.

    Args:
        yaw: degrees; positive turns the face to the viewer's right, −60 to 60.
        pitch: degrees; positive lowers the face, −30 to 30.
        size: side in pixels, that of the model's pictures.

    Raises:
        InputError: an angle is out of range.
    """
    number("yaw of a head in degrees", yaw, -MOST_YAW, MOST_YAW)
    number("pitch of a head in degrees", pitch, -MOST_PITCH, MOST_PITCH)
    (a, b), (c, d) = ((math.cos(x), math.sin(x)) for x in (math.radians(yaw), math.radians(pitch)))
    turn = np.array([[a, 0, b], [0, 1, 0], [-b, 0, a]]) @ np.array([[1, 0, 0], [0, c, -d], [0, d, c]])
    flip = np.array([1, -1])  # rows count downwards
    pixels = np.stack(np.meshgrid(*[np.arange(size) + 0.5] * 2), -1).reshape(-1, 2)
    plane = apply(invert(ffhq_square((_LANDMARKS @ turn.T)[:, :2] * flip, size)), pixels) * flip
    points = (np.column_stack([plane, np.full(len(plane), 1.5)]) @ turn).astype(np.float32)  # on the head's own axes
    view, centres, radii = (values.astype(np.float32) for values in (turn[2], _HEAD[:, 0], _HEAD[:, 1]))
    normals, depth, live = np.zeros_like(points), np.zeros(len(points), np.float32), np.arange(len(points))
    for _ in range(64):
        from_centres = (points[live, None] - depth[live, None, None] * view - centres) / radii
        lengths, gradients = np.linalg.norm(from_centres, axis=2), from_centres / radii
        slopes = np.linalg.norm(gradients, axis=2)
        distances = (lengths - 1) * lengths / slopes  # to first order
        nearest = distances.min(1)
        weights = np.exp(_SHARPNESS * (nearest[:, None] - distances))
        distance = nearest - np.log(weights.sum(1)) / _SHARPNESS
        hit = distance < 1e-3
        normals[live[hit]] = ((weights / slopes)[hit, :, None] * gradients[hit]).sum(1)
        depth[live] += 0.9 * distance
        live = live[~hit & (depth[live] < 3)]
    normals = normals @ turn.T / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    return Image.fromarray((normals.reshape(size, size, 3) * 127.5 + 127.5).round().astype(np.uint8))


def read_normals(source: ImageSource, size: int) -> Tensor:
    """A checked normal map (3, size, size) in [0, 1].

    Raises:
        InputError: it cannot be opened, has another size, holds no unit normals (a photo does not), no head, or a head
            that is seen from behind.
    """
    picture, name = open_image(source), describe(source)
    if picture.size != (size, size):
        raise InputError(
            f"The normal map {name} is {picture.width} × {picture.height} pixels, but the model's pictures are "
            f"{size} × {size}: render it at that size."
        )
    values = np.asarray(picture, np.float32) / 255
    normals = 2 * values - 1
    head = np.abs(normals).max(2) > 0.05
    if head.mean() < LEAST_HEAD:
        raise InputError(f"The normal map {name} shows no head: nearly all is the grey (128, 128, 128) of nothing.")
    unit = np.abs(np.linalg.norm(normals[head], axis=1) - 1) < 0.2
    if unit.mean() < 0.9:
        raise InputError(
            f"{name} is no normal map: only {percent(unit.mean())} of its pixels hold unit normals as (n + 1) / 2 on "
            "a ground of (128, 128, 128); is it a photo or a depth map?"
        )
    if (normals[head][:, 2] > 0).mean() < 0.5:
        raise InputError(
            f"The normal map {name} faces away: the blue of most of its pixels is below 128, but z points to the "
            "viewer; was another convention used, or are the channels in BGR order?"
        )
    return torch.from_numpy(values).permute(2, 0, 1).contiguous()


def read_all_normals(normals: ImageSource | Sequence[ImageSource], size: int, images: int) -> list[Tensor]:
    """One checked normal map, or one for each of a person's pictures; errors as those of `read_normals`."""
    sources: list[ImageSource] = [*normals] if isinstance(normals, (list, tuple)) else [normals]  # type: ignore[list-item]
    if len(sources) not in (1, images):
        raise InputError(f"Give one normal map, or one for each of the {images} pictures, not {len(sources)}.")
    return [read_normals(source, size) for source in sources]
