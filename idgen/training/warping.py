"""Similarity maps of whole batches of pictures and of their landmarks, on tensors, differentiable.

Maps are (N, 2, 3); coordinates are those of `idgen.faces.align`: the centre of the first pixel is at (0.5, 0.5).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from idgen.faces.align import MIRRORED


def similarity_grid(inverse: Tensor, size: int) -> Tensor:
    """Sampling grid (N, size, size, 2), in source pixels, of output pixels under inverse similarities (N, 2, 3)."""
    line = torch.arange(size, device=inverse.device) + 0.5
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.einsum("nij,hwj->nhwi", inverse, torch.stack([x, y, torch.ones_like(x)], -1))


def warp(images: Tensor, grid: Tensor, padding: str = "zeros") -> Tensor:
    """Sample (N, C, H, W) at pixel positions (N, h, w, 2); pixel centres lie at halves."""
    height, width = images.shape[-2:]
    scale = torch.tensor([2 / width, 2 / height], device=images.device)
    return F.grid_sample(images, grid * scale - 1, padding_mode=padding, align_corners=False)


def similarities(scale: Tensor, angle: Tensor, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Maps that scale, turn and carry the point `source` to `target`: (forward, inverse), each (N, 2, 3)."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    forward = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1) * scale[:, None, None]
    inverse = forward.transpose(1, 2) / (scale**2)[:, None, None]
    ahead = torch.cat([forward, (target - (forward @ source[..., None])[..., 0])[..., None]], 2)
    back = torch.cat([inverse, (source - (inverse @ target[..., None])[..., 0])[..., None]], 2)
    return ahead, back


def carry(points: Tensor, maps: Tensor) -> Tensor:
    """(N, 5, 2) points through (N, 2, 3) maps."""
    return points @ maps[:, :, :2].transpose(1, 2) + maps[:, None, :, 2]


def mirrored(points: Tensor, side: int) -> Tensor:
    """Landmarks (N, 5, 2) of pictures of that side, in their mirror images."""
    return torch.stack([side - points[..., 0], points[..., 1]], -1)[:, MIRRORED]


def fit_similarity(points: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Closed-form least squares (Umeyama 1991, without mirroring) from points (N, 5, 2) to target (5, 2): scale, angle
    (N,)."""
    x, y = points - points.mean(1, keepdim=True), target - target.mean(-2, keepdim=True)
    along = (x * y).sum((1, 2))
    across = (x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]).sum(1)
    return torch.hypot(along, across) / x.square().sum((1, 2)), torch.atan2(across, along)


def similarity_part(error: Tensor, template: Tensor) -> Tensor:
    """The part of landmark errors (..., 5, 2) that moving, scaling and turning the template (5, 2) can express."""
    t = template - template.mean(0)
    turned = torch.stack([-t[:, 1], t[:, 0]], 1)
    ones = torch.ones(5, device=t.device)
    basis = torch.stack([torch.stack([ones, 0 * ones], 1), torch.stack([0 * ones, ones], 1), t, turned])
    basis = basis / basis.flatten(1).norm(dim=1)[:, None, None]
    return torch.einsum("...ij,kij,kmn->...mn", error, basis, basis)
