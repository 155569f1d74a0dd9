"""How surely a face can be told from others', from its vector by any recogniser."""

from __future__ import annotations

from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class QualityNet(ModelMixin, ConfigMixin):
    """A recogniser's vector, before it is normalised, to one number: CR-FIQA's head for a recogniser that is not
    trained with it (Boutros et al. 2023), with a hidden layer, since this recogniser does not learn to help it.

    Args:
        dim: length D of the vectors.
        width: of the hidden layer.
    """

    @register_to_config
    def __init__(self, dim: int, width: int = 128):
        super().__init__()
        self.norm = nn.BatchNorm1d(dim + 1, affine=False)
        self.layers = nn.Sequential(nn.Linear(dim + 1, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (N, D) to (N,); higher is better."""
        lengths = vectors.norm(dim=1, keepdim=True)
        inputs = torch.cat([vectors / lengths.clamp(min=1e-6), lengths.clamp(min=1e-6).log()], 1)
        return cast(Tensor, self.layers(self.norm(inputs))[:, 0])
