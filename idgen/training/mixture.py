"""What a recogniser learns from: one labelled set, or several, mixed in every batch; people of two sets are two."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from idgen.ground.errors import InputError
from idgen.ground.words import count
from idgen.sets import read_soft_labels, read_source
from idgen.training.data import Album, Faces, hold_out, load_faces

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Asked:
    """A set and the share of every batch that is of it, if it is told."""

    path: str
    share: float | None

    @classmethod
    def read(cls, text: str) -> Asked:
        """`PATH`, or `PATH:SHARE`; InputError for a share that is none."""
        path, colon, tail = text.rpartition(":")
        try:
            share = float(tail)
        except ValueError:
            return cls(text, None)
        if not colon or Path(text).exists():
            return cls(text, None)
        if not 0 < share <= 1:
            raise InputError(f"The share of {path} in a batch is a number above 0 and at most 1, got {tail}.")
        return cls(path, share)


@dataclass(frozen=True)
class Part:
    """Some pictures of a set.

    Args:
        name: of the set.
        faces: all of the set, in a memory map.
        rows: (n,) which.
        people: (n,) who is on each, from 0, as the set says.
        targets, weights: (n, K) of whom each is taken to be while learning, and how much; `people` alone, or soft.
        share: of every batch; None where there is one part.
    """

    name: str
    faces: Faces
    rows: Rows
    people: Rows
    targets: Rows
    weights: NDArray[np.float32]
    share: float | None = None

    def __len__(self) -> int:
        return len(self.rows)


class Mixture:
    """Parts, drawn from together; their targets are counted one after the other.

    Attributes:
        people: how many targets there are.
        content: names all pictures, in their order.
    """

    def __init__(self, parts: Sequence[Part]):
        self.parts = list(parts)
        counts = [int(part.targets.max()) + 1 for part in parts]
        self.people = sum(counts)
        offsets = np.cumsum([0, *counts[:-1]])
        width = max(part.targets.shape[1] for part in parts)
        wide = [(0, width - part.targets.shape[1]) for part in parts]
        targets = [
            np.pad(part.targets + offset, ((0, 0), more), mode="edge")
            for part, offset, more in zip(parts, offsets, wide, strict=True)
        ]
        self.targets = torch.from_numpy(np.concatenate(targets))
        weights = [np.pad(part.weights, ((0, 0), more)) for part, more in zip(parts, wide, strict=True)]
        self.weights = torch.from_numpy(np.concatenate(weights))
        self.starts = np.cumsum([0, *(len(part) for part in parts)])
        self.albums = [Album(part.people) for part in parts]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def counts(self, size: int) -> list[int]:
        """How many pictures of a batch are of each part: its share, rounded so that they are `size` together."""
        if len(self.parts) == 1:
            return [size]
        exact = [size * float(part.share or 0) for part in self.parts]
        whole = [math.floor(number + 1e-9) for number in exact]
        left = sorted(range(len(exact)), key=lambda place: whole[place] - exact[place])
        for place in left[: size - sum(whole)]:
            whole[place] += 1
        if 0 in whole:
            part = self.parts[whole.index(0)]
            raise InputError(
                f"A share of {part.share:g} of {size} pictures is none: give {part.name} more, or a larger batch."
            )
        return whole

    def draw(self, counts: Sequence[int], generator: Generator, pictures: int = 1) -> Rows:
        """Rows of a batch, as many of each part as `counts` says; `pictures` of every person that is drawn."""
        rows = []
        for album, start, end, number in zip(self.albums, self.starts, self.starts[1:], counts, strict=False):
            if pictures == 1:
                rows.append(torch.randint(int(end - start), (number,), generator=generator) + int(start))
            elif number:
                people = torch.randperm(len(album.counts), generator=generator)[: max(1, number // pictures)]
                rows.append(album.draw(people, pictures, generator).flatten() + int(start))
        return torch.cat(rows).numpy()

    def pixels(self, rows: Rows, device: torch.device | str = "cpu") -> Tensor:
        """(len(rows), 3, H, W) float in [0, 1]."""
        place = np.searchsorted(self.starts, rows, side="right") - 1
        if len(self.parts) == 1 or (place == place[0]).all():
            part = self.parts[int(place[0])]
            return part.faces.pixels(part.rows[rows - self.starts[place[0]]], device)
        side = self.parts[0].faces.images.shape[1]
        out = torch.empty(len(rows), 3, side, side, device=device)
        for number, part in enumerate(self.parts):
            here = np.flatnonzero(place == number)
            if len(here):
                within = part.rows[rows[here] - self.starts[number]]
                out[torch.from_numpy(here).to(device)] = part.faces.pixels(within, device)
        return out


def load_mixture(
    data: Sequence[str],
    size: int,
    *,
    people: int | None = None,
    pictures: int | None = None,
    soft: bool = False,
    held_out: int | None = None,
    several: bool = False,
) -> tuple[Mixture, Faces, str]:
    """Sets to learn from, and people of them who are held out.

    Args:
        data: sets as `Asked` reads them.
        size: side of the pictures.
        people, pictures: of every set, the first so many people and pictures of each; None for all.
        soft: pictures are of those whom a column `soft_label` names.
        held_out: the last so many people of every set; by default a tenth, at most 300 together.
        several: only people with two pictures and more can be learned from.

    Returns:
        What to learn from; pictures of the people held out, so many that all can be compared; what names the content.

    Raises:
        InputError: a set cannot be read or is not aligned, shares are no shares, or too few people are left.
    """
    asked = _shares([Asked.read(text) for text in data])
    learned, kept, contents = [], [], []
    for one in asked:
        faces = load_faces(one.path, size)
        rows, who = _first(faces, people, pictures)
        number = hold_out(int(who.max()) + 1, held_out, most=max(2, 300 // len(asked)))
        last = who >= int(who.max()) + 1 - number
        part = _part(one, faces, rows[~last], who[~last], soft)
        learned.append(_with_several(part) if several else part)
        kept.append((faces, rows[last], who[last] - who[last].min()))
        contents.append(faces.content)
    if len(asked) > 1:
        _say_told_apart([one.path for one in asked])
        sizes = [len(part) for part in learned]
        learned = [_shared(part, one, sizes, asked) for part, one in zip(learned, asked, strict=True)]
    mixture = Mixture(learned)
    name = contents[0] if len(asked) == 1 else hashlib.sha256("".join(contents).encode()).hexdigest()
    if any((people, pictures, soft)) or len(asked) > 1:
        chosen = [people, pictures, soft, [part.share for part in learned]]
        name = hashlib.sha256(f"{name} {json.dumps(chosen)}".encode()).hexdigest()
    return mixture, _together(kept), name


def _shares(asked: Sequence[Asked]) -> Sequence[Asked]:
    told = sum(one.share or 0 for one in asked)
    everybody = all(one.share is not None for one in asked)
    if told > 1 + 1e-6 or (everybody and abs(told - 1) > 1e-6) or (told > 1 - 1e-6 and not everybody):
        said = ", ".join(f"{one.path}:{one.share:g}" for one in asked if one.share is not None)
        raise InputError(f"The shares of a batch are 1 together, got {said}: a set without a number gets what is left.")
    return asked


def _shared(part: Part, one: Asked, sizes: list[int], asked: Sequence[Asked]) -> Part:
    """A set without a share has its part of what is left, by its size."""
    rest = sum(size for size, other in zip(sizes, asked, strict=True) if other.share is None)
    left = 1 - sum(other.share or 0 for other in asked)
    share = one.share if one.share is not None else left * len(part) / rest
    return Part(part.name, part.faces, part.rows, part.people, part.targets, part.weights, share)


def _first(faces: Faces, people: int | None, pictures: int | None) -> tuple[Rows, Rows]:
    """The rows of the first people and of the first pictures of each, ascending, and who is on each."""
    rows = np.arange(len(faces)) if pictures is None else Album(faces.labels).first(pictures)
    if people is not None:
        if people > faces.people:
            raise InputError(f"{people:,} people are asked for, and a set has {faces.people:,}: ask for fewer.")
        rows = rows[faces.labels[rows] < people]
    return rows, faces.labels[rows]


def _part(one: Asked, faces: Faces, rows: Rows, who: Rows, soft: bool) -> Part:
    if not soft:
        return Part(one.path, faces, rows, who, who[:, None], np.ones((len(rows), 1), np.float32))
    told = read_soft_labels(one.path)
    numbers = {name: number for number, name in enumerate(sorted({name for row in rows for name in told[row]}))}
    width = max(len(told[row]) for row in rows)
    targets, weights = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.float32)
    for place, row in enumerate(rows):
        parts = told[row]
        targets[place] = [*(numbers[name] for name in parts), *[numbers[next(iter(parts))]] * (width - len(parts))]
        weights[place, : len(parts)] = list(parts.values())
    return Part(one.path, faces, rows, who, targets, weights)


def _with_several(part: Part) -> Part:
    """Without the people of one picture, which have no second one to be like."""
    counts = np.bincount(part.people)
    several = counts[part.people] > 1
    lonely = int((counts == 1).sum())
    if len(np.unique(part.people[several])) < 2:
        raise InputError(
            f"This loss compares two pictures of a person, and of the people of {part.name} {lonely:,} have one and "
            f"{int((counts > 1).sum())} more: give more pictures, or use a loss such as cosface."
        )
    if lonely:
        have = count(lonely, "person has", "people have")
        print(f"{have} one picture in {part.name}, and this loss compares two: left out.", file=sys.stderr)
    people = np.unique(part.people[several], return_inverse=True)[1].astype(np.int64)
    weights = np.ones((len(people), 1), np.float32)
    return Part(part.name, part.faces, part.rows[several], people, people[:, None], weights)


def _say_told_apart(paths: Sequence[str]) -> None:
    seen: set[str] = set()
    both: set[str] = set()
    for path in paths:
        names = set(read_source(path).labels.tolist())
        both |= seen & names
        seen |= names
    if both:
        some = ", ".join(sorted(both)[:3]) + ", …" * (len(both) > 3)
        were = count(len(both), "name is", "names are")
        print(f"{were} in several sets ({some}): they count as different people.", file=sys.stderr)


def _together(kept: list[tuple[Faces, Rows, Rows]]) -> Faces:
    """Pictures of the people held out: all pairs are compared, so those of a person are few where people are many."""
    everybody = sum(int(who.max()) + 1 for _, _, who in kept)
    few = max(2, 5000 // everybody)
    chosen: list[tuple[Any, Rows]] = []
    start = 0
    for faces, rows, who in kept:
        first = Album(who).first(few)
        chosen.append((faces.images[rows[first]], who[first] + start))
        start += int(who.max()) + 1
    images = np.concatenate([pictures for pictures, _ in chosen]) if len(chosen) > 1 else chosen[0][0]
    held = Faces(images, np.concatenate([who for _, who in chosen]))
    if held.people < 2 or len(held) == held.people:
        raise InputError(
            f"The {held.people} people held out have {len(held)} pictures: at least 2 people and somebody with "
            "2 pictures are needed, or nothing can be validated."
        )
    return held
