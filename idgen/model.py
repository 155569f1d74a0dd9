"""A model's folder and its parts, each loaded when it is first used. Only here do the parts meet."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from diffusers.utils import logging
from PIL import Image
from torch import Tensor

from idgen.faces.align import align_ffhq
from idgen.faces.encoder import FaceEncoder
from idgen.faces.finder import FaceFinder
from idgen.faces.pose import pitch_from_landmarks, yaw_from_landmarks
from idgen.faces.reader import AttributeReader
from idgen.faces.resolve import for_photographs
from idgen.ground import arguments, devices, hub, uploading
from idgen.ground.attributes import Vocabulary
from idgen.ground.devices import pinned
from idgen.ground.domain import RENDERED, generated_by
from idgen.ground.errors import InputError
from idgen.ground.files import read_json
from idgen.ground.identity import Identity
from idgen.ground.images import ImageSource, open_image
from idgen.ground.waiting import working
from idgen.ground.weights import fingerprint
from idgen.sampling.sampler import IdentitySampler
from idgen.scoring.bridge import BRIDGE_NAME, Bridge
from idgen.scoring.calibration import CALIBRATION_NAME, calibrations_of, from_dict
from idgen.scoring.verdict import Scorer

if TYPE_CHECKING:
    from idgen.pipelines import IdentityPipeline

PARTS = ("encoder", "judge", "sampler", "attributes")
"""What a model's folder may hold beside its pipeline."""


