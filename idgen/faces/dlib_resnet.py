"""dlib's recogniser and face finder for photographs, from PyPI: the extra `photos`.

The networks (King 2009, "Dlib-ml"; a ResNet of 29 layers, 2017) are in the public domain (CC0) and were trained on
faces of real people collected from the web. Of the package that holds them, `face_recognition_models`, only the folder
is looked up: importing it asks for `pkg_resources`, which new setuptools lack; and its landmarks of 68 points are never
read, since the data that they were trained on forbid commercial use.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from idgen.faces.align import TEMPLATE_SIZE, similarity, template, warp
from idgen.faces.encoder import FaceEncoder
from idgen.faces.finder import Detection, distinct
from idgen.faces.pixels import to_side
from idgen.ground.errors import InputError, how_to_install, require_package
from idgen.ground.geometry import apply, invert

FILES = {
    "finder": "mmod_human_face_detector.dat",
    "landmarks": "shape_predictor_5_face_landmarks.dat",
    "recogniser": "dlib_face_recognition_resnet_model_v1.dat",
}
CHIP, PADDING = 150, 0.25
"""Side of dlib's aligned face in pixels, and how much is around the face, as its network was trained."""
SURE = 0.2
"""HOG's score from which a find counts; its own 0 takes a badge for a face."""
SEEN, CAREFULLY = 640, 480
"""Longer side of a picture, in pixels, in which HOG, and then the slower CNN, look for faces."""
LEAST = 40
"""Shorter side of a picture in which there can be one; far smaller ones end the process within dlib."""

# Where dlib's five points (the corners of the eyes, and below the nose) lie on ArcFace's template of 112 pixels: dlib's
# mean shape, moved so that the middles of its eyes are the template's eyes.
_CORNERS = np.array([[80.68, 51.08], [66.37, 52.11], [31.13, 51.09], [45.45, 52.12], [55.91, 78.85]])
# A face as the template has it at twice its size, with room around, and the box that dlib's finder draws there.
_UPRIGHT, _BOX = 448, (132, 158, 316, 340)


@dataclass(frozen=True, eq=False)
class _Found(Detection):
    """A face as dlib found it, with its five points (5, 2)."""

    points: NDArray[np.float64]


