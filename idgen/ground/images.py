"""Whatever a person calls a picture, as one upright RGB `PIL.Image`; anything else is refused in one sentence."""

from __future__ import annotations

import importlib
import io
import math
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from idgen.ground.errors import InputError, how_to_install

ImageSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image | NDArray[Any]
)

MAX_SIDE = 20_000
MAX_PIXELS = 50 << 20  # "50 megapixels" with room for what phones sold as 50 MP really make: 8192 × 6144

_MAX_PROFILE = 4 << 20  # bytes; those of printers with many tables have 3 MB
_MAX_SCANS = 64  # of a JPEG; usual are 1 to 12, and each of 33 bytes can cost as much as decoding the whole picture

# Only formats that are nothing but pixels: Pillow also opens EPS, for which it starts another program.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM", "MPO")
SUFFIXES = {
    *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "mpo", "webp", "gif", "bmp", "tif", "tiff"),
    *("avif", "avifs", "heic", "heics", "heif", "heifs", "hif"),
    *("jp2", "j2k", "j2c", "jpc", "jpf", "jpx", "pbm", "pfm", "pgm", "pnm", "ppm"),
}
"""How the names of files of these formats end, in small letters: which files of a folder are pictures."""
UPLOADS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "HEIF", "MPO")
"""What strangers may send: without JPEG 2000, of which 1 kB can hold five seconds of work, and TIFF, which may hold
anything."""

_UPRIGHT = {  # what undoes each value of EXIF's Orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its name."""
    return path.suffix.lower().removeprefix(".") in SUFFIXES


def shrunk(picture: Image.Image) -> NDArray[np.uint8]:
    """(1024,) grey 32 × 32: what near-duplicates are compared by."""
    return np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BOX)).ravel()


def open_image(
    source: ImageSource, max_pixels: int = MAX_PIXELS, formats: Sequence[str] = FORMATS, name: str | None = None
) -> Image.Image:
    """Open a still picture as upright RGB.

    Turned as its EXIF orientation says; colours of another profile become sRGB's; transparency is laid on mid-grey;
    grey, palette, CMYK and 16-bit pictures become 8-bit RGB. The size is read from the header and refused before
    anything is decoded. No metadata is kept.

    Args:
        source: a path, a file's bytes, a binary file object, a `PIL.Image`, or an array (H, W), (H, W, 1), (H, W, 3) or
            (H, W, 4) of uint8, uint16, bool, or floats in [0, 1].
        max_pixels: most pixels, at most 50 megapixels (of 2²⁰).
        formats: of a file or bytes, names of Pillow's.
        name: what to call it in a message; by default what `describe` does.

    Raises:
        InputError: it is missing, a folder, empty, not a picture, damaged, animated, over 20,000 pixels a side or over
            `max_pixels`, or an array of another shape, type or range.
    """
    name, limit = name or describe(source), min(max_pixels, MAX_PIXELS)
    # Pillow warns of odd metadata, which is of no use to anybody here, and of sizes that are refused below anyway.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(source, np.ndarray):
            return _from_array(source, name, limit)
        if isinstance(source, Image.Image):
            return _to_rgb(source, name, limit)
        if isinstance(source, bytes | bytearray | memoryview):
            return _from_file(io.BytesIO(source), name, limit, formats)
        if isinstance(source, str | os.PathLike):
            with _opened(Path(source), name) as file:
                return _from_file(file, name, limit, formats)
        if hasattr(source, "read"):
            return _from_file(source, name, limit, formats)
    raise InputError(
        f"Expected a picture, got {type(source).__name__}: give a file, its bytes, a PIL image or an array."
    )


def several(images: Any) -> Any:
    """A tensor or a list of pictures as it is, and one picture as a list of it."""
    picture = isinstance(images, np.ndarray) and (images.ndim == 2 or (images.ndim == 3 and images.shape[2] in (3, 4)))
    one = isinstance(images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image)
    return [images] if one or picture or hasattr(images, "read") else images


def describe(source: object) -> str:
    """What to call a picture in a message: its file name where it has one, else "the picture"."""
    if not isinstance(source, str | os.PathLike):
        source = getattr(source, "filename", None) or getattr(source, "name", None)
    return (Path(source).name or str(source)) if isinstance(source, str | os.PathLike) and source else "the picture"


def _opened(path: Path, name: str) -> IO[bytes]:
    try:
        if path.is_file():  # nothing that one waits for, such as a pipe
            return path.open("rb")
        what = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else None
    except (OSError, ValueError) as error:  # no permission, a name that is too long or holds a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"Cannot open {name} ({reason}): give a picture file that can be read.") from error
    raise InputError(f"{path} {what}: give one picture file." if what else f"There is no file {path}: check the path.")


_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands of ISO/IEC 23008-12


def _knows_heic() -> bool:
    """Whether HEIC, what telephones take photographs in, can be read: Pillow leaves that to pillow-heif."""
    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    return "HEIF" in Image.OPEN


