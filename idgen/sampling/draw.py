"""People by the name of a method: what `idgen sample` calls."""

from __future__ import annotations

from pathlib import Path

import torch

from idgen.ground import files
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, mean, person_seed, safe_name
from idgen.ground.vectors import check_same_space, load_vectors
from idgen.sampling.interpolation import SoftLabel, interpolate, mixup
from idgen.sampling.packing import packed
from idgen.sampling.sampler import IdentitySampler
from idgen.sampling.who import Traits, Who

GALLERY = 2000
"""Sampled people who show a packing where faces live: sampled, so that nobody is drawn towards a training person."""
_FROM_FILE = ("file", "interpolate", "mean", "mixup")


@pinned()
def draw(
    sampler: IdentitySampler,
    n: int,
    seed: int,
    method: str | None = None,
    origin: str | Path | None = None,
    who: Who | None = None,
    traits: Traits | None = None,
) -> tuple[Identities, list[SoftLabel]]:
    """n people, and what each is made of where they are mixed (else an empty list).

    Args:
        sampler: of the model that will picture them.
        n: how many; `mean` gives one.
        seed: of the run, see `idgen.ground.identity.person_seed`.
        method: as `IdentitySampler.sample`; "packed", those of None pushed apart; or of a file: "file" (n of its
            people, drawn without repeating; all in their order if it has just n), "interpolate" (between its first
            two), "mean", "mixup".
        origin: file of people (safetensors by idgen) or of vectors (safetensors, npz, npy).
        who: what kind of people; for methods that can go on drawing.
        traits: reads it from vectors.

    Raises:
        InputError: a file is missing or given in vain, has too few people, is of another space, or `n` is out of range.
    """
    if (origin is not None) != (method in _FROM_FILE):
        raise InputError(
            f"The method {method} needs a file: add --from people.safetensors."
            if origin is None
            else f"The method {method} takes no file: choose one of {', '.join(_FROM_FILE)} with --from."
        )
    if who is not None:
        if origin is not None or method == "packed":
            raise InputError(
                f"The method {method} takes people as they come: leave out `who`, or choose another method."
            )
        assert traits is not None
        return who.choose(sampler, traits, n, seed, method), []
    if method == "packed":
        start = sampler.sample(n, seed)
        if n < 2:
            raise InputError("One person alone cannot be packed: ask for at least two.")
        gallery = sampler.sample(GALLERY, person_seed(seed, n)).vectors  # other people than the first n
        return packed(start, gallery, seed), []
    if origin is None:
        return sampler.sample(n, seed, method), []  # type: ignore[arg-type]
    return _of_file(_people(Path(origin), sampler), n, seed, method, origin)


def _of_file(
    people: Identities, n: int, seed: int, method: str | None, origin: str | Path
) -> tuple[Identities, list[SoftLabel]]:
    rows = torch.arange(len(people))
    if method == "mixup":
        return mixup(people, n, seed)
    if method == "mean":
        if n != 1:
            raise InputError(f"A mean is one person, not {n:,}: ask for one.")
        return Identities.of([mean(people, "mean")]), []
    if len(people) < (2 if method == "interpolate" else n):
        wanted = "two people to go between" if method == "interpolate" else f"{n:,} people"
        raise InputError(f"{origin} holds {len(people):,} people, but {wanted} are needed.")
    if method == "interpolate":
        return interpolate(people[0], people[1], n), []
    if n < len(people):
        rows = torch.randperm(len(people), generator=torch.Generator().manual_seed(person_seed(seed, 0)))[:n]
    return people.take(rows.tolist()), []


def _people(path: Path, sampler: IdentitySampler) -> Identities:
    try:
        people = Identities.load(path)
    except InputError:
        found = load_vectors(path)
        check_same_space(found.space, sampler.space)
        # Nobody can say that there is no photo behind a vector from elsewhere.
        names = [f"{safe_name(path.stem)[:60]}-{row:04d}" for row in range(len(found))]
        people = Identities(found.vectors, sampler.space, [f"a vector of {path.name}"] * len(found), names)
    people.require_space(sampler.space, sampler.dim)
    return people


def write_soft_labels(out: str | Path, people: Identities, labels: list[SoftLabel]) -> Path:
    """Write name → {name: weight} beside a file of mixed people, and return where."""
    content = {name: label.weights() for name, label in zip(people.names, labels, strict=True)}
    return files.write_json(Path(out).with_suffix(".soft-labels.json"), content)
