"""People between people: on the arc from one to another, and identity mixup with soft labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from idgen.ground import arguments
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError
from idgen.ground.identity import SAMPLED, Identities, Identity, person_seed
from idgen.sampling.variation import direction

_ALMOST = 1e-6
"""Below this angle (radians) the arc is a straight line; so close to opposite it has no direction."""


@pinned()
def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """The point at `share` of the shorter arc from `a` to `b`: (sin((1−t)ω) a + sin(tω) b) / sin ω (Shoemake 1985).

    Of `a` and `b`, (D,), only the directions count; what comes back is float32 of unit length. InputError if one has no
    direction, or the two are opposite, so that no arc is the shortest.
    """
    start, end = direction(a), direction(b)
    # atan2 of half the difference and half the sum is exact for all angles; acos is not near 0 and π.
    angle = 2 * float(torch.atan2((end - start).norm(), (end + start).norm()))
    if angle > torch.pi - _ALMOST:
        raise InputError("The two people are opposite on the sphere, so no way between them is the shortest.")
    if angle < _ALMOST:
        point = (1 - share) * start + share * end
    else:
        on_arc = torch.tensor([(1 - share) * angle, share * angle], dtype=torch.float64).sin()
        point = on_arc[0] * start + on_arc[1] * end
    return (point / point.norm()).float()


@pinned()
def interpolate(a: Identity, b: Identity, people: int) -> Identities:
    """So many people in equal steps on the arc from `a` to `b`, both included. InputError if they live in different
    spaces or are opposite, or `people` is below 2."""
    b.require_space(a.space, len(a.vector))
    if people < 2:
        raise InputError(f"An interpolation holds both its ends, so it has at least 2 people, got {people}.")
    shares = [step / (people - 1) for step in range(people)]
    origin = "a photo's person" if a.from_photo or b.from_photo else SAMPLED  # says whether a photo is behind it
    return Identities(
        torch.stack([slerp(a.vector, b.vector, share) for share in shares]),
        a.space,
        [f"{origin}, {share:.0%} of the way from {a.name} to {b.name}" for share in shares],
        [f"between-{step:04d}" for step in range(people)],
    )


@dataclass(frozen=True)
class SoftLabel:
    """What a mixed person is made of: `share` of `first`, and the rest of `second` (names of people)."""

    first: str
    second: str
    share: float

    def weights(self) -> dict[str, float]:
        """Name → weight, as a classifier's soft target; they sum to 1."""
        return {self.first: self.share, self.second: 1 - self.share}


@pinned()
def mixup(people: Identities, n: int, seed: int) -> tuple[Identities, list[SoftLabel]]:
    """Identity mixup (SynFace, Qiu et al., ICCV 2021): n points on the arcs between two random people, at shares of the
    first one of 0, 0.05, … 1; and what each is made of. Number i depends on the people, the run's seed and i alone.
    InputError if there are fewer than two people, or a pair of them is opposite."""
    seed, n = arguments.seed(seed), arguments.whole("number of people to mix", n, 1)
    if len(people) < 2:
        raise InputError("One person alone cannot be mixed: give at least two.")
    vectors, labels, photo = [], [], any(person.from_photo for person in people)
    for number in range(n):
        generator = Generator().manual_seed(person_seed(seed, number))
        one = int(torch.randint(len(people), (), generator=generator))
        other = (one + 1 + int(torch.randint(len(people) - 1, (), generator=generator))) % len(people)
        share = int(torch.randint(21, (), generator=generator)) / 20
        vectors.append(slerp(people.vectors[other], people.vectors[one], share))
        labels.append(SoftLabel(people.names[one], people.names[other], share))
    origin = "mixed from photos" if photo else SAMPLED
    sources = [f"{origin}, {x.share:.0%} {x.first} and {1 - x.share:.0%} {x.second}" for x in labels]
    names = [f"mixed-{seed}-{number:04d}" for number in range(n)]
    return Identities(torch.stack(vectors), people.space, sources, names), labels