def _from_file(file: IO[bytes], name: str, limit: int, formats: Sequence[str]) -> Image.Image:
    Image.init()
    head, heic = b"", False
    try:
        if not file.seekable():
            file = io.BytesIO(file.read())
        file.seek(0)
        head = file.read(16)
        heic = head[4:8] == b"ftyp" and head[8:12] in _HEIC and "HEIF" not in Image.OPEN and not _knows_heic()
        image = Image.open(file, formats=[kind for kind in formats if kind in Image.OPEN])
    except Image.DecompressionBombError as error:
        raise InputError(f"{_start(name)} is too large: {_limit(limit)}.") from error
    except Exception as error:  # decoders raise anything at all on damaged bytes
        if not head:
            raise InputError(f"{_start(name)} is empty or cannot be read: give a picture file.") from error
        hint = (
            "it may be a video or a damaged HEIC; save it as JPEG or PNG"
            if head[4:8] == b"ftyp"
            else "give a JPEG, PNG or WebP file"
        )
        if heic:
            hint = f"it is HEIC; save it as JPEG or PNG, or install pillow-heif ({how_to_install('heif')})"
        raise InputError(f"{_start(name)} is not a picture that can be read: {hint}.") from error
    if image.format in ("JPEG", "MPO"):
        position = file.tell()
        file.seek(0)
        scans = file.read().count(b"\xff\xda")
        file.seek(position)
        if scans > _MAX_SCANS:
            raise InputError(f"{_start(name)} is a JPEG of {scans:,} scans: save it again as a plain JPEG.")
    return _to_rgb(image, name, limit)


def _limit(pixels: int) -> str:
    return f"make it at most {MAX_SIDE:,} pixels a side and {pixels >> 20} megapixels"


def _check_size(width: int, height: int, name: str, limit: int) -> None:
    if width < 1 or height < 1:
        raise InputError(f"{_start(name)} has no pixels ({width} × {height}): give a picture with something on it.")
    if max(width, height) > MAX_SIDE or width * height > limit:
        raise InputError(f"{_start(name)} is too large ({width:,} × {height:,} pixels): {_limit(limit)}.")


def _to_rgb(image: Image.Image, name: str, limit: int) -> Image.Image:
    _check_size(*image.size, name, limit)
    try:
        # A phone's MPO is one photo with its depth or gain map behind it. The frames are not counted: that can take
        # minutes (100,000 pages in a TIFF of 10 MB).
        if getattr(image, "is_animated", False) and image.format != "MPO":
            raise InputError(f"{_start(name)} has several frames: give one still picture.")
        image.load()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{_start(name)} is damaged or cut off: give the whole file.") from error
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # broken metadata is no reason to refuse good pixels
        orientation = None
    image = _in_srgb(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if values.dtype.kind in "iu" and values.min() >= 0 and values.max() < 1 << 16:
            values = values.astype(np.uint16)
        upright = _from_array(values, name, limit)
    elif image.has_transparency_data:
        grey = Image.new("RGBA", image.size, (128, 128, 128, 255))
        upright = Image.alpha_composite(grey, image.convert("RGBA")).convert("RGB")
    else:
        try:
            upright = image.convert("RGB")
        except ValueError as error:
            raise InputError(f"{_start(name)} has colours of kind {image.mode}: save it as RGB.") from error
    if orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[orientation])
    upright.info.clear()  # no place, camera or orientation travels on with the pixels
    return upright


def _in_srgb(image: Image.Image) -> Image.Image:
    """The same colours by sRGB's numbers, which all networks were trained on, if a profile says that they are by
    others. A profile that cannot be used is no reason to refuse good pixels."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not 128 < len(profile) <= _MAX_PROFILE:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space, named = source.profile.xcolor_space.strip(), source.profile.profile_description or ""
        if "srgb" in named.lower():
            return image
        if image.mode == "P" or (image.mode == "RGB" and image.has_transparency_data):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        colours, alpha = image, None
        if image.mode in ("RGBA", "LA"):
            colours, alpha = image.convert(image.mode[:-1]), image.getchannel("A")
        if colours.mode != {"GRAY": "L"}.get(space, space):
            return image
        out = ImageCms.profileToProfile(colours, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except Exception:  # lcms raises anything at all, where Pillow has it
        return image
    if out is not None and alpha is not None:
        out.putalpha(alpha)
    return image if out is None else out


def _from_array(array: NDArray[Any], name: str, limit: int) -> Image.Image:
    shape = array.shape
    if array.ndim == 3 and shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise InputError(f"Expected an array (height, width) or (height, width, 3 or 4), got shape {shape}.")
    _check_size(array.shape[1], array.shape[0], name, limit)
    if array.dtype == np.uint16:
        array = np.round(array / 257).astype(np.uint8)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (math.isfinite(low) and math.isfinite(high)) or low < 0 or high > 1:
            raise InputError(f"Expected floating-point pixels in [0, 1], got [{low:g}, {high:g}]: scale them first.")
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise InputError(f"Expected pixels of uint8, uint16, bool or float, got {array.dtype}: convert them first.")
    return _to_rgb(Image.fromarray(np.ascontiguousarray(array)), name, limit)


def _start(name: str) -> str:
    """A name at the start of a sentence; a file's stays as it is."""
    return "The picture" if name == "the picture" else name
