"""One picture of many: a person a row, each image framed by the judge's verdict."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as images
from PIL import ImageDraw, ImageFont, ImageOps
from PIL.Image import Image

MATCH, NO_MATCH, UNSCORED = (34, 139, 87), (200, 62, 52), (150, 150, 150)
_BACKGROUND, _INK, _SOFT = (255, 255, 255), (32, 33, 36), (110, 114, 120)
_GAP, _EDGE, _LINE, _MARGIN = 6, 3, 16, 12


@dataclass(frozen=True)
class Cell:
    """A picture or its file, the judge's cosine to the wanted identity, and its verdict (None: not scored)."""

    image: Image | Path
    score: float | None = None
    match: bool | None = None


def contact_sheet(
    rows: Sequence[tuple[str, Sequence[Cell]]],
    title: str = "",
    size: int = 128,
    max_rows: int = 40,
    max_columns: int = 16,
) -> Image:
    """Draw the sheet. A match is said by a green frame and the word, not by colour alone.

    Args:
        rows: (name of the person, their pictures) in the order to show; at least one.
        title: a line above.
        size: side of a picture in pixels.
        max_rows: how many people are shown at most; the sheet says how many it leaves out.
        max_columns: how many pictures of each.
    """
    shown = [(name, cells[:max_columns]) for name, cells in rows[:max_rows]]
    columns = max(1, *(len(cells) for _, cells in shown))
    left_out = len(rows) - len(shown)
    notes = [f"and {left_out:,} more people"] if left_out else []
    if (most := max(len(cells) for _, cells in rows)) > max_columns:
        notes.append(f"the first {max_columns} of up to {most:,} pictures each")
    header = " · ".join(text for text in (title, *notes) if text)

    font, small = ImageFont.load_default(13), ImageFont.load_default(11)
    cell, top = size + 2 * _EDGE, _LINE + 8 if header else 0
    row_height = _LINE + cell + _LINE + _GAP
    width = 2 * _MARGIN + columns * cell + (columns - 1) * _GAP
    sheet = images.new("RGB", (width, 2 * _MARGIN + top + len(shown) * row_height - _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), _fit(header, small, width - 2 * _MARGIN), _SOFT, small)
    for r, (name, cells) in enumerate(shown):
        y = _MARGIN + top + r * row_height
        draw.text((_MARGIN, y), _fit(name, font, width - 2 * _MARGIN), _INK, font)
        for c, item in enumerate(cells):
            x, under = _MARGIN + c * (cell + _GAP), y + _LINE + cell
            colour = UNSCORED if item.match is None else MATCH if item.match else NO_MATCH
            draw.rectangle((x, y + _LINE, x + cell - 1, under - 1), colour)
            with images.open(item.image) if isinstance(item.image, Path) else nullcontext(item.image) as image:
                sheet.paste(ImageOps.fit(image.convert("RGB"), (size, size)), (x + _EDGE, y + _LINE + _EDGE))
            verdict = "" if item.match is None else "same " if item.match else "not the same "
            score = "" if item.score is None else f"{item.score:.2f}"
            draw.text((x, under + 1), _fit(verdict + score, small, cell), colour, small)
    return sheet


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, cut to `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
