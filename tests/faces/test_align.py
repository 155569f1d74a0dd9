"""Alignment: the least-squares map, and resampling that neither shifts nor aliases."""

import math

import numpy as np
import pytest
from PIL import Image

from idgen.faces.align import TEMPLATE, align, align_ffhq, scale_of, similarity, warp
from idgen.ground.geometry import apply, ffhq_square, invert


def rotation(degrees: float, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """(2, 3) similarity map."""
    c, s = math.cos(math.radians(degrees)) * scale, math.sin(math.radians(degrees)) * scale
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def smooth(height: int, width: int, seed: int = 0) -> Image.Image:
    """A picture that interpolates well."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def difference(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a).astype(float) - np.asarray(b)).mean())


def assert_same(image: Image.Image, pixels: np.ndarray) -> None:
    """Equal but for one level: Pillow rounds interpolated values down."""
    assert np.abs(np.asarray(image).astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_similarity_is_the_least_squares_solution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = TEMPLATE + rng.normal(0, 3, (5, 2))
    target = apply(rotation(rng.uniform(-180, 180), rng.uniform(0.2, 5), (30, -70)), source) + rng.normal(0, 4, (5, 2))
    # x' = a x − b y + tx, y' = b x + a y + ty is linear in (a, b, tx, ty).
    x, y = source.T
    one, zero = np.ones(5), np.zeros(5)
    system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, tx, ty = np.linalg.lstsq(system, target.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity(source, target), [[a, -b, tx], [b, a, ty]], atol=1e-9)


def test_similarity_recovers_and_inverts_an_exact_map() -> None:
    matrix = rotation(137, 0.31, (400, -12))
    found = similarity(TEMPLATE[:2], apply(matrix, TEMPLATE[:2]))  # two points decide it
    np.testing.assert_allclose(found, matrix, atol=1e-9)
    np.testing.assert_allclose(apply(invert(found), apply(found, TEMPLATE)), TEMPLATE, atol=1e-9)
    assert scale_of(found) == pytest.approx(0.31)
    assert np.linalg.det(similarity(TEMPLATE * (-1, 1), TEMPLATE)[:, :2]) > 0  # it never mirrors


@pytest.mark.parametrize(
    "source, target",
    [
        (np.ones((5, 2)), TEMPLATE),
        (np.where(TEMPLATE > 70, np.nan, TEMPLATE), TEMPLATE),
        (TEMPLATE, np.full((5, 2), np.inf)),
    ],
)
def test_similarity_refuses_what_has_no_solution(source: np.ndarray, target: np.ndarray) -> None:
    with pytest.raises(ValueError):
        similarity(source, target)


def test_no_change_a_shift_and_a_quarter_turn_are_exact() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert_same(align(image, TEMPLATE), pixels[:112, :112])
    assert_same(align(image, TEMPLATE + np.array([120, 70])), pixels[70:182, 120:232])
    # A face lying on its side: (x, y) of the crop is at (112 − y, x) of the picture.
    turned = align(image, TEMPLATE[:, ::-1] * (-1, 1) + (112, 0))
    assert_same(turned, np.rot90(pixels[:112, :112]))


@pytest.mark.parametrize("factor, off", [(2, 1), (3, 1), (4, 1), (5, 6), (7, 6), (16, 1)])
def test_shrinking_is_averaging(factor: int, off: float) -> None:
    """Of a picture in blocks of random colour, every output pixel is its block, or nearly so."""
    blocks = np.random.default_rng(2).integers(64, 192, (112, 112, 3), dtype=np.uint8)
    large = Image.fromarray(blocks.repeat(factor, 0).repeat(factor, 1))
    got = np.asarray(align(large, TEMPLATE * factor)).astype(int)
    assert np.abs(got - blocks).mean() < off


@pytest.mark.parametrize("shrink", [1.3, 1.9, 2.7, 3.99, 4.6, 9.3])
@pytest.mark.parametrize("degrees", [0, 30])
def test_shrinking_does_not_alias(shrink: float, degrees: float) -> None:
    """A one-pixel checkerboard, the finest there is, must vanish into its mean, not turn into a coarse pattern."""
    side = math.ceil(112 * shrink * 1.5)
    line = np.arange(side, dtype=np.uint16)
    image = Image.fromarray(((line[:, None] + line) % 2 * 255).astype(np.uint8)).convert("RGB")
    place = rotation(degrees, shrink)
    middle = apply(place, [56, 56])
    points = apply(place, TEMPLATE) - middle + side / 2
    inner = np.asarray(align(image, points)).astype(float)[4:-4, 4:-4]
    assert inner.mean() == pytest.approx(127.5, abs=1.5)
    # Bicubic sampling without averaging leaves about 62. Turned, the board's diagonals are finer than a pixel grid.
    assert inner.std() < (30 if shrink < 2 else 10)


@pytest.mark.parametrize("degrees, scale", [(23, 1.0), (-90, 2.6), (180, 0.7), (71, 3.3)])
def test_the_crop_does_not_depend_on_how_the_photo_was_taken(degrees: float, scale: float) -> None:
    """Turn, enlarge and move a picture together with its landmarks: the aligned face is the same."""
    scene = smooth(400, 400)
    points = TEMPLATE * 1.4 + (110, 120)
    reference = align(scene, points)
    place = rotation(degrees, scale)
    size = math.ceil(400 * scale)
    place[:, 2] = size / 2 - apply(place, [200, 200])
    photo = warp(scene, place, size)
    assert difference(align(photo, apply(place, points)), reference) < 1.0


def test_landmarks_land_on_the_template() -> None:
    """A white dot drawn at each landmark is found again at the template's point, to a fraction of a pixel."""
    place = rotation(-20, 2.3, (20, 120))
    points = apply(place, TEMPLATE)
    rows, columns = np.mgrid[0:360, 0:360] + 0.5
    for point, goal in zip(points, TEMPLATE, strict=True):
        dot = 255 * np.exp(-((columns - point[0]) ** 2 + (rows - point[1]) ** 2) / (2 * 4.0**2))
        got = np.asarray(align(Image.fromarray(dot.astype(np.uint8)).convert("RGB"), points)).astype(float)[..., 0]
        y, x = np.mgrid[0:112, 0:112] + 0.5
        centre = np.array([(got * x).sum(), (got * y).sum()]) / got.sum()
        assert np.linalg.norm(centre - goal) < 0.1


def test_beyond_the_picture_its_edge_goes_on_or_a_colour_fills() -> None:
    image = Image.new("RGB", (50, 50), (10, 200, 90))
    shift = np.array([[1.0, 0, 30], [0, 1, 30]])
    assert (np.asarray(warp(image, shift, 112)) == (10, 200, 90)).all()
    filled = np.asarray(warp(image, shift, 112, fill=(1, 2, 3)))
    assert (filled[:28] == (1, 2, 3)).all() and (filled[:, 82:] == (1, 2, 3)).all()
    assert (filled[32:78, 32:78] == (10, 200, 90)).all()
    nowhere = np.array([[1.0, 0, 9000], [0, 1, -9000]])
    assert (np.asarray(warp(image, nowhere, 112, fill=(1, 2, 3))) == (1, 2, 3)).all()
    assert (np.asarray(warp(image, nowhere, 112)) == (10, 200, 90)).all()
    assert align(smooth(3, 3), TEMPLATE / 100).size == (112, 112)


def ffhq_corners(landmarks: np.ndarray) -> np.ndarray:
    """The quad of Karras et al. 2018, appendix C: top left, bottom left, bottom right, top right."""
    left, right, _, mouth_left, mouth_right = landmarks
    eye_to_eye = right - left
    eye_to_mouth = (mouth_left + mouth_right) / 2 - (left + right) / 2
    x = eye_to_eye - np.flipud(eye_to_mouth) * [-1, 1]
    x /= np.hypot(*x)
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8)
    y = np.flipud(x) * [-1, 1]
    c = (left + right) / 2 + eye_to_mouth * 0.1
    return np.stack([c - x - y, c - x + y, c + x + y, c + x - y])


