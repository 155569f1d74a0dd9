"""Face finder: a picture in, the five landmarks and a confidence of every face in it out.

Found in one pass without anchors (as in CenterNet, Zhou et al. 2019): a heat map says in which cell of a coarse grid a
face is centred; each cell also predicts the face's size and its landmarks relative to the cell, in units of that size.
A second, smaller network then looks at a crop that these landmarks have turned and scaled upright, says whether a face
is there at all, and corrects them (a cascade, as in MTCNN, Zhang et al. 2016).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from idgen.ground.geometry import TEMPLATE
from idgen.models.dit import zeroed
from idgen.models.recognizer import ResidualBlock

_TEMPLATE = torch.tensor(TEMPLATE, dtype=torch.float32, device="cpu")


def _spread(landmarks: Tensor) -> Tensor:
    centred = landmarks - landmarks.mean(-2, keepdim=True)
    return centred.square().sum(-1).mean(-1).sqrt()


def face_size(landmarks: Tensor) -> Tensor:
    """Side in pixels of the square crop that alignment would cut: (..., 5, 2) to (...)."""
    return _spread(landmarks) * (112 / _spread(_TEMPLATE))


class FaceFinderNet(ModelMixin, ConfigMixin):
    """Convolutional pyramid with one head at 1/8 of the input's resolution.

    Args:
        channels: widths at 1/4, 1/8, 1/16 and 1/32.
        image_size: side of the square input, a multiple of 32.
        threshold: confidence from which a face counts as found.
        crop_channels: widths of the second network, which halves the resolution with each.
        crop_size: side of its input, on which the face is aligned, the template filling two thirds.
    """

    @register_to_config
    def __init__(
        self,
        channels: tuple[int, int, int, int] = (32, 64, 128, 160),
        image_size: int = 192,
        threshold: float = 0.5,
        crop_channels: tuple[int, int, int, int] = (32, 64, 96, 128),
        crop_size: int = 96,
    ):
        super().__init__()
        a, b, c, d = channels
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, a, 3, 1, 1, bias=False),
            nn.BatchNorm2d(a),
            nn.ReLU(),
            ResidualBlock(a, a, 1),
        )
        self.down8 = nn.Sequential(ResidualBlock(a, b, 2), ResidualBlock(b, b, 1))
        self.down16 = nn.Sequential(ResidualBlock(b, c, 2), ResidualBlock(c, c, 1))
        self.down32 = nn.Sequential(ResidualBlock(c, d, 2), ResidualBlock(d, d, 1))
        self.lateral32 = nn.Conv2d(d, c, 1)
        self.lateral16 = nn.Conv2d(c, b, 1)
        self.merge = ResidualBlock(b, b, 1)
        self.head = nn.Conv2d(b, 12, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        self.head.bias = nn.Parameter(torch.tensor([-4.0] + [0.0] * 11))  # few cells hold a face
        a, b, c, d = crop_channels
        last = zeroed(nn.Linear(128, 11))
        self.corrector = nn.Sequential(
            nn.PixelUnshuffle(2),
            *(nn.Conv2d(12, a, 3, 1, 1, bias=False), nn.BatchNorm2d(a), nn.ReLU()),
            *(ResidualBlock(a, b, 2), ResidualBlock(b, c, 2), ResidualBlock(c, d, 2), ResidualBlock(d, d, 1)),
            *(nn.Flatten(), nn.Linear(d * (crop_size // 16) ** 2, 128), nn.ReLU(), last),
        )

    @property
    def crop_template(self) -> Tensor:
        """(5, 2) landmarks of a face that is aligned in the correcting network's crop, in its pixels."""
        size = self.config.crop_size
        return (_TEMPLATE - 56) * (2 / 3 * size / 112) + size / 2

    def correct(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Look again at faces that are roughly aligned.

        Args:
            crops: (N, 3, C, C) RGB in [-1, 1].

        Returns:
            Landmarks (N, 5, 2) in pixels of the crop; logits (N,) of there being a face so aligned.
        """
        out = self.corrector(crops).float()
        offsets = out[:, :10].view(-1, 5, 2)
        return self.crop_template.to(offsets) + offsets * (self.config.crop_size / 4), out[:, 10]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict on a grid.

        Args:
            pixels: (N, 3, H, W) RGB in [-1, 1], sides of multiples of 32; faces look alike at any size of a picture,
                those are found best that fill about as much as they did in training, of `image_size` pixels.

        Returns:
            Heat logits (N, h, w); face size in pixels (N, h, w); landmarks in pixels (N, h, w, 5, 2); h = H / 8.
        """
        x8 = self.down8(self.stem(pixels))
        x16 = self.down16(x8)
        x32 = self.down32(x16)
        x16 = x16 + F.interpolate(self.lateral32(x32), scale_factor=2, mode="nearest")
        x8 = self.merge(x8 + F.interpolate(self.lateral16(x16), scale_factor=2, mode="nearest"))
        out = self.head(x8).float()
        size = self.config.image_size / 4 * torch.exp(out[:, 1].clamp(-4, 3))
        n, height, width = size.shape
        rows, columns = torch.meshgrid(*(torch.arange(n, device=out.device) for n in (height, width)), indexing="ij")
        cells = (torch.stack([columns, rows], -1).to(out) + 0.5) * 8
        offsets = out[:, 2:].permute(0, 2, 3, 1).reshape(n, height, width, 5, 2)
        template = ((_TEMPLATE - _TEMPLATE.mean(0)) / 112).to(out)
        landmarks = cells[:, :, None] + size[..., None, None] * (template + offsets)
        return out[:, 0], size, landmarks

    @torch.no_grad()
    def detect(self, pixels: Tensor, threshold: float | None = None) -> list[list[tuple[float, Tensor, float]]]:
        """Find faces.

        Args:
            pixels: (N, 3, H, W), see `forward`.
            threshold: confidence from which a face counts; by default the network's own.

        Returns:
            For every picture its faces as (confidence, landmarks (5, 2) in pixels, size in pixels), surest first.
        """
        least = self.config.threshold if threshold is None else threshold
        logits, sizes, landmarks = self(pixels)
        confidence = logits.sigmoid()
        peak = confidence == F.max_pool2d(confidence[:, None], 3, 1, 1)[:, 0]
        found: list[list[tuple[float, Tensor, float]]] = []
        for n in range(len(pixels)):
            rows, columns = (peak[n] & (confidence[n] >= least)).nonzero().unbind(1)
            order = confidence[n, rows, columns].argsort(descending=True, stable=True)
            rows, columns = rows[order], columns[order]
            sure, points, sizes_ = (of[n, rows, columns].cpu() for of in (confidence, landmarks, sizes))
            centres, size = points.mean(1).numpy(), sizes_.numpy()
            kept: list[int] = []
            for one in range(len(size)):
                away = np.linalg.norm(centres[kept] - centres[one], axis=1)
                if (away > 0.4 * np.maximum(size[kept], size[one])).all():
                    kept.append(one)
            found.append([(float(sure[one]), points[one], float(size[one])) for one in kept])
        return found
