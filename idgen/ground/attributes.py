"""How a picture is to look, in words: what a network can be told, and how it is asked for.

Angles are in degrees; amounts lie in 0 … 1; the rest are names, of which yes and no are two. Inside, every value is a
number: an angle or an amount is itself, a name its place among the names; NaN is what was left open.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from idgen.ground.errors import InputError

YES_NO = ("no", "yes")
MEANINGS = {
    "yaw": "degrees; positive when the nose points to the picture's right",
    "pitch": "degrees; positive when the face is lowered",
    "roll": "degrees; the alignment of faces takes most of it away",
    "light_azimuth": "degrees; where the light comes from: positive is the picture's right",
    "light_elevation": "degrees above the horizon",
    "environment": "kind of light",
    "scene": "what is behind",
    "expression": "named expression",
    "smile": "0 … 1",
    "mouth_open": "0 … 1",
    "eyes_shut": "0 … 1",
    "hair": "style",
    "hat": "yes or no",
    "hair_colour": "named colour",
    "grey": "share of the hair that is grey, 0 … 1",
    "eye_colour": "named colour",
    "beard": "0 … 1",
    "glasses": "yes or no",
    "sunglasses": "yes or no",
    "gender": "0 female … 1 male",
    "age": "0 young … 1 old",
    "skin_tone": "0 very fair … 1 very dark",
    "african": "share of the ancestry, as the assets name their shapes",
    "asian": "share of the ancestry, as the assets name their shapes",
    "caucasian": "share of the ancestry, as the assets name their shapes",
}
"""What attributes mean; a network may know others."""

PICTURE = (
    ("yaw", "pitch", "roll"),
    ("light_azimuth", "light_elevation", "environment"),
    ("expression", "smile", "mouth_open", "eyes_shut"),
    ("scene",),
)
"""Attributes that change from picture to picture; those of one group go together."""
HABITS = (
    ("hair", "hat"),
    ("hair_colour", "grey"),
    ("eye_colour",),
    ("beard",),
    ("glasses", "sunglasses"),
    ("skin_tone",),
)
"""Attributes that a person keeps, or changes by habit."""
WORN = ("beard", "glasses", "hat", "sunglasses")
"""Attributes that are there or not, and can be told more strongly than a network learned them."""
PERSON = ("gender", "age", "skin_tone", "african", "asian", "caucasian")
"""What is the person's alone, and so cannot be asked of a picture; `who` asks for it."""

Values = tuple[float, float] | tuple[str, ...]
"""The least and the greatest number, or the names."""


