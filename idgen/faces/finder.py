"""Where the faces are in a whole picture: a small network, looked through twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image

from idgen.faces.align import MIRRORED, scale_of, similarity, template, warp
from idgen.ground.geometry import Array, apply, invert
from idgen.models.finder import FaceFinderNet

BACKGROUND = (128, 128, 128)  # around the picture where a view reaches past it: about 0 in the network's [-1, 1]


@dataclass(frozen=True, eq=False)
class Detection:
    """One face.

    Attributes:
        landmarks: (5, 2) pixels of the picture (continuous, see `align`): the eye on the picture's left, the other eye,
            nose tip, the mouth corner on the left, the other corner.
        confidence: the lowest that the looks at it gave, in [0, 1].
        size: side of the square that alignment cuts out, in pixels of the picture.
    """

    landmarks: Array
    confidence: float
    size: float

    @property
    def centre(self) -> Array:
        """(2,) mean of the landmarks."""
        return np.asarray(self.landmarks.mean(0), np.float64)


def square_view(centre: ArrayLike, side: float, size: int) -> Array:
    """(2, 3) map from picture pixels to a `size`×`size` view of the upright square of `side` pixels around `centre`."""
    scale = size / side
    return np.column_stack([np.eye(2) * scale, size / 2 - scale * np.asarray(centre, np.float64)])


def whole_view(width: int, height: int, size: int, zoom: float = 1.0) -> Array:
    """The letterbox: (2, 3) map that centres a picture in a `size`×`size` view, its longer side `zoom` × the view's."""
    return square_view((width / 2, height / 2), max(width, height) / zoom, size)


def same_face(a: Detection, b: Detection) -> bool:
    """Whether two detections are closer than half the larger one's size."""
    return bool(np.linalg.norm(a.centre - b.centre) < 0.5 * max(a.size, b.size))


def distinct(found: Iterable[Detection]) -> list[Detection]:
    """The most confident detection of each face, largest first."""
    kept: list[Detection] = []
    for candidate in sorted(found, key=lambda d: -d.confidence):
        if not any(same_face(candidate, other) for other in kept):
            kept.append(candidate)
    return sorted(kept, key=lambda d: -d.size)


class FaceFinder:
    """Finds faces and their five landmarks.

    The whole picture is looked at first; where nothing is found, once more with room around it, for pictures that are
    cut tightly around a face. Every find is then looked at again, cut out so that it fills much of the view, which
    weeds out what only looked like a face from afar. Last, its landmarks are corrected, twice, on a crop that the
    landmarks so far have aligned and on its mirror image, and what does not look like a face there goes as well.

    The network is switched to evaluation; its threshold is the confidence from which a face counts, in [0, 1].
    """

    padded = 0.55  # share of the view that the picture fills in the look with room around it
    zoom = 2.5  # side of the view of the second look, in sizes of the face
    corrections = 2
    most = 32  # faces that are looked at again, the largest
    batch = 8

    def __init__(self, net: FaceFinderNet):
        self.net = net.eval()
        self.threshold, self.view_size = float(net.config.threshold), int(net.config.image_size)
        self.glance = min(0.3, self.threshold)  # confidence at which a find of the first look is worth the second

    def find(self, image: Image.Image) -> list[Detection]:
        """All faces in an RGB picture, largest first; empty when there are none."""
        found: list[Detection] = []
        for zoom in (1.0, self.padded):
            if not found:
                first = self.look(image, [whole_view(*image.size, self.view_size, zoom)], self.glance)[0]
                found = self._refine(image, distinct(first)[: self.most])
        return found

    def sees(self, crop: Image.Image) -> bool:
        """Whether a crop that ArcFace's template has aligned shows a face: the last look of `find` alone, a tenth of
        its time. False also where the alignment is off."""
        landmarks = template(crop.width)
        return bool(self._correct(crop, [Detection(landmarks, 1.0, crop.width)], times=1))

    def look(self, image: Image.Image, views: Sequence[Array], threshold: float) -> list[list[Detection]]:
        """What the network finds through each view, in pixels of the picture, surest first."""
        seen: list[Any] = []
        for start in range(0, len(views), self.batch):
            pixels = self._pixels(image, views[start : start + self.batch], self.view_size)
            seen += self.net.detect(pixels, threshold)
        return [
            [
                Detection(apply(back, points.double().cpu().numpy()), float(sure), float(size) * scale_of(back))
                for sure, points, size in faces
            ]
            for back, faces in zip(map(invert, views), seen, strict=True)
        ]

    def _refine(self, image: Image.Image, found: list[Detection]) -> list[Detection]:
        views = [square_view(face.centre, face.size * self.zoom, self.view_size) for face in found]
        seen = zip(found, self.look(image, views, self.threshold), strict=True)
        better = (next((again for again in faces if same_face(again, face)), None) for face, faces in seen)
        return self._correct(image, distinct(face for face in better if face is not None))

    def _correct(self, image: Image.Image, found: list[Detection], times: int = corrections) -> list[Detection]:
        size = int(self.net.config.crop_size)
        target = self.net.crop_template.double().numpy()
        for _ in range(times):
            if not found:
                break
            views = [similarity(face.landmarks, target) for face in found]
            with torch.no_grad():
                crops = self._pixels(image, views, size)
                points, logits = self.net.correct(torch.cat([crops, crops.flip(3)]))
            direct, mirrored = points.double().cpu().numpy().reshape(2, -1, 5, 2)
            mirrored = np.stack([size - mirrored[..., 0], mirrored[..., 1]], -1)[:, MIRRORED]
            both = (direct + mirrored) / 2, logits.view(2, -1).mean(0).sigmoid().tolist()
            seen = zip(found, views, *both, strict=True)
            found = [
                Detection(apply(invert(view), landmarks), min(face.confidence, sure), face.size)
                for face, view, landmarks, sure in seen
                if sure >= self.threshold
            ]
        return found

    def _pixels(self, image: Image.Image, views: Sequence[Array], size: int) -> torch.Tensor:
        seen = np.stack([np.asarray(warp(image, view, size, BACKGROUND)) for view in views])
        pixels = torch.from_numpy(seen).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        weight = next(self.net.parameters())  # `net.device` would import peft and transformers, which takes seconds
        return pixels.to(weight.device, weight.dtype)
