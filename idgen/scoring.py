"""Is it the same person? Cosines with their meaning: calibrated error rates, and a judge that did not make the vector.

Two recognisers take part. The *encoder* makes the vectors that condition a picture. The *judge*, another network,
trained on its own, gives the verdict. What a picture of an encoder's vector should look like to the judge is predicted
by a `Bridge`, and how well that tells people apart is measured like everything else, on people nobody trained on.

Kinds of comparison:

- `image-image`: one picture against another;
- `image-mean`: a picture against the normalised mean of a person's other pictures;
- `mean-mean`: the mean of one half of a person's pictures against the mean of the other half (two identities);
- `image-bridge`: the judge's vector of a picture against the bridged encoder mean of the person's other pictures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

from idgen.errors import InputError
from idgen.evaluation import verification
from idgen.identity import ONE_PHOTO, Identities, Identity, centres

if TYPE_CHECKING:
    from idgen.faces.encoder import FaceEncoder

FMRS = (1e-2, 1e-3, 1e-4)
BINS = 201
EDGES: NDArray[np.float64] = np.linspace(-1, 1, BINS + 1)
"""Edges of the histograms' bins; the middle bin is centred on 0."""

UNCALIBRATED = (
    "what they mean was not measured here for this embedding space: take a threshold from the literature on its "
    "recogniser, or measure one on pictures of people it never saw."
)
"""What a cosine says without a calibration."""

_FORMAT, _VERSION = "idgen.calibration", 1
_FEWEST_FALSE_MATCHES = 10  # a threshold that rests on fewer is chance
_SCORES = NDArray[np.floating]


def one_in(rate: float) -> str:
    """A rate in words: 0.001 is "1 in 1,000"."""
    return f"1 in {round(1 / rate):,}"


