"""Face recognisers: an aligned 112×112 RGB face in, a 512-d embedding out.

Architectures with little in common but their interface, so that one may judge what another conditions:
`ResNetRecognizer` (residual; the built-in encoder) and `PlainRecognizer` (no shortcuts, folded pixels, weighed places;
the built-in judge). Plain 3×3 convolutions beat depthwise ones in accuracy per CPU-second, forward and backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut (He et al. 2016); the first may stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(h)) + self.shortcut(x))


class ResNetRecognizer(ModelMixin, ConfigMixin):
    """Small residual recogniser.

    Args:
        channels: width of each stage; every stage halves the resolution after a stride-2 stem.
        blocks: residual blocks in each stage.
        embedding_dim: length of the embedding.
        image_size: side of the square input in pixels.
        quality: with a second head, which predicts how surely a face can be told from others' (CR-FIQA, Boutros et al.
            2023; see `idgen.training.recognition.certainty_ratio`).
    """

    @register_to_config
    def __init__(
        self,
        channels: Sequence[int] = (48, 96, 192, 384),
        blocks: Sequence[int] = (1, 2, 2, 1),
        embedding_dim: int = 512,
        image_size: int = 112,
        quality: bool = False,
    ):
        super().__init__()
        stages, width, side = [], channels[0], (image_size + 1) // 2
        self.stem = nn.Sequential(nn.Conv2d(3, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        for stage_width, count in zip(channels, blocks, strict=True):
            for index in range(count):
                stages.append(ResidualBlock(width, stage_width, 2 if index == 0 else 1))
                width = stage_width
            side = (side + 1) // 2
        self.body = nn.Sequential(*stages)
        # Flattening keeps where a feature was: aligned faces have the same part in the same place (ArcFace's "E" head).
        self.head = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Flatten(),
            nn.Linear(width * side * side, embedding_dim, bias=False),
            nn.BatchNorm1d(embedding_dim),
        )
        if quality:
            self.quality_head = nn.Sequential(nn.Flatten(), nn.Linear(width * side * side, 1))

    def embed_and_rate(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (N, D), and of a recogniser with `quality` how sure they are (N,), higher is better.

        What the quality head learns stays in it: no gradient goes from it to the rest.

        Args:
            pixels: as `forward`.
        """
        maps = self.maps(pixels)
        return cast(Tensor, self.head[1:](maps)), cast(Tensor, self.quality_head(maps.detach())[:, 0])

    def maps(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) what the last layer, and a quality head, are given of pictures as `forward` takes them."""
        return cast(Tensor, self.head[0](self.body(self.stem(pixels))))

    def features(self, pixels: Tensor) -> list[Tensor]:
        """Activations after the stem and every residual block, for a perceptual distance."""
        out = [self.stem(pixels)]
        for block in self.body:
            out.append(block(out[-1]))
        return out

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed faces.

        Args:
            pixels: (N, 3, 112, 112) RGB in [-1, 1], aligned to the ArcFace template.

        Returns:
            (N, 512) embeddings, not normalised.
        """
        return cast(Tensor, self.head(self.body(self.stem(pixels))))


class PlainRecognizer(ModelMixin, ConfigMixin):
    """Convolutions without shortcuts on folded pixels, and a head that weighs every place of every channel.

    The resolution falls by space to depth, never by a stride; the head is MobileFaceNet's global depthwise convolution
    (Chen et al. 2018).

    Args:
        channels: width at 1/4, 1/8 and 1/16 of the image's side.
        depths: 3×3 convolutions at each.
        embedding_dim: length of the embedding.
        image_size: side of the square input in pixels; a multiple of 16.
    """

    @register_to_config
    def __init__(
        self,
        channels: Sequence[int] = (48, 96, 192),
        depths: Sequence[int] = (2, 3, 2),
        embedding_dim: int = 512,
        image_size: int = 112,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        folded, fold = 3, 4
        for width, depth in zip(channels, depths, strict=True):
            layers += [nn.PixelUnshuffle(fold)]
            for index in range(depth):
                inputs = folded * fold**2 if index == 0 else width
                layers += [nn.Conv2d(inputs, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)]
            folded, fold = width, 2
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Conv2d(width, width, image_size // 16, groups=width, bias=False),
            nn.Flatten(),
            nn.BatchNorm1d(width),
            nn.Linear(width, embedding_dim, bias=False),
            nn.BatchNorm1d(embedding_dim),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed faces: (N, 3, 112, 112) RGB in [-1, 1] to (N, 512), not normalised."""
        return cast(Tensor, self.head(self.body(pixels)))
