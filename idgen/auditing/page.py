"""An audit as files to read: a page, a table of all figures, and both for programs."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterable, Sequence
from html import escape

from idgen.auditing.section import Figure, Section
from idgen.evaluation.page import heads, page, section, table, words
from idgen.ground.version import __version__

COLUMNS = ("section", "figure", "by", "group", "value", "low", "high", "count")


def write_page(name: str, about: str, sections: Sequence[Section]) -> str:
    """The page: what was found in all sections, then each of them."""
    header = (
        f'<header><p class="over">Audit of a face set</p><h1>{escape(name)}</h1>'
        f"<p>{escape(about)} · {datetime.date.today()} · idgen {__version__}</p></header>"
    )
    bad = [(level, text) for one in sections for level, text in one.findings if level == "bad"]
    first = words(bad or [("good", "Nothing was found that has to be looked at: read what each section can see.")])
    parts = [header, f"<section><h2>What to look at</h2>{first}</section>"]
    for one in sections:
        figures = _figures(one.figures)
        parts.append(section(escape(one.title), escape(one.lead), words(one.findings), *one.html, figures))
    return page(f"{name}: audit", parts)


def _figures(figures: Iterable[Figure]) -> str:
    rows = [
        [escape(one.name), escape(one.group), escape(one.by), _shown(one.value), _ends(one), _shown(one.count)]
        for one in figures
    ]
    head = heads(["figure", "of", "by", "value", "95 %", "among"])
    return f"<details><summary>All figures</summary>{table(head, rows)}</details>" if rows else ""


def _ends(one: Figure) -> str:
    return "" if one.low is None or one.high is None else f"{one.low:.4g} … {one.high:.4g}"


def _shown(value: float | int | str | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else escape(value)


def write_csv(sections: Sequence[Section]) -> str:
    """All figures, a line each."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    for one in sections:
        for f in one.figures:
            cells = (one.key, f.name, f.by, f.group, f.value, f.low, f.high, f.count)
            rows.writerow(["" if cell is None else cell for cell in cells])
    return out.getvalue()
