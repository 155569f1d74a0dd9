"""A sampler for a model whose people are not ours to hand on: fitted on their vectors, and keeping none of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize
from torch.optim import AdamW

from idgen.ground.devices import pinned
from idgen.models import IdentityFlow
from idgen.sampling.axes import BENT, axes_needed, completed, flat_directions, principal_axes, telling_directions
from idgen.sampling.sampler import IdentitySampler

FLOW_FROM = 1_000
"""People from which on a flow is tried: fewer, and it would learn them by heart."""
CLOSER = 0.02
"""By how much samples may lie nearer to the people than other people of the same kind do."""
_DRAWN, _BATCH = 1_000, 256
_SHAPED = 48


@dataclass(frozen=True)
class Fitted:
    """A sampler, and how near to people its samples come.

    Args:
        sampler: with a flow where that fits better than the Gaussian.
        nearest: what is measured of it, for whoever made it: `people`, `method`, and cosines to the nearest of the
            people: `samples` of 1,000 samples, `others` of people who were left out for that or, without a flow, of
            each person to the nearest other one. No vector is in it.
    """

    sampler: IdentitySampler
    nearest: dict[str, Any]


@pinned()
def fit_sampler(people: Tensor, space: str, keep: bool, steps: int = 1500, seed: int = 0) -> Fitted:
    """Fit a Gaussian and, on enough people, a flow; the flow is kept where its samples lie as people do, which a tenth
    that it has not seen tells: not nearer to those it has learned from, and nearer to where people live than the
    Gaussian's.

    Args:
        people: (P, D) unit vectors, one a person.
        space: of the vectors.
        keep: whether the sampler may bring these vectors along, to tell how far a sample is from everybody: of people
            who do not exist.
        steps: of the flow's training.
        seed: of it.

    Raises:
        InputError: fewer than 3 people, or broken vectors.
    """
    gaussian = IdentitySampler.fit(people, space, axes_needed(people, max(2, min(len(people) // 4, people.shape[1]))))
    chosen, shown, others = gaussian, people, _nearest(people, people, itself=True)
    if len(people) >= FLOW_FROM:
        order = torch.randperm(len(people), generator=Generator().manual_seed(seed))
        hidden, shown = people[order[: len(people) // 10]], people[order[len(people) // 10 :]]
        plain = IdentitySampler.fit(shown, space, len(gaussian.axes))
        bent = IdentitySampler.fit(shown, space, len(gaussian.axes), flow=fit_flow(shown, steps, seed))
        real, line, curve = (neighbourhood(some, shown) for some in (hidden, _samples(plain), _samples(bent)))
        if curve[0] <= real[0] + CLOSER and abs(curve[1] - real[1]) < abs(line[1] - real[1]):
            chosen, others = bent, _nearest(hidden, shown)
        else:
            shown = people
    samples = _nearest(_samples(chosen), shown)
    if not keep:
        chosen.people = torch.zeros(0, people.shape[1], dtype=chosen.people.dtype)
    about = {"people": len(people), "method": chosen.method, "samples": samples, "others": others}
    return Fitted(chosen, about)


def fit_flow(people: Tensor, steps: int, seed: int = 0) -> IdentityFlow:
    """A flow of people's vectors (P, D), trained for some seconds; see `IdentityFlow`."""
    generator = Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        components = axes_needed(people, min(len(people) // 8, people.shape[1]))
        fitted, shaped = flow_coordinates(people, components)
        bent = axes_needed(people, components, BENT)
        network = IdentityFlow(people.shape[1], components, width=128, depth=2, shaped=shaped, bent=bent)
        network.fit(people, *fitted)
        optimizer = AdamW(network.parameters(), 1e-3, (0.9, 0.999), weight_decay=0.05)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / steps)
            rows = torch.randint(len(people), (_BATCH,), generator=generator)
            noise = torch.randn(_BATCH, components, generator=generator)
            time = torch.randn(_BATCH, generator=generator).sigmoid()
            loss = network.loss(people[rows], noise, time)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.requires_grad_(False).eval()


def flow_coordinates(
    people: Tensor, components: int, told: Tensor | None = None
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], int]:
    """Of people's unit vectors (P, D), and where it is known of what they are like (P, n): what `IdentityFlow.fit`
    takes (mean, axes, deviations, turn), and along how many directions a Gaussian does not do, its `shaped`: those that
    tell what they are like (few wear glasses), and those along which people come in camps or evenly spread."""
    mean, axes, deviations = principal_axes(people, components)
    coordinates = ((people.double() - mean) @ axes.T / deviations).float()
    most = min(_SHAPED, components // 2)
    telling = None if told is None else telling_directions(coordinates, told)[:most]
    rows = flat_directions(coordinates, most, telling)
    return (mean, axes, deviations, completed(rows.double(), deviations)), len(rows)


def neighbourhood(vectors: Tensor, people: Tensor, near: int = 24, flat: int = 12) -> tuple[float, float]:
    """Of unit vectors (N, D): the mean cosine to the nearest of `people` (P, D), and the mean distance to the
    `flat`-dimensional plane through the `near` nearest of them."""
    cosines, rows = (vectors @ people.T).topk(min(near, len(people)), 1)
    around = people[rows]
    middle = around.mean(1, keepdim=True)
    plane = torch.linalg.svd(around - middle, full_matrices=False).Vh[:, :flat]
    aside = vectors[:, None] - middle
    aside = aside - aside @ plane.transpose(1, 2) @ plane
    return float(cosines[:, 0].mean()), float(aside.norm(dim=2).mean())


def _samples(sampler: IdentitySampler) -> Tensor:
    return sampler.sample(_DRAWN, 0).vectors


def _nearest(vectors: Tensor, people: Tensor, itself: bool = False) -> list[float]:
    """Cosines (N,) to the nearest of the people, ascending; `itself`: to the nearest other one."""
    cosines = normalize(vectors.float()) @ normalize(people.float()).T
    if itself:
        cosines.fill_diagonal_(-torch.inf)
    return [round(value, 4) for value in sorted(cosines.amax(1).tolist())]
