"""Where the faces are in a whole picture: a small network, looked through twice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from PIL import Image

from idgen.faces.align import MIRRORED, scale_of, similarity, template
from idgen.ground.geometry import Array, apply, invert
from idgen.models.finder import FaceFinderNet

Crop = tuple[float, float, bool]
"""Scale and degrees by which a crop differs from the aligned one, and whether it is mirrored."""
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


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def _turned_back(points: Array, turn: int, size: tuple[int, int]) -> Array:
    """Points (5, 2) of a picture that was turned left by so many quarters, on the picture of (width, height) before."""
    width, height = size
    x, y = points[:, 0], points[:, 1]
    back = ((x, y), (width - y, x), (width - x, height - y), (y, height - x))[turn]
    return np.stack(back, 1)


class Layers:
    """A picture as networks see it, in [-1, 1], and by halves smaller: a view of it costs what it shows, whatever the
    picture's size."""

    def __init__(self, image: Image.Image, like: torch.Tensor):
        self.image = image
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float().div(127.5).sub(1)
        self._layers = [pixels.to(like.device, like.dtype)]

    def views(self, maps: Sequence[Array], size: int) -> torch.Tensor:
        """(N, 3, size, size) under (2, 3) maps from the picture's pixels, grey outside of it. Read by bicubic
        interpolation off the layer that is nearest in scale."""
        out = self._layers[0].new_empty(len(maps), 3, size, size)
        nearest = np.array([max(0, round(-math.log2(scale_of(each)))) for each in maps])
        for layer in np.unique(nearest).tolist():
            while len(self._layers) <= layer:
                half = F.avg_pool2d(self._layers[-1], 2, ceil_mode=True, count_include_pad=False)
                self._layers.append(half)
            rows, pixels = np.flatnonzero(nearest == layer), self._layers[layer]
            shrunk = np.array(pixels.shape[:1:-1], np.float64) * 2**layer  # width and height, the last block whole
            theta = np.stack([self._theta(maps[row], size, shrunk) for row in rows.tolist()])
            grid = F.affine_grid(torch.from_numpy(theta).to(pixels), [len(rows), 3, size, size], align_corners=False)
            seen = pixels.expand(len(rows), -1, -1, -1)
            out[rows] = F.grid_sample(seen, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
        return out.clamp_(-1, 1)

    @staticmethod
    def _theta(view: Array, size: int, side: Array) -> Array:
        """(2, 3) from a view's [-1, 1] to the picture's."""
        back = invert(view)
        linear = back[:, :2] * (size / 2)
        middle = back[:, :2] @ (size / 2, size / 2) + back[:, 2]
        return np.column_stack([linear, middle]) * (2 / side)[:, None] - [[0, 0, 1], [0, 0, 1]]


class FaceFinder:
    """Finds faces and their five landmarks.

    The picture is looked at as it stands; where that does not show a face for sure, in all four turns and with room
    around it, and as many times larger as it takes to see small faces. Of the turns the surest counts: a face that is
    seen in a picture on its side is hardly ever there. Every find is looked at again, cut out so that it fills much of
    the view, and by a second network, on crops that the landmarks so far have aligned, their mirror images, and some
    that are a little larger, smaller or turned: what does not look like a face there, or whose landmarks move about, is
    refused.

    The network is switched to evaluation; its threshold is the confidence from which a face counts, in [0, 1].
    """

    padded = 0.55  # share of the view that the picture fills in the look with room around it
    large = 1.8, 640 / 192  # sides of the view that the picture's longer side has where small faces are looked for
    zoom = 2.5  # side of the view of the second look, in sizes of the face
    glance = 0.1  # confidence at which a find of the first look is worth the second
    most = 12  # finds of a look that are looked at again, the surest
    worth = -1.0  # logit of the second network from which an aligned crop may show a face
    least = 16  # side of a face in pixels of what is looked at: smaller ones tell nobody
    batch = 8
    side = 1024  # longer side of what is looked at, in pixels
    # The score is the second network's mean logit + the second look's logit - 60 × how far the landmarks move, in sizes
    # of the face. On photographs of no face it came to 4.6 in one turn of one picture; of portraits all had more than
    # 5.8, of the faces that `benchmarks/photographs.py` finds in groups all more than 3.3.
    moved, needed, sure = 60.0, 3.3, 5.8
    certain = 0.85  # confidence from which a turned face counts
    once: Sequence[Crop] = ((1.0, 0.0, False),)
    twice: Sequence[Crop] = ((1.0, 0.0, False), (1.0, 0.0, True))
    shaken: Sequence[Crop] = (  # the last crops, every other one mirrored
        *((1.0, 0.0, False), (0.9, 0.0, True), (1.1, 0.0, False)),
        *((1.0, 12.0, True), (1.0, -12.0, False)),
    )

    def __init__(self, net: FaceFinderNet):
        self.net = net.eval()
        self.threshold, self.view_size = float(net.config.threshold), int(net.config.image_size)

    def find(self, image: Image.Image) -> list[Detection]:
        """All faces in an RGB picture, largest first; empty when there are none."""
        scale = min(1.0, self.side / max(image.size))
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        seen = self._layers(image if scale == 1 else image.resize(size, Image.Resampling.BOX, reducing_gap=1.0))
        (found,), best = self._confirm(seen, self._scan(seen, (1.0, 0))), 0
        if not self._sure(found):
            looks = [(self.padded, 0), *((zoom, turn) for turn in (1, 2, 3) for zoom in (1.0, self.padded))]
            padded, *turned = self._scan(seen, *looks)
            more, *others = self._confirm(seen, [padded, *(turned[at] + turned[at + 1] for at in (0, 2, 4))])
            turns = [found + more, *others]
            best = max(range(4), key=lambda turn: self._best(turns[turn]))
            found = turns[best] if best == 0 else [face for face in turns[best] if face.confidence >= self.certain]
            if not found:
                small = self._small(seen, [])
                # Among so many places one looks like a face by chance.
                return self._grown(small if self._sure(small) else [], scale)
        if found and max(face.size for face in found) < 0.45 * max(size):  # there may be smaller ones
            found = found + self._small(seen, found, best)
        return self._grown(found, scale)

    @staticmethod
    def _grown(found: list[Detection], scale: float) -> list[Detection]:
        return distinct(Detection(face.landmarks / scale, face.confidence, face.size / scale) for face in found)

    def _small(self, image: Layers, found: list[Detection], turn: int = 0) -> list[Detection]:
        """The faces that are seen when the picture is looked at larger, without those that were found."""
        most = max(1.0, 1.5 * max(image.image.size) / self.view_size)  # larger pixels have nothing more
        seen = self._scan(image, *((zoom, turn) for zoom in sorted({min(zoom, most) for zoom in self.large})))
        more = [face for faces in seen for face in faces if not any(same_face(face, one) for one in found)]
        return self._confirm(image, [more])[0]

    def upright(self, image: Image.Image) -> list[Detection]:
        """The large faces in a picture that stands upright, by the first look alone, in a tenth of `find`'s time."""
        seen = self._layers(image)
        return self._confirm(seen, self._scan(seen, (1.0, 0)))[0]

    def _layers(self, image: Image.Image) -> Layers:
        return Layers(image, next(self.net.parameters()))  # `net.device` would import peft and transformers: seconds

    @staticmethod
    def _best(found: Iterable[Detection]) -> float:
        return max((face.confidence for face in found), default=0.0)

    def _sure(self, found: Sequence[Detection]) -> bool:
        return self._best(found) >= _sigmoid(self.sure - self.needed)

    def _scan(self, image: Layers, *looks: tuple[float, int]) -> list[list[Detection]]:
        """What the first look sees of a picture whose longer side is `zoom` views long, turned left by so many
        quarters, for each (zoom, turn); surest first."""
        shown = {zoom: self._canvas(image.image, zoom) for zoom, _ in looks}
        weight = next(self.net.parameters())
        turned = [torch.rot90(shown[zoom][0], turn, (1, 2)) for zoom, turn in looks]
        out: list[list[Detection]] = [[] for _ in looks]
        for shape in {each.shape for each in turned}:
            rows = [row for row, each in enumerate(turned) if each.shape == shape]
            pixels = torch.stack([turned[row] for row in rows]).to(weight.device, weight.dtype)
            for row, faces in zip(rows, self.net.detect(pixels, min(self.glance, self.threshold)), strict=True):
                (_, turn), (canvas, to_view) = looks[row], shown[looks[row][0]]
                back, side = invert(to_view), (canvas.shape[2], canvas.shape[1])
                for confidence, points, size in faces[: self.most]:
                    landmarks = apply(back, _turned_back(points.double().cpu().numpy(), turn, side))
                    out[row].append(Detection(landmarks, float(confidence), float(size) * scale_of(back)))
        return out

    def _canvas(self, image: Image.Image, zoom: float) -> tuple[torch.Tensor, Array]:
        """A picture whose longer side is `zoom` views, amid grey: (3, H, W) in [-1, 1], its sides multiples of
        32; and the (2, 3) map from the picture's pixels."""
        scale = self.view_size * zoom / max(image.size)
        width, height = (max(1, round(length * scale)) for length in image.size)
        small = image.resize((width, height), Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
        least = self.view_size if zoom <= 1 else 32
        room = [max(least, -(-length // 32) * 32) - length for length in (width, height)]
        canvas = Image.new("RGB", (width + room[0], height + room[1]), BACKGROUND)
        left, top = room[0] // 2, room[1] // 2
        canvas.paste(small, (left, top))
        pixels = torch.from_numpy(np.array(canvas)).permute(2, 0, 1).float().div(127.5).sub(1)
        return pixels, np.array([[width / image.width, 0, left], [0, height / image.height, top]])

    def _confirm(self, image: Layers, candidates: Sequence[list[Detection]]) -> list[list[Detection]]:
        """Those of each list that are faces, with better landmarks; the confidence says how far above what is needed
        they are. All lists go through the networks together."""
        flat = [(at, face) for at, each in enumerate(candidates) for face in each if face.size >= self.least]
        _, logits = self._aligned(image, [face.landmarks for _, face in flat], self.once)
        likely: list[list[Detection]] = [[] for _ in candidates]
        for (at, face), logit in zip(flat, logits[:, 0].tolist(), strict=True):
            if logit > self.worth:
                likely[at].append(Detection(face.landmarks, _sigmoid(logit), face.size))
        whose = [(at, face) for at, each in enumerate(likely) for face in distinct(each)]
        views = [similarity(face.landmarks, self._filling(face)) for _, face in whose]
        again = []
        for (at, face), faces in zip(whose, self._seen(image, views, min(0.05, self.threshold)), strict=True):
            one = next((one for one in faces if same_face(one, face)), None)
            if one is not None and one.confidence >= self.glance:
                again.append((at, one))
        for worth in (-math.inf, self.worth):  # a face that the first crop aligns badly is seen in the next
            landmarks, logits = self._aligned(image, [face.landmarks for _, face in again], self.twice)
            again = [
                (at, Detection(points, face.confidence, face.size))
                for (at, face), points, logit in zip(again, landmarks.mean(1), logits.mean(1), strict=True)
                if logit > worth
            ]
        landmarks, logits = self._aligned(image, [face.landmarks for _, face in again], self.shaken)
        out: list[list[Detection]] = [[] for _ in candidates]
        for (at, face), each, logit in zip(again, landmarks, logits, strict=True):
            middle = each.mean(0)
            away = float(np.linalg.norm(middle - face.landmarks, axis=1).mean()) / face.size
            odds = float(np.log(np.clip(face.confidence, 1e-3, 0.999) / (1 - np.clip(face.confidence, 1e-3, 0.999))))
            sure = _sigmoid(float(logit.mean()) + odds - self.moved * away - self.needed)
            if sure >= self.threshold:
                out[at].append(Detection(middle, sure, face.size))
        return [distinct(each) for each in out]

    def _filling(self, face: Detection) -> Array:
        """(5, 2) where a face's landmarks are to be in the view of the second look, turned upright by quarters only."""
        centre, scale = face.centre, self.view_size / (face.size * self.zoom)
        eyes = face.landmarks[1] - face.landmarks[0]
        quarter = round(float(np.degrees(np.arctan2(eyes[1], eyes[0]))) / 90) % 4
        turn = np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), quarter)
        return np.asarray((face.landmarks - centre) @ turn.T * scale + self.view_size / 2)

    def _aligned(self, image: Layers, landmarks: Sequence[Array], crops: Sequence[Crop]) -> tuple[Array, Array]:
        """The second network's landmarks (N, K, 5, 2) and logits (N, K) of N faces in K crops each."""
        count, size = (len(landmarks), len(crops)), int(self.net.config.crop_size)
        if not landmarks:
            return np.empty((*count, 5, 2)), np.empty(count)
        target = self.net.crop_template.double().numpy()
        middle, targets = target.mean(0), []
        for scale, degrees, _ in crops:
            cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
            targets.append(scale * (target - middle) @ np.array([[cos, sin], [-sin, cos]]) + middle)
        maps = [similarity(points, each) for points in landmarks for each in targets]
        flipped = np.tile([mirrored for *_, mirrored in crops], len(landmarks))
        pixels = image.views(maps, size)
        pixels[flipped] = pixels[flipped].flip(3)
        with torch.no_grad():
            found, logits = self.net.correct(pixels)
        points = found.double().cpu().numpy()
        points[flipped] = (points[flipped] * (-1, 1) + (size, 0))[:, MIRRORED]
        seen = np.stack([apply(invert(view), one) for view, one in zip(maps, points, strict=True)])
        return seen.reshape(*count, 5, 2), logits.double().cpu().numpy().reshape(count)

    def sees(self, crop: Image.Image) -> bool:
        """Whether a crop that ArcFace's template has aligned shows a face: the second network alone, in a tenth of
        `find`'s time. False also where the alignment is off."""
        _, logits = self._aligned(self._layers(crop), [template(crop.width)], self.twice)
        return bool(_sigmoid(float(logits.mean())) >= self.threshold)

    def look(self, image: Image.Image, views: Sequence[Array], threshold: float) -> list[list[Detection]]:
        """What the network finds through each view, in pixels of the picture, surest first."""
        return self._seen(self._layers(image), views, threshold)

    def _seen(self, image: Layers, views: Sequence[Array], threshold: float) -> list[list[Detection]]:
        seen: list[Any] = []
        for start in range(0, len(views), self.batch):
            seen += self.net.detect(image.views(views[start : start + self.batch], self.view_size), threshold)
        return [
            [
                Detection(apply(back, points.double().cpu().numpy()), float(sure), float(size) * scale_of(back))
                for sure, points, size in faces
            ]
            for back, faces in zip(map(invert, views), seen, strict=True)
        ]
