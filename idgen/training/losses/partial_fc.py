"""Sampled class vectors (Partial FC, An et al. 2022), so that a million people fit: a step compares with the people of
its batch and a random part of the others. And the Adam that leaves alone what was not compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from idgen.training.losses.margin import PerPicture
from idgen.training.losses.together import gathered


class PartialFC(nn.Module):
    """A loss with class vectors, on a part of them.

    Args:
        loss: the loss, with all vectors.
        share: of the people that a step compares with; those of the batch always, if they alone are more.
    """

    faster = 1.0

    def __init__(self, loss: PerPicture, share: float):
        super().__init__()
        self.inner: Any = loss
        self.people, self.share = loss.num_classes, share
        self.generator = Generator()

    @property
    def margin(self) -> Any:
        """Of the loss."""
        return self.inner.margin

    @margin.setter
    def margin(self, value: Any) -> None:
        self.inner.margin = value

    @property
    def vectors(self) -> Tensor:
        """(C, D) all of them, one a person."""
        return cast(Tensor, self.inner.vectors)

    def chance(self) -> float:
        """See `PerPicture.chance`; of all people, so more than it is."""
        self.inner.num_classes = self.people
        return cast(float, self.inner.chance())

    def sample(self, labels: Tensor) -> Tensor:
        """The sorted numbers (S,) of the people to compare with: those of labels (N,), in all processes, and others at
        random, the same in all processes where `generator` is seeded alike."""
        among = torch.rand(self.people, generator=self.generator).to(labels.device)
        among[gathered(labels)] = 2.0
        most = max(int((among == 2).sum()), round(self.share * self.people))
        return among.topk(most).indices.sort().values

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """As that of the loss, of embeddings (N, D) and labels (N,)."""
        chosen = self.sample(labels)
        self.inner.num_classes = len(chosen)
        vectors = self.inner.W.index_select(1, chosen)
        among = torch.searchsorted(chosen, labels)
        return cast(Tensor, functional_call(self.inner, {"W": vectors}, (embeddings, among)))


class LazyAdam(Optimizer):
    """Adam (Kingma and Ba 2015) of matrices (D, C) whose columns have no gradient at most steps: such a column and its
    moments stay as they are, and its own steps count."""

    def __init__(self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.99), eps: float = 1e-8):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move the columns that have a gradient."""
        for group in self.param_groups:
            first, second = group["betas"]
            for p in (p for p in group["params"] if p.grad is not None):
                state = self.state[p]
                if not state:
                    state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
                    state["steps"] = torch.zeros(p.shape[1], device=p.device)
                seen = p.grad.any(0).nonzero()[:, 0]
                grad, steps = p.grad[:, seen], state["steps"][seen] + 1
                mean = state["mean"][:, seen].lerp(grad, 1 - first)
                square = state["square"][:, seen].lerp(grad**2, 1 - second)
                state["steps"][seen], state["mean"][:, seen], state["square"][:, seen] = steps, mean, square
                size = (square / (1 - second**steps)).sqrt_().add_(group["eps"])
                p[:, seen] -= group["lr"] * (mean / (1 - first**steps)) / size
        return None
