"""People packed on the sphere: pushed apart, kept near where faces live (HyperFace, arXiv 2411.08470)."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize

from idgen.ground import arguments
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError
from idgen.ground.identity import SAMPLED, Identities
from idgen.ground.vectors import check_vectors

_MOST_ROWS = 2048  # people that move in one step; the others stand still
_RATE, _LEAST_WAY = 0.02, 0.05


@pinned()
def pack(
    start: Tensor, gallery: Tensor | None = None, seed: int = 0, *, steps: int = 200, s: float = 30, pull: float = 0.5
) -> Tensor:
    """Move points on the sphere apart from each other, while each stays near some point of a gallery.

    Minimises, by Adam on the sphere (the gradient's part along the sphere; back to unit length after each step),

        1/s · log Σ_{i≠j} exp(s xᵢ·xⱼ)  +  α · meanᵢ (1 − max_g xᵢ·g),

    a smooth form of HyperFace's largest cosine and its regulariser. With more than 2,048 people, each step moves a
    random 2,048 of them against all.

    Args:
        start: (N, D) where to begin, N at least 2; only the directions count.
        gallery: (G, D) where faces live; without one the points only push each other.
        seed: of the choice of people per step; counts only above 2,048 people.
        steps: how many; Adam's rate falls from 0.02 radians or so to a twentieth of that, along half a cosine.
        s: the larger, the more the closest pair alone counts.
        pull: α; the larger, the nearer to the gallery.

    Returns:
        (N, D) float32 unit vectors. All depend on all, unlike those of `IdentitySampler.sample`.

    Raises:
        InputError: fewer than two people, or broken vectors.
    """
    arguments.seed(seed)
    points = check_vectors(start.detach().cpu(), "The start")
    faces = None if gallery is None else check_vectors(gallery.detach().cpu(), "The gallery")
    if len(points) < 2 or (faces is not None and faces.shape[1] != points.shape[1]):
        shapes = f"{tuple(start.shape)}" + ("" if gallery is None else f" and a gallery of {tuple(gallery.shape)}")
        raise InputError(f"At least two people (N, D) and a gallery (G, D) are needed, got {shapes}.")
    generator = Generator().manual_seed(seed)
    moment, spread = torch.zeros_like(points), torch.zeros_like(points)
    turns = torch.zeros(len(points), 1, dtype=points.dtype)  # Adam's bias correction counts each row's own steps
    for step in range(steps):
        rows = torch.arange(len(points))
        if len(points) > _MOST_ROWS:
            rows = torch.randperm(len(points), generator=generator)[:_MOST_ROWS].sort().values
        place = points[rows]
        moving = place.clone().requires_grad_()
        (slope,) = torch.autograd.grad(_loss(moving, points, rows, faces, s, pull), moving)
        slope = slope - (slope * place).sum(1, keepdim=True) * place
        moment[rows] = 0.9 * moment[rows] + 0.1 * slope
        spread[rows] = 0.99 * spread[rows] + 0.01 * slope.square().sum(1, keepdim=True) / slope.shape[1]
        turns[rows] += 1
        mean = moment[rows] / (1 - 0.9 ** turns[rows])
        scale = (spread[rows] / (1 - 0.99 ** turns[rows])).sqrt().add(1e-12) * math.sqrt(slope.shape[1])
        now = _RATE * (_LEAST_WAY + (1 - _LEAST_WAY) * (1 + math.cos(math.pi * step / steps)) / 2)
        points[rows] = normalize(place - now * mean / scale)
    return points


def _loss(moving: Tensor, points: Tensor, rows: Tensor, faces: Tensor | None, s: float, pull: float) -> Tensor:
    itself = torch.zeros(len(rows), len(points), dtype=torch.bool)
    itself[torch.arange(len(rows)), rows] = True
    loss = (s * (moving @ points.T)).masked_fill(itself, -torch.inf).flatten().logsumexp(0) / s
    return loss if faces is None else loss + pull * (1 - (moving @ faces.T).amax(1)).mean()


def packed(start: Identities, gallery: Tensor, seed: int = 0) -> Identities:
    """`pack` for sampled people: the same ones, further apart. The gallery (G, D) is sampled, too, not of those a model
    was trained on: nobody should be drawn to them."""
    sources = [f"{SAMPLED}, packed with {len(start) - 1:,} others" if not p.from_photo else p.source for p in start]
    names = [f"packed-{seed}-{number:04d}" for number in range(len(start))]
    return Identities(pack(start.vectors, gallery, seed), start.space, sources, names)
