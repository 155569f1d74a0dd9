"""How a recogniser sees pictures while it learns: augmentations by name, each with a strength, each to be switched off
alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Generator, Tensor

from idgen.ground import arguments
from idgen.ground.errors import InputError
from idgen.training import augment
from idgen.training.randaugment import randaugment

USUAL = dict.fromkeys(
    ("flip", "affine", "colour", "grey", "background", "occlude", "low_resolution", "blur", "noise", "jpeg"), 1.0
)
"""What is done where nothing else is asked for."""
MORE = ("crop", "erase", "randaugment")
"""What is done where it is asked for."""


def strengths(asked: Mapping[str, Any]) -> dict[str, float]:
    """All augmentations with their strengths: 1 is usual, 0 is off; `usual: 0` switches off all that are not named.

    Raises:
        InputError: there is no such augmentation, or its strength is no number from 0 to 3.
    """
    if wrong := sorted(set(asked) - {*USUAL, *MORE, "usual"}):
        raise InputError(f"No augmentation {wrong[0]!r}: choose among {', '.join((*USUAL, *MORE))}, or usual.")
    told = {name: arguments.number(f"strength of {name}", value, 0, 3) for name, value in asked.items()}
    usual = told.pop("usual", 1.0)
    return {**dict.fromkeys(USUAL, usual), **dict.fromkeys(MORE, 0.0), **told}


def view(
    images: Tensor, generator: Generator, size: int = 112, told: Mapping[str, float] | None = None, often: float = 1.0
) -> Tensor:
    """Aligned faces (N, 3, H, W) in [0, 1] as a network sees them once, (N, 3, size, size).

    Args:
        images: the faces.
        generator: of all that is random.
        size: of the result.
        told: `strengths`; by default the usual ones.
        often: factor on the share of images that each change but flip, affine, crop and randaugment touches.
    """
    s, rng = strengths({}) if told is None else told, augment.Random(generator, images.device)
    moved = s["affine"]
    out = augment.affine(
        images, rng, size, scale=0.12 * moved, rotate=12 * moved, shift=0.04 * moved, flip=min(2, s["flip"])
    )
    if s["crop"]:
        out = augment.crop(out, rng, max(0.05, 1 - 0.1 * s["crop"]))
    if s["randaugment"]:
        out = randaugment(out.clamp_(0, 1), rng, 4, min(30, 16 * s["randaugment"]))
    changes: list[tuple[float, float, augment.Change]] = [
        (s["colour"], 0.85, partial(augment.colour, strength=s["colour"], grey=s["grey"])),
        (s["grey"] * (s["colour"] == 0), 0.1 * s["grey"], augment.grey),
        (s["background"], 0.2 * s["background"], augment.replace_background),
        (s["occlude"], 0.2 * s["occlude"], augment.occlude),
        (s["low_resolution"], 0.15, partial(augment.rescale, lowest=min(0.79, 0.2 ** s["low_resolution"]))),
        (s["blur"], 0.15, partial(augment.blur, widest=max(0.41, 2.5 * s["blur"]))),
        (s["noise"], 0.2, partial(augment.noise, most=0.08 * s["noise"])),
        (s["jpeg"], 0.3, partial(augment.jpeg, worst=min(59, 10 / max(s["jpeg"], 0.1)))),
        (s["erase"], 0.5, partial(augment.erase, most=min(0.9, 0.1 * s["erase"]))),
    ]
    augment.sometimes(out, rng, [(share, change) for strength, share, change in changes if strength], often)
    return out.clamp_(0, 1)
