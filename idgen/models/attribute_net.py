"""Reads from an aligned face what it looks like: the attributes that a denoiser can be told, and the person's."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from idgen.ground.attributes import Vocabulary
from idgen.models.recognizer import ResNetRecognizer


class AttributeNet(ModelMixin, ConfigMixin):
    """A residual network with one output a number and one a name.

    Args:
        attributes: what it reads: of each its least and greatest number, or its names.
        channels: width of each stage, see `ResNetRecognizer`.
        blocks: residual blocks of each stage.
        width: of the layer before the outputs.
        image_size: side of the square input in pixels.
    """

    @register_to_config
    def __init__(
        self,
        attributes: dict[str, list[Any]],
        channels: tuple[int, ...] = (24, 48, 96, 192),
        blocks: tuple[int, ...] = (1, 2, 2, 1),
        width: int = 192,
        image_size: int = 96,
    ):
        super().__init__()
        self.vocabulary = Vocabulary(attributes)
        self.sizes = [len(self.vocabulary.values[n]) if self.vocabulary.named(n) else 1 for n in self.vocabulary.names]
        self.trunk = ResNetRecognizer(channels, blocks, width, image_size)
        self.out = nn.Linear(width, sum(self.sizes))

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) in [-1, 1] to (N, O): a number's place between its ends, from -1 to 1; a logit a name."""
        return cast(Tensor, self.out(self.trunk(pixels)))

    def rows(self, outputs: Tensor) -> Tensor:
        """Outputs (N, O) as numbers (N, A), as `Vocabulary` has them; of names the likeliest."""
        columns = []
        for name, part in zip(self.vocabulary.names, outputs.float().split(self.sizes, 1), strict=True):
            if self.vocabulary.named(name):
                columns.append(part.argmax(1).float())
            else:
                low, high = map(float, self.vocabulary.values[name])
                columns.append((low + (part[:, 0] + 1) / 2 * (high - low)).clamp(low, high))
        return torch.stack(columns, 1)

    def misses(self, outputs: Tensor, rows: Tensor, weights: list[Tensor | None]) -> Tensor:
        """(A,) mean loss of each attribute: smooth absolute difference, or cross-entropy with class weights; where rows
        (N, A) have NaN nothing is missed."""
        total = []
        for place, part in enumerate(outputs.float().split(self.sizes, 1)):
            known = rows[:, place].isfinite()
            wanted = rows[known, place]
            if not len(wanted):
                total.append(part.sum() * 0)
            elif self.vocabulary.named(name := self.vocabulary.names[place]):
                total.append(F.cross_entropy(part[known], wanted.long(), weights[place]))
            else:
                low, high = map(float, self.vocabulary.values[name])
                target = 2 * (wanted - low) / (high - low) - 1
                total.append(4 * F.smooth_l1_loss(part[known, 0], target, beta=0.1))
        return torch.stack(total)
