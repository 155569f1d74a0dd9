"""What the buttons do, without the buttons: plain functions on an `idgen` model. No Gradio here.

Everything raises `InputError` with one sentence that a visitor can act on. What takes long is an iterator of snapshots,
the last of which is the result; closing it stops the work.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
import weakref
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image, ImageDraw

from idgen.errors import InputError
from idgen.identity import Identities, Identity
from idgen.images import MAX_PIXELS, UPLOADS, open_image
from space.models import defaults
from space.stream import Teller, stream

if TYPE_CHECKING:
    from idgen.model import Model
    from idgen.pipelines import GeneratedImage
    from idgen.scoring import Comparison

MOST_IMAGES, MOST_STEPS, MOST_GUIDANCE = 64, 100, 10.0
MAX_SEED = 2**53 - 1  # whole numbers beyond it are not exact in a browser
MORPH = 7  # pictures in a morph strip
VARIATIONS = (0.0, 0.15, 0.3, 0.45, 0.6)  # of the trade-off curve
POINT_IMAGES = 4  # pictures behind each of its points
NEIGHBOURS = 5  # of a sampled crowd, each pictured once
CROWD = 512  # sampled people among whom the nearest are looked for
SELF = 0.9999  # a cosine above it: the same person, not a neighbour
_PREVIEW = 640  # longest side in pixels of the photo shown back with its face marked
_PATIENCE = 0.5  # seconds between previews
_OVERHEAD = 12  # and at least so many times what the last one cost
_WHITE, _GREEN = (255, 255, 255), (15, 118, 110)

Line = dict[str, Any]
"""A picture's scores: `similarity` by the encoder, `judge_similarity` and `match` by the judge; None: not measured."""


# ---------------------------------------------------------------- what is asked for


@dataclass(frozen=True)
class Recipe:
    """How pictures are made: the same recipe for the same person gives the same pictures."""

    images: int
    steps: int
    variation: float
    guidance: float
    seed: int

    @classmethod
    def of(
        cls, model: Model, images: Any = 8, steps: Any = None, variation: Any = 0.0, guidance: Any = None, seed: Any = 0
    ) -> Recipe:
        """From what a visitor asked for; None takes the model's own steps and guidance.

        Args:
            model: who paints.
            images: how many; steps: of the sampler; seed: of the pictures' noise.
            variation: 0 paints exactly this face vector; above, each picture a vector of its own at cosine
                1 − variation to it.
            guidance: how much the person's influence is exaggerated; 1 is none.

        Raises:
            InputError: one of them is of no use.
        """
        own_steps, own_guidance = defaults(model)
        return cls(
            images=whole(images, "The number of pictures", 1, MOST_IMAGES),
            steps=whole(own_steps if steps is None else steps, "The number of steps", 1, max(MOST_STEPS, own_steps)),
            variation=fraction(variation, "The variation"),
            guidance=own_guidance if guidance is None else fraction(guidance, "The guidance", 0.0, MOST_GUIDANCE),
            seed=whole(seed, "The pictures' seed", 0, MAX_SEED),
        )

    def options(self) -> dict[str, Any]:
        """What the pipeline takes."""
        return {
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
        }


def whole(value: Any, name: str, low: int, high: int) -> int:
    """A whole number in [low, high], or an InputError that names the field."""
    return int(_number(value, name, low, high, "whole number", lambda number: number == math.floor(number)))


def fraction(value: Any, name: str, low: float = 0.0, high: float = 1.0) -> float:
    """A number in [low, high], or an InputError that names the field."""
    return float(_number(value, name, low, high, "number", lambda number: True))


def _number(value: Any, name: str, low: float, high: float, kind: str, fits: Callable[[float], bool]) -> float:
    wrong = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong or not low <= value <= high or not fits(value):  # NaN and infinity are in no range
        shown = "nothing" if value is None else repr(value)[:40]
        raise InputError(f"{name} is a {kind} from {low:,} to {high:,}, got {shown}: change it and try again.")
    return value


# ---------------------------------------------------------------- who


