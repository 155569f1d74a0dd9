"""Charts as SVG text that follow the page's colours, light or dark: no library, no script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

WIDTH, HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 40, 40
_BASE = HEIGHT - _BOTTOM
_DET_LEFT, _DET_TOP = _LEFT + 8, _TOP - 26
_RATES = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


def histogram(
    series: Sequence[tuple[str, str, ArrayLike]], marks: Sequence[tuple[float, str]] = (), label: str = ""
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
    x, y = _scale(low, high, _LEFT, WIDTH - _RIGHT), _scale(0, top, _BASE, _TOP)
    parts = [_line("base", _LEFT, _BASE, WIDTH - _RIGHT, _BASE)]
    for tick in _ticks(low, high):
        parts.append(_line("grid", x(tick), _TOP - 8, x(tick), _BASE))
        parts.append(_text("tick", x(tick), _BASE + 15, f"{tick:.{1 if high - low > 0.5 else 2}f}"))
    parts.append(_text("axis", (_LEFT + WIDTH) / 2, HEIGHT - 6, label))
    for (name, kind, _), density in zip(series, densities, strict=True):
        steps = zip(edges[[0, *np.repeat(np.arange(1, bins), 2), bins]], np.repeat(density, 2), strict=True)
        outline = [(edges[0], 0), *steps, (edges[-1], 0)]
        parts.append(_shape("polygon", f"area {kind}", ((x(at), y(value)) for at, value in outline), name))
    last = -1e9
    for number, (at, text) in enumerate(sorted(marks)):
        # Marks that stand close write at different heights, so that no text covers another.
        place, lower = x(at), 13 * (number % 2) if x(at) - last < 64 else 0
        last = place
        anchor, shift = ("end", -4) if place > WIDTH - 90 else ("start", 4)
        parts.append(_line("mark", place, _TOP - 26 + lower, place, _BASE))
        parts.append(_text("marked", place + shift, _TOP - 18 + lower, text, anchor))
    return _svg(parts, f"Histogram: {', '.join(name for name, _, _ in series)}")


def det(curves: Sequence[tuple[str, str, NDArray[np.floating], NDArray[np.floating]]], floor: float) -> str:
    """Detection error trade-off: FNMR against FMR on normal-deviate axes (Martin et al. 1997).

    Args:
        curves: (name, CSS class, FMR (K,), FNMR (K,)).
        floor: the lowest rate shown.
    """
    deviate = NormalDist().inv_cdf
    floor = float(np.clip(floor, 1e-6, 1e-2))
    low, high = deviate(floor), deviate(_RATES[-1])
    x, y = _scale(low, high, _DET_LEFT, WIDTH - _RIGHT), _scale(low, high, _BASE, _DET_TOP)
    parts = []
    for rate in (rate for rate in _RATES if rate >= floor):
        at, text = deviate(rate), f"{100 * rate:g}%"
        parts.append(_line("grid", x(at), _DET_TOP, x(at), _BASE))
        parts.append(_line("grid", _DET_LEFT, y(at), WIDTH - _RIGHT, y(at)))
        parts.append(_text("tick", x(at), _BASE + 15, text))
        parts.append(_text("tick", _LEFT + 2, y(at) + 4, text, "end"))
    parts.append(_line("chance", x(low), y(low), x(high), y(high)))
    for name, kind, false_match, false_non_match in curves:
        # A rate of 0 has no place on this axis: the curve ends where its counts end.
        inside = (false_match >= floor) & (false_non_match > 0) & (false_match < 0.8) & (false_non_match < 0.8)
        rates = zip(false_match[inside].tolist(), np.maximum(false_non_match[inside], floor).tolist(), strict=True)
        points = ((x(deviate(across)), y(deviate(up))) for across, up in rates)
        parts.append(_shape("polyline", f"curve {kind}", points, name))
    parts.append(_text("axis", WIDTH / 2, HEIGHT - 6, "false-match rate"))
    middle = (_BASE + _DET_TOP) / 2
    parts.append(_text("axis", 10, middle, "false-non-match rate", turn=f' transform="rotate(-90 10 {middle:g})"'))
    return _svg(parts, "DET curve: false-non-match rate against false-match rate")


def curves(
    lines: Sequence[tuple[str, str, ArrayLike, ArrayLike]],
    across: str,
    up: str,
    bands: Sequence[tuple[str, ArrayLike, ArrayLike, ArrayLike]] = (),
    log: bool = False,
) -> str:
    """Lines over one axis, with bands of what is plausible.

    Args:
        lines: (name, CSS class, x (K,), y (K,)).
        across, up: what is under and beside the axes.
        bands: (CSS class, x, low, high).
        log: x is a logarithm's.
    """
    scaled = (lambda values: np.log10(np.asarray(values, float))) if log else (lambda values: np.asarray(values, float))
    drawn = [(name, kind, scaled(x), np.asarray(y, float)) for name, kind, x, y in lines]
    ends = [np.asarray(y, float) for _, _, *pair in bands for y in pair[1:]]
    all_x = np.concatenate([x for _, _, x, _ in drawn])
    all_y = np.concatenate([*(y for *_, y in drawn), *ends])
    all_y = all_y[np.isfinite(all_y)] if np.isfinite(all_y).any() else np.zeros(1)
    (left, right), (low, high) = _around(all_x), _around(all_y)
    x, y = _scale(left, right, _LEFT, WIDTH - _RIGHT), _scale(low, high, _BASE, _TOP - 26)
    parts = [_line("base", _LEFT, _BASE, WIDTH - _RIGHT, _BASE)]
    for tick in _steps(left, right):
        parts.append(_line("grid", x(tick), _TOP - 26, x(tick), _BASE))
        parts.append(_text("tick", x(tick), _BASE + 15, f"{10**tick:.3g}" if log else f"{tick:g}"))
    for tick in _steps(low, high):
        parts.append(_line("grid", _LEFT, y(tick), WIDTH - _RIGHT, y(tick)))
        parts.append(_text("tick", _LEFT - 4, y(tick) + 4, f"{tick:g}", "end"))
    for kind, at, below, above in bands:
        edge = [*zip(scaled(at), np.asarray(below), strict=True)], [*zip(scaled(at), np.asarray(above), strict=True)]
        outline = [(x(a), y(b)) for a, b in (*edge[0], *reversed(edge[1])) if np.isfinite(b)]
        parts.append(_shape("polygon", f"area {kind}", outline, "95 %"))
    for name, kind, at, value in drawn:
        points = [(x(a), y(b)) for a, b in zip(at, value, strict=True) if np.isfinite(b)]
        parts.append(_shape("polyline", f"curve {kind}", points, name))
    parts.append(_text("axis", (_LEFT + WIDTH) / 2, HEIGHT - 6, across))
    middle = (_BASE + _TOP - 26) / 2
    parts.append(_text("axis", 10, middle, up, turn=f' transform="rotate(-90 10 {middle:g})"'))
    return _svg(parts, f"{up} over {across}")


def dots(groups: Sequence[tuple[str, str, ArrayLike]], title: str) -> str:
    """A map: groups of points in the plane, (name, CSS class, (N, 2)), without units."""
    placed = [np.asarray(points, float) for _, _, points in groups]
    (left, right), (low, high) = (_around(axis) for axis in np.concatenate(placed).T)
    x, y = _scale(left, right, _LEFT, WIDTH - _RIGHT), _scale(low, high, _BASE, _TOP - 26)
    parts = [
        f'<circle class="dot {kind}" cx="{x(a):.1f}" cy="{y(b):.1f}" r="3"><title>{escape(name)}</title></circle>'
        for (name, kind, _), points in zip(groups, placed, strict=True)
        for a, b in points
    ]
    return _svg(parts, title)


def _around(values: NDArray[np.floating]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def _steps(low: float, high: float) -> list[float]:
    size = 10 ** np.floor(np.log10(high - low))
    step = next(part * size for part in (0.1, 0.2, 0.5, 1, 2) if (high - low) / (part * size) <= 8)
    return [float(f"{k * step:.10g}") for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (float(value) - low) / (high - low) * (end - start)


def _ticks(low: float, high: float) -> list[float]:
    step = next(size for size in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if (high - low) / size <= 10 or size == 1.0)
    return [round(k * step, 6) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(kind: str, x: float, y: float, text: str, anchor: str = "middle", turn: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>{escape(text)}</text>'


def _shape(tag: str, kind: str, points: Iterable[tuple[float, float]], name: str) -> str:
    at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<{tag} class="{kind}" points="{at}"><title>{escape(name)}</title></{tag}>'


def _svg(parts: list[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