class Vocabulary:
    """The attributes that a network knows, in the order of the alphabet, as files keep them.

    Args:
        known: of each its least and greatest number, or its names; as a network's configuration holds them.
    """

    def __init__(self, known: Mapping[str, Sequence[Any]]):
        self.values: dict[str, Values] = {name: tuple(known[name]) for name in sorted(known)}
        self.names = list(self.values)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.values

    def named(self, name: str) -> bool:
        """Whether an attribute's values are names."""
        return isinstance(self.values[name][0], str)

    @property
    def askable(self) -> list[str]:
        """What can be asked of a picture."""
        return [name for name in self.names if name not in PERSON]

    def require(self) -> None:
        """InputError where nothing is known."""
        if not self.names:
            raise InputError(
                "This model cannot be told how a picture is to look: leave the attributes out, or use a model that "
                "learned them; Arc2Face has to be converted with --expression, for the pose with --controlnet."
            )

    def of(self, name: str) -> Values:
        """The values of an attribute; InputError where it cannot be asked of a picture."""
        if name not in self.values:
            raise InputError(f"There is no attribute {name!r}: this model knows {', '.join(self.askable) or 'none'}.")
        if name in PERSON:
            raise InputError(f"{_said(name)} is the person's, not a picture's: choose people by `who` instead.")
        return self.values[name]

    def number(self, name: str, value: Any) -> float:
        """A value as a number; InputError for one that there is not."""
        values = self.of(name)
        if self.named(name):
            word = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
            if word in values:
                return float(values.index(word))
            raise InputError(f"{_said(name)} is {' or '.join(map(str, values))}, got {value!r}.")
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        low, high = map(float, values)
        if not low <= number <= high:
            what = " degrees" if "degrees" in MEANINGS.get(name, "") else ""
            raise InputError(f"{_said(name)} is a number from {low:g} to {high:g}{what}, got {value!r}.")
        return number

    def words(self, row: Tensor, person: bool = False) -> dict[str, float | str]:
        """Values of a row (A,) of numbers, without those left open; with `person`, what is the person's is among
        them, else they are as they can be asked for."""
        told: dict[str, float | str] = {}
        for (name, values), number in zip(self.values.items(), row.tolist(), strict=True):
            if not math.isnan(number) and (person or name not in PERSON):
                told[name] = str(values[int(number)]) if self.named(name) else round(number, 4)
        return told

    def rows(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Labels of N pictures, as `labels` returns them, as numbers (N, A); what cannot be used is left open."""
        count = len(next(iter(columns.values()))) if columns else 0
        rows = np.full((count, len(self)), np.nan, np.float32)
        for place, (name, values) in enumerate(self.values.items()):
            if name not in columns:
                continue
            if self.named(name):
                for index, word in enumerate(values):
                    rows[np.asarray(columns[name]).astype(str) == word, place] = index
            else:
                rows[:, place] = np.clip(np.asarray(columns[name], np.float32), *values)
        return rows

    def columns(self, rows: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The other way: (N, A) numbers as labels; what is left open is NaN, of names an empty word."""
        out: dict[str, NDArray[Any]] = {}
        for place, name in enumerate(self.names):
            out[name] = np.asarray(rows[:, place], float)
            if self.named(name):
                words = np.array([*map(str, self.values[name]), ""])
                out[name] = words[np.where(np.isfinite(out[name]), out[name], -1).astype(int)]
        return out


def found_in(columns: Mapping[str, NDArray[Any]], person: bool = False) -> dict[str, list[Any]]:
    """What a network can learn from labels as `labels` returns them, as `Vocabulary` takes it; empty where there
    are none. Amounts reach from 0 to 1, angles as far as they occur; names are those that occur. With `person`, what is
    the person's is among it."""
    known: dict[str, list[Any]] = {}
    groups = (*PICTURE, *HABITS, PERSON) if person else (*PICTURE, *HABITS)
    for name in dict.fromkeys(name for group in groups for name in group if name in columns):
        values = columns[name]
        if values.dtype.kind in "US":
            words = sorted(set(values.tolist()) - {""})
            known[name] = words
        elif "degrees" in MEANINGS[name]:
            reach = float(np.ceil(np.nanmax(np.abs(values))))
            known[name] = [-reach if np.nanmin(values) < 0 else 0.0, reach]
        else:
            known[name] = [0.0, 1.0]
    return {name: values for name, values in known.items() if len(values) > 1 and values[0] != values[-1]}


MIRRORED = ("yaw", "roll", "light_azimuth")
"""What changes its sign in a mirror."""


def _said(name: str) -> str:
    return f"The attribute {name}"


def labels(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What the columns of a labelled set say, by the names of `MEANINGS`; empty for a set without such labels.

    Columns of these names are taken as they are, numbers or names; yes-or-no ones may be booleans. Rendered sets are
    read as well: `expression_name`, the `expression` as JSON of units, and a fedora among the hair styles.
    """
    found = {name: np.asarray(columns[name]) for name in MEANINGS if name in columns}
    if {"expression_name", "expression"} <= set(columns):
        found["expression"] = np.asarray(columns["expression_name"])
        units = [json.loads(text) for text in np.asarray(columns["expression"]).astype(str)]
        found["mouth_open"] = np.array([max(u.get("JawDrop", 0), u.get("JawDropStretched", 0)) for u in units])
        sides = ("LeftUpperLidClosed", "RightUpperLidClosed")
        found["eyes_shut"] = np.array([sum(u.get(side, 0) for side in sides) / 2 for u in units])
    if "hair" in found and "hat" not in found:
        hair = found["hair"].astype(str)
        found["hat"] = hair == "fedora"
        found["hair"] = np.where(found["hat"], "", hair)
    return {name: values for name, column in found.items() if (values := _usable(name, column)) is not None}


def _usable(name: str, values: NDArray[Any]) -> NDArray[Any] | None:
    """A column as text or numbers; None where it is of another kind than its meaning, such as an age in years."""
    if values.dtype == bool:
        values = np.where(values, "yes", "no")
    elif values.dtype == object:
        values = values.astype(str)
    degrees, amount = "degrees" in MEANINGS[name], any(word in MEANINGS[name] for word in ("…", "share of the"))
    if (values.dtype.kind in "fiu") != (degrees or amount):
        return None
    if amount and not (np.nanmin(values, initial=0) >= 0 and np.nanmax(values, initial=0) <= 1.25):
        return None
    return values


@dataclass(frozen=True)
class _Piece:
    """A share of the pictures whose value is drawn evenly from a range, or normally within one."""

    share: float
    low: float
    high: float
    normal: tuple[float, float] | None = None

    def at(self, uniform: float) -> float:
        if self.normal is None:
            return self.low + uniform * (self.high - self.low)
        mean, spread = self.normal
        ends = torch.special.ndtr((torch.tensor([self.low, self.high], dtype=torch.float64) - mean) / spread)
        inside = torch.special.ndtri((ends[0] + uniform * (ends[1] - ends[0])).clamp(1e-12, 1 - 1e-12))
        return float((mean + spread * inside).clamp(self.low, self.high))


class Asking:
    """What is asked of pictures: the same of all, or drawn for each.

    Args:
        wishes: by attribute: a value; `[low, high]`, evenly between; names in a list, each as often as the other;
            `{normal: [mean, deviation]}`, within what the model knows; or shares, such as `{laugh: 0.2}`,
            `{yes: 0.3}` or `{"45..60": 0.1, "-60..-45": 0.1}`, whose rest is left open; or None, left to the network.
        vocabulary: of the network.
        like: rows (R, A) of a labelled set, one of which is drawn for a picture; wishes go before.

    Raises:
        InputError: an attribute or value that the network does not know, or shares above 1.
    """

    def __init__(self, wishes: Mapping[str, Any], vocabulary: Vocabulary, like: Tensor | None = None):
        if wishes or like is not None:
            vocabulary.require()
        self.vocabulary, self.like = vocabulary, like
        self.asked = {name for name, wish in wishes.items() if wish is not None}
        if like is not None:
            self.like = like.clone()
            self.like[:, [place for place, name in enumerate(vocabulary.names) if name in PERSON]] = math.nan
            said = self.like.isfinite().any(0).tolist()
            self.asked |= {name for name, there in zip(vocabulary.names, said, strict=True) if there}
        self.free = [name for name, wish in wishes.items() if wish is None and name in vocabulary]
        self._pieces = {name: self._read(name, wish) for name, wish in wishes.items() if name not in self.free}

    @classmethod
    def each(
        cls,
        wishes: Asking | Mapping[str, Any] | Sequence[Asking | Mapping[str, Any]] | None,
        vocabulary: Vocabulary,
        pictures: int,
    ) -> list[Asking]:
        """What is asked of all pictures, in a list of one, or of each of so many; errors as above, or InputError for
        another number of them."""
        asked = list(wishes) if isinstance(wishes, Sequence) else [wishes or {}]
        if len(asked) not in (1, pictures):
            raise InputError(f"{pictures} pictures need as many attributes, got {len(asked)}.")
        return [one if isinstance(one, Asking) else cls(one, vocabulary) for one in asked]

    def _read(self, name: str, wish: Any) -> list[_Piece]:
        number, values = self.vocabulary.number, self.vocabulary.of(name)
        if isinstance(wish, Mapping) and set(wish) == {"normal"}:
            if self.vocabulary.named(name):
                raise InputError(f"{_said(name)} has names, not numbers: give their shares.")
            mean, spread = _pair(name, wish["normal"])
            low, high = (float(end) for end in values)
            if not (low <= mean <= high and spread > 0):
                raise InputError(f"{_said(name)} has a mean from {low:g} to {high:g} and a deviation above 0.")
            return [_Piece(1.0, low, high, (mean, spread))]
        if isinstance(wish, Mapping):
            pieces = [self._share(name, key, share) for key, share in wish.items()]
            if not pieces or sum(piece.share for piece in pieces) > 1 + 1e-9:
                raise InputError(f"The shares of {name} sum to at most 1, got {dict(wish)}.")
            return pieces
        if isinstance(wish, Sequence) and not isinstance(wish, str):
            if not self.vocabulary.named(name):
                low, high = (number(name, end) for end in _pair(name, wish))
                return [_Piece(1.0, low, high)]
            if not (places := [number(name, word) for word in wish]):
                raise InputError(f"{_said(name)} is {' or '.join(map(str, values))}: name at least one.")
            return [_Piece(1 / len(places), place, place) for place in places]
        value = number(name, wish)
        return [_Piece(1.0, value, value)]

    def _share(self, name: str, key: Any, share: Any) -> _Piece:
        wrong = isinstance(share, bool) or not isinstance(share, (int, float))
        if wrong or not 0 <= share <= 1:
            raise InputError(f"The share of {name}: {key} is a number from 0 to 1, got {share!r}.")
        low, dots, high = str(key).partition("..")
        if dots:
            ends = self.vocabulary.number(name, low), self.vocabulary.number(name, high)
            return _Piece(float(share), *ends)
        value = self.vocabulary.number(name, key)
        return _Piece(float(share), value, value)

    def draw(self, generator: Generator) -> Tensor:
        """A row (A,): what this picture is asked to be; NaN where nothing is asked. Always as many draws."""
        row = torch.full((len(self.vocabulary),), math.nan, dtype=torch.float32, device="cpu")
        uniform = torch.rand(
            2 * len(self.vocabulary) + 1, generator=generator, dtype=torch.float64, device="cpu"
        ).tolist()
        if self.like is not None:
            row = self.like[int(uniform[-1] * len(self.like))].clone()
        for place, name in enumerate(self.vocabulary.names):
            left = uniform[2 * place]
            for piece in self._pieces.get(name, []):
                if left < piece.share:
                    row[place] = piece.at(uniform[2 * place + 1])
                    break
                left -= piece.share
        return row


def _pair(name: str, value: Any) -> tuple[float, float]:
    numbers = value if isinstance(value, Sequence) and len(value) == 2 else ()
    if not numbers or any(isinstance(n, (bool, str)) or not isinstance(n, (int, float)) for n in numbers):
        raise InputError(f"{_said(name)} takes two numbers here, such as [-30, 30], got {value!r}.")
    return float(numbers[0]), float(numbers[1])
