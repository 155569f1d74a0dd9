"""Batched image augmentation on tensors: the same code on CPU and GPU, and reproducible from one generator.

All functions take and return (N, 3, H, W) RGB in [0, 1]. Meant to bridge renders to photographs: colour, blur, JPEG,
scale, occlusion, background.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

# Luminance quantisation table of the JPEG standard (ITU-T T.81, Annex K.1), for quality 50.
_QUANTISATION = torch.tensor(
    [
        *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
    ],
    dtype=torch.float32,
).view(8, 8)


class Random:
    """Draws from a CPU generator and moves to the images' device, so that one seed has one result on any machine; but
    noise for a GPU is drawn there, by a seed from that generator."""

    def __init__(self, generator: Generator, device: torch.device):
        self.generator, self.device = generator, device

    def uniform(self, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Tensor:
        return (torch.rand(shape, generator=self.generator) * (high - low) + low).to(self.device)

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        if self.device.type == "cpu":
            return torch.randn(shape, generator=self.generator)
        seed = int(torch.randint(2**62, (), generator=self.generator))
        return torch.randn(shape, generator=Generator(self.device).manual_seed(seed), device=self.device)

    def choose(self, count: int, share: float) -> Tensor:
        """Indices of a random `share` of `count` items."""
        keep = torch.rand(count, generator=self.generator) < share
        return keep.nonzero()[:, 0].to(self.device)


def affine(
    images: Tensor, rng: Random, size: int, scale: float, rotate: float, shift: float, flip: float = 1
) -> Tensor:
    """Random similarity: log-uniform scale within ±`scale`, rotation within ±`rotate` degrees, shift within ±`shift` of
    the side; half of the images mirrored, times `flip`."""
    n = len(images)
    angle = rng.uniform((n,), -rotate, rotate) * (math.pi / 180)
    zoom = torch.exp(rng.uniform((n,), -scale, scale))
    mirror = torch.where(rng.uniform((n,)) < 0.5 * flip, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 0, 1] = torch.cos(angle) * zoom * mirror, -torch.sin(angle) * zoom
    theta[:, 1, 0], theta[:, 1, 1] = torch.sin(angle) * zoom * mirror, torch.cos(angle) * zoom
    theta[:, :, 2] = rng.uniform((n, 2), -2 * shift, 2 * shift)
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def colour(images: Tensor, rng: Random, strength: float = 1.0, grey: float = 1.0) -> Tensor:
    """Brightness, contrast, saturation, white balance and tone curve; one image in ten becomes grey, times `grey`."""
    n, s = len(images), strength
    saturation = rng.uniform((n, 1, 1, 1), 1 - 0.6 * s, 1 + 0.4 * s)
    saturation[rng.choose(n, 0.1 * s * grey)] = 0.0
    out = images.mean((1,), keepdim=True).lerp(images, saturation)
    mean = out.mean((1, 2, 3), keepdim=True)
    out = mean.lerp(out, rng.uniform((n, 1, 1, 1), 1 - 0.4 * s, 1 + 0.4 * s))
    balance = torch.exp(rng.uniform((n, 3, 1, 1), -0.15 * s, 0.15 * s) + rng.uniform((n, 1, 1, 1), -0.35 * s, 0.35 * s))
    out = out.mul_(balance).clamp_(0, 1)
    bend = rng.uniform((n, 1, 1, 1), -0.6 * s, 0.6 * s)  # a quadratic tone curve: a gamma change without the power
    return out.addcmul_(out * bend, 1 - out)


def rescale(images: Tensor, rng: Random, lowest: float = 0.2) -> Tensor:
    """Down to a random size and up again, as pictures from far away are."""
    size = images.shape[-1]
    small = max(8, int(size * math.exp(float(rng.uniform((1,), math.log(lowest), math.log(0.8))))))
    down = F.interpolate(images, size=(small, small), mode="area")
    return F.interpolate(down, size=(size, size), mode="bilinear", align_corners=False)


def blur(images: Tensor, rng: Random, widest: float = 2.5) -> Tensor:
    """Gaussian blur with one random width in pixels for all given images."""
    sigma = float(rng.uniform((1,), 0.4, widest))
    radius = max(1, math.ceil(2 * sigma))
    x = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)


def jpeg(images: Tensor, rng: Random, worst: float = 10, best: float = 60) -> Tensor:
    """Quantise 8×8 cosine coefficients as JPEG does, at one random quality (luminance table for every channel)."""
    size = images.shape[-1]
    pad = -size % 8
    x = F.pad(images, (0, pad, 0, pad), mode="replicate") * 255 - 128
    k = torch.arange(8, device=images.device, dtype=images.dtype)
    dct = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) * 0.5
    dct[0] *= math.sqrt(0.5)
    quality = float(rng.uniform((1,), worst, best))
    table = _QUANTISATION.to(images) * (50 / quality if quality < 50 else 2 - quality / 50)
    n, c, height, width = x.shape
    blocks = x.view(n, c, height // 8, 8, width // 8, 8).transpose(3, 4)
    coefficients = dct @ blocks @ dct.T
    coefficients = (coefficients / table).round() * table
    blocks = (dct.T @ coefficients @ dct).transpose(3, 4)
    return ((blocks.reshape(n, c, height, width)[..., :size, :size] + 128) / 255).clamp(0, 1)


def occlude(images: Tensor, rng: Random) -> Tensor:
    """Cover a random rectangle (up to half the side) with a colour, with noise, or with a piece of another image."""
    n, _, height, width = images.shape
    x = torch.arange(width, device=images.device)[None]
    centre, half = rng.uniform((n, 2)), rng.uniform((n, 2), 0.05, 0.25)
    across = ((x / width - centre[:, :1]).abs() < half[:, :1])[:, None, None, :]
    y = torch.arange(height, device=images.device)[None]
    down = ((y / height - centre[:, 1:]).abs() < half[:, 1:])[:, None, :, None]
    other = images.roll(1, 0).flip(2)
    plain = rng.uniform((n, 3, 1, 1)).expand_as(images)
    fill = torch.where(rng.uniform((n, 1, 1, 1)) < 0.5, other, plain)
    return torch.where(across & down, fill, images)


def replace_background(images: Tensor, rng: Random) -> Tensor:
    """Keep a soft ellipse around an aligned face and put another image, turned upside down, behind it."""
    n, _, height, width = images.shape
    y = torch.linspace(-1, 1, height, device=images.device)[None, :, None]
    x = torch.linspace(-1, 1, width, device=images.device)[None, None]
    radius = rng.uniform((n, 2, 1, 1), 0.75, 1.1)
    inside = torch.sigmoid((1 - (x / radius[:, 0]) ** 2 - ((y - 0.1) / radius[:, 1]) ** 2) * 12)[:, None]
    behind = images.roll(1, 0).flip(2)
    behind = torch.where(rng.uniform((n, 1, 1, 1)) < 0.3, rng.uniform((n, 3, 1, 1)).expand_as(images), behind)
    return images * inside + behind * (1 - inside)


def noise(images: Tensor, rng: Random, most: float = 0.08) -> Tensor:
    """Normal noise of a random standard deviation up to `most` on each image."""
    amount = rng.uniform((len(images), 1, 1, 1), 0.0, most)
    return images + rng.normal(tuple(images.shape)) * amount


def crop(images: Tensor, rng: Random, least: float = 0.9) -> Tensor:
    """A random square piece of at least a share `least` of each square image's area, made as large as the image."""
    n, size = len(images), images.shape[-1]
    side = rng.uniform((n,), least, 1.0).sqrt()
    theta = torch.zeros(n, 2, 3, device=images.device)
    theta[:, 0, 0] = theta[:, 1, 1] = side
    theta[:, :, 2] = rng.uniform((n, 2), -1, 1) * (1 - side)[:, None]
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def erase(images: Tensor, rng: Random, most: float = 0.1) -> Tensor:
    """Random erasing (Zhong et al. 2020): a rectangle of 2 % to a share `most` of each image, of sides 0.3 to 3.3, is
    noise."""
    n, _, height, width = images.shape
    area = rng.uniform((n,), min(0.02, most), most)
    aspect = torch.exp(rng.uniform((n,), math.log(0.3), math.log(3.3)))
    half = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], 1).clamp(max=1) / 2  # shares of width, height
    centre = half + rng.uniform((n, 2)) * (1 - 2 * half)
    x, y = ((torch.arange(side, device=images.device)[None] + 0.5) / side for side in (width, height))
    across, down = ((at - centre[:, i, None]).abs() < half[:, i, None] for i, at in enumerate((x, y)))
    return torch.where(down[:, None, :, None] & across[:, None, None, :], rng.uniform(tuple(images.shape)), images)