@dataclass(frozen=True)
class Face:
    """A face read from a photo: its crop, the photo with the face drawn on it, and how many faces there were."""

    face: Image.Image
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
    number = whole(seed, "The person's seed", 0, MAX_SEED)
    if not model.has("sampler"):
        raise InputError(
            f"{model.name} cannot invent people, it has no sampler: start from a photo or a face vector, or choose "
            "another model."
        )
    identity = model.sampler.sample(1, number)[0]
    return identity, float(model.sampler.nearest(identity.vector[None])[0][0])


def identify(model: Model, photos: Sequence[bytes], consent: Any, most: int = 8, pixels: int = MAX_PIXELS) -> Found:
    """The largest face of each photo, and the mean of their vectors. Nothing is written anywhere.

    Args:
        photos: files, at most `most` of them, of at most `pixels` pixels each.

    Raises:
        InputError: no consent, no or too many photos, not a usable picture, or no face in one.
    """
    _consent(consent)
    if not photos:
        raise InputError("There is no photo: choose one first.")
    if len(photos) > most:
        raise InputError(f"{len(photos)} photos are more than {most}: choose the best ones of this person.")
    faces = [_face(model, photo, pixels) for photo in photos]
    identity = model.encoder.identify([face.face for face in faces], aligned=True, name="photo")
    known = reference(model)
    return Found(identity, faces, "" if known is None else known.scope)


def _consent(consent: Any) -> None:
    if consent is not True:
        raise InputError("A photo needs the consent of the person in it: tick the box first, then choose the photo.")


def _face(model: Model, photo: bytes, pixels: int) -> Face:
    if not model.has("encoder"):
        raise InputError(f"{model.name} reads no photos, it has no face encoder: choose another model.")
    image = open_image(photo, pixels, UPLOADS)
    face, detection, everybody = model.encoder.detect_and_align(image)
    return Face(face, mark(image, np.asarray(detection.landmarks, float)), len(everybody))


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


# ---------------------------------------------------------------- painting


@dataclass(frozen=True)
class Progress:
    """Pictures on their way: those that are done with their scores, and how the next ones look so far."""

    wanted: int
    images: list[GeneratedImage]
    scores: list[Line]
    previews: list[Image.Image]
    share: float


@dataclass(frozen=True)
class Reference:
    """What scores of this kind look like between real pictures: the judge's calibration.

    `genuine` and `impostor` are (B,) counts in equal bins on [-1, 1]; `threshold` is the cosine at which two things of
    this kind match at the false-match rate `fmr`, `pair_threshold` the same for two single pictures; `scope` says on
    whom all of it was measured.
    """

    genuine: np.ndarray
    impostor: np.ndarray
    threshold: float
    pair_threshold: float
    fmr: float
    explanation: str
    scope: str


@dataclass(frozen=True)
class Result:
    """Pictures of one person with their scores.

    `matrix` (N, N) holds the cosines between the pictures, by the judge, or by the encoder where there is no judge, or
    None where there is neither; `reference` is None without a judge.
    """

    identity: Identity
    images: list[GeneratedImage]
    scores: list[Line]
    matrix: np.ndarray | None
    sentence: str
    reference: Reference | None
    model: str
    recipe: Recipe


def generate(model: Model, identity: Identity | None, recipe: Recipe) -> Generator[Progress | Result, None, None]:
    """Pictures of one person and what the judge thinks of them.

    Raises:
        InputError: there is nobody (at once), or the person is of another space than the model's.
    """
    if identity is None:
        raise InputError("There is nobody to make pictures of yet: sample a person or choose a photo first.")
    person = identity

    def work(teller: Teller[Progress | Result]) -> None:
        pairs = list(_painted(model, Identities.of([person]), recipe, recipe.images, person.vector, teller))
        images, scores = [image for image, _ in pairs], [line for _, line in pairs]
        sentence, known = verdict(model, scores), reference(model)
        teller.say(Result(person, images, scores, _matrix(model, images), sentence, known, model.name, recipe))

    return stream(work)


