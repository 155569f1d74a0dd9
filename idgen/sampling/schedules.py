"""Guidance that changes while a picture is made, in words.

- `2`: the same at all steps.
- `0-3`: from 0 at the first step evenly to 3 at the end (AdaptDiff, arXiv 2603.29569, has 0-1 for its negatives).
- `0,2@0.3,1@0.8`: 0 first, 2 from 0.3 of the steps on, 1 from 0.8 on (a limited interval: Kynkäänniemi et al., arXiv
  2404.07724).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from idgen.ground import arguments
from idgen.ground.errors import InputError


@dataclass(frozen=True)
class Evenly:
    """From one scale to another, of the share of the steps that are done."""

    first: float
    last: float

    def __call__(self, done: float) -> float:
        return self.first + done * (self.last - self.first)


@dataclass(frozen=True)
class Stepwise:
    """The last scale whose share of the steps is done; (share, scale) in their order, the first at 0."""

    parts: tuple[tuple[float, float], ...]

    def __call__(self, done: float) -> float:
        return [scale for share, scale in self.parts if share <= done + 1e-9][-1]


def parse_schedule(text: float | str, what: str = "guidance", most: float = 100.0) -> float | Callable[[float], float]:
    """A scale, or what gives it by the share of the steps that are done, in [0, 1); see the words above.

    Args:
        text: a number or words.
        what: to call it.
        most: highest scale.

    Raises:
        InputError: the words are not understood, or a scale is below 0 or above `most`.
    """
    try:
        number = float(text)
    except ValueError:
        words = str(text)
    else:
        return arguments.number(what, number, 0, most)
    try:
        if "," not in words and "@" not in words:
            first, last = (arguments.number(what, float(one), 0, most) for one in words.split("-"))
            return Evenly(first, last)
        parts = [part.partition("@") for part in words.split(",")]
        found = tuple((float(share or "0"), arguments.number(what, float(scale), 0, most)) for scale, _, share in parts)
    except InputError:
        raise
    except ValueError:
        found = ()
    shares = [share for share, _ in found]
    if not found or shares[0] != 0 or shares != sorted(set(shares)) or shares[-1] >= 1:
        raise InputError(
            f"The {what} is a number, 0-3 for evenly from 0 to 3, or 0,2@0.3 for 0 first and 2 from 0.3 of the steps "
            f"on; got {text!r}."
        )
    return Stepwise(found)
