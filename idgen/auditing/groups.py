"""Does the score depend on who and how? Error rates by group at one threshold, with how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idgen.auditing.labels import PREDICTED, WORDS, Label
from idgen.auditing.looking import Seen
from idgen.auditing.section import Audited, Section
from idgen.evaluation.page import heads, table
from idgen.ground.domain import pictures
from idgen.ground.words import count, percent
from idgen.scoring.intervals import FEWEST_PEOPLE, Errors, Rate, equal_error_rate, tar_at_fmr

MOST_COMPARED = 40_000
"""Pictures that groups are compared among; of larger sets those of people drawn at random."""
_SURE = 4_000  # pictures that the intervals of all comparisons together are taken over
_SHUFFLES = 200
_CHANCE = 0.01
FMR, FNMR = "FMR", "FNMR"


@dataclass(frozen=True)
class Gap:
    """How different the rates of groups are.

    Args:
        rate: FMR or FNMR.
        ratio: highest over lowest, of groups with a rate; a rate of 0 counts as half an error.
        usual: the ratio that 99 of 100 splits of the same people into groups of these sizes stay below: the highest of
            many rates is above the lowest even where all groups are alike.
        highest, lowest: which groups.
    """

    rate: str
    ratio: float
    usual: float
    highest: str
    lowest: str

    @property
    def beyond_chance(self) -> bool:
        """Whether hardly any split of the people gives such a ratio."""
        return self.ratio > self.usual


def rates_by_group(errors: Errors, words: NDArray[np.str_]) -> dict[str, tuple[Rate, Rate]]:
    """Group → FNMR and FMR within it; words (N,) are the groups of the pictures, "" for none."""
    return {
        word: (errors.fnmr(words == word), errors.fmr(words == word)) for word in sorted(set(words.tolist()) - {""})
    }


def crossed(one: NDArray[np.str_], other: NDArray[np.str_]) -> NDArray[np.str_]:
    """(N,) the groups of two labels together; "" where either is."""
    both = np.char.add(np.char.add(one, ", "), other)
    return np.where((one == "") | (other == ""), "", both)


def gap(errors: Errors, words: NDArray[np.str_], which: str, seed: int = 0) -> Gap | None:
    """How far the groups' rates are apart, against what chance makes of the same people; None for fewer than two rates.

    Args:
        errors: at one threshold.
        words: (N,) groups.
        which: FMR or FNMR.
        seed: of the splits: people exchange the groups of their pictures with each other.
    """
    names = sorted(set(words.tolist()) - {""})
    codes = np.where(words == "", -1, np.searchsorted(names, words)) if names else np.full(len(words), -1)
    found = _ratio(errors, codes, names, which)
    if found is None:
        return None
    rng, usual = np.random.default_rng(seed), []
    for _ in range(_SHUFFLES):
        if (other := _ratio(errors, exchanged(errors.people, codes, rng), names, which)) is not None:
            usual.append(other[0])
    limit = float(np.quantile(usual, 1 - _CHANCE, method="higher")) if usual else float("inf")
    return Gap(which, found[0], limit, found[1], found[2])


def exchanged(people: NDArray[np.intp], words: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """The groups of the pictures when people exchange theirs: everybody gets, in order and as often as needed, those of
    another person with some."""
    order = np.argsort(people, kind="stable")
    counts = np.bincount(people)
    starts = np.cumsum(counts) - counts
    donors = rng.permutation(len(counts))[people]
    number = np.arange(len(people))
    number[order] = np.arange(len(people)) - np.repeat(starts, counts)
    return words[order[starts[donors] + number % counts[donors]]]


def _ratio(errors: Errors, codes: NDArray[np.intp], names: Sequence[str], which: str) -> tuple[float, str, str] | None:
    """Highest over lowest rate, and whose; codes (N,) are numbers of the names, -1 for none."""
    inside = codes >= 0
    counts = np.zeros((int(errors.people.max()) + 1, len(names)))
    np.add.at(counts, (errors.people[inside], codes[inside]), 1)
    if which == FNMR:
        wrong, comparisons, people = errors.missed, (counts * (counts - 1) / 2).sum(0), (counts > 1).sum(0)
    else:
        wrong, people = errors.false, (counts > 0).sum(0)
        comparisons = (counts.sum(0) ** 2 - np.square(counts).sum(0)) / 2
    pair = codes[wrong]
    both = pair[(pair[:, 0] == pair[:, 1]) & (pair[:, 0] >= 0), 0]
    found = np.maximum(np.bincount(both, minlength=len(names)), 0.5)
    rates = {
        name: found[place] / comparisons[place] for place, name in enumerate(names) if people[place] >= FEWEST_PEOPLE
    }
    if len(rates) < 2:
        return None
    highest, lowest = max(rates, key=rates.__getitem__), min(rates, key=rates.__getitem__)
    return float(rates[highest] / rates[lowest]), highest, lowest


def section(audited: Audited) -> Section:
    """The section."""
    out = Section(
        "groups",
        "Does the score depend on who and how?",
        "False-match and false-non-match rates within each group, at one threshold, with 95 % intervals over people "
        f"on both sides of a comparison. Fewer than {FEWEST_PEOPLE} people give a count and no rate.",
    )
    rows = audited.some(MOST_COMPARED)
    labels = usable(audited, out)
    for seen in audited.looked.by:
        errors = Errors.find(seen.vectors[rows], audited.people[rows], audited.threshold(seen).value)
        _overall(audited, seen, errors, out)
        for name, label in labels.items():
            _by(audited, seen, errors, f"{label.name} ({WORDS[label.origin]})", label.words[rows], out, name)
        for (name, one), (another, other) in combinations(labels.items(), 2):
            if len(set(one.words.tolist())) * len(set(other.words.tolist())) <= 12:
                words = crossed(one.words[rows], other.words[rows])
                _by(
                    audited,
                    seen,
                    errors,
                    f"{one.name} and {other.name}",
                    words,
                    out,
                    f"{name} × {another}",
                    crossing=True,
                )
    if len(rows) < len(audited.people):
        out.say(
            "note",
            f"Compared are {len(rows):,} of the {len(audited.people):,} pictures, those of people drawn at random.",
        )
    return out


def usable(audited: Audited, out: Section) -> dict[str, Label]:
    """The labels that groups may be made of: no predictions on pictures that the predictor was not measured on."""
    found = {key: one for key, one in audited.labels.items() if one.origin != PREDICTED and (one.words != "").any()}
    if not found:
        of = pictures(audited.looked.source.domain)
        out.say(
            "note",
            f"No group rates: nothing is said of who is on these {of}, and what a network reads is no ground "
            "for them. Give what is known, --labels FILE.",
        )
    return found


def _overall(audited: Audited, seen: Seen, errors: Errors, out: Section) -> None:
    at = audited.threshold(seen)
    few = audited.some(_SURE)
    fnmr, fmr = errors.fnmr(), errors.fmr()
    out.add("threshold", at.value, by=seen.by)
    out.add_rate(FNMR, fnmr, by=seen.by)
    out.add_rate(FMR, fmr, by=seen.by)
    vectors, people = seen.vectors[few], audited.people[few]
    if (np.unique(people, return_counts=True)[1] > 1).any():
        for name, one in (("EER", equal_error_rate(vectors, people)), ("TAR", tar_at_fmr(vectors, people, at.fmr))):
            out.add(name, one.value, low=one.low, high=one.high, by=seen.by, count=len(few))
    out.say(
        "note",
        f"By {seen.by}, at {at.value:.3f} ({at.how}): {_said(fnmr, 'pairs of one person do not match')}, "
        f"{_said(fmr, 'pairs of different people do')}.",
    )


def _said(rate: Rate, what: str) -> str:
    if rate.value is None or rate.low is None or rate.high is None:
        return f"{rate.errors:,} of {rate.comparisons:,} {what} (too few people, {rate.people}, for a rate)"
    return f"{percent(rate.value)} of the {what} ({percent(rate.low)} to {percent(rate.high)})"


def _by(
    audited: Audited,
    seen: Seen,
    errors: Errors,
    title: str,
    words: NDArray[np.str_],
    out: Section,
    key: str,
    crossing: bool = False,
) -> None:
    """One label's groups."""
    found = rates_by_group(errors, words)
    if len(found) < 2:
        return
    cells = []
    for word, (fnmr, fmr) in found.items():
        group = f"{key} = {word}"
        out.add_rate(FNMR, fnmr, by=seen.by, group=group)
        out.add_rate(FMR, fmr, by=seen.by, group=group)
        cells.append([escape(word), *_cells(fnmr), *_cells(fmr)])
    head = heads([escape(title), "FNMR", "95 %", "people", "FMR", "95 %", "people"])
    out.html.append(f"<h3>{escape(title)}, by {escape(seen.by)}</h3>{table(head, cells)}")
    for which in (FNMR, FMR):
        between = None if crossing else gap(errors, words, which, audited.seed)
        if between is None:
            continue
        out.add(f"{which} ratio", between.ratio, high=between.usual, by=seen.by, group=key)
        if between.beyond_chance:
            out.say(
                "bad",
                f"{which} depends on {title}, by {seen.by}: {between.highest} has {between.ratio:.1f} times that "
                f"of {between.lowest}, where chance splits of these people hardly ever give over {between.usual:.1f}.",
            )


def _cells(rate: Rate) -> list[str]:
    if rate.value is None or rate.low is None or rate.high is None:
        return [f"{rate.errors:,} of {rate.comparisons:,}", "too few people", count(rate.people, "person", "people")]
    return [percent(rate.value), f"{100 * rate.low:.3g} … {100 * rate.high:.3g} %", f"{rate.people:,}"]
