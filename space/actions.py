"""What the buttons do, without the buttons: plain functions on an `idgen` model. No Gradio here.

Everything raises `InputError` with one sentence that a visitor can act on.
"""

from __future__ import annotations

import itertools
import json
import math
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image, ImageDraw

from idgen.errors import InputError
from idgen.identity import Identities, Identity

if TYPE_CHECKING:
    from idgen.hub import Model
    from idgen.pipelines import GeneratedImage
    from idgen.scoring import Score

MAX_IMAGES, MAX_STEPS = 16, 50
MAX_SEED = 2**53 - 1  # whole numbers beyond it are not exact in a browser
_BATCH = 8  # pictures painted together
_PREVIEW = 640  # longest side in pixels of the photo shown back with its face marked
_WHITE, _GREEN = (255, 255, 255), (15, 118, 110)


@dataclass(frozen=True)
class Found:
    """A face read from a photo. The pictures are for showing it back, never for keeping."""

    identity: Identity
    face: Image.Image
    marked: Image.Image
    faces: int


@dataclass(frozen=True)
class Reference:
    """What scores of this kind look like between real pictures: the judge's calibration.

    `genuine` and `impostor` are (B,) counts in equal bins on [-1, 1]; `threshold` is the cosine at which a picture
    matches a person at the false-match rate `fmr`, `pair_threshold` the same for two single pictures.
    """

    genuine: np.ndarray
    impostor: np.ndarray
    threshold: float
    pair_threshold: float
    fmr: float
    explanation: str


@dataclass(frozen=True)
class Result:
    """Pictures of one person with their scores; `matrix` (N, N) holds the judge's cosines between them."""

    identity: Identity
    images: list[GeneratedImage]
    scores: list[Score]
    matrix: np.ndarray
    sentence: str
    reference: Reference
    model: str
    settings: dict[str, Any]


def whole(value: Any, name: str, low: int, high: int) -> int:
    """A whole number in [low, high], or an InputError that names the field."""
    return int(_number(value, name, low, high, "whole number", lambda number: number == math.floor(number)))


def fraction(value: Any, name: str, low: float = 0.0, high: float = 1.0) -> float:
    """A number in [low, high], or an InputError that names the field."""
    return _number(value, name, low, high, "number", lambda number: True)


def _number(value: Any, name: str, low: float, high: float, kind: str, fits: Callable[[float], bool]) -> float:
    wrong = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong or not low <= value <= high or not fits(value):  # NaN and infinity are in no range
        shown = "nothing" if value is None else repr(value)[:40]
        raise InputError(f"{name} is a {kind} from {low:,} to {high:,}, got {shown}: change it and try again.")
    return value


def sample(model: Model, seed: Any) -> tuple[Identity, float]:
    """The person of a seed, who does not exist, and the cosine to the nearest person of the training data."""
    identity = model.sampler.sample(1, whole(seed, "The person's seed", 0, MAX_SEED))[0]
    return identity, float(model.sampler.nearest(identity.vector[None])[0][0])


def identify(model: Model, photo: bytes, consent: Any) -> Found:
    """The largest face of a photo as an identity. Nothing is written anywhere.

    Raises:
        InputError: no consent, not a usable picture, or no face in it.
    """
    from idgen.faces.images import open_image

    if consent is not True:
        raise InputError("A photo needs the consent of the person in it: tick the box first, then choose the photo.")
    image = open_image(photo)
    face, detection, everybody = model.encoder.detect_and_align(image)
    return Found(
        identity=model.encoder.identify([face], aligned=True, name="photo"),
        face=face,
        marked=mark(image, np.asarray(detection.landmarks, float)),
        faces=len(everybody),
    )


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


