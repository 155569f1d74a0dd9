"""What there is to evaluate: a folder by `idgen generate`, Parquet, a labelled folder, or a file of vectors."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from idgen.ground.attributes import Vocabulary, labels
from idgen.ground.domain import PHOTOGRAPHS
from idgen.ground.errors import InputError, require_package
from idgen.ground.files import walk
from idgen.ground.identity import Identities, Identity
from idgen.ground.images import is_picture, open_image
from idgen.ground.provenance import domain_of
from idgen.ground.vectors import SUFFIXES, load_vectors
from idgen.ground.weights import first_sentence
from idgen.ground.words import count

_PLAIN = ("boolean", "integer", "floating", "string", "large_string", "dictionary")  # types of columns to read
IDENTITIES, MANIFEST = "identities.safetensors", "manifest.jsonl"


@dataclass(frozen=True, eq=False)
class Source:
    """Labelled pictures, opened one by one, or their vectors.

    Args:
        name: what to call it.
        labels: (N,) who is on each.
        names: (N,) what to call each.
        open: number → picture, or None where there are only vectors.
        raw: number → its file, or the file's bytes.
        vectors: (N, D), or None where there are only pictures.
        space: of the vectors.
        columns: name → (N,) values.
        wanted: name of a person → who their pictures were made for; empty where nobody was.
        domain: what kind of pictures they are, by the marks of some (see `idgen.ground.provenance.domain_of`).
        note: which files of the folder were left out, and why, in a sentence; "" for none.
    """

    name: str
    labels: NDArray[np.str_]
    names: NDArray[np.str_]
    open: Callable[[int], Image.Image] | None = None
    vectors: Tensor | None = None
    space: str | None = None
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)
    wanted: dict[str, Identity] = field(default_factory=dict)
    domain: str = PHOTOGRAPHS
    note: str = ""
    raw: Callable[[int], Any] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, rows: NDArray[np.intp]) -> Source:
        """Some of its pictures (M,), which are opened by their new numbers."""
        open_, raw = self.open, self.raw
        return replace(
            self,
            labels=self.labels[rows],
            names=self.names[rows],
            open=None if open_ is None else lambda row: open_(int(rows[row])),
            raw=None if raw is None else lambda row: raw(int(rows[row])),
            columns={name: values[rows] for name, values in self.columns.items()},
        )


def read_source(path: str | Path, columns: Sequence[str] = (), labelled: bool = True) -> Source:
    """Find out what a path is and read it; pictures are opened later, one by one.

    Args:
        path: the file or folder.
        columns: of Parquet, that are read although they hold lists.
        labelled: whether Parquet must say who is on each picture, and a folder have one a person; without, everybody of
            whom that is not said is somebody else.

    Raises:
        InputError: nothing of the kinds above is there.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            f"There is no file or folder {path}: give a folder of labelled pictures, Parquet, or a file of vectors."
        )
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
    parquet = [file for file in walk(path) if file.suffix == ".parquet"]
    return _parquet(path, parquet, columns, labelled) if parquet else _folder(path, labelled)


def attribute_rows(path: str | Path, vocabulary: Vocabulary) -> Tensor:
    """What the pictures of a labelled set look like, (N, A), as `Asking` draws from it.

    Raises:
        InputError: nothing readable is there, or no label that the vocabulary knows.
    """
    told = labels(read_source(path, labelled=False).columns)
    if not set(told) & set(vocabulary.names):
        known = ", ".join(vocabulary.names) or "nothing"
        raise InputError(f"{path} does not say what its pictures look like: columns such as {known} are needed.")
    return torch.from_numpy(vocabulary.rows(told))