class Model:
    """A model's folder, whose parts are loaded when they are first used. Safe to share between threads.

    The folder holds a pipeline (model_index.json and its parts), and may hold encoder/ (`FaceEncoder`), judge/
    (`Judge`) and sampler/ (`IdentitySampler`); what is missing is refused when it is asked for.

    Args:
        folder: where it is.
        name: what to call it; by default as the folder.
        device: where the networks are put, such as "cpu" or "cuda"; by default the best there is.
    """

    def __init__(self, folder: str | os.PathLike[str], name: str | None = None, device: str | None = None):
        self.folder = Path(folder)
        self.name = name or self.folder.resolve().name
        self.device = devices.device(device)
        self._parts: dict[str, Any] = {}
        self._lock = threading.RLock()

    @functools.cached_property
    def fingerprint(self) -> str:
        """Short name of its weights, see `idgen.ground.weights.fingerprint`, as they are when it is first asked for."""
        return fingerprint(self.folder)

    @property
    def pipeline(self) -> IdentityPipeline:
        """Identities to pictures."""
        return self._part("pipeline", self._load_pipeline)

    @property
    def encoder(self) -> FaceEncoder:
        """Faces to the vectors that the pipeline takes."""

        def load() -> FaceEncoder:
            encoder = FaceEncoder.from_pretrained(self._need("encoder")).to(self.device)
            if isinstance(encoder.finder, FaceFinder) and (other := for_photographs()) is not None:
                encoder.photo_finder = other.finder
            return encoder

        return self._part("encoder", load)

    @property
    def judge(self) -> Judge:
        """The independent recogniser."""
        return self._part("judge", lambda: Judge.from_pretrained(self._need("judge")).to(self.device))

    @property
    def sampler(self) -> IdentitySampler:
        """People who do not exist."""
        return self._part("sampler", lambda: IdentitySampler.from_pretrained(self._need("sampler")))

    @property
    def attributes(self) -> AttributeReader:
        """Reads from aligned faces what they look like."""
        return self._part(
            "attributes", lambda: AttributeReader.from_pretrained(self._need("attributes")).to(self.device)
        )

    def identify(self, photos: Any, **options: Any) -> Identity:
        """Who is on photos of one person: `FaceEncoder.identify`, with the own vectors of the judge, and of dlib where
        the extra `photos` is installed, beside the encoder's."""
        return self.encoder.identify(photos, **options, viewers=self.viewers)

    @property
    def viewers(self) -> list[FaceEncoder]:
        """Who else looks at photos of people: the judge, and dlib where the extra `photos` is installed."""
        other = for_photographs()
        both = [self.judge.recognizer if self.has("judge") else None, other]
        spaces = {one.space: one for one in both if one is not None and one.space != self.encoder.space}
        return list(spaces.values())

    def traits(self, vectors: Tensor) -> Tensor:
        """What can be read of people from their vectors (N, D): (N, 6), see `idgen.ground.attributes.PERSON`.

        Raises:
            InputError: the model has nothing to read it by.
        """
        prior = getattr(self.pipeline, "prior", None)
        if prior is None:
            raise InputError(
                f"The model {self.name!r} reads no gender, age, skin tone or ancestry from vectors: leave out `who`."
            )
        return cast(Tensor, prior.traits(vectors))

    def portrait(self, photo: ImageSource, size: int) -> Image.Image:
        """The face of a photo, the largest, cut out as FFHQ's are: what a reference is. The picture as it is for a
        model that finds no faces.

        Raises:
            InputError: the photo cannot be opened or shows no face.
        """
        if not self.has("encoder"):
            return open_image(photo)
        return align_ffhq(open_image(photo), self.encoder.detect_and_align(photo)[1].landmarks, size)

    def pose(self, photo: ImageSource) -> dict[str, float]:
        """Where the head of a photo's largest face points to, yaw and pitch in degrees, as far as the pipeline can be
        told: by the model's attribute reader, else by five landmarks, of which pitch is rough.

        Raises:
            InputError: the photo cannot be opened or shows no face, or the model finds none or poses none.
        """
        values, parts = self.vocabulary, ("yaw", "pitch")
        ranges = {name: values.of(name) for name in parts if name in values or name == "yaw"}
        crop, face, _ = self.encoder.detect_and_align(photo)
        found = {
            "yaw": yaw_from_landmarks(face.landmarks[None])[0],
            "pitch": pitch_from_landmarks(face.landmarks[None])[0],
        }
        if self.has("attributes"):
            found |= {name: value for name, value in self.attributes.describe([crop])[0].items() if name in parts}
        return {name: float(np.clip(found[name], *ends).round(1)) for name, ends in ranges.items()}

    @property
    def scorer(self) -> Scorer:
        """Encoder and judge, with thresholds at a false-match rate of 1 in 1,000."""
        return self._part("scorer", self.scorer_at)

    def scorer_at(self, fmr: float = arguments.FMR) -> Scorer:
        """Encoder and judge, with verdicts at a false-match rate."""
        return Scorer(self.encoder, self.judge, fmr, **self._meaning())

    def _meaning(self) -> dict[str, Any]:
        other = for_photographs()
        return {"paints": self.paints, "name": self.name, "witnesses": [] if other is None else [other]}

    @property
    def paints(self) -> str:
        """The domain of its pictures (`idgen.ground.domain`): generated by it, under the name that it had when its
        judge was measured on them; else rendered, where its encoder was measured on renders, which it learned from.
        """

        def domains(part: str) -> list[str]:
            file = self.folder / part / CALIBRATION_NAME
            return [one.domain for one in from_dict(read_json(file))] if file.is_file() else []

        own = [of for of in domains("judge") if of.startswith(generated_by("")) and " against " not in of]
        own = own or [RENDERED] * (RENDERED in domains("encoder"))
        return own[0] if own else generated_by(self.name)

    def has(self, part: str) -> bool:
        """Whether the folder holds one of `PARTS`, "encoder", "judge", "sampler" or "attributes", that can be loaded
        here: a judge by dlib is of no use without the extra `photos`."""
        config = self.folder / part / "config.json"
        if not config.exists():
            return False
        return part != "judge" or b'"DlibEncoder"' not in config.read_bytes() or for_photographs() is not None

    def push(self, repo: str, **options: Any) -> Any:
        """Upload the folder to the Hugging Face Hub; options and errors are those of `idgen.push`."""
        return uploading.push(self, repo, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its folder, as for another process: its parts are loaded there."""
        return type(self), (self.folder, self.name, self.device)

    def __repr__(self) -> str:
        return f"Model({str(self.folder)!r}, name={self.name!r})"

    @pinned()
    def _part(self, name: str, load: Callable[[], Any]) -> Any:
        with self._lock:
            if name not in self._parts:
                self._parts[name] = load()
            return self._parts[name]

    def _need(self, part: str) -> Path:
        folder = self.folder / part
        if not self.has(part):
            raise InputError(f"The model {self.name!r} has no {part}: there is no file {folder / 'config.json'}.")
        return folder

    @property
    def vocabulary(self) -> Vocabulary:
        """What its pictures can be asked to look like; no network is loaded for it."""
        return self._pipeline_class().vocabulary_in(self.folder)

    def _pipeline_class(self) -> type[IdentityPipeline]:
        index = self.folder / "model_index.json"
        if not index.exists():
            raise InputError(f"The model {self.name!r} has no pipeline: there is no file {index}.")
        from idgen.pipelines import pipeline_class

        return pipeline_class(self.folder)

    def _load_pipeline(self) -> IdentityPipeline:
        kind = self._pipeline_class()
        half = kind.half_on_accelerator and not self.device.startswith("cpu")
        showing = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # the commands' own bars are enough
        try:
            with working(f"loading {self.name}"):
                pipeline = kind.from_pretrained(self.folder, **({"dtype": torch.float16} if half else {}))
        finally:
            if showing:
                logging.enable_progress_bar()
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)


def load_model(
    name: str | os.PathLike[str] = hub.DEFAULT_MODEL, device: str | None = None, revision: str | None = None
) -> Model:
    """A model by the name of one in the package, a folder, or a hub repository; its parts are loaded on first use.

    Args:
        name: see `resolve`; `user/name@revision` pins a repository.
        device: see `Model`.
        revision: the same pin, apart.

    Raises:
        InputError: there is no such model.
    """
    text = os.fspath(name)
    published = text == "FoivosPar/Arc2Face"  # said before gigabytes are fetched
    official = any((Path(text) / place).is_dir() for place in ("arc2face", "models/arc2face"))
    if published or (official and not (Path(text) / "model_index.json").exists()):
        raise InputError(
            f"{text} has Arc2Face's files as published: make a model of them by `idgen convert arc2face {text} OUT`, "
            "then use OUT."
        )
    folder = hub.resolve(text, revision)
    fetched = "/" in text and not Path(text).is_dir()
    if fetched and revision is not None:
        text = f"{text.partition('@')[0]}@{revision}"
    return Model(folder, text if fetched else None, device)


def sampler_of(model: Model) -> IdentitySampler:
    """The model's sampler; for a model without one, one that knows nobody and only draws anywhere on the sphere."""
    if model.has("sampler"):
        return model.sampler
    dim = model.pipeline.identity_dim
    nobody, nothing = torch.zeros(0, dim, device="cpu"), torch.zeros(dim, device="cpu")
    return IdentitySampler(model.pipeline.config.space, nothing, nobody, nothing[:0], nobody)


class Judge:
    """The second recogniser, with the bridge from the encoder's space and its own calibration.

    A folder holds a `FaceEncoder` (without a finder) and `bridge.safetensors`.

    Args:
        recognizer: embeds aligned faces. Verdicts are given on pictures of the domains that it was measured on.
        bridge: from the encoder's space to the recogniser's.
    """

    def __init__(self, recognizer: FaceEncoder, bridge: Bridge):
        self.recognizer, self.bridge, self.space = recognizer, bridge, recognizer.space
        self.calibrations = calibrations_of(recognizer)
        if bridge.target != self.space:
            raise InputError(f"The bridge leads to the space {bridge.target!r}, but the judge's is {self.space!r}.")
        for one in self.calibrations:
            if one.space != self.space:
                raise InputError(f"The calibration is of the space {one.space!r}, but the judge's is {self.space!r}.")

    def encode(self, images: Any) -> Tensor:
        """Aligned faces, (N, 3, H, H) in [0, 1] or N PIL images, to (N, Dj) unit vectors."""
        return self.recognizer.encode(images)

    def to(self, device: str | torch.device) -> Judge:
        """Move the recogniser."""
        self.recognizer.to(device)
        return self

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Judge:
        """Read a judge's folder."""
        return cls(FaceEncoder.from_pretrained(folder), Bridge.load(Path(folder) / BRIDGE_NAME))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that `from_pretrained` reads."""
        self.recognizer.save_pretrained(folder)
        self.bridge.save(Path(folder) / BRIDGE_NAME)