@pytest.mark.parametrize("seed", range(6))
def test_ffhq_square_is_the_papers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn = rotation(rng.uniform(-60, 60), rng.uniform(0.5, 4), (300, 200))
    stretch = (1, 1) if seed % 2 else (0.5, 1)  # a head turned away: the mouth decides the size
    landmarks = apply(turn, (TEMPLATE + rng.normal(0, 2, (5, 2))) * stretch)
    corners = apply(ffhq_square(landmarks, 128), ffhq_corners(landmarks))
    np.testing.assert_allclose(corners, [[0, 0], [0, 128], [128, 128], [128, 0]], atol=1e-6)


def test_ffhq_crop_turns_with_the_face_and_is_wider_than_arcface() -> None:
    picture, landmarks = smooth(400, 400), TEMPLATE + 140
    crop = align_ffhq(picture, landmarks)
    assert crop.size == (128, 128)
    turn = rotation(20, 1.3, (60, -120))
    turned = warp(picture, turn, 560)
    assert difference(align_ffhq(turned, apply(turn, landmarks)), crop) < 2
    for nothing in (np.zeros((5, 2)), np.full((5, 2), np.nan)):
        with pytest.raises(ValueError, match="landmarks"):
            ffhq_square(nothing, 128)
    eyes = apply(ffhq_square(landmarks, 128), landmarks)[:2]
    assert 20 < eyes[1, 0] - eyes[0, 0] < 38 and (eyes[:, 1] < 64).all() and (eyes[:, 1] > 50).all()
    assert scale_of(ffhq_square(landmarks, 112)) < 0.9 * scale_of(similarity(landmarks, TEMPLATE))
