"""What is asked of pictures, as a pipeline takes it and as a folder of them notes it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image
from torch import Tensor

from idgen.ground.attributes import Asking, Vocabulary
from idgen.ground.errors import InputError
from idgen.ground.images import ImageSource
from idgen.ground.words import count
from idgen.model import Model
from idgen.sets import attribute_rows


def asked(
    vocabulary: Vocabulary, attributes: Mapping[str, Any] | None, as_in: str | Path | Tensor | None = None
) -> Asking | None:
    """What is asked of pictures, as a pipeline takes it; None where nothing is.

    Args:
        vocabulary: of the pipeline.
        attributes: see `idgen.painting.generate`.
        as_in: a labelled set, or its rows.

    Raises:
        InputError: the model cannot be told so, or the set has no labels.
    """
    if not attributes and as_in is None:
        return None
    vocabulary.require()
    if isinstance(as_in, str | Path):
        as_in = attribute_rows(as_in, vocabulary)
    return Asking(attributes or {}, vocabulary, as_in)


def posed(model: Model, attributes: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What is asked for, a picture's pose in numbers."""
    if not attributes or "pose" not in attributes:
        return attributes
    rest = {name: wish for name, wish in attributes.items() if name != "pose"}
    if "yaw" in rest or "pitch" in rest:
        raise InputError("A pose says yaw and pitch: leave these out, or the pose.")
    model.pipeline.vocabulary.require()
    return {**rest, **model.pose(attributes["pose"])}


def portraits(model: Model, reference: ImageSource | Sequence[ImageSource], people: int) -> list[Image]:
    """A reference a person, as a pipeline takes them."""
    given: list[Any] = [*reference] if isinstance(reference, (list, tuple)) else [reference]
    if len(given) not in (1, people):
        more = f", or one for each of the {count(people, 'person', 'people')}" if people > 1 else " for the one person"
        raise InputError(f"Give one reference{more}, not {len(given)}.")
    if "reference" not in inspect.signature(model.pipeline.prepare).parameters:
        raise InputError(f"The model {model.name!r} keeps to no reference: that is for an Arc2Face, converted with it.")
    faces = [model.portrait(one, model.pipeline.image_size) for one in given]
    return faces * (people if len(faces) == 1 else 1)


def noted(
    asking: Asking | None, attributes: Mapping[str, Any] | None, as_in: Any, faces: Sequence[Image] | None
) -> dict[str, Any]:
    """What a folder notes of what was asked, a set and references by their content."""
    given = {} if faces is None else {"reference": [_digest(face.tobytes()) for face in faces]}
    if asking is None:
        return given
    content = None if asking.like is None else _digest(asking.like.numpy().tobytes())
    return given | {"attributes": {**(attributes or {}), **({"as in": f"{as_in} ({content})"} if content else {})}}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
