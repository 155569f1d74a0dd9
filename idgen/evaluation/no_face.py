"""Pictures without a face, seeded: what a face finder has to leave alone.

Three kinds, kept apart because the first is also good for training and the second must never be trained on:

- `procedural`: textures, shapes, lettering, landscapes, heads from behind. Endless, needs only numpy and Pillow.
- `photographs`: crops of the photographs that ship inside scikit-image (no download). Only for measuring.
- `covered`: rendered photos whose head lies under background. Only for measuring.

Every picture depends on (seed, its number) alone, so asking for more never changes the first ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter

from idgen.ground.errors import require_package

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
Pictures = Sequence[ArrayLike] | NDArray[Any]

# Ends of the range of skin and of hair colours: a face finder must not live by colour alone.
_SKIN = np.array([[62, 38, 28], [246, 214, 192]])
_HAIR = np.array([[18, 14, 12], [150, 110, 70]])


def _colour(rng: Generator, ends: NDArray[np.int_] | None = None) -> Colour:
    if ends is None:
        return tuple(rng.integers(0, 256, 3).tolist())
    between = ends[0] + (ends[1] - ends[0]) * rng.random() + rng.normal(0, 6, 3)
    return tuple(np.clip(between, 0, 255).astype(int).tolist())


def _smooth(rng: Generator, size: int, cells: int, channels: int = 1) -> NDArray[np.float32]:
    """(size, size, channels) of smooth noise in about [0, 1]: random values on a coarse grid, enlarged."""
    coarse = rng.random((channels, cells + 1, cells + 1), dtype=np.float32)
    return np.stack([np.asarray(Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC)) for c in coarse], -1)


def _mix(share: NDArray[np.floating], first: Colour, second: Colour) -> Picture:
    """Colours between two ends by a (size, size, 1) or (size, size, 3) share in [0, 1]."""
    a, b = np.array(first, np.float32), np.array(second, np.float32)
    return np.clip(a + (b - a) * share, 0, 255).astype(np.uint8)


def _axes(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """x (1, size) and y (size, 1) in [-1, 1]."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    return line[None], line[:, None]


def _gradient(rng: Generator, size: int) -> Picture:
    x, y = _axes(size)
    angle = rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.5:
        share = (x * np.cos(angle) + y * np.sin(angle)) * 0.5 + 0.5
    else:  # a bright or dark round spot, as a lamp or a ball
        centre_x, centre_y = rng.uniform(-0.7, 0.7, 2)
        share = np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / rng.uniform(0.05, 1.5))
    return _mix(share[..., None], _colour(rng), _colour(rng))


def _clouds(rng: Generator, size: int) -> Picture:
    """Smooth noise of several octaves, in two colours or in colour throughout."""
    channels = 3 if rng.random() < 0.3 else 1
    steepness, total, weight = rng.uniform(0.3, 0.9), 0.0, 0.0
    share: NDArray[np.float32] | float = 0.0
    for octave in range(int(rng.integers(1, 7))):
        total, weight = total + steepness**octave, steepness**octave
        share = share + weight * _smooth(rng, size, min(size - 1, int(2 * 2**octave)), channels)
    return _mix(np.asarray(share) / total, _colour(rng), _colour(rng))


