"""The figures once more for each value of an attribute: who is recognised less, and who is confused more?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idgen.ground.attributes import Vocabulary
from idgen.scoring import verification


def reading_errors(
    read: NDArray[np.float32], told: NDArray[np.float32], vocabulary: Vocabulary
) -> dict[str, dict[str, float]]:
    """How well attributes are read, or followed: by attribute, of a number its mean absolute `error` and `correlation`,
    of names the share that is right, `accuracy`, and its mean over the names, `balanced`.

    Args:
        read, told: (N, A) numbers as `Vocabulary` has them; where `told` is NaN nothing is compared.
        vocabulary: what the columns are.
    """
    out: dict[str, dict[str, float]] = {}
    for place, name in enumerate(vocabulary.names):
        known = np.isfinite(told[:, place])
        got, want = read[known, place].astype(float), told[known, place].astype(float)
        if not len(want):
            continue
        if vocabulary.named(name):
            each = [float((got[want == value] == value).mean()) for value in np.unique(want)]
            out[name] = {"accuracy": float((got == want).mean()), "balanced": float(np.mean(each))}
        else:
            varies = got.std() > 0 and want.std() > 0
            correlation = float(np.corrcoef(got, want)[0, 1]) if varies else math.nan
            out[name] = {"error": float(np.abs(got - want).mean()), "correlation": correlation}
    return out


MOST_VALUES = 8
_FEWEST_PAIRS, _MOST_COMPARED = 30, 6000
# What idgen itself writes of a picture is no attribute of it.
NOT_ATTRIBUTES = (
    *("file", "file_name", "path", "k", "seed", "model", "weights", "source", "digital_source_type", "label", "vector"),
    *("similarity", "judge_similarity", "other_similarity", "nearest_other", "match", "quality"),
)


@dataclass(frozen=True)
class Group:
    """The pictures with one value of an attribute, compared among themselves.

    Args:
        value: in words; a range for numbers.
        pictures, people: how many.
        genuine_mean: of the comparisons of one person, or None where there are fewer than 30.
        fnmr: share of them below the threshold of the whole set, or None.
        fmr: share of the comparisons of different people at or above it, or None where there are fewer than 30.
        fidelity: share of the pictures that match the wanted person, or None where nobody was wanted.
    """

    value: str
    pictures: int
    people: int
    genuine_mean: float | None
    fnmr: float | None
    fmr: float | None
    fidelity: float | None


def groups(column: ArrayLike) -> NDArray[np.str_] | None:
    """(N,) the value of each picture in words, or None where the column is no attribute: the same everywhere, or text
    with more than 8 values. Numbers with more than 8 values are cut into thirds of equally many pictures."""
    values = np.asarray(column)
    kind = values.dtype.kind
    if values.ndim != 1 or kind not in "biufUS" or (kind == "f" and not np.isfinite(values).all()):
        return None
    distinct = len(np.unique(values))
    if 2 <= distinct <= MOST_VALUES:
        return np.array([f"{value:g}" for value in values]) if kind == "f" else values.astype(str)
    if distinct < 2 or kind not in "iuf":
        return None
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    if low == high:
        return None
    words = np.array([f"below {low:.3g}", f"{low:.3g} to {high:.3g}", f"above {high:.3g}"])
    return words[np.digitize(values, [low, high])]


def breakdown(
    vectors: NDArray[np.float32],
    labels: NDArray[Any],
    columns: dict[str, NDArray[Any]],
    threshold: float,
    matches: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> dict[str, list[Group]]:
    """Attribute → its groups.

    Args:
        vectors: (N, D).
        labels: (N,) who is on each.
        columns: name → (N,) values; those that are no attributes are skipped, see `groups`.
        threshold: a comparison matches at or above it.
        matches: (N,) whether each picture matches the person who was wanted, where somebody was.
        seed: of the people whose pictures are compared, where a group has more than 6,000.
    """
    out: dict[str, list[Group]] = {}
    for name, column in columns.items():
        words = None if name in NOT_ATTRIBUTES else groups(column)
        if words is None:
            continue
        places = {word: np.flatnonzero(words == word) for word in set(words.tolist())}
        ends = {word: (word.startswith("above "), not word.startswith("below ")) for word in places}  # of a range
        out[name] = []
        for word in sorted(places, key=lambda word: (ends[word], float(places[word].mean()))):
            rows = places[word]
            few = some_people(labels, rows, _MOST_COMPARED, seed)
            genuine, impostor = verification.pair_scores(vectors[few], labels[few])
            known, apart = len(genuine) >= _FEWEST_PAIRS, len(impostor) >= _FEWEST_PAIRS
            group = Group(
                value=word,
                pictures=len(rows),
                people=len(np.unique(labels[rows])),
                genuine_mean=float(genuine.mean()) if known else None,
                fnmr=float(verification.fnmr(genuine, threshold)) if known else None,
                fmr=float(verification.fmr(impostor, threshold)) if apart else None,
                fidelity=None if matches is None else float(matches[rows].mean()),
            )
            out[name].append(group)
    return out


def some_people(labels: NDArray[Any], rows: NDArray[np.intp], most: int, seed: int) -> NDArray[np.intp]:
    """The rows of as many people, drawn at random, as have at most `most` rows together; or so many of two people."""
    if len(rows) <= most:
        return rows
    people, index, counts = np.unique(labels[rows], return_inverse=True, return_counts=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(people))
    taken = order[: max(2, int(np.searchsorted(np.cumsum(counts[order]), most, side="right")))]
    few = rows[np.isin(index, taken)]
    return few if len(few) <= most else np.sort(rng.choice(few, most, replace=False))
