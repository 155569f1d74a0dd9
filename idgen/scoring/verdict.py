"""Is it the same person? Cosines with their meaning, by a judge that did not make the vector.

Two recognisers take part. The *encoder* makes the vectors that condition a picture. The *judge*, another network,
trained on its own, gives the verdict. What a picture of an encoder's vector should look like to the judge is predicted
by a `Bridge`, and how well that tells people apart is measured like everything else, on people nobody trained on.

A verdict is given only on pictures of a kind (a domain) that a calibration was measured on; on others there are the
similarities, what they are of, and how to get a verdict. The threshold of every verdict is decided here: by the domain,
the kind of comparison and the false-match rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from idgen.ground import arguments, domain, provenance, words
from idgen.ground.devices import pinned
from idgen.ground.domain import RENDERED
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, Identity
from idgen.ground.images import several
from idgen.scoring.bridge import Bridge
from idgen.scoring.calibration import Calibration, Meaning, calibrations_of, meaning


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
    calibrations: list[Calibration]

    def encode(self, images: Any) -> Tensor: ...


@dataclass(frozen=True)
class Score:
    """One picture against the identity it was made for.

    Args:
        similarity: the encoder's cosine to the wanted vector; NaN where no face is found.
        judge_similarity: the judge's cosine to the bridged vector; NaN where no face is found.
        match: the judge's verdict: `judge_similarity` reaches `judge_threshold`; None where none is measured.
        threshold, judge_threshold: the two cosines that count as the same person, or None.
        domain: of the judge's calibration that gave the verdict, or None.
        fmr: the false-match rate of the verdict, or None.
        of: the domain of what was compared.
    """

    similarity: float
    judge_similarity: float
    match: bool | None
    threshold: float | None
    judge_threshold: float | None
    domain: str | None = RENDERED
    fmr: float | None = arguments.FMR
    of: str = RENDERED


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
        if cosine is None:
            cosine, threshold = self.cosine, self.threshold
        if threshold is None or self.domain is None:
            return (
                f"No verdict: {cosine:.2f} is the similarity by the {self.by}, which was not measured on "
                f"{domain.pictures(self.of)}. {domain.advice(self.of)}"
            )
        strict = "" if self.asked in (None, self.fmr) else f" (too few comparisons were measured for {self.asked:g})"
        return (
            f"{self.verdict.capitalize()}, says the {self.by}: {cosine:.2f}, where {threshold:.2f} or more counts as "
            f"the same person and {words.one_in(self.fmr)} comparisons of different people gets there by chance, "
            f"measured on {domain.pictures(self.domain)}{strict}."
        )


def judge_meaning(judge: JudgeOf, kind: str, fmr: float = arguments.FMR, of: str = "") -> Meaning:
    """What the judge's cosines of a kind of comparison mean, on pictures of a domain.

    Raises:
        InputError: the judge was not measured on that, or not at that false-match rate.
    """
    found = meaning(judge.calibrations, of, kind, fmr)
    if found is None:
        what = f" on {domain.pictures(of)}" if of else ""
        raise InputError(f"The judge has no calibration{what} for {kind}, so there is no verdict. {domain.advice(of)}")
    if found.fmr != fmr:
        found.calibration.threshold(kind, fmr)  # says which there are
    return found


def judge_threshold(judge: JudgeOf, kind: str, fmr: float = arguments.FMR, of: str = "") -> float:
    """The judge's cosine from which on a comparison of this kind counts as the same person; see `judge_meaning`."""
    return judge_meaning(judge, kind, fmr, of).threshold


