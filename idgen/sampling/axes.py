"""In which directions people differ: the coordinates that samplers work in."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

SHARE, BENT = 0.999, 0.98
"""Of people's variance, what a sampler's axes carry: glasses and beards are told by what varies least; and what those
carry along which a flow is learned."""
FLAT = -0.4
"""Excess kurtosis of a direction worth shaping: evenly spread it is -1.2, in two camps of equal size -2."""
_ROUNDS, _STARTS = 300, 2
_RIDGE = 0.003  # of a coordinate's variance


def principal_axes(vectors: Tensor, components: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (D,), principal axes (K, D) and standard deviations along them (K,) of vectors (P, D); largest first."""
    vectors = vectors.double()
    mean = vectors.mean(0)
    centred = vectors - mean
    variances, axes = torch.linalg.eigh(centred.T @ centred / (len(vectors) - 1))  # ascending
    variances, axes = variances.flip(0)[:components], axes.T.flip(0)[:components]
    # An axis has no sign of its own: fix one, so that a fit gives the same people everywhere.
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return mean, axes * largest.sign(), variances.clamp_min(0).sqrt()


def axes_needed(vectors: Tensor, most: int, share: float = SHARE) -> int:
    """How many principal axes carry such a share of the variance of vectors (P, D), at most `most`: with fewer, what
    tells people apart is left out, and those who are sampled are more alike than people are."""
    variances = principal_axes(vectors, most)[2].square()
    whole = vectors.double().var(0).sum()
    return min(most, 1 + int((variances.cumsum(0) < share * whole).sum()))


def telling_directions(coordinates: Tensor, told: Tensor) -> Tensor:
    """The directions that tell best what is known of people: linear regression of each trait, with a ridge, and each at
    right angles to those before. Of two classes it is Fisher's discriminant.

    Args:
        coordinates: (P, K) of uncorrelated columns of variance 1.
        told: (P, n) traits, as numbers; NaN where nothing is known.

    Returns:
        (at most n, K) unit rows; a trait in which nobody differs has none, nor has one that those before tell.
    """
    found = coordinates.new_zeros(0, coordinates.shape[1])
    for trait in told.T.to(coordinates):
        rows, trait = coordinates[trait.isfinite()], trait[trait.isfinite()]
        if len(trait) < 2 or not float(trait.std()):
            continue
        least = _RIDGE * len(rows) * torch.eye(rows.shape[1]).to(rows)
        direction = torch.linalg.solve(rows.T @ rows + least, rows.T @ (trait - trait.mean()))
        rest = direction - found.T @ (found @ direction)
        if float(rest.norm()) > 0.2 * float(direction.norm()):
            found = torch.cat([found, torch.nn.functional.normalize(rest, dim=0)[None]])
    return found


def flat_directions(coordinates: Tensor, most: int, found: Tensor | None = None) -> Tensor:
    """The directions along which people are least like a Gaussian's: in two camps (women and men) or evenly spread.

    Found one after another, each at right angles to those before, by going down the gradient of the excess kurtosis
    (projection pursuit; the least Gaussian directions are the independent ones: Hyvärinen & Oja 2000, section 4.2).

    Args:
        coordinates: (P, K) of uncorrelated columns of variance 1.
        most: how many at most.
        found: (m, K) orthonormal rows to which they are at right angles.

    Returns:
        (m + n, K) unit rows: those given, then the flattest; no more where no direction is flat by far: `FLAT`, and a
        quarter more than can be found in as many vectors of a Gaussian.
    """
    generator = Generator().manual_seed(0)
    found = coordinates.new_zeros(0, coordinates.shape[1]) if found is None else found
    chance = torch.randn(coordinates.shape, generator=generator).to(coordinates)
    by_chance = min(_flattest(chance, found, generator)[0] for _ in range(_STARTS))
    while len(found) < min(most, coordinates.shape[1] - 1):
        tries = [_flattest(coordinates, found, generator) for _ in range(_STARTS)]
        kurtosis, direction = min(tries, key=lambda pair: pair[0])
        if kurtosis > min(FLAT, 1.25 * by_chance):
            break
        found = torch.cat([found, direction[None] * direction[direction.abs().argmax()].sign()])
    return found


def _flattest(coordinates: Tensor, found: Tensor, generator: Generator) -> tuple[float, Tensor]:
    """The least excess kurtosis near a random start, at right angles to `found`, and its direction (K,)."""

    def aside(direction: Tensor) -> Tensor:
        return torch.nn.functional.normalize(direction - found.T @ (found @ direction), dim=0)

    direction = aside(torch.randn(coordinates.shape[1], generator=generator).to(coordinates))
    for _ in range(_ROUNDS):
        along = coordinates @ direction
        slope = coordinates.T @ along**3 / len(along) - 3 * direction
        before, direction = direction, aside(direction - 0.3 * (slope - direction * (direction @ slope)))
        if float((direction - before).norm()) < 1e-4:
            break
    along = coordinates @ direction
    return float(along.pow(4).mean() / along.square().mean() ** 2 - 3), direction


def completed(rows: Tensor, lengths: Tensor) -> Tensor:
    """(K, K) orthonormal rows whose first are `rows` (n, K); the others are the principal axes of what is left of a
    Gaussian with standard deviations `lengths` (K,), largest first."""
    size, count = len(lengths), len(rows)
    rest = torch.linalg.qr(torch.cat([rows.T, torch.eye(size).to(rows)], 1)).Q.T[count:]
    spread = rest * lengths
    order = torch.linalg.eigh(spread @ spread.T).eigenvectors.T.flip(0)
    return torch.cat([rows, order @ rest])
