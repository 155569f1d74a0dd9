"""A study as a page: the table, and the gap to the reference drawn."""

from __future__ import annotations

from html import escape
from pathlib import Path

from idgen.evaluation.page import heads, page, section, table
from idgen.ground import files
from idgen.study.table import FIGURES, Table, apart

PAGE = "study.html"
_WIDTH, _RIGHT, _LINE = 860, 90, 26
_LETTER, _MOST = 7.2, 420  # about how wide a letter of a row's name is; where longer names are squeezed


def write_page(found: Table, out: Path) -> None:
    """Write study.html into a folder."""
    title = f"Study: {out.resolve().name}"
    head = (
        f"<header><p class='over'>idgen study</p><h1>{escape(out.resolve().name)}</h1><p>{found.done} of {found.cells} "
        "cells: recognisers of one recipe and equally many steps, that differ in what they learned from.</p></header>"
    )
    tests = list(dict.fromkeys(test for row in found.rows.values() for test in row))
    parts = [head]
    for test in tests:
        figures = [name for name in FIGURES if any(name in row.get(test, {}) for row in found.rows.values())]
        charts = [f"<h3>{FIGURES[name]}</h3>{gaps(found, test, name)}" for name in figures]
        rows = [[escape(row), *(_cell(found, row, test, name) for name in figures)] for row in found.rows]
        lead = (
            f"Every dot is a seed. The line is the mean of <b>{escape(found.reference)}</b>; the number is the gap to "
            "it in points, in colour where no seed of one lies among those of the other."
        )
        parts.append(
            section(
                escape(test), lead, table(heads(["learned from", *(FIGURES[name] for name in figures)]), rows), *charts
            )
        )
    if found.notes:
        notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
        parts.append(section("To know", "", f'<ul class="notes">{notes}</ul>'))
    files.write(out / PAGE, page(title, parts))


def _cell(found: Table, row: str, test: str, figure: str) -> str:
    spread = found.rows[row].get(test, {}).get(figure)
    return "—" if spread is None else spread.text()


def gaps(found: Table, test: str, figure: str) -> str:
    """The rows of one figure, a line each, as SVG that follows the page's colours."""
    shown = {row: tests[test][figure] for row, tests in found.rows.items() if figure in tests.get(test, {})}
    values = [value for spread in shown.values() for value in spread.values]
    low, high = min(values), max(values)
    margin = 0.05 * (high - low) or 0.01
    low, high = low - margin, high + margin
    left = 20 + min(_MOST, _LETTER * max(map(len, shown)))

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (_WIDTH - left - _RIGHT)

    height = _LINE * (len(shown) + 1)
    parts = []
    reference = shown.get(found.reference)
    for place, (row, spread) in enumerate(shown.items()):
        y = _LINE * (place + 0.7)
        narrow = f' textLength="{_MOST}" lengthAdjust="spacingAndGlyphs"' if _LETTER * len(row) > _MOST else ""
        at = f'x="{left - 10:.1f}" y="{y + 4:.1f}" text-anchor="end"'
        parts.append(f'<text class="marked" {at}{narrow}>{escape(row)}</text>')
        ends = f'x1="{x(min(spread.values)):.1f}" x2="{x(max(spread.values)):.1f}"'
        parts.append(f'<line class="base" {ends} y1="{y:.1f}" y2="{y:.1f}"/>')
        for value in spread.values:
            title = f"<title>{100 * value:.2f}</title>"
            parts.append(f'<circle class="area genuine" cx="{x(value):.1f}" cy="{y:.1f}" r="4.5">{title}</circle>')
        gap = found.gap(row, test, figure)
        if gap is not None and reference is not None and row != found.reference:
            text = f"{100 * gap:+.2f}"
            kind = "soft" if not apart(spread, reference) else "good" if gap > 0 else "bad"
            inside = f'<tspan style="fill:var(--{kind})">{text}</tspan>'
            parts.append(f'<text x="{_WIDTH - _RIGHT + 12}" y="{y + 4:.1f}">{inside}</text>')
    if reference is not None:
        middle = x(reference.mean)
        ends = f'x1="{middle:.1f}" x2="{middle:.1f}"'
        parts.insert(0, f'<line class="mark" {ends} y1="4" y2="{height - _LINE * 0.7:.1f}"/>')
    for value in (low + margin, high - margin):
        parts.append(
            f'<text class="tick" x="{x(value):.1f}" y="{height - 4}" text-anchor="middle">{100 * value:.1f}</text>'
        )
    label = f"{test}: {FIGURES[figure]} by what was learned from"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