class Scorer:
    """Scores pictures against identities, by the encoder and by an independent judge.

    Args:
        encoder: what made the identities' vectors.
        judge: a recogniser of another space.
        fmr: false-match rate of the verdicts: 0.01, 0.001 or 0.0001; where too few comparisons were measured for it,
            the strictest one that they carry.
        paints: the domain of the pictures of the model that these two belong to; name: the model's.
        witnesses: further recognisers, for pairs of pictures that the judge was not measured on.

    Raises:
        InputError: the judge is the encoder, is for another encoder, or a calibration is of another space.
    """

    def __init__(
        self,
        encoder: Recogniser,
        judge: JudgeOf,
        fmr: float = arguments.FMR,
        *,
        paints: str = RENDERED,
        name: str = "",
        witnesses: Sequence[Recogniser] = (),
    ):
        if judge.space == encoder.space:
            raise InputError(f"The judge and the encoder are both {encoder.space!r}: an encoder may not judge itself.")
        if judge.bridge.source != encoder.space:
            known = judge.bridge.source
            raise InputError(f"The judge knows the space {known!r}, but the encoder's is {encoder.space!r}.")
        self.encoder, self.judge, self.fmr = encoder, judge, arguments.fmr(fmr)
        self.paints, self.name, self.witnesses = paints, name, witnesses
        self.calibrations = calibrations_of(encoder)
        for one in self.calibrations:
            if one.space != encoder.space:
                raise InputError(f"The calibration is of the space {one.space!r}, not of {encoder.space!r}.")

    def meaning(self, person: Identity | str = "", of: str | None = None) -> Meaning | None:
        """What the judge's scores of pictures of a person mean; None where nothing was measured.

        Args:
            person: who is wanted, or the domain of the pictures their vector is of.
            of: the domain of the pictures; by default of those that the model paints.
        """
        return meaning(self.judge.calibrations, self.compared(person, of), "image-bridge", self.fmr)

    def compared(self, person: Identity | str = "", of: str | None = None) -> str:
        """The domain of comparisons of pictures with a person; arguments as those of `meaning`."""
        theirs = person if isinstance(person, str) else person.domain
        return domain.against(self._known(one) for one in (self.paints if of is None else of, theirs) if one)

    def _known(self, of: str) -> str:
        """A domain, with this model's own pictures as what they are like."""
        return self.paints if of == domain.generated_by(self.name) else of

    @pinned()
    def score(
        self,
        images: Any,
        vectors: Tensor | Identity | Identities | Sequence[Identity],
        aligned: bool = True,
        of: str | None = None,
    ) -> list[Score]:
        """Pictures against the people they were made for.

        Args:
            images: N PIL images, one alone, or (N, 3, H, W) in [0, 1].
            vectors: identities, one a picture, or one for all of them; or bare vectors (N, D) or (D,) in the encoder's
                space, which count as a photo's.
            aligned: they are face crops as the encoder aligns them; else, or where the judge was made for another
                alignment, the face is found first.
            of: the domain of all that is compared; by default what the model paints, and what the people's vectors are
                of.

        Raises:
            InputError: no pictures, another number of vectors than pictures, or an identity from another space.
        """
        images = several(images)
        count = len(images)
        if not count:
            raise InputError("There are no pictures to score: give at least one.")
        wanted, theirs = self._wanted(vectors, count)
        own, judges = self.encoder.embed_by(images, [self.encoder, self.judge.recognizer], aligned)
        similarity, judge_similarity = _cosines(own, wanted), _cosines(judges, self.judge.bridge(wanted))
        kinds = [self.compared(person) if of is None else domain.check(of) for person in theirs]
        means = {kind: meaning(self.judge.calibrations, kind, "image-bridge", self.fmr) for kind in set(kinds)}
        # A threshold from means errs on the safe side for a vector from one photo: fewer false matches, not more.
        owns = {kind: meaning(self.calibrations, kind, "image-mean", self.fmr) for kind in set(kinds)}
        out = []
        for cosine, judged, kind in zip(similarity, judge_similarity, kinds, strict=True):
            known, own_known = means[kind], owns[kind]
            at = None if own_known is None else own_known.threshold
            if known is None:
                out.append(Score(cosine, judged, None, at, None, None, None, kind))
            else:
                match = judged >= known.threshold
                how = known.calibration.domain, known.fmr, kind
                out.append(Score(cosine, judged, match, at, known.threshold, *how))
        return out

    def _wanted(
        self, vectors: Tensor | Identity | Identities | Sequence[Identity], count: int
    ) -> tuple[Tensor, list[str]]:
        """(N, D) for N pictures, and the domain that each is of."""
        if isinstance(vectors, Tensor):
            wanted, theirs = vectors.detach().cpu().float(), [domain.PHOTOGRAPHS]
            wanted = wanted[None] if wanted.ndim == 1 else wanted
        else:
            people = [vectors] if isinstance(vectors, Identity) else list(vectors)
            for person in people:
                person.require_space(self.encoder.space)
            wanted, theirs = torch.stack([person.vector for person in people]), [person.domain for person in people]
        if wanted.ndim == 2 and len(wanted) == 1:
            wanted = wanted.expand(count, -1)
        dim = self.judge.bridge.weight.shape[1]
        if wanted.shape != (count, dim):
            raise InputError(f"{count} pictures need vectors ({count}, {dim}), got the shape {tuple(wanted.shape)}.")
        return wanted, theirs * count if len(theirs) == 1 else theirs

    @pinned()
    def compare(self, a: Any, b: Any, of: str | None = None) -> Comparison:
        """Two photos (what `FaceEncoder.detect_and_align` takes) or identities, in any combination.

        A photo whose face was found already may be given as its `views` by the encoder, the judge and, where there is
        one for such pictures, the `witness`.
        What kind of picture one is, is known by the mark in its file or bytes (`idgen.ground.provenance.domain_of`),
        and an identity says what its vector is of; `of` says it for both.

        Raises:
            InputError: a photo without a face, an identity from another space, or no such domain.
        """
        sides = [side for side in (a, b) if isinstance(side, Identity)]
        for person in sides:
            person.require_space(self.encoder.space, self.judge.bridge.weight.shape[1])
        photos = [side for side in (a, b) if not isinstance(side, Identity)]
        if of is None:
            domains = [provenance.domain_of(photo) for photo in photos] + [person.domain for person in sides]
            of = domain.against(self._known(one) for one in domains if one)
        else:
            of = domain.check(of) if of else of
        known = meaning(self.judge.calibrations, of, "image-bridge" if sides else "image-image", self.fmr)
        witness, knows = (None, None) if sides or known is not None else self.witness(of)
        viewers = self.encoder, self.judge.recognizer, *([] if witness is None else [witness])
        faces = [photo if isinstance(photo, tuple) else self.encoder.views(photo, viewers) for photo in photos]
        single = len(faces) + sum(person.from_one for person in sides)
        kind = ("mean-mean", "image-mean", "image-image")[single]
        vectors = [person.vector for person in sides]
        if faces:
            vectors += list(self.encoder.encode([each[0] for each in faces]))
        (cosine,) = _cosines(vectors[0][None], vectors[1][None])
        own = meaning(self.calibrations, of, kind, self.fmr)
        at = None if own is None else own.threshold
        if not faces:
            return _compared(kind, cosine, at, None, own, of, self.fmr, "encoder")
        judged = list(self.judge.encode([each[1] for each in faces]))
        judged += [self.judge.bridge(person.vector) for person in sides]
        by = "judge"
        if witness is not None and all(len(each) > 2 for each in faces):
            known, by = knows, witness.space
            judged = list(witness.encode([each[2] for each in faces]))
        (seen,) = _cosines(judged[0][None], judged[1][None])
        return _compared(kind, cosine, at, seen, known, of, self.fmr, by)

    def witness(self, of: str) -> tuple[Recogniser | None, Meaning | None]:
        """Who else was measured on pairs of pictures of a domain, and what the cosines mean."""
        for witness in self.witnesses:
            if (knows := meaning(calibrations_of(witness), of, "image-image", self.fmr)) is not None:
                return witness, knows
        return None, None

    def sentence(self, scores: Sequence[Score]) -> str:
        """How many are the wanted person, in plain words; or that nothing says so, and how to get a verdict."""
        lines = [(one.match, one.judge_similarity, one.domain, one.fmr, one.of) for one in scores]
        return verdicts(lines, self.fmr)


