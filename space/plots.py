"""Scores as pictures: small SVGs, sharp at any size, coloured by the page's CSS so that light and dark both work.

Plain strings, no plotting library: nothing to import, no figure state shared between visitors, and every mark has a
tooltip that a mouse and a screen reader can read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from idgen.words import one_in

_WIDTH, _HEIGHT = 460, 400
_LEFT, _RIGHT, _TOP, _BASE = 14, 446, 62, 352  # the plotting area, in SVG units
_DOT = 6.5  # radius of one image's mark


def centres(counts: ArrayLike) -> np.ndarray:
    """Middles of equal bins on [-1, 1]: what the calibration's histograms are counted in. (B,) → (B,)"""
    edges = np.linspace(-1.0, 1.0, len(np.asarray(counts)) + 1)
    return (edges[:-1] + edges[1:]) / 2


def _density(counts: ArrayLike) -> np.ndarray:
    """Area 1, lightly smoothed (for the eye only: no figure is read off it)."""
    counts = np.asarray(counts, float)
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    smooth = np.convolve(counts, kernel, mode="same")
    return smooth / max(smooth.sum(), 1e-12)


def _range(genuine: ArrayLike, impostor: ArrayLike, scores: ArrayLike, threshold: float) -> tuple[float, float]:
    """The part of [-1, 1] worth showing: where the distributions and the scores are, to the next 0.2."""
    values = [threshold, *np.asarray(scores, float).tolist()]
    low, high = min(values), max(values)
    for counts in (genuine, impostor):
        counts = np.asarray(counts, float)
        if counts.sum():
            share = np.cumsum(counts) / counts.sum()
            low = min(low, float(centres(counts)[int(np.searchsorted(share, 0.001))]))
            high = max(high, float(centres(counts)[min(int(np.searchsorted(share, 0.999)), len(share) - 1)]))
    return max(-1.0, math.floor((low - 0.02) * 5) / 5), min(1.0, math.ceil((high + 0.02) * 5) / 5)


def score_histogram(
    pictures: Sequence[tuple[int, float]],
    genuine: ArrayLike,
    impostor: ArrayLike,
    threshold: float,
    fmr: float,
    what: str = "similarity to this person, by the judge (cosine)",
    these: str = "these pictures",
) -> str:
    """Each image a dot at its similarity, over the distributions of real pairs, with the threshold drawn.

    Args:
        pictures: number and cosine to the person asked for, by the judge, of each image that has one; at least one.
        genuine, impostor: (B,) counts in equal bins on [-1, 1], from the judge's calibration.
        threshold: the cosine at which a comparison matches; fmr: the false-match rate it stands for.
        what, these: what the axis and the dots are called.
    """
    scores = [score for _, score in pictures]
    low, high = _range(genuine, impostor, scores, threshold)

    def x(cosine: float) -> float:
        return _LEFT + (float(np.clip(cosine, low, high)) - low) / (high - low) * (_RIGHT - _LEFT)

    densities = {"impostor": _density(impostor), "genuine": _density(genuine)}
    peak = max(density.max() for density in densities.values()) or 1.0
    parts = []
    labels = {"impostor": "different people", "genuine": "same person"}
    for name, density in densities.items():
        middle = centres(density)
        keep = (middle >= low - 0.02) & (middle <= high + 0.02)
        across = [x(cosine) for cosine in middle[keep]]
        up = _BASE - density[keep] / peak * (_BASE - _TOP - 8)
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, up, strict=True))
        area = f"{across[0]:.1f},{_BASE} {line} {across[-1]:.1f},{_BASE}"
        parts.append(f'<polygon class="fill {name}" points="{area}"/><polyline class="line {name}" points="{line}"/>')
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_RIGHT}" y1="{_BASE}" y2="{_BASE}"/>')
    for tick in np.arange(round(low * 5), round(high * 5) + 1) / 5:
        parts.append(f'<text class="tick" x="{x(tick):.1f}" y="{_BASE + 16}" text-anchor="middle">{tick:.1f}</text>')
    parts.append(f'<text class="tick" x="{(_LEFT + _RIGHT) / 2}" y="{_BASE + 36}" text-anchor="middle">{what}</text>')

    at, words = x(threshold), f"threshold {threshold:.2f}: {one_in(fmr)} strangers pass"
    half = 3.45 * len(words)  # about half the text's width, to keep all of it on the plot
    parts.append(
        f'<line class="threshold" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 10}" y2="{_BASE}"/>'
        f'<text class="threshold-label" x="{np.clip(at, half + 4, _WIDTH - half - 4):.1f}" y="{_TOP - 17}" '
        f'text-anchor="middle">{words}</text>'
    )

    stacks: dict[int, int] = {}
    for number, score in pictures:
        column = round((x(score) - _LEFT) / (2 * _DOT + 1))
        row = stacks[column] = stacks.get(column, -1) + 1
        verdict = "pass" if score >= threshold else "fail"
        cx, cy = min(_LEFT + column * (2 * _DOT + 1), _RIGHT), _BASE - _DOT - 2 - row * (2 * _DOT + 1.5)
        parts.append(
            f'<circle class="dot {verdict}" cx="{cx:.1f}" cy="{cy:.1f}" r="{_DOT}">'
            f"<title>Picture {number}: {score:.2f}</title></circle>"
        )

    legend = [("impostor", labels["impostor"]), ("genuine", labels["genuine"])]
    cursor = _LEFT
    for name, text in legend:
        parts.append(
            f'<rect class="key {name}" x="{cursor}" y="6" width="11" height="11" rx="3"/>'
            f'<text class="tick" x="{cursor + 16}" y="15.5">{text}</text>'
        )
        cursor += 32 + int(6.7 * len(text))
    parts.append(
        f'<circle class="dot pass" cx="{cursor + 5}" cy="11.5" r="{_DOT}"/>'
        f'<text class="tick" x="{cursor + 15}" y="15.5">{these}</text>'
    )
    passed = sum(score >= threshold for score in scores)
    spoken = (
        f"Similarity of {len(scores)} pictures to the person: {passed} at or above the threshold {threshold:.2f}, "
        f"from {min(scores):.2f} to {max(scores):.2f}."
    )
    return _svg(_WIDTH, _HEIGHT, spoken, parts)


