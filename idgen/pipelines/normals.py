"""The normal maps that steer the pose in Arc2Face's ControlNet: their convention, checked.

A map is what EMOCA v2 renders of a FLAME head in the wanted pose: the picture's size (512×512), aligned as FFHQ, each
pixel of the head a unit surface normal (x to the right, y up, z towards the viewer, of the posed head) as RGB
(n + 1) / 2, and (128, 128, 128) around it. A face that looks at the viewer is bluish. The axes were read in DECA's
renderer, on which EMOCA builds; that the ControlNet was trained on just these was not verified, its weights were not at
hand. No map can be drawn here: FLAME's head may not be shipped, and what another geometry would do was not tried.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from idgen.errors import InputError
from idgen.faces.images import ImageSource, describe, open_image

LEAST_HEAD = 0.02
"""Share of the picture that the head has at least."""


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
        raise InputError(
            f"The normal map {name} shows no head: nearly all of it is the grey (128, 128, 128) of nothing."
        )
    lengths = np.linalg.norm(normals[head], axis=1)
    unit = np.abs(lengths - 1) < 0.2
    if unit.mean() < 0.9:
        raise InputError(
            f"{name} is no normal map: only {unit.mean():.0%} of its pixels hold unit normals as (n + 1) / 2 "
            "on a ground of (128, 128, 128); is it a photo or a depth map?"
        )
    facing = normals[head][:, 2]
    if (facing > 0).mean() < 0.5:
        raise InputError(
            f"The normal map {name} faces away: the blue of most of its pixels is below 128, but z points to the "
            "viewer; was another convention used, or are the channels in BGR order?"
        )
    return torch.from_numpy(values).permute(2, 0, 1).contiguous()
