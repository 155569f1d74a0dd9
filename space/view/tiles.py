"""Pictures inside the page, each with its verdict. None of them is a file on the server."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from PIL import Image

from idgen import provenance
from idgen.identity import Identity

from ..actions import Line, Recipe, png

if TYPE_CHECKING:
    from idgen.pipelines import GeneratedImage

LARGE = 256  # side in pixels up to which a picture is sent as it is while others are still on their way


def uri(content: bytes, kind: str) -> str:
    """A file inside the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def jpeg(image: Image.Image) -> str:
    """A visitor's picture, shown back."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return uri(buffer.getvalue(), "image/jpeg")


def source(image: GeneratedImage, model: str, who: Identity, recipe: Recipe, side: int | None = LARGE) -> str:
    """A generated picture, at most `side` pixels wide, that says so in its file."""
    return uri(png(image, model, who, recipe, side), "image/png")


def chip(match: bool | None, similarity: float | None, words: bool = False) -> str:
    """A verdict in a sign, a colour and maybe words, with its number."""
    if match is None and similarity is None:
        return '<span class="chip none">not scored</span>'
    kind, sign, text = {
        True: ("pass", "✓ ", "same "),
        False: ("fail", "✗ ", "no match "),
        None: ("none", "", ""),
    }[match]
    number = "no face" if similarity is None else f"{similarity:.2f}"
    return f'<span class="chip {kind}">{sign}{text if words else ""}{number}</span>'


def tile(number: int, source: str, line: Line, name: str) -> str:
    """A finished picture with its verdict; a click enlarges it."""
    said = {True: "the same person", False: "not the same person", None: "not judged"}[line["match"]]
    judged = line["judge_similarity"]
    score = line["similarity"] if judged is None and line["match"] is None else judged
    alt = escape(f"Picture {number} of {name}, AI-generated: {said}" + ("" if score is None else f", {score:.2f}"))
    return (
        f'<li class="tile"><button type="button" class="open" aria-label="{alt}. Enlarge">'
        f'<img alt="{alt}" src="{source}"></button>{chip(line["match"], score)}</li>'
    )


def grid(tiles: Sequence[str], wanted: int, previews: Sequence[Image.Image] = (), kind: str = "") -> str:
    """All pictures in their places: finished, on their way, and not begun, so that nothing jumps when one comes."""
    cells = list(tiles)
    for preview in previews:  # which says in its file, too, what it will be
        content = provenance.encode(preview, {}, "JPEG", quality=88)
        cells.append(
            f'<li class="tile coming"><img alt="A picture on its way" src="{uri(content, "image/jpeg")}"></li>'
        )
    cells += ['<li class="tile waiting" aria-hidden="true"></li>'] * (wanted - len(cells))
    return f'<ul class="grid {kind}" style="--count:{wanted}" aria-label="Pictures">{"".join(cells[:wanted])}</ul>'


class Gallery:
    """One person's pictures as tiles; each is encoded once, however often the page is told."""

    def __init__(self, model: str, who: Identity, recipe: Recipe, side: int | None = LARGE):
        self.tiles: list[str] = []
        self._model, self._who, self._recipe, self._side = model, who, recipe, side

    def add(self, images: Sequence[GeneratedImage], scores: Sequence[Line]) -> list[str]:
        """All of them so far."""
        for number in range(len(self.tiles), len(images)):
            shown = source(images[number], self._model, self._who, self._recipe, self._side)
            self.tiles.append(tile(number + 1, shown, scores[number], self._who.name))
        return self.tiles
