"""What an evaluation finds: figures for people to read, and what JSON holds of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from idgen.evaluation.attributes import Group
from idgen.evaluation.bins import FoldAccuracy
from idgen.evaluation.fruits import Cost, processor
from idgen.evaluation.leakage import Search
from idgen.evaluation.separability import Separability
from idgen.ground.arguments import FMR
from idgen.scoring.verification import Verification

AT = f"{FMR:g}"
"""The false-match rate of a verdict, as the tables of `Verification` name it."""

Level = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class Pair:
    """Two pictures, by number, and their cosine."""

    first: int
    second: int
    cosine: float


@dataclass(frozen=True)
class Comparisons:
    """The comparisons of one recogniser.

    Args:
        by: whose, in words.
        space: its embedding space, where known.
        genuine, impostor: the cosines.
        result: their figures.
        worst_genuine, worst_impostor: the least similar pairs of one person, the most similar of different people.
        compared: pictures among which different people were compared; less than all in large sets.
        calibrated: what the recogniser's calibration of such pictures promises beside what was found here, see
            `promised`; empty where there is none.
    """

    by: str
    space: str | None
    genuine: NDArray[np.floating]
    impostor: NDArray[np.floating]
    result: Verification
    worst_genuine: Sequence[Pair] = ()
    worst_impostor: Sequence[Pair] = ()
    compared: int = 0
    calibrated: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: figures and histograms."""
        edges = np.linspace(-1, 1, 101)
        counts = {
            name: np.histogram(np.clip(scores, -1, 1), edges)[0].tolist()
            for name, scores in (("genuine", self.genuine), ("impostor", self.impostor))
        }
        return {
            "by": self.by,
            "space": self.space,
            "pictures_compared_between_people": self.compared,
            **self.result.to_dict(),
            "calibrated": self.calibrated or None,
            "histogram": {"from": -1, "to": 1, **counts},
        }


@dataclass(frozen=True)
class Fidelity:
    """Pictures against the person who was wanted: the success rate of a template inversion, by its other name.

    Args:
        rate: share of the pictures that match, at `threshold`; None where the judge was not measured on such pictures.
        threshold, fmr, domain: the judge's calibrated threshold, its false-match rate, and what kind of pictures it was
            measured on; None where there is none.
        of: what kind of pictures were compared with what kind the people are of.
        against: what the judge compared them with, see `idgen.scoring.score.AGAINST`.
        mean: of the judge's cosines to the wanted person.
        genuine_rate: share of *real* pictures that match their own person in the same kind of comparison.
        encoder_mean: mean cosine by the encoder, whose vectors the pictures were made from.
        cosines: (N,) the judge's.
        matches: (N,), or None.
    """

    rate: float | None
    threshold: float | None
    fmr: float | None
    domain: str | None
    of: str
    against: str
    mean: float
    genuine_rate: float | None
    encoder_mean: float
    cosines: NDArray[np.float32]
    matches: NDArray[np.bool_] | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "fidelity": self.rate,
            "template_inversion_success_rate": self.rate,
            "false_match_rate": self.fmr,
            "threshold": self.threshold,
            "domain": self.domain,
            "compared": self.of,
            "against": self.against,
            "judge_similarity_mean": self.mean,
            "encoder_similarity_mean": self.encoder_mean,
            "same_rate_of_real_pictures": self.genuine_rate,
        }


@dataclass(frozen=True)
class Diversity:
    """How different the pictures of one person are.

    Args:
        distance: 1 − mean cosine of pairs of one person, everybody counting the same.
        spread: standard deviation of the cosines of pairs of one person.
        yaw, pitch: standard deviation in degrees among one person's pictures, from the five landmarks; None where
            nobody looked for them.
        looked_at, no_face: pictures whose landmarks were looked for, and the share without a face.
    """

    distance: float
    spread: float
    yaw: float | None = None
    pitch: float | None = None
    looked_at: int = 0
    no_face: float | None = None


@dataclass
class Evaluation:
    """All that was measured of a set; parts that could not be are None or empty."""

    name: str
    pictures: int
    people: int
    domain: str
    main: Comparisons
    others: list[Comparisons]
    seconds: float = 0.0
    folds: dict[str, FoldAccuracy] = field(default_factory=dict)
    separability: Separability | None = None
    separability_by: str = ""
    fidelity: Fidelity | None = None
    diversity: Diversity | None = None
    distances: dict[str, float] = field(default_factory=dict)
    compared_with: str = ""
    searches: list[Search] = field(default_factory=list)
    training: str = ""
    attributes: dict[str, list[Group]] = field(default_factory=dict)
    summary: list[tuple[Level, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; numbers that are not finite become null."""
        content = {
            "format": "idgen.evaluation",
            "version": 1,
            "set": self.name,
            "pictures": self.pictures,
            "people": self.people,
            "domain": self.domain,
            "seconds_after_embedding": round(self.seconds, 2),
            "summary": [text for _, text in self.summary],
            "notes": self.notes,
            "verification": self.main.to_dict(),
            "verification_by_others": [other.to_dict() for other in self.others],
            "ten_fold_accuracy": {name: asdict(result) for name, result in self.folds.items()},
            "one_thread": {"processor": processor(), "costs": [asdict(one) for one in self.costs]}
            if self.costs
            else None,
            "separability": self.separability and asdict(self.separability),
            "fidelity": self.fidelity and self.fidelity.to_dict(),
            "diversity": self.diversity and asdict(self.diversity),
            "distance_to": self.compared_with,
            "distances": self.distances,
            "leakage": {"training": self.training, "searches": [search.to_dict() for search in self.searches]},
            "attributes": {name: [asdict(group) for group in row] for name, row in self.attributes.items()},
        }
        return finite(content)


def finite(value: Any) -> Any:
    """A value for JSON: numbers that are not finite become null, those of NumPy plain ones."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