# ---------------------------------------------------------------- calibration


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
    """

    thresholds: dict[str, float | None]
    tar: dict[str, float | None]
    eer: float
    genuine_pairs: int
    impostor_pairs: int
    genuine: list[int]
    impostor: list[int]

    @classmethod
    def measure(cls, genuine: ArrayLike, impostor: ArrayLike) -> ErrorRates:
        """From the cosines of comparisons of the same person and of different people."""
        same, other = np.asarray(genuine).ravel(), np.asarray(impostor).ravel()
        if not same.size or not other.size:
            raise InputError("Error rates need people with several pictures and more than one person: give more faces.")
        thresholds: dict[str, float | None] = {}
        tar: dict[str, float | None] = {}
        for rate in FMRS:
            known = other.size * rate >= _FEWEST_FALSE_MATCHES
            threshold = verification.threshold_at_fmr(other, rate) if known else None
            thresholds[f"{rate:g}"] = threshold
            tar[f"{rate:g}"] = None if threshold is None else 1 - float(verification.fnmr(same, threshold))
        return cls(
            thresholds,
            tar,
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
    """

    space: str
    people: int
    images: int
    data: str
    kinds: dict[str, ErrorRates] = field(default_factory=dict)

    @classmethod
    def measure(cls, space: str, embeddings: Tensor, labels: ArrayLike, data: str) -> Calibration:
        """Measure `image-image`, `image-mean` and `mean-mean`.

        Args:
            space: name of the embedding space.
            embeddings: (N, D), normalised here.
            labels: (N,) whose equality means the same person; at least two people with two pictures.
            data: where the pictures come from, in words.
        """
        vectors, people = _vectors_and_people(embeddings, labels)
        kinds = {
            "image-image": ErrorRates.measure(*verification.pair_scores(vectors, people)),
            "image-mean": ErrorRates.measure(*_image_mean_scores(vectors, vectors, people, _unit)),
            "mean-mean": ErrorRates.measure(*_mean_mean_scores(vectors, people)),
        }
        return cls(space, int(people.max()) + 1, len(people), data, kinds)

    def measure_bridge(
        self, bridge: Bridge, encoder_embeddings: Tensor, judge_embeddings: Tensor, labels: ArrayLike
    ) -> Calibration:
        """This calibration (the judge's) with `image-bridge` added, measured on the same pictures.

        Args:
            bridge: from the encoder's space to this one.
            encoder_embeddings: (N, De), normalised here.
            judge_embeddings: (N, Dj), normalised here.
            labels: (N,) whose equality means the same person.
        """
        if bridge.target != self.space:
            raise InputError(f"The bridge leads to the space {bridge.target!r}, but this one is {self.space!r}.")
        vectors, people = _vectors_and_people(encoder_embeddings, labels)
        probes, _ = _vectors_and_people(judge_embeddings, labels)

        def reference(sums: _SCORES) -> _SCORES:
            return bridge(torch.from_numpy(_unit(sums))).numpy()

        rates = ErrorRates.measure(*_image_mean_scores(probes, vectors, people, reference))
        return replace(self, kinds={**self.kinds, "image-bridge": rates})

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
        key = f"{fmr:g}"
        if key not in rates.thresholds:
            raise InputError(f"There is no threshold for a false-match rate of {fmr:g}: choose {_listed(rates)}.")
        threshold = rates.thresholds[key]
        if threshold is None:
            raise InputError(
                f"{rates.impostor_pairs:,} comparisons of different people are too few to know a threshold for a "
                f"false-match rate of {fmr:g}: choose {_listed(rates)}, or calibrate on more people."
            )
        return threshold

    def fmr_at(self, score: float, kind: str) -> float:
        """Share of the comparisons of different people that score at least `score` (linear within a histogram bin)."""
        return 1 - _share_below(self.rates(kind).impostor, score)

    def fnmr_at(self, score: float, kind: str) -> float:
        """Share of the comparisons of the same person that score below `score` (linear within a histogram bin)."""
        return _share_below(self.rates(kind).genuine, score)

    def percentile(self, q: float, kind: str, genuine: bool = True) -> float:
        """The cosine below which q % of the comparisons of the same person (or of different people) lie."""
        if not 0 <= q <= 100:
            raise InputError(f"A percentile lies between 0 and 100, got {q}.")
        rates = self.rates(kind)
        counts = np.array(rates.genuine if genuine else rates.impostor, float)
        cumulative = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
        bin_ = int(np.clip(np.searchsorted(cumulative, q / 100, side="left") - 1, 0, BINS - 1))
        while counts[bin_] == 0:  # q = 0: the first bin that holds anything
            bin_ += 1
        inside = (q / 100 - cumulative[bin_]) / (cumulative[bin_ + 1] - cumulative[bin_])
        return float(EDGES[bin_] + inside * (EDGES[bin_ + 1] - EDGES[bin_]))

    def densities(self, kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """For drawing: the bins' edges (202,) and the densities (201,) of the same person and of different people."""
        rates = self.rates(kind)
        genuine, impostor = (
            np.array(counts, float) / sum(counts) / np.diff(EDGES) for counts in (rates.genuine, rates.impostor)
        )
        return EDGES.copy(), genuine, impostor

    def meaning(self, score: float, kind: str) -> str:
        """One score in plain words."""
        rates = self.rates(kind)
        false_match = self.fmr_at(score, kind)
        if false_match * rates.impostor_pairs < 1:
            strangers = f"none of {rates.impostor_pairs:,} comparisons of different people scored so high"
        elif false_match >= 0.1:
            strangers = f"{false_match:.0%} of the comparisons of different people score at least as high"
        else:
            strangers = f"{one_in(false_match)} comparisons of different people scores at least as high"
        return f"{score:.2f}: {strangers}, and {self.fnmr_at(score, kind):.0%} of those of one person score lower."

    def explanation(self, kind: str, fmr: float) -> str:
        """What the scores of a kind mean, in plain words, for who has never seen one."""
        low, middle, high = (self.percentile(q, kind) for q in (5, 50, 95))
        return (
            f"Pictures of one and the same person do not score 1: they score about {middle:.2f} (nine in ten lie "
            f"between {low:.2f} and {high:.2f}). A score of {self.threshold(kind, fmr):.2f} or more counts as the same "
            f"person; {one_in(fmr)} comparisons of different people gets there by chance. {self.scope}"
        )

    @property
    def scope(self) -> str:
        """On what the thresholds were measured, and so how far they reach, in a sentence."""
        return (
            f"Thresholds measured on {self.people:,} people that the recogniser had never seen ({self.data}); on faces "
            "of another kind they mean less."
        )

    def to_dict(self) -> dict[str, Any]:
        """What `calibration.json` holds, and `FaceEncoder.calibration`."""
        return {"format": _FORMAT, "version": _VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Calibration:
        """From what `to_dict` gave; InputError when it is something else."""
        try:
            content = dict(content)
            if (content.pop("format"), content.pop("version")) != (_FORMAT, _VERSION):
                raise ValueError("another format or version")
            kinds = {kind: ErrorRates(**rates) for kind, rates in content.pop("kinds").items()}
            if any(len(counts) != BINS for rates in kinds.values() for counts in (rates.genuine, rates.impostor)):
                raise ValueError(f"a histogram has not {BINS} bins")
            return cls(**content, kinds=kinds)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"This is no calibration that idgen can read ({error!r}): calibrate again.") from error

    def save(self, path: str | Path) -> None:
        """Write JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what `save` wrote; InputError when it cannot be read."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:  # InputError is a ValueError
            raise InputError(f"There is no readable calibration in {path}: {error}") from error


def _listed(rates: ErrorRates) -> str:
    return " or ".join(rate for rate, threshold in rates.thresholds.items() if threshold is not None) or "none"


def _share_below(counts: list[int], score: float) -> float:
    cumulative = np.concatenate([[0.0], np.cumsum(counts) / sum(counts)])
    return float(np.interp(score, EDGES, cumulative))


def _unit(vectors: _SCORES) -> _SCORES:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _vectors_and_people(embeddings: Tensor, labels: ArrayLike) -> tuple[_SCORES, NDArray[np.intp]]:
    """Unit vectors (N, D) and people numbered from 0 (N,)."""
    people = np.unique(np.asarray(labels), return_inverse=True)[1]
    if embeddings.ndim != 2 or people.shape != (len(embeddings),):
        raise InputError(
            f"Embeddings (N, D) need N labels, got the shapes {tuple(embeddings.shape)} and {people.shape}."
        )
    if not embeddings.isfinite().all():
        raise InputError("The embeddings hold NaN or infinity: the recogniser or a picture is broken.")
    return _unit(embeddings.detach().float().cpu().numpy()), people


def _sums(vectors: _SCORES, people: NDArray[np.intp]) -> _SCORES:
    sums = np.zeros((int(people.max()) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, people, vectors)
    return sums


def _image_mean_scores(
    probes: _SCORES, vectors: _SCORES, people: NDArray[np.intp], reference: Any
) -> tuple[_SCORES, _SCORES]:
    """Probe i against reference(sum of its person's other vectors), and against reference(sum) of all other people."""
    sums = _sums(vectors, people)
    several = np.bincount(people)[people] > 1
    genuine = (probes[several] * reference(sums[people[several]] - vectors[several])).sum(1)
    references = reference(sums)
    impostor = []
    for start in range(0, len(probes), 1024):  # blocks keep memory flat
        block = slice(start, start + 1024)
        other = people[block, None] != np.arange(len(references))
        impostor.append((probes[block] @ references.T)[other])
    return genuine, np.concatenate(impostor)


def _mean_mean_scores(vectors: _SCORES, people: NDArray[np.intp]) -> tuple[_SCORES, _SCORES]:
    """The mean of every second picture of a person against the mean of the others, own and other people's."""
    turn = np.zeros(len(people), np.intp)  # which of its person's pictures each one is
    order = np.argsort(people, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(people))[:-1]])
    turn[order] = np.arange(len(people)) - starts[people[order]]
    second = (turn % 2).astype(bool)
    several = np.bincount(people) > 1
    halves = _sums(vectors * second[:, None], people), _sums(vectors * ~second[:, None], people)
    scores = _unit(halves[0][several]) @ _unit(halves[1][several]).T
    same = np.eye(len(scores), dtype=bool)
    return scores[same], scores[~same]


