"""Every generated picture says so: IPTC's digital source type in an XMP packet, the settings that made it, and, where
the operator has a certificate, a C2PA signature (`idgen.ground.signing`).

`trainedAlgorithmicMedia` is IPTC's term for media made by a trained model (https://cv.iptc.org/newscodes/digitalsourcetype/).
The mark is metadata: it survives copying, not re-encoding. Only a signature says in addition who marked the picture.
"""

from __future__ import annotations

import io
import json
import re
import warnings
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from PIL import Image as images
from PIL.Image import Image
from PIL.PngImagePlugin import PngInfo

from idgen.ground import files
from idgen.ground.domain import PHOTOGRAPHS, RENDERED, generated_by
from idgen.ground.errors import InputError, how_to_install
from idgen.ground.hub import builtin_models
from idgen.ground.identity import Identity
from idgen.ground.signing import MIME, SOURCE_TYPE, Credentials, sign, signature
from idgen.ground.version import __version__

_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_IPTC, _OURS = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "urn:x-idgen:made"
_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="{_IPTC}"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:idgen="{_OURS}">
   <Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>
   <xmp:CreatorTool>%(tool)s</xmp:CreatorTool>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">%(description)s</rdf:li></rdf:Alt></dc:description>
   <idgen:info>%(info)s</idgen:info>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST_XMP = 1 << 20  # bytes; what is longer was not meant to be read


def made_by(model: str, identity: Identity, seed: int, k: int | None = None) -> dict[str, Any]:
    """What the file of a picture, or of a sheet of them, says of how it was made: the `info` of the functions here.

    The seed is the run's: a picture's own follows from the vector, and would tell two faces apart. The identity's name
    is in it only for people who do not exist: another one may be of a photo's file, or the person's own.
    """
    named = {} if identity.from_photo else {"identity": identity.name}
    return {"model": model, **named, "seed": seed, **({} if k is None else {"k": k})}


def encode(image: Image, info: Mapping[str, Any], kind: str = "PNG", **options: Any) -> bytes:
    """A generated picture as a PNG, JPEG or WEBP file with its mark; `options` are Pillow's, such as `quality`.

    Nothing of the image's own metadata is kept, so nothing of a photo can slip through. Equal arguments give equal
    bytes. `info` are JSON values that say how it was made, see `made_by`.
    """
    info = {"generator": f"idgen {__version__}", **info}
    text = {
        "tool": info["generator"],
        "description": "AI-generated: " + ", ".join(f"{name} {value}" for name, value in info.items()),
        "info": json.dumps(info),
    }
    xmp = _XMP % {name: escape(_NOT_XML.sub("?", value)) for name, value in text.items()}
    if kind == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
        options.setdefault("compress_type", zlib.Z_RLE)  # pictures no larger, in a quarter of the time
    else:
        options["xmp"] = xmp.encode()
    bare = images.frombytes(image.mode, image.size, image.tobytes())
    file = io.BytesIO()
    bare.save(file, kind, **options)
    return file.getvalue()


def marked(image: Image, info: Mapping[str, Any], kind: str = "PNG", **options: Any) -> bytes:
    """`encode`, and signed where the operator has a certificate: what leaves. A signature differs every time.
    InputError if it cannot be signed."""
    data, credentials = encode(image, info, kind, **options), Credentials.from_env()
    return data if credentials is None else sign(data, credentials, kind)


def save_image(image: Image, path: str | Path, info: Mapping[str, Any]) -> Path:
    """Write what `marked` gives, complete or not at all; the path's ending says what kind of file: .png, .jpg or .webp.
    InputError if the file cannot be written there, or its ending is another, or it cannot be signed."""
    kind = _SUFFIXES.get(Path(path).suffix.lower())
    if kind is None:
        raise InputError(f"{path} does not say what kind of file it is: let it end in {', '.join(_SUFFIXES)}.")
    return files.write(path, marked(image, info, kind))


def read(path: str | Path) -> dict[str, Any]:
    """What a picture says about how it was made: `digital_source_type` and the `info` of `encode`; {} if nothing.

    Anybody can write such a thing into a file, or take it out: only a signature proves something (`signature`).
    InputError if the file is no readable PNG, JPEG or WebP."""
    return _said(_read(path)[1])


