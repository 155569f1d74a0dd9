"""Photos that visitors bring: whose they are, and whether two show the same person."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from idgen.ground import domain
from idgen.ground.domain import PHOTOGRAPHS
from idgen.ground.errors import InputError
from idgen.ground.identity import Identity
from idgen.ground.images import MAX_PIXELS, UPLOADS, open_image
from idgen.ground.provenance import domain_of, encode, mark_of
from idgen.model import Model
from idgen.scoring import Comparison, Meaning, calibrations_of, explained, meaning

from .scores import reference, why_not

MOST_COPY = 500_000
"""Bytes of a photo that a page hands back."""
_WHITE, _GREEN = (255, 255, 255), (15, 118, 110)


@dataclass(frozen=True)
class Face:
    """A face read from a photo: its crop, its views by the encoder, the judge and maybe a witness, the photo with the
    face drawn on it, how many faces there were, and what kind of picture it is. Where there are several: where their
    middles are, in shares of the photo's width and height, and a copy of the photo for the page, to choose another."""

    face: Image.Image
    views: tuple[Image.Image, ...]
    marked: Image.Image
    faces: int
    domain: str
    places: tuple[tuple[float, float], ...] = ()
    copy: bytes = b""


@dataclass(frozen=True)
class Found:
    """Who is on the photos. The pictures are for showing them back, never for keeping."""

    identity: Identity
    faces: list[Face]
    scope: str = ""  # what verdicts there will be on pictures of this person
    doubt: str = ""  # why they may not all show one person; "" where they seem to


def identify(
    model: Model,
    photos: Sequence[bytes],
    consent: Any,
    pixels: int = MAX_PIXELS,
    which: int | None = None,
    near: tuple[float, float] | None = None,
) -> Found:
    """A face of each photo, of at most `pixels` pixels, the largest unless another is asked for, by its number (from 1)
    or a place (in shares of width and height), and the mean of their vectors. Nothing is written.

    Raises:
        InputError: no consent, not a usable picture, or no face in one.
    """
    faces = [_read(model, photo, consent, pixels, which, near) for photo in photos]
    kinds = {face.domain for face in faces}
    of = kinds.pop() if len(kinds) == 1 else PHOTOGRAPHS
    seen, viewers = [face.views for face in faces], [model.encoder, *model.viewers]
    names = [f"photo {number}" for number in range(1, len(faces) + 1)]
    identity, doubt = model.encoder.of_views(seen, viewers, [of] * len(faces), "photo", names)
    known = reference(model, identity)
    scope = why_not(model, identity) if known is None else known.calibration.scope
    return Found(identity, faces, scope, doubt[:1].upper() + doubt[1:])


def _read(
    model: Model,
    photo: bytes,
    consent: Any,
    pixels: int,
    which: int | None = None,
    near: tuple[float, float] | None = None,
) -> Face:
    """A face, by default the largest, of an uploaded photo of at most `pixels` pixels."""
    if consent is not True:
        raise InputError("A photo needs the consent of the person in it: tick the box first, then choose the photo.")
    if not model.has("encoder"):
        raise InputError(f"{model.name} reads no photos, it has no face encoder: choose another model.")
    image = open_image(photo, pixels, UPLOADS)
    encoder = model.encoder
    of = domain_of(photo)
    _, detection, everybody = encoder.locate(image, of, 1 if which is None else which)
    places = [one.centre / image.size for one in everybody]
    if near is not None:
        detection = everybody[int(np.argmin([np.linalg.norm((place - near) * image.size) for place in places]))]
    face = encoder.crop(image, detection)
    viewers = [encoder, *model.viewers]
    views = tuple(face if one.alignment == encoder.alignment else one.crop(image, detection) for one in viewers)
    marked = mark(image, np.asarray(detection.landmarks, float))
    if len(everybody) == 1:
        return Face(face, views, marked, 1, of)
    there = tuple((round(float(x), 4), round(float(y), 4)) for x, y in places)
    return Face(face, views, marked, len(everybody), of, there, _copy(image, photo))


def _copy(image: Image.Image, photo: bytes) -> bytes:
    """A photo as a JPEG that a page can hand back in a request, which says what the photo says of how it was made."""
    info = mark_of(photo)
    for side in (1280, 960, 640, 320):
        small = image.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        if info is not None:
            data = encode(small, info, "JPEG", quality=90)
        else:
            small.save(file := io.BytesIO(), "JPEG", quality=90)
            data = file.getvalue()
        if len(data) <= MOST_COPY:
            break
    return data


@dataclass(frozen=True)
class Compared:
    """Two pictures: their faces, the encoder's cosine, and the comparison with its verdict where there is a judge."""

    faces: tuple[Face, Face]
    cosine: float
    comparison: Comparison | None
    reference: Meaning | None
    sentence: str


def compare(model: Model, first: bytes, second: bytes, consent: Any, pixels: int = MAX_PIXELS) -> Compared:
    """Whether two pictures, of at most `pixels` pixels each, show the same person. Nothing is written.

    Raises:
        InputError: no consent, not a usable picture, or no face in one.
    """
    faces = _read(model, first, consent, pixels), _read(model, second, consent, pixels)
    of = domain.against(face.domain for face in faces)
    if not model.has("judge"):
        a, b = model.encoder.encode([face.face for face in faces])
        cosine = min(1.0, float(a @ b))  # rounding goes beyond
        said = explained(calibrations_of(model.encoder), of, "image-image")
        return Compared(
            faces, cosine, None, None, f"The cosine is {cosine:.2f}, and {model.name} has no judge: {said}."
        )
    a, b = (face.views for face in faces)
    comparison = model.scorer.compare(a, b, of=of)
    known = meaning(model.judge.calibrations, comparison.of, "image-image", comparison.fmr)
    known = known or model.scorer.witness(comparison.of)[1]
    sentence = comparison.sentence() if known is None else f"{comparison.sentence()} {known.calibration.scope}"
    return Compared(faces, comparison.cosine, comparison, known, sentence)


def mark(image: Image.Image, landmarks: np.ndarray) -> Image.Image:
    """The photo at screen size with the face's square and its landmarks, (5, 2) in image pixels, drawn on it."""
    shown = image.copy()
    shown.thumbnail((640, 640), Image.Resampling.LANCZOS)
    points = landmarks * shown.width / image.width
    draw = ImageDraw.Draw(shown)
    width = max(2, round(max(shown.size) / 220))
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
