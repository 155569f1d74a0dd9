"""What losses with a class vector a person have in common: pytorch-metric-learning's large-margin softmax, a number a
picture."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor


class PerPicture:
    """Mixed into a loss of pytorch-metric-learning with vectors `W` (D, C): its forward gives (N,) numbers."""

    W: Tensor
    margin: Any
    scale: float
    num_classes: int
    faster = 1.0
    """Times the network's learning rate, at which the loss's own parameters learn."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """(N,) cross entropies of embeddings (N, D), of any length, with labels (N,)."""
        found = self.compute_loss(embeddings, labels, None, embeddings, labels)  # type: ignore[attr-defined]
        return cast(Tensor, found["loss"]["losses"])

    def cast_types(self, dtype: torch.dtype, device: torch.device) -> None:
        """Nothing: the package would cast the class vectors to the embeddings' bfloat16, for good."""

    @property
    def vectors(self) -> Tensor:
        """(C, D) one a person."""
        return self.W.T

    def own(self, cosines: Tensor) -> Tensor:
        """(N,) what the cosines to the own class vectors become."""
        return cast(Tensor, self.modify_cosine_of_target_classes(cosines))  # type: ignore[attr-defined]

    def chance(self) -> float:
        """The loss of a network that knows nothing: all cosines are 0."""
        others, own = math.log(max(1, self.num_classes - 1)), self.scale * float(self.own(torch.zeros(1)).mean())
        return max(others - own, 0.0) + math.log1p(math.exp(-abs(others - own)))
