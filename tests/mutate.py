"""Things that nobody sends by mistake: damaged and disguised files, and values of every wrong kind. Seeded."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from tiny import encoded


def damage(chance: random.Random, data: bytes) -> bytes:
    """A file that somebody has been at."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(len(out) + 1)
        length = min(chance.choice((1, 4, 64, 1000)), len(out) - at)
        if chance.random() < 0.25:
            for _ in range(chance.choice((1, 3, 20, 200)) if out else 0):
                out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
            continue
        number = chance.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x01"))
        junk, again = chance.randbytes(chance.choice((1, 4, 64))), out[at : at + length] * chance.choice((1, 50))
        less = (len(out), b""), (at + length, b"")
        more = (at, junk), (at, again), (at + 4, number), (at + length, bytes(length))  # a number says how much follows
        end, new = chance.choice((*less, *more))
        out[at:end] = new
    return bytes(out)


def other_files(chance: random.Random) -> bytes:
    """A file of another kind, whatever its name says."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../x.png", bytes(1 << 20))
    page = b"<!DOCTYPE html><html><script>alert(document.cookie)</script></html>"
    drawing = (
        b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:1/x"/><text>&a;</text></svg>'
    )
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    junk = chance.randbytes(chance.choice((1, 16, 100, 5000)))
    cut_off = [magic + junk for magic in (b"\x7fELF", b"\0\0\0\x18ftypheic", b"%PDF-1.7\n", script, b"")]
    disguised = b"GIF89a" + page, b"\x89PNG\r\n\x1a\n" + page, b"\xff\xd8\xff\xe0" + packed.getvalue()
    whole = b"", packed.getvalue(), page, drawing, gzip.compress(bytes(1000))
    return chance.choice((*whole, *disguised, *cut_off))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def giant(chance: random.Random) -> bytes:
    """A small file that says it is a huge picture, or becomes something huge when it is unpacked."""
    wide, high = (chance.choice((0, 1, 7_000, 20_001, 65_535, 2**31 - 1, 2**32 - 1)) for _ in range(2))
    short_wide, short_high = wide & 0xFFFF, high & 0xFFFF
    bomb = zlib.compress(bytes(3 << 20))
    kind = chance.choice((8, 16)), chance.choice((0, 2, 6)), 0, 0, 0
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", wide, high, *kind))
    small = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    grows = [small + _chunk(kind, b"a\0\0" + bomb) for kind in (b"zTXt", b"iCCP")]
    first = chance.choice((header, *grows, small + _chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))))
    png = b"\x89PNG\r\n\x1a\n" + first + _chunk(b"IDAT", bomb) + _chunk(b"IEND", b"")
    screen, frame = struct.pack("<2H3x", short_wide, short_high), struct.pack("<4x2Hx", short_wide, short_wide)
    gif = b"GIF89a" + screen + b"\x2c" + frame + b"\x02\x02\x44\x01\0;"
    sides = (wide >> 1, high >> 1, 1, 24)
    bmp = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, *sides, 0, 0, 0, 0, 0, 0)
    jpeg = struct.pack(">IHBHHB", 0xFFD8FFC0, 17, 8, short_high, short_wide, 3) + b"\1\x22\0\2\x11\1\3\x11\1"
    webp = b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<II", 10, 2) + b"\xff" * 6
    return chance.choice((png, png, png, png, gif, bmp, jpeg, webp))


def pictures(face: Image.Image) -> list[bytes]:
    """The picture in every format and mode that people have."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "somebody at home"
    deep = Image.fromarray(np.asarray(face.convert("L")).astype(np.uint16) * 257)
    moving = {"save_all": True, "append_images": [face.rotate(90), face.rotate(180)]}
    return [
        *(encoded(face, kind, exif=exif) for kind in ("PNG", "JPEG", "WEBP", "AVIF", "TIFF")),
        *(encoded(face, kind) for kind in ("GIF", "BMP")),
        *(encoded(face, kind, **moving) for kind in ("GIF", "WEBP", "PNG")),
        *(encoded(other) for other in (deep, *map(face.convert, ("L", "RGBA", "P")))),
        encoded(face, "JPEG", progressive=True),
        encoded(face.convert("CMYK"), "JPEG"),
    ]


