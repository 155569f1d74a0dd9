"""Charts as SVG text that follow the page's colours, light or dark: no library, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

WIDTH, HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 40, 40


def histogram(
    series: Sequence[tuple[str, str, ArrayLike]],
    marks: Sequence[tuple[float, str]] = (),
    label: str = "",
) -> str:
    """Densities of several sets of scores on one axis, with vertical marks.

    Args:
        series: (name, CSS class that colours it, scores).
        marks: (score, what to write at it).
        label: under the axis.
    """
    arrays = [np.asarray(scores, np.float64).ravel() for _, _, scores in series]
    low = min([float(np.quantile(array, 0.0005)) for array in arrays] + [at for at, _ in marks])
    high = max([float(np.quantile(array, 0.9995)) for array in arrays] + [at for at, _ in marks])
    margin = 0.04 * max(high - low, 1e-3)
    low, high = low - margin, high + margin
    bins = int(np.clip(2 * min(array.size for array in arrays) ** 0.5, 24, 90))  # few scores in many bins look torn
    edges = np.linspace(low, high, bins + 1)
    densities = [np.histogram(array, edges)[0] / array.size / (edges[1] - edges[0]) for array in arrays]
    top = max(float(density.max()) for density in densities) * 1.06 or 1.0
    x, y = _scale(low, high, _LEFT, WIDTH - _RIGHT), _scale(0, top, HEIGHT - _BOTTOM, _TOP)
    parts = _x_axis(_ticks(low, high), x, label, "{:.1f}" if high - low > 0.5 else "{:.2f}")
    for (name, kind, _), density in zip(series, densities, strict=True):
        points = [f"{x(edges[0]):.1f},{y(0):.1f}"]
        for left, right, value in zip(edges[:-1], edges[1:], density, strict=True):
            points += [f"{x(left):.1f},{y(value):.1f}", f"{x(right):.1f},{y(value):.1f}"]
        points.append(f"{x(edges[-1]):.1f},{y(0):.1f}")
        parts.append(
            f'<polygon class="area {kind}" points="{" ".join(points)}"><title>{escape(name)}</title></polygon>'
        )
    last = -1e9
    for number, (at, text) in enumerate(sorted(marks)):
        place = x(at)
        # Marks that stand close write at different heights, so that no text covers another.
        row = number % 2 if place - last < 64 else 0
        last = place
        anchor, shift = ("end", -4) if place > WIDTH - 90 else ("start", 4)
        parts.append(
            f'<line class="mark" x1="{place:.1f}" x2="{place:.1f}" y1="{_TOP - 26 + 13 * row}" '
            f'y2="{HEIGHT - _BOTTOM}"/>'
        )
        parts.append(
            f'<text class="marked" x="{place + shift:.1f}" y="{_TOP - 18 + 13 * row}" '
            f'text-anchor="{anchor}">{escape(text)}</text>'
        )
    return _svg(parts, f"Histogram: {', '.join(name for name, _, _ in series)}")


def det(curves: Sequence[tuple[str, str, NDArray[np.floating], NDArray[np.floating]]], floor: float) -> str:
    """Detection error trade-off: FNMR against FMR on normal-deviate axes (Martin et al. 1997).

    Args:
        curves: (name, CSS class, FMR (K,), FNMR (K,)).
        floor: the lowest rate shown.
    """
    normal = NormalDist()
    floor = float(np.clip(floor, 1e-6, 1e-2))
    ends = normal.inv_cdf(floor), normal.inv_cdf(0.8)
    x, y = _scale(*ends, _LEFT + 8, WIDTH - _RIGHT), _scale(*ends, HEIGHT - _BOTTOM, _TOP - 26)
    rates = [rate for rate in (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8) if rate >= floor]
    parts = []
    for rate in rates:
        at, text = normal.inv_cdf(rate), f"{100 * rate:g}%"
        parts.append(f'<line class="grid" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{_TOP - 26}" y2="{HEIGHT - _BOTTOM}"/>')
        parts.append(f'<line class="grid" x1="{_LEFT + 8}" x2="{WIDTH - _RIGHT}" y1="{y(at):.1f}" y2="{y(at):.1f}"/>')
        parts.append(
            f'<text class="tick" x="{x(at):.1f}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="middle">{text}</text>'
        )
        parts.append(f'<text class="tick" x="{_LEFT + 2}" y="{y(at) + 4:.1f}" text-anchor="end">{text}</text>')
    parts.append(
        f'<line class="chance" x1="{x(ends[0]):.1f}" y1="{y(ends[0]):.1f}" x2="{x(ends[1]):.1f}" '
        f'y2="{y(ends[1]):.1f}"/>'
    )
    for name, kind, false_match, false_non_match in curves:
        # A rate of 0 has no place on this axis: the curve ends where its counts end.
        inside = (false_match >= floor) & (false_non_match > 0) & (false_match < 0.8) & (false_non_match < 0.8)
        points = [
            f"{x(normal.inv_cdf(float(a))):.1f},{y(normal.inv_cdf(max(float(b), floor))):.1f}"
            for a, b in zip(false_match[inside], false_non_match[inside], strict=True)
        ]
        parts.append(
            f'<polyline class="curve {kind}" points="{" ".join(points)}"><title>{escape(name)}</title></polyline>'
        )
    parts.append(f'<text class="axis" x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">false-match rate</text>')
    middle = (HEIGHT - _BOTTOM + _TOP - 26) / 2
    parts.append(
        f'<text class="axis" transform="rotate(-90 10 {middle})" x="10" y="{middle}" text-anchor="middle">'
        "false-non-match rate</text>"
    )
    return _svg(parts, "DET curve: false-non-match rate against false-match rate")


def _scale(low: float, high: float, start: float, end: float):  # type: ignore[no-untyped-def]
    return lambda value: start + (float(value) - low) / (high - low) * (end - start)


def _ticks(low: float, high: float) -> list[float]:
    step = next(size for size in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if (high - low) / size <= 10 or size == 1.0)
    return [round(k * step, 6) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def _x_axis(ticks: list[float], x, label: str, form: str) -> list[str]:  # type: ignore[no-untyped-def]
    base = HEIGHT - _BOTTOM
    parts = [f'<line class="base" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{base}" y2="{base}"/>']
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{_TOP - 8}" y2="{base}"/>')
        text = form.format(tick + 0.0)
        parts.append(f'<text class="tick" x="{x(tick):.1f}" y="{base + 15}" text-anchor="middle">{text}</text>')
    parts.append(
        f'<text class="axis" x="{(_LEFT + WIDTH) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(label)}</text>'
    )
    return parts


def _svg(parts: list[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
