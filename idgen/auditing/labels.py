"""What is said of a set's pictures, and by whom: that people said it of themselves is not that a network thinks so.

A label is called `name.origin`, and two origins are never put together (as Casual Conversations keeps them apart):

- `self`: the people on the pictures said it;
- `annotated`: somebody who looked at the pictures said it;
- `set`: the set's maker says it, such as a renderer of what it rendered, or a generator of what it was asked for;
- `predicted`: a network reads it. Where that was not measured on such pictures, it is not used.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idgen.evaluation.attributes import NOT_ATTRIBUTES, groups
from idgen.ground import attributes
from idgen.ground.errors import InputError
from idgen.sets import Source

SELF, ANNOTATED, SET, PREDICTED = ORIGINS = ("self", "annotated", "set", "predicted")
WORDS = {
    SELF: "as the people said of themselves",
    ANNOTATED: "as annotators said",
    SET: "as the set's maker says",
    PREDICTED: "as a network reads it",
}
KEYS = ("file", "identity")


@dataclass(frozen=True)
class Label:
    """What is said of each picture.

    Args:
        name: what it is about, such as `glasses`.
        origin: who says it.
        values: (N,) numbers, NaN where nothing is said, or texts, "" where nothing is.
    """

    name: str
    origin: str
    values: NDArray[Any]

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N,) whether something is said."""
        return np.isfinite(self.values) if self.values.dtype.kind == "f" else self.values != ""

    @property
    def words(self) -> NDArray[np.str_]:
        """(N,) groups in words, thirds of numbers; "" where nothing is said or nothing is told apart."""
        out, known = np.full(len(self.values), "", dtype="<U64"), self.known
        found = groups(self.values[known]) if known.any() else None
        if found is not None:
            out[known] = found
        return out


def told(source: Source, file: str | Path | None = None) -> dict[str, Label]:
    """By `name.origin`, what the set's columns say, and a file of labels.

    The file is CSV with a column `file` (a picture's name in the set) or `identity` (a person's), and others that are
    called `name.self`, `name.annotated` or `name.predicted`.

    Raises:
        InputError: the file cannot be read, names nobody of the set, or does not say where its labels come from.
    """
    found = dict(attributes.labels(source.columns))
    found |= {
        name: values
        for name, values in source.columns.items()
        if name not in found and name not in attributes.MEANINGS and name not in NOT_ATTRIBUTES
    }
    out = {}
    for name, values in found.items():
        stem, _, origin = name.rpartition(".")
        stem, origin = (stem, origin) if origin in ORIGINS and stem else (name, SET)
        if (label := _label(stem, origin, values)) is not None:
            out[f"{stem}.{origin}"] = label
    return {**out, **({} if file is None else _read(Path(file), source))}


def predicted(read: NDArray[np.float32], vocabulary: attributes.Vocabulary) -> dict[str, Label]:
    """What a network reads, (N, A) numbers as its vocabulary has them."""
    return {f"{name}.{PREDICTED}": Label(name, PREDICTED, column) for name, column in vocabulary.columns(read).items()}


def _label(name: str, origin: str, values: NDArray[Any]) -> Label | None:
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "biufUS":
        return None
    if values.dtype.kind in "iuf":
        values = values.astype(float)
    elif values.dtype.kind == "b":
        values = np.where(values, "yes", "no")
    else:
        values = values.astype(str)
        if len(np.unique(values)) > 32:  # notes, names: what nobody can be grouped by
            return None
    return Label(name, origin, values)


def _read(path: Path, source: Source) -> dict[str, Label]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"The labels {path} cannot be read ({error}): give CSV.") from error
    columns = list(lines[0]) if lines else []
    key = next((name for name in KEYS if name in columns), None)
    if key is None:
        raise InputError(f"The labels {path} need a column `file` or `identity`, to say of what they are.")
    for name in columns:
        stem, _, origin = str(name).rpartition(".")
        if name != key and not (stem and origin in ORIGINS and origin != SET):
            raise InputError(
                f"The column {name!r} of {path} does not say where it comes from: call it {name}.self (the people said "
                f"it), {name}.annotated or {name}.predicted."
            )
    there = source.names if key == "file" else source.labels
    place = {str(line[key]): number for number, line in enumerate(lines)}
    rows = np.array([place.get(str(name), -1) for name in there])
    if (rows < 0).all():
        raise InputError(f"No {key} in {path} is one of {source.name}, such as {there[0]!r}.")
    out = {}
    for name in columns:
        if name == key:
            continue
        stem, _, origin = name.rpartition(".")
        values = _numbers([(line[name] or "").strip() for line in lines])
        nothing = np.nan if values.dtype.kind == "f" else ""
        out[name] = Label(stem, origin, np.where(rows >= 0, values[rows], nothing))
    return out


def _numbers(texts: Sequence[str]) -> NDArray[Any]:
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return np.array(texts)
