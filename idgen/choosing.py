"""Choices that need pictures: people kept apart, variations at a measured similarity, the best of several tries.

Everything here works with any pipeline of idgen, through `pipeline.iterate`, and never loops without an end: each
function makes a number of pictures that is known before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor

from idgen.faces.pose import yaw_from_landmarks
from idgen.ground import arguments
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError
from idgen.ground.guidance import Guidance
from idgen.ground.identity import Identities, Identity, centres, image_seed, key, vector_seed
from idgen.sampling.separation import separate
from idgen.sampling.variation import cone
from idgen.similarity import MOST_PICTURES, batched, embed_pictures, keeping

if TYPE_CHECKING:
    from PIL.Image import Image

    from idgen.model import Model

Target = Callable[["Image"], float]
"""How far a picture is from what is wanted: lower is better; infinite or NaN when it cannot be used."""


@pinned()
def picture_means(
    people: Identities,
    model: Model,
    images: int,
    seed: int,
    *,
    steps: int | None = None,
    guidance: Guidance | str | None = None,
) -> Tensor:
    """Picture everybody: (N, Dj) the judge's mean vector of `images` pictures of each, NaN for whom none shows a face.

    Vectors drawn at random are always far apart; their pictures need not be. So it is the pictures that `told_apart`
    compares; the mean of more says more.

    Args:
        people: candidates.
        model: paints and judges.
        images: pictures a person.
        seed: of the pictures.
        steps, guidance: by default the model's.

    Raises:
        InputError: the people are of another space, or an argument is out of range.
    """
    vectors, labels = [], []
    options: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance}
    for batch in batched(model.pipeline.iterate(people, images, seed=seed, **options), 32):
        vectors.append(embed_pictures(model, model.judge.recognizer, [item.image for item in batch]))
        labels += [item.identity for item in batch]
    seen, who = torch.cat(vectors), np.array(labels)
    found = seen[:, 0].isfinite()
    means = torch.full((len(people), seen.shape[1]), torch.nan, dtype=torch.float32)
    if found.any():
        means[np.unique(who[found.numpy()])] = centres(seen[found], who[found.numpy()])
    return means


@pinned()
def told_apart(means: Tensor, cosine: float) -> Tensor:
    """(K,) the people whose means (N, D) stay below a cosine to each other, first come, first kept; never one of NaN.

    Raises:
        InputError: all are NaN.
    """
    shown = means[:, 0].isfinite().nonzero().flatten()
    if not len(shown):
        raise InputError(f"No picture of {len(means):,} people shows a face, so nobody can be told apart.")
    return shown[separate(means[shown], cosine)]


@dataclass(frozen=True, eq=False)
class Best:
    """The best picture of a search.

    Args:
        image: the picture.
        vector: (D,) that conditioned it.
        seed: of its noise.
        miss: how far it is from the target.
        tries: the misses of all pictures, in order.
    """

    image: Image
    vector: Tensor
    seed: int
    miss: float
    tries: list[float]


@pinned()
def best_of(
    model: Model,
    person: Identity,
    target: Target,
    tries: int = 16,
    rounds: int = 1,
    seed: int = 0,
    *,
    lowest_cosine: float = 0.8,
    steps: int | None = None,
) -> Best:
    """The picture of a person that comes nearest to a target: a pose, a quality, anything that can be scored.

    One round is the best of `tries` pictures of the person. Each further round makes as many of vectors around the best
    one so far, within `lowest_cosine` of the person, and so climbs (an evolution strategy: no gradient is needed, so
    any pipeline and any target will do). Always rounds · tries pictures, never more; the best is returned, however
    good it is.

    Args:
        model: paints.
        person: who.
        target: see `Target`; `towards_yaw`, `towards_quality`, `towards_person`, `together`.
        tries: pictures a round.
        rounds: at least 1.
        seed: of noises and variations.
        lowest_cosine: how far the vectors of later rounds may leave the person.
        steps: denoising steps; by default the model's.

    Raises:
        InputError: an argument is out of range, or no picture could be used at all.
    """
    arguments.whole("number of tries a round", tries, 1)
    arguments.whole("number of rounds", rounds, 1)
    arguments.whole("number of pictures of a search", tries * rounds, 1, MOST_PICTURES)
    arguments.number("lowest cosine to the person", lowest_cosine, -1, 1)
    best: Best | None = None
    misses: list[float] = []
    for number in range(rounds):
        first = number * tries
        made: Any
        if best is None:
            made = model.pipeline.iterate(person, tries, seed=seed, first=first, num_inference_steps=steps)
        else:
            reach = lowest_cosine + (1 - lowest_cosine) * number / rounds  # smaller steps as the end comes near
            vectors = []
            for k in range(first, first + tries):
                generator = Generator().manual_seed(vector_seed(seed, key(person.vector), k))
                vectors.append(_within(cone(best.vector, reach, generator), person.vector, lowest_cosine))
            names = [f"try-{k}" for k in range(tries)]
            around = Identities(torch.stack(vectors), person.space, [person.source] * tries, names)
            noise = image_seed(seed, 0, number)
            options = {"num_inference_steps": steps, **keeping(model.pipeline, person.vector.expand(tries, -1))}
            made = model.pipeline.iterate(around, 1, seed=noise, first=list(range(tries)), **options)
        for item in made:
            misses.append(float(target(item.image)))
            if np.isfinite(misses[-1]) and (best is None or misses[-1] < best.miss):
                best = Best(item.image, item.vector, item.seed, misses[-1], misses)
    if best is None:
        raise InputError(f"None of {len(misses)} pictures of {person.name} could be scored: was no face found in any?")
    return best


def _within(vector: Tensor, centre: Tensor, lowest: float) -> Tensor:
    """The vector, or where it is farther from the centre than `lowest`, the nearest one that is not."""
    cosine = float(vector.double() @ centre.double())
    if cosine >= lowest:
        return vector
    aside = vector.double() - cosine * centre.double()
    return (lowest * centre.double() + (1 - lowest**2) ** 0.5 * aside / aside.norm()).float()


def towards_yaw(model: Model, degrees: float) -> Target:
    """Miss in degrees of yaw, estimated from the landmarks; infinite where no face is found."""

    def target(image: Image) -> float:
        faces = model.encoder.finder.find(image) if model.encoder.finder is not None else []
        return abs(float(yaw_from_landmarks([faces[0].landmarks])[0]) - degrees) if faces else float("inf")

    return target


def towards_attribute(model: Model, name: str, value: float | str) -> Target:
    """How far an attribute is from a value by the model's reader, in its unit: of names 0 or 1; infinite where no face
    is found. InputError where the model reads no such attribute or there is no such value."""
    reader = model.attributes
    wanted, place = reader.vocabulary.number(name, value), reader.vocabulary.names.index(name)

    def target(image: Image) -> float:
        (seen,) = model.encoder.crops([image], [model.encoder], model.pipeline.aligned)
        if seen is None:
            return float("inf")
        apart = abs(float(reader.read([seen[0]])[0, place]) - wanted)
        return float(apart > 0) if reader.vocabulary.named(name) else apart

    return target


def towards_quality(model: Model) -> Target:
    """Minus the judge's `quality`: the best picture is the one that it finds easiest to recognise; infinite where no
    face is found."""
    judge = model.judge.recognizer

    def target(image: Image) -> float:
        (seen,) = model.encoder.crops([image], [judge], model.pipeline.aligned)
        return float("inf") if seen is None else -float(judge.encode_with_quality([seen[0]])[1])

    return target


def towards_person(model: Model, person: Identity) -> Target:
    """1 − the judge's cosine to the person; NaN where no face is found, which is never the best."""
    wanted = model.judge.bridge(person.vector)
    return lambda image: 1 - float(embed_pictures(model, model.judge.recognizer, [image])[0] @ wanted)


def together(*parts: tuple[float, Target]) -> Target:
    """A weighted sum of targets, such as (1.0, towards_yaw(…)), (30.0, towards_person(…))."""
    return lambda image: sum(weight * target(image) for weight, target in parts)
