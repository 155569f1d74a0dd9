"""Pictures of one person, with what the judge thinks of them; and the work behind everything that is painted."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from idgen import painting
from idgen.ground.identity import Identities, Identity
from idgen.model import Model
from idgen.pipelines import GeneratedImage
from idgen.sampling.variation import parse_variation
from idgen.scoring import Meaning
from idgen.similarity import batched, with_own_pictures

from ..stream import Teller, stream
from .recipe import Recipe, somebody
from .scores import Line, embedded, judged

_PATIENCE = 0.5  # seconds between previews
_OVERHEAD = 12  # and at least so many times what the last one cost


@dataclass(frozen=True)
class Progress:
    """Pictures on their way: those that are done with their scores, and how the next ones look so far."""

    wanted: int
    images: list[GeneratedImage]
    scores: list[Line]
    previews: list[Image.Image]
    share: float


@dataclass(frozen=True)
class Result:
    """Pictures of one person with their scores.

    `matrix` (N, N) holds the cosines between the pictures, by the judge, or by the encoder where there is no judge, or
    None where there is neither; `reference` is None where nothing gives a verdict.
    """

    identity: Identity
    images: list[GeneratedImage]
    scores: list[Line]
    matrix: np.ndarray | None
    sentence: str
    reference: Meaning | None
    model: str
    recipe: Recipe


def generate(model: Model, identity: Identity | None, recipe: Recipe) -> Generator[Progress | Result, None, None]:
    """Pictures of one person and what the judge thinks of them.

    Raises:
        InputError: there is nobody (at once), or the person is of another space than the model's.
    """
    asked = somebody(identity, "make pictures of")

    def work(teller: Teller[Progress | Result]) -> None:
        person = looked_at(model, asked, recipe)
        images, scores = paint(model, Identities.of([person]), recipe, teller)
        vectors = embedded(model, images)
        matrix = None if vectors is None else vectors @ vectors.T
        sentence, known = judged(model, person, scores)
        teller.say(Result(person, images, scores, matrix, sentence, known, model.name, recipe))

    return stream(work)


def looked_at(model: Model, person: Identity, recipe: Recipe) -> Identity:
    """The person, with what the judge sees in the model's own pictures where only these tell whether others agree."""
    how = {"num_inference_steps": recipe.steps, "guidance_scale": recipe.guidance}
    return with_own_pictures(model, Identities.of([person]), options=how, progress=False)[0]


def paint(
    model: Model,
    people: Identities,
    recipe: Recipe,
    teller: Teller[Any],
    *,
    snapshot: Callable[[Progress], Any] = lambda progress: progress,
    callback: Callable[[int, dict[str, Any]], dict[str, Any] | None] = lambda step, tensors: None,
    attributes: Sequence[Any] | None = None,
    judged_as: Identity | None = None,
) -> tuple[list[GeneratedImage], list[Line]]:
    """Paint everybody, a few pictures at a time, and score them against one person.

    Args:
        teller: is told how far they are, by what `snapshot` makes of it.
        callback: step and tensors of a denoising step → tensors to go on with instead.
        attributes: instead of the recipe's, those of each picture.
        judged_as: who the pictures are scored against; by default the first of the people.
    """
    pipeline, score = model.pipeline, painting.scoring(model)
    on_gpu = not str(model.device).startswith("cpu")
    together = max(len(people), 8 if on_gpu else torch.get_num_threads())
    images: list[GeneratedImage] = []
    lines: list[Line] = []
    steps, shown, wait = 0, time.monotonic(), _PATIENCE
    wanted = recipe.images * len(people)
    total = math.ceil(wanted / together) * recipe.steps

    def say(previews: list[Image.Image]) -> None:
        nonlocal shown
        teller.say(snapshot(Progress(wanted, list(images), list(lines), previews, steps / total)))
        shown = time.monotonic()

    def stepped(_: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any] | None:
        nonlocal steps, wait
        teller.check()
        changed = callback(step, tensors)
        steps += 1
        now = time.monotonic()
        if now - shown >= wait and step + 1 < recipe.steps:
            previews = pipeline.preview((changed or tensors)["latents"])
            wait = max(_PATIENCE, _OVERHEAD * (time.monotonic() - now))
            say(previews)
        return changed

    options = {**recipe.options(), "batch_size": together, "callback_on_step_end": stepped}
    if attributes is not None:
        options["attributes"] = attributes
    places = itertools.product(range(len(people)), range(recipe.images))
    made = painting.paint(pipeline, people, places, recipe.seed, parse_variation(recipe.variation), options)
    try:
        for batch in batched(made, together):
            new = score([one.image for one in batch], [people[0] if judged_as is None else judged_as] * len(batch))
            images += batch
            lines += new
            say([])
    finally:
        made.close()
        if on_gpu:
            torch.cuda.empty_cache()  # also when it was stopped, or failed
    return images, lines
