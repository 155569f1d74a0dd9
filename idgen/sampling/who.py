"""What kind of people are drawn: shares of gender, age, skin tone and ancestry, read from the vectors by a probe."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from idgen.ground.attributes import PERSON
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, person_seed
from idgen.sampling.sampler import IdentitySampler

_THIRDS = ((-math.inf, 1 / 3), (1 / 3, 2 / 3), (2 / 3, math.inf))
KINDS: dict[str, dict[str, tuple[float, float]]] = {
    "gender": {"female": (-math.inf, 0.5), "male": (0.5, math.inf)},
    "age": dict(zip(("young", "middle", "old"), _THIRDS, strict=True)),
    "skin_tone": dict(zip(("fair", "medium", "dark"), _THIRDS, strict=True)),
    "ancestry": dict.fromkeys(("african", "asian", "caucasian"), (0.0, 1.0)),
}
"""What can be asked, and from where to where the probe reads it; ancestry is the greatest of three shares."""
UNIFORM = "uniform"
MOST = 400
"""Candidates drawn at most for each person who is wanted."""
_BLOCK = 2000

Traits = Callable[[Tensor], Tensor]
"""Vectors (N, D) to what a probe reads from them, (N, 6) in the order of `idgen.ground.attributes.PERSON`."""


class Who:
    """What kind of people, and how many of each.

    Args:
        wishes: by what of `KINDS`: a kind, which all are; kinds and their shares, whose rest is left open; or
            "uniform", each kind as often. Or "uniform" for everything.

    Raises:
        InputError: there is no such kind, or shares sum to more than 1.
    """

    def __init__(self, wishes: Mapping[str, Any] | str):
        if isinstance(wishes, str):
            if wishes != UNIFORM:
                raise InputError(f"`who` is uniform or names kinds of {', '.join(KINDS)}, got {wishes!r}.")
            wishes = dict.fromkeys(KINDS, UNIFORM)
        self.shares = {name: self._shares(name, wish) for name, wish in wishes.items()}

    @staticmethod
    def _shares(name: str, wish: Any) -> dict[str | None, float]:
        if name not in KINDS:
            raise InputError(f"People are chosen by {', '.join(KINDS)}, not by {name!r}.")
        if wish == UNIFORM:
            return {kind: 1 / len(KINDS[name]) for kind in KINDS[name]}
        asked = wish if isinstance(wish, Mapping) else {wish: 1.0}
        for kind, share in asked.items():
            if kind not in KINDS[name]:
                raise InputError(f"The {name} is {' or '.join(KINDS[name])}, got {kind!r}.")
            if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
                raise InputError(f"The share of {name}: {kind} is a number from 0 to 1, got {share!r}.")
        if (total := sum(asked.values())) > 1 + 1e-9:
            raise InputError(f"The shares of {name} sum to at most 1, got {total:g}.")
        return {**asked, **({None: 1 - total} if total < 1 - 1e-9 else {})}

    def wanted(self, n: int, seed: int) -> list[tuple[str | None, ...]]:
        """What each of n people is to be, in the order of `shares`; None is anything. Spread evenly over all
        combinations (systematic sampling), so that shares are met as nearly as n people can."""
        combinations = list(itertools.product(*self.shares.values()))
        weights = [
            math.prod(s[kind] for s, kind in zip(self.shares.values(), one, strict=True)) for one in combinations
        ]
        ends = torch.tensor(weights, dtype=torch.float64).cumsum(0)
        generator = Generator().manual_seed(person_seed(seed, 0))
        start = torch.rand(1, generator=generator, dtype=torch.float64)
        places = torch.searchsorted(ends, (torch.arange(n, dtype=torch.float64) + start) / n * ends[-1])
        order = torch.randperm(n, generator=generator)
        return [combinations[min(place, len(combinations) - 1)] for place in places[order].tolist()]

    def kinds(self, traits: Tensor) -> list[tuple[str, ...]]:
        """What each of N people is, in the order of `shares`, by their traits (N, 6)."""
        return list(zip(*(kind_of(name, traits) for name in self.shares), strict=True))

    def choose(self, sampler: IdentitySampler, traits: Traits, n: int, seed: int, method: Any = None) -> Identities:
        """n people as wished, the first ones that are found in the order in which the sampler draws them.

        Raises:
            InputError: a kind is so rare that `MOST` candidates a person do not suffice.
        """
        missing: dict[tuple[str | None, ...], list[int]] = {}
        for number, combination in enumerate(self.wanted(n, seed)):
            missing.setdefault(combination, []).append(number)
        found: dict[int, Identities] = {}
        seen = dict.fromkeys(missing, 0)
        for first in range(0, MOST * n, _BLOCK):
            people = sampler.sample(min(_BLOCK, MOST * n - first), seed, method, first)
            for row, kinds in enumerate(self.kinds(traits(people.vectors))):
                for combination, numbers in missing.items():
                    if all(want in (None, kind) for want, kind in zip(combination, kinds, strict=True)):
                        seen[combination] += 1
                        if numbers:
                            found[numbers.pop(0)] = people.take([row])
                            break
            if len(found) == n:
                return Identities.of([found[number][0] for number in range(n)])
        rare = next(combination for combination, numbers in missing.items() if numbers)
        said = ", ".join(str(kind) for kind in rare if kind is not None)
        raise InputError(
            f"Of {MOST * n:,} people drawn only {seen[rare]:,} read as {said}, fewer than are asked for: ask for fewer."
        )

    def reached(self, traits: Tensor) -> dict[str, dict[str, float]]:
        """The share of each kind among people, by their traits (N, 6)."""
        return {
            name: {kind: kind_of(name, traits).count(kind) / max(1, len(traits)) for kind in KINDS[name]}
            for name in self.shares
        }


def kind_of(name: str, traits: Tensor) -> list[str]:
    """The kind of N people, by their traits (N, 6)."""
    if name == "ancestry":
        places = traits[:, [PERSON.index(kind) for kind in KINDS[name]]].argmax(1).tolist()
        return [list(KINDS[name])[place] for place in places]
    values = traits[:, PERSON.index(name)].tolist()
    return [next(kind for kind, (low, high) in KINDS[name].items() if low <= value < high) for value in values]