def grey(images: Tensor, rng: Random) -> Tensor:
    """Without colour."""
    return images.mean(1, keepdim=True).expand_as(images)


def shuffle(images: Tensor, generator: Generator) -> Tensor:
    """Cut square pictures (N, 3, S, S) into 3×3 to 8×8 pieces and put those in another order."""
    out, size = images.clone(), images.shape[-1]
    for index in range(len(images)):
        cells = int(torch.randint(3, 9, (1,), generator=generator))
        piece = size // cells
        used = images[index, :, : piece * cells, : piece * cells]
        tiles = used.unfold(1, piece, piece).unfold(2, piece, piece).flatten(1, 2)
        order = torch.randperm(cells**2, generator=generator)
        order = order.roll(1) if bool((order == torch.arange(cells**2)).all()) else order
        tiles = tiles[:, order.to(tiles.device)].unflatten(1, (cells, cells)).permute(0, 1, 3, 2, 4)
        out[index, :, : piece * cells, : piece * cells] = tiles.reshape(3, piece * cells, piece * cells)
    return out


Change = Callable[[Tensor, Random], Tensor]


def sometimes(images: Tensor, rng: Random, changes: Sequence[tuple[float, Change]], often: float = 1.0) -> None:
    """Make each change to a random share of the images, times `often`; in place, one after the other."""
    for share, change in changes:
        rows = rng.choose(len(images), share * often)
        if len(rows):
            images[rows] = change(images[rows], rng)
