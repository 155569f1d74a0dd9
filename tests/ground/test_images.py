"""Every kind of picture and of non-picture that people hand over."""

import io
import os
import struct
import sys
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from tiny import encoded

from idgen.ground.errors import InputError
from idgen.ground.images import MAX_SIDE, UPLOADS, describe, open_image


def noise(height: int = 40, width: int = 60, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png_header(width: int, height: int) -> bytes:
    """A PNG that ends after its header: whoever tries to decode it finds nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">II", zlib.crc32(header), 1 << 20) + b"IDAT"


def test_refuses_missing_folder_empty_and_other_files(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "notes.png").write_text("no picture at all, but long enough to have a header")
    for path, message in (
        (tmp_path / "missing.jpg", "no file .*missing.jpg"),
        (tmp_path, "is a folder"),
        (tmp_path / "empty.jpg", r"empty\.jpg is empty"),
        (tmp_path / "notes.png", r"notes\.png is not a picture"),
        (tmp_path / ("x" * 300), "Cannot open|no file"),
        ("zero\0byte.png", "Cannot open|no file"),
        (tmp_path / "pipe.png", "not a regular file" if hasattr(os, "mkfifo") else "no file"),  # and does not wait
    ):
        with pytest.raises(InputError, match=message):
            open_image(path)


@pytest.mark.parametrize(
    "source, message",
    [
        *((thing, "Expected a picture") for thing in (None, 7, [1, 2], object())),
        *((empty, "is empty or cannot be read") for empty in (b"", io.BytesIO())),
        *((cut, "not a picture") for cut in (b"GIF89a", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 ", io.StringIO("text"))),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        # PostScript, for which Pillow would start another program.
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n", "not a picture"),
        (Image.new("RGB", (0, 5)), "no pixels"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        *((np.zeros(shape, np.uint8), "Expected an array") for shape in ((3, 40, 60), (5,), (2, 2, 3, 1))),
        *((np.full((4, 4), value), r"pixels in \[0, 1\]") for value in (255.0, -1.0, np.nan)),
        *((array, "pixels of uint8") for array in (np.zeros((4, 4), np.int64), np.array([["a", "b"]]))),
    ],
)
def test_refuses_other_things(source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_image(source)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_refuses_truncated_pictures(kind: str) -> None:
    data = encoded(Image.fromarray(noise(200, 200)), kind)
    with pytest.raises(InputError, match=r"The picture is (damaged|not a picture)"):
        open_image(data[: len(data) // 2])


@pytest.mark.parametrize("width, height", [(30_000, 8), (8, 30_000), (30_000, 30_000), (12_000, 9_000)])
def test_refuses_large_pictures_by_their_header(width: int, height: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=r"too large.*20,000 pixels a side and 50 megapixels"):
            open_image(png_header(width, height))
    with pytest.raises(InputError, match=r"damaged|not a picture"):  # the same with a size that is allowed
        open_image(png_header(100, 100))
    for source in (Image.new("1", (MAX_SIDE + 1, 1)), np.zeros((1, MAX_SIDE + 1), np.uint8)):
        with pytest.raises(InputError, match="too large"):
            open_image(source)
    assert open_image(np.zeros((1, MAX_SIDE), np.uint8)).size == (MAX_SIDE, 1)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_refuses_several_frames(kind: str) -> None:
    frames = [Image.fromarray(noise(seed=seed)) for seed in range(3)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="has several frames: give one still picture"):
        open_image(data)
    with pytest.raises(InputError, match="has several frames"):
        open_image(Image.open(io.BytesIO(data)))
    for still in (encoded(frames[0], kind), encoded(frames[0], "MPO", save_all=True, append_images=frames[1:2])):
        assert open_image(still).size == (60, 40)  # a phone's pair is one photo and its depth


def test_does_not_count_a_hundred_thousand_pages() -> None:
    page = [(256, 3, 1), (257, 3, 1), (258, 3, 8), (262, 3, 1), (273, 4, 0), (278, 3, 1), (279, 4, 1)]
    data = bytearray(b"II*\0\x08\0\0\0")
    for _ in range(100_000):
        data += struct.pack("<H", len(page)) + b"".join(struct.pack("<HHII", tag, kind, 1, x) for tag, kind, x in page)
        data += struct.pack("<I", len(data) + 4)
    began = time.process_time()
    with pytest.raises(InputError, match="has several frames"):
        open_image(bytes(data))
    assert time.process_time() - began < 1


def test_refuses_a_jpeg_that_draws_itself_again_and_again() -> None:
    data = encoded(Image.fromarray(noise(64, 64)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    assert open_image(data).size == (64, 64)
    with pytest.raises(InputError, match=r"is a JPEG of 10,009 scans: save it again as a plain JPEG"):
        open_image(data[:last] + data[last:-2] * 10_000 + data[-2:])


def test_less_is_allowed_to_strangers() -> None:
    picture = Image.fromarray(noise(40, 60))
    assert open_image(encoded(picture), 2400, UPLOADS).size == (60, 40)
    with pytest.raises(InputError, match=r"too large \(60 × 40 pixels\)"):
        open_image(encoded(picture), 2399)
    for kind in ("TIFF", "JPEG2000", "PPM"):
        assert open_image(encoded(picture, kind)).size == (60, 40)
        with pytest.raises(InputError, match="not a picture that can be read"):
            open_image(encoded(picture, kind), formats=UPLOADS)


def test_all_sources_give_the_same_pixels(tmp_path: Path) -> None:
    pixels = noise()
    data = encoded(Image.fromarray(pixels))
    path = tmp_path / "picture.png"
    path.write_bytes(data)

    stream = io.BytesIO(data)
    stream.seekable = lambda: False  # type: ignore[method-assign]  # like a pipe or a socket
    with path.open("rb") as file:
        file.read(5)  # a file somebody has looked into
        sources = (path, str(path), data, bytearray(data), memoryview(data), file, stream, Image.open(path), pixels)
        for source in sources:
            image = open_image(source)  # type: ignore[arg-type]
            assert image.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(image), pixels)
    path.unlink()  # nothing holds it


def test_is_a_copy_that_carries_nothing_along() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(Image.fromarray(noise()), "JPEG", exif=exif, icc_profile=profile, comment=b"at home", xmp=b"<x/>")
    image = open_image(data)
    assert image.info == {} and not image.getexif()
    np.testing.assert_array_equal(np.asarray(open_image(image)), np.asarray(image))  # not turned again
    own = Image.fromarray(noise())
    open_image(own).putpixel((0, 0), (1, 2, 3))
    np.testing.assert_array_equal(np.asarray(own), noise())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_turns_all_orientations_upright(orientation: int, kind: str) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24], upright[:16, 24:], upright[16:, :24] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    # What the sensor saw, by the definition of each value (EXIF 2.32, Orientation): where its row 0 and column 0 are.
    stored = {
        1: upright,
        2: upright[:, ::-1],  # row 0 top, column 0 right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: upright.transpose(1, 0, 2),  # left, top
        6: upright.transpose(1, 0, 2)[::-1],  # right, top: row i of the stored is column W−1−i
        7: upright.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
        8: upright.transpose(1, 0, 2)[:, ::-1],  # left, bottom
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, quality=95, lossless=kind == "WEBP")
    assert np.abs(np.asarray(open_image(data)).astype(int) - upright).mean() < 6


@pytest.mark.filterwarnings("error")
def test_broken_exif_and_what_lies_behind_a_picture_are_ignored() -> None:
    for junk in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0garbage", b""):
        data = encoded(Image.fromarray(noise()), "JPEG", exif=junk)
        assert open_image(data + b"PK\x03\x04" + b"<html><script>alert(1)</script>" * 9).size == (60, 40)


def test_grey_and_bilevel() -> None:
    grey = noise(channels=1)
    for source in (encoded(Image.fromarray(grey)), grey, grey[:, :, None], grey / 255.0):
        np.testing.assert_array_equal(np.asarray(open_image(source)), np.repeat(grey[:, :, None], 3, 2))
    assert open_image(np.eye(4, dtype=bool)).getpixel((1, 1)) == (255, 255, 255)
    bits = Image.fromarray(grey).convert("1", dither=Image.Dither.NONE)
    np.testing.assert_array_equal(np.unique(np.asarray(open_image(encoded(bits)))), [0, 255])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_keeps_its_range(kind: str) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(4, 0)
    image = np.asarray(open_image(encoded(Image.fromarray(ramp), kind)))
    np.testing.assert_array_equal(image, np.arange(256, dtype=np.uint8)[None, :, None].repeat(4, 0).repeat(3, 2))


def test_transparency_lies_on_mid_grey() -> None:
    colour = np.full((10, 10, 4), (200, 40, 0, 255), np.uint8)
    colour[:, 5:, 3] = 0
    colour[0, 0, 3] = 128
    palette = Image.new("P", (10, 10), 0)
    palette.putpalette([200, 40, 0, 7, 7, 7])
    palette.paste(1, (5, 0, 10, 10))
    keyed = Image.fromarray(np.where(colour[..., 3:] == 0, (1, 2, 3), colour[..., :3]).astype(np.uint8))
    grey_alpha = Image.fromarray(colour).convert("LA")
    for source in (
        encoded(Image.fromarray(colour)),
        encoded(Image.fromarray(colour), "WEBP", lossless=True),
        encoded(palette, "PNG", transparency=1),
        encoded(palette, "GIF", transparency=1),
        encoded(keyed, "PNG", transparency=(1, 2, 3)),
        Image.fromarray(colour).convert("RGBa"),
        colour,
    ):
        image = open_image(source)
        assert image.mode == "RGB"
        assert image.getpixel((7, 5)) == (128, 128, 128)
        assert image.getpixel((2, 5)) == (200, 40, 0)
    assert open_image(colour).getpixel((0, 0)) == (164, 84, 64)  # half way
    assert open_image(encoded(grey_alpha)).getpixel((7, 5)) == (128, 128, 128)


def test_palette_and_cmyk() -> None:
    blocks = np.zeros((32, 32, 3), np.uint8)
    blocks[:, 16:] = (250, 120, 30)
    palette, cmyk = Image.fromarray(blocks).quantize(4), Image.fromarray(blocks).convert("CMYK")
    for data in (encoded(palette), encoded(palette, "GIF"), encoded(cmyk, "JPEG"), encoded(cmyk, "TIFF")):
        assert np.abs(np.asarray(open_image(data)).astype(int) - blocks).mean() < 3


def test_arrays() -> None:
    own, opaque = noise(), np.full((40, 60), 255, np.uint8)
    same = (own.astype(np.uint16) * 257, own / np.float32(255), own / 255.0, np.asfortranarray(own))
    for array in (own, *same, np.dstack([own, opaque])):
        np.testing.assert_array_equal(np.asarray(open_image(array)), own)


def test_describe(tmp_path: Path) -> None:
    path = tmp_path / "anna.png"
    Image.fromarray(noise()).save(path)
    with path.open("rb") as file:
        assert {describe(source) for source in (path, str(path), Image.open(path), file)} == {"anna.png"}
    assert {describe(source) for source in (b"bytes", np.zeros(3), None, "")} == {"the picture"}


_XYZ = {  # of red, green and blue, a column each, for the D50 white of profiles
    "sRGB": [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]],
    "Adobe RGB": [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]],
    "Display P3": [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]],
}
_GAMMA = 563 / 256  # as Adobe RGB's profile says it


def profile(space: str) -> bytes:
    """An ICC profile (ICC.1:2001-04, 6.1) of three primaries and a gamma."""

    def fixed(values: list[float]) -> bytes:
        return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))

    curve = b"curv" + bytes(4) + struct.pack(">IHxx", 1, 563)
    text = b"desc" + bytes(4) + struct.pack(">I", len(space) + 1) + space.encode() + bytes(80)
    tags = {"desc": text, "cprt": b"text" + bytes(4) + b"none\0\0\0\0", "wtpt": fixed([0.9642, 1.0, 0.8249])}
    tags |= {f"{c}XYZ": fixed([row[at] for row in _XYZ[space]]) for at, c in enumerate("rgb")}
    tags |= {f"{c}TRC": curve for c in "rgb"}
    head, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        head += name.encode() + struct.pack(">II", start + len(body), len(data))
        body += data
    size = struct.pack(">I", 128 + len(head) + len(body))
    about = size + bytes(4) + b"\x02\x10\0\0mntrRGB XYZ " + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp"
    return (about + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)).ljust(128, b"\0") + head + body


@pytest.mark.parametrize("space", ["Adobe RGB", "Display P3"])
def test_colours_of_another_profile_become_those_of_srgb(space: str) -> None:
    wanted = np.random.default_rng(0).integers(70, 186, (16, 16, 3)).astype(np.uint8)
    linear = np.where(wanted <= 10, wanted / 255 / 12.92, ((wanted / 255 + 0.055) / 1.055) ** 2.4)
    other = linear @ np.array(_XYZ["sRGB"]).T @ np.linalg.inv(_XYZ[space]).T
    stored = Image.fromarray((other.clip(0, 1) ** (1 / _GAMMA) * 255).round().astype(np.uint8))
    clear = stored.copy()
    clear.putalpha(255)
    assert np.abs(np.asarray(stored).astype(int) - wanted).max() > 8
    for picture, kind, options in (
        (stored, "PNG", {}),
        (clear, "PNG", {}),
        (stored, "TIFF", {}),
        (stored, "WEBP", {"lossless": True}),
        (stored, "JPEG", {"quality": 100, "subsampling": 0}),
    ):
        opened = open_image(encoded(picture, kind, icc_profile=profile(space), **options))
        assert np.abs(np.asarray(opened).astype(int) - wanted).max() <= (6 if kind == "JPEG" else 2)
        assert "icc_profile" not in opened.info
    for useless in (b"no profile" * 20, profile(space)[:200], profile("sRGB")):
        opened = open_image(encoded(stored, icc_profile=useless))
        assert np.array_equal(np.asarray(opened), np.asarray(stored))
    grey = stored.convert("L")  # whose profile is of three colours
    assert np.array_equal(
        np.asarray(open_image(encoded(grey, icc_profile=profile(space)))), np.asarray(grey.convert("RGB"))
    )


def test_heic_of_a_telephone_is_upright_and_in_srgb() -> None:
    heif = pytest.importorskip("pillow_heif")
    wanted = np.zeros((64, 96, 3), np.uint8)
    wanted[:32], wanted[:, 48:, 1] = (200, 40, 40), 150
    turned = Image.fromarray(np.rot90(wanted).copy())
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise
    file = io.BytesIO()
    heif.from_pillow(turned).save(file, quality=100, exif=exif.tobytes())
    opened = np.asarray(open_image(file.getvalue())).astype(int)
    assert opened.shape == wanted.shape and np.abs(opened - wanted).mean() < 4
    with pytest.raises(InputError, match=r"damaged|not a picture"):
        open_image(file.getvalue()[:200])


def test_heic_without_the_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    for brand in (b"heic", b"mif1"):
        with pytest.raises(
            InputError, match=r"it is HEIC; save it as JPEG or PNG, or install pillow-heif \(pip install"
        ):
            open_image(b"\0\0\0\x18ftyp" + brand + bytes(40))
    with pytest.raises(InputError, match="it may be a video or a damaged HEIC"):
        open_image(b"\0\0\0\x18ftypisom" + bytes(40))
