"""From one person to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from idgen.ground import domain, words
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, Identity
from idgen.model import Model
from idgen.painting import scoring
from idgen.pipelines import GeneratedImage
from idgen.sampling.interpolation import interpolate
from idgen.scoring import Meaning

from ..stream import Teller, stream
from .painting import Progress, looked_at, paint
from .recipe import Recipe
from .scores import Line, reference, why_not

MORPH = 7  # pictures in a strip


@dataclass(frozen=True)
class Morph:
    """Pictures from one person to another; `scores[side]` holds what they are to the first and to the second."""

    people: Identities
    ends: tuple[Identity, Identity]
    images: list[GeneratedImage]
    scores: tuple[list[Line], list[Line]]
    sentence: str
    reference: Meaning | None
    model: str
    recipe: Recipe


def morph(
    model: Model, first: Identity | None, second: Identity | None, recipe: Recipe
) -> Generator[Progress | Morph, None, None]:
    """A strip of `MORPH` people in equal steps on the arc between two, each pictured once from nearly the same noise.

    The recipe is of one picture.

    Raises:
        InputError: somebody is missing or they are of different spaces (at once), or of another than the model's.
    """
    if first is None or second is None:
        raise InputError("A strip leads from one person to another: choose both first.")
    people = interpolate(first, second, MORPH)

    def work(teller: Teller[Progress | Morph]) -> None:
        ends = looked_at(model, first, recipe), looked_at(model, second, recipe)
        images, to_first = paint(model, people, recipe, teller, callback=_share_noise, judged_as=ends[0])
        to_second = scoring(model)([image.image for image in images], [ends[1]] * MORPH)
        scores, known = (to_first, to_second), _of_both(model, *ends)
        if known is None:
            unknown = ends[0] if reference(model, ends[0]) is None else ends[1]
            sentence = f"From one person to the other. {why_not(model, unknown)}"
        else:
            sentence = _crossing(scores, known)
        teller.say(Morph(people, (first, second), images, scores, sentence, known, model.name, recipe))

    return stream(work)


def _of_both(model: Model, first: Identity, second: Identity) -> Meaning | None:
    """What the scores mean, where they mean the same for both ends."""
    means = [reference(model, person) for person in (first, second)]
    return means[0] if means[0] == means[1] else None


def _share_noise(step: int, tensors: dict[str, Any]) -> dict[str, Any] | None:
    """After the first step everybody goes on from the first picture's latents: who it is differs, the pose does not.

    The noise of a picture follows from its person, so a strip would jump; a callback may replace the latents
    (B, C, h, w).
    """
    latents = tensors["latents"]
    return {"latents": latents[:1].expand_as(latents)} if step == 0 else None


def _crossing(scores: tuple[list[Line], list[Line]], known: Meaning) -> str:
    """Where one ends and the other begins, in plain words."""
    kinds = Counter((bool(a["match"]), bool(b["match"])) for a, b in zip(*scores, strict=True))
    said = [f"{kinds[True, False]} are still A", f"{kinds[False, True]} already B"]
    said += [f"{kinds[both, both]} {word}" for both, word in ((True, "both"), (False, "neither")) if kinds[both, both]]
    of = domain.pictures(known.calibration.domain)
    listed = f"{', '.join(said[:-1])} and {said[-1]}"
    return f"Of {MORPH} pictures, {listed}, says the judge, {words.at_fmr(known.fmr)}, measured on {of}."
