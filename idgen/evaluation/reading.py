"""Sets of faces with their vectors, by a model's judge and encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from idgen.aligning import check_aligned
from idgen.evaluation.attributes import some_people
from idgen.faces import resolve
from idgen.faces.align import ALIGNMENTS
from idgen.ground.domain import generated_by
from idgen.ground.errors import InputError
from idgen.ground.hub import DEFAULT_MODEL
from idgen.ground.vectors import check_same_space, check_vectors
from idgen.scoring import Calibration, calibrations_of
from idgen.sets import Source, read_source

if TYPE_CHECKING:
    from PIL.Image import Image

    from idgen.faces.encoder import FaceEncoder
    from idgen.model import Model

MOST_LOOKED_AT = 1_000
"""Pictures whose landmarks are looked for."""


@dataclass
class Embedded:
    """A set's vectors by one recogniser, with what its scores mean, where that is known."""

    by: str
    space: str | None
    vectors: Tensor
    calibrations: Sequence[Calibration] = ()


@dataclass
class Set:
    """A source with its vectors: by the judge first, then the encoder, or those of its file.

    Rows of the source without a face are left out of all.
    """

    source: Source
    by: list[Embedded]
    without_face: int = 0


class Reader:
    """Reads and embeds sets.

    Args:
        model: whose judge and encoder embed the pictures; None with `by`.
        aligned: pictures are aligned faces; else faces are found and aligned first, see `searched`.
        progress: show bars.
        by: names of recognisers that embed them instead, see `idgen.faces.resolve`.
        find: what makes it find the faces of photos first, in words; "" where nothing does.
    """

    def __init__(
        self, model: Model | None, aligned: bool, progress: bool, by: Sequence[str] = (), find: str = "add --photos"
    ):
        self.model, self.aligned, self.progress, self.by, self.find = model, aligned, progress, by, find

    @cached_property
    def recognisers(self) -> list[tuple[str, Any, Sequence[Calibration]]]:
        """(who, recogniser, calibrations): the judge, where there is one, then the encoder; or those of `by`."""
        if self.model is None:
            return [(name, found, calibrations_of(found)) for name in self.by for found in [resolve.recogniser(name)]]
        encoder = self.model.encoder
        judge = [("the judge", self.model.judge.recognizer)] if self.model.has("judge") else []
        return [(who, one, calibrations_of(one)) for who, one in (*judge, ("the encoder", encoder))]

    @cached_property
    def searched(self) -> bool:
        """Whether the pictures are searched for faces: as photos are, and crops where recognisers cut faces out
        differently, or in a way in which idgen writes none, as dlib does."""
        ways = {one.alignment for _, one, _ in self.recognisers}
        return not self.aligned or len(ways | {self.seeker.alignment}) > 1 or not ways <= ALIGNMENTS.keys()

    @cached_property
    def seeker(self) -> FaceEncoder:
        """Who finds the faces for all."""
        if self.model is not None:
            return self.model.encoder
        finding = [one for _, one, _ in self.recognisers if one.finder is not None]
        return finding[0] if finding else resolve.recogniser(DEFAULT_MODEL)

    def source(self, path: str | Path) -> Source:
        """A set. InputError where it cannot be read, or its faces are not aligned and should be."""
        source = read_source(path)
        if self.model is not None and source.domain == generated_by(self.model.name):
            source = replace(source, domain=self.model.paints)
        if source.open is not None and not self.searched:
            check_aligned(source, path, f", or {self.find}" if self.find else "", self.seeker.alignment)
        return source

    def read(self, path: str | Path) -> Set:
        """A set with its vectors. Errors as those of `source`."""
        source = self.source(path)
        if source.vectors is not None:
            if source.space is None:
                return Set(source, [Embedded("the recogniser that made the vectors", None, source.vectors)])
            known = {recogniser.space: calibrations for _, recogniser, calibrations in self.recognisers}
            who = f"the recogniser of {source.space}"
            return Set(source, [Embedded(who, source.space, source.vectors, known.get(source.space, ()))])
        open_ = source.open
        assert open_ is not None
        rows, vectors = self.embed(open_, len(source), source.name)
        if not len(rows):
            raise self.none_shown(f"picture of {source.name}")
        by = [
            Embedded(who, recogniser.space, check_vectors(part, source.name), calibrations)
            for (who, recogniser, calibrations), part in zip(self.recognisers, vectors, strict=True)
        ]
        return Set(source.only(rows), by, len(source) - len(rows))

    def embed(self, open_: Callable[[int], Image], count: int, name: str) -> tuple[NDArray[np.intp], list[Tensor]]:
        """The numbers of the pictures with a face, and their vectors by every recogniser."""
        recognisers = [recogniser for _, recogniser, _ in self.recognisers]
        kept: list[int] = []
        parts: list[list[Tensor]] = [[] for _ in recognisers]
        for start in tqdm(range(0, count, 64), desc=f"embedding {name}", unit="batch", disable=not self.progress):
            batch = [open_(row) for row in range(start, min(start + 64, count))]
            seen = self.views(batch, recognisers, name)
            kept += [start + place for place, each in enumerate(seen) if each is not None]
            for by, (part, recogniser) in enumerate(zip(parts, recognisers, strict=True)):
                if shown := [each[by] for each in seen if each is not None]:
                    part.append(recogniser.encode(shown))
        return np.array(kept, np.intp), [torch.cat(part) if part else torch.empty(0, 1) for part in parts]

    def views(
        self, pictures: Sequence[Image], viewers: Sequence[FaceEncoder], name: str
    ) -> list[tuple[Any, ...] | None]:
        """What each viewer is to see of each picture of a set called `name`, see `FaceEncoder.crops`."""
        for picture in () if self.searched else pictures:
            if picture.width != picture.height:
                raise InputError(
                    f"A picture of {name} is {picture.width} × {picture.height} pixels, but aligned faces are square: "
                    f"{self.find or 'cut faces out by idgen align'} for photos in which faces have to be found first."
                )
        return self.seeker.crops(pictures, viewers, not self.searched)

    def none_shown(self, what: str) -> InputError:
        """What to raise where no face was found in any of some pictures: why one was looked for, and what to do."""
        seeker, why = self.seeker, "are they pictures of faces?"
        other = next((one for _, one, _ in self.recognisers if one.alignment != seeker.alignment), None)
        if self.aligned and other is not None:
            why = (
                f"they are face crops, but recognisers that cut faces out differently ({seeker.space}: "
                f"{seeker.alignment}, {other.space}: {other.alignment}) need the face to be found, which is easily "
                "missed where it fills the picture; take the photos that they were cut out of"
            )
            why += f", and {self.find}." if self.find else "."
        return InputError(f"No face was found in any {what}: {why}")

    def attributes(self, source: Source) -> dict[str, NDArray[Any]]:
        """What the model's reader reads of every picture, by name; nothing where it has none, or was not measured on
        such pictures."""
        model, open_ = self.model, source.open
        if model is None or open_ is None or not model.has("attributes"):
            return {}
        if source.domain not in (model.attributes.domain, model.paints):
            return {}
        read = []
        for start in tqdm(range(0, len(source), 64), desc="attributes", unit="batch", disable=not self.progress):
            batch = [open_(row) for row in range(start, min(start + 64, len(source)))]
            seen = self.views(batch, [self.seeker], source.name)
            read.append(model.attributes.read([each[0] for each in seen if each is not None]))
        return model.attributes.vocabulary.columns(torch.cat(read).numpy())

    def landmarks(self, source: Source, seed: int) -> tuple[dict[int, NDArray[np.float64]], int]:
        """Landmarks of the largest face in some pictures, all of some people, and how many pictures were looked at."""
        finder = self.seeker.finder
        if finder is None or source.open is None:
            return {}, 0
        rows = some_people(source.labels, np.arange(len(source)), MOST_LOOKED_AT, seed)
        found = {}
        for row in tqdm(rows, desc="landmarks", unit="picture", disable=not self.progress):
            if faces := finder.find(source.open(int(row))):
                found[int(row)] = faces[0].landmarks
        return found, len(rows)


def common(one: Set, other: Set) -> tuple[Embedded, Embedded]:
    """The vectors of two sets by the first recogniser that embedded both; InputError where there is none."""
    same = [(a, b) for a in one.by for b in other.by if a.space == b.space or None in (a.space, b.space)]
    if not same:
        check_same_space(one.by[0].space, other.by[0].space)
    a, b = same[0]
    ours, theirs = a.vectors.shape[1], b.vectors.shape[1]
    if ours != theirs:
        counts = f"The vectors of {one.source.name} have {ours} numbers, those of {other.source.name} {theirs}"
        raise InputError(f"{counts}: embed both by one recogniser.")
    return a, b
