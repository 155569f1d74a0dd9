"""How strongly a picture is guided: the same always, by the share of the steps, or by the turn of the head.

- `2`: the same at all steps.
- `0-3`: from 0 at the first step evenly to 3 at the end (AdaptDiff, arXiv 2603.29569, has 0-1 for its negatives).
- `0,2@0.3,1@0.8`: 0 first, 2 from 0.3 of the steps on, 1 from 0.8 on (a limited interval: Kynkäänniemi et al., arXiv
  2404.07724).
- `1.4/2.4`: 1.4 for heads that are turned by up to 30°, growing to 2.4 at 45°. Likeness is lost with the turn, and
  guidance, which brings it back, costs variety and other wishes: so it is spent where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idgen.ground import arguments
from idgen.ground.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

TURNING, TURNED = 30.0, 45.0
"""Degrees of yaw from which on guidance grows, and at which it is what it is for all heads that are turned further."""


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


@dataclass(frozen=True)
class Turned:
    """The scale of heads that are turned by up to `TURNING`, and that of those by `TURNED` or more; even between."""

    ahead: float
    aside: float

    def at(self, yaw: Tensor) -> Tensor:
        """Scales (N,) for (N,) degrees to either side; a turn that is left open, NaN, is none."""
        share = ((yaw.nan_to_num().abs() - TURNING) / (TURNED - TURNING)).clamp(0, 1)
        return self.ahead + share * (self.aside - self.ahead)


Schedule = float | Callable[[float], float]
"""A scale, or a function from the share of the steps that are done, in [0, 1), to the scale of the next step.

0 asks the network for nobody in particular (the empty identity), 1 for the person, above 1 exaggerates the person.
`lambda done: 0 if done < 0.3 else 2` settles layout and pose before the person is asked for, so pictures vary more.
"""
Guidance = Schedule | Turned
"""The same, or what depends on the turn of the head."""


def parse_schedule(value: Any, what: str = "guidance", most: float = 100.0) -> Schedule:
    """A scale, or what gives it by the share of the steps that are done, in [0, 1); see the words above.

    Args:
        value: a number or words; or a function already, which stays as it is.
        what: to call it.
        most: highest scale.

    Raises:
        InputError: the words are not understood, or a scale is below 0 or above `most`.
    """
    if callable(value):
        return value
    if (found := _parsed(value, what, most)) is None:
        raise InputError(f"The {what} is a number, {_SCHEDULES}; got {value!r}.")
    return found


def parse_guidance(value: Any, what: str = "guidance", most: float = 100.0) -> Guidance:
    """As `parse_schedule`, and `1.4/2.4` by the turn of the head."""
    if callable(value) or isinstance(value, Turned):
        return value
    ends = [_number(one) for one in str(value).split("/")]
    if len(ends) == 2 and None not in ends:
        return Turned(*(arguments.number(what, one, 0, most) for one in ends))
    if (found := _parsed(value, what, most)) is None:
        turned = "or 1.4/2.4 for 1.4 up to a turn of the head by 30°, growing to 2.4 at 45°"
        raise InputError(f"The {what} is a number, {_SCHEDULES}, {turned}; got {value!r}.")
    return found


def scales(guidance: Guidance, steps: int) -> list[float]:
    """The scales of a run of so many steps: one each, or the one of all, or the least and the most turned head's."""
    if isinstance(guidance, Turned):
        return [guidance.ahead, guidance.aside]
    return [guidance(step / steps) for step in range(steps)] if callable(guidance) else [guidance]


_SCHEDULES = "0-3 for evenly from 0 to 3, or 0,2@0.3 for 0 first and 2 from 0.3 of the steps on"


def _parsed(value: Any, what: str, most: float) -> Schedule | None:
    """A number's or a schedule's words; None for others."""
    if (number := _number(value)) is not None:
        return arguments.number(what, number, 0, most)
    words = str(value)
    if "," not in words and "@" not in words:
        ends = [_number(one) for one in words.split("-")]
        return None if len(ends) != 2 or None in ends else Evenly(*(arguments.number(what, e, 0, most) for e in ends))
    parts = [part.partition("@") for part in words.split(",")]
    shares, levels = [_number(share or "0") for _, _, share in parts], [_number(level) for level, _, _ in parts]
    known = [share for share in shares if share is not None]
    if None in levels or known != shares or known[0] != 0 or known != sorted(set(known)) or known[-1] >= 1:
        return None
    return Stepwise(tuple(zip(known, (arguments.number(what, level, 0, most) for level in levels), strict=True)))


def _number(value: Any) -> float | None:
    """A number, also in words; None for anything else."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
