"""One person from the same noise, with one attribute changed step by step: the head turned, a smile that grows."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, cast

from PIL import Image

from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, Identity
from idgen.ground.provenance import made_by, marked
from idgen.model import Model
from idgen.pipelines import GeneratedImage
from idgen.scoring import Meaning

from ..models import vocabulary
from ..stream import Teller, stream
from .painting import Progress, looked_at, paint
from .recipe import Recipe, somebody
from .scores import Line, judged

STRIP = 9  # pictures
STRIPS: dict[str, tuple[str, float, float]] = {"yaw": ("Turn the head", -45.0, 45.0), "smile": ("Smile", 0.0, 1.0)}
"""What can be changed: what it is called, from where to where."""
GOES_WITH = {"smile": ("expression", "mouth_open")}  # left to the network, or a frown would stay beside the smile
_SECONDS, _SIDE = 0.11, 256


@dataclass(frozen=True)
class Strip:
    """Pictures of one person with the attribute's value in each, and the same as an animated picture."""

    name: str
    identity: Identity
    values: list[float]
    images: list[GeneratedImage]
    scores: list[Line]
    sentence: str
    reference: Meaning | None
    model: str
    recipe: Recipe

    @property
    def title(self) -> str:
        """What it is called."""
        return STRIPS[self.name][0]

    @property
    def told(self) -> list[str]:
        """What each picture was told, in words."""
        if self.name != "yaw":
            return [f"{round(100 * value)} %" for value in self.values]
        return [f"{value:+.0f}°".replace("-", "−") if value else "0°" for value in self.values]

    def animated(self) -> bytes:
        """There and back for ever, as a WebP that says it is generated."""
        frames = [cast(Image.Image, one.image) for one in self.images]
        side = max(_SIDE, frames[0].width)
        frames = [frame.resize((side, side), Image.Resampling.LANCZOS) for frame in frames]
        info = {**made_by(self.model, self.identity, self.recipe.seed), "changed": self.name}
        round_trip = frames + frames[-2:0:-1]
        how: dict[str, Any] = {"save_all": True, "append_images": round_trip[1:], "loop": 0, "quality": 90}
        return marked(round_trip[0], info, "WEBP", duration=round(1000 * _SECONDS), **how)


def strip(
    model: Model, identity: Identity | None, recipe: Recipe, name: str = "yaw"
) -> Generator[Progress | Strip, None, None]:
    """One person with one of `STRIPS` changed and everything else as it is: the noise, and what else was drawn.

    The recipe is of one picture.

    Raises:
        InputError: there is nobody, or the model knows no such attribute (at once).
    """
    asked = somebody(identity, "turn")
    if name not in STRIPS or name not in vocabulary(model):
        raise InputError(f"{model.name} cannot be told of {name}: choose another model.")
    _, low, high = STRIPS[name]
    least, most = map(float, vocabulary(model).values[name])
    low, high = max(low, least), min(high, most)
    values = [low + (high - low) * step / (STRIP - 1) for step in range(STRIP)]

    def work(teller: Teller[Progress | Strip]) -> None:
        pipeline: Any = model.pipeline
        person = looked_at(model, asked, recipe)
        told = pipeline.told(person.vector, recipe.seed, 0, dict(recipe.attributes))
        told |= dict.fromkeys(GOES_WITH.get(name, ()))
        names = [f"step-{step}" for step in range(STRIP)]
        vectors = person.vector.expand(STRIP, -1)
        people = Identities(vectors, person.space, [person.source] * STRIP, names, [person.also] * STRIP)
        images, scores = paint(model, people, recipe, teller, attributes=[{**told, name: value} for value in values])
        sentence, known = judged(model, person, scores)
        teller.say(Strip(name, person, values, images, scores, sentence, known, model.name, recipe))

    return stream(work)
