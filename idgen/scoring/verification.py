"""Error rates of one-to-one comparison (ISO/IEC 19795-1). Pure numpy, exact, ties included.

A comparison *matches* when its score is at or above the threshold. FMR is the share of impostor comparisons that match,
FNMR the share of genuine comparisons that do not. Figures "at FMR x" use the lowest threshold whose FMR is at most x,
so they never flatter. Which threshold a verdict takes: `verdict`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idgen.ground.arguments import FMRS
from idgen.ground.errors import InputError

Scores = NDArray[np.floating]
FEWEST_FALSE_MATCHES = 10
"""A threshold that rests on fewer false matches is chance."""
RATES = (1e-1, *FMRS)


def _sorted(scores: ArrayLike, name: str) -> Scores:
    array = np.asarray(scores).ravel()
    if not array.size:
        raise InputError(f"There are no {name} scores, so no error rate exists: give at least one.")
    if not (array[:-1] <= array[1:]).all():  # many figures are taken of the same scores: sort them once
        array = np.sort(array)
    if not (np.isfinite(array[0]) and np.isfinite(array[-1])):  # NaN sorts last
        raise InputError(f"The {name} scores hold NaN or infinity; an embedding they came from is broken.")
    return array


def fmr(impostor: ArrayLike, threshold: ArrayLike) -> Scores:
    """Share of impostor scores at or above each threshold."""
    scores = _sorted(impostor, "impostor")
    return 1.0 - np.searchsorted(scores, threshold, side="left") / scores.size


def fnmr(genuine: ArrayLike, threshold: ArrayLike) -> Scores:
    """Share of genuine scores below each threshold."""
    scores = _sorted(genuine, "genuine")
    return np.searchsorted(scores, threshold, side="left") / scores.size


def threshold_at_fmr(impostor: ArrayLike, target: float) -> float:
    """The lowest threshold whose FMR is at most `target`: just above an impostor score when ties force it."""
    scores = _sorted(impostor, "impostor")
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
    # One falls from 1 to 0, the other rises.
    false_match, false_non_match = np.asarray(fmr(imp, thresholds)), np.asarray(fnmr(gen, thresholds))
    gap = false_match - false_non_match
    after = int(np.argmax(gap <= 0))
    if gap[after] == 0 or after == 0:
        return float(false_match[after])
    share = gap[after - 1] / (gap[after - 1] - gap[after])
    return float(false_match[after - 1] + share * (false_match[after] - false_match[after - 1]))


def d_prime(genuine: ArrayLike, impostor: ArrayLike) -> float:
    """d′ = |μ_G − μ_I| / √((σ²_G + σ²_I)/2), population variances; infinite where only the means differ."""
    return float(np.sqrt(2 * fdr(genuine, impostor)))


def fdr(genuine: ArrayLike, impostor: ArrayLike) -> float:
    """Fisher's discriminant ratio (μ_G − μ_I)² / (σ²_G + σ²_I) = d′²/2; 0 where nothing differs at all."""
    gen, imp = _sorted(genuine, "genuine").astype(np.float64), _sorted(impostor, "impostor").astype(np.float64)
    # Where all are equal there is no spread, and no rounding either.
    spread = sum(0.0 if scores[0] == scores[-1] else float(scores.var()) for scores in (gen, imp))
    if spread == 0:
        return float("inf") if gen[0] != imp[0] else 0.0
    return float((gen.mean() - imp.mean()) ** 2 / spread)


def auc(genuine: ArrayLike, impostor: ArrayLike) -> float:
    """Chance that a genuine comparison scores above an impostor one, ties counting half: the area under the ROC."""
    gen, imp = _sorted(genuine, "genuine"), _sorted(impostor, "impostor")
    below = np.searchsorted(imp, gen, side="left").astype(np.float64)
    up_to = np.searchsorted(imp, gen, side="right")
    return float((below + up_to).sum() / (2 * gen.size * imp.size))


