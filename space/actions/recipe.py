"""What is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idgen.errors import InputError

from ..models import defaults

if TYPE_CHECKING:
    from idgen.hub import Model

MOST_IMAGES, MOST_STEPS, MOST_GUIDANCE = 64, 100, 10.0
MAX_SEED = 2**53 - 1  # whole numbers beyond it are not exact in a browser


@dataclass(frozen=True)
class Recipe:
    """How pictures are made: the same recipe for the same person gives the same pictures."""

    images: int
    steps: int
    variation: float
    guidance: float
    seed: int

    @classmethod
    def of(
        cls, model: Model, images: Any = 8, steps: Any = None, variation: Any = 0.0, guidance: Any = None, seed: Any = 0
    ) -> Recipe:
        """From what a visitor asked for; None takes the model's own steps and guidance.

        Args:
            model: who paints.
            images: how many; steps: of the sampler; seed: of the pictures' noise.
            variation: 0 paints exactly this face vector; above, each picture a vector of its own at cosine
                1 − variation to it.
            guidance: how much the person's influence is exaggerated; 1 is none.

        Raises:
            InputError: one of them is of no use.
        """
        own_steps, own_guidance = defaults(model)
        return cls(
            images=whole(images, "The number of pictures", 1, MOST_IMAGES),
            steps=whole(own_steps if steps is None else steps, "The number of steps", 1, max(MOST_STEPS, own_steps)),
            variation=fraction(variation, "The variation"),
            guidance=own_guidance if guidance is None else fraction(guidance, "The guidance", 0.0, MOST_GUIDANCE),
            seed=whole(seed, "The pictures' seed", 0, MAX_SEED),
        )


def whole(value: Any, name: str, low: int, high: int) -> int:
    """A whole number in [low, high], or an InputError that names the field."""
    return int(_number(value, name, low, high, "whole number", lambda number: number == math.floor(number)))


def fraction(value: Any, name: str, low: float = 0.0, high: float = 1.0) -> float:
    """A number in [low, high], or an InputError that names the field."""
    return float(_number(value, name, low, high, "number", lambda number: True))


def _number(value: Any, name: str, low: float, high: float, kind: str, fits: Callable[[float], bool]) -> float:
    wrong = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong or not low <= value <= high or not fits(value):  # NaN and infinity are in no range
        shown = "nothing" if value is None else repr(value)[:40]
        raise InputError(f"{name} is a {kind} from {low:,} to {high:,}, got {shown}: change it and try again.")
    return value
