"""The arguments that many functions take: each is refused by one function of this module, and by no other."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Sequence
from typing import Any

from idgen.ground.errors import InputError

MOST_IMAGES = 1000
"""Pictures a person in one run."""
MOST_STEPS = 1000
FMRS = (1e-2, 1e-3, 1e-4)
"""False-match rates for which thresholds are measured."""
FMR = 1e-3
"""The false-match rate of a verdict, unless another one is asked for."""


def whole(what: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number from `least` to `most`; `what` names it in the InputError for anything else."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = int(value) if isinstance(value, float) and value.is_integer() else None
    if number is None or number < least or (most is not None and number > most):
        reach = f"of at least {least:,}" if most is None else f"from {least:,} to {most:,}"
        raise InputError(f"The {what} is a whole number {reach}, got {_shown(value)}.")
    return number


def number(what: str, value: Any, low: float, high: float) -> float:
    """A number from `low` to `high`; `what` names it in the InputError for anything else."""
    wrong = isinstance(value, bool) or not isinstance(value, (int, float))
    if wrong or not low <= value <= high:  # NaN is in no range
        raise InputError(f"The {what} is a number from {low:g} to {high:g}, got {_shown(value)}.")
    return float(value)


def among(what: str, asked: Sequence[str], known: Collection[str]) -> list[str]:
    """Those asked for, in the order in which they are known; all where none is. InputError for one that is not."""
    if strange := [name for name in asked if name not in known]:
        raise InputError(f"There is no {what} {strange[0]!r}: choose among {', '.join(known)}.")
    return [name for name in known if name in asked or not asked]


def seed(value: Any, what: str = "seed") -> int:
    """The seed of a run, from 0 to 2^63 − 1."""
    return whole(what, value, 0, 2**63 - 1)


def images(value: Any, most: int | None = MOST_IMAGES) -> int:
    """The number of pictures a person."""
    return whole("number of pictures a person", value, 1, most)


def steps(value: Any, most: int = MOST_STEPS) -> int:
    """The number of denoising steps."""
    return whole("number of steps", value, 1, most)


def guidance(value: Any, most: float = 100.0) -> float:
    """The guidance scale."""
    return number("guidance", value, 0, most)


def attribute_scale(value: Any, what: str = "attribute scale") -> float:
    """How strongly a network is told what is worn."""
    return number(what, value, 0, 4)


def sharpening(value: Any, what: str = "sharpening") -> float:
    """How many times a picture gets what a slight blur takes away from it."""
    return number(what, value, 0, 2)


SETTINGS = {"attribute_scale": 1.0, "sharpening": 0.0}
"""What a model's own folder says of its pictures and a plan may say otherwise, with what leaves them as they are. Each
is checked by the function of this name."""


def batch_size(value: Any) -> int:
    """How many pictures advance together."""
    return whole("batch size", value, 1)


def fmr(value: Any, known: Sequence[float] = FMRS) -> float:
    """A false-match rate for which there is a threshold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not any(math.isclose(value, k) for k in known):
        rates = " or ".join(f"{rate:g}" for rate in known) or "none"
        raise InputError(f"There is no threshold for a false-match rate of {_shown(value)}: choose {rates}.")
    return float(value)


def _shown(value: Any) -> str:
    plain = isinstance(value, int) and not isinstance(value, bool)
    return "nothing" if value is None else f"{value:,}" if plain else repr(value)[:40]
