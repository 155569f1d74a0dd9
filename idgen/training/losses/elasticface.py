"""ElasticFace (Boutros et al. 2022): the margin of CosFace or ArcFace drawn anew for every picture, from N(m, σ²), not
clipped."""

from __future__ import annotations

import math

import torch
from pytorch_metric_learning import losses
from torch import Tensor

from idgen.training.losses.margin import PerPicture

SIGMA = 0.05
"""σ of both published kinds."""


class ElasticCosFace(PerPicture, losses.CosFaceLoss):
    """`margin` m in cosine (0.35), `scale` s (64); draws from torch's global generator."""

    def __init__(self, people: int, size: int, margin: float = 0.35, scale: float = 64.0):
        super().__init__(people, size, margin=margin, scale=scale)

    def modify_cosine_of_target_classes(self, cosines: Tensor) -> Tensor:
        """cos θ − mᵢ."""
        return cosines - (self.margin + SIGMA * torch.randn_like(cosines))


class ElasticArcFace(ElasticCosFace):
    """`margin` m in radians (0.5), `scale` s (64); draws from torch's global generator."""

    def __init__(self, people: int, size: int, margin: float = 0.5, scale: float = 64.0):
        super().__init__(people, size, margin, scale)

    def modify_cosine_of_target_classes(self, cosines: Tensor) -> Tensor:
        """cos(θ + mᵢ); beyond π − mᵢ, cos θ − mᵢ·sin mᵢ."""
        margins = self.margin + SIGMA * torch.randn_like(cosines)
        angles = torch.acos(cosines.clamp(-1, 1))
        return torch.where(angles <= math.pi - margins, torch.cos(angles + margins), cosines - margins * margins.sin())