def picture(chance: random.Random, files: list[bytes]) -> bytes:
    """A mutated upload of a photo."""
    file = chance.choice(files)
    kinds = partial(damage, data=file), other_files, giant, lambda _: file
    return chance.choices(kinds, (65, 15, 15, 5))[0](chance)


class _Pickled:
    """Leaves a trace if it is ever unpickled."""

    def __reduce__(self) -> tuple:
        return (open, ("unpickled-by-the-app", "w"))


def vectors(space: str, dim: int) -> list[bytes]:
    """Files of face vectors: ours, bare, of objects, and what is wrong with the numbers in them."""
    unit = np.eye(2, dim, dtype=np.float32)
    said = {"format": "idgen.identities", "version": "1", "space": space, "names": '["a", "b"]'}
    said["sources"] = json.dumps(["sampled, seed 1, number 0"] * 2)

    def ours(values: Any, **changed: str) -> bytes:
        return save({"vectors": torch.as_tensor(values)}, {**said, **changed})

    def bare(values: Any) -> bytes:
        file = io.BytesIO()
        np.save(file, values, allow_pickle=True)
        return file.getvalue()

    shape = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
    numbers = [unit, unit.astype(np.float64), np.full(dim, np.inf), np.zeros(dim), unit.astype(np.complex64)]
    return [
        *map(ours, (unit, unit * np.nan, unit * 1e30, unit[:, :3].copy())),
        ours(unit, names=json.dumps(["../../x", "con\0"])),
        ours(unit, sources="[" * 50_000),
        ours(unit, names="{}"),
        ours(unit, version="9"),
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 8) + b'{"a":[]}',
        *map(bare, (*numbers, np.array([_Pickled()], dtype=object), np.zeros((1, dim), [("a", "<f4")]))),
        b"\x93NUMPY\x01\0v\0" + shape.ljust(117) + b"\n",
    ]


def vector_file(chance: random.Random, files: list[bytes]) -> bytes:
    """A mutated upload of a vector."""
    file = chance.choice(files)
    return chance.choices((partial(damage, data=file), lambda _: file, other_files), (6, 3, 1))[0](chance)


_NUMBERS = (0, -1, 1, 1.5, -0.0, 17, 10_000, 2**31, 2**53, 2**63, -(2**64), 10**400, 1e308, 5e-324)
_NONE = (None, True, False, float("nan"), float("inf"), -float("inf"))
_TEXTS = ("", "7", "seven", "nan", "\0\x1b[31m", "\ud800", "<script>alert(1)</script>")
_PLACES = ("/etc/passwd", "../../etc/passwd", "file:///etc/passwd", "https://example.com/x.png", "http://127.0.0.1:9/x")


def value(chance: random.Random) -> Any:
    """What may stand in JSON where something else belongs."""
    deep: Any = 1
    for _ in range(chance.choice((2, 40, 200))):
        deep = [deep] if chance.random() < 0.5 else {"a": deep}
    file = {"path": chance.choice((*_PLACES, None, 7, "", "\0", [], {})), "meta": {"_type": "gradio.FileData"}}
    files = file, {**file, "url": "http://127.0.0.1:9/x"}, {**file, "is_stream": True}
    lists = [], [7], [[7]], [None] * 1000, deep
    long = "x" * chance.choice((100, 100_000))
    return chance.choice(
        (*_NUMBERS, *_NONE, *_TEXTS, *_PLACES, *lists, *files, *files, long, {}, {"__type__": "update", "value": 3})
    )


def arguments(chance: random.Random, valid: list[Any]) -> Any:
    """The arguments of a call with something wrong: mostly one of them, sometimes their number or all of them."""
    wrong = list(valid)
    for _ in range(chance.choice((1, 1, 2, 3))):
        if wrong:
            wrong[chance.randrange(len(wrong))] = value(chance)
    few = valid[: chance.randrange(len(valid) + 1)]
    many = valid + [value(chance) for _ in range(chance.choice((1, 5)))]
    nonsense = [value(chance) for _ in valid]
    return chance.choices((wrong, few, many, nonsense, value(chance)), (70, 10, 10, 5, 5))[0]
