"""What cosines mean: error rates of a recogniser, measured on people that it never saw.

Kinds of comparison:

- `image-image`: one picture against another;
- `image-mean`: a picture against the normalised mean of a person's other pictures;
- `mean-mean`: the mean of one half of a person's pictures against the mean of the other half (two identities);
- `image-bridge`: the judge's vector of a picture against the bridged encoder mean of the person's other pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from idgen.ground import arguments, domain, files
from idgen.ground.domain import PHOTOGRAPHS, RENDERED
from idgen.ground.errors import InputError
from idgen.ground.words import one_in
from idgen.scoring import verification
from idgen.scoring.bridge import Bridge
from idgen.scoring.verification import Scores, numbered, unit

BINS = 201
EDGES: NDArray[np.float64] = np.linspace(-1, 1, BINS + 1)
"""Edges of the histograms' bins; the middle bin is centred on 0."""

CALIBRATION_NAME = "calibration.json"
Who = NDArray[np.intp]
_RESAMPLED = 700  # pictures that intervals are taken over
_FORMAT, _VERSION = "idgen.calibration", 2


@dataclass(frozen=True)
class ErrorRates:
    """How one kind of comparison tells people apart.

    Args:
        thresholds: false-match rate ("0.001") → the lowest cosine that counts as a match; None where the impostor
            comparisons are too few to tell (fewer than 10 false matches expected).
        tar: false-match rate → true-accept rate at that threshold, or None.
        eer: equal error rate.
        genuine_pairs, impostor_pairs: numbers of comparisons of the same person, of different people.
        genuine, impostor: their histograms, counts in the bins of `EDGES`.
        intervals: `eer`, `tar@RATE` and `fmr@RATE` (at the threshold) → 95 % interval, see `verification.bootstrap`;
            empty where none was taken.
    """

    thresholds: dict[str, float | None]
    tar: dict[str, float | None]
    eer: float
    genuine_pairs: int
    impostor_pairs: int
    genuine: list[int]
    impostor: list[int]
    intervals: dict[str, list[float]] = field(default_factory=dict)

    def with_intervals(self, genuine: Scores, impostor: Scores, of: Who, over: Who) -> ErrorRates:
        """With intervals, for the scores that these rates are of, and whom each of them compares."""
        at = {rate: threshold for rate, threshold in self.thresholds.items() if threshold is not None}
        found = verification.bootstrap(genuine, impostor, at, of, over)
        return replace(self, intervals={name: [round(end, 6) for end in ends] for name, ends in found.items()})

    @classmethod
    def measure(cls, genuine: ArrayLike, impostor: ArrayLike) -> ErrorRates:
        """From the cosines of comparisons of the same person and of different people."""
        same, other = np.asarray(genuine).ravel(), np.asarray(impostor).ravel()
        if not same.size or not other.size:
            raise InputError("Error rates need people with several pictures and more than one person: give more faces.")
        thresholds = {
            f"{rate:g}": verification.threshold_at_fmr(other, rate)
            if other.size * rate >= verification.FEWEST_FALSE_MATCHES
            else None
            for rate in arguments.FMRS
        }
        return cls(
            thresholds,
            {rate: None if at is None else 1 - float(verification.fnmr(same, at)) for rate, at in thresholds.items()},
            verification.eer(same, other),
            same.size,
            other.size,
            np.histogram(same.clip(-1, 1), EDGES)[0].tolist(),
            np.histogram(other.clip(-1, 1), EDGES)[0].tolist(),
        )