def similarity_matrix(matrix: ArrayLike, threshold: float | None = None, by: str = "judge") -> str:
    """Every picture against every other, (N, N) cosines: stronger is more alike, dotted is below the threshold."""
    matrix = np.asarray(matrix, float)
    count = len(matrix)
    if matrix.shape != (count, count) or not count:
        raise ValueError(f"A similarity matrix is square, got shape {matrix.shape}.")
    label, size = 26, _WIDTH - 30
    cell = min((size - label) / count, 60)
    off = matrix[~np.eye(count, dtype=bool)]
    off = off[np.isfinite(off)]
    low = min(0.0, float(off.min())) if off.size else 0.0
    font = min(13.0, cell * 0.34)
    start = label + (_WIDTH - label - cell * count) / 2 - 8
    parts = []
    for row in range(count):
        middle = label + (row + 0.5) * cell + 4
        parts.append(f'<text class="tick" x="{start - 8:.1f}" y="{middle:.1f}" text-anchor="end">{row + 1}</text>')
        across = start + (row + 0.5) * cell
        parts.append(f'<text class="tick" x="{across:.1f}" y="{label - 8}" text-anchor="middle">{row + 1}</text>')
        for column in range(count):
            value = matrix[row, column]
            if math.isnan(value):  # no face was found in one of them
                continue
            strength = float(np.clip((value - low) / (1 - low), 0, 1)) ** 1.5
            kind = "same" if row == column else "weak" if threshold is not None and value < threshold else "strong"
            left, top = start + column * cell, label + row * cell
            tip = f"Picture {row + 1} against {column + 1}: {value:.2f}"
            parts.append(
                f'<g class="cell {kind}" data-row="{row + 1}" data-column="{column + 1}" data-value="{value:.2f}">'
                f'<title>{tip}</title><rect x="{left + 1:.1f}" y="{top + 1:.1f}" '
                f'width="{cell - 2:.1f}" height="{cell - 2:.1f}" rx="{min(5, cell / 6):.1f}" '
                f'style="fill-opacity:{0.06 + 0.94 * strength:.3f}"/>'
            )
            if font >= 9.5 and row != column:
                tone = "on-strong" if strength > 0.82 else "on-middle" if strength > 0.55 else "on-pale"
                parts.append(
                    f'<text class="value {tone}" x="{left + cell / 2:.1f}" y="{top + cell / 2 + font * 0.36:.1f}" '
                    f'style="font-size:{font:.1f}px" text-anchor="middle">{value:.2f}</text>'
                )
            parts.append("</g>")
    spoken = f"Similarity of {count} pictures to each other by the {by}"
    spoken += f", from {off.min():.2f} to {off.max():.2f}." if off.size else "."
    return _svg(_WIDTH, label + cell * count + 6, spoken, parts)


