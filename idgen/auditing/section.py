"""What a section of an audit gets, and what it gives: findings in words, figures, pictures of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idgen.auditing.labels import Label
from idgen.auditing.looking import Looked, Seen
from idgen.evaluation.attributes import some_people
from idgen.evaluation.measures import MOST_COMPARED
from idgen.evaluation.results import Level
from idgen.ground.domain import pictures
from idgen.ground.errors import InputError
from idgen.ground.words import one_in
from idgen.scoring import meaning, verification
from idgen.scoring.intervals import Rate

if TYPE_CHECKING:
    from idgen.model import Model

Value = float | int | str | None


@dataclass(frozen=True)
class Figure:
    """A line of the CSV: what, of whom, how much and how sure.

    Args:
        name: what is measured.
        value: None where it cannot be known.
        low, high: its 95 % interval, where one was taken.
        by: the recogniser.
        group: of which pictures or people, "" for all.
        count: of how many comparisons, pictures or people.
    """

    name: str
    value: Value
    low: float | None = None
    high: float | None = None
    by: str = ""
    group: str = ""
    count: int | None = None


@dataclass
class Section:
    """One question and its answer.

    Args:
        key, title: for machines, for people.
        lead: what is asked and how it is measured, a sentence or two.
        findings: (good, note or bad; a sentence or two) of what was found, and how sure it is.
        figures: all numbers.
        details: what else JSON holds.
        html: tables and charts.
    """

    key: str
    title: str
    lead: str
    findings: list[tuple[Level, str]] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    html: list[str] = field(default_factory=list)

    def say(self, level: Level, text: str) -> None:
        """A finding."""
        self.findings.append((level, text))

    def add(self, name: str, value: Value, low: float | None = None, high: float | None = None, **more: Any) -> None:
        """A figure, see `Figure`."""
        self.figures.append(Figure(name, value, low, high, **more))

    def add_rate(self, name: str, rate: Rate, **more: Any) -> None:
        """A rate with its interval; None for too few people."""
        self.add(name, rate.value, low=rate.low, high=rate.high, count=rate.comparisons, **more)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the page's parts are not in it."""
        content = asdict(self)
        del content["html"]
        return {**content, "findings": [{"level": level, "text": text} for level, text in self.findings]}


@dataclass(frozen=True)
class Threshold:
    """From which cosine on two pictures count as one person, and how that is known."""

    value: float
    fmr: float
    how: str


@dataclass
class Audited:
    """All that sections look at.

    Args:
        looked: the set.
        against: another set to compare it with, or None.
        labels: what is said of the pictures, by `name.origin`.
        against_labels: the same of the other set.
        model: whose generator and attribute reader are asked, or None.
        fmr: false-match rate of the thresholds.
        seed: of what is drawn.
        paint: people whom the generator pictures for the sections that need it; 0 leaves those out.
        progress: show bars.
    """

    looked: Looked
    against: Looked | None
    labels: dict[str, Label]
    against_labels: dict[str, Label]
    model: Model | None
    fmr: float
    seed: int = 0
    paint: int = 0
    progress: bool = False
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def people(self) -> NDArray[Any]:
        """(N,) who is on each picture."""
        return self.looked.source.labels

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """What several sections need, made when it is first asked for."""
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    def some(self, most: int = MOST_COMPARED) -> NDArray[np.intp]:
        """The pictures that are all compared with each other: all, or those of people drawn at random."""
        return some_people(self.people, np.arange(len(self.people)), most, self.seed)

    def threshold(self, seen: Seen) -> Threshold:
        """The recogniser's own threshold where it was measured on such pictures, else this set's."""

        def find() -> Threshold:
            domain = self.looked.source.domain
            if known := meaning(seen.calibrations, domain, "image-image", self.fmr):
                how = f"the recogniser's threshold for {one_in(known.fmr)}, measured on {pictures(domain)}"
                return Threshold(known.threshold, known.fmr, how)
            rows = self.some()
            _, impostor = verification.pair_scores(seen.vectors[rows], self.people[rows])
            if not len(impostor):
                raise InputError(
                    f"All pictures of {self.looked.source.name} are of one person: give two people or more."
                )
            how = f"the cosine that {one_in(self.fmr)} pairs of different people of this set reach"
            return Threshold(verification.threshold_at_fmr(impostor, self.fmr), self.fmr, how)

        return self.once(f"threshold of {seen.by}", find)

    def other(self, seen: Seen) -> Seen | None:
        """The other set by the same recogniser."""
        others = [] if self.against is None else self.against.by
        return next((one for one in others if one.space == seen.space and one.by == seen.by), None)
