"""Variations of one identity vector.

A *variation* is called with a vector (D,) and a generator and returns another vector of unit length. `vary` makes one
for every picture of every person: what comes out are identities that any pipeline pictures, one picture each.

- `cone:0.7`: cosine to the person uniform in [0.7, 1], the direction around it uniform (IDperturb, arXiv 2602.18831);
  `cone:0.7-0.9`: in [0.7, 0.9]; `cone:0.7-0.7`, or the number 0.3: exactly 0.7.
- `gaussian:0.03`: normal noise of that standard deviation, set back to the length (Vec2Face, arXiv 2409.02979).
- `similarity:0.5`: the cone at which *pictures* are at 0.5 on average, by a model's `SimilarityCurve` (CemiFace, arXiv
  2409.18876).
- `boundary:0.5`: up to 0.5 towards what makes pictures more like the person, by a `Boundary` measured for each;
  `boundary:-4`: to its other side, where ExFaceGAN (arXiv 2307.05151) has a second person.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Generator, Tensor

from idgen.ground import arguments, files
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, key, vector_seed
from idgen.sampling.boundary import Boundary, Side

Variation = Callable[[Tensor, Generator], Tensor]
_FORMAT = "idgen.similarity-curve"


@pinned()
def cone(vector: Tensor, cosine: float, generator: Generator) -> Tensor:
    """A random vector at a given cosine to `vector`: c·e + √(1 − c²)·u, with u uniform on the sphere orthogonal to e.

    Of a vector (D,), D at least 2, only the direction counts; what comes back is float32 of unit length. The CPU
    generator is advanced by D normal numbers, but for c = 1, the vector itself. InputError as `direction`.
    """
    centre = direction(vector)
    if cosine == 1:
        return centre.float()
    aside = torch.randn(len(centre), generator=generator, dtype=torch.float64)
    aside = aside - (aside @ centre) * centre
    return (cosine * centre + (1 - cosine**2) ** 0.5 * aside / aside.norm()).float()


@pinned()
def direction(vector: Tensor) -> Tensor:
    """(D,) of unit length in double precision, on the CPU; InputError where a vector has no direction."""
    if vector.ndim != 1 or len(vector) < 2:
        raise InputError(f"A vector (D,) with D of at least 2 is needed, got the shape {tuple(vector.shape)}.")
    centre = vector.detach().cpu().double()
    if not (centre.isfinite().all() and centre.norm() > 0):
        raise InputError("A vector is zero or not finite, so it has no direction.")
    return centre / centre.norm()


@dataclass(frozen=True)
class Cone:
    """An angular cone with a lower bound on the cosine (IDperturb): c uniform in [lowest, highest], then `cone`.

    IDperturb's own distribution inside its cone is not published; uniform in the cosine is ours.
    """

    lowest: float
    highest: float = 1.0

    def __post_init__(self) -> None:
        if not -1 <= self.lowest <= self.highest <= 1:
            raise InputError(f"A cone's cosines lie between -1 and 1, low to high; got {self.lowest}, {self.highest}.")

    def __call__(self, vector: Tensor, generator: Generator) -> Tensor:
        share = float(torch.rand((), generator=generator, dtype=torch.float64))
        return cone(vector, self.lowest + share * (self.highest - self.lowest), generator)


@dataclass(frozen=True)
class Gaussian:
    """Normal noise on a unit vector, then back to unit length (Vec2Face): normalise(e + σ z).

    Vec2Face adds to vectors of length about √D and says σ ∈ {.3, .5, .7} there: divide by that length. The mean cosine
    to e is 1/√(1 + σ² D), since |e + σz|² is 1 + σ² D on average and hardly varies for large D.
    """

    sigma: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma >= 0):
            raise InputError(f"The standard deviation of the noise is a number of at least 0, got {self.sigma}.")

    def __call__(self, vector: Tensor, generator: Generator) -> Tensor:
        centre = direction(vector)
        varied = centre + self.sigma * torch.randn(len(centre), generator=generator, dtype=torch.float64)
        return (varied / varied.norm()).float()


@dataclass(frozen=True)
class Along:
    """On a side of the person's identity boundary, see `Boundary.sample`.

    `reach` is the farthest step in lengths of the vector, below 0 to the other side; `boundary` gives a vector's (D,).
    """

    reach: float
    boundary: Callable[[Tensor], Boundary]

    def __post_init__(self) -> None:
        if not 0 < abs(self.reach) <= 10:
            raise InputError(f"How far along the boundary is a number from -10 to 10 other than 0, got {self.reach:g}.")

    def __call__(self, vector: Tensor, generator: Generator) -> Tensor:
        side: Side = "similar" if self.reach > 0 else "dissimilar"
        return self.boundary(vector).sample(vector, 1, generator, abs(self.reach), side)[0]


@dataclass(frozen=True)
class SimilarityCurve:
    """How similar a model's *pictures* of a varied vector are to the person: measured once a model, then saved.

    CemiFace trains its generator to hit a wanted similarity m; any identity-conditioned generator can be had to do so
    from outside, by choosing the cone at which the measured mean is m.

    Args:
        cosines: of the cones, ascending.
        similarities: the mean cosine of the pictures to the person at each, never falling.
        deviations: standard deviation of the pictures' cosines at each.
        model, weights, space: which model, the fingerprint of its weights, the space of the similarities.
        pictures: how many at each cosine.
    """

    cosines: list[float]
    similarities: list[float]
    deviations: list[float]
    model: str
    weights: str
    space: str
    pictures: int

    @classmethod
    def fit(
        cls, cosines: Sequence[float], similarities: ArrayLike, *, model: str = "", weights: str = "", space: str = ""
    ) -> SimilarityCurve:
        """From (C,) cosines of cones, ascending, and the similarities (C, N) of the pictures made at each: the closest
        never-falling curve through the means (isotonic regression)."""
        measured = np.asarray(similarities, np.float64)
        means, spread = isotonic(measured.mean(1)), measured.std(1)
        return cls(list(cosines), means.tolist(), spread.tolist(), model, weights, space, measured.shape[1])

    def variation(self, similarity: float) -> Cone:
        """The cone whose pictures have this mean similarity to the person, interpolated; InputError if none has."""
        low, high = self.similarities[0], self.similarities[-1]
        if not low <= similarity <= high:
            raise InputError(
                f"Pictures by {self.model or 'this model'} reach mean similarities from {low:.2f} to {high:.2f}, "
                f"not {similarity:g}: ask for one in between."
            )
        means, at = np.array(self.similarities), np.array(self.cosines)
        last = len(means) - 1 - np.unique(means[::-1], return_index=True)[1]  # of a flat piece, the end nearest to 1
        cosine = float(np.interp(similarity, means[last], at[last]))
        return Cone(cosine, cosine)

    def save(self, path: str | Path) -> None:
        """Write JSON, all of it or nothing."""
        files.write_json(path, {"format": _FORMAT, **asdict(self)})

    @classmethod
    def load(cls, path: str | Path) -> SimilarityCurve:
        """Read what `save` wrote; InputError when it cannot be read."""
        content = files.read_json(path)
        try:
            if content.pop("format", None) != _FORMAT:
                raise TypeError("it says that it is another file")
            return cls(**content)
        except TypeError as error:
            raise InputError(f"{path} is no similarity curve ({error}): measure it again.") from error


def settled(text: float | str, curve: Callable[[], SimilarityCurve]) -> float | str:
    """A variation in words that need no curve any more and no rule for numbers: "cone:0.7-0.7"; 0 for none."""
    if isinstance(text, str) and not text.startswith("similarity:"):
        return text
    found = parse_variation(text, curve)
    return 0 if found is None else f"cone:{found.lowest:.6f}-{found.highest:.6f}"  # type: ignore[attr-defined]


def check_variation(text: float | str) -> None:
    """Refuse words or a number that are no variation, before a model is loaded; see `parse_variation`."""
    nothing = Boundary(torch.zeros(2), 0.0, 0.0)
    parse_variation(text, lambda: SimilarityCurve([-1, 1], [-1, 1], [0, 0], "", "", "", 0), lambda _: nothing)


def isotonic(values: ArrayLike) -> NDArray[np.float64]:
    """The never-falling sequence closest to (N,) values in least squares (pool adjacent violators)."""
    levels: list[list[float]] = []  # mean, count
    for value in np.asarray(values, np.float64):
        levels.append([float(value), 1.0])
        while len(levels) > 1 and levels[-2][0] > levels[-1][0]:
            mean, count = levels.pop()
            before, so_far = levels[-1]
            levels[-1] = [(before * so_far + mean * count) / (so_far + count), so_far + count]
    return np.repeat([mean for mean, _ in levels], [int(count) for _, count in levels])


def parse_variation(
    text: float | str,
    curve: Callable[[], SimilarityCurve] | None = None,
    boundary: Callable[[Tensor], Boundary] | None = None,
) -> Variation | None:
    """A variation in words, see the table above, or as one number.

    Args:
        text: such as "cone:0.7"; or v from 0 (none) to 1, which is short for the cone at exactly the cosine 1 − v.
        curve: gives the model's curve; called for "similarity:…" only.
        boundary: gives a person's boundary; for "boundary:…" only.

    Returns:
        None for 0: exactly the person.

    Raises:
        InputError: the words are not understood, or a number is out of range.
    """
    if not isinstance(text, str):
        cosine = 1 - arguments.number("variation", text, 0, 1)
        return None if cosine == 1 else Cone(cosine, cosine)
    kind, _, numbers = text.partition(":")
    try:
        values = [float(number) for number in numbers.split("-")] if not numbers.startswith("-") else [float(numbers)]
    except ValueError:
        values = []
    if kind == "cone" and len(values) in (1, 2):
        return Cone(*values)
    if kind == "gaussian" and len(values) == 1:
        return Gaussian(values[0])
    if kind == "similarity" and len(values) == 1 and curve is not None:
        return curve().variation(values[0])
    if kind == "boundary" and len(values) == 1 and boundary is not None:
        return Along(values[0], boundary)
    raise InputError(
        f"There is no variation {text!r}: write cone:0.7, cone:0.7-0.9, gaussian:0.03, similarity:0.5 or boundary:0.5, "
        "with your numbers."
    )


@pinned()
def vary(people: Identities, variation: Variation, images: int, seed: int, first: int = 0) -> Identities:
    """For every picture of every person a vector of its own, person by person, called like "person-7-0000 k02".

    Picture k's vector depends on the run's seed, the person's vector, k and the variation alone.

    `images` are those a person, numbered from `first`.
    """
    vectors, sources, names = [], [], []
    for row, person in enumerate(people):
        identity = key(person.vector)
        name = person.name if len(person.name) <= 88 else f"{person.name[:78]} {row}"
        for k in range(first, first + images):
            generator = Generator().manual_seed(vector_seed(seed, identity, k))
            vectors.append(variation(person.vector, generator))
            sources.append(f"{person.source}, varied")
            names.append(f"{name} k{k:02d}")
    return Identities(torch.stack(vectors), people.space, sources, names)
