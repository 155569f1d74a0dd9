"""What a recogniser learns by, a file a loss; each is checked against its definition, gradients included.

A loss takes raw embeddings (N, D) and labels (N,). One with class vectors gives a number a picture, (N,), so that
pictures may be of several people at once (soft labels, mixed domains); one of pairs gives one number, ().
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from idgen.ground import arguments
from idgen.ground.errors import InputError
from idgen.training.losses.adaface import AdaFace
from idgen.training.losses.arcface import ArcFace
from idgen.training.losses.cosface import CosFace
from idgen.training.losses.elasticface import ElasticArcFace, ElasticCosFace
from idgen.training.losses.multibatch import Multibatch
from idgen.training.losses.partial_fc import PartialFC
from idgen.training.losses.proxy_anchor import ProxyAnchor
from idgen.training.losses.triplet import Triplet

BY_CLASS: dict[str, Callable[..., Any]] = {
    "cosface": CosFace,
    "arcface": ArcFace,
    "adaface": AdaFace,
    "elastic_cos": ElasticCosFace,
    "elastic_arc": ElasticArcFace,
}
"""Losses with a vector a person, against all of which a picture is compared: `loss(people, size, margin, scale)`."""
OF_PAIRS: dict[str, Callable[..., Any]] = {"triplet": Triplet, "multibatch": Multibatch}
"""Losses of the pictures of a batch among themselves, which therefore holds several of a person: `loss(margin)`."""
NAMES = (*BY_CLASS, "proxy_anchor", *OF_PAIRS)
MARGINS = {"cosface": 0.35, "arcface": 0.5, "adaface": 0.4, "elastic_cos": 0.35, "elastic_arc": 0.5}
MARGINS |= {"proxy_anchor": 0.1, "triplet": 0.2, "multibatch": 1.0}
"""The published margins."""


def make(name: str, people: int, size: int, margin: float | None, scale: float, sampled: float = 1.0) -> Any:
    """A loss by its name.

    Args:
        name: one of `NAMES`.
        people, size: C class vectors of D numbers, where there are any.
        margin, scale: see the losses; None for the published margin.
        sampled: share of the class vectors that a step compares with, see `PartialFC`.

    Raises:
        InputError: there is no such loss, or it has nothing to sample.
    """
    if name not in NAMES:
        raise InputError(f"No loss {name!r}: choose one of {', '.join(NAMES)}.")
    arguments.number("share of sampled class vectors (sampled)", sampled, 1e-6, 1)
    if sampled < 1 and name not in BY_CLASS:
        raise InputError(f"The loss {name} samples no class vectors: leave --sampled out, or take cosface.")
    margin = MARGINS[name] if margin is None else margin
    if name in OF_PAIRS:
        return OF_PAIRS[name](margin)
    made = {**BY_CLASS, "proxy_anchor": ProxyAnchor}[name](people, size, margin, scale)
    return made if sampled == 1 else PartialFC(made, sampled)
