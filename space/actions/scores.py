"""What pictures are worth: the judge's verdicts, and what its scores mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from idgen.model import Model
from idgen.pipelines import GeneratedImage
from idgen.scoring import Calibration, ErrorRates

Line = dict[str, Any]
"""A picture's scores: `similarity` by the encoder, `judge_similarity` and `match` by the judge; None: not measured."""


@dataclass(frozen=True)
class Reference:
    """What scores of a kind look like between real pictures.

    Args:
        calibration: the judge's.
        fmr: false-match rate of its verdicts.
        rates: the error rates of this kind.
        threshold: the cosine at which two things of this kind match.
        explanation: what the scores mean, in plain words.
    """

    calibration: Calibration
    fmr: float
    rates: ErrorRates
    threshold: float
    explanation: str


def reference(model: Model, kind: str = "image-bridge") -> Reference | None:
    """The meaning of the judge's scores for a kind of comparison, see `idgen.scoring`; None where there is no judge."""
    if not model.has("judge") or not model.has("encoder"):
        return None
    known, fmr = model.scorer.judge_calibration, model.scorer.fmr
    return Reference(known, fmr, known.rates(kind), known.threshold(kind, fmr), known.explanation(kind, fmr))


def embedded(model: Model, images: Sequence[GeneratedImage]) -> np.ndarray | None:
    """(N, D) unit vectors by the judge, or by the encoder where there is none; NaN where no face is found."""
    if not model.has("encoder"):
        return None
    viewer = model.judge.recognizer if model.has("judge") else model.encoder
    pictures: list[Any] = [one.image for one in images]
    vectors = model.encoder.embed_by(pictures, [viewer], model.pipeline.aligned)[0].double().numpy()
    return None if np.isnan(vectors).all() else vectors
