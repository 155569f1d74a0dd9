"""What do the pictures look like? Shares, entropy, and the gap to another set, label by label, origin by origin."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idgen.auditing.labels import PREDICTED, WORDS, Label
from idgen.auditing.section import Audited, Section
from idgen.evaluation.page import heads, table
from idgen.ground.domain import pictures
from idgen.ground.words import count, percent
from idgen.scoring.verification import numbered

MOST_VALUES = 12
_BINS = 6
_SHUFFLES = 300
_CHANCE = 0.01
_RARE = 0.02
"""A value with a smaller share is too rare for a study of it."""


@dataclass(frozen=True)
class Spread:
    """How the values of a label are spread.

    Args:
        values: in words.
        shares: (V,) of the pictures of which something is said.
        entropy: −Σ p log p over log V: 1 is evenly, 0 all alike.
    """

    values: list[str]
    shares: NDArray[np.float64]
    entropy: float


def spread(codes: ArrayLike, names: list[str]) -> Spread:
    """Of (N,) numbers of the names, -1 for what is not said."""
    known = np.asarray(codes)
    counts = np.bincount(known[known >= 0], minlength=len(names)).astype(float)
    shares = counts / max(counts.sum(), 1.0)
    some = shares[shares > 0]
    entropy = float(-(some * np.log(some)).sum() / np.log(len(names))) if len(names) > 1 else 0.0
    return Spread(names, shares, abs(entropy))


def distance(one: ArrayLike, other: ArrayLike) -> float:
    """Total variation of two lists of shares (V,): the share of pictures that would have to be others, 0 to 1."""
    return float(np.abs(np.asarray(one) - np.asarray(other)).sum() / 2)


def coded(label: Label, other: Label | None = None) -> tuple[list[str], NDArray[np.intp], NDArray[np.intp]]:
    """Values in words and (N,) their numbers in one set and in another, -1 for what is not said: names as they are,
    numbers of more than a few values in even ranges of both together."""
    both = [one for one in (label, other) if one is not None]
    said = np.concatenate([one.values[one.known] for one in both])
    if label.values.dtype.kind == "f" and len(np.unique(said)) > MOST_VALUES:
        low, high = np.quantile(said, [0.01, 0.99])
        edges = np.linspace(low, high, _BINS + 1)[1:-1]
        ends = ["…", *(f"{edge:.3g}" for edge in edges), "…"]
        names = [f"{a} to {b}" for a, b in pairwise(ends)]
        codes = [np.where(one.known, np.digitize(one.values, edges), -1) for one in both]
    else:
        values = np.unique(said)
        names = [f"{value:g}" if label.values.dtype.kind == "f" else str(value) for value in values]
        codes = [
            np.where(one.known, np.searchsorted(values, one.values).clip(0, max(len(values) - 1, 0)), -1)
            for one in both
        ]
    return names, codes[0], codes[1] if other is not None else codes[0][:0]


def chance_distance(
    one: NDArray[np.intp], other: NDArray[np.intp], people: ArrayLike, others: ArrayLike, values: int, seed: int = 0
) -> float:
    """The distance that two sets of one kind hardly ever exceed: people of both are dealt out anew, since one person's
    pictures are alike.

    Args:
        one, other: (N,) and (M,) numbers of values, -1 for none.
        people, others: (N,) and (M,) who is on each picture.
        values: how many.
        seed: of the deals.
    """
    counts = np.concatenate([_counts(one, people, values), _counts(other, others, values)])
    first, rng, found = len(np.unique(np.asarray(people))), np.random.default_rng(seed), []
    for _ in range(_SHUFFLES):
        order = rng.permutation(len(counts))
        halves = counts[order[:first]].sum(0), counts[order[first:]].sum(0)
        found.append(distance(*(half / max(half.sum(), 1) for half in halves)))
    return float(np.quantile(found, 1 - _CHANCE, method="higher"))


def _counts(codes: NDArray[np.intp], people: ArrayLike, values: int) -> NDArray[np.float64]:
    who = numbered(codes, people)
    out = np.zeros((int(who.max()) + 1, values))
    known = codes >= 0
    np.add.at(out, (who[known], codes[known]), 1)
    return out


def section(audited: Audited) -> Section:
    """The section."""
    out = Section(
        "attributes",
        "What do the pictures look like?",
        "Shares of each value, and their entropy: 1 where all are as frequent. What people say of themselves, what "
        "annotators or the set's maker say, and what a network reads are different things and stay apart.",
    )
    of = audited.looked.source.domain
    if audited.looked.read is not None and not any(one.origin == PREDICTED for one in audited.labels.values()):
        out.say(
            "note", f"What a network reads of these {pictures(of)} is not used: it was not measured on such pictures."
        )
    if not audited.labels:
        out.say("note", "Not measured: nothing is said of how the pictures look. Give what is known, --labels FILE.")
        return out
    for key, label in audited.labels.items():
        if label.known.any():
            _told(audited, key, label, out)
    if audited.against is None:
        out.say("note", "Gaps were not looked for: give a set to compare with, --against SET.")
    elif not any(level == "bad" for level, _ in out.findings):
        compared = sum(figure.name == "gap" for figure in out.figures)
        out.say(
            "good", f"No gap to {audited.against.source.name} beyond chance, of {count(compared, 'label', 'labels')}."
        )
    return out


def _told(audited: Audited, key: str, label: Label, out: Section) -> None:
    other = audited.against_labels.get(key)
    if other is not None and (not other.known.any() or other.values.dtype.kind != label.values.dtype.kind):
        other = None
    names, ours, theirs = coded(label, other)
    if len(names) > MOST_VALUES or len(names) < 1:
        return
    found = spread(ours, names)
    title = f"{label.name} ({WORDS[label.origin]})"
    known = int((ours >= 0).sum())
    out.add("entropy", found.entropy, group=key, count=known)
    out.add("said of", known / len(ours), group=key, count=len(ours))
    for name, share in zip(names, found.shares, strict=True):
        out.add("share", float(share), group=f"{key} = {name}", count=known)
    rows = [[escape(name), percent(float(share))] for name, share in zip(names, found.shares, strict=True)]
    head = [escape(title), "this set"]
    if len(names) == 1:
        out.say("note", f"{title}: always {names[0]}.")
    elif other is not None:
        reference = spread(theirs, names)
        gap = distance(found.shares, reference.shares)
        assert audited.against is not None
        limit = chance_distance(ours, theirs, audited.people, audited.against.source.labels, len(names), audited.seed)
        out.add("gap", gap, high=limit, group=key, count=known)
        rows = [[*row, percent(float(share))] for row, share in zip(rows, reference.shares, strict=True)]
        head.append(escape(audited.against.source.name))
        if gap > limit:
            worst = int(np.abs(found.shares - reference.shares).argmax())
            out.say(
                "bad",
                f"{title} is spread otherwise than in {audited.against.source.name}: {percent(gap)} of the pictures "
                f"would have to be others, where chance makes {percent(limit)} at most; {names[worst]} is "
                f"{percent(float(found.shares[worst]))} here and {percent(float(reference.shares[worst]))} there.",
            )
    rare = [name for name, share in zip(names, found.shares, strict=True) if share < _RARE]
    if rare and label.values.dtype.kind != "f":
        out.say("note", f"{title}: {', '.join(rare)} under {percent(_RARE)} each, too rare for figures of their own.")
    out.html.append(f"<h3>{escape(title)}</h3>{table(heads(head), rows)}")
