"""Every generated picture says so: IPTC's digital source type in an XMP packet, and the settings that made it.

`trainedAlgorithmicMedia` is IPTC's term for media made by a trained model (https://cv.iptc.org/newscodes/digitalsourcetype/).
The mark is metadata: it survives copying, not re-encoding.
"""

from __future__ import annotations

import io
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from idgen.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

_XMP_KEY, _INFO_KEY = "XML:com.adobe.xmp", "idgen"
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/">
   <Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>
   <xmp:CreatorTool>{tool}</xmp:CreatorTool>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{description}</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def png_bytes(image: Image, info: Mapping[str, Any]) -> bytes:
    """The picture as PNG with its mark.

    Nothing of the image's own metadata is kept, so nothing of a photo can slip through. Equal arguments give equal
    bytes.

    Args:
        image: the generated picture.
        info: JSON values that say how it was made: model, identity (its name), seed, k.
    """
    from PIL import Image as images
    from PIL.PngImagePlugin import PngInfo

    from idgen import __version__

    info = {"generator": f"idgen {__version__}", **info}
    made_by = ", ".join(f"{name} {value}" for name, value in info.items())
    chunks = PngInfo()
    chunks.add_itxt(
        _XMP_KEY,
        _XMP.format(
            source_type=SOURCE_TYPE, tool=escape(info["generator"]), description=escape(f"AI-generated: {made_by}")
        ),
    )
    chunks.add_itxt(_INFO_KEY, json.dumps(info, ensure_ascii=False))
    bare = images.frombytes(image.mode, image.size, image.tobytes())
    file = io.BytesIO()
    bare.save(file, "PNG", pnginfo=chunks)
    return file.getvalue()


def save_image(image: Image, path: str | Path, info: Mapping[str, Any]) -> Path:
    """Write `png_bytes` to a file, complete or not at all.

    Raises:
        InputError: the file cannot be written there.
    """
    return write(path, png_bytes(image, info))


def read(path: str | Path) -> dict[str, Any]:
    """What a picture says about how it was made: `digital_source_type` and the `info` of `png_bytes`; {} if nothing.

    Raises:
        InputError: the file is no readable image.
    """
    from PIL import Image as images

    try:
        with images.open(path) as image:
            image.load()
            xmp, info = image.info.get(_XMP_KEY, ""), image.info.get(_INFO_KEY)
    except (OSError, SyntaxError, ValueError, images.DecompressionBombError) as error:
        raise InputError(f"{path} is not a readable image: give a PNG that idgen wrote.") from error
    xmp = xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp)
    said = {"digital_source_type": SOURCE_TYPE} if SOURCE_TYPE in xmp else {}
    try:
        values = json.loads(info) if info else {}
    except ValueError:
        values = {}
    return {**said, **values} if isinstance(values, dict) else said


def write(path: str | Path, data: bytes) -> Path:
    """Write a file aside and rename it, so that nobody ever sees half of it; missing parent folders are made.

    Raises:
        InputError: the file cannot be written there.
    """
    path = Path(path)
    aside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.write_bytes(data)
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror or error}; choose another place.") from error
    return path