# ---------------------------------------------------------------- the judge


class Bridge:
    """A linear map from the encoder's vectors to the judge's: normalise(W x + b).

    Args:
        weight: W (Dj, De).
        bias: b (Dj,).
        source, target: names of the encoder's and of the judge's embedding space.
    """

    def __init__(self, weight: Tensor, bias: Tensor, source: str, target: str):
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise InputError(f"A bridge has a weight (Dj, De) and a bias (Dj,), got {weight.shape} and {bias.shape}.")
        # Rounded to half precision, as it is saved: what is saved is what is used.
        self.weight, self.bias = weight.detach().cpu().half().float(), bias.detach().cpu().half().float()
        self.source, self.target = source, target

    @classmethod
    def fit(
        cls, encoder_vectors: Tensor, judge_vectors: Tensor, source: str, target: str, ridge: float | None = None
    ) -> Bridge:
        """Ridge regression between people's centres (see `idgen.identity.centres`), with an intercept.

        Args:
            encoder_vectors: (P, De), one a person; normalised here.
            judge_vectors: (P, Dj), the same people; normalised here.
            source, target: names of the two spaces.
            ridge: penalty in units of the mean variance of the encoder's vectors times P; by default that with the
                least leave-one-out error (the PRESS statistic, Allen 1974).
        """
        if (
            encoder_vectors.ndim != 2
            or judge_vectors.ndim != 2
            or len(encoder_vectors) != len(judge_vectors)
            or (len(encoder_vectors) < 3)
        ):
            shapes = f"{tuple(encoder_vectors.shape)} and {tuple(judge_vectors.shape)}"
            raise InputError(f"A bridge is fitted on (P, De) and (P, Dj) vectors of at least 3 people, got {shapes}.")
        x, y = (normalize(vectors.detach().cpu().double()) for vectors in (encoder_vectors, judge_vectors))
        if not (x.isfinite().all() and y.isfinite().all()):
            raise InputError("The vectors to fit a bridge on hold NaN or infinity.")
        x_mean, y_mean = x.mean(0), y.mean(0)
        x, y = x - x_mean, y - y_mean
        variances, axes = torch.linalg.eigh(x.T @ x)
        variances = variances.clamp_min(0)
        rotated = x @ axes
        products = rotated.T @ y

        def solve(penalty: float) -> tuple[Tensor, float]:
            inverse = 1 / (variances + penalty * variances.mean())
            weights = inverse[:, None] * products
            leverage = (rotated**2 @ inverse + 1 / len(x)).clamp_max(1 - 1e-9)
            press = ((y - rotated @ weights) / (1 - leverage)[:, None]).square().sum()
            return weights, float(press)

        if ridge is None:
            weights, _ = min((solve(10.0 ** (step / 2)) for step in range(-8, 7)), key=lambda fit: fit[1])
        elif ridge > 0:
            weights, _ = solve(ridge)
        else:
            raise InputError(f"The ridge penalty is above 0, got {ridge}.")
        weight = (axes @ weights).T
        return cls(weight, y_mean - weight @ x_mean, source, target)

    def __call__(self, vectors: Tensor) -> Tensor:
        """The judge's unit vectors (N, Dj), or (Dj,), to expect of the encoder's vectors (N, De), or (De,)."""
        if vectors.shape[-1] != self.weight.shape[1]:
            raise InputError(
                f"The bridge takes vectors of {self.weight.shape[1]} numbers, got the shape {tuple(vectors.shape)}."
            )
        return normalize(vectors.detach().cpu().float() @ self.weight.T + self.bias, dim=-1)

    def save(self, path: str | Path) -> None:
        """Write safetensors: `weight`, `bias`, in half precision; metadata `from` and `to`."""
        tensors = {"weight": self.weight.half().contiguous(), "bias": self.bias.half().contiguous()}
        save_file(tensors, path, {"format": "pt", "from": self.source, "to": self.target})

    @classmethod
    def load(cls, path: str | Path) -> Bridge:
        """Read what `save` wrote; InputError when it cannot be read."""
        try:
            with safe_open(path, "pt") as file:
                metadata, names = file.metadata() or {}, sorted(file.keys())
                if names != ["bias", "weight"]:
                    raise ValueError(f"it has the tensors {names}, not bias and weight")
                tensors = {name: file.get_tensor(name) for name in names}
            return cls(tensors["weight"], tensors["bias"], metadata["from"], metadata["to"])
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise InputError(f"There is no readable bridge in {path} ({error!r}).") from error


