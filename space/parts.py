"""What the page is made of, as files: HTML and code in `templates/`, scripts in `js/`.

In HTML everything is escaped that is not markup of ours.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from PIL import Image

from idgen.ground import provenance
from idgen.ground.identity import Identity, folder_names

_HERE = Path(__file__).parent


def part(name: str, /, **values: Any) -> Markup:
    """A part of the page."""
    return Markup(_TEMPLATES.get_template(f"{name}.html").render(values))


def code(name: str, /, **values: Any) -> str:
    """Code for a visitor, see `again`."""
    return _TEMPLATES.get_template(f"{name}.txt").render(values)


def script(name: str, **values: Any) -> str:
    """A script for the browser, its words in capitals replaced by values."""
    text = (_HERE / "js" / f"{name}.js").read_text(encoding="utf-8")
    for word, value in values.items():
        text = text.replace(word, json.dumps(value))
    return text


def uri(content: bytes, kind: str) -> str:
    """A file inside the page: it is never one on the server."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _jpeg(image: Image.Image) -> str:
    """A visitor's picture, shown back."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return uri(buffer.getvalue(), "image/jpeg")


def _preview(image: Image.Image) -> str:
    """A picture that is not finished, and says in its file what it will be."""
    return uri(provenance.encode(image, {}, "JPEG", quality=88), "image/jpeg")


def file_name(identity: Identity) -> str:
    """What the download of a person is called, also in code that a visitor copies into a shell."""
    return f"{folder_names([identity.name])[0]}.safetensors"


_REAL = "A real person may be behind the face vector."


def _called(identity: Identity) -> str:
    if identity.from_photo:
        return "A face vector from outside" if "vector from outside" in identity.source else "From a photo"
    parts = identity.name.split("-")
    return f"Person {parts[1]}" if len(parts) == 3 and parts[0] == "person" else identity.name


_TEMPLATES = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals["dict"] = dict
_TEMPLATES.filters |= {"called": _called, "jpeg": _jpeg, "preview": _preview, "pixels": "{:.1f}".format}
_TEMPLATES.filters["data"] = lambda content: uri(content, "image/jpeg")
_TEMPLATES.filters["exists"] = lambda who: _REAL if who.from_photo else "Sampled: does not exist."
_TEMPLATES.filters["two"] = lambda cosine: "–" if cosine is None else f"{cosine:.2f}"  # – where none was measured
_MACROS: Any = _TEMPLATES.get_template("macros.html").module
tile, grid = _MACROS.tile, _MACROS.grid
svg: Any = _TEMPLATES.get_template("svg.html").module
