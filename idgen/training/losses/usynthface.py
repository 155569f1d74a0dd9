"""USynthFace (Boutros et al. 2023): learning without labels, from two views of one person.

−log(e^((q·k − m)/T) / (e^((q·k − m)/T) + Σ e^(q·nⱼ/T))): q by the network that learns, k by a slowly moving copy of it,
from the other view, n what that copy made of others before, in a queue (MoCo, He et al. 2020).
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from idgen.ground.errors import InputError
from idgen.training.losses.together import gathered

MOMENTUM = 0.999


class USynthFace(nn.Module):
    """`size` numbers in a vector, `margin` m (0.1), `scale` 1/T (1/0.07), `queue` vectors of others. One number, ().

    What is in the queue of a person themself, from an earlier batch, is no negative: the published program, with one
    picture a person, need not look. The queue begins with random vectors.
    """

    faster = 1.0
    queue: Tensor
    whose: Tensor
    place: Tensor

    def __init__(self, size: int, margin: float = 0.1, scale: float = 1 / 0.07, queue: int = 32_768):
        super().__init__()
        self.margin, self.scale = margin, scale
        self.register_buffer("queue", normalize(torch.randn(queue, size)))
        self.register_buffer("whose", torch.full((queue,), -1))
        self.register_buffer("place", torch.tensor(0))

    def chance(self) -> float:
        """The loss of a network that knows nothing: all cosines are 0."""
        return math.log1p(len(self.queue) * math.exp(self.scale * self.margin))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss of embeddings (2N, D), of any length, view by view: query, key, query, key, …; labels (2N,) say who
        it is, only so that nobody is pushed away from themself. The keys then enter the queue."""
        queries, keys, who = normalize(embeddings[0::2]), normalize(embeddings[1::2].detach()), labels[0::2]
        others = (queries @ self.queue.T.clone()).masked_fill(who[:, None] == self.whose[None], -torch.inf)
        own = (queries * keys).sum(1, keepdim=True) - self.margin
        logits = self.scale * torch.cat([own, others], 1)
        loss = cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
        if self.training:
            self._enter(gathered(keys), gathered(who))
        return loss

    @torch.no_grad()
    def _enter(self, keys: Tensor, who: Tensor) -> None:
        if len(keys) > len(self.queue):
            raise InputError(
                f"A queue of {len(self.queue):,} holds no batch of {len(keys):,} people: let it be longer."
            )
        where = (int(self.place) + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[where], self.whose[where] = keys.to(self.queue), who
        self.place.add_(len(keys)).remainder_(len(self.queue))


class TwoViews(nn.Module):
    """The slowly moving copy of a network."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.copy = deepcopy(network).requires_grad_(False)

    def embed(self, network: Any, pixels: Tensor) -> Tensor:
        """Embeddings (2N, D) of pictures (2N, …), every first one by the network, every second one by the copy."""
        queries = network(pixels[0::2])
        with torch.no_grad():
            for mine, theirs in zip(self.copy.parameters(), network.parameters(), strict=True):
                mine.lerp_(theirs.detach(), 1 - MOMENTUM)
            keys = self.copy(pixels[1::2])
        return torch.stack([queries, keys], 1).flatten(0, 1)
