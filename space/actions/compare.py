"""Whether two pictures show the same person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idgen.errors import InputError
from idgen.images import MAX_PIXELS
from idgen.scoring import UNCALIBRATED

from .scores import Reference, reference
from .who import Face, check_consent, read_face

if TYPE_CHECKING:
    from idgen.model import Model
    from idgen.scoring import Comparison


@dataclass(frozen=True)
class Compared:
    """Two pictures: their faces, the encoder's cosine, and the comparison with its verdict where there is a judge."""

    faces: tuple[Face, Face]
    cosine: float
    comparison: Comparison | None
    reference: Reference | None
    sentence: str


def compare(
    model: Model, first: bytes | None, second: bytes | None, consent: Any, pixels: int = MAX_PIXELS
) -> Compared:
    """Whether two pictures, of at most `pixels` pixels each, show the same person. Nothing is written anywhere.

    Raises:
        InputError: no consent, a picture is missing or unusable, or there is no face in one.
    """
    check_consent(consent)
    if not first or not second:
        raise InputError("Two pictures are compared: choose both.")
    faces = read_face(model, first, pixels), read_face(model, second, pixels)
    if not model.has("judge"):
        a, b = model.encoder.encode([face.face for face in faces])
        cosine = float(a @ b)
        sentence = f"The cosine is {cosine:.2f}, and {model.name} has no judge: {UNCALIBRATED}"
        return Compared(faces, cosine, None, None, sentence)
    comparison = model.scorer.compare(*((face.face, face.judged) for face in faces))
    sentence = f"{comparison.sentence()} {model.scorer.judge_calibration.scope}"
    return Compared(faces, comparison.cosine, comparison, reference(model, "image-image"), sentence)
