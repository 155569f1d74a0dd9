"""What pictures are worth: the judge's verdicts, and what its scores mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from PIL import Image

from idgen.ground import words
from idgen.model import Model
from idgen.pipelines import GeneratedImage
from idgen.scoring import Calibration, ErrorRates

Line = dict[str, Any]
"""A picture's scores: `similarity` by the encoder, `judge_similarity` and `match` by the judge; None: not measured."""


@dataclass(frozen=True)
class Reference:
    """What scores of a kind look like between real pictures: the judge's calibration, and the rate of its verdicts."""

    calibration: Calibration
    kind: str
    fmr: float

    @property
    def rates(self) -> ErrorRates:
        """The error rates of this kind."""
        return self.calibration.rates(self.kind)

    @property
    def threshold(self) -> float:
        """The cosine at which two things of this kind match."""
        return self.calibration.threshold(self.kind, self.fmr)

    @property
    def explanation(self) -> str:
        """What the scores mean, in plain words."""
        return self.calibration.explanation(self.kind, self.fmr)


def reference(model: Model, kind: str = "image-bridge") -> Reference | None:
    """The meaning of the judge's scores for a kind of comparison, see `idgen.scoring`; None where there is no judge."""
    if not model.has("judge") or not model.has("encoder"):
        return None
    return Reference(model.scorer.judge_calibration, kind, model.scorer.fmr)


def verdict(model: Model, scores: Sequence[Line]) -> str:
    """How many are the same person, in plain words; or why nobody can say."""
    if reference(model) is None:
        return f"Nothing says whether this is the same person: {model.name} has no independent judge."
    return words.verdicts(sum(bool(line["match"]) for line in scores), len(scores), model.scorer.fmr)


def embedded(model: Model, images: Sequence[GeneratedImage]) -> np.ndarray | None:
    """(N, D) unit vectors by the judge, or by the encoder where there is none; NaN where no face is found."""
    if not model.has("encoder"):
        return None
    viewer = model.judge.recognizer if model.has("judge") else model.encoder
    pictures = [cast(Image.Image, one.image) for one in images]
    vectors = model.encoder.embed_by(pictures, [viewer], model.pipeline.aligned)[0].double().numpy()
    return None if np.isnan(vectors).all() else vectors
