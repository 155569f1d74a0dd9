"""The geometry around the finder's network. The network is a real one with random weights: what it finds means nothing,
but where the wrapper says it is can be checked."""

import numpy as np
import pytest
import torch
from PIL import Image

from idgen.faces import FaceEncoder
from idgen.faces.align import similarity, template, warp
from idgen.faces.finder import (
    BACKGROUND,
    Detection,
    FaceFinder,
    Layers,
    distinct,
    same_face,
    square_view,
    whole_view,
)
from idgen.ground.geometry import apply, invert
from idgen.ground.hub import BUILTIN, DEFAULT_MODEL
from idgen.models.finder import FaceFinderNet


@pytest.fixture(scope="module")
def eager() -> FaceFinder:
    """Sees faces everywhere."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = FaceFinderNet(channels=(8, 8, 8, 8), image_size=64, threshold=0.4)
        with torch.no_grad():
            net.head.weight.mul_(20)
            net.head.bias.zero_()
    finder = FaceFinder(net)
    finder.moved, finder.needed, finder.most = 0.0, -10.0, 3  # what sees nothing but noise is not steady
    return finder


@pytest.fixture
def picture() -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((300, 200), Image.Resampling.BICUBIC)


def face(x: float, y: float, size: float, confidence: float = 0.9) -> Detection:
    """A frontal face whose aligned crop is centred on (x, y)."""
    return Detection(template(1) * size + (x - size / 2, y - size / 2), confidence, size)


def test_a_view_frames_its_square_and_shows_its_pixels() -> None:
    for width, height, zoom in ((300, 200, 1), (200, 300, 0.5), (1, 1, 1), (4000, 3, 1), (97, 113, 0.5)):
        low, high = apply(whole_view(width, height, 192, zoom), [[0, 0], [width, height]])
        np.testing.assert_allclose(low + high, 192)
        np.testing.assert_allclose(high - low, zoom * 192 * np.array([width, height]) / max(width, height))
    view = square_view((70, 90), 40, 192)
    np.testing.assert_allclose(apply(view, [[50, 70], [90, 110], [70, 90]]), [[0, 0], [192, 192], [96, 96]])
    image = Image.new("RGB", (384, 192), (200, 10, 60))
    pixels = np.asarray(warp(image, whole_view(*image.size, 192), 192, BACKGROUND)).astype(int)
    assert np.abs(pixels[50:142] - (200, 10, 60)).max() <= 1
    assert np.abs(pixels[:46] - 128).max() <= 1 and np.abs(pixels[146:] - 128).max() <= 1


def test_one_detection_a_face_largest_first() -> None:
    small, unsure = face(40, 40, 30), face(42, 41, 33, 0.5)
    large, again = face(200, 90, 80, 0.6), face(205, 96, 70, 0.8)
    assert same_face(large, again) and same_face(small, unsure) and not same_face(small, large)
    assert distinct([small, large, again, unsure]) == [again, small]
    assert len(distinct([face(100, 100, 50), face(151, 100, 50)])) == 2


def test_look_is_the_network_on_each_view(eager: FaceFinder, picture: Image.Image) -> None:
    views = [whole_view(300, 200, 64), square_view((80, 120), 90, 64), whole_view(300, 200, 64, 0.5)] * 4
    seen = eager.look(picture, views, 0.4)
    assert len(seen) == len(views) > eager.batch
    layers = Layers(picture, eager.net.head.weight)
    for view, found in zip(views, seen, strict=True):
        raw = eager.net.detect(layers.views([view], 64), 0.4)[0]
        assert len(found) == len(raw) > 0
        for detection, (confidence, landmarks, size) in zip(found, raw, strict=True):
            scale, shift = view[0, 0], view[:, 2]
            assert detection.confidence == pytest.approx(confidence, abs=1e-4)
            np.testing.assert_allclose(detection.landmarks, (landmarks.numpy() - shift) / scale, rtol=1e-3, atol=1e-2)
            assert detection.size == pytest.approx(size / scale, rel=1e-3)


def test_views_off_layers_are_those_of_a_careful_warp(picture: Image.Image) -> None:
    layers = Layers(picture, torch.zeros(1))
    turned = similarity(face(150, 90, 100).landmarks, face(32, 32, 50).landmarks[[1, 0, 2, 4, 3]] * (1, -1) + (0, 64))
    views = [whole_view(300, 200, 64), whole_view(300, 200, 64, 0.5), square_view((80, 120), 40, 64), turned]
    for view, seen in zip(views, layers.views(views, 64), strict=True):
        careful = np.asarray(warp(picture, view, 64, BACKGROUND)).astype(np.float32) / 127.5 - 1
        away = np.abs(seen.permute(1, 2, 0).numpy() - careful)
        assert away.mean() < 0.02 and np.quantile(away, 0.99) < 0.15, view
    odd = Layers(Image.new("RGB", (301, 77), (200, 200, 200)), torch.zeros(1))
    seen = odd.views([square_view((150.5, 38.5), 301, 32)], 32)[0]
    assert float(seen[:, 16].min()) > 0.5, "the last block of a layer is of what is there"


def test_find_returns_distinct_faces_largest_first(eager: FaceFinder, picture: Image.Image) -> None:
    found = eager.find(picture)
    assert len(found) > 1
    assert [d.size for d in found] == sorted((d.size for d in found), reverse=True)
    assert not any(same_face(a, b) for i, a in enumerate(found) for b in found[:i])
    for detection in found:
        assert detection.landmarks.shape == (5, 2) and detection.landmarks.dtype == np.float64
        assert np.isfinite(detection.landmarks).all() and 0.4 <= detection.confidence <= 1
    again = eager.find(picture)
    assert [d.landmarks.tolist() for d in again] == [d.landmarks.tolist() for d in found]
    assert not eager.net.training


def test_the_second_look_is_on_aligned_crops(eager: FaceFinder, picture: Image.Image) -> None:
    """With a network that moves nothing, it puts the template, seen in each crop and in its mirror image, where the
    landmarks' own similarity has it."""
    rough, target = face(150, 90, 60).landmarks + np.arange(10).reshape(5, 2), eager.net.crop_template.double().numpy()
    layers = Layers(picture, eager.net.head.weight)
    landmarks, logits = eager._aligned(layers, [rough, rough + 5], eager.shaken)
    assert landmarks.shape == (2, 5, 5, 2) and logits.shape == (2, 5)
    mirrored = np.stack([eager.net.config.crop_size - target[:, 0], target[:, 1]], 1)[[1, 0, 2, 4, 3]]
    centre = target.mean(0)
    for row, (scale, degrees, flipped) in enumerate(eager.shaken):
        radians = np.radians(degrees)
        turn = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
        view = similarity(rough, scale * (target - centre) @ turn.T + centre)
        np.testing.assert_allclose(landmarks[0, row], apply(invert(view), mirrored if flipped else target), atol=1e-6)
    bias = eager.net.corrector[-1].bias
    try:
        torch.nn.init.constant_(bias[10:], -20)  # no face after all
        assert eager.find(picture) == []
    finally:
        torch.nn.init.zeros_(bias)