def generate(
    model: Model,
    identity: Identity | None,
    images: Any = 8,
    steps: Any = 15,
    variation: Any = 0.0,
    seed: Any = 0,
    progress: Callable[[float, str], object] = lambda share, what: None,
) -> Result:
    """Pictures of one person and what the judge thinks of them.

    Args:
        identity: who; from `sample` or `identify`.
        images: how many; steps: of the sampler; seed: of the pictures' noise.
        variation: 0 paints exactly this face vector; above, each picture its own vector at cosine 1 − variation to it.
        progress: called with a share of 1 and a few words.
    """
    if identity is None:
        raise InputError("There is nobody to make pictures of yet: sample a person or choose a photo first.")
    settings: dict[str, Any] = {
        "images": whole(images, "The number of pictures", 1, MAX_IMAGES),
        "steps": whole(steps, "The number of steps", 1, MAX_STEPS),
        "variation": fraction(variation, "The variation"),
        "seed": whole(seed, "The pictures' seed", 0, MAX_SEED),
    }
    progress(0.0, "Getting the model ready")
    pipeline, scorer = model.pipeline, model.scorer
    total = math.ceil(settings["images"] / _BATCH) * settings["steps"]
    done = itertools.count(1)

    def stepped(pipeline: Any, step: int, timestep: Any, tensors: dict) -> None:
        progress(0.9 * next(done) / total, "Painting")

    made = list(
        pipeline.iterate(
            identity,
            settings["images"],
            num_inference_steps=settings["steps"],
            seed=settings["seed"],
            variation_cosine=1.0 - settings["variation"],
            batch_size=_BATCH,
            callback_on_step_end=stepped,
        )
    )
    progress(0.92, "Asking the judge")
    pictures = [image.image for image in made]
    scores = scorer.score(pictures, identity.vector.expand(len(made), -1))
    matrix = np.asarray(scorer.pairwise(pictures), float)
    return Result(identity, made, scores, matrix, scorer.sentence(scores), reference(model), model.name, settings)


def reference(model: Model) -> Reference:
    """The judge's calibration for comparing a picture with a face vector of the encoder."""
    calibration, fmr = model.judge.calibration, model.scorer.fmr
    if calibration is None:
        raise InputError(
            f"The judge of {model.name} was not calibrated, so its scores mean nothing: calibrate it first."
        )
    rates = calibration.rates("image-bridge")
    return Reference(
        np.asarray(rates.genuine),
        np.asarray(rates.impostor),
        calibration.threshold("image-bridge", fmr),
        calibration.threshold("image-image", fmr),
        fmr,
        calibration.explanation("image-bridge", fmr),
    )


def describe(identity: Identity) -> dict[str, Any]:
    """An identity for a program: what the API answers."""
    return {
        "name": identity.name,
        "source": identity.source,
        "space": identity.space,
        "vector": [float(value) for value in identity.vector],
    }


def report(result: Result) -> dict[str, Any]:
    """The scores for a program: what the API answers and the zip's manifest holds."""
    return {
        "model": result.model,
        "identity": result.identity.name,
        "source": result.identity.source,
        **result.settings,
        "fmr": result.reference.fmr,
        "threshold": result.reference.threshold,
        "sentence": result.sentence,
        "matrix": np.round(result.matrix, 4).tolist(),
        "pictures": [
            {
                "file": _file(result, number),
                "identity": result.identity.name,
                "k": image.k,
                "seed": image.seed,
                "similarity": round(float(score.similarity), 4),
                "judge_similarity": round(float(score.judge_similarity), 4),
                "match": bool(score.match),
                "model": result.model,
            }
            for number, (image, score) in enumerate(zip(result.images, result.scores, strict=True))
        ],
    }


def identity_file(identity: Identity) -> bytes:
    """The identity as `idgen generate` reads it. The file lives in this call only."""
    with tempfile.TemporaryDirectory(prefix="idgen-") as folder:
        path = Path(folder) / "identity.safetensors"
        Identities.of([identity]).save(path)
        return path.read_bytes()


def write(result: Result, folder: Path) -> tuple[list[Path], Path]:
    """The pictures as PNGs that say they are generated, and a zip of them with its manifest."""
    from idgen.provenance import save_image

    files = []
    lines = report(result)["pictures"]
    for number, image in enumerate(result.images):
        path = folder / _file(result, number)
        info = {"model": result.model, "seed": image.seed, "identity": result.identity.name, "k": image.k}
        save_image(cast(Image.Image, image.image), path, info)
        files.append(path)
    archive = folder / f"idgen-{result.identity.name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:  # PNGs do not shrink further
        for path in files:
            zipped.write(path, path.name)
        zipped.writestr("manifest.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return files, archive


def _file(result: Result, number: int) -> str:
    return f"{result.identity.name}-{result.images[number].k:02d}.png"
