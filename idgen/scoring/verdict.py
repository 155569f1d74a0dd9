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

from idgen.ground import arguments, domain, provenance
from idgen.ground.devices import pinned
from idgen.ground.domain import RENDERED
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, Identity
from idgen.ground.images import several
from idgen.scoring.bridge import Bridge
from idgen.scoring.calibration import Calibration, Meaning, calibrations_of, meaning
from idgen.scoring.score import BRIDGE, OWN_PICTURES, OWN_VECTOR, Comparison, Score, compared, verdicts


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


def judge_meaning(judge: JudgeOf, kind: str, fmr: float = arguments.FMR, of: str = "") -> Meaning:
    """What the judge's cosines of a kind of comparison mean, on pictures of a domain.

    Raises:
        InputError: the judge was not measured on that, or not at that false-match rate.
    """
    found = meaning(judge.calibrations, of, kind, fmr)
    if found is None:
        for known in judge.calibrations:
            if of in (known.domain, "") and kind in known.kinds:
                known.threshold(kind, fmr)  # says that the comparisons were too few
        if kind == "image-bridge" and any(one.domain == of and kind not in one.kinds for one in judge.calibrations):
            raise InputError(
                f"On {domain.pictures(of)} the bridge to the judge was too poor to be used, or not measured, when the "
                "judge was added, and a plan keeps pictures by it: plan with --match none and --no-other, or add the "
                "judge again (idgen model add), by more people."
            )
        what = f" on {domain.pictures(of)}" if of else ""
        raise InputError(f"The judge has no calibration{what} for {kind}, so there is no verdict. {domain.advice(of)}")
    if found.fmr != fmr:
        found.calibration.threshold(kind, fmr)  # says which there are
    return found


def judge_threshold(judge: JudgeOf, kind: str, fmr: float = arguments.FMR, of: str = "") -> float:
    """The judge's cosine from which on a comparison of this kind counts as the same person; see `judge_meaning`."""
    return judge_meaning(judge, kind, fmr, of).threshold


@dataclass(frozen=True)
class Way:
    """How pictures of a person are judged: against what, in comparisons of which domain, and what that means."""

    against: str
    of: str
    meaning: Meaning | None

    def vector(self, person: Identity, judge: JudgeOf) -> Tensor:
        """(Dj,) what the judge compares with."""
        return judge.bridge(person.vector) if self.against == BRIDGE else person.also[judge.space]

    def score(self, cosine: float, judged: float, own: Meaning | None) -> Score:
        """A picture's, with the two cosines, and what the encoder's means."""
        at, known = None if own is None else own.threshold, self.meaning
        if known is None:
            return Score(cosine, judged, None, at, None, None, None, self.of, self.against)
        how = known.calibration.domain, known.fmr, self.of, self.against
        return Score(cosine, judged, judged >= known.threshold, at, known.threshold, *how)


