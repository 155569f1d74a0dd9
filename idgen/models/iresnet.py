"""The "improved" residual network of the published face recognisers: ArcFace, ElasticFace and many others.

Its modules are called as in those checkpoints (`arcface_torch`, `Elastic_R100_295672backbone.pth`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class PreActivatedBlock(nn.Module):
    """Batch norm first, two 3×3 convolutions of which the second may stride, batch norm last, no activation after the
    sum (Han et al. 2017; Deng et al. 2019, section 3.1)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.prelu = nn.PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        h = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return cast(Tensor, self.bn3(self.conv2(h)) + self.downsample(x))


class IResNetRecognizer(ModelMixin, ConfigMixin):
    """IResNet; by default iresnet100.

    Args:
        channels: width of each stage; each halves the resolution, after a stem that keeps it.
        blocks: residual blocks in each; (3, 4, 14, 3) is iresnet50.
        embedding_dim: length of the embedding.
        image_size: side of the square input in pixels; a multiple of 2 to the number of stages.
        dropout: share of what goes into the last layer that is dropped in training.
    """

    @register_to_config
    def __init__(
        self,
        channels: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (3, 13, 30, 3),
        embedding_dim: int = 512,
        image_size: int = 112,
        dropout: float = 0.0,
    ):
        super().__init__()
        width = channels[0]
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.stages = len(blocks)
        for stage, (outputs, count) in enumerate(zip(channels, blocks, strict=True), 1):
            first = PreActivatedBlock(width, outputs, 2)
            rest = (PreActivatedBlock(outputs, outputs, 1) for _ in range(count - 1))
            self.add_module(f"layer{stage}", nn.Sequential(first, *rest))
            width = outputs
        self.bn2 = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(width * (image_size >> self.stages) ** 2, embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim)
        self.features.weight.requires_grad = False  # 1 in all published ones

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed faces: (N, 3, 112, 112) RGB in [-1, 1] to (N, 512), not normalised."""
        x = self.prelu(self.bn1(self.conv1(pixels)))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return cast(Tensor, self.features(self.fc(self.drop(torch.flatten(self.bn2(x), 1)))))
