"""Labelled faces from Parquet or an image folder, decoded once into a memory map that every process shares."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from tqdm.auto import tqdm

from idgen.aligning import check_aligned
from idgen.ground import files
from idgen.ground.errors import InputError
from idgen.sets import Source, read_source


def on_gpu(array: NDArray[Any], device: torch.device | str) -> Tensor | None:
    """A whole array on a GPU, where it takes at most a quarter of what is free: a step then waits for none of it."""
    if torch.device(device).type != "cuda" or array.nbytes >= torch.cuda.mem_get_info(device)[0] / 4:
        return None
    return torch.from_numpy(np.array(array)).to(device)


@dataclass(frozen=True)
class Faces:
    """Decoded images and who is on them.

    Attributes:
        images: (N, H, W, 3) uint8, a read-only memory map.
        labels: (N,) int64 from 0 to people − 1.
        columns: every other column of the source, one value an image.
        content: names the images, their order and their labels; empty where nobody asks for it.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    content: str = ""
    placed: dict[str, Tensor | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def people(self) -> int:
        return int(self.labels.max()) + 1 if len(self.labels) else 0

    def subset(self, rows: NDArray[Any]) -> Faces:
        """The given rows, labels counted anew from 0. The images are copied into memory, unless they lie together."""
        labels = np.unique(self.labels[rows], return_inverse=True)[1].astype(np.int64)
        together = len(rows) and (np.diff(rows) == 1).all()
        images = self.images[rows[0] : rows[-1] + 1] if together else self.images[rows]
        return Faces(images, labels, {k: v[rows] for k, v in self.columns.items()})

    def split_people(self, held_out: int | None = None) -> tuple[Faces, Faces]:
        """(the first people, the last `held_out` people, see `hold_out`): nobody is on both sides."""
        first = self.labels < self.people - hold_out(self.people, held_out)
        return self.subset(np.flatnonzero(first)), self.subset(np.flatnonzero(~first))

    def pixels(self, rows: NDArray[Any], device: torch.device | str = "cpu") -> Tensor:
        """(len(rows), 3, H, W) float in [0, 1]."""
        if (there := self._placed(str(device))) is not None:
            chosen = there[torch.as_tensor(rows, device=device)]
        else:
            chosen = torch.from_numpy(np.ascontiguousarray(self.images[rows])).to(device)
        return chosen.permute(0, 3, 1, 2).float().div_(255)

    def _placed(self, device: str) -> Tensor | None:
        if device not in self.placed:
            self.placed[device] = on_gpu(self.images, device)
        return self.placed[device]


class Album:
    """Pictures person by person, to draw a person's from: of labels (N,) int64, who is on each."""

    def __init__(self, labels: NDArray[np.int64]):
        self.order = torch.from_numpy(np.argsort(labels, kind="stable"))
        self.counts = torch.from_numpy(np.bincount(labels))
        self.starts = self.counts.cumsum(0) - self.counts

    def draw(self, people: Tensor, pictures: int, generator: Generator) -> Tensor:
        """(P, pictures) rows of random pictures, with repeats, of each of the people (P,)."""
        draws = torch.rand(len(people), pictures, generator=generator)
        return self.order[self.starts[people, None] + (draws * self.counts[people, None]).long()]

    def of(self, person: int) -> Tensor:
        """The rows of everything of a person."""
        return self.order[self.starts[person] : self.starts[person] + self.counts[person]]

    def first(self, pictures: int) -> NDArray[np.int64]:
        """The rows of everybody's first so many pictures, ascending."""
        number = torch.arange(len(self.order)) - self.starts.repeat_interleave(self.counts)
        return np.sort(self.order[number < pictures].numpy())


def hold_out(there: int, asked: int | None, most: int = 300, what: str = "people") -> int:
    """How many of those `there` are for validation only: as many as `asked`; else a tenth, from 2 to `most`. InputError
    if none would be left on one side."""
    number = max(2, min(most, there // 10)) if asked is None else asked
    if not 0 < number < there:
        raise InputError(
            f"Cannot hold out {number} of {there} {what}: leave at least one on each side, by --held-out-{what} or "
            f"by more {what}."
        )
    return number


def load_faces(source: str | Path, size: int | None = None, labelled: bool = True) -> Faces:
    """Read a labelled set of faces.

    Args:
        source: a Parquet file, a folder of Parquet files, a folder with one sub-folder a person, or one that
            `idgen generate` wrote.
        size: side in pixels to which images are resized; None keeps the size, which must then be the same for all.
        labelled: whether Parquet must say who is on each image; without, everybody is somebody else.

    Raises:
        InputError: nothing readable is there, labels are missing, an image is damaged or not square, sizes differ, the
            faces are not aligned, or the cache has no room.
    """
    path = Path(source)
    found = list(files.walk(path)) if path.is_dir() else [path] * path.is_file()
    if not found:
        raise InputError(f"No files in {path}: give a Parquet file, a folder of them, or one with a folder a person.")
    stamp = [f"{p}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in found]
    key = hashlib.sha256("\n".join([*stamp, str(size), str(labelled), "3"]).encode()).hexdigest()[:20]
    folder = files.cache("decoded", key)
    if (folder / "labels.npy").exists():
        files.used(folder)
    else:
        _decode(read_source(path, ("landmarks",), labelled), path, size, folder)
    with np.load(folder / "columns.npz") as archive:
        columns = {name: archive[name] for name in archive.files}
    images = np.load(folder / "images.npy", mmap_mode="r")
    if note := (folder / "note.txt").read_text("utf-8"):
        warnings.warn(note, stacklevel=2)
    return Faces(images, np.load(folder / "labels.npy"), columns, (folder / "content.txt").read_text("utf-8"))


def _decode(source: Source, path: Path, size: int | None, folder: Path) -> None:
    if source.open is None:
        raise InputError(f"{source.name} holds vectors: training needs the pictures.")
    side = size or max(source.open(0).size)
    shape = (len(source), side, side, 3)
    files.check_cache(folder)
    if (free := files.make_room(folder.parent, math.prod(shape))) < math.prod(shape):
        raise InputError(
            f"Decoded, {source.name} takes {math.prod(shape) / 1e9:,.1f} GB, and {folder.parent} has "
            f"{free / 1e9:,.1f}: make room there, or set IDGEN_CACHE to a folder elsewhere."
        )
    if "landmarks" not in source.columns:  # else they are whole pictures, to find faces in
        check_aligned(source, path)
    with files.aside(folder) as beside:
        beside.mkdir()
        images = np.lib.format.open_memmap(beside / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
        content, wrong = hashlib.sha256(str(shape).encode()), []
        for index in tqdm(range(len(source)), desc=f"decoding {source.name}", unit="image"):
            try:
                images[index] = _square(source, path, index, side, resize=size is not None)
            except InputError as error:
                wrong.append(str(error))
            content.update(images[index].tobytes())
        if wrong:
            more = f" So it is with {len(wrong):,} of {len(source):,} pictures of {source.name}." if wrong[1:] else ""
            raise InputError(wrong[0] + more)
        images.flush()
        # Numbers stay in their order: the last people are held out.
        people = source.labels.astype(np.int64) if np.char.isdigit(source.labels).all() else source.labels
        labels = np.unique(people, return_inverse=True)[1].astype(np.int64)
        content.update(labels.tobytes())
        plain: Any = source.columns
        np.savez(beside / "columns.npz", **plain)
        np.save(beside / "labels.npy", labels)
        (beside / "content.txt").write_text(content.hexdigest(), "utf-8")
        (beside / "note.txt").write_text(source.note, "utf-8")


def _square(source: Source, path: Path, index: int, side: int, resize: bool) -> NDArray[np.uint8]:
    assert source.open is not None
    image = source.open(index)
    sized = f"{source.names[index]} is {image.width}×{image.height} pixels"
    if image.width != image.height:
        raise InputError(f"{sized}: cut faces out square first, by idgen align {path} OUT, and take OUT.")
    if image.width != side:
        if not resize:
            raise InputError(f"{sized}, the first one {side}×{side}: make all alike.")
        image = image.resize((side, side), resample=3)
    return np.asarray(image)