@dataclass(frozen=True)
class Calibration:
    """What the cosines of one embedding space mean, measured on people that its recogniser never saw.

    Args:
        space: name of the embedding space.
        people, images: how many of each it was measured on.
        data: where they come from, in words.
        kinds: kind of comparison → its error rates.
        domain: what kind of pictures they were, see `idgen.ground.domain`.
        resampled: what the intervals were drawn from: people; or pairs, of a set that names nobody.
    """

    space: str
    people: int
    images: int
    data: str
    kinds: dict[str, ErrorRates] = field(default_factory=dict)
    domain: str = RENDERED
    resampled: str = "people"

    @classmethod
    def measure(
        cls, space: str, embeddings: Tensor, labels: ArrayLike, data: str, domain: str = RENDERED
    ) -> Calibration:
        """Measure `image-image`, `image-mean` and `mean-mean`.

        Args:
            space: name of the embedding space.
            embeddings: (N, D), normalised here.
            labels: (N,) whose equality means the same person; at least two people with two pictures.
            data: where the pictures come from, in words.
            domain: what kind of pictures they are.
        """
        vectors, people = unit(embeddings.detach().float().cpu()), numbered(embeddings, labels)
        kinds = {
            "image-image": _pairs_of_pictures(vectors, people),
            "image-mean": ErrorRates.measure(*image_mean_scores(vectors, vectors, people)),
            "mean-mean": ErrorRates.measure(*mean_mean_scores(vectors, people)),
        }
        return cls(space, int(people.max()) + 1, len(people), data, kinds, domain)

    def measure_bridge(
        self, bridge: Bridge, encoder_embeddings: Tensor, judge_embeddings: Tensor, labels: ArrayLike
    ) -> Calibration:
        """This calibration (the judge's) with `image-bridge` added, measured on the same pictures.

        Args:
            bridge: from the encoder's space to this one.
            encoder_embeddings, judge_embeddings: (N, De) and (N, Dj), normalised here.
            labels: (N,) whose equality means the same person.
        """
        if bridge.target != self.space:
            raise InputError(f"The bridge leads to the space {bridge.target!r}, but this one is {self.space!r}.")
        vectors, probes = (unit(each.detach().float().cpu()) for each in (encoder_embeddings, judge_embeddings))
        people = numbered(vectors, labels)
        scores = image_mean_scores(probes, vectors, people, lambda means: bridge(torch.from_numpy(means)).numpy())
        return replace(self, kinds={**self.kinds, "image-bridge": ErrorRates.measure(*scores)})

    def rates(self, kind: str) -> ErrorRates:
        """The error rates of a kind of comparison; InputError when it was not measured."""
        if kind not in self.kinds:
            measured = ", ".join(self.kinds) or "nothing"
            raise InputError(f"The calibration of {self.space!r} says nothing on {kind!r}: it has {measured}.")
        return self.kinds[kind]

    def threshold(self, kind: str, fmr: float) -> float:
        """The lowest cosine that is a match at a false-match rate.

        Raises:
            InputError: the kind or the rate was not measured, or with too few comparisons.
        """
        rates = self.rates(kind)
        threshold = rates.thresholds[f"{arguments.fmr(fmr, [float(rate) for rate in rates.thresholds]):g}"]
        if threshold is None:
            known = " or ".join(rate for rate, at in rates.thresholds.items() if at is not None)
            raise InputError(
                f"{rates.impostor_pairs:,} comparisons of different people are too few to know a threshold for a "
                f"false-match rate of {fmr:g}: {f'choose {known}, or ' * bool(known)}calibrate on more people."
            )
        return threshold

    @property
    def scope(self) -> str:
        """On what the thresholds were measured, and so how far they reach, in a sentence."""
        whose = f"of {self.people:,} people that the recogniser had never seen" if self.people else "in pairs"
        return (
            f"Thresholds measured on {domain.pictures(self.domain)} {whose} ({self.data}); on pictures of another kind "
            "there is no verdict."
        )

    @classmethod
    def of_pairs(
        cls,
        space: str,
        cosines: ArrayLike,
        same: ArrayLike,
        data: str,
        domain: str = PHOTOGRAPHS,
        images: int | None = None,
    ) -> Calibration:
        """Of a list of pairs of pictures that names nobody: `image-image` alone, with intervals over pairs.

        Args:
            space, data, domain: as of `measure`.
            cosines, same: (N,) of each pair, and whether it shows one person.
            images: how many pictures are in them; by default two a pair.
        """
        scores, truth = np.asarray(cosines), np.asarray(same, bool)
        rates = ErrorRates.measure(scores[truth], scores[~truth])
        number = np.arange(len(truth))[:, None]
        rates = rates.with_intervals(scores[truth], scores[~truth], number[truth], number[~truth])
        images = 2 * len(truth) if images is None else images
        return cls(space, 0, images, data, {"image-image": rates}, domain, "pairs")

    def save(self, path: str | Path) -> None:
        """Write JSON: this calibration alone."""
        files.write_json(path, to_dict([self]))


