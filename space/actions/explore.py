"""How alike and how different pictures are at some settings, and who is nearest among sampled people."""

from __future__ import annotations

import weakref
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from idgen.evaluation.diversity import genuine_distance
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, Identity
from idgen.model import Model
from idgen.pipelines import GeneratedImage

from ..stream import Teller, stream
from .painting import Progress, looked_at, paint
from .recipe import Recipe, sample, somebody
from .scores import Line, embedded, reference

VARIATIONS = (0.0, 0.15, 0.3, 0.45, 0.6)  # of the trade-off curve
POINT_IMAGES = 4  # pictures behind each of its points
NEIGHBOURS = 5  # of a sampled crowd, each pictured once
CROWD = 512  # sampled people among whom the nearest are looked for
SELF = 0.9999  # a cosine above it: the same person, not a neighbour


@dataclass(frozen=True)
class Point:
    """What a setting does to one person's pictures.

    Args:
        similarity: mean cosine to the person, by the judge, or by the encoder where there is none.
        diversity: 1 − the mean cosine between two of the pictures, by the same.
        matches: how many of them the judge takes for the person; None where nothing gives a verdict.
    """

    identity: Identity
    model: str
    recipe: Recipe
    similarity: float
    diversity: float
    matches: int | None
    images: list[GeneratedImage] = field(repr=False)
    scores: list[Line] = field(repr=False)

    def joins(self, identity: Identity, model: str, recipe: Recipe) -> bool:
        """Whether it belongs into one plot with points of that person: all but variation and guidance is the same."""
        same = replace(self.recipe, variation=recipe.variation, guidance=recipe.guidance) == recipe
        return same and self.model == model and bool(np.array_equal(self.identity.vector, identity.vector))


@dataclass(frozen=True)
class Curve:
    """Points measured so far, what is being painted, and whether that is all."""

    points: list[Point]
    progress: Progress | None
    finished: bool
    threshold: float | None
    model: str


def explore(
    model: Model, identity: Identity | None, recipe: Recipe, variations: Sequence[float] = VARIATIONS
) -> Generator[Curve, None, None]:
    """How similar and how different pictures are at some variations, else as in the recipe.

    Raises:
        InputError: there is nobody or no encoder (at once), or nothing could be measured.
    """
    asked = somebody(identity, "explore")
    if not model.has("encoder"):
        raise InputError(f"{model.name} has no face encoder, so nothing can be measured: choose another model.")

    def work(teller: Teller[Curve]) -> None:
        person = looked_at(model, asked, recipe)
        known = reference(model, person)
        threshold = None if known is None else known.threshold
        points: list[Point] = []

        def so_far(progress: Progress | None) -> Curve:
            return Curve(list(points), progress, len(points) == len(variations), threshold, model.name)

        for variation in variations:
            setting = replace(recipe, variation=variation)
            images, lines = paint(model, Identities.of([person]), setting, teller, snapshot=so_far)
            points.append(_measured(model, person, setting, images, lines))
            teller.say(so_far(None))

    return stream(work)


def _measured(model: Model, person: Identity, recipe: Recipe, images: list[GeneratedImage], lines: list[Line]) -> Point:
    judged = model.has("judge")
    which = "judge_similarity" if judged else "similarity"
    similarities = [line[which] for line in lines if line[which] is not None]
    vectors = embedded(model, images)
    kept = [] if vectors is None else vectors[np.isfinite(vectors).all(1)]
    if len(kept) < 2 or not similarities:
        raise InputError("No face was found in these pictures, so nothing can be measured: change a setting.")
    similarity, diversity = float(np.mean(similarities)), genuine_distance(kept, np.zeros(len(kept)))
    known = any(line["match"] is not None for line in lines)
    matches = sum(bool(line["match"]) for line in lines) if known else None
    return Point(person, model.name, recipe, similarity, diversity, matches, images, lines)


@dataclass(frozen=True)
class Neighbour:
    """A sampled person with their cosine to somebody, and one picture."""

    identity: Identity
    cosine: float
    image: GeneratedImage = field(repr=False)


_crowds: weakref.WeakKeyDictionary[Any, Identities] = weakref.WeakKeyDictionary()


def nearest(model: Model, identity: Identity | None, recipe: Recipe) -> Generator[list[Neighbour], None, None]:
    """Who of the `CROWD` people that seed 0 samples is nearest to a person, each pictured once."""
    person = somebody(identity, "look around from")
    sample(model, 0)  # refuses a model that cannot
    person.require_space(model.sampler.space, model.sampler.dim)

    def work(teller: Teller[list[Neighbour]]) -> None:
        if model not in _crowds:
            _crowds[model] = model.sampler.sample(CROWD, 0)
        crowd = _crowds[model]
        cosines = crowd.vectors @ person.vector
        cosines[cosines > SELF] = -2
        found: list[Neighbour] = []
        once = replace(recipe, images=1, variation=0.0)
        for row in cosines.argsort(descending=True)[:NEIGHBOURS].tolist():
            images, _ = paint(model, crowd[row : row + 1], once, teller, snapshot=lambda _: list(found))
            found.append(Neighbour(crowd[row], float(cosines[row]), images[0]))
            teller.say(list(found))

    return stream(work)