def _noise(rng: Generator, size: int) -> Picture:
    grain, channels = int(rng.integers(1, 7)), 3 if rng.random() < 0.5 else 1
    side = -(-size // grain)
    values = rng.normal(rng.uniform(40, 215), rng.uniform(5, 80), (side, side, channels)).clip(0, 255).astype(np.uint8)
    return np.broadcast_to(values.repeat(grain, 0).repeat(grain, 1)[:size, :size], (size, size, 3)).copy()


def _waves(rng: Generator, size: int) -> Picture:
    """Stripes, rings, plaid and checks: soft or hard edged."""
    x, y = _axes(size)
    angle, frequency = rng.uniform(0, np.pi), rng.uniform(2, 40)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kind = rng.integers(4)
    if kind == 0:
        wave = np.sin(frequency * u)
    elif kind == 1:
        wave = np.sin(frequency * np.hypot(u - rng.uniform(-1, 1), v * rng.uniform(0.5, 1)))
    elif kind == 2:
        wave = np.sin(frequency * u) * np.sin(frequency * rng.uniform(0.5, 2) * v)
    else:
        wave = np.sin(frequency * u + rng.uniform(1, 8) * _smooth(rng, size, 5)[..., 0])
    share = np.clip(wave * rng.choice([0.5, 2.0, 50.0]) + 0.5, 0, 1)
    return _mix(share[..., None], _colour(rng), _colour(rng))


def _background(rng: Generator, size: int) -> Picture:
    painters: tuple[Callable[[Generator, int], Picture], ...] = (_gradient, _clouds, _noise, _waves)
    return painters[rng.choice(4, p=(0.35, 0.4, 0.1, 0.15))](rng, size)


def _shapes(rng: Generator, size: int) -> Picture:
    """Ovals, boxes, polygons, lines and arcs, few or many, a third of the colours skin or hair."""
    canvas = Image.fromarray(_background(rng, size))
    draw = ImageDraw.Draw(canvas)
    largest = size * rng.uniform(0.08, 0.9)
    for _ in range(int(np.exp(rng.uniform(0, np.log(60))))):
        fill = _colour(rng, [None, None, None, None, _SKIN, _HAIR][rng.integers(6)])
        x, y = rng.uniform(-0.1, 1.1, 2) * size
        w, h = rng.uniform(0.1, 1, 2) * largest
        box, line = (x - w / 2, y - h / 2, x + w / 2, y + h / 2), int(rng.integers(1, max(2, size // 20)))
        kind = rng.integers(6)
        if kind == 0:
            draw.ellipse(box, fill)
        elif kind == 1:
            draw.rectangle(box, fill)
        elif kind == 2:
            corners = rng.uniform((x - w, y - h), (x + w, y + h), (int(rng.integers(3, 8)), 2))
            draw.polygon([(float(a), float(b)) for a, b in corners], fill)
        elif kind == 3:
            draw.line(box, fill, line)
        elif kind == 4:
            start, turn = rng.uniform(0, 360, 2)
            draw.arc(box, start, start + turn, fill, line)
        else:
            draw.rounded_rectangle(box, min(w, h) / 4, fill)
    return np.asarray(canvas)


def _grid(rng: Generator, size: int) -> Picture:
    """A wall of equal things: bricks, tiles, windows, balls, pairs of dots."""
    canvas = Image.fromarray(_background(rng, size))
    draw = ImageDraw.Draw(canvas)
    step_x, step_y = rng.uniform(0.06, 0.4, 2) * size
    fill, round_ones, shift, share = _colour(rng), rng.random() < 0.4, rng.choice([0.0, 0.5]), rng.uniform(0.3, 0.95)
    for row in range(-1, int(size / step_y) + 1):
        for column in range(-1, int(size / step_x) + 1):
            x, y = (column + shift * (row % 2)) * step_x, row * step_y
            box = (x, y, x + share * step_x, y + share * step_y)
            draw.ellipse(box, fill) if round_ones else draw.rectangle(box, fill)
    return np.asarray(canvas.rotate(rng.choice([0, rng.uniform(-30, 30)]), Image.Resampling.BILINEAR))


def _mosaic(rng: Generator, size: int) -> Picture:
    """Cells around random points, each one colour: stones, leaves, a rough collage."""
    count = int(rng.integers(4, 40))
    points = rng.uniform(-1, 1, (count, 2)).astype(np.float32)
    x, y = _axes(min(size, 96))
    distance = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
    base = np.array(_colour(rng))
    colours = np.clip(base + rng.normal(0, rng.uniform(10, 90), (count, 3)), 0, 255).astype(np.uint8)
    cells = Image.fromarray(colours[distance.argmin(-1)])
    return np.asarray(cells.resize((size, size), [Image.Resampling.NEAREST, Image.Resampling.BICUBIC][rng.integers(2)]))


def _lettering(rng: Generator, size: int) -> Picture:
    paper = _gradient(rng, size) if rng.random() < 0.5 else np.full((size, size, 3), _colour(rng), np.uint8)
    canvas = Image.fromarray(paper)
    draw = ImageDraw.Draw(canvas)
    ink, height = _colour(rng), rng.uniform(0.04, 0.25) * size
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?()    "
    for y in np.arange(rng.uniform(0, height), size, 1.4 * height)[:14]:
        words = "".join(rng.choice(list(letters), int(rng.integers(3, int(2 * size / height) + 4))))
        draw.text((rng.uniform(-0.1, 0.3) * size, y), words, ink, font_size=float(height))
    return np.asarray(canvas.rotate(rng.choice([0, rng.uniform(-40, 40)]), Image.Resampling.BILINEAR))


def _landscape(rng: Generator, size: int) -> Picture:
    """Layers of hills under a sky, each a texture of its own."""
    out = _gradient(rng, size) if rng.random() < 0.5 else _clouds(rng, size)
    _, y = _axes(size)
    for level in np.sort(rng.uniform(-0.6, 0.9, int(rng.integers(1, 5)))):
        ridge = level + rng.uniform(0, 0.6) * (_smooth(rng, size, int(rng.integers(2, 20)))[:1, :, 0] - 0.5)
        out = np.where((y > ridge)[..., None], _clouds(rng, size), out)
    return out


def _from_behind(rng: Generator, size: int) -> Picture:
    """A head from behind on its shoulders, or a bare oval, hand-sized patch or limb of skin: no features anywhere."""
    canvas = Image.fromarray(_background(rng, size))
    draw = ImageDraw.Draw(canvas)
    skin, hair = _colour(rng, _SKIN), _colour(rng, _HAIR)
    x, y, r = rng.uniform(0.25, 0.75) * size, rng.uniform(0.25, 0.65) * size, rng.uniform(0.06, 0.4) * size
    tall = rng.uniform(1.0, 1.5)
    if rng.random() < 0.7:
        cloth, wide = _colour(rng), rng.uniform(1.6, 2.6)
        draw.rounded_rectangle((x - wide * r, y + 1.5 * tall * r, x + wide * r, y + 9 * r), r, cloth)
        draw.rectangle((x - 0.55 * r, y + 0.5 * r, x + 0.55 * r, y + 1.7 * tall * r), skin)
        for side in (-1, 1):  # ears
            draw.ellipse((x + side * r - 0.2 * r, y - 0.3 * r, x + side * r + 0.2 * r, y + 0.3 * r), skin)
        draw.ellipse((x - r, y - tall * r, x + r, y + tall * r), hair)
        for _ in range(int(rng.integers(0, 30))):  # strands
            start, shade = rng.uniform(-0.7, 0.7), int(rng.integers(-25, 26))
            strand = (x + start * r, y - 0.6 * tall * r, x + 1.1 * start * r, y + 0.6 * tall * r)
            draw.line(strand, tuple(int(np.clip(c + shade, 0, 255)) for c in hair), max(1, int(r / 20)))
    else:
        draw.ellipse((x - r, y - tall * r, x + r, y + tall * r), skin)
        if rng.random() < 0.5:
            draw.line((x, y, *(rng.uniform(0, 1, 2) * size)), skin, max(1, int(r * rng.uniform(0.3, 1.2))))
    lit = np.asarray(canvas.filter(ImageFilter.GaussianBlur(size / rng.uniform(60, 400)))).astype(np.float32)
    return np.clip(lit * (0.6 + 0.8 * _smooth(rng, size, 3)), 0, 255).astype(np.uint8)


def _collage(rng: Generator, size: int) -> Picture:
    """Two of the others with a border between them, or one showing through the other."""
    first, second = (_PAINTERS[rng.integers(len(_PAINTERS) - 1)](rng, size) for _ in range(2))
    mask = _smooth(rng, size, int(rng.integers(2, 8)))
    if rng.random() < 0.6:
        return np.where(mask > 0.5, first, second)
    return (first * mask.clip(0, 1) + second * (1 - mask.clip(0, 1))).astype(np.uint8)


_PAINTERS: tuple[Callable[[Generator, int], Picture], ...] = (
    *(_gradient, _clouds, _noise, _waves, _shapes, _shapes, _grid, _mosaic, _lettering, _landscape),
    *(_from_behind, _from_behind, _collage),  # the collage last: it is made of the ones before it
)


def _as_a_camera(rng: Generator, picture: Picture) -> Picture:
    """Sometimes blurred, grainy, dark or grey."""
    blurred, grainy, lit, grey = rng.random(4)
    if blurred < 0.25:
        picture = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 3)))))
    if lit < 0.4:
        picture = np.clip(picture * np.float32(rng.uniform(0.3, 1.3)), 0, 255).astype(np.uint8)
    if grainy < 0.3:
        picture = np.clip(picture + rng.integers(-20, 21, picture.shape, np.int16), 0, 255).astype(np.uint8)
    if grey < 0.1:
        picture = np.repeat(picture.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
    return picture


def procedural(n: int, size: int, seed: int) -> Picture:
    """Drawn pictures without a face: (n, size, size, 3) uint8 RGB, picture i a function of (seed, i, size) alone."""
    out = np.empty((n, size, size, 3), np.uint8)
    for index in range(n):
        rng = np.random.default_rng([seed, index])
        out[index] = _as_a_camera(rng, _PAINTERS[rng.integers(len(_PAINTERS))](rng, size))
    return out


PHOTOGRAPHS = (
    *("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "motorcycle_right.png"),
    *("hubble_deep_field.jpg", "ihc.png", "retina.jpg", "moon.png", "brick.png", "grass.png", "gravel.png", "page.png"),
    *("text.png", "cell.png", "clock_motion.png", "horse.png", "logo.png", "color.png", "microaneurysms.png"),
    "chessboard_RGB.png",
)
"""Pictures inside the scikit-image wheel that show no human face. Left out: the astronaut, the cameraman, a phantom
head, and the ancient coins, which bear portraits. The cat stays: a cat is not a person."""


def photographs(n: int, seed: int) -> list[Image.Image]:
    """n RGB pictures: the `PHOTOGRAPHS` whole, in order, then random crops of them, some turned. For measuring only.

    Raises:
        InputError: scikit-image is not installed.
    """
    data = require_package("skimage.data", "eval", "Photographs without a face")
    folder = Path(str(data.__file__)).parent  # read as files, so that nothing can be fetched in their stead
    sources = [_opaque(Image.open(folder / name)) for name in PHOTOGRAPHS[:n]]
    out = sources[:n]
    for index in range(len(sources), n):
        rng = np.random.default_rng([seed, index])
        picture = sources[index % len(sources)]
        side = max(64, round(rng.uniform(0.25, 0.9) * min(picture.size)))
        x, y = (int(rng.integers(0, max(1, length - side + 1))) for length in picture.size)
        crop = picture.crop((x, y, min(x + side, picture.width), min(y + side, picture.height)))
        out.append(crop.rotate(90 * int(rng.integers(4)), expand=True) if rng.random() < 0.3 else crop)
    return out


def _opaque(image: Image.Image) -> Image.Image:
    """RGB, transparency laid on white."""
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")


def covered(pictures: Pictures, landmarks: ArrayLike, n: int, seed: int) -> list[Image.Image]:
    """n of the pictures with the head hidden under background: clothes, neck and scene stay. For measuring only.

    Args:
        pictures: (P) RGB images with exactly one face each.
        landmarks: (P, 5, 2) pixels: eye, eye, nose tip, mouth corner, mouth corner.
    """
    points = np.asarray(landmarks, float)
    first = np.random.default_rng([seed]).permutation(len(pictures))
    out = []
    for index in range(n):
        rng = np.random.default_rng([seed, index])
        row = first[index % len(pictures)]
        out.append(_cover(rng, Image.fromarray(np.asarray(pictures[row])), points[row]))
    return out


def _cover(rng: Generator, picture: Image.Image, points: NDArray[np.float64]) -> Image.Image:
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    # Turned heads have close eyes, nodding ones a short way from eyes to mouth: the longer one is the face's scale.
    scale = max(float(np.hypot(*(points[1] - points[0]))), float(np.hypot(*(mouth - eyes))))
    x, y = 0.5 * (eyes + mouth)
    box = tuple(round(v) for v in (x - 2.3 * scale, y - 2.6 * scale, x + 2.3 * scale, y + 2.3 * scale))
    width, height = picture.size
    sides = [(0, 0, box[0], height), (box[2], 0, width, height), (0, 0, width, box[1])]  # not below: there is the neck
    room = [max(0, right - left) * max(0, bottom - top) for left, top, right, bottom in sides]
    size = (box[2] - box[0], box[3] - box[1])
    best = int(np.argmax(room))
    if room[best] > 0.1 * width * height:
        patch = picture.crop(sides[best]).resize(size, Image.Resampling.BICUBIC)
    else:  # the head fills the picture
        patch = Image.fromarray(_background(rng, max(size))).crop((0, 0, *size))
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse((0.03 * size[0], 0.03 * size[1], 0.97 * size[0], 0.97 * size[1]), 255)
    picture = picture.copy()
    picture.paste(patch, box[:2], mask.filter(ImageFilter.GaussianBlur(0.01 * size[0] * rng.uniform(0, 2))))
    return picture


def no_face_sets(n: int, seed: int, photos: tuple[Pictures, ArrayLike]) -> dict[str, list[Image.Image]]:
    """n pictures without a face by kind: "procedural", "photographs" and "covered".

    Args:
        n: how many altogether; shared out evenly, the first kinds take the remainder.
        seed: use one that no training used: procedural pictures serve for training too.
        photos: (pictures, landmarks) for `covered`.
    """
    drawn, photographed, hidden = ((n + 2 - kind) // 3 for kind in range(3))
    return {
        "procedural": [Image.fromarray(picture) for picture in procedural(drawn, 224, seed)],
        "photographs": photographs(photographed, seed),
        "covered": covered(*photos, hidden, seed),
    }