def read_soft_labels(path: str | Path) -> list[dict[str, float]]:
    """Of whom each picture of a Parquet set is made, name → share: its column `soft_label`, as datasets of mixed people
    have it; in the order of `read_source`.

    Raises:
        InputError: there is no such column, or a row of it names nobody, or its shares are not 1 together.
    """
    path, pq = Path(path), require_package("pyarrow.parquet", "eval", "Reading Parquet")
    files = [path] if path.is_file() else [file for file in walk(path) if file.suffix == ".parquet"]
    files = [file for file in files if file.suffix == ".parquet"]
    if not files or any("soft_label" not in pq.read_schema(file).names for file in files):
        raise InputError(f"{path} has no soft labels: they are the column soft_label of a dataset of mixed people.")
    out: list[dict[str, float]] = []
    for file in files:
        for parts in pq.read_table(file, columns=["soft_label"])["soft_label"].to_pylist():
            told = {str(one["identity"]): float(one["weight"]) for one in parts or () if one.get("identity")}
            if not told or abs(sum(told.values()) - 1) > 1e-3:
                shares = f"{', '.join(told)}, with shares of {sum(told.values()):g} together" if told else "nobody"
                raise InputError(
                    f"The soft label of row {len(out)} of {path} names {shares}: make it shares of people, 1 in all."
                )
            out.append(told)
    return out