@dataclass(frozen=True)
class _By:
    """Who compares two sides, what the cosine means, and what it has of a person who is one of them."""

    recogniser: Any
    name: str
    meaning: Meaning | None
    bridge: Bridge | None = None

    def of_person(self, person: Identity) -> Tensor:
        """(D,) by the bridge, or its own vector."""
        return person.also[self.recogniser.space] if self.bridge is None else self.bridge(person.vector)

    @property
    def second(self) -> bool:
        """Whether it is the judge, whose view of a face is the second."""
        return self.name == "judge"


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
        return self.way(person, of).meaning

    def way(self, person: Identity | str = "", of: str | None = None) -> Way:
        """How pictures of a person are judged; arguments as those of `meaning`."""
        return self._way_of(person, self.compared(person, of))

    def wants_own_pictures(self, person: Identity) -> bool:
        """Whether pictures of a sampled person can only be judged by the model's own pictures, which nobody has looked
        at yet: see `idgen.scoring.score.AGAINST`."""
        if person.from_photo or self.judge.space in person.also or self.meaning(person) is not None:
            return False
        return meaning(self.judge.calibrations, self.compared(person), "image-mean", self.fmr) is not None

    def _way_of(self, person: Identity | str, of: str) -> Way:
        """How pictures of a person, or of one of whom only the domain is known, are judged: the first way of those that
        were measured on such comparisons. Like with like goes first: of people from photos the judge's own vector of
        these, of sampled people the bridge."""
        ways = [(BRIDGE, "image-bridge")]
        if isinstance(person, Identity) and self.judge.space in person.also:
            if person.from_photo:
                ways.insert(0, (OWN_VECTOR, "image-image" if person.from_one else "image-mean"))
            else:
                ways.append((OWN_PICTURES, "image-mean"))
        known = [Way(name, of, meaning(self.judge.calibrations, of, kind, self.fmr)) for name, kind in ways]
        return next((way for way in known if way.meaning is not None), known[0])

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
        wanted, people = self._wanted(vectors, count)
        own, judges = self.encoder.embed_by(images, [self.encoder, self.judge.recognizer], aligned)
        of = None if of is None else domain.check(of)
        ways = [self._way_of(person, self.compared(person) if of is None else of) for person in people]
        expected = self.judge.bridge(wanted)
        for row, (person, way) in enumerate(zip(people, ways, strict=True)):
            if isinstance(person, Identity) and way.against != BRIDGE:
                expected[row] = way.vector(person, self.judge)
        # A threshold from means errs on the safe side for a vector from one photo: fewer false matches, not more.
        owns = {way.of: meaning(self.calibrations, way.of, "image-mean", self.fmr) for way in ways}
        scores = zip(_cosines(own, wanted), _cosines(judges, expected), ways, strict=True)
        return [way.score(cosine, judged, owns[way.of]) for cosine, judged, way in scores]

    def _wanted(
        self, vectors: Tensor | Identity | Identities | Sequence[Identity], count: int
    ) -> tuple[Tensor, list[Identity | str]]:
        """(N, D) for N pictures, and who each is of, or only the domain that their vector is of."""
        people: list[Identity | str] = [domain.PHOTOGRAPHS]
        if isinstance(vectors, Tensor):
            wanted = vectors.detach().cpu().float()
            wanted = wanted[None] if wanted.ndim == 1 else wanted
            people = people * max(1, len(wanted))
        else:
            known = [vectors] if isinstance(vectors, Identity) else list(vectors)
            for person in known:
                person.require_space(self.encoder.space)
            wanted, people = torch.stack([person.vector for person in known]), [*known]
        if wanted.ndim == 2 and len(wanted) == 1:
            wanted, people = wanted.expand(count, -1), [people[0]] * count
        dim = self.judge.bridge.weight.shape[1]
        if wanted.shape != (count, dim):
            raise InputError(f"{count} pictures need vectors ({count}, {dim}), got the shape {tuple(wanted.shape)}.")
        return wanted, people

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
        single = len(photos) + sum(person.from_one for person in sides)
        kind = ("mean-mean", "image-mean", "image-image")[single]
        by = self._by(sides, kind, of, bool(photos))
        viewers = self.encoder, self.judge.recognizer, *([] if by is None or by.second else [by.recogniser])
        faces = [photo if isinstance(photo, tuple) else self.encoder.views(photo, viewers) for photo in photos]
        if by is not None and not by.second and any(len(each) < 3 for each in faces):
            by = self._by(sides, kind, of, bool(photos), witnesses=False)
        vectors = [person.vector for person in sides]
        if faces:
            vectors += list(self.encoder.encode([each[0] for each in faces]))
        (cosine,) = _cosines(vectors[0][None], vectors[1][None])
        own = meaning(self.calibrations, of, kind, self.fmr)
        at = None if own is None else own.threshold
        if by is None or (by.meaning is None and not faces):
            return compared(kind, cosine, at, None, own, of, self.fmr, "encoder")
        judged = [by.of_person(person) for person in sides]
        if faces:
            judged += list(by.recogniser.encode([each[1 if by.second else 2] for each in faces]))
        (seen,) = _cosines(judged[0][None], judged[1][None])
        return compared(kind, cosine, at, seen, by.meaning, of, self.fmr, by.name)

    def _by(self, sides: Sequence[Identity], kind: str, of: str, photos: bool, witnesses: bool = True) -> _By | None:
        """Who compares: the first who was measured on such pictures, and sees all of the sides. The judge and then
        others by their own vectors of people; or, beside a photo, the judge by the bridge."""
        judge, ways = self.judge, []
        for who in (judge.recognizer, *(self.witnesses if witnesses else ())):
            if all(who.space in person.also for person in sides):
                known = judge.calibrations if who is judge.recognizer else calibrations_of(who)
                name = "judge" if who is judge.recognizer else who.space
                ways.append(_By(who, name, meaning(known, of, kind, self.fmr)))
        if sides and photos:
            bridged = meaning(judge.calibrations, of, "image-bridge", self.fmr)
            ways.append(_By(judge.recognizer, "judge", bridged, judge.bridge))
        return next((way for way in ways if way.meaning is not None), ways[0] if ways else None)

    def witness(self, of: str, kind: str = "image-image") -> tuple[Recogniser | None, Meaning | None]:
        """Who else was measured on comparisons of a domain, and what the cosines mean."""
        for witness in self.witnesses:
            if (knows := meaning(calibrations_of(witness), of, kind, self.fmr)) is not None:
                return witness, knows
        return None, None

    def sentence(self, scores: Sequence[Score]) -> str:
        """How many are the wanted person, in plain words; or that nothing says so, and how to get a verdict."""
        lines = [(one.match, one.judge_similarity, one.domain, one.fmr, one.of, one.against) for one in scores]
        return verdicts(lines, self.fmr)


def _cosines(a: Tensor, b: Tensor) -> list[float]:
    cosines = (normalize(a.detach().cpu().float()) * normalize(b.detach().cpu().float())).sum(1)
    return cosines.clamp(-1, 1).tolist()  # the cosine of a vector to itself is at most 1; NaN stays
