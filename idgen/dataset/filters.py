"""Which generated pictures belong in a dataset: what is measured of each, and the first reason against it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from idgen.dataset.plan import NO_FACE, Plan
from idgen.faces.rating import CERTAINTY
from idgen.ground import arguments
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities
from idgen.ground.images import shrunk
from idgen.model import Model
from idgen.painting import rounded
from idgen.scoring.score import BRIDGE
from idgen.scoring.verdict import Way, judge_threshold

BROKEN = "its vector is broken"
NOT_THE_PERSON = "not the person"
TOO_EASY = "too similar"
ANOTHER_PERSON = "nearer to another person"
LOW_QUALITY = "low quality"
DUPLICATE = "near-duplicate"
ANOTHER_BETTER = "another one is better"


@dataclass(frozen=True, eq=False)
class Measured:
    """What is known of one picture.

    Args:
        reason: why it is not to be kept, or None; duplicates are looked for later, among those that are kept.
        columns: `similarity`, `judge_similarity`, `match`, `domain`, `against`, `other_similarity`, `nearest_other` and
            `quality`, as the card describes them; None where the model has nothing to measure by.
        thumbnail: (1024,) grey, centred and of unit length: a dot product is a correlation.
    """

    reason: str | None
    columns: dict[str, Any]
    thumbnail: NDArray[np.float32]


class Filters:
    """Measures pictures of a plan's people against what the plan asks for.

    Args:
        plan: whose filters to use.
        model: its encoder and judge measure, as far as it has them.
        people: everybody in the dataset, for "nearer to another person"; as `make_plan` looked at them.

    Raises:
        InputError: nothing says what the judge's scores of somebody's pictures mean, or not at the plan's rate, or
            neither recogniser measures quality, and the plan asks for it.
    """

    def __init__(self, plan: Plan, model: Model, people: Identities):
        self.plan, self.people = plan, people
        self.encoder = model.encoder if model.has("encoder") else None
        self.judge = model.judge if self.encoder is not None and model.has("judge") else None
        self.aligned = model.pipeline.aligned
        judges = [] if self.judge is None else [self.judge.recognizer]
        raters = judges if self.encoder is None else [self.encoder, *judges]
        self.rater = next((one for one in raters if CERTAINTY in one.rated), raters[-1] if raters else None)
        rating = plan.quality is not None or (plan.best_of > 1 and plan.best_by.endswith("quality"))
        if rating and (self.rater is None or CERTAINTY not in self.rater.rated):
            raise InputError(
                f"Neither recogniser of {model.name} knows how recognisable a face is: leave out `quality`, or train "
                "it, idgen train quality."
            )
        self.ways: list[Way] = []
        if self.judge is not None:
            self.ways = self._how_judged(model)
            self._wanted = torch.cat([self.judge.bridge(block) for block in people.vectors.split(4096)])
            for row, way in enumerate(self.ways):
                if way.against != BRIDGE:
                    self._wanted[row] = way.vector(people[row], self.judge)

    def _how_judged(self, model: Model) -> list[Way]:
        """What pictures of each of the people are compared with, and what that means."""
        match, scorer = self.plan.match, model.scorer_at(arguments.FMR if self.plan.match is None else self.plan.match)
        ways = [scorer.way(person) for person in self.people]
        if match is None:
            return ways
        for person, way in zip(self.people, ways, strict=True):
            known = way.meaning
            if known is None and not scorer.wants_own_pictures(person):  # else these show no face, nor will others
                judge_threshold(model.judge, "image-bridge", match, way.of)  # which says how to get one
            elif known is not None and known.fmr != match:
                known.calibration.threshold(known.kind, match)  # says which there are
        return ways

    def measure(self, pictures: Sequence[Image], rows: Sequence[int]) -> list[Measured]:
        """What is known of each picture, made for the people of these rows."""
        faces = self._faces(pictures)
        shown = [place for place, views in enumerate(faces) if views is not None]
        seen = list(zip(*(views for views in faces if views is not None), strict=True))  # by each recogniser
        mine = torch.tensor([rows[place] for place in shown], dtype=torch.long)
        values = torch.full(
            (5, len(pictures)), torch.nan, dtype=torch.float32
        )  # similarity, judge's, highest other, who, quality
        if shown and self.encoder is not None:
            vectors, quality = self.encoder.encode_with_quality(seen[0])
            values[0, shown] = (vectors * self.people.vectors[mine]).sum(1)
            if self.rater is self.encoder:
                values[4, shown] = quality
        if shown and self.judge is not None:
            vectors, quality = self.judge.recognizer.encode_with_quality(seen[-1])
            if self.rater is self.judge.recognizer:
                values[4, shown] = quality
            cosines, place = vectors @ self._wanted.T, torch.arange(len(shown))
            values[1, shown] = cosines[place, mine]
            cosines[place, mine] = -torch.inf
            values[2, shown], nearest = cosines.max(1)
            values[3, shown] = nearest.float()
        found = zip(pictures, faces, rows, values.T.tolist(), strict=True)
        return [
            self._judge(picture, views is not None, self.ways[row] if self.ways else None, *measured)
            for picture, views, row, measured in found
        ]

    def _faces(self, pictures: Sequence[Image]) -> list[tuple[Any, ...] | None]:
        """What encoder and judge are to see of each picture; None where no face is found, and one is needed."""
        if self.encoder is None:
            return [(picture,) if self.aligned else None for picture in pictures]
        judges = [] if self.judge is None else [self.judge.recognizer]
        faces = self.encoder.crops(pictures, [self.encoder, *judges], self.aligned)
        if self.aligned and self.plan.face:
            return [views if self.encoder.shows_face(one) else None for one, views in zip(pictures, faces, strict=True)]
        return faces

    def _judge(
        self,
        picture: Image,
        shown: bool,
        way: Way | None,
        ours: float,
        judged: float,
        other: float,
        nearest: float,
        quality: float,
    ) -> Measured:
        """A picture's reason and columns by what was measured of it, NaN what could not be."""
        known = None if way is None else way.meaning
        match = None if known is None else judged >= known.threshold
        broken = (self.encoder is not None and math.isnan(ours)) or (self.judge is not None and math.isnan(judged))
        reason = None
        if self.plan.face and not shown:
            reason = NO_FACE
        elif shown and broken:
            reason = BROKEN
        elif self.plan.match is not None and not match:
            reason = NOT_THE_PERSON
        elif self.plan.easiest is not None and judged > self.plan.easiest:
            reason = TOO_EASY
        elif self.plan.other and other >= judged:
            reason = ANOTHER_PERSON
        elif self.plan.quality is not None and not quality >= self.plan.quality:
            reason = LOW_QUALITY
        columns = {
            "similarity": rounded(ours),
            "judge_similarity": rounded(judged),
            "match": match,
            "domain": None if known is None else known.calibration.domain,
            "against": None if way is None else way.against,
            "other_similarity": rounded(other),
            "nearest_other": self.people.names[int(nearest)] if math.isfinite(other) else None,
            "quality": rounded(quality),
        }
        return Measured(reason, columns, thumbnail(picture))


def thumbnail(picture: Image) -> NDArray[np.float32]:
    """(1024,) grey 32 × 32, centred and of unit length; zeros where the picture is one grey."""
    grey = shrunk(picture).astype(np.float32)
    grey = grey - grey.mean()
    length = float(np.linalg.norm(grey))
    return grey / length if length > 0 else grey


def is_duplicate(new: NDArray[np.float32], kept: Sequence[NDArray[np.float32]], correlation: float | None) -> bool:
    """Whether a thumbnail correlates with one of those kept at least so much."""
    return correlation is not None and any(float(new @ old) >= correlation for old in kept)
