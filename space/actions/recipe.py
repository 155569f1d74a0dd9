"""What is asked for, and of whom."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from idgen.asking import asked
from idgen.ground import arguments
from idgen.ground.errors import InputError
from idgen.ground.identity import Identity
from idgen.model import Model
from idgen.sampling.who import KINDS, kind_of

from ..models import ahead, defaults, reads_traits, vocabulary

TRAITS = ("gender", "age", "skin_tone")
"""By what visitors choose who is drawn."""
_NEW_SEEDS, _TRIES = 10**6, 60
MOST_IMAGES, MOST_STEPS, MOST_GUIDANCE = 64, 100, 10.0
MAX_SEED = 2**53 - 1  # whole numbers beyond it are not exact in a browser


@dataclass(frozen=True)
class Recipe:
    """How pictures are made: the same recipe for the same person gives the same pictures."""

    images: int
    steps: int
    variation: float
    guidance: float | str
    seed: int
    attributes: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(
        cls,
        model: Model,
        images: Any = 8,
        steps: Any = None,
        variation: Any = 0.0,
        guidance: Any = None,
        seed: Any = 0,
        attributes: Any = None,
    ) -> Recipe:
        """From what a visitor asked for; None takes the model's own steps and guidance.

        Args:
            images: how many; steps: of the sampler; seed: of the pictures' noise.
            variation: 0 paints exactly this face vector; above, each picture a vector of its own at cosine
                1 − variation to it.
            guidance: how much the person's influence is exaggerated; 1 is none. The model's own number is all of its
                own guidance, which may grow with the turn of the head.
            attributes: how the pictures are to look, by name; see `idgen.ground.attributes.Asking`.

        Raises:
            InputError: one of them is of no use.
        """
        own_steps, own_guidance = defaults(model)
        if not isinstance(attributes or {}, dict):
            raise InputError(
                f"The attributes are names with their values, such as {{'yaw': 30}}, got {attributes!r:.40}."
            )
        if attributes:
            asked(vocabulary(model), attributes)
        return cls(
            arguments.images(images, MOST_IMAGES),
            arguments.steps(own_steps if steps is None else steps, max(MOST_STEPS, own_steps)),
            arguments.number("variation", variation, 0, 1),
            own_guidance if guidance in (None, ahead(own_guidance)) else arguments.guidance(guidance, MOST_GUIDANCE),
            arguments.whole("pictures' seed", seed, 0, MAX_SEED),
            tuple((attributes or {}).items()),
        )

    @property
    def strength(self) -> str:
        """The guidance in words."""
        return self.guidance if isinstance(self.guidance, str) else f"{self.guidance:g}"

    def options(self) -> dict[str, Any]:
        """What a pipeline takes of it, beside the seed and the number of pictures."""
        more = {"attributes": dict(self.attributes)} if self.attributes else {}
        return {"num_inference_steps": self.steps, "guidance_scale": self.guidance, **more}


def sample(model: Model, seed: Any) -> tuple[Identity, float]:
    """The person of a seed, who does not exist, and the cosine to the nearest person of the training data."""
    number = arguments.whole("person's seed", seed, 0, MAX_SEED)
    if not model.has("sampler"):
        raise InputError(
            f"{model.name} cannot invent people, it has no sampler: start from a photo or a face vector, or choose "
            "another model."
        )
    identity = model.sampler.sample(1, number)[0]
    return identity, float(model.sampler.nearest(identity.vector[None])[0][0])


def seed_of(model: Model, kind: Mapping[str, str]) -> int:
    """The seed of somebody new, of a kind of people. What is left open is drawn evenly: as many women as men, as many
    old people as young ones, whatever the training people were.

    Args:
        kind: by some of `TRAITS`, a kind, see `idgen.sampling.who.KINDS`.

    Raises:
        InputError: such people are too rare to be found by drawing.
    """
    if not reads_traits(model):
        return secrets.randbelow(_NEW_SEEDS)
    wanted = {name: kind.get(name) or secrets.choice(list(KINDS[name])) for name in TRAITS}
    fits = None
    for seed in (secrets.randbelow(_NEW_SEEDS) for _ in range(_TRIES)):
        traits = model.traits(model.sampler.sample(1, seed).vectors)
        found = {name: kind_of(name, traits)[0] for name in TRAITS}
        if found == wanted:
            return seed
        if fits is None and all(found[name] == value for name, value in kind.items()):
            fits = seed
    if fits is None:
        raise InputError(f"Of {_TRIES} people drawn none was {', '.join(kind.values())}: try again, or ask for less.")
    return fits


def somebody(identity: Identity | None, what: str) -> Identity:
    """The person, or an InputError that says for what there is nobody yet."""
    if identity is None:
        raise InputError(f"There is nobody to {what} yet: sample a person or choose a photo first.")
    return identity
