"""Labelled faces from Parquet or an image folder, decoded once into a memory map that every process shares."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idgen.errors import InputError

CACHE = Path(os.environ.get("IDGEN_CACHE", Path.home() / ".cache" / "idgen"))


@dataclass(frozen=True)
class Faces:
    """Decoded images and who is on them.

    Attributes:
        images: (N, H, W, 3) uint8, a read-only memory map.
        labels: (N,) int64 from 0 to people − 1.
        columns: every other column of the source, one value an image.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def people(self) -> int:
        return int(self.labels.max()) + 1 if len(self.labels) else 0

    def subset(self, rows: NDArray[Any]) -> Faces:
        """The given rows, labels counted anew from 0. The images are copied into memory."""
        labels = np.unique(self.labels[rows], return_inverse=True)[1].astype(np.int64)
        return Faces(self.images[rows], labels, {k: v[rows] for k, v in self.columns.items()})

    def split_people(self, held_out: int | None = None) -> tuple[Faces, Faces]:
        """(the first people, the last `held_out` people, see `hold_out`): nobody is on both sides."""
        first = self.labels < self.people - hold_out(self.people, held_out)
        return self.subset(np.flatnonzero(first)), self.subset(np.flatnonzero(~first))

    def pixels(self, rows: NDArray[Any], device: torch.device | str = "cpu") -> Tensor:
        """(len(rows), 3, H, W) float in [0, 1]."""
        chosen = torch.from_numpy(np.ascontiguousarray(self.images[rows])).to(device)
        return chosen.permute(0, 3, 1, 2).float().div_(255)


def hold_out(there: int, asked: int | None, most: int = 300, what: str = "people") -> int:
    """How many of those `there` are for validation only: as many as `asked`; else a tenth, from 2 to `most`.

    Raises:
        InputError: none would be left on one side.
    """
    number = max(2, min(most, there // 10)) if asked is None else asked
    if not 0 < number < there:
        raise InputError(
            f"Cannot hold out {number} of {there} {what}: leave at least one on each side, by --held-out-{what} or "
            f"by more {what}."
        )
    return number


def load_faces(source: str | Path, size: int | None = None, label: str | None = None) -> Faces:
    """Read a labelled set of faces.

    Args:
        source: a Parquet file, a folder of Parquet files, or a folder with one sub-folder a person.
        size: side in pixels to which images are resized; None keeps the size, which must then be the same for all.
        label: the column that names the person; by default `identity`, else `label`.

    Raises:
        InputError: nothing readable is there, a label is missing, or sizes differ.
    """
    path = Path(source)
    files = sorted(p for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file())
    parquet = [str(p) for p in files if p.suffix == ".parquet"]
    if not files:
        raise InputError(
            f"No files in {path}: give a Parquet file, a folder of them, or a folder with one folder a person."
        )
    stamp = [f"{p}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in files]
    key = hashlib.sha256("\n".join([*stamp, str(size), str(label)]).encode()).hexdigest()[:20]
    folder = CACHE / "decoded" / key
    if not (folder / "labels.npy").exists():
        _decode(path, parquet, size, label, folder)
    with np.load(folder / "columns.npz") as archive:
        columns = {name: archive[name] for name in archive.files}
    return Faces(np.load(folder / "images.npy", mmap_mode="r"), np.load(folder / "labels.npy"), columns)


def _decode(path: Path, parquet: list[str], size: int | None, label: str | None, folder: Path) -> None:
    import datasets
    from tqdm.auto import tqdm

    if parquet:
        rows = datasets.load_dataset("parquet", data_files=parquet, split="train")
        rows = rows.cast_column("image", datasets.Image())
    else:
        rows = datasets.load_dataset("imagefolder", data_dir=str(path), split="train")
    label = label or next((name for name in ("identity", "label") if name in rows.column_names), None)
    if label is None or label not in rows.column_names:
        raise InputError(f"{path} has no column that names the person; its columns are {rows.column_names}.")
    first = rows[0]["image"]
    width, height = (size, size) if size else first.size
    aside = folder.with_name(f"{folder.name}.{os.getpid()}")
    aside.mkdir(parents=True, exist_ok=True)
    shape = (len(rows), height, width, 3)
    images = np.lib.format.open_memmap(aside / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    for index, row in enumerate(tqdm(rows, desc=f"decoding {path.name}", unit="image")):
        image = row["image"].convert("RGB")
        if image.size != (width, height):
            if not size:
                raise InputError(
                    f"Image {index} of {path} is {image.size}, the first {first.size}: pass a size to resize to."
                )
            image = image.resize((width, height), resample=3)
        images[index] = np.asarray(image)
    images.flush()
    columns = {c: np.asarray(rows[c]) for c in rows.column_names if c not in ("image", label)}
    plain: Any = {k: v.astype(str) if v.dtype == object else v for k, v in columns.items()}
    np.savez(aside / "columns.npz", **plain)
    np.save(aside / "labels.npy", np.unique(np.asarray(rows[label]), return_inverse=True)[1].astype(np.int64))
    with contextlib.suppress(OSError):  # another process was faster: its copy is the same
        aside.rename(folder)  # a reader sees all of it or nothing
