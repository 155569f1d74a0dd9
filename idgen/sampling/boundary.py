"""Identity boundary (ExFaceGAN, Boutros et al., IJCB 2023): which way is "more like this person", as a linear boundary.

A pool of draws, vectors or noises, is pictured, and each picture compared with the person. A logistic regression
between the more and the less similar half gives a direction; people are then varied along it, on the side of the
person, or on the other one, which ExFaceGAN takes as a second person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from idgen.ground.devices import pinned
from idgen.ground.errors import InputError

Side = Literal["similar", "dissimilar", "both"]


@dataclass(frozen=True, eq=False)
class Boundary:
    """A hyperplane normal·x + offset = 0 in the space of the draws.

    Args:
        normal: (D,) unit vector towards the similar side.
        offset: of the hyperplane.
        accuracy: share of the pool on the side where it belongs, each fifth by a boundary fitted without it; 0.5 is
            chance, and then the direction means nothing.
    """

    normal: Tensor
    offset: float
    accuracy: float

    @classmethod
    @pinned()
    def fit(cls, draws: Tensor, similarity: Tensor, penalty: float = 1.0) -> Boundary:
        """Fit on a pool: the half that is more similar than the median against the other.

        Args:
            draws: (N, …) vectors or noises, at least 8; flattened.
            similarity: (N,) of each one's picture to the person.
            penalty: λ of λ/2·|w|², on draws divided by their overall standard deviation; the mean loss is weighed by N.
                One scale for all dimensions keeps the direction that of the draws themselves.

        Raises:
            InputError: too few draws, NaN, or all similarities are the same.
        """
        x = draws.detach().cpu().double().flatten(1)
        s = similarity.detach().cpu().double()
        if len(x) < 8:
            raise InputError(f"A boundary needs at least 8 draws with a similarity each, got {len(x)}.")
        if not (x.isfinite().all() and s.isfinite().all()):
            raise InputError("The draws or their similarities hold NaN or infinity: make them again.")
        similar = s > s.median()
        if not similar.any():
            raise InputError("All draws are equally similar to the person, so there is no boundary between them.")
        centre, scale = x.mean(0), (x - x.mean(0)).std()
        z, target = (x - centre) / scale, torch.where(similar, 1.0, -1.0).double()
        right = torch.zeros(len(z), dtype=torch.bool)
        for fold in range(5):
            out = torch.arange(len(z)) % 5 == fold
            weights = _fitted(z[~out], target[~out], penalty)
            right[out] = (z[out] @ weights[:-1] + weights[-1]) * target[out] > 0
        weights = _fitted(z, target, penalty)
        direction = weights[:-1] / scale
        bias, length = float(weights[-1] - direction @ centre), float(direction.norm())
        accuracy = float(right.double().mean())
        return cls((direction / length).reshape(draws.shape[1:]).float(), bias / length, accuracy)

    @pinned()
    def sample(self, start: Tensor, n: int, generator: Generator, reach: float = 1.0, side: Side = "similar") -> Tensor:
        """Draws on a side of the person: start ± a·normal with a uniform in [0, reach], set back to the start's length.

        Args:
            start: (…) the person's vector, or a noise; of unit length or not, its length is kept.
            n: how many.
            generator: CPU generator, advanced by n uniform numbers.
            reach: the farthest step, in lengths of the start.
            side: "similar", "dissimilar", or "both" in turn.

        Returns:
            (n, …) float32.

        Raises:
            InputError: the shapes differ.
        """
        if start.shape != self.normal.shape:
            raise InputError(
                f"The boundary is for draws of shape {tuple(self.normal.shape)}, got {tuple(start.shape)}."
            )
        base, each = start.detach().cpu().double(), (-1, *[1] * start.ndim)
        length = base.norm()
        steps = torch.rand(n, generator=generator, dtype=torch.float64) * reach * length
        if side == "both":
            steps[1::2] *= -1
        elif side == "dissimilar":
            steps *= -1
        out = base + steps.view(each) * self.normal.double()
        lengths = out.flatten(1).norm(dim=1).clamp_min(1e-12).view(each)
        return (out * (length / lengths)).float()


def _fitted(z: Tensor, target: Tensor, penalty: float) -> Tensor:
    """The weights (D + 1,) of a logistic regression of ±1 (N,) on draws (N, D), the bias last."""
    weights = torch.zeros(z.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def loss() -> Tensor:
        optimizer.zero_grad()
        margin = target * (z @ weights[:-1] + weights[-1])
        value = torch.nn.functional.softplus(-margin).sum() + penalty / 2 * weights[:-1].square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weights.detach()