def verdicts(scores: Sequence[tuple[Any, ...]], asked: float) -> str:
    """How many pictures are the wanted person, says the judge, in plain words; where no calibration applies: how
    similar they are, and how to get a verdict.

    Args:
        scores: `match`, `judge_similarity`, `domain`, `fmr` and `of` of each, see `Score`.
        asked: the false-match rate asked for.
    """
    judged = [one for one in scores if one[2] is not None]
    said = []
    if judged:
        matches, rates = sum(bool(one[0]) for one in judged), {float(one[3] or asked) for one in judged}
        said.append(words.verdicts(matches, len(judged), max(rates), sorted({str(one[2]) for one in judged})))
        if max(rates) != asked:
            said.append(f"Too few comparisons were measured for {words.one_in(asked)}.")
    if without := [one for one in scores if one[2] is None]:
        seen = [float(one[1]) for one in without if one[1] is not None and one[1] == one[1]]
        mean = f": their mean similarity by the judge is {sum(seen) / len(seen):.2f}" if seen else ""
        of = sorted({one[4] for one in without})
        kinds = " and ".join(map(domain.pictures, of))
        some = f"{len(without)} of {len(scores)}" if judged else words.count(len(without), "picture", "pictures")
        said.append(f"No verdict on {some}{mean}, which was not measured on {kinds}. {domain.advice(of[-1])}")
    return " ".join(said)


def _compared(
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


def _cosines(a: Tensor, b: Tensor) -> list[float]:
    cosines = (normalize(a.detach().cpu().float()) * normalize(b.detach().cpu().float())).sum(1)
    return cosines.clamp(-1, 1).tolist()  # the cosine of a vector to itself is at most 1; NaN stays