def crossing(first: Sequence[float], second: Sequence[float], threshold: float | None) -> str:
    """Two lines over a strip of pictures: what each is to the first person and to the second."""
    width, height, left, right, top, base = 900, 250, 64, 836, 30, 214
    values = [*first, *second, *([] if threshold is None else [threshold])]
    low, high = min(0.0, math.floor(min(values) * 5) / 5), max(0.6, math.ceil(max(values) * 5) / 5)

    def x(number: int) -> float:
        return width * (number + 0.5) / len(first)  # under the middle of its picture

    def y(cosine: float) -> float:
        return base - (cosine - low) / (high - low) * (base - top)

    parts = []
    for tick in np.arange(round(low * 5), round(high * 5) + 1) / 5:
        parts.append(f'<line class="grid" x1="{left - 28}" x2="{right + 28}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 36}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.1f}</text>')
    if threshold is not None:
        at = y(threshold)
        parts.append(
            f'<line class="threshold" x1="{left - 28}" x2="{right + 28}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="threshold-label" x="{width / 2}" y="{at - 6:.1f}" text-anchor="middle">'
            f"threshold {threshold:.2f}</text>"
        )
    for name, letter, line in (("a", "A", first), ("b", "B", second)):
        points = " ".join(f"{x(number):.1f},{y(value):.1f}" for number, value in enumerate(line))
        parts.append(f'<polyline class="line {name}" points="{points}"/>')
        for number, value in enumerate(line):
            parts.append(
                f'<circle class="dot {name}" cx="{x(number):.1f}" cy="{y(value):.1f}" r="{_DOT}">'
                f"<title>Picture {number + 1}: {value:.2f} to {letter}</title></circle>"
            )
    for cursor, name, text in ((left, "a", "similarity to A"), (left + 130, "b", "similarity to B")):
        parts.append(f'<circle class="dot {name}" cx="{cursor}" cy="11.5" r="{_DOT}"/>')
        parts.append(f'<text class="tick" x="{cursor + 11}" y="15.5">{text}</text>')
    spoken = (
        f"On the way from A to B, similarity to A goes from {first[0]:.2f} to {first[-1]:.2f}, "
        f"similarity to B from {second[0]:.2f} to {second[-1]:.2f}."
    )
    return _svg(width, height, spoken, parts)


def trade_off(curves: Sequence[tuple[str, Sequence[tuple[str, float, float]]]], threshold: float | None) -> str:
    """Similarity to the person against how different the pictures are, a line a setting.

    Args:
        curves: (name, [(name of the point, diversity, similarity), …]) with the newest curve last and its newest point
            last; it is drawn strongest.
        threshold: the similarity that counts as the same person.
    """
    width, height, left, right, top, base = 500, 400, 40, 480, 34, 348
    points = [point for _, curve in curves for point in curve]
    across = max(0.6, math.ceil((max((x for _, x, _ in points), default=0.0) + 0.06) * 5) / 5)
    ups = [y for _, _, y in points] + ([] if threshold is None else [threshold])
    low, high = min(0.0, math.floor(min(ups, default=0.0) * 5) / 5), max(1.0, max(ups, default=1.0))

    def place(diversity: float, similarity: float) -> tuple[float, float]:
        return (
            left + min(max(diversity, 0.0), across) / across * (right - left),
            base - (similarity - low) / (high - low) * (base - top),
        )

    parts = []
    for tick in np.arange(0, round(across * 5) + 1) / 5:
        x, _ = place(tick, low)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{base + 17}" text-anchor="middle">{tick:.1f}</text>')
    for tick in np.arange(round(low * 5), round(high * 5) + 1) / 5:
        _, y = place(0, tick)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 9}" y="{y + 4:.1f}" text-anchor="end">{tick:.1f}</text>')
    parts.append(
        f'<text class="tick" x="{(left + right) / 2}" y="{base + 38}" text-anchor="middle">'
        "how different the pictures are (1 − mean similarity of two) →</text>"
        f'<text class="tick" x="{left - 32}" y="{top - 16}">↑ similarity to this person</text>'
    )
    if threshold is not None:
        _, y = place(0, threshold)
        parts.append(
            f'<line class="threshold" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="threshold-label" x="{right - 6}" y="{y + 15:.1f}" text-anchor="end">'
            f"below {threshold:.2f}: no longer the same person</text>"
        )
    for number, (name, curve) in enumerate(curves):
        newest = number == len(curves) - 1
        kind = "newest" if newest else "older"
        in_order = sorted(curve, key=lambda point: point[0])
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(d, s) for _, d, s in in_order))
        parts.append(f'<polyline class="line {kind}" points="{line}"/>')
        labelled: list[tuple[float, float]] = []
        for at, (label, diversity, similarity) in enumerate(curve):
            x, y = place(diversity, similarity)
            last = newest and at == len(curve) - 1
            verdict = "" if threshold is None else "pass" if similarity >= threshold else "fail"
            parts.append(
                f'<circle class="dot {kind} {verdict} {"last" if last else ""}" cx="{x:.1f}" cy="{y:.1f}" '
                f'r="{_DOT + 2 if last else _DOT}"><title>{escape(name)}, variation {escape(label)}: similarity '
                f"{similarity:.2f}, difference {diversity:.2f}</title></circle>"
            )
            if newest and not any(abs(x - a) < 30 and abs(y - b) < 13 for a, b in labelled):
                labelled.append((x, y))
                parts.append(f'<text class="value-label" x="{x + 11:.1f}" y="{y - 8:.1f}">{escape(label)}</text>')
        if not newest and curve:
            x, y = place(*in_order[-1][1:])
            parts.append(f'<text class="tick" x="{x + 10:.1f}" y="{y + 4:.1f}">{escape(name)}</text>')
    spoken = "Similarity to the person against difference between the pictures. " + "; ".join(
        f"{name}, variation {label}: similarity {s:.2f}, difference {d:.2f}"
        for name, curve in curves
        for label, d, s in curve
    )
    return _svg(width, height, spoken, parts)


def _svg(width: float, height: float, spoken: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(spoken)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
