"""Is it the same person? Cosines with their meaning, by a judge that did not make the vector.

Two recognisers take part. The *encoder* makes the vectors that condition a picture. The *judge*, another network,
trained on its own, gives the verdict. What a picture of an encoder's vector should look like to the judge is predicted
by a `Bridge`, and how well that tells people apart is measured like everything else, on people nobody trained on.

The threshold of every verdict is decided here: `judge_threshold` by the kind of comparison and the false-match rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.nn.functional import normalize

from idgen.ground import arguments, words
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError
from idgen.ground.identity import ONE_PHOTO, Identities, Identity
from idgen.ground.images import several
from idgen.scoring.bridge import Bridge
from idgen.scoring.calibration import Calibration


class Recogniser(Protocol):
    """What scoring needs of a `FaceEncoder`."""

    space: str
    calibration: dict[str, Any] | None

    def encode(self, images: Any, aligned: bool = True, batch_size: int = 64) -> Tensor: ...
    def embed_by(self, pictures: Any, viewers: Sequence[Any], aligned: bool = True) -> list[Tensor]: ...
    def views(self, photo: Any, viewers: Sequence[Any]) -> tuple[Any, ...]: ...


class JudgeOf(Protocol):
    """What scoring needs of a `Judge`."""

    space: str
    recognizer: Any
    bridge: Bridge
    calibration: Calibration | None

    def encode(self, images: Any) -> Tensor: ...


@dataclass(frozen=True)
class Score:
    """One picture against the identity it was made for.

    Args:
        similarity: the encoder's cosine to the wanted vector; NaN where no face is found.
        judge_similarity: the judge's cosine to the bridged vector; NaN where no face is found.
        match: the judge's verdict: `judge_similarity` reaches `judge_threshold`.
        threshold, judge_threshold: the two cosines that count as the same person, at the scorer's false-match rate.
    """

    similarity: float
    judge_similarity: float
    match: bool
    threshold: float
    judge_threshold: float


@dataclass(frozen=True)
class Comparison:
    """Two photos or identities against each other.

    Args:
        kind: the encoder's kind of comparison.
        cosine, threshold: the encoder's.
        match: whether they are the same person: the judge's verdict, or the encoder's where the judge has nothing to
            look at (two identities).
        judge_cosine, judge_threshold: the judge's, or None.
        fmr: the false-match rate of the thresholds.
    """

    kind: str
    cosine: float
    threshold: float
    match: bool
    judge_cosine: float | None
    judge_threshold: float | None
    fmr: float

    @property
    def verdict(self) -> str:
        """ "same person" or "different people"."""
        return "same person" if self.match else "different people"

    def sentence(self) -> str:
        """The verdict in plain words."""
        who, cosine, threshold = "judge", self.judge_cosine, self.judge_threshold
        if cosine is None or threshold is None:
            who, cosine, threshold = "encoder", self.cosine, self.threshold
        return (
            f"{self.verdict.capitalize()}, says the {who}: {cosine:.2f}, where {threshold:.2f} or more counts as the "
            f"same person and {words.one_in(self.fmr)} comparisons of different people gets there by chance."
        )


def judge_threshold(judge: JudgeOf, kind: str, fmr: float = arguments.FMR) -> float:
    """The judge's cosine from which on a comparison of this kind counts as the same person.

    Raises:
        InputError: the judge has no calibration, or it does not reach the kind or the false-match rate.
    """
    return _calibrated("judge", judge.calibration).threshold(kind, fmr)


class Scorer:
    """Scores pictures against identities, by the encoder and by an independent judge.

    Args:
        encoder: what made the identities' vectors.
        judge: a recogniser of another space.
        fmr: false-match rate of the verdicts: 0.01, 0.001 or 0.0001.

    Raises:
        InputError: the judge is the encoder, is for another encoder, or a calibration is missing or does not reach
            the false-match rate.
    """

    def __init__(self, encoder: Recogniser, judge: JudgeOf, fmr: float = arguments.FMR):
        if judge.space == encoder.space:
            raise InputError(f"The judge and the encoder are both {encoder.space!r}: an encoder may not judge itself.")
        if judge.bridge.source != encoder.space:
            known = judge.bridge.source
            raise InputError(f"The judge knows the space {known!r}, but the encoder's is {encoder.space!r}.")
        self.calibration = _calibrated("encoder", Calibration.of(encoder))
        self.judge_calibration = _calibrated("judge", judge.calibration)
        if self.calibration.space != encoder.space:
            raise InputError(f"The calibration is of the space {self.calibration.space!r}, not of {encoder.space!r}.")
        self.encoder, self.judge, self.fmr = encoder, judge, fmr
        # A threshold from means errs on the safe side for a vector from one photo: fewer false matches, not more.
        self.threshold = self.calibration.threshold("image-mean", fmr)
        self.judge_threshold = judge_threshold(judge, "image-bridge", fmr)

    @pinned()
    def score(self, images: Any, vectors: Tensor | Identity | Identities, aligned: bool = True) -> list[Score]:
        """Pictures against the vectors they were made for.

        Args:
            images: N PIL images, one alone, or (N, 3, H, W) in [0, 1].
            vectors: (N, D) in the encoder's space, one a picture; or one vector or identity for all of them.
            aligned: they are face crops as the encoder aligns them; else, or where the judge was made for another
                alignment, the face is found first.

        Raises:
            InputError: no pictures, another number of vectors than pictures, or an identity from another space.
        """
        if isinstance(vectors, Identity | Identities):
            vectors.require_space(self.encoder.space)
            vectors = vectors.vector if isinstance(vectors, Identity) else vectors.vectors
        images = several(images)
        count = len(images)
        if not count:
            raise InputError("There are no pictures to score: give at least one.")
        wanted = vectors.detach().cpu().float()
        if wanted.ndim == 1 or (wanted.ndim == 2 and len(wanted) == 1):
            wanted = wanted.reshape(1, -1).expand(count, -1)
        dim = self.judge.bridge.weight.shape[1]
        if wanted.shape != (count, dim):
            raise InputError(f"{count} pictures need vectors ({count}, {dim}), got the shape {tuple(wanted.shape)}.")
        own, judges = self.encoder.embed_by(images, [self.encoder, self.judge.recognizer], aligned)
        similarity, judge_similarity = _cosines(own, wanted), _cosines(judges, self.judge.bridge(wanted))
        return [
            Score(own, judged, judged >= self.judge_threshold, self.threshold, self.judge_threshold)
            for own, judged in zip(similarity, judge_similarity, strict=True)
        ]

    @pinned()
    def compare(self, a: Any, b: Any) -> Comparison:
        """Two photos (what `FaceEncoder.detect_and_align` takes) or identities, in any combination.

        A photo whose face was found already may be given as its `views` by the encoder and the judge.

        Raises:
            InputError: a photo without a face, or an identity from another space.
        """
        people = [side for side in (a, b) if isinstance(side, Identity)]
        for person in people:
            person.require_space(self.encoder.space, self.judge.bridge.weight.shape[1])
        both = self.encoder, self.judge.recognizer
        photos = [side for side in (a, b) if not isinstance(side, Identity)]
        faces = [photo if isinstance(photo, tuple) else self.encoder.views(photo, both) for photo in photos]
        single = len(faces) + sum(person.source == ONE_PHOTO for person in people)
        kind = ("mean-mean", "image-mean", "image-image")[single]
        threshold = self.calibration.threshold(kind, self.fmr)
        vectors = [person.vector for person in people]
        if faces:
            vectors += list(self.encoder.encode([own for own, _ in faces]))
        (cosine,) = _cosines(vectors[0][None], vectors[1][None])
        if not faces:
            return Comparison(kind, cosine, threshold, cosine >= threshold, None, None, self.fmr)
        judged = list(self.judge.encode([theirs for _, theirs in faces]))
        judged += [self.judge.bridge(person.vector) for person in people]
        (judged_as,) = _cosines(judged[0][None], judged[1][None])
        needed = judge_threshold(self.judge, "image-bridge" if people else "image-image", self.fmr)
        return Comparison(kind, cosine, threshold, judged_as >= needed, judged_as, needed, self.fmr)

    def sentence(self, scores: Sequence[Score]) -> str:
        """How many are the wanted person, in plain words."""
        return words.verdicts(sum(score.match for score in scores), len(scores), self.fmr)


def _calibrated(whose: str, calibration: Calibration | None) -> Calibration:
    if calibration is None:
        raise InputError(f"The {whose} has no calibration.json, so its scores have no meaning: calibrate it first.")
    return calibration


def _cosines(a: Tensor, b: Tensor) -> list[float]:
    products = normalize(a.detach().cpu().float()) * normalize(b.detach().cpu().float())
    return products.sum(1).clamp(-1, 1).tolist()  # rounding goes beyond
