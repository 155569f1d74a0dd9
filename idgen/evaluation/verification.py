"""Error rates of one-to-one comparison (ISO/IEC 19795-1). Pure numpy, exact, ties included.

A comparison *matches* when its score is at or above the threshold. FMR is the share of impostor comparisons that match,
FNMR the share of genuine comparisons that do not. Figures "at FMR x" use the lowest threshold whose FMR is at most x,
so they never flatter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scores = NDArray[np.floating]


def _sorted(scores: ArrayLike, name: str) -> Scores:
    array = np.sort(np.asarray(scores).ravel())
    if not array.size:
        raise ValueError(f"There are no {name} scores, so no error rate exists: give at least one.")
    if not np.isfinite(array).all():
        raise ValueError(f"The {name} scores hold NaN or infinity; an embedding they came from is broken.")
    return array


def fmr(impostor: ArrayLike, threshold: float | Scores) -> float | Scores:
    """Share of impostor scores at or above each threshold."""
    scores = _sorted(impostor, "impostor")
    return 1.0 - np.searchsorted(scores, threshold, side="left") / scores.size


def fnmr(genuine: ArrayLike, threshold: float | Scores) -> float | Scores:
    """Share of genuine scores below each threshold."""
    scores = _sorted(genuine, "genuine")
    return np.searchsorted(scores, threshold, side="left") / scores.size


def threshold_at_fmr(impostor: ArrayLike, target: float) -> float:
    """The lowest threshold whose FMR is at most `target`: just above an impostor score when ties force it."""
    scores = _sorted(impostor, "impostor")
    if not 0 <= target <= 1:
        raise ValueError(f"A false-match rate lies between 0 and 1, got {target}.")
    allowed = int(np.floor(target * scores.size * (1 + 1e-12)))  # how many impostors may match
    if allowed >= scores.size:
        return float(scores[0])
    return float(np.nextafter(scores[scores.size - allowed - 1], np.inf))


def tar_at_fmr(genuine: ArrayLike, impostor: ArrayLike, target: float) -> float:
    """True-accept rate 1 − FNMR at the lowest threshold with FMR ≤ `target`."""
    return 1.0 - float(fnmr(genuine, threshold_at_fmr(impostor, target)))


def eer(genuine: ArrayLike, impostor: ArrayLike) -> float:
    """Equal error rate: where the FNMR and FMR curves cross, interpolated linearly between neighbouring thresholds."""
    gen, imp = _sorted(genuine, "genuine"), _sorted(impostor, "impostor")
    thresholds = np.unique(np.concatenate([gen, imp]))
    thresholds = np.append(thresholds, np.nextafter(thresholds[-1], np.inf))
    false_match = 1.0 - np.searchsorted(imp, thresholds, side="left") / imp.size  # falls from 1 to 0
    false_non_match = np.searchsorted(gen, thresholds, side="left") / gen.size  # rises from 0 to 1
    gap = false_match - false_non_match
    after = int(np.argmax(gap <= 0))
    if gap[after] == 0 or after == 0:
        return float(false_match[after])
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(false_match[after - 1] + share * (false_match[after] - false_match[after - 1]))


def pair_scores(embeddings: ArrayLike, labels: ArrayLike) -> tuple[Scores, Scores]:
    """Cosines of all unordered pairs, split into genuine (same label) and impostor.

    Args:
        embeddings: (N, D), any length; normalised here.
        labels: (N,) whose equality means the same person.
    """
    vectors = np.asarray(embeddings, np.float32)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    names = np.unique(np.asarray(labels), return_inverse=True)[1]
    if len(names) != len(vectors):
        raise ValueError(f"{len(vectors)} embeddings need as many labels, got {len(names)}.")
    genuine, impostor = [], []
    for start in range(0, len(vectors), 1024):  # blocks keep memory flat
        block = slice(start, start + 1024)
        scores = vectors[block] @ vectors[start:].T
        later = np.arange(scores.shape[1])[None] > np.arange(scores.shape[0])[:, None]
        same = names[block, None] == names[None, start:]
        genuine.append(scores[later & same])
        impostor.append(scores[later & ~same])
    return np.concatenate(genuine), np.concatenate(impostor)
