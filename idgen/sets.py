"""What there is to evaluate: a folder by `idgen generate`, Parquet, a labelled folder, or a file of vectors."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from idgen.errors import InputError
from idgen.identity import Identities
from idgen.images import open_image
from idgen.vectors import SUFFIXES, load_vectors
from idgen.weights import first_sentence

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
IDENTITIES, MANIFEST = "identities.safetensors", "manifest.jsonl"


@dataclass(frozen=True, eq=False)
class Source:
    """Labelled pictures, opened one by one, or their vectors.

    Args:
        name: what to call it.
        labels: (N,) who is on each.
        names: (N,) what to call each.
        open: number → picture, or None where there are only vectors.
        vectors: (N, D), or None where there are only pictures.
        space: of the vectors.
        columns: name → (N,) values.
        wanted: name of a person → vector (D,) that their pictures were made for; empty where nobody was.
        wanted_space: the space of those.
    """

    name: str
    labels: NDArray[np.str_]
    names: NDArray[np.str_]
    open: Callable[[int], Image.Image] | None = None
    vectors: Tensor | None = None
    space: str | None = None
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    wanted: dict[str, Tensor] = field(default_factory=dict)
    wanted_space: str | None = None

    def __len__(self) -> int:
        return len(self.labels)


def read_source(path: str | Path, columns: Sequence[str] = (), labelled: bool = True) -> Source:
    """Find out what a path is and read it; pictures are opened later, one by one.

    Args:
        path: the file or folder.
        columns: of Parquet, that are read although they hold lists.
        labelled: whether Parquet must say who is on each picture; without, everybody is somebody else.

    Raises:
        InputError: nothing of the kinds above is there.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist: give a folder of labelled pictures, Parquet, or a file of vectors.")
    if path.suffix in SUFFIXES:
        found = load_vectors(path)
        names = np.array([f"{label} #{row}" for row, label in enumerate(found.labels)])
        return Source(path.name, found.labels, names, vectors=found.vectors, space=found.space)
    if path.is_file() and path.suffix == ".parquet":
        return _parquet(path, [path], columns, labelled)
    if path.is_file():
        raise InputError(
            f"{path} is neither Parquet nor a file of vectors ({', '.join(SUFFIXES)}): give one, or a folder."
        )
    if (path / MANIFEST).is_file():
        return _manifest(path)
    parquet = sorted(path.rglob("*.parquet"))
    return _parquet(path, parquet, columns, labelled) if parquet else _folder(path)


def read_manifest(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of a folder's manifest whose pictures exist, in order; [] where there is none."""
    folder = Path(folder)
    lines = []
    try:
        for text in (folder / MANIFEST).read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # the process was killed while it wrote this one
            if (
                isinstance(line, dict)
                and {"file", "identity", "k"} <= line.keys()
                and (folder / line["file"]).is_file()
            ):
                lines.append(line)
    except FileNotFoundError:
        pass
    return lines


def _manifest(path: Path) -> Source:
    lines = read_manifest(path)
    if not lines:
        raise InputError(f"The manifest in {path} names no picture that exists: generate some first.")
    wanted: dict[str, Tensor] = {}
    space = None
    if (path / IDENTITIES).is_file():
        people = Identities.load(path / IDENTITIES)
        wanted, space = dict(zip(people.names, people.vectors, strict=True)), people.space
    keys = {key for key in lines[0] if all(isinstance(line.get(key), (str, int, float, bool)) for line in lines)}
    columns = {key: np.array([line[key] for line in lines]) for key in sorted(keys - {"file", "identity"})}
    files = [path / line["file"] for line in lines]
    return Source(
        path.name,
        np.array([str(line["identity"]) for line in lines]),
        np.array([line["file"] for line in lines]),
        lambda row: open_image(files[row]),
        columns=columns,
        wanted=wanted,
        wanted_space=space,
    )


def _folder(path: Path) -> Source:
    files = sorted(file for file in path.glob("*/**/*") if file.suffix.lower() in _PICTURES and file.is_file())
    if not files:
        raise InputError(
            f"{path} holds no labelled pictures: a manifest.jsonl, Parquet files, or one sub-folder a person is needed."
        )
    parts = [file.relative_to(path).parts for file in files]
    # A person's folder is the one the picture lies in; above it there may be others, such as the train/ of a dataset.
    labels = np.array([os.sep.join(part[:-1]) for part in parts])
    names = np.array([os.sep.join(part) for part in parts])
    return Source(path.name, labels, names, lambda row: open_image(files[row]))


def _scalar(kind: Any) -> bool:
    import pyarrow.types as types

    checks = (
        types.is_boolean,
        types.is_integer,
        types.is_floating,
        types.is_string,
        types.is_large_string,
        types.is_dictionary,
    )
    return any(check(kind) for check in checks)


def _parquet(path: Path, files: list[Path], wanted_columns: Sequence[str], labelled: bool) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables, groups = [], []
    for file in files:
        try:
            with pq.ParquetFile(file) as parquet:
                names = parquet.schema_arrow.names
                label = next((name for name in ("identity", "label") if name in names), None)
                if (label is None and labelled) or "image" not in names:
                    needed = "`image` and `identity` (or `label`) are" if labelled else "`image` is"
                    raise InputError(f"{file} has the columns {', '.join(names)}, but {needed} needed.")
                plain = {field.name for field in parquet.schema_arrow if _scalar(field.type)} | {label}
                plain |= set(wanted_columns)
                tables.append(parquet.read(columns=[name for name in names if name in plain]))
                sizes = [parquet.metadata.row_group(number).num_rows for number in range(parquet.num_row_groups)]
                groups += [(file, number) for number, size in enumerate(sizes) for _ in range(size)]
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{file} cannot be read as Parquet ({first_sentence(error)}): was it cut short?"
            ) from error
    try:
        rows = pa.concat_tables(tables, promote_options="default")
    except pa.ArrowException as error:
        raise InputError(f"The Parquet files in {path} have other columns: give one dataset at a time.") from error
    label = next((name for name in ("identity", "label") if name in rows.column_names), None)
    columns = {}
    for name in rows.column_names:
        try:
            values = np.asarray(rows[name].to_pylist())
        except ValueError:  # lists of several lengths
            continue
        if name != label and values.dtype.kind in "biufUS":
            columns[name] = values
    people = rows[label].to_pylist() if label else list(range(len(rows)))
    if None in people:
        raise InputError(f"Row {people.index(None)} of {path} does not say who is on it: name them, or leave it out.")
    labels = np.asarray(people).astype(str)
    names = np.array([f"{person} #{row}" for row, person in enumerate(labels)])
    starts = {group: row for row, group in reversed(list(enumerate(groups)))}

    @functools.lru_cache(2)
    def pictures(file: Path, group: int) -> list[Any]:
        with pq.ParquetFile(file) as parquet:
            return parquet.read_row_group(group, ["image"])["image"].to_pylist()

    def picture(row: int) -> Image.Image:
        image = pictures(*groups[row])[row - starts[groups[row]]]
        if isinstance(image, dict):
            image = image["bytes"] if image.get("bytes") is not None else image.get("path")
        if image is None:
            raise InputError(f"Row {row} of {path} has no picture: leave it out.")
        return open_image(image)

    wanted: dict[str, Tensor] = {}
    space = None
    folder = path if path.is_dir() else path.parent
    if (folder / IDENTITIES).is_file():
        people = Identities.load(folder / IDENTITIES)
        wanted, space = dict(zip(people.names, people.vectors, strict=True)), people.space
    return Source(path.name, labels, names, picture, columns=columns, wanted=wanted, wanted_space=space)