@pytest.fixture(scope="module")
def encoder() -> FaceEncoder:
    return FaceEncoder.from_pretrained(BUILTIN / DEFAULT_MODEL / "encoder")


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    """A photograph."""
    return Image.fromarray(pytest.importorskip("skimage.data").astronaut())


def test_a_picture_turned_by_quarters_is_the_same_person(encoder: FaceEncoder, astronaut: Image.Image) -> None:
    upright = encoder.encode([astronaut], aligned=False)[0]
    for turn in (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270):
        turned = encoder.encode([astronaut.transpose(turn)], aligned=False)[0]
        assert float(upright @ turned) > 0.98, turn


def test_a_small_face_and_two_faces(encoder: FaceEncoder, astronaut: Image.Image) -> None:
    finder, head = encoder.finder, astronaut.crop((130, 0, 330, 240))
    assert finder is not None
    canvas = Image.new("RGB", (1000, 800), (120, 130, 140))
    canvas.paste(head.resize((150, 180), Image.Resampling.LANCZOS), (620, 420))
    (small,) = finder.find(canvas)
    assert 60 < small.size < 130 and np.linalg.norm(small.centre - (695, 510)) < 40
    canvas.paste(head.resize((250, 300), Image.Resampling.LANCZOS), (100, 100))
    large, other = finder.find(canvas)
    assert large.size > 1.3 * other.size and np.linalg.norm(large.centre - other.centre) > 400


def test_no_face_where_there_is_none(encoder: FaceEncoder) -> None:
    data, finder = pytest.importorskip("skimage.data"), encoder.finder
    assert finder is not None
    for name in ("moon", "coins"):
        assert finder.find(Image.fromarray(getattr(data, name)()).convert("RGB")) == []


def test_finds_nothing_where_the_network_is_unsure(picture: Image.Image) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = FaceFinder(FaceFinderNet(channels=(8, 8, 8, 8), image_size=64))
    assert fresh.threshold == fresh.net.config.threshold and fresh.glance <= fresh.threshold
    assert fresh.find(picture) == []


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 3), (112, 112)])
def test_any_shape_of_picture(eager: FaceFinder, size: tuple[int, int]) -> None:
    for detection in eager.find(Image.new("RGB", size, (90, 120, 150))):
        assert np.isfinite(detection.landmarks).all()