class Judge:
    """The second recogniser, with the bridge from the encoder's space and its own calibration.

    A folder holds a `FaceEncoder` (without a finder) and `bridge.safetensors`.

    Args:
        recognizer: embeds aligned faces.
        bridge: from the encoder's space to the recogniser's.
        calibration: of the recogniser's space, with `image-bridge`; by default the recogniser's own. Without one the
            judge can embed but not score.
    """

    def __init__(self, recognizer: FaceEncoder, bridge: Bridge, calibration: Calibration | None = None):
        self.recognizer, self.bridge, self.space = recognizer, bridge, recognizer.space
        self.calibration = _calibration_of(recognizer) if calibration is None else calibration
        if bridge.target != self.space:
            raise InputError(f"The bridge leads to the space {bridge.target!r}, but the judge's is {self.space!r}.")
        if self.calibration is not None and self.calibration.space != self.space:
            raise InputError(
                f"The calibration is of the space {self.calibration.space!r}, but the judge's is {self.space!r}."
            )

    def encode(self, images: Any) -> Tensor:
        """Aligned faces, (N, 3, H, H) in [0, 1] or N PIL images, to (N, Dj) unit vectors."""
        return self.recognizer.encode(images)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Judge:
        """Read a judge's folder."""
        from idgen.faces.encoder import FaceEncoder

        return cls(FaceEncoder.from_pretrained(folder), Bridge.load(Path(folder) / "bridge.safetensors"))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that `from_pretrained` reads."""
        self.recognizer.save_pretrained(folder)
        self.bridge.save(Path(folder) / "bridge.safetensors")
        if self.calibration is not None:
            self.calibration.save(Path(folder) / "calibration.json")


def _calibration_of(encoder: FaceEncoder) -> Calibration | None:
    return None if encoder.calibration is None else Calibration.from_dict(encoder.calibration)


# ---------------------------------------------------------------- scores


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
            f"same person and {one_in(self.fmr)} comparisons of different people gets there by chance."
        )


class Scorer:
    """Scores pictures against identities, by the encoder and by an independent judge.

    Args:
        encoder: what made the identities' vectors.
        judge: a recogniser of another space.
        fmr: false-match rate of the verdicts: 0.01, 0.001 or 0.0001.
        calibration: of the encoder's space; by default the encoder's own.

    Raises:
        InputError: the judge is the encoder, is for another encoder, or a calibration is missing or does not reach
            the false-match rate.
    """

    def __init__(self, encoder: FaceEncoder, judge: Judge, fmr: float = 1e-3, calibration: Calibration | None = None):
        calibration = _calibration_of(encoder) if calibration is None else calibration
        if judge.space == encoder.space:
            raise InputError(f"The judge and the encoder are both {encoder.space!r}: an encoder may not judge itself.")
        if judge.bridge.source != encoder.space:
            raise InputError(
                f"The judge knows the space {judge.bridge.source!r}, but the encoder's is {encoder.space!r}."
            )
        if calibration is None or judge.calibration is None:
            which = "encoder" if calibration is None else "judge"
            raise InputError(f"The {which} has no calibration.json, so its scores have no meaning: calibrate it first.")
        if calibration.space != encoder.space:
            raise InputError(f"The calibration is of the space {calibration.space!r}, not of {encoder.space!r}.")
        self.encoder, self.judge, self.fmr = encoder, judge, fmr
        self.calibration, self.judge_calibration = calibration, judge.calibration
        # A threshold from means errs on the safe side for a vector from one photo: fewer false matches, not more.
        self.threshold = calibration.threshold("image-mean", fmr)
        self.judge_threshold = judge.calibration.threshold("image-bridge", fmr)

    def score(self, images: Any, vectors: Tensor | Identity | Identities, aligned: bool = True) -> list[Score]:
        """Pictures against the vectors they were made for.

        Args:
            images: N PIL images, or (N, 3, H, W) in [0, 1].
            vectors: (N, D) in the encoder's space, one a picture; or one vector or identity for all of them.
            aligned: they are face crops as the encoder aligns them; else, or where the judge was made for another
                alignment, the face is found first.

        Raises:
            InputError: no pictures, another number of vectors than pictures, or an identity from another space.
        """
        from idgen.faces.generated import embed

        if isinstance(vectors, Identity | Identities):
            vectors.require_space(self.encoder.space)
            vectors = vectors.vector if isinstance(vectors, Identity) else vectors.vectors
        count = len(images)
        if not count:
            raise InputError("There are no pictures to score: give at least one.")
        wanted = vectors.detach().cpu().float()
        if wanted.ndim == 1 or (wanted.ndim == 2 and len(wanted) == 1):
            wanted = wanted.reshape(1, -1).expand(count, -1)
        dim = self.judge.bridge.weight.shape[1]
        if wanted.shape != (count, dim):
            raise InputError(f"{count} pictures need vectors ({count}, {dim}), got the shape {tuple(wanted.shape)}.")
        own, judges = embed(images, self.encoder, [self.encoder, self.judge.recognizer], aligned)
        similarity, judge_similarity = _cosines(own, wanted), _cosines(judges, self.judge.bridge(wanted))
        return [
            Score(own, judged, judged >= self.judge_threshold, self.threshold, self.judge_threshold)
            for own, judged in zip(similarity, judge_similarity, strict=True)
        ]

    def compare(self, a: Any, b: Any) -> Comparison:
        """Two photos (what `FaceEncoder.detect_and_align` takes) or identities, in any combination.

        Raises:
            InputError: a photo without a face, or an identity from another space.
        """
        from idgen.faces.generated import views

        both = self.encoder, self.judge.recognizer
        faces = [views(side, self.encoder, both) for side in (a, b) if not isinstance(side, Identity)]
        people = [side for side in (a, b) if isinstance(side, Identity)]
        for person in people:
            person.require_space(self.encoder.space, self.judge.bridge.weight.shape[1])
        single = len(faces) + sum(person.source == ONE_PHOTO for person in people)
        kind = ("mean-mean", "image-mean", "image-image")[single]
        threshold = self.calibration.threshold(kind, self.fmr)
        vectors = [person.vector for person in people]
        if faces:
            vectors += list(self.encoder.encode([own for own, _ in faces]))
        cosine = _cosines(vectors[0][None], vectors[1][None])[0]
        if not faces:
            return Comparison(kind, cosine, threshold, cosine >= threshold, None, None, self.fmr)
        judged = list(self.judge.encode([theirs for _, theirs in faces]))
        judged += [self.judge.bridge(person.vector) for person in people]
        judge_cosine = _cosines(judged[0][None], judged[1][None])[0]
        judge_kind = "image-bridge" if people else "image-image"
        judge_threshold = self.judge_calibration.threshold(judge_kind, self.fmr)
        return Comparison(
            kind, cosine, threshold, judge_cosine >= judge_threshold, judge_cosine, judge_threshold, self.fmr
        )

    def pairwise(self, images: Any, aligned: bool = True) -> Tensor:
        """(N, N) cosines of the judge between N pictures, kind `image-image`; NaN where no face is found.

        Arguments as those of `score`.
        """
        from idgen.faces.generated import embed

        (vectors,) = embed(images, self.encoder, [self.judge.recognizer], aligned)
        return vectors @ vectors.T

    def sentence(self, scores: Sequence[Score]) -> str:
        """How many are the same person, in plain words."""
        matches = sum(score.match for score in scores)
        verb = "is" if matches == 1 else "are"
        return (
            f"{matches or 'None'} of {len(scores)} {verb} the same person, says the judge, "
            f"at a false-match rate of {one_in(self.fmr)}."
        )


def _cosines(a: Tensor, b: Tensor) -> list[float]:
    return (normalize(a.detach().cpu().float()) * normalize(b.detach().cpu().float())).sum(1).tolist()


# ---------------------------------------------------------------- making a model's calibrations


def fit_bridge(
    encoder_embeddings: Tensor, judge_embeddings: Tensor, labels: ArrayLike, source: str, target: str
) -> Bridge:
    """The bridge from pictures' embeddings by both recognisers: (N, De), (N, Dj), and (N,) labels of people."""
    return Bridge.fit(centres(encoder_embeddings, labels), centres(judge_embeddings, labels), source, target)


