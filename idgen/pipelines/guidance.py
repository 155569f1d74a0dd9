"""Guidance that changes on the way from noise to picture."""

from __future__ import annotations

from collections.abc import Callable

from idgen.ground.errors import InputError

Guidance = float | Callable[[float], float]
"""A guidance scale, or a function from the share of the steps that are done, in [0, 1), to the scale of the next step.

0 asks the network for nobody in particular (the empty identity), 1 for the person, above 1 exaggerates the person.
"""


def empty_until(share: float, then: float) -> Callable[[float], float]:
    """The empty identity for the first share of the steps, then guidance (as UIFace does): layout and pose are
    settled before the person is asked for, so pictures vary more. Only for models that learned an empty identity.

    Args:
        share: of the steps, in [0, 1].
        then: the scale afterwards.
    """
    if not 0 <= share <= 1:
        raise InputError(f"The share of the steps without an identity lies between 0 and 1, got {share}.")
    return lambda done: 0.0 if done < share else then


def scale_at(guidance: Guidance, done: float) -> float:
    """The scale of the step after this share of the steps."""
    return guidance(done) if callable(guidance) else guidance
