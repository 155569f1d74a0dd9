"""Do pictures look like those they are to look like? Spectrum, eyes and mouth, early features: what PSNR does not see.

    python benchmarks/looks.py --faces FACES --autoencoder RUN/model --judge FOLDER [--sheet sheet.png]

says of an autoencoder what `figures.py` says of a model's, and draws sources above reconstructions.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from idgen import models
from idgen.faces.align import template
from idgen.faces.pixels import to_side
from idgen.training.data import load_faces

BANDS = ((1 / 16, 1 / 8), (1 / 8, 1 / 4), (1 / 4, 1 / 2))
"""In cycles a pixel; the last one ends where the sampling does."""
_BOX = 11 / 128  # half the side of a box round an eye, and of that round the mouth's corners beyond them


def grey(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, H, W, 3) to luminance in [0, 1]."""
    return pictures @ np.array([0.2126, 0.7152, 0.0722]) / 255


def bands(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, 3) energy in each of `BANDS` of the face region, the middle three quarters, under a Hann window."""
    side = pictures.shape[1]
    face = grey(pictures)[:, side // 8 : side - side // 8, side // 8 : side - side // 8]
    window = np.hanning(face.shape[1])
    face = (face - face.mean((1, 2), keepdims=True)) * np.outer(window, window)
    energy = np.abs(np.fft.fft2(face)) ** 2
    across = np.fft.fftfreq(face.shape[1])
    frequency = np.hypot(across[:, None], across[None])
    return np.stack([energy[:, (frequency >= low) & (frequency < high)].sum(1) for low, high in BANDS], 1)


def psnr(made: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    """Mean over pictures, in dB."""
    miss = ((made.astype(float) - wanted) ** 2).mean((1, 2, 3)).clip(1e-3)
    return float((10 * np.log10(255**2 / miss)).mean())


def boxes_psnr(made: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> float:
    """The same in boxes round eyes and mouth, where the template of aligned faces has them."""
    side = made.shape[1]
    points, half = template(side), round(_BOX * side)
    spans = [(points[0], points[0]), (points[1], points[1]), (points[3], points[4])]
    squares = []
    for first, last in spans:
        left, top = np.minimum(first, last).round().astype(int)
        right, bottom = np.maximum(first, last).round().astype(int)
        cut = np.s_[:, top - half : bottom + half, left - half : right + half]
        squares.append(((made[cut].astype(float) - wanted[cut]) ** 2).reshape(len(made), -1))
    return float((10 * np.log10(255**2 / np.concatenate(squares, 1).mean(1).clip(1e-3))).mean())


def frechet(one: torch.Tensor, other: torch.Tensor) -> float:
    """Fréchet distance of Gaussians fitted to features (N, F) and (M, F) (Heusel et al. 2017, eq. 6)."""
    (mean, cov), (mean2, cov2) = ((x.double().mean(0), torch.cov(x.double().T)) for x in (one, other))
    root = torch.linalg.eigvals(cov @ cov2).real.clamp(min=0).sqrt().sum()
    return float((mean - mean2).square().sum() + cov.trace() + cov2.trace() - 2 * root)


@torch.no_grad()
def early(pictures: NDArray[np.uint8], judge: Any) -> torch.Tensor:
    """(N, F) mean and deviation over the picture of each channel of the judge's first two stages."""
    out = []
    for start in range(0, len(pictures), 64):
        pixels = torch.from_numpy(np.array(pictures[start : start + 64])).permute(0, 3, 1, 2).float() / 127.5 - 1
        x, found = to_side(pixels, judge.config.image_size, True), []
        for layer in judge.body:
            after = layer(x)
            if found and after.shape[2] < x.shape[2] and len(found) == 2:
                break
            if after.shape[2] < x.shape[2] or not found:
                found.append(after)
            found[-1] = x = after
        out.append(torch.cat([torch.cat([one.mean((2, 3)), one.std((2, 3))], 1) for one in found], 1))
    return torch.cat(out)


@torch.no_grad()
def reconstruct(network: Any, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Through an autoencoder and back, (N, H, W, 3)."""
    out = []
    for start in range(0, len(pictures), 32):
        pixels = torch.from_numpy(np.array(pictures[start : start + 32])).permute(0, 3, 1, 2).float() / 127.5 - 1
        made = network(pixels).clamp(-1, 1)
        out.append(((made + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(out)


def autoencoder_figures(network: Any, pictures: NDArray[np.uint8], judge: Any, made: Any = None) -> dict[str, float]:
    """PSNR, that in boxes, bands ÷ the source's, and FD in the judge's first two stages ÷ that between two halves."""
    made = reconstruct(network, pictures) if made is None else made
    ratios = np.median(bands(made) / bands(pictures), 0)
    source = early(pictures, judge)
    halves = frechet(source[::2], source[1::2])
    return {
        "psnr": psnr(made, pictures),
        "boxes_psnr": boxes_psnr(made, pictures),
        **{f"band_{number}": float(ratio) for number, ratio in enumerate(ratios, 1)},
        "early_fd_ratio": frechet(source, early(made, judge)) / halves,
    }


def main() -> None:
    """Say it of an autoencoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="with val/")
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--judge", type=Path, required=True, help="a PlainRecognizer's folder")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--sheet", type=Path)
    asked = parser.parse_args()
    val = load_faces(asked.faces / "val").images
    some = np.array(val[:: max(1, len(val) // asked.pictures)])
    network = models.load(asked.autoencoder, models.FaceAutoencoder).float().eval()
    made = reconstruct(network, some)
    judge = models.load(asked.judge, models.PlainRecognizer).float().eval()
    print(json.dumps(autoencoder_figures(network, some, judge, made), indent=1))
    if asked.sheet:
        rows = np.arange(0, len(some), max(1, len(some) // 24))[:24]
        lines = [np.concatenate(list(one[part]), 1) for part in (rows[:12], rows[12:]) for one in (some, made)]
        sheet = Image.fromarray(np.concatenate(lines))
        sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST).save(asked.sheet)


if __name__ == "__main__":
    main()
