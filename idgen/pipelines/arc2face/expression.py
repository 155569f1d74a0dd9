"""The 55 values of Arc2Face's expression adapter, by name, as presets and as random draws; no extractor is needed.

In order (arXiv 2510.04706; the vectors of SMIRK, CVPR 2024): 50 coefficients of FLAME's expression basis, 2 eyelids, 3
numbers of the jaw's axis–angle rotation in radians. SMIRK keeps eyelids in [0, 1], the first jaw value at least 0
(opening) and the other two in ±0.2. An extractor's vectors, such as SMIRK's or EMOCA's, are used as they are; sliders
have a range, and a vector beyond it is warned of.

The basis is a principal component analysis: its coefficients have no names, so the presets move eyelids and jaw only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from idgen.ground.arguments import number
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError

SIZE, COEFFICIENTS = 55, 50
SLIDERS: dict[str, tuple[float, float]] = {
    **{f"expression_{index}": (-3.0, 3.0) for index in range(COEFFICIENTS)},
    "eyelid_a": (0.0, 1.0),
    "eyelid_b": (0.0, 1.0),
    "jaw_open": (0.0, 0.5),
    "jaw_b": (-0.2, 0.2),
    "jaw_c": (-0.2, 0.2),
}
"""Name → least and greatest value, in the order of the vector."""
_NAMES = list(SLIDERS)
_LOW, _HIGH = torch.tensor([*SLIDERS.values()], dtype=torch.float32, device="cpu").T
PRESETS: dict[str, dict[str, float]] = {
    "neutral": {},
    "mouth open": {"jaw_open": 0.3},
    "mouth ajar": {"jaw_open": 0.12},
    "eyes closed": {"eyelid_a": 1.0, "eyelid_b": 1.0},
    "eyes half closed": {"eyelid_a": 0.5, "eyelid_b": 0.5},
    "yawn": {"jaw_open": 0.45, "eyelid_a": 1.0, "eyelid_b": 1.0},
    "wink": {"eyelid_a": 1.0},
}


@pinned()
def expression(values: str | Mapping[str, float] | Tensor) -> Tensor:
    """One expression vector (55,) from a preset's name, from sliders by name (the others 0), or from a vector (55,).

    Raises:
        InputError: there is no such preset or slider, a slider is out of its range, or a vector is none.
    """
    if isinstance(values, str):
        if values not in PRESETS:
            raise InputError(f"There is no expression {values!r}: choose one of {', '.join(PRESETS)}, or give sliders.")
        values = PRESETS[values]
    if isinstance(values, Mapping):
        vector = torch.zeros(SIZE, dtype=torch.float32)
        for name, value in values.items():
            if name not in SLIDERS:
                raise InputError(
                    f"There is no expression slider {name!r}: there are expression_0 to expression_{COEFFICIENTS - 1}, "
                    f"{', '.join(_NAMES[COEFFICIENTS:])}."
                )
            low, high = SLIDERS[name]
            if not low <= float(value) <= high:
                raise InputError(f"The expression's {name} lies between {low:g} and {high:g}, got {float(value):g}.")
            vector[_NAMES.index(name)] = float(value)
        values = vector
    return check(values)


def check(values: Tensor) -> Tensor:
    """Expression vectors (…, 55) as float32 on the CPU; warns of one beyond the sliders, which is used as it is.

    Raises:
        InputError: it has another length, or a value is not finite.
    """
    if not isinstance(values, Tensor) or values.shape[-1:] != (SIZE,):
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise InputError(f"An expression has {SIZE} values: 50 of FLAME's basis, 2 eyelids, 3 of the jaw; got {shape}.")
    values = values.detach().cpu().float()
    if not values.isfinite().all():
        raise InputError(f"The expression's {_NAMES[(~values.isfinite()).nonzero()[0, -1]]} is not a finite number.")
    beyond = (values < _LOW - 1e-5) | (values > _HIGH + 1e-5)
    if beyond.any():
        name, got = _NAMES[beyond.nonzero()[0, -1]], values[beyond][0]
        low, high = SLIDERS[name]
        more = f" ({int(beyond.sum()):,} such values)" if beyond.sum() > 1 else ""
        warnings.warn(
            f"The expression's {name} is {got:.3g}, beyond {low:g} to {high:g}{more}: used as it is, but the face may "
            "come out distorted.",
            stacklevel=3,
        )
    return values


def for_pictures(
    values: Any, strength: float, people: int, images: int
) -> Callable[[tuple[int, int], Generator], Tensor] | None:
    """What gives the expression (55,) of a picture, by its person and number and from its generator; None for None.

    Args:
        values: what `expression` takes, for all; vectors (N, K, 55) for K pictures of N people; or "random".
        strength: of a random one, see `draw`.

    Raises:
        InputError: as `expression` and `draw`, or there are not as many vectors.
    """
    if values is None:
        return None
    if isinstance(values, str) and values == "random":
        draw(Generator(), strength)  # refuses the strength now
        return lambda image, generator: draw(generator, strength)
    if isinstance(values, Tensor) and values.ndim > 1:
        if tuple(values.shape[:-1]) != (people, images):
            raise InputError(
                f"Expressions for {images} pictures of {people} people have the shape ({people}, {images}, 55), "
                f"got {tuple(values.shape)}."
            )
        table = check(values)
        return lambda image, generator: table[image]
    one = expression(values)
    return lambda image, generator: one


@pinned()
def draw(generator: Generator, strength: float = 1.0) -> Tensor:
    """A random expression (55,): normal coefficients, half of the time an open mouth, seldom closing eyes.

    A plausible spread, not one measured on faces.

    Args:
        generator: CPU generator.
        strength: 0 is neutral; 1 gives the coefficients a standard deviation of 1.
    """
    number("strength of a random expression", strength, 0, 2)
    vector = torch.zeros(SIZE, dtype=torch.float32)
    vector[:COEFFICIENTS] = torch.randn(COEFFICIENTS, generator=generator, dtype=torch.float32)
    eyes, jaw, *sides = torch.randn(4, generator=generator, dtype=torch.float32).tolist()
    vector[50:52] = 0.5 * max(eyes - 1, 0)
    vector[52] = 0.15 * max(jaw, 0)
    vector[53:] = 0.03 * torch.tensor(sides, dtype=torch.float32)
    return (strength * vector).clamp(_LOW, _HIGH)
