"""Variations of one identity vector."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from idgen.errors import InputError


def cone(vector: Tensor, cosine: float, generator: Generator) -> Tensor:
    """A random vector at a given cosine to `vector`: c·e + √(1 − c²)·u, with u uniform on the sphere orthogonal to e.

    The angular cone of IDperturb (arXiv 2602.18831), here with a fixed angle.

    Args:
        vector: (D,), D at least 2; only its direction counts.
        cosine: c, from -1 to 1. At 1 the vector itself comes back and nothing is drawn.
        generator: CPU generator, advanced by one draw of D normal numbers.

    Returns:
        (D,) float32 of unit length.

    Raises:
        InputError: the cosine lies outside [-1, 1], or the vector has no direction.
    """
    if not -1 <= cosine <= 1:
        raise InputError(f"The cosine to the identity lies between -1 and 1, got {cosine}.")
    if vector.ndim != 1 or len(vector) < 2:
        raise InputError(f"A vector (D,) with D of at least 2 is needed, got the shape {tuple(vector.shape)}.")
    centre = vector.detach().cpu().double()
    if not (centre.isfinite().all() and centre.norm() > 0):
        raise InputError("The vector to vary is zero or not finite, so it has no direction.")
    centre = centre / centre.norm()
    if cosine == 1:
        return centre.float()
    aside = torch.randn(len(centre), generator=generator, dtype=torch.float64)
    aside = aside - (aside @ centre) * centre
    return (cosine * centre + (1 - cosine**2) ** 0.5 * aside / aside.norm()).float()
