"""Faces cut out by their five landmarks, as ArcFace or as FFHQ does it: a similarity transform, without aliasing.

Coordinates are continuous, as in Pillow: (0, 0) is the outer corner of the top-left pixel, whose centre is (0.5, 0.5).
So scaling a picture scales its landmarks, and a mirrored crop stays aligned: the template's middle is at 56.0 of 112.
Maps are those of `idgen.ground.geometry`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from idgen.ground.geometry import TEMPLATE, TEMPLATE_SIZE, Array, apply, ffhq_square, invert

MIRRORED = [1, 0, 2, 4, 3]  # the order of the points in a mirrored picture: its left eye was the right one


def template(size: int = TEMPLATE_SIZE) -> Array:
    """(5, 2) landmarks of a face aligned in a `size`×`size` crop, in pixels."""
    return TEMPLATE * (size / TEMPLATE_SIZE)


def similarity(source: ArrayLike, target: ArrayLike) -> Array:
    """(2, 3) map: the rotation, uniform scale and shift that bring (N, 2) points `source` closest to `target` in the
    least-squares sense. Never mirrors.

    Umeyama 1991, "Least-squares estimation of transformation parameters between two point patterns", eqs. 38–43.
    ValueError if a point is not finite, or all source points coincide."""
    x, y = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("Points must be finite.")
    x_mean, y_mean = x.mean(0), y.mean(0)
    variance = ((x - x_mean) ** 2).sum() / len(x)
    if variance < 1e-12:
        raise ValueError("All source points coincide: no scale can be found.")
    u, d, vt = np.linalg.svd((y - y_mean).T @ (x - x_mean) / len(x))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    linear = (u * sign) @ vt * ((d * sign).sum() / variance)
    return np.column_stack([linear, y_mean - linear @ x_mean])


def scale_of(matrix: Array) -> float:
    """By how much the map enlarges lengths."""
    return math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))


def warp(image: Image.Image, matrix: Array, size: int, fill: tuple[int, int, int] | None = None) -> Image.Image:
    """Resample an RGB image under a similarity map, averaging where it shrinks.

    Blocks of pixels are averaged until less than four remain a side of an output pixel; these are read off by bicubic
    interpolation on a grid fine enough to miss none, and averaged. Only the part of the image that is seen is touched.

    Args:
        image: RGB.
        matrix: (2, 3), from image pixels to output pixels.
        size: side of the square output.
        fill: colour outside of the image; None continues its edge, as the recognisers were trained.
    """
    scale = scale_of(matrix)
    block = max(1, math.floor(0.5 / scale))
    fine = math.ceil(1 / (scale * block) - 1e-9)
    back = invert(matrix)
    corners = apply(back, [[0, 0], [size, 0], [0, size], [size, size]]) / block
    low = np.floor(corners.min(0)).astype(int) - 3  # bicubic reads two pixels further
    high = np.ceil(corners.max(0)).astype(int) + 3
    region = _blocks(image, block, low, high, fill)
    to_region = np.column_stack([back[:, :2] / (block * fine), back[:, 2] / block - low])
    side = size * fine
    out = region.transform((side, side), Image.Transform.AFFINE, tuple(to_region.ravel()), Image.Resampling.BICUBIC)
    return out.reduce(fine) if fine > 1 else out


def _blocks(
    image: Image.Image, block: int, low: NDArray[Any], high: NDArray[Any], fill: tuple[int, int, int] | None
) -> Image.Image:
    """Means of `block`×`block` pixels, for blocks number `low` to `high` (x, y), which may lie outside of the image."""
    count = -(-np.array(image.size) // block)
    first = np.clip(low, 0, count - 1)
    last = np.clip(high, first + 1, count)
    box = (*(first * block).tolist(), *np.minimum(last * block, image.size).tolist())
    inner = np.asarray(image.reduce(block, box) if block > 1 else image.crop(box))
    columns, rows = (np.arange(low[axis], high[axis]) for axis in (0, 1))
    out = inner[
        np.clip(rows - first[1], 0, len(inner) - 1)[:, None], np.clip(columns - first[0], 0, inner.shape[1] - 1)[None]
    ]
    if fill is not None:
        out[(rows < 0) | (rows >= count[1])] = fill
        out[:, (columns < 0) | (columns >= count[0])] = fill
    return Image.fromarray(out)


def align(image: Image.Image, landmarks: ArrayLike, size: int = TEMPLATE_SIZE) -> Image.Image:
    """Cut a face out of an RGB picture so that its landmarks (5, 2) fall on the template. ValueError if the landmarks
    are not finite or coincide."""
    return warp(image, similarity(landmarks, template(size)), size)


def align_ffhq(image: Image.Image, landmarks: ArrayLike, size: int = 128) -> Image.Image:
    """Cut out a face as those of FFHQ are. Where the crop leaves the picture, its edge goes on; FFHQ mirrors and blurs.

    Arguments and errors as those of `align`.
    """
    return warp(image, ffhq_square(landmarks, size), size)


class Alignment(NamedTuple):
    """How faces are cut out for a recogniser, as those that it was trained on: by a map of `landmarks, size`, to crops
    of `size` pixels a side, which are then resized with averaging or, without `antialias`, by bilinear interpolation
    alone."""

    map: Callable[[ArrayLike, int], Array]
    size: int
    antialias: bool

    def cut(self, image: Image.Image, landmarks: ArrayLike, size: int) -> Image.Image:
        """The (size, size) crop of an RGB picture. ValueError if the landmarks are not finite or coincide."""
        return warp(image, self.map(landmarks, size), size)

    def places(self, size: int) -> Array:
        """(5, 2) where the landmarks of a face of the template's shape lie in such a crop, in pixels."""
        return apply(self.map(template(), size), template())


ALIGNMENTS = {
    "arcface": Alignment(lambda landmarks, size: similarity(landmarks, template(size)), TEMPLATE_SIZE, True),
    # IDiff-Face: FFHQ at 128 pixels, resized as torchvision 0.14 resizes a tensor.
    "ffhq": Alignment(ffhq_square, 128, False),
}