def _painted(
    model: Model, people: Identities, recipe: Recipe, wanted: int, target: Any, teller: Teller[Any], **options: Any
) -> Iterator[tuple[GeneratedImage, Line]]:
    """Paint `wanted` pictures, a few at a time, scored against `target` (D,), and tell how far they are."""
    import torch

    from idgen.painting import paint, scoring
    from idgen.sampling.variation import parse_variation

    pipeline, score = model.pipeline, scoring(model)
    on_gpu = not str(model.device).startswith("cpu")
    together = options.pop("together", 0) or (8 if on_gpu else max(1, torch.get_num_threads()))
    given = options.pop("callback", None)
    images: list[GeneratedImage] = []
    lines: list[Line] = []
    state = {"steps": 0, "shown": time.monotonic(), "wait": _PATIENCE}
    total = math.ceil(wanted / together) * recipe.steps

    def stepped(_: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any] | None:
        teller.check()
        changed = given(step, tensors) if given is not None else None
        state["steps"] += 1
        now = time.monotonic()
        if now - state["shown"] >= state["wait"] and step + 1 < recipe.steps:
            previews = pipeline.preview((changed or tensors)["latents"])
            state["wait"] = max(_PATIENCE, _OVERHEAD * (time.monotonic() - now))
            teller.say(Progress(wanted, list(images), list(lines), previews, state["steps"] / total))
            state["shown"] = time.monotonic()
        return changed

    options |= {**recipe.options(), "batch_size": together, "callback_on_step_end": stepped}
    varied = parse_variation(recipe.variation)
    made = paint(pipeline, people, wanted // len(people), recipe.seed, 0, varied, options)
    done: list[GeneratedImage] = []
    try:
        for image in made:
            done.append(image)
            if len(done) == together or len(images) + len(done) == wanted:
                new = score([one.image for one in done], target.expand(len(done), -1))
                images += done
                lines += new
                teller.say(Progress(wanted, list(images), list(lines), [], state["steps"] / total))
                state["shown"] = time.monotonic()
                yield from zip(done, new, strict=True)
                done = []
    finally:
        made.close()  # type: ignore[attr-defined]
        if on_gpu:
            torch.cuda.empty_cache()  # also when it was stopped, or failed


def last(snapshots: Generator[Any, None, None]) -> Any:
    """The result of long work, for who does not want to watch."""
    item = None
    for item in snapshots:  # noqa: B007
        pass
    return item


# ---------------------------------------------------------------- what it is worth


def verdict(model: Model, scores: Sequence[Line]) -> str:
    """How many are the same person, in plain words; or why nobody can say."""
    if not model.has("judge") or not model.has("encoder"):
        return f"Nothing says whether this is the same person: {model.name} has no independent judge."
    from idgen.words import one_in

    matches = sum(bool(line["match"]) for line in scores)
    return (
        f"{matches or 'None'} of {len(scores)} {'is' if matches == 1 else 'are'} the same person, says the judge, "
        f"at a false-match rate of {one_in(model.scorer.fmr)}."
    )


def reference(model: Model, kind: str = "image-bridge") -> Reference | None:
    """The judge's calibration for a kind of comparison, see `idgen.scoring`; None where there is no judge."""
    if not model.has("judge") or not model.has("encoder"):
        return None
    calibration, fmr = model.scorer.judge_calibration, model.scorer.fmr
    rates = calibration.rates(kind)
    return Reference(
        np.asarray(rates.genuine),
        np.asarray(rates.impostor),
        calibration.threshold(kind, fmr),
        calibration.threshold("image-image", fmr),
        fmr,
        calibration.explanation(kind, fmr),
        calibration.scope,
    )


def _embedded(model: Model, images: Sequence[GeneratedImage]) -> np.ndarray | None:
    """(N, D) unit vectors by the judge, or by the encoder where there is none; NaN where no face is found."""

    if not model.has("encoder"):
        return None
    viewer = model.judge.recognizer if model.has("judge") else model.encoder
    pictures = [cast(Image.Image, one.image) for one in images]
    vectors = model.encoder.embed_by(pictures, [viewer], model.pipeline.aligned)[0].double().numpy()
    return None if np.isnan(vectors).all() else vectors


def _matrix(model: Model, images: Sequence[GeneratedImage]) -> np.ndarray | None:
    vectors = _embedded(model, images)
    return None if vectors is None else vectors @ vectors.T


# ---------------------------------------------------------------- two people


@dataclass(frozen=True)
class Morph:
    """Pictures from one person to another; `scores[side]` holds what they are to the first and to the second."""

    people: Identities
    ends: tuple[Identity, Identity]
    images: list[GeneratedImage]
    scores: tuple[list[Line], list[Line]]
    sentence: str
    reference: Reference | None
    model: str
    recipe: Recipe


def morph(
    model: Model, first: Identity | None, second: Identity | None, recipe: Recipe
) -> Generator[Progress | Morph, None, None]:
    """A strip of `MORPH` people in equal steps on the arc between two, each pictured once from nearly the same noise.

    Raises:
        InputError: somebody is missing or they are of different spaces (at once), or of another than the model's.
    """
    from idgen.painting import scoring
    from idgen.sampling.interpolation import interpolate

    if first is None or second is None:
        raise InputError("A strip leads from one person to another: choose both first.")
    ends = first, second
    people = interpolate(first, second, MORPH)

    def work(teller: Teller[Progress | Morph]) -> None:
        pairs = list(_painted(model, people, recipe, MORPH, first.vector, teller, together=MORPH, callback=share_noise))
        images = [image for image, _ in pairs]
        to_second = scoring(model)([image.image for image in images], second.vector.expand(MORPH, -1))
        both = [line for _, line in pairs], to_second
        teller.say(Morph(people, ends, images, both, _crossing(model, both), reference(model), model.name, recipe))

    return stream(work)


def share_noise(step: int, tensors: dict[str, Any]) -> dict[str, Any] | None:
    """After the first step everybody goes on from the first picture's latents: who it is differs, the pose does not.

    The noise of a picture follows from its person, so a strip would jump; a callback may replace the latents
    (B, C, h, w).
    """
    latents = tensors["latents"]
    return {"latents": latents[:1].expand_as(latents)} if step == 0 else None


def _crossing(model: Model, scores: tuple[list[Line], list[Line]]) -> str:
    if scores[0][0]["match"] is None:
        return f"From one person to the other; nothing says who is who on the way: {model.name} has no judge."
    from idgen.words import one_in

    sides = list(zip(*([bool(line["match"]) for line in side] for side in scores), strict=True))
    counts = [sides.count(kind) for kind in ((True, False), (False, True), (True, True), (False, False))]
    kinds = ("are still A", "already B", "both", "neither")
    said = [f"{count} {kind}" for count, kind in zip(counts, kinds, strict=True) if count or kind not in kinds[2:]]
    listed = f"{', '.join(said[:-1])} and {said[-1]}"
    return f"Of {MORPH} pictures, {listed}, says the judge, at a false-match rate of {one_in(model.scorer.fmr)}."


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
    _consent(consent)
    if not first or not second:
        raise InputError("Two pictures are compared: choose both.")
    faces = _face(model, first, pixels), _face(model, second, pixels)
    people = [model.encoder.identify([face.face], aligned=True, name="photo") for face in faces]
    cosine = float(people[0].vector @ people[1].vector)
    if not model.has("judge"):
        from idgen.scoring import UNCALIBRATED

        sentence = f"The cosine is {cosine:.2f}, and {model.name} has no judge: {UNCALIBRATED}"
        return Compared(faces, cosine, None, None, sentence)
    comparison = model.scorer.compare(first, second)
    sentence = f"{comparison.sentence()} {model.scorer.judge_calibration.scope}"
    return Compared(faces, cosine, comparison, reference(model, "image-image"), sentence)


# ---------------------------------------------------------------- explore


@dataclass(frozen=True)
class Point:
    """What a setting does to one person's pictures.

    Args:
        identity: the person; model: who painted them; recipe: the setting.
        similarity: mean cosine to the person, by the judge, or by the encoder where there is none.
        diversity: 1 − the mean cosine between two of the pictures, by the same.
        matches: how many of them the judge takes for the person; None without a judge.
        images, scores: the pictures.
    """

    identity: Identity
    model: str
    recipe: Recipe
    similarity: float
    diversity: float
    matches: int | None
    images: list[GeneratedImage] = field(repr=False)
    scores: list[Line] = field(repr=False)

    def joins(self, identity: Identity, model: str, recipe: Recipe) -> bool:
        """Whether it belongs into one plot with points of that person: all but variation and guidance is the same."""
        same = replace(self.recipe, variation=recipe.variation, guidance=recipe.guidance) == recipe
        return same and self.model == model and bool(np.array_equal(self.identity.vector, identity.vector))


@dataclass(frozen=True)
class Curve:
    """Points measured so far, what is being painted, and whether that is all."""

    points: list[Point]
    progress: Progress | None
    finished: bool
    threshold: float | None
    model: str


def explore(
    model: Model, identity: Identity | None, recipe: Recipe, variations: Sequence[float] = VARIATIONS
) -> Generator[Curve, None, None]:
    """How similar and how different pictures are at some variations, other things being as in the recipe.

    Raises:
        InputError: there is nobody or no encoder (at once), or nothing could be measured.
    """
    from idgen.evaluation.diversity import genuine_distance

    if identity is None:
        raise InputError("There is nobody to explore yet: sample a person or choose a photo first.")
    if not model.has("encoder"):
        raise InputError(f"{model.name} has no face encoder, so nothing can be measured: choose another model.")
    person, recipes = identity, [Recipe(**{**asdict(recipe), "variation": value}) for value in variations]

    def work(teller: Teller[Curve]) -> None:
        known = reference(model)
        threshold = None if known is None else known.threshold
        points: list[Point] = []
        for one in recipes:
            teller.check()
            inner: Teller[Progress] = _Relay(
                teller, lambda progress: Curve(list(points), progress, False, threshold, model.name)
            )
            pairs = list(_painted(model, Identities.of([person]), one, one.images, person.vector, inner))
            lines = [line for _, line in pairs]
            images = [image for image, _ in pairs]
            which = "similarity" if known is None else "judge_similarity"
            measured = [line[which] for line in lines if line[which] is not None]
            vectors = _embedded(model, images)
            kept = vectors[np.isfinite(vectors).all(1)] if vectors is not None else np.empty((0, 1))
            if len(kept) < 2 or not measured:
                raise InputError("No face was found in these pictures, so nothing can be measured: change a setting.")
            points.append(
                Point(
                    person,
                    model.name,
                    one,
                    float(np.mean(measured)),
                    genuine_distance(kept, np.zeros(len(kept))),
                    None if known is None else sum(bool(line["match"]) for line in lines),
                    images,
                    lines,
                )
            )
            teller.say(Curve(list(points), None, one is recipes[-1], threshold, model.name))

    return stream(work)


class _Relay(Teller[Any]):
    """Speaks through another teller, in other words."""

    def __init__(self, teller: Teller[Any], words: Callable[[Any], Any]):
        self.said, self.stopped, self._words = teller.said, teller.stopped, words

    def say(self, item: Any) -> None:
        super().say(self._words(item))


@dataclass(frozen=True)
class Neighbour:
    """A sampled person with their cosine to somebody, and one picture."""

    identity: Identity
    cosine: float
    image: GeneratedImage = field(repr=False)


_crowds: weakref.WeakKeyDictionary[Any, Identities] = weakref.WeakKeyDictionary()


def nearest(
    model: Model, identity: Identity | None, recipe: Recipe, count: int = NEIGHBOURS
) -> Generator[list[Neighbour], None, None]:
    """Who of the `CROWD` people that seed 0 samples is nearest to a person, each pictured once."""
    if identity is None:
        raise InputError("There is nobody to look around from yet: sample a person or choose a photo first.")
    sample(model, 0)  # refuses a model that cannot
    person = identity
    person.require_space(model.sampler.space, model.sampler.dim)

    def work(teller: Teller[list[Neighbour]]) -> None:
        if model not in _crowds:
            _crowds[model] = model.sampler.sample(CROWD, 0)
        crowd = _crowds[model]
        cosines = crowd.vectors @ person.vector
        cosines[cosines > SELF] = -2
        rows = cosines.argsort(descending=True)[:count].tolist()
        found: list[Neighbour] = []
        one = Recipe(**{**asdict(recipe), "images": 1, "variation": 0.0})
        for row in rows:
            quiet = _Relay(teller, lambda _: list(found))
            image, _ = next(iter(_painted(model, crowd[row : row + 1], one, 1, crowd.vectors[row], quiet)))
            found.append(Neighbour(crowd[row], float(cosines[row]), image))
            teller.say(list(found))

    return stream(work)


# ---------------------------------------------------------------- what leaves


def report(result: Result) -> dict[str, Any]:
    """The scores for a program: what the API answers and the zip's manifest holds."""
    known = result.reference
    return {
        "model": result.model,
        "identity": result.identity.name,
        "source": result.identity.source,
        **asdict(result.recipe),
        "fmr": None if known is None else known.fmr,
        "threshold": None if known is None else known.threshold,
        "sentence": result.sentence,
        "matrix": None if result.matrix is None else _finite(result.matrix),
        "pictures": [
            {
                "file": _file(result, number),
                "identity": result.identity.name,
                "k": image.k,
                "seed": result.recipe.seed,
                **line,
                "model": result.model,
            }
            for number, (image, line) in enumerate(zip(result.images, result.scores, strict=True))
        ],
    }


def _finite(matrix: np.ndarray) -> list[list[float | None]]:
    return [[None if math.isnan(value) else round(value, 4) for value in row] for row in matrix.tolist()]


def identity_file(identities: Sequence[Identity]) -> bytes:
    """People as `idgen generate` reads them. The file lives in this call only."""
    with tempfile.TemporaryDirectory(prefix="idgen-") as folder:
        path = Path(folder) / "identity.safetensors"
        Identities.of(identities).save(path)
        return path.read_bytes()


def png(image: GeneratedImage, model: str, identity: Identity, recipe: Recipe, side: int | None = None) -> bytes:
    """A picture as a PNG that says it is generated, at most `side` pixels wide; nothing of a photo is in it."""
    from idgen.provenance import made_by, marked

    picture = cast(Image.Image, image.image)
    if side is not None and picture.width > side:
        picture = picture.resize((side, round(side * picture.height / picture.width)), Image.Resampling.LANCZOS)
    return marked(picture, made_by(model, identity, recipe.seed, image.k))


def sheet(result: Result) -> Image.Image:
    """All pictures on one, each framed by its verdict."""
    from idgen.contact_sheet import Cell, contact_sheet

    cells = [
        Cell(cast(Image.Image, image.image), _first(line["judge_similarity"], line["similarity"]), line["match"])
        for image, line in zip(result.images, result.scores, strict=True)
    ]
    rows = [cells[start : start + 8] for start in range(0, len(cells), 8)]
    names = [result.identity.name, *[""] * (len(rows) - 1)]
    title = f"AI-generated by {result.model}, seed {result.recipe.seed}"
    return contact_sheet(list(zip(names, rows, strict=True)), title, size=min(256, cells[0].image.width))  # type: ignore[union-attr]


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def write(result: Result, folder: Path) -> tuple[list[Path], Path, Path]:
    """The pictures as PNGs that say they are generated, a zip of them with its manifest, and the contact sheet."""
    from idgen.provenance import made_by, save_image

    lines = report(result)["pictures"]
    files = []
    archive = folder / f"idgen-{result.identity.name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:  # PNGs do not shrink further
        for number in range(len(result.images)):
            path = folder / _file(result, number)
            path.write_bytes(png(result.images[number], result.model, result.identity, result.recipe))
            zipped.write(path, path.name)
            files.append(path)
        zipped.writestr("manifest.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    info = made_by(result.model, result.identity, result.recipe.seed)
    overview = save_image(sheet(result), folder / f"idgen-{result.identity.name}.png", info)
    return files, archive, overview


def _file(result: Result, number: int) -> str:
    return f"{result.identity.name}-{result.images[number].k:02d}.png"