class DlibEncoder(FaceEncoder):
    """A `FaceEncoder` of dlib's recogniser: vectors of 128 numbers, on the CPU.

    The cosines of dlib's own vectors lie between .7 and 1. A fixed mean is subtracted before they are normalised, so
    that those of strangers lie around 0, as people know it of other recognisers.

    Args:
        mean: (128,) what is subtracted.
        space: name of the embedding space.
        calibration: see `FaceEncoder`.

    Raises:
        InputError: the extra `photos` is not installed.
    """

    notice = "dlib's recogniser, in the public domain (CC0), was trained on faces of real people from the web."

    def __init__(self, mean: Any, *, space: str = "dlib", calibration: dict[str, Any] | None = None):
        self.mean = torch.as_tensor(mean, dtype=torch.float32)
        if self.mean.shape != (128,) or not self.mean.isfinite().all():
            raise InputError(f"The mean of dlib's vectors has 128 numbers, got the shape {tuple(self.mean.shape)}.")
        self.space, self.flip, self.alignment, self.calibration = space, False, "dlib", calibration
        self._tools = _Tools()
        self.finder = _Finder(self._tools)  # type: ignore[assignment]

    @property
    def dim(self) -> int:
        return 128

    @property
    def image_size(self) -> int:
        return CHIP

    def to(self, device: torch.device | str) -> DlibEncoder:
        """Stays on the CPU, which is where it runs."""
        return self

    @classmethod
    def from_folder(cls, folder: Path, config: dict[str, Any], calibration: dict[str, Any] | None) -> DlibEncoder:
        try:
            return cls(config["mean"], space=config["space"], calibration=calibration)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{folder / 'config.json'} is incomplete ({error!r}): fetch the model again.") from error

    def _save_parts(self, folder: Path) -> dict[str, Any]:
        """The networks stay in their package."""
        return {"_class_name": type(self).__name__, "space": self.space, "mean": self.mean.tolist()}

    def crop(self, picture: Image.Image, face: Detection) -> Image.Image:
        pixels, points = np.asarray(picture), face.points if isinstance(face, _Found) else None
        if points is None:  # found by another finder: dlib's points are looked for where that one saw a face
            to_upright = similarity(face.landmarks, template(_UPRIGHT // 2) + _UPRIGHT / 4)
            pixels = np.asarray(warp(picture, to_upright, _UPRIGHT))
            points = self._tools.points(pixels, _BOX)
        return Image.fromarray(self._tools.chip(pixels, points))

    def shows_face(self, crop: Any) -> bool:
        found = self._finder().find(crop if isinstance(crop, Image.Image) else Image.open(crop))
        return any(face.landmarks[:2, 1].mean() < face.landmarks[3:, 1].mean() for face in found)  # upright

    def _resize(self, pixels: Tensor) -> Tensor:
        return to_side(pixels.cpu().float(), CHIP, antialias=True)

    def _embed(self, pixels: Tensor) -> Tensor:
        faces = (pixels * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        return torch.from_numpy(self._tools.vectors(faces)) - self.mean


class _Tools:
    """dlib's networks, each loaded when it is first used; they keep state while they work, so one caller at a time."""

    def __init__(self) -> None:
        self.dlib: Any = require_package("dlib", "photos", "dlib's recogniser")
        place = find_spec("face_recognition_models")
        if place is None or not place.submodule_search_locations:
            raise InputError(f"dlib's networks are not installed: {how_to_install('photos')}.")
        self._folder = Path(place.submodule_search_locations[0], "models")
        self._loaded: dict[str, Any] = {}
        self.lock = threading.RLock()

    def get(self, name: str) -> Any:
        if name not in self._loaded:
            dlib = self.dlib
            kinds = {
                "finder": dlib.cnn_face_detection_model_v1,
                "landmarks": dlib.shape_predictor,
                "recogniser": dlib.face_recognition_model_v1,
            }
            if name == "hog":
                self._loaded[name] = dlib.get_frontal_face_detector()
            elif not (file := self._folder / FILES[name]).is_file():
                raise InputError(f"There is no {file}: {how_to_install('photos')}.")
            else:
                self._loaded[name] = kinds[name](str(file))
        return self._loaded[name]

    def points(self, pixels: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.float64]:
        """(5, 2) corners of the eyes and the point below the nose of the face in a box."""
        with self.lock:
            found = self.get("landmarks")(pixels, self.dlib.rectangle(*box))
        return np.array([(point.x, point.y) for point in found.parts()], np.float64)

    def chip(self, pixels: NDArray[np.uint8], points: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The aligned face, (150, 150, 3)."""
        dlib = self.dlib
        places = dlib.points([dlib.point(int(x), int(y)) for x, y in points])
        around = dlib.rectangle(*points.min(0).astype(int).tolist(), *points.max(0).astype(int).tolist())
        shape = dlib.full_object_detection(around, places)
        return dlib.get_face_chip(np.ascontiguousarray(pixels), shape, CHIP, PADDING)

    def vectors(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, 128) of aligned faces (N, 150, 150, 3), as dlib makes them."""
        with self.lock:
            network = self.get("recogniser")
            return np.array([network.compute_face_descriptor(chip) for chip in chips], np.float32).reshape(-1, 128)


class _Finder:
    """dlib's finders as idgen's encoders use one: HOG, and where it finds nothing the CNN."""

    def __init__(self, tools: _Tools):
        self._tools = tools

    def find(self, image: Image.Image) -> list[Detection]:
        """All faces in an RGB picture, largest first: those of the turn, by quarters, in which one is surest, as both
        finders know upright faces only, and take something for one in a turned picture."""
        turns = [image.rotate(90 * quarters, expand=True) for quarters in range(4)]
        for look, most in ((self._hog, SEEN), (self._cnn, CAREFULLY)):
            found = [self._look(turned, look, most) for turned in turns]
            sure = [max((face.confidence for face in faces), default=0.0) for faces in found]
            if any(sure):
                best = int(np.argmax(sure))
                return distinct(self._back(face, best, image.size) for face in found[best])
        return []

    @staticmethod
    def _back(face: _Found, quarters: int, size: tuple[int, int]) -> Detection:
        """A face of a picture of this size that was found when it was turned so often, against the clock."""
        width, height = size
        landmarks, points = face.landmarks, face.points + 0.5
        for turn in range(quarters, 0, -1):  # (x, y) comes from (side − y, x), of a picture so wide
            side = width if turn % 2 else height
            landmarks, points = (np.stack([side - xy[:, 1], xy[:, 0]], 1) for xy in (landmarks, points))
        return _Found(landmarks, face.confidence, face.size, points - 0.5)

    def _look(self, image: Image.Image, look: Any, most: int) -> list[_Found]:
        scale = min(1.0, most / max(image.size))
        side = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        if min(side) < LEAST:
            return []
        with self._tools.lock:
            boxes = look(np.asarray(image.resize(side, Image.Resampling.BOX) if scale < 1 else image))
        return [self._face(np.asarray(image), np.array(box) / scale, sure) for box, sure in boxes]

    def _hog(self, pixels: NDArray[np.uint8]) -> list[tuple[list[int], float]]:
        boxes, scores, _ = self._tools.get("hog").run(pixels, 1, SURE)
        return [(_sides(box), score / (1 + score)) for box, score in zip(boxes, scores, strict=True)]

    def _cnn(self, pixels: NDArray[np.uint8]) -> list[tuple[list[int], float]]:
        try:
            found = self._tools.get("finder")(pixels, 1 if max(pixels.shape) < CAREFULLY // 2 else 0)
        except RuntimeError:  # a picture that is narrower than its filters
            return []
        return [(_sides(one.rect), one.confidence / (1 + one.confidence)) for one in found]

    def _face(self, pixels: NDArray[np.uint8], box: NDArray[np.float64], sure: float) -> _Found:
        left, top, right, bottom = box.round().astype(int).tolist()
        points = self._tools.points(pixels, (left, top, right, bottom))
        back = invert(similarity(points + 0.5, _CORNERS))  # dlib's (0, 0) is a pixel's centre
        side = float(np.linalg.norm(apply(back, [[0, 0], [TEMPLATE_SIZE, 0]])[1] - apply(back, [[0, 0]])[0]))
        return _Found(apply(back, template()), float(sure), side, points)


def _sides(box: Any) -> list[int]:
    return [box.left(), box.top(), box.right(), box.bottom()]
