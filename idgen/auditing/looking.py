"""One pass over the pictures of a set: vectors by every recogniser, quality, attributes, thumbnails.

What was seen lies in files that are mapped, not loaded; a pass that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from idgen.evaluation.reading import Reader
from idgen.faces.encoder import FaceEncoder
from idgen.faces.reader import AttributeReader
from idgen.ground import files
from idgen.ground.errors import InputError
from idgen.ground.images import shrunk
from idgen.scoring import Calibration
from idgen.sets import Source

AT_ONCE = 64
PROGRESS = "looked.json"
_TOGETHER = 16  # batches between two notes of how far it is


@dataclass
class Seen:
    """A set by one recogniser.

    Args:
        by, space: who, and its embedding space.
        vectors: (N, D) float32 of unit length, mapped from a file.
        calibrations: what its scores mean.
        quality: name of a measure → (N,), higher is better: `norm`, and `cr-fiqa` where the recogniser has a head.
        recogniser: itself, where there are pictures.
    """

    by: str
    space: str | None
    vectors: NDArray[np.float32]
    calibrations: Sequence[Calibration] = ()
    quality: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    recogniser: FaceEncoder | None = None


@dataclass
class Looked:
    """A set with all that was seen; pictures without a face are left out of all of it.

    Args:
        source: the set.
        by: by each recogniser.
        thumbnails: (N, 1024) grey 32 × 32, or None of a file of vectors.
        read: (N, A) attributes as the model's reader reads them, or None.
        without_face: how many pictures were left out.
    """

    source: Source
    by: list[Seen]
    thumbnails: NDArray[np.uint8] | None = None
    read: NDArray[np.float32] | None = None
    without_face: int = 0


def look(path: str | Path, reader: Reader, folder: Path, attributes: AttributeReader | None = None) -> Looked:
    """Look at all pictures of a set, or read its file of vectors.

    Args:
        path: what `idgen.sets.read_source` reads.
        reader: with the recognisers.
        folder: for what was seen.
        attributes: reads what the pictures look like.

    Raises:
        InputError: nothing readable is there, its faces are not aligned and should be, no picture shows a face, or one
            gives a broken vector.
    """
    source = reader.source(path)
    if source.open is None:
        set_ = reader.read(path)
        return Looked(set_.source, [Seen(o.by, o.space, o.vectors.numpy(), o.calibrations) for o in set_.by])
    store = _Store(folder, source, reader, attributes)
    store.fill(reader, attributes)
    rows, arrays = store.rows(), store.arrays()
    if not len(rows):
        raise reader.none_shown(f"picture of {source.name}")
    by = []
    for place, (who, recogniser, calibrations) in enumerate(reader.recognisers):
        measures = recogniser.rated
        quality = {name: arrays[f"quality-{place}"][:, number] for number, name in enumerate(measures)}
        by.append(Seen(who, recogniser.space, arrays[f"vectors-{place}"], calibrations, quality, recogniser))
    return Looked(source.only(rows), by, arrays["thumbnails"], arrays.get("attributes"), len(source) - len(rows))


class _Store:
    """The files of a pass, filled picture by picture; those without a face take no place."""

    def __init__(self, folder: Path, source: Source, reader: Reader, attributes: AttributeReader | None):
        self.folder, self.source, count = folder, source, len(source)
        self.shapes: dict[str, tuple[tuple[int, ...], type]] = {"rows": ((count,), np.int64)}
        self.shapes["thumbnails"] = ((count, 1024), np.uint8)
        for place, (_, recogniser, _) in enumerate(reader.recognisers):
            self.shapes[f"vectors-{place}"] = ((count, recogniser.dim), np.float32)
            self.shapes[f"quality-{place}"] = ((count, len(recogniser.rated)), np.float32)
        if attributes is not None:
            self.shapes["attributes"] = ((count, len(attributes.vocabulary)), np.float32)
        spaces = [recogniser.space for _, recogniser, _ in reader.recognisers]
        self.key = _key(source, [*spaces, *(str(shape) for shape in self.shapes.values()), str(not reader.searched)])

    def fill(self, reader: Reader, attributes: AttributeReader | None) -> None:
        """Look at the pictures that were not looked at before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self._note()
        fresh = note.get("key") != self.key
        done, kept = (0, 0) if fresh else (note["done"], note["kept"])
        arrays = {name: self._open(name, fresh) for name in self.shapes}
        open_, count = self.source.open, len(self.source)
        assert open_ is not None
        starts = range(done, count, AT_ONCE)
        bar = tqdm(starts, desc=f"looking at {self.source.name}", unit="batch", disable=not reader.progress)
        for number, start in enumerate(bar, 1):
            stop = min(start + AT_ONCE, count)
            found = _batch([open_(row) for row in range(start, stop)], start, reader, attributes, self.source)
            more = len(found["rows"])
            for name, values in found.items():
                arrays[name][kept : kept + more] = values
            kept += more
            if number % _TOGETHER == 0 or stop == count:
                for array in arrays.values():
                    array.flush()
                files.write_json(self.folder / PROGRESS, {"key": self.key, "done": stop, "kept": kept})

    def _open(self, name: str, fresh: bool) -> Any:
        path, (shape, kind) = self.folder / f"{name}.npy", self.shapes[name]
        if not fresh:
            return np.lib.format.open_memmap(path, "r+")
        return np.lib.format.open_memmap(path, "w+", dtype=kind, shape=shape)

    def _note(self) -> dict[str, Any]:
        path = self.folder / PROGRESS
        return json.loads(path.read_text("utf-8")) if path.is_file() else {}

    def rows(self) -> NDArray[np.int64]:
        """(N,) the numbers of the pictures with a face."""
        return np.array(self.arrays()["rows"])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What was seen, mapped from the files."""
        kept = self._note()["kept"]
        return {name: np.load(self.folder / f"{name}.npy", mmap_mode="r")[:kept] for name in self.shapes}


def _batch(
    pictures: list[Any], start: int, reader: Reader, attributes: AttributeReader | None, source: Source
) -> dict[str, NDArray[Any]]:
    recognisers = [recogniser for _, recogniser, _ in reader.recognisers]
    views = reader.views(pictures, [*recognisers, reader.seeker], source.name)
    shown = [place for place, each in enumerate(views) if each is not None]
    seen = [each for each in views if each is not None]
    out: dict[str, NDArray[Any]] = {"rows": np.array([start + place for place in shown], np.int64)}
    out["thumbnails"] = np.array([shrunk(each[-1]) for each in seen], np.uint8).reshape(len(seen), 1024)
    for place, recogniser in enumerate(recognisers):
        vectors, rated = recogniser.rate([each[place] for each in seen])
        lengths = vectors.norm(dim=1)
        if not ((lengths - 1).abs() < 1e-3).all():
            name = source.names[start + shown[int(((lengths - 1).abs() >= 1e-3).nonzero()[0])]]
            raise InputError(f"{name} of {source.name} has a broken vector by {recogniser.space}: leave it out.")
        out[f"vectors-{place}"], out[f"quality-{place}"] = vectors.numpy(), rated.reshape(len(seen), -1).numpy()
    if attributes is not None:
        out["attributes"] = attributes.read([each[-1] for each in seen]).numpy()
    return out


def _key(source: Source, more: Sequence[str]) -> str:
    """Names a set's pictures by who is on them, what they are called, and some of their pixels."""
    content = hashlib.sha256(json.dumps([source.name, *more]).encode())
    for texts in (source.labels, source.names):
        content.update("\n".join(texts.tolist()).encode())
    assert source.open is not None
    for row in np.unique(np.linspace(0, len(source) - 1, 8).astype(int)).tolist():
        content.update(source.open(row).tobytes())
    return content.hexdigest()[:20]
