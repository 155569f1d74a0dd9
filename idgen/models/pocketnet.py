"""PocketNet (Boutros et al. 2022): small recognisers of the cell that a search on faces found.

Its modules are called as in the published checkpoints.
"""

from __future__ import annotations

from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

Gene = tuple[tuple[tuple[str, int], tuple[str, int]], ...]
"""Of each node its two operations, and on what: 0 and 1 are the cell's inputs, 2 to 5 the nodes before."""
NORMAL: Gene = (
    (("3", 0), ("1", 1)),
    (("3", 2), ("5", 0)),
    (("3", 3), ("3", 0)),
    (("3", 4), ("skip", 0)),
)
REDUCE: Gene = (
    (("3", 1), ("7", 0)),
    (("skip", 2), ("5", 1)),
    (("pool", 0), ("skip", 2)),
    (("pool", 0), ("pool", 1)),
)
"""The published genotype, in whose reducing cells what comes from an input strides."""


class Separable(nn.Module):
    """PReLU, a depthwise and a pointwise convolution, batch norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1):
        super().__init__()
        self.net = nn.Sequential(
            nn.PReLU(in_channels),
            nn.Conv2d(in_channels, in_channels, kernel, stride, kernel // 2, groups=in_channels, bias=False),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.net(x))


class Halved(nn.Module):
    """Half the resolution: one half of the channels from the even pixels, the other from the odd ones."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.relu = nn.PReLU(in_channels)
        self.conv11 = nn.Conv2d(in_channels, in_channels, 1, 2, groups=in_channels, bias=False)
        self.conv12 = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.conv21 = nn.Conv2d(in_channels, in_channels, 1, 2, groups=in_channels, bias=False)
        self.conv22 = nn.Conv2d(in_channels, out_channels // 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(x)
        even, odd = self.conv12(self.conv11(x)), self.conv22(self.conv21(x[:, :, 1:, 1:]))
        return cast(Tensor, self.bn(torch.cat([even, odd], 1)))


class Pooled(nn.Module):
    """The largest of 3×3, then batch norm."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.pool = nn.MaxPool2d(3, stride, 1)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.bn(self.pool(x)))


def _operation(kind: str, channels: int, stride: int) -> nn.Module:
    if kind == "skip":
        return nn.Identity() if stride == 1 else Halved(channels, channels)
    return Pooled(channels, stride) if kind == "pool" else Separable(channels, channels, int(kind), stride)


class Cell(nn.Module):
    """Four nodes, each the sum of two operations on what is there before; all four together are the result."""

    def __init__(self, before: int, last: int, channels: int, after_reducing: bool, reducing: bool):
        super().__init__()
        self.preproc0 = Halved(before, channels) if after_reducing else Separable(before, channels, 1)
        self.preproc1 = Separable(last, channels, 1)
        self.gene = REDUCE if reducing else NORMAL
        self.dag = nn.ModuleList(
            nn.ModuleList(_operation(kind, channels, 2 if reducing and of < 2 else 1) for kind, of in node)
            for node in self.gene
        )

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        states = [self.preproc0(before), self.preproc1(last)]
        for node, operations in zip(self.gene, self.dag, strict=True):
            one, other = (run(states[of]) for (_, of), run in zip(node, cast(nn.ModuleList, operations), strict=True))
            states.append(one + other)
        return torch.cat(states[2:], 1)


class PocketNetRecognizer(ModelMixin, ConfigMixin):
    """PocketNet; by default PocketNetS-128, .93 million parameters.

    Args:
        channels: of the first cells' nodes; a cell gives four times as many, and each of the three that halve the
            resolution doubles them. S has 16, M 32.
        layers: cells; S has 18, M 9.
        embedding_dim: length of the embedding; 128 or 256 in the published ones.
        image_size: side of the square input in pixels; a multiple of 16.
    """

    @register_to_config
    def __init__(self, channels: int = 16, layers: int = 18, embedding_dim: int = 128, image_size: int = 112):
        super().__init__()
        if image_size % 16:
            raise ValueError(f"image_size is a multiple of 16, got {image_size}")
        width = 4 * channels
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width))
        before, last, after = width, width, False
        cells = []
        for number in range(layers):
            reducing = number in (layers // 3, 2 * layers // 3, layers - 1)
            channels = 2 * channels if reducing else channels
            cells.append(Cell(before, last, channels, after, reducing))
            before, last, after = last, 4 * channels, reducing
        self.cells = nn.ModuleList(cells)
        wide = 1024 if embedding_dim == 512 else 512
        self.tail = nn.Sequential(
            nn.PReLU(last),
            nn.Conv2d(last, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.PReLU(wide),
            nn.Conv2d(wide, wide, image_size // 16, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.Conv2d(wide, embedding_dim, 1, bias=False),
            nn.BatchNorm2d(embedding_dim),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed faces: (N, 3, 112, 112) RGB in [-1, 1] to (N, D), not normalised."""
        before = last = self.stem(pixels)
        for cell in self.cells:
            before, last = last, cell(before, last)
        return cast(Tensor, self.tail(last).flatten(1))
