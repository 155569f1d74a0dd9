"""RandAugment as recognisers trained on generated people use it (USynthFace, Boutros et al. 2023: "ra_4_16").

Operations and their strengths are those of Cubuk et al. 2020 as Pillow does them, with grey instead of inverting and
nothing vertical; each of the operations on a picture has its own magnitude, uniform from 1 to the most of 30.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from idgen.training.augment import Random

BINS = 30
"""The strongest magnitude: shear 0.3, a shift by 150/331 of the side, 30°, a factor of 1 ± 0.9."""


def randaugment(images: Tensor, rng: Random, operations: int = 4, most: float = 16) -> Tensor:
    """So many random operations on each picture, one after the other: (N, 3, S, S) in [0, 1] to the same."""
    out = images
    for _ in range(operations):
        kinds = torch.randint(len(OPERATIONS), (len(images),), generator=rng.generator)
        strength = (1 + torch.rand(len(images), generator=rng.generator) * max(0.0, most - 1)).floor() / BINS
        signs = torch.randint(2, (len(images),), generator=rng.generator) * 2.0 - 1
        out = out.clone()
        for number, change in enumerate(OPERATIONS.values()):
            rows = (kinds == number).nonzero()[:, 0]
            if len(rows) and change is not None:
                there = rows.to(images.device)
                out[there] = change(out[there], strength[rows].to(images.device), signs[rows].to(images.device))
    return out


def _moved(images: Tensor, matrix: Tensor) -> Tensor:
    """By matrices (N, 2, 3) from the result's places to the picture's, nearest pixel, black outside."""
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def _matrix(images: Tensor, entries: dict[tuple[int, int], Tensor]) -> Tensor:
    matrix = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
    for (row, column), values in entries.items():
        matrix[:, row, column] = values
    return matrix


def _shear(images: Tensor, strength: Tensor, signs: Tensor) -> Tensor:
    shear = 0.3 * strength * signs
    return _moved(images, _matrix(images, {(0, 1): shear, (0, 2): shear}))  # about the upper edge, as Pillow does


def _shift(images: Tensor, strength: Tensor, signs: Tensor) -> Tensor:
    pixels = (150 / 331 * images.shape[-1] * strength).round()
    return _moved(images, _matrix(images, {(0, 2): 2 * pixels * signs / images.shape[-1]}))


def _rotate(images: Tensor, strength: Tensor, signs: Tensor) -> Tensor:
    angle = strength * signs * (math.pi / 6)
    cos, sin = angle.cos(), angle.sin()
    return _moved(images, _matrix(images, {(0, 0): cos, (0, 1): -sin, (1, 0): sin, (1, 1): cos}))


def _blended(images: Tensor, other: Tensor, strength: Tensor, signs: Tensor) -> Tensor:
    """`other` at factor 0, the picture at 1, beyond it above 1."""
    return other.lerp(images, (1 + 0.9 * strength * signs)[:, None, None, None]).clamp(0, 1)


def luminance(images: Tensor) -> Tensor:
    """(N, 1, H, W) of ITU-R 601, as Pillow's L."""
    return (images * torch.tensor([0.299, 0.587, 0.114], device=images.device)[:, None, None]).sum(1, keepdim=True)


def _brightness(images: Tensor, strength: Tensor, signs: Tensor) -> Tensor:
    return _blended(images, torch.zeros_like(images), strength, signs)


def _colour(images: Tensor, strength: Tensor, signs: Tensor) -> Tensor:
    return _blended(images, luminance(images).expand_as(images), strength, signs)


def _contrast(images: Tensor, strength: Tensor, signs: Tensor) -> Tensor:
    return _blended(images, luminance(images).mean((1, 2, 3), keepdim=True).expand_as(images), strength, signs)


def _sharpness(images: Tensor, strength: Tensor, signs: Tensor) -> Tensor:
    kernel = torch.tensor([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]], device=images.device).div(13).expand(3, 1, 3, 3)
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(images, kernel, groups=3)
    return _blended(images, smooth, strength, signs)


def _posterize(images: Tensor, strength: Tensor, signs: Tensor) -> Tensor:
    step = 2.0 ** (4 * strength).round()[:, None, None, None]  # 8 bits to 4
    return ((images * 255).round() / step).floor() * step / 255


def _solarize(images: Tensor, strength: Tensor, signs: Tensor) -> Tensor:
    return torch.where(images >= (1 - strength)[:, None, None, None], 1 - images, images)


def _autocontrast(images: Tensor, strength: Tensor, signs: Tensor) -> Tensor:
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-6), images)


def _equalize(images: Tensor, strength: Tensor, signs: Tensor) -> Tensor:
    """Pillow's: every channel's histogram made flat."""
    levels = (images * 255).round().long().flatten(0, 1).flatten(1)  # (3N, pixels)
    histogram = torch.zeros(len(levels), 256, device=images.device).scatter_add_(
        1, levels, torch.ones_like(levels).float()
    )
    last = histogram.gather(1, levels.amax(1, keepdim=True))
    step = ((histogram.sum(1, keepdim=True) - last) / 255).floor()
    before = histogram.cumsum(1) - histogram
    table = ((before + (step / 2).floor()) / step.clamp(min=1)).floor().clamp(0, 255) / 255
    flat = table.gather(1, levels).view_as(images)
    return torch.where((step > 0).view(*images.shape[:2], 1, 1), flat, images)


def _grey(images: Tensor, strength: Tensor, signs: Tensor) -> Tensor:
    return luminance(images).expand_as(images)


Operation = Callable[[Tensor, Tensor, Tensor], Tensor]
OPERATIONS: dict[str, Operation | None] = {
    "identity": None,
    "shear": _shear,
    "shift": _shift,
    "rotate": _rotate,
    "brightness": _brightness,
    "colour": _colour,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "grey": _grey,
}
"""Each takes pictures, strengths from 0 to 1 and signs (N,)."""
