"""What a verdict says: of a picture and the person it was made for, of two pictures, and of many in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from idgen.ground import arguments, domain, words
from idgen.ground.domain import RENDERED
from idgen.scoring.calibration import Meaning

BRIDGE, OWN_VECTOR, OWN_PICTURES = "bridge", "own vector", "own pictures"
AGAINST = (BRIDGE, OWN_VECTOR, OWN_PICTURES)
"""What the judge compares a picture with: what its bridge makes of the encoder's vector; its own vector of the photos
that the person was read from; the mean of its vectors of a few pictures of fixed seeds that the model made of the
person, in which case a picture is said to agree with its own pictures."""


@dataclass(frozen=True)
class Score:
    """One picture against the identity it was made for.

    Args:
        similarity: the encoder's cosine to the wanted vector; NaN where no face is found.
        judge_similarity: the judge's cosine to what it was compared `against`; NaN where no face is found.
        match: the judge's verdict: `judge_similarity` reaches `judge_threshold`; None where none is measured.
        threshold, judge_threshold: the two cosines that count as the same person, or None.
        domain: of the judge's calibration that gave the verdict, or None.
        fmr: the false-match rate of the verdict, or None.
        of: the domain of what was compared.
        against: what the judge compared the picture with, see `AGAINST`.
    """

    similarity: float
    judge_similarity: float
    match: bool | None
    threshold: float | None
    judge_threshold: float | None
    domain: str | None = RENDERED
    fmr: float | None = arguments.FMR
    of: str = RENDERED
    against: str = BRIDGE


@dataclass(frozen=True)
class Comparison:
    """Two photos or identities against each other.

    Args:
        kind: the encoder's kind of comparison.
        cosine: the encoder's; threshold: that from which on it counts as a match, or None where none is measured.
        match: whether they are the same person: the judge's verdict, the encoder's where the judge has nothing to look
            at (two identities); None where neither was measured on such pictures.
        judge_cosine, judge_threshold: the judge's, or None.
        fmr: the false-match rate of the verdict: the one asked for, or the strictest that the calibration carries.
        of: the domain of what was compared; "" for two people without a picture.
        domain: that of the calibration that gave the verdict, or None.
        by: who gave it: "judge", "encoder", or the space of another recogniser.
        asked: the false-match rate that was asked for.
    """

    kind: str
    cosine: float
    threshold: float | None
    match: bool | None
    judge_cosine: float | None
    judge_threshold: float | None
    fmr: float
    of: str = RENDERED
    domain: str | None = RENDERED
    by: str = "judge"
    asked: float | None = None

    @property
    def verdict(self) -> str:
        """ "same person", "different people" or "no verdict"."""
        return "no verdict" if self.match is None else "same person" if self.match else "different people"

    def sentence(self) -> str:
        """The verdict in plain words."""
        cosine, threshold = self.judge_cosine, self.judge_threshold
        who = f"the {self.by}" if self.by in ("judge", "encoder") else self.by  # a part of the model, or a name
        if cosine is None:
            cosine, threshold = self.cosine, self.threshold
        if threshold is None or self.domain is None:
            return (
                f"No verdict: {cosine:.2f} is the similarity by {who}, which was not measured on "
                f"{domain.pictures(self.of)}, or on too few. {domain.advice(self.of)}"
            )
        strict = "" if self.asked in (None, self.fmr) else f" (too few comparisons were measured for {self.asked:g})"
        return (
            f"{self.verdict.capitalize()}, says {who}: {cosine:.2f}, where {threshold:.2f} or more counts as "
            f"the same person and {words.one_in(self.fmr)} comparisons of different people gets there by chance, "
            f"measured on {domain.pictures(self.domain)}{strict}."
        )


def verdicts(scores: Sequence[tuple[Any, ...]], asked: float) -> str:
    """How many pictures are the wanted person, says the judge, in plain words; where no calibration applies: how
    similar they are, and how to get a verdict.

    Args:
        scores: `match`, `judge_similarity`, `domain`, `fmr`, `of` and `against` of each, see `Score`.
        asked: the false-match rate asked for.
    """
    judged = [one for one in scores if one[2] is not None]
    said = []
    for own in (False, True):
        if alike := [one for one in judged if (one[5] == OWN_PICTURES) == own]:
            matches, rates = sum(bool(one[0]) for one in alike), {float(one[3] or asked) for one in alike}
            said.append(words.verdicts(matches, len(alike), max(rates), sorted({str(one[2]) for one in alike}), own))
            if max(rates) != asked:
                said.append(f"Too few comparisons were measured for {words.one_in(asked)}.")
    if without := [one for one in scores if one[2] is None]:
        seen = [float(one[1]) for one in without if one[1] is not None and one[1] == one[1]]
        mean = f": their mean similarity by the judge is {sum(seen) / len(seen):.2f}" if seen else ""
        of = sorted({one[4] for one in without})
        kinds = " and ".join(map(domain.pictures, of))
        some = f"{len(without)} of {len(scores)}" if judged else words.count(len(without), "picture", "pictures")
        said.append(
            f"No verdict on {some}{mean}, which was not measured on {kinds}, or on too few. {domain.advice(of[-1])}"
        )
    return " ".join(said)


def compared(
    kind: str,
    cosine: float,
    at: float | None,
    judged: float | None,
    by: Meaning | None,
    of: str,
    asked: float,
    who: str,
) -> Comparison:
    """A comparison with its verdict, where there is one."""
    seen = cosine if judged is None else judged
    match = None if by is None else seen >= by.threshold
    least = None if by is None or judged is None else by.threshold
    fmr, known = (asked, None) if by is None else (by.fmr, by.calibration.domain)
    return Comparison(kind, cosine, at, match, judged, least, fmr, of, known, who, asked)
