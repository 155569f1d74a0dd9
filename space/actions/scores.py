"""What pictures are worth: the judge's verdicts, and what its scores mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from idgen.ground import domain, words
from idgen.ground.identity import Identity
from idgen.model import Model
from idgen.pipelines import GeneratedImage
from idgen.scoring import OWN_PICTURES, Meaning

Line = dict[str, Any]
"""A picture's scores: `similarity` by the encoder, `judge_similarity` and `match` by the judge, and what this compared
it `against`; None: not measured."""


def reference(model: Model, person: Identity | str = "") -> Meaning | None:
    """The meaning of the judge's scores of the model's pictures of a person; None where there is no judge, or it was
    not measured on such pictures."""
    return model.scorer.meaning(person) if model.has("judge") and model.has("encoder") else None


def judged(model: Model, person: Identity, scores: Sequence[Line]) -> tuple[str, Meaning | None]:
    """How many of a person's pictures the judge accepts, or why nobody knows, in plain words; and what that means."""
    known = reference(model, person)
    if known is None:
        return why_not(model, person), None
    matches, own = sum(bool(line["match"]) for line in scores), model.scorer.way(person).against == OWN_PICTURES
    return words.verdicts(matches, len(scores), known.fmr, [known.calibration.domain], own), known


def why_not(model: Model, person: Identity) -> str:
    """Why nothing says whether the model's pictures are of a person, and what to do."""
    if not (model.has("judge") and model.has("encoder")):
        return f"Nothing says whether this is the same person: {model.name} has no independent judge."
    of = model.scorer.compared(person)
    return f"No verdict: the judge was not measured on {domain.pictures(of)}. {domain.advice(of)}"


def embedded(model: Model, images: Sequence[GeneratedImage]) -> np.ndarray | None:
    """(N, D) unit vectors by the judge, or by the encoder where there is none; NaN where no face is found."""
    if not model.has("encoder"):
        return None
    viewer = model.judge.recognizer if model.has("judge") else model.encoder
    pictures: list[Any] = [one.image for one in images]
    vectors = model.encoder.embed_by(pictures, [viewer], model.pipeline.aligned)[0].double().numpy()
    return None if np.isnan(vectors).all() else vectors
