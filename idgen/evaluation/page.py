"""The pieces of a report's page: one file of HTML that needs nothing else, no script, no font, no request."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from PIL import ImageOps

from idgen.ground import provenance
from idgen.sets import Source

_SIDE = 104  # of a picture, in pixels
_SIGNS = {"good": ("✓", "good"), "note": ("•", "to know"), "bad": ("!", "look here")}
_MADE = ("model", "seed", "k")  # what our manifests say of every picture


def page(title: str, parts: Iterable[str]) -> str:
    """The whole page, light and dark; parts that are empty are left out."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>\n{style}</style></head>\n<body><main>\n"
        + "\n".join(filter(None, parts))
        + "\n</main></body></html>\n"
    )


def section(title: str, lead: str, *content: str) -> str:
    """A part of the page with its heading; `lead` is HTML that says what it shows."""
    return f"<section><h2>{title}</h2><p>{lead}</p>{''.join(content)}</section>"


def words(findings: Iterable[tuple[str, str]]) -> str:
    """Findings in plain words, each good, a note, or bad."""
    lines = ""
    for level, text in findings:
        sign, title = _SIGNS[level]
        lines += f'<li class="{level}"><span title="{title}">{sign}</span>{escape(text)}</li>'
    return f'<ul class="words">{lines}</ul>'


def two(*content: str, kind: str = "two") -> str:
    """Columns side by side; `kind` is their CSS class."""
    return f'<div class="{kind}">{"".join(content)}</div>'


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """A table of HTML cells under the rows of `head`."""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def heads(names: Iterable[str], span: int = 1) -> str:
    """A row of a table's head, of HTML cells; `span` columns each but the first."""
    first, *others = names
    wide = "" if span == 1 else f' colspan="{span}" class="group"'
    return f"<tr><th>{first}</th>" + "".join(f"<th{wide}>{name}</th>" for name in others) + "</tr>"


def legend(items: Iterable[tuple[str, str]]) -> str:
    """What the colours of a chart mean: (CSS class, text)."""
    spans = "".join(f'<span><i class="{kind}"></i>{escape(text)}</span>' for kind, text in items)
    return f'<figcaption class="legend">{spans}</figcaption>'


def yes_no(good: bool, text: str) -> str:
    """A word in the colour of good or bad news."""
    return f'<span class="{"yes" if good else "no"}">{text}</span>'


def pair(pictures: str, caption: str) -> str:
    """Two pictures and what is under them."""
    return f'<figure class="pair">{pictures}<figcaption>{caption}</figcaption></figure>'


def picture(source: Source, row: int) -> str:
    """A small copy of a picture; marked as generated where its source says that a model made it."""
    assert source.open is not None
    image, made = ImageOps.fit(source.open(row).convert("RGB"), (_SIDE, _SIDE)), _made(source, row)
    if made is None:
        file = io.BytesIO()
        image.save(file, "WEBP", quality=82)
        content = file.getvalue()
    else:
        content = provenance.encode(image, made, "WEBP", quality=82)
    address = f"data:image/webp;base64,{base64.b64encode(content).decode()}"
    title = escape(str(source.names[row]))
    return f'<img src="{address}" width="{_SIDE}" height="{_SIDE}" alt="{title}" title="{title}">'


def _made(source: Source, row: int) -> dict[str, Any] | None:
    """How a picture was made, if its source says that a model did, as our datasets and manifests do; else None."""
    said = {name: source.columns[name][row].item() for name in _MADE if name in source.columns}
    kind = source.columns.get("digital_source_type")
    generated = len(said) == len(_MADE) if kind is None else kind[row] == provenance.SOURCE_TYPE
    return said if generated else None
