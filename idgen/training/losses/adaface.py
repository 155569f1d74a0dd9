"""AdaFace (Kim et al. 2022): the margin follows the picture's quality, told by the length of its embedding.

k = clip((‖z‖ − μ)/(σ + ε)·h, −1, 1), without a gradient, of running μ and σ; s·(cos(θ − m·k) − (m + m·k)) in place of
the own class's s·cos θ. k = −1 is ArcFace, k = 0 CosFace.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pytorch_metric_learning import losses
from torch import Tensor

from idgen.training.losses.margin import PerPicture
from idgen.training.losses.together import gathered

MOMENTUM, EPSILON = 0.99, 1e-3


class AdaFace(PerPicture, losses.CosFaceLoss):
    """`margin` m (0.4), `scale` s (64), `h` how far the quality reaches."""

    running: Tensor

    def __init__(self, people: int, size: int, margin: float = 0.4, scale: float = 64.0, h: float = 0.333):
        super().__init__(people, size, margin=margin, scale=scale)
        self.h = h
        self.register_buffer("running", torch.tensor([20.0, 100.0]))  # μ and σ, as published
        self._k: Tensor | float = 0.0

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """See `PerPicture`; the lengths of the embeddings (N, D) count, so they come as the network made them."""
        lengths = embeddings.detach().norm(dim=1).clamp(0.001, 100)
        if self.training:  # of the whole batch, that of all processes
            everybody = gathered(lengths)
            batch = torch.stack([everybody.mean(), everybody.std()]).to(self.running)
            self.running.lerp_(batch, 1 - MOMENTUM)
        mean, deviation = self.running.to(lengths)
        self._k = ((lengths - mean) / (deviation + EPSILON) * self.h).clamp(-1, 1)
        try:
            return super().forward(embeddings, labels)
        finally:
            self._k = 0.0

    def modify_cosine_of_target_classes(self, cosines: Tensor) -> Tensor:
        """cos(clip(θ − m·k, ε, π − ε)) − (m + m·k)."""
        m: Any = self.margin
        angles = torch.acos(cosines.clamp(-1, 1)) - m * self._k
        return torch.cos(angles.clamp(EPSILON, math.pi - EPSILON)) - (m + m * self._k)