def _read(path: str | Path | bytes) -> tuple[bytes, bytes]:
    """A picture's file, or its bytes, and its XMP packet (b"" if it has none)."""
    try:
        if not isinstance(path, bytes) and not Path(path).is_file():  # a pipe would be waited for
            raise FileNotFoundError(path)
        data = path if isinstance(path, bytes) else Path(path).read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with images.open(io.BytesIO(data), formats=list(MIME)) as image:
                image.load()  # a PNG's packet may lie behind its pixels
                return data, bytes(image.info.get("xmp", b""))
    except Exception as error:  # decoders raise anything at all on damaged bytes
        named = "The picture" if isinstance(path, bytes) else path
        raise InputError(f"{named} is not a readable image: give a PNG, JPEG or WebP file.") from error


def _said(xmp: bytes) -> dict[str, Any]:
    """The parts of an XMP packet that speak of how a picture was made."""
    try:
        text = xmp.decode("utf-8").strip("\x00")
        if len(text) > _LONGEST_XMP or "<!DOCTYPE" in text:  # entities could grow when they are read
            return {}
        root = ElementTree.fromstring(text)
    except (ValueError, ElementTree.ParseError):
        return {}
    source_type = _property(root, f"{{{_IPTC}}}DigitalSourceType")
    try:
        info = json.loads(_property(root, f"{{{_OURS}}}info") or "{}")
    except (ValueError, RecursionError):
        info = {}
    said = info if isinstance(info, dict) else {}
    said.pop("digital_source_type", None)  # only IPTC's own property says that
    return {"digital_source_type": source_type, **said} if source_type else said


def _property(root: ElementTree.Element, name: str) -> str:
    """A simple property of an XMP packet, which may be an element or an attribute (ISO 16684-1, 7.4 and 7.9.2.2)."""
    for element in root.iter():
        if element.tag == name and element.text:
            return element.text.strip()
        if name in element.attrib:
            return element.attrib[name].strip()
    return ""


def mark_of(source: Any) -> dict[str, Any] | None:
    """What a generated picture, a file or its bytes, says of how it was made: the `info` of `encode`. None for one
    without a mark, and for pixels alone."""
    data = b""
    if isinstance(source, str | Path):
        with suppress(OSError):  # who opens the picture says what is wrong with it
            data = Path(source).read_bytes() if Path(source).is_file() else b""
    elif isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    if b"trainedAlgorithmicMedia" not in data:
        return None
    with suppress(InputError):
        said = _said(_read(data)[1])
        if str(said.pop("digital_source_type", "")).lower().endswith("trainedalgorithmicmedia"):
            return {"generator": "another program", **said}
    return None


def domain_of(source: Any) -> str:
    """What kind of picture this is (`idgen.ground.domain`): by the mark in its file or bytes; without one, and of
    pixels alone, a photograph. Pictures of a built-in model are rendered, as what it learned from."""
    said = mark_of(source)
    if said is None:
        return PHOTOGRAPHS
    name = str(said.get("model") or "another program")
    return RENDERED if name in builtin_models() else generated_by(name)


def report(path: str | Path, anchors: str | None = None) -> dict[str, Any]:
    """All that a picture says: `file`, `ai_generated`, what `read` returns, and its `signature`."""
    data, xmp = _read(path)
    said = _said(xmp)
    generated = str(said.get("digital_source_type", "")).lower().endswith("trainedalgorithmicmedia")
    return {"file": str(path), "ai_generated": generated, **said, "signature": signature(data, anchors)}


def sentence(report: Mapping[str, Any]) -> str:
    """`report` for people."""
    ours = {name: value for name, value in report.items() if name not in ("file", "ai_generated", "signature")}
    source_type, tool = str(ours.pop("digital_source_type", "")), ours.pop("generator", None)
    what = "AI-generated" if report["ai_generated"] else "its source type" if source_type else ""
    made = [f"{what} ({source_type.rsplit('/', 1)[-1]})"] if what else []
    made += [f"by {tool}"] if tool else []
    parts = [" ".join(made)] if made else []
    parts += [f"{name} {value}" for name, value in ours.items()]
    text = ", ".join(parts) or "says nothing about how it was made, which does not mean that it is a photo"
    signed = report["signature"]
    if signed is not None:
        who = " of ".join(str(name) for name in (signed["signer"], signed["issuer"]) if name) or "somebody"
        text += {
            "trusted": f"; signed by {who}, whom you trust, and unchanged since",
            "valid": f"; signed by {who}, whom nothing here vouches for, and unchanged since",
            "unchecked": f"; signed, which is not checked: to have it checked, {how_to_install('c2pa')}",
        }.get(signed["state"], f"; its signature is broken ({', '.join(signed['problems']) or signed['state']})")
    # A file may hold anything, also what a terminal would obey.
    return "".join(letter if letter.isprintable() else "?" for letter in f"{report['file']}: {text}.")