def det_curve(genuine: ArrayLike, impostor: ArrayLike, points: int = 400) -> tuple[Scores, Scores, Scores]:
    """(K,) thresholds, FMR and FNMR for drawing; K is about `points`, evenly over both rates' logarithms."""
    gen, imp = _sorted(genuine, "genuine"), _sorted(impostor, "impostor")
    picked = [np.array([min(gen[0], imp[0]), np.nextafter(max(gen[-1], imp[-1]), np.inf)])]
    for scores in (gen, imp):
        ranks = np.unique(np.geomspace(1, scores.size, points // 4).astype(int)) - 1
        picked += [scores[ranks], scores[scores.size - 1 - ranks]]
    thresholds = np.unique(np.concatenate(picked))
    return thresholds, np.asarray(fmr(imp, thresholds)), np.asarray(fnmr(gen, thresholds))


@dataclass(frozen=True)
class Verification:
    """How well genuine and impostor comparisons are told apart.

    Args:
        genuine_pairs, impostor_pairs: how many there are.
        eer, auc, d_prime, fdr: see the functions.
        genuine_mean, genuine_std, impostor_mean, impostor_std: of the scores.
        thresholds: false-match rate ("0.001") → the lowest threshold with FMR at most that.
        fnmr: false-match rate → lowest FNMR with FMR at most that: FMR10, FMR100, FMR1000, FMR10000.
        tar: false-match rate → true-accept rate there, 1 − fnmr.
        certain: false-match rate → whether at least 10 impostor comparisons stand behind that threshold.
    """

    genuine_pairs: int
    impostor_pairs: int
    eer: float
    auc: float
    d_prime: float
    fdr: float
    genuine_mean: float
    genuine_std: float
    impostor_mean: float
    impostor_std: float
    thresholds: dict[str, float]
    fnmr: dict[str, float]
    tar: dict[str, float]
    certain: dict[str, bool]

    @classmethod
    def measure(cls, genuine: ArrayLike, impostor: ArrayLike) -> Verification:
        """From the scores of comparisons of one person and of different people, in any order.

        Raises:
            InputError: there are none of one kind, or NaN.
        """
        gen, imp = _sorted(genuine, "genuine"), _sorted(impostor, "impostor")
        names = {f"{rate:g}": rate for rate in RATES}
        thresholds = {name: threshold_at_fmr(imp, rate) for name, rate in names.items()}
        misses = {name: float(fnmr(gen, threshold)) for name, threshold in thresholds.items()}
        return cls(
            genuine_pairs=gen.size,
            impostor_pairs=imp.size,
            eer=eer(gen, imp),
            auc=auc(gen, imp),
            d_prime=d_prime(gen, imp),
            fdr=fdr(gen, imp),
            genuine_mean=float(gen.mean(dtype=np.float64)),
            genuine_std=float(gen.std(dtype=np.float64)),
            impostor_mean=float(imp.mean(dtype=np.float64)),
            impostor_std=float(imp.std(dtype=np.float64)),
            thresholds=thresholds,
            fnmr=misses,
            tar={name: 1 - miss for name, miss in misses.items()},
            certain={name: imp.size * rate >= FEWEST_FALSE_MATCHES for name, rate in names.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON, with the names that ISO/IEC 19795-1 and FVC use."""
        named = {f"fmr{round(1 / float(rate))}": value for rate, value in self.fnmr.items()}
        return {**asdict(self), **named}


def unit(vectors: ArrayLike) -> Scores:
    """(N, D) with every row divided by its length."""
    array = np.asarray(vectors)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def numbered(vectors: Sized, labels: ArrayLike) -> NDArray[np.intp]:
    """(N,) people numbered from 0, in the order of their labels; InputError unless every vector has a label."""
    people = np.unique(np.asarray(labels), return_inverse=True)[1]
    if people.shape != (len(vectors),):
        raise InputError(f"{len(vectors)} vectors need as many labels, got {people.size}.")
    return people


def pair_scores(embeddings: ArrayLike, labels: ArrayLike) -> tuple[Scores, Scores]:
    """Cosines of all unordered pairs, split into genuine (same label) and impostor.

    Args:
        embeddings: (N, D), any length; normalised here.
        labels: (N,) whose equality means the same person.
    """
    vectors = unit(np.asarray(embeddings, np.float32))
    genuine, impostor = [], []
    for _, scores, same, other in pair_blocks(vectors, labels):
        genuine.append(scores[same])
        impostor.append(scores[other])
    return np.concatenate(genuine), np.concatenate(impostor)


def pair_blocks(
    vectors: Scores, labels: ArrayLike, rows: int = 1024
) -> Iterator[tuple[int, Scores, NDArray[np.bool_], NDArray[np.bool_]]]:
    """All unordered pairs in blocks, which keep memory flat.

    Yields:
        The number i of the block's first vector; the products of vectors i, i + 1, … (at most `rows` of them) with
        vectors i, i + 1, … N; and which of these are pairs of one person, and of different people.
    """
    people = numbered(vectors, labels)
    for start in range(0, len(vectors), rows):
        block = slice(start, start + rows)
        scores = vectors[block] @ vectors[start:].T
        later = np.arange(scores.shape[1])[None] > np.arange(scores.shape[0])[:, None]
        same = people[block, None] == people[None, start:]
        yield start, scores, later & same, later & ~same


def bootstrap(
    genuine: ArrayLike,
    impostor: ArrayLike,
    at: dict[str, float],
    genuine_people: NDArray[np.intp],
    impostor_people: NDArray[np.intp],
    times: int = 200,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of error rates, by drawing people again with replacement (Bolle, Ratha and Pankanti 2004, the
    subsets bootstrap): comparisons of one person are not independent, so pairs drawn alone would promise too much. Of
    false-match rates, which that makes too wide, see `_narrower`.

    Args:
        genuine, impostor: (G,) and (I,) scores.
        at: false-match rate → threshold.
        genuine_people, impostor_people: (G, 1) and (I, 2) numbers from 0 of who is compared; of sets that name nobody,
            a number a pair.
        times: draws.
        seed: of the draws.

    Returns:
        `eer`, and `tar@RATE` and `fmr@RATE` for each threshold → (low, high).
    """
    same, other = np.asarray(genuine, np.float64), np.asarray(impostor, np.float64)
    edges = np.linspace(-1, 1, 4001)
    bins = [np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, 3999) for scores in (same, other)]
    found: dict[str, list[float]] = {"eer": []}
    rng, people = np.random.default_rng(seed), int(max(genuine_people.max(), impostor_people.max())) + 1
    over = {rate: (same >= threshold, other >= threshold) for rate, threshold in at.items()}
    for _ in range(times):
        drawn = np.bincount(rng.integers(0, people, people), minlength=people).astype(np.float64)
        weights = drawn[genuine_people].prod(1), drawn[impostor_people].prod(1)
        if not (weights[0].any() and weights[1].any()):
            continue
        missed, passed = (
            np.cumsum(np.bincount(place, weight, 4000)) / weight.sum()
            for place, weight in zip(bins, weights, strict=True)
        )
        cross = int(np.argmin(np.abs(missed - (1 - passed))))
        found["eer"].append(float(missed[cross] + 1 - passed[cross]) / 2)
        for rate, (accepted, matched) in over.items():
            found.setdefault(f"tar@{rate}", []).append(float(weights[0][accepted].sum() / weights[0].sum()))
            found.setdefault(f"fmr@{rate}", []).append(float(weights[1][matched].sum() / weights[1].sum()))
    out = {name: (float(np.percentile(v, 2.5)), float(np.percentile(v, 97.5))) for name, v in found.items() if v}
    if impostor_people.shape[1] == 2:
        for rate, (_, matched) in over.items():
            if f"fmr@{rate}" in out:
                narrower = _narrower(matched, impostor_people, float(np.var(found[f"fmr@{rate}"])))
                middle = float(matched.mean())
                low, high = out[f"fmr@{rate}"]
                out[f"fmr@{rate}"] = middle + (low - middle) * narrower, middle + (high - middle) * narrower
    return out


def _narrower(matched: NDArray[np.bool_], people: NDArray[np.intp], variance: float) -> float:
    """What the interval of a false-match rate is to be multiplied by, where people drawn again have that variance.

    What is a pair's own (two look alike, though neither is anybody's double) is in it three times: once in the pair's
    weight and twice in those of its people (Owen 2007, "The pigeonhole bootstrap", section 3). Matches (I,) of people
    (I, 2).
    """
    if not variance:
        return 1.0
    first, second = people.min(1), people.max(1)
    _, pair = np.unique(first * (int(second.max()) + 1) + second, return_inverse=True)
    own = float(np.square(np.bincount(pair, matched - matched.mean())).sum()) / len(matched) ** 2
    return float(np.sqrt(min(1.0, max(variance - 2 * own, own) / variance)))
