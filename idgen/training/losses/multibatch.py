"""Multibatch (Tadmor et al. 2016): all k² − k pairs of a batch, [1 − y(θ − ‖fᵢ − fⱼ‖²)]₊ with a threshold θ that is
learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from idgen.training.losses.together import gathered


class Multibatch(nn.Module):
    """Of unit vectors. One number, ().

    Args:
        margin: in place of the 1: 1 is the paper's.
        balanced: pairs of one person and of different people weigh the same, each by their own mean; else every pair
            does, as in the paper, where the few of one person let θ drift.
    """

    faster = 1.0

    def __init__(self, margin: float = 1.0, balanced: bool = True):
        super().__init__()
        self.margin, self.balanced = margin, balanced
        self.threshold = nn.Parameter(torch.tensor(1.0))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss of embeddings (N, D), of any length, with labels (N,); over all processes' pictures."""
        vectors, who = normalize(gathered(embeddings)), gathered(labels)
        distance = 2 - 2 * vectors @ vectors.T
        same = who[:, None] == who[None]
        y = torch.where(same, 1.0, -1.0).to(distance)
        cost = (self.margin - y * (self.threshold - distance)).relu()
        others = ~torch.eye(len(who), dtype=torch.bool, device=who.device)
        if not self.balanced:
            return cost[others].mean()
        kinds = [cost[kind] for kind in (same & others, ~same) if kind.any()]
        return torch.stack([kind.mean() for kind in kinds]).mean()
