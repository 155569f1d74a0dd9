"""Who pictures are asked for of: a person of a seed, or of photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from idgen.errors import InputError
from idgen.identity import Identity
from idgen.images import MAX_PIXELS, UPLOADS, open_image

from .recipe import seed_of
from .scores import reference

if TYPE_CHECKING:
    from idgen.model import Model

_PREVIEW = 640  # longest side in pixels of the photo shown back with its face marked
_WHITE, _GREEN = (255, 255, 255), (15, 118, 110)


@dataclass(frozen=True)
class Face:
    """A face read from a photo: its crop as the encoder and as the judge sees it, the photo with the face drawn on it,
    and how many faces there were."""

    face: Image.Image
    judged: Image.Image
    marked: Image.Image
    faces: int


@dataclass(frozen=True)
class Found:
    """Who is on the photos. The pictures are for showing them back, never for keeping."""

    identity: Identity
    faces: list[Face]
    scope: str = ""  # on what the judge was calibrated; "" without one


def sample(model: Model, seed: Any) -> tuple[Identity, float]:
    """The person of a seed, who does not exist, and the cosine to the nearest person of the training data."""
    number = seed_of("person's seed", seed)
    if not model.has("sampler"):
        raise InputError(
            f"{model.name} cannot invent people, it has no sampler: start from a photo or a face vector, or choose "
            "another model."
        )
    identity = model.sampler.sample(1, number)[0]
    return identity, float(model.sampler.nearest(identity.vector[None])[0][0])


def somebody(identity: Identity | None, what: str) -> Identity:
    """The person, or an InputError that says for what there is nobody yet."""
    if identity is None:
        raise InputError(f"There is nobody to {what} yet: sample a person or choose a photo first.")
    return identity


def identify(model: Model, photos: Sequence[bytes], consent: Any, pixels: int = MAX_PIXELS) -> Found:
    """The largest face of each photo, and the mean of their vectors. Nothing is written anywhere.

    Args:
        photos: files (`uploads.take` says how many), of at most `pixels` pixels each.

    Raises:
        InputError: no consent, not a usable picture, or no face in one.
    """
    check_consent(consent)
    faces = [read_face(model, photo, pixels) for photo in photos]
    identity = model.encoder.identify([face.face for face in faces], aligned=True, name="photo")
    known = reference(model)
    return Found(identity, faces, "" if known is None else known.calibration.scope)


def check_consent(consent: Any) -> None:
    """Raise InputError without it."""
    if consent is not True:
        raise InputError("A photo needs the consent of the person in it: tick the box first, then choose the photo.")


def read_face(model: Model, photo: bytes, pixels: int) -> Face:
    """The largest face of an uploaded photo of at most `pixels` pixels."""
    if not model.has("encoder"):
        raise InputError(f"{model.name} reads no photos, it has no face encoder: choose another model.")
    image = open_image(photo, pixels, UPLOADS)
    encoder = model.encoder
    judge = model.judge.recognizer if model.has("judge") else encoder
    face, detection, everybody = encoder.detect_and_align(image)
    judged = face if judge.alignment == encoder.alignment else judge.crop(image, detection)
    return Face(face, judged, mark(image, np.asarray(detection.landmarks, float)), len(everybody))


def mark(image: Image.Image, landmarks: np.ndarray) -> Image.Image:
    """The photo at screen size with the face's square and its landmarks, (5, 2) in image pixels, drawn on it."""
    scale = min(1.0, _PREVIEW / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    shown = image.resize(size, Image.Resampling.LANCZOS).convert("RGB")
    points = landmarks * scale
    draw = ImageDraw.Draw(shown)
    width = max(2, round(max(size) / 220))
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    # In ArcFace's template the crop's middle lies just below the eyes, and the crop is 3.2 eye distances wide.
    middle = eyes + 0.11 * (mouth - eyes)
    half = max(1.6 * float(np.linalg.norm(points[1] - points[0])), 4.0)
    for inset, colour, thick in ((0, _WHITE, width + 2), (1, _GREEN, width)):  # white around green: seen on anything
        box = [*(middle - half + inset), *(middle + half - inset)]
        draw.rounded_rectangle(box, radius=half / 5, outline=colour, width=thick)
    for x, y in points:
        draw.ellipse([x - width, y - width, x + width, y + width], fill=_WHITE, outline=_GREEN)
    return shown
