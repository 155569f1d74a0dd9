"""Scores as pictures: small SVGs, sharp at any size, coloured by the page's CSS so that light and dark both work.

No plotting library: nothing to import, no figure state shared between visitors, and every mark has a tooltip that a
mouse and a screen reader can read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from idgen.ground.words import one_in
from idgen.scoring import ErrorRates
from idgen.scoring.calibration import EDGES

from .parts import svg

_WIDTH = 460
_DOT = 6.5  # radius of one image's mark
_MIDDLES = (EDGES[:-1] + EDGES[1:]) / 2  # of the bins in which a calibration counts


def score_histogram(
    pictures: Sequence[tuple[int, float]],
    rates: ErrorRates,
    threshold: float,
    fmr: float,
    what: str = "similarity to this person, by the judge (cosine)",
    these: str = "these pictures",
) -> Markup:
    """Each image a dot at its similarity, over the distributions of real pairs, with the threshold drawn.

    Args:
        pictures: number and cosine to the person asked for, by the judge, of each image that has one; at least one.
        rates: from the judge's calibration.
        threshold: the cosine at which a comparison matches; fmr: the false-match rate it stands for.
        what, these: what the axis and the dots are called.
    """
    left, right, top, base = 14, 446, 62, 352
    scores = [score for _, score in pictures]
    low, high = _range(rates, [*scores, threshold])
    x = _scale(low, high, left, right)
    densities = {"impostor": _density(rates.impostor), "genuine": _density(rates.genuine)}
    y = _scale(0, max(density.max() for density in densities.values()) or 1.0, base, top + 8)
    shown = np.abs(_MIDDLES - (low + high) / 2) <= (high - low) / 2 + 0.02
    parts = []
    for name, density in densities.items():
        places = [(x(cosine), y(share)) for cosine, share in zip(_MIDDLES[shown], density[shown], strict=True)]
        area = _points([(places[0][0], base), *places, (places[-1][0], base)])
        parts += [Markup(f'<polygon class="fill {name}" points="{area}"/>'), svg.polyline(name, _points(places))]
    parts.append(svg.line("axis", left, right, base, base))
    parts += [svg.text(x(tick), base + 16, f"{tick:.1f}") for tick in _ticks(low, high)]
    parts.append(svg.text((left + right) / 2, base + 36, what))

    at, words = x(threshold), f"threshold {threshold:.2f}: {one_in(fmr)} strangers pass"
    half = 3.45 * len(words)  # about half the text's width, to keep all of it on the plot
    parts.append(svg.line("threshold", at, at, top - 10, base))
    parts.append(svg.text(float(np.clip(at, half + 4, _WIDTH - half - 4)), top - 17, words, "threshold-label"))

    stacks: Counter[int] = Counter()  # dots in each column
    for number, score in pictures:
        column = round((x(score) - left) / (2 * _DOT + 1))
        place = min(left + column * (2 * _DOT + 1), right), base - _DOT - 2 - stacks[column] * (2 * _DOT + 1.5)
        stacks[column] += 1
        parts.append(svg.dot(*place, "pass" if score >= threshold else "fail", f"Picture {number}: {score:.2f}"))

    cursor = left
    for name, text in (("impostor", "different people"), ("genuine", "same person")):
        parts.append(Markup(f'<rect class="key {name}" x="{cursor}" y="6" width="11" height="11" rx="3"/>'))
        parts.append(svg.text(cursor + 16, 15.5, text, anchor="start"))
        cursor += 32 + int(6.7 * len(text))
    parts += [svg.dot(cursor + 5, 11.5, "pass"), svg.text(cursor + 15, 15.5, these, anchor="start")]
    passed = sum(score >= threshold for score in scores)
    spoken = f"Similarity of {len(scores)} pictures to the person: {passed} at or above the threshold {threshold:.2f}, "
    return svg.plot(_WIDTH, 400, f"{spoken}from {min(scores):.2f} to {max(scores):.2f}.", parts)


def _range(rates: ErrorRates, cosines: Sequence[float]) -> tuple[float, float]:
    """The part of [-1, 1] worth showing: where the distributions and the cosines are, to the next 0.2."""
    ends = list(cosines)
    for counts in (rates.genuine, rates.impostor):
        share = np.cumsum(counts) / max(sum(counts), 1)
        if share[-1]:
            ends += _MIDDLES[np.searchsorted(share, (0.001, 0.999))].tolist()
    return max(-1.0, math.floor((min(ends) - 0.02) * 5) / 5), min(1.0, math.ceil((max(ends) + 0.02) * 5) / 5)


def _density(counts: ArrayLike) -> np.ndarray:
    """Area 1, lightly smoothed (for the eye only: no figure is read off it)."""
    smooth = np.convolve(np.asarray(counts, float), np.array([1, 4, 6, 4, 1]) / 16, mode="same")
    return smooth / max(smooth.sum(), 1e-12)


def similarity_matrix(matrix: np.ndarray, threshold: float | None = None, by: str = "judge") -> Markup:
    """Every picture against every other, (N, N) cosines: stronger is more alike, dotted is below the threshold."""
    count, label = len(matrix), 26
    size = min((_WIDTH - 30 - label) / count, 60)
    start = label + (_WIDTH - label - size * count) / 2 - 8
    off = matrix[~np.eye(count, dtype=bool) & np.isfinite(matrix)]
    strength = _scale(off.min(initial=0.0), 1, 0, 1)
    parts = []
    for row in range(count):
        parts.append(svg.text(start - 8, label + (row + 0.5) * size + 4, str(row + 1), anchor="end"))
        parts.append(svg.text(start + (row + 0.5) * size, label - 8, str(row + 1)))
    for row, column in np.argwhere(np.isfinite(matrix)):  # else no face was found in one of them
        value, left, top = matrix[row, column], start + column * size, label + row * size
        kind = "same" if row == column else "weak" if threshold is not None and value < threshold else "strong"
        parts.append(svg.cell(kind, row + 1, column + 1, value, strength(value) ** 1.5, left, top, size))
    spoken = f"Similarity of {count} pictures to each other by the {by}"
    spoken += f", from {off.min():.2f} to {off.max():.2f}." if off.size else "."
    return svg.plot(_WIDTH, label + size * count + 6, spoken, parts)


def crossing(first: Sequence[float], second: Sequence[float], threshold: float | None) -> Markup:
    """Two lines over a strip of pictures: what each is to the first person and to the second."""
    width, left, right = 900, 64, 836
    values = [*first, *second, *([] if threshold is None else [threshold])]
    low, high = min(0.0, math.floor(min(values) * 5) / 5), max(0.6, math.ceil(max(values) * 5) / 5)
    y, parts = _upwards(low, high, 30, 214, left - 28, right + 28)
    if threshold is not None:
        at = y(threshold)
        parts.append(svg.line("threshold", left - 28, right + 28, at, at))
        parts.append(svg.text(width / 2, at - 6, f"threshold {threshold:.2f}", "threshold-label"))
    for letter, cursor, line in (("A", left, first), ("B", left + 130, second)):
        name = letter.lower()  # each value stands under the middle of its picture
        places = [(width * (number + 0.5) / len(line), y(value)) for number, value in enumerate(line)]
        parts.append(svg.polyline(name, _points(places)))
        for number, (place, value) in enumerate(zip(places, line, strict=True), start=1):
            parts.append(svg.dot(*place, name, f"Picture {number}: {value:.2f} to {letter}"))
        parts += [svg.dot(cursor, 11.5, name), svg.text(cursor + 11, 15.5, f"similarity to {letter}", anchor="start")]
    ends = f"A goes from {first[0]:.2f} to {first[-1]:.2f}, similarity to B from {second[0]:.2f} to {second[-1]:.2f}"
    return svg.plot(width, 250, f"On the way from A to B, similarity to {ends}.", parts)


def trade_off(curves: Sequence[tuple[str, Sequence[tuple[str, float, float]]]], threshold: float | None) -> Markup:
    """Similarity to the person against how different the pictures are, a line a setting.

    Args:
        curves: (name, [(name of the point, diversity, similarity), …]) with the newest curve last and its newest point
            last; it is drawn strongest.
        threshold: the similarity that counts as the same person.
    """
    left, right, top, base = 40, 480, 34, 348
    points = [(name, *point) for name, curve in curves for point in curve]
    across = max(0.6, math.ceil((max((x for *_, x, _ in points), default=0.0) + 0.06) * 5) / 5)
    ups = [0.0, *(y for *_, y in points), *([] if threshold is None else [threshold])]
    y, parts = _upwards(math.floor(min(ups) * 5) / 5, max(1.0, *ups), top, base, left, right)
    x = _scale(0, across, left, right)
    parts += [svg.text(x(tick), base + 17, f"{tick:.1f}") for tick in _ticks(0, across)]
    parts.append(
        svg.text((left + right) / 2, base + 38, "how different the pictures are (1 − mean similarity of two) →")
    )
    parts.append(svg.text(left - 32, top - 16, "↑ similarity to this person", anchor="start"))
    if threshold is not None:
        at, words = y(threshold), f"below {threshold:.2f}: no longer the same person"
        parts.append(svg.line("threshold", left, right, at, at))
        parts.append(svg.text(right - 6, at + 15, words, "threshold-label", "end"))
    said = []
    for name, curve in curves:
        newest = name == curves[-1][0]
        kind = "newest" if newest else "older"
        in_order = [(x(diversity), y(similarity)) for _, diversity, similarity in sorted(curve)]
        parts.append(svg.polyline(kind, _points(in_order)))
        labelled: list[tuple[float, float]] = []
        for label, diversity, similarity in curve:
            place = x(diversity), y(similarity)
            last = newest and label == curve[-1][0]
            verdict = "" if threshold is None else "pass" if similarity >= threshold else "fail"
            said.append(f"{name}, variation {label}: similarity {similarity:.2f}, difference {diversity:.2f}")
            radius = _DOT + 2 if last else _DOT
            parts.append(svg.dot(*place, f"{kind} {verdict} {'last' if last else ''}", said[-1], radius))
            if newest and not any(abs(place[0] - a) < 30 and abs(place[1] - b) < 13 for a, b in labelled):
                labelled.append(place)
                parts.append(svg.text(place[0] + 11, place[1] - 8, label, "value-label", "start"))
        if not newest:
            parts.append(svg.text(in_order[-1][0] + 10, in_order[-1][1] + 4, name, anchor="start"))
    spoken = f"Similarity to the person against difference between the pictures. {'; '.join(said)}"
    return svg.plot(500, 400, spoken, parts)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Where a value from `low` to `high` lies, in pixels from `start` to `end`."""
    return lambda value: float(np.interp(value, (low, high), (start, end)))


def _upwards(
    low: float, high: float, top: float, base: float, left: float, right: float
) -> tuple[Callable[[float], float], list[Markup]]:
    """Where a cosine lies on an axis upwards, and the axis: a line and a number every 0.2."""
    y, parts = _scale(low, high, base, top), []
    for tick in _ticks(low, high):
        parts.append(svg.line("grid", left, right, y(tick), y(tick)))
        parts.append(svg.text(left - 8, y(tick) + 4, f"{tick:.1f}", anchor="end"))
    return y, parts


def _ticks(low: float, high: float) -> np.ndarray:
    return np.arange(round(low * 5), round(high * 5) + 1) / 5


def _points(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
