"""What a recogniser learns by, a file a loss; each is checked against its definition, gradients included.

A loss takes raw embeddings (N, D) and labels (N,). One with class vectors gives a number a picture, (N,), so that
pictures may be of several people at once (soft labels, mixed domains); one of pairs gives one number, ().
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from idgen.ground import arguments
from idgen.ground.errors import InputError, require_package
from idgen.training.losses.partial_fc import PartialFC

BY_CLASS = {
    "cosface": "cosface.CosFace",
    "arcface": "arcface.ArcFace",
    "adaface": "adaface.AdaFace",
    "elastic_cos": "elasticface.ElasticCosFace",
    "elastic_arc": "elasticface.ElasticArcFace",
}
"""Losses with a vector a person, against all of which a picture is compared: `loss(people, size, margin, scale)`."""
OF_PAIRS = {"triplet": "triplet.Triplet", "multibatch": "multibatch.Multibatch"}
"""Losses of the pictures of a batch among themselves, which therefore holds several of a person: `loss(margin)`."""
OF_VIEWS = {"usynthface": "usynthface.USynthFace"}
"""Losses of two views of everybody, without labels: `loss(size, margin, scale, queue)`."""
NAMES = (*BY_CLASS, "proxy_anchor", *OF_PAIRS, *OF_VIEWS)
MARGINS = {"cosface": 0.35, "arcface": 0.5, "adaface": 0.4, "elastic_cos": 0.35, "elastic_arc": 0.5}
MARGINS |= {"proxy_anchor": 0.1, "triplet": 0.2, "multibatch": 1.0, "usynthface": 0.1}
"""The published margins."""
SCALES = {"usynthface": 1 / 0.07}
"""The published scales that are not for small networks, too, what others are taken with: 32."""


def find(name: str) -> Callable[..., Any]:
    """What makes a loss. InputError if there is none of this name, or no pytorch-metric-learning."""
    if name not in NAMES:
        raise InputError(f"No loss {name!r}: choose one of {', '.join(NAMES)}.")
    file, _, kind = {**BY_CLASS, **OF_PAIRS, **OF_VIEWS, "proxy_anchor": "proxy_anchor.ProxyAnchor"}[name].partition(
        "."
    )
    made: Callable[..., Any] = getattr(require_package(f"{__name__}.{file}", "train", f"The loss {name}"), kind)
    return made


def make(
    name: str,
    people: int,
    size: int,
    margin: float | None = None,
    scale: float | None = None,
    sampled: float = 1.0,
    queue: int = 32_768,
) -> Any:
    """A loss by its name.

    Args:
        name: one of `NAMES`.
        people, size: C class vectors of D numbers, where there are any.
        margin, scale: see the losses; None for the published margin, and the usual scale.
        sampled: share of the class vectors that a step compares with, see `PartialFC`.
        queue: vectors of others, see `USynthFace`.

    Raises:
        InputError: there is no such loss, or it has nothing to sample.
    """
    arguments.number("share of sampled class vectors (sampled)", sampled, 1e-6, 1)
    if sampled < 1 and name not in BY_CLASS:
        raise InputError(f"The loss {name} samples no class vectors: leave --sampled out, or take cosface.")
    margin = MARGINS[name] if margin is None else margin
    scale = SCALES.get(name, 32.0) if scale is None else scale
    if name in OF_PAIRS:
        return find(name)(margin)
    if name in OF_VIEWS:
        return find(name)(size, margin, scale, arguments.whole("length of the queue", queue, 1))
    made = find(name)(people, size, margin, scale)
    return made if sampled == 1 else PartialFC(made, sampled)