def write_calibrations(
    model: str | Path, encoder_embeddings: Tensor, judge_embeddings: Tensor, labels: ArrayLike, data: str
) -> tuple[Calibration, Calibration]:
    """Measure the encoder and the judge of a model's folder on the same pictures, and write both `calibration.json`.

    Args:
        model: folder with `encoder/` and `judge/`, the latter with its bridge.
        encoder_embeddings, judge_embeddings: (N, De) and (N, Dj).
        labels: (N,) whose equality means the same person; of people that neither was trained on.
        data: where the pictures come from, in words.
    """
    encoder, judge = Path(model) / "encoder", Path(model) / "judge"
    bridge = Bridge.load(judge / "bridge.safetensors")
    own = Calibration.measure(bridge.source, encoder_embeddings, labels, data)
    judged = Calibration.measure(bridge.target, judge_embeddings, labels, data)
    judged = judged.measure_bridge(bridge, encoder_embeddings, judge_embeddings, labels)
    own.save(encoder / "calibration.json")
    judged.save(judge / "calibration.json")
    return own, judged


def calibrate(
    model: str | Path, images: Any, labels: ArrayLike, data: str, batch_size: int = 256
) -> tuple[Calibration, Calibration]:
    """Embed labelled, aligned faces by both recognisers of a model's folder, then `write_calibrations`.

    Args:
        model: folder with `encoder/` and `judge/`, the latter with its bridge.
        images: N PIL images, or (N, 3, H, W) in [0, 1].
        labels, data: as there.
        batch_size: how many pictures are handed over at once.
    """
    from idgen.faces.encoder import FaceEncoder

    model = Path(model)
    # The judge as a plain encoder: whatever calibration it has is about to be replaced.
    both = FaceEncoder.from_pretrained(model / "encoder"), FaceEncoder.from_pretrained(model / "judge")
    starts = range(0, len(images), batch_size)
    by_encoder, by_judge = (
        torch.cat([embedder.encode(images[start : start + batch_size]) for start in starts]) for embedder in both
    )
    return write_calibrations(model, by_encoder, by_judge, labels, data)
