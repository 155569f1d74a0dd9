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

from idgen.scoring import one_in

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
    scores: Sequence[float], genuine: ArrayLike, impostor: ArrayLike, threshold: float, fmr: float
) -> str:
    """Each image a dot at its similarity, over the distributions of real pairs, with the threshold drawn.

    Args:
        scores: cosines of the generated images to the person asked for, by the judge.
        genuine, impostor: (B,) counts in equal bins on [-1, 1], from the judge's calibration.
        threshold: the cosine at which a comparison matches; fmr: the false-match rate it stands for.
    """
    low, high = _range(genuine, impostor, scores, threshold)

    def x(cosine: float) -> float:
        return _LEFT + (float(np.clip(cosine, low, high)) - low) / (high - low) * (_RIGHT - _LEFT)

    densities = {"impostor": _density(impostor), "genuine": _density(genuine)}
    peak = max(density.max() for density in densities.values()) or 1.0
    parts = []
    labels = {"impostor": "different people", "genuine": "same person, real pictures"}
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
    parts.append(
        f'<text class="tick" x="{(_LEFT + _RIGHT) / 2}" y="{_BASE + 36}" text-anchor="middle">'
        "similarity to this person, by the judge (cosine)</text>"
    )

    at, words = x(threshold), f"threshold {threshold:.2f}: {one_in(fmr)} strangers pass"
    half = 3.45 * len(words)  # about half the text's width, to keep all of it on the plot
    parts.append(
        f'<line class="threshold" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 10}" y2="{_BASE}"/>'
        f'<text class="threshold-label" x="{np.clip(at, half + 4, _WIDTH - half - 4):.1f}" y="{_TOP - 17}" '
        f'text-anchor="middle">{words}</text>'
    )

    stacks: dict[int, int] = {}
    for number, score in enumerate(scores, start=1):
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
        cursor += 28 + int(6.4 * len(text))
    parts.append(
        f'<circle class="dot pass" cx="{cursor + 5}" cy="11.5" r="{_DOT}"/>'
        f'<text class="tick" x="{cursor + 15}" y="15.5">these pictures</text>'
    )
    passed = sum(score >= threshold for score in scores)
    spoken = (
        f"Similarity of {len(scores)} pictures to the person: {passed} at or above the threshold {threshold:.2f}, "
        f"from {min(scores):.2f} to {max(scores):.2f}."
    )
    return _svg(_WIDTH, _HEIGHT, spoken, parts)


def similarity_matrix(matrix: ArrayLike, threshold: float | None = None) -> str:
    """Every picture against every other, (N, N) cosines: stronger is more alike, dotted is below the threshold."""
    matrix = np.asarray(matrix, float)
    count = len(matrix)
    if matrix.shape != (count, count) or not count:
        raise ValueError(f"A similarity matrix is square, got shape {matrix.shape}.")
    label, size = 26, _WIDTH - 30
    cell = min((size - label) / count, 60)
    off = matrix[~np.eye(count, dtype=bool)]
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
            strength = float(np.clip((value - low) / (1 - low), 0, 1)) ** 1.5
            kind = "same" if row == column else "weak" if threshold is not None and value < threshold else "strong"
            left, top = start + column * cell, label + row * cell
            tip = f"Picture {row + 1} against {column + 1}: {value:.2f}"
            parts.append(
                f'<g class="cell {kind}"><title>{tip}</title><rect x="{left + 1:.1f}" y="{top + 1:.1f}" '
                f'width="{cell - 2:.1f}" height="{cell - 2:.1f}" rx="{min(5, cell / 6):.1f}" '
                f'style="fill-opacity:{0.06 + 0.94 * strength:.3f}"/>'
            )
            if font >= 9.5 and row != column:
                tone = "on-strong" if strength > 0.55 else "on-pale"
                parts.append(
                    f'<text class="value {tone}" x="{left + cell / 2:.1f}" y="{top + cell / 2 + font * 0.36:.1f}" '
                    f'style="font-size:{font:.1f}px" text-anchor="middle">{value:.2f}</text>'
                )
            parts.append("</g>")
    spoken = f"Similarity of {count} pictures to each other by the judge"
    spoken += f", from {off.min():.2f} to {off.max():.2f}." if off.size else "."
    return _svg(_WIDTH, label + cell * count + 6, spoken, parts)


def _svg(width: float, height: float, spoken: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(spoken)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