@dataclass(frozen=True)
class Meaning:
    """What the scores of one kind of comparison mean, where a calibration applies to them.

    Args:
        calibration: that one.
        kind: of comparison.
        fmr: the false-match rate of `threshold`: the one asked for, or the strictest that the comparisons carry.
        threshold: the lowest cosine that counts as a match.
    """

    calibration: Calibration
    kind: str
    fmr: float
    threshold: float

    @property
    def rates(self) -> ErrorRates:
        """The error rates of this kind."""
        return self.calibration.rates(self.kind)

    @property
    def explanation(self) -> str:
        """What the scores mean, in plain words, for who has never seen one."""
        below = np.cumsum([0, *self.rates.genuine])  # linear within a bin
        low, middle, high = np.interp(np.array([0.05, 0.5, 0.95]) * below[-1], below, EDGES)
        return (
            f"Pictures of one and the same person do not score 1: they score about {middle:.2f} (nine in ten lie "
            f"between {low:.2f} and {high:.2f}). A score of {self.threshold:.2f} or more counts as the same person; "
            f"{one_in(self.fmr)} comparisons of different people gets there by chance. {self.calibration.scope}"
        )


def meaning(calibrations: Sequence[Calibration], of: str, kind: str, fmr: float = arguments.FMR) -> Meaning | None:
    """What the scores of a kind of comparison mean on pictures of a domain: by the calibration of that domain, at the
    strictest false-match rate that it carries up to the one asked for; None where there is none.

    Args:
        calibrations: of one space.
        of: the domain; "" for comparisons without pictures, for which the first calibration holds.
        kind: of comparison, see above.
        fmr: 0.01, 0.001 or 0.0001; InputError for anything else.
    """
    fmr = arguments.fmr(fmr)
    for known in calibrations:
        if of in (known.domain, "") and kind in known.kinds:
            rates = {float(rate): at for rate, at in known.kinds[kind].thresholds.items() if at is not None}
            if carried := [rate for rate in rates if rate >= fmr * (1 - 1e-9)]:
                return Meaning(known, kind, min(carried), rates[min(carried)])
    return None


def explained(calibrations: Sequence[Calibration], of: str, kind: str, fmr: float = arguments.FMR) -> str:
    """What the cosines of a recogniser say where nobody judges, as the end of a sentence; arguments as of `meaning`."""
    if (known := meaning(calibrations, of, kind, fmr)) is not None:
        return (
            f"{known.threshold:.2f} or more counts as the same person, where {one_in(known.fmr)} comparisons of "
            f"different people gets by chance, measured on {domain.pictures(known.calibration.domain)}"
        )
    if calibrations:
        return f"what that means was not measured on {domain.pictures(of)}, or on too few. {domain.advice(of)[:-1]}"
    return (
        "what that means was not measured here for this embedding space: take a threshold from the literature on its "
        "recogniser, or measure one on pictures of people it never saw"
    )


def to_dict(calibrations: Sequence[Calibration]) -> dict[str, Any]:
    """What `calibration.json` holds, and `FaceEncoder.calibration`: those of one space, one a domain."""
    return {"format": _FORMAT, "version": _VERSION, "calibrations": [asdict(one) for one in calibrations]}