def read_manifest(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of a folder's manifest whose pictures exist, in order; [] where there is none."""
    folder, lines = Path(folder), []
    if not (folder / MANIFEST).is_file():
        return []
    for text in (folder / MANIFEST).read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # the process was killed while it wrote this one
        if isinstance(line, dict) and {"file", "identity", "k"} <= line.keys() and (folder / line["file"]).is_file():
            lines.append(line)
    return lines


def _manifest(path: Path) -> Source:
    lines = read_manifest(path)
    if not lines:
        raise InputError(f"The manifest in {path} names no picture that exists: generate some first.")
    keys = {key for key in lines[0] if all(isinstance(line.get(key), (str, int, float, bool)) for line in lines)}
    columns = {key: np.array([line[key] for line in lines]) for key in sorted(keys - {"file", "identity"})}
    told = [line.get("attributes", {}) for line in lines]
    columns |= {name: _filled([one.get(name) for one in told]) for name in sorted(set().union(*told))}
    people, names = (np.array([str(line[key]) for line in lines]) for key in ("identity", "file"))
    picture = lambda row: open_image(path / names[row], name=str(names[row]))  # noqa: E731
    of = _domain([path / name for name in names])
    return Source(
        path.name, people, names, picture, None, None, columns, _wanted(path), of, raw=lambda row: path / names[row]
    )


def _filled(values: list[Any]) -> NDArray[Any]:
    """Values as an array; "" or NaN where there is none, which lists of numbers or texts may have."""
    kinds = {type(value) for value in values if value is not None}
    if (None in values and kinds <= {str}) or kinds <= {float, int}:
        values = [("" if kinds == {str} else math.nan) if value is None else value for value in values]
    return np.asarray(values)


def _wanted(folder: Path) -> dict[str, Identity]:
    """Who the pictures in a folder were made for, by name."""
    if not (folder / IDENTITIES).is_file():
        return {}
    return {person.name: person for person in Identities.load(folder / IDENTITIES)}


def _domain(pictures: Sequence[Any]) -> str:
    """What kind of pictures these files, or their bytes, are: by some of them; photographs if they are of two kinds."""
    kinds = {domain_of(pictures[row]) for row in np.linspace(0, len(pictures) - 1, min(len(pictures), 8)).astype(int)}
    return kinds.pop() if len(kinds) == 1 else PHOTOGRAPHS


def _folder(path: Path, labelled: bool) -> Source:
    there = list(walk(path))
    files = [file for file in there if is_picture(file) and (file.parent != path or not labelled)]
    note = _left_out(path, there, labelled)
    if not files:
        what = "labelled pictures: a manifest.jsonl, Parquet files, or one sub-folder a person is needed"
        raise InputError(f"{path} holds no {what if labelled else 'pictures'}. {note}".rstrip())
    names = np.array([str(file.relative_to(path)) for file in files])
    # A person's folder is the one the picture lies in; above it there may be others, such as the train/ of a dataset.
    inside = [file.relative_to(path) for file in files]
    people = np.array([str(file.parent if file.parent.parts else file) for file in inside])
    picture = lambda row: open_image(files[row], name=str(names[row]))  # noqa: E731
    return Source(path.name, people, names, picture, domain=_domain(files), note=note, raw=lambda row: files[row])


def _left_out(path: Path, there: Sequence[Path], labelled: bool) -> str:
    """Which of the files in a folder of people are not used, and why, in a sentence or two."""
    kinds = Counter(file.suffix.lower() or "no ending" for file in there if not is_picture(file))
    nobodys = sum(is_picture(file) and file.parent == path for file in there) if labelled else 0
    notes = []
    if kinds:
        some = ", ".join(f"{kind}: {number:,}" for kind, number in kinds.most_common(3)) + ", …" * (len(kinds) > 3)
        were = count(kinds.total(), "file of {} was", "files of {} were").format(path.name)
        notes.append(f"{were} left out, being no pictures by their names ({some}).")
    if nobodys:
        were = count(nobodys, "picture of {} was", "pictures of {} were").format(path.name)
        notes.append(f"{were} left out, lying in no person's folder.")
    return " ".join(notes)


def _parquet(path: Path, files: list[Path], wanted_columns: Sequence[str], labelled: bool) -> Source:
    pq = require_package("pyarrow.parquet", "eval", "Reading Parquet")
    import pyarrow as pa

    tables = []
    groups: list[tuple[Path, int, int]] = []  # of each row: its file, row group, and place in that
    for file in files:
        try:
            with pq.ParquetFile(file) as parquet:
                tables.append(parquet.read(columns=_columns(parquet.schema_arrow, file, wanted_columns, labelled)))
                for group in range(parquet.num_row_groups):
                    groups += [(file, group, place) for place in range(parquet.metadata.row_group(group).num_rows)]
        except (OSError, pa.ArrowException) as error:
            why = first_sentence(error)
            raise InputError(f"{file} cannot be read as Parquet ({why}): was it cut short?") from error
    try:
        rows = pa.concat_tables(tables, promote_options="default")
    except pa.ArrowException as error:
        raise InputError(f"The Parquet files in {path} have other columns: give one dataset at a time.") from error
    label, columns = _label(rows.column_names), {}
    for name in rows.column_names:
        try:
            values = _filled(rows[name].to_pylist())
        except ValueError:  # lists of several lengths
            continue
        if name != label and values.dtype.kind in "biufUS":
            columns[name] = values
    said = rows[label].to_pylist() if label else list(range(len(rows)))
    if None in said:
        raise InputError(f"Row {said.index(None)} of {path} does not say who is on it: name them, or leave it out.")
    people = np.asarray(said).astype(str)
    names = np.array([f"{person} #{row}" for row, person in enumerate(people)])
    wanted, raw = _wanted(path if path.is_dir() else path.parent), _bytes_of(path, groups)
    some = [raw(row) for row in np.linspace(0, len(groups) - 1, min(len(groups), 2)).astype(int)] if groups else []
    picture = lambda row: open_image(raw(row), name=f"Row {row} of {path.name}")  # noqa: E731
    return Source(path.name, people, names, picture, None, None, columns, wanted, _domain(some), raw=raw)


def _label(columns: Sequence[str]) -> str | None:
    return next((name for name in ("identity", "label") if name in columns), None)


def _columns(schema: Any, file: Path, wanted: Sequence[str], labelled: bool) -> list[str]:
    """The columns to read at once: plain ones, the label, and those that are wanted although they hold lists."""
    from pyarrow import types

    label = _label(schema.names)
    if (label is None and labelled) or "image" not in schema.names:
        needed = "`image` and `identity` (or `label`) are" if labelled else "`image` is"
        raise InputError(f"{file} has the columns {', '.join(schema.names)}, but {needed} needed.")
    plain = [getattr(types, f"is_{kind}") for kind in _PLAIN]
    return [one.name for one in schema if one.name in (label, *wanted) or any(check(one.type) for check in plain)]


def _bytes_of(path: Path, groups: list[tuple[Path, int, int]]) -> Callable[[int], Any]:
    """Reads the picture of a row, its bytes or where it is, and keeps its row group for the next ones."""
    from pyarrow.parquet import ParquetFile

    @functools.lru_cache(2)
    def pictures(file: Path, group: int) -> list[Any]:
        with ParquetFile(file) as parquet:
            return parquet.read_row_group(group, ["image"])["image"].to_pylist()

    def picture(row: int) -> Any:
        file, group, place = groups[row]
        image = pictures(file, group)[place]
        if isinstance(image, dict):
            image = image["bytes"] if image.get("bytes") is not None else image.get("path")
        if image is None:
            raise InputError(f"Row {row} of {path} has no picture: leave it out.")
        return image

    return picture
