"""Left and right of a face are one person (SymFace, Prasad et al. 2024): a frontal face is cut in the middle, each half
completed by its own mirror image, and 1 − the cosine of the two is learned, too."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn.functional import cosine_similarity, interpolate, pad

from idgen.faces.encoder import FaceEncoder
from idgen.ground.errors import InputError
from idgen.ground.hub import BUILTIN, DEFAULT_MODEL
from idgen.ground.words import percent
from idgen.training.mixture import Mixture

FRONTAL = 0.8
"""From this frontness on a face is frontal: heads that are turned by up to 10°."""
FEW = 0.2
"""Share of frontal faces below which little is to be learned from them."""
MOST = 50_000
"""Pictures that are looked at for frontal ones, evenly spread."""


@torch.no_grad()
def frontness(network: Any, pixels: Tensor) -> NDArray[np.float64]:
    """(N,) from 0 to 1, frontal: 1 − twice how far the nose is from the eyes' middle, in eye distances.

    Args:
        network: a `FaceFinderNet`, whose second network knows aligned faces.
        pixels: (N, 3, S, S) aligned faces in [0, 1].
    """
    side = network.config.crop_size
    inner = round(2 / 3 * side)
    small = interpolate(pixels * 2 - 1, size=(inner, inner), mode="bilinear", antialias=True)
    before = (side - inner) // 2
    points, _ = network.correct(pad(small, [before, side - inner - before] * 2))
    x = points[..., 0].double().cpu().numpy()
    away = np.abs(x[:, 2] - x[:, :2].mean(1)) / np.maximum(np.abs(x[:, 1] - x[:, 0]), 1e-9)
    return np.clip(1 - 2 * away, 0, 1)


def completed(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Faces (N, 3, H, W), W even, of their left halves alone, and of their right halves."""
    left, right = pixels.tensor_split(2, dim=3)
    return torch.cat([left, left.flip(3)], 3), torch.cat([right.flip(3), right], 3)


class Symmetry:
    """The frontal faces of what is learned from.

    Raises:
        InputError: there is none.
    """

    def __init__(self, faces: Mixture, device: torch.device | str = "cpu"):
        self.faces = faces
        finder = FaceEncoder.from_pretrained(BUILTIN / DEFAULT_MODEL / "encoder").finder
        assert finder is not None
        network = finder.net.to(device)
        looked = np.unique(np.linspace(0, len(faces) - 1, min(len(faces), MOST)).round().astype(np.int64))
        parts = np.split(looked, range(256, len(looked), 256))
        seen = np.concatenate([frontness(network, faces.pixels(rows, device)) for rows in parts])
        self.rows = looked[seen >= FRONTAL]
        share = len(self.rows) / len(looked)
        if not len(self.rows):
            raise InputError("No face to learn from is frontal, so left and right cannot be compared: no --symmetry.")
        if share < FEW:
            print(f"Only {percent(share)} of the faces are frontal, and symmetry is learned by them.", file=sys.stderr)

    def cost(self, network: Any, number: int, generator: Generator) -> Tensor:
        """The mean of 1 − cos between the two completed halves of so many frontal faces, drawn anew; by the network's
        running statistics, which half faces leave alone."""
        rows = self.rows[torch.randint(len(self.rows), (number,), generator=generator).numpy()]
        side = network.config.image_size
        pixels = self.faces.pixels(rows, next(network.parameters()).device) * 2 - 1
        pixels = interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)
        learning = network.training
        network.eval()
        one, other = (network(half).float() for half in completed(pixels))
        network.train(learning)
        return 1 - cosine_similarity(one, other).mean()