def from_dict(content: dict[str, Any]) -> list[Calibration]:
    """From what `to_dict` gave; InputError when it is something else. Version 1 held one, of renders."""
    try:
        content = dict(content)
        form, version = content.pop("format"), content.pop("version")
        if form != _FORMAT or version not in (1, _VERSION):
            raise ValueError("another format or version")
        return [_read(one) for one in (content["calibrations"] if version == _VERSION else [content])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"This is no calibration that idgen can read ({error!r}): calibrate again.") from error


def _read(content: dict[str, Any]) -> Calibration:
    kinds = {kind: ErrorRates(**rates) for kind, rates in content["kinds"].items()}
    if any(len(counts) != BINS for rates in kinds.values() for counts in (rates.genuine, rates.impostor)):
        raise ValueError(f"a histogram has not {BINS} bins")
    return Calibration(**{**content, "kinds": kinds})


def calibrations_of(encoder: Any) -> list[Calibration]:
    """A `FaceEncoder`'s own; [] where it was not measured."""
    return [] if encoder.calibration is None else from_dict(encoder.calibration)


def with_domain(calibrations: Sequence[Calibration], new: Calibration) -> list[Calibration]:
    """Those of a space with one more, in place of the one of its domain that was there before."""
    return [new if one.domain == new.domain else one for one in calibrations] + [new] * (
        new.domain not in {one.domain for one in calibrations}
    )


def _pairs_of_pictures(vectors: Scores, people: Who) -> ErrorRates:
    """`image-image`, with intervals: of large sets over some of the people, which makes them wider, not narrower."""
    rates = ErrorRates.measure(*verification.pair_scores(vectors, people))
    order = np.random.default_rng(0).permutation(int(people.max()) + 1)
    enough = max(2, int((np.cumsum(np.bincount(people)[order]) <= _RESAMPLED).sum()))
    rows = np.flatnonzero(np.isin(people, order[:enough]))
    first, second = np.triu_indices(len(rows), 1)
    a, b = people[rows][first], people[rows][second]
    cosines = (vectors[rows] @ vectors[rows].T)[first, second]
    if not (a == b).any():
        return rates
    return rates.with_intervals(cosines[a == b], cosines[a != b], a[a == b][:, None], np.stack([a, b], 1)[a != b])


def _sums(vectors: Scores, people: NDArray[np.integer]) -> Scores:
    sums = np.zeros((int(people.max()) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, people, vectors)
    return sums


def image_mean_scores(
    probes: Scores, vectors: Scores, people: NDArray[np.integer], bridge: Callable[[Scores], Scores] | None = None
) -> tuple[Scores, Scores]:
    """Pictures against the mean of their person's *other* pictures, and against the means of all other people.

    Args:
        probes: (N, D) unit vectors of the pictures.
        vectors: (N, E) unit vectors of the same pictures, to take means of.
        people: (N,) numbered from 0; who has a single picture has no others.
        bridge: from unit vectors of length E to those of length D; by default none is needed.
    """
    sums = _sums(vectors, people)
    reference = (lambda total: unit(total)) if bridge is None else (lambda total: bridge(unit(total)))
    several = np.bincount(people)[people] > 1
    genuine = (probes[several] * reference(sums[people[several]] - vectors[several])).sum(1)
    references = reference(sums)
    impostor = []
    for start in range(0, len(probes), 1024):  # blocks keep memory flat
        block = slice(start, start + 1024)
        other = people[block, None] != np.arange(len(references))
        impostor.append((probes[block] @ references.T)[other])
    return genuine, np.concatenate(impostor)


def mean_mean_scores(vectors: Scores, people: NDArray[np.intp]) -> tuple[Scores, Scores]:
    """The mean of every second picture of a person against the mean of the others, own and other people's."""
    order = np.argsort(people, kind="stable")
    counts = np.bincount(people)
    second = np.zeros((len(people), 1), bool)
    second[order, 0] = np.concatenate([np.arange(count) % 2 for count in counts])
    several = counts > 1
    halves = _sums(vectors * second, people), _sums(vectors * ~second, people)
    scores = unit(halves[0][several]) @ unit(halves[1][several]).T
    same = np.eye(len(scores), dtype=bool)
    return scores[same], scores[~same]
