"""Faces as pixels: resized, checked, and taken apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from idgen.ground.errors import InputError
from idgen.ground.images import ImageSource


def to_side(pixels: Tensor, side: int, antialias: bool) -> Tensor:
    """(N, 3, H, H) resized to (N, 3, side, side), bilinearly."""
    if pixels.shape[-1] == side:
        return pixels
    return F.interpolate(pixels, (side, side), mode="bilinear", antialias=antialias, align_corners=False)


def check_pixels(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise InputError(f"Expected square RGB faces (N, 3, H, H), got the shape {tuple(images.shape)}.")
    if not images.is_floating_point():
        raise InputError(f"Expected floating-point pixels in [0, 1], got {images.dtype}: divide 8-bit ones by 255.")
    if images.numel():
        low, high = (float(value) for value in torch.aminmax(images))
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # so that NaN is caught too
            raise InputError(f"Expected pixels in [0, 1], got [{low:g}, {high:g}]: scale them first.")


def to_pictures(images: Tensor | Sequence[ImageSource]) -> Sequence[ImageSource]:
    """(N, 3, H, W) in [0, 1] as pictures that can be opened, or what is a list of such already."""
    if not isinstance(images, Tensor):
        return images
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f"Expected RGB pictures (N, 3, H, W), got the shape {tuple(images.shape)}.")
    return [image.permute(1, 2, 0).float().cpu().numpy() for image in images]
