"""How sure an error rate is: intervals by people, since comparisons that share a person say the same thing twice.

An impostor comparison has a person on both sides, so that neither pairs nor one side alone may be drawn again. How much
a person moves a rate is its influence, from what the rate is without them (an infinitesimal jackknife of people on both
sides; Fogliato, Patil and Perona, IJCV 2024, for the two rates): with d_ij = e_ij − F·m_ij of e_ij errors in m_ij
comparisons of the people i and j,

    FNMR: a_i = d_ii / Σ m_ii        FMR: b_i = 2 Σ_j d_ij / Σ_{i≠j} m_ij

A threshold that is taken where the FMR has a given value adds the slope s = |dFNMR/dFMR| there: a_i + s·b_i; the equal
error rate is (a_i + s·b_i)/(1 + s). The variance is Σ of the squares, the interval is Student's on the scale of log
odds, with the degrees of freedom that people of such unequal influence have (Satterthwaite): of an FNMR those who err,
for how many they are is what log odds know already; of an FMR, which a few people make most of, all; of what both move
the mean of the two doubts. Where hardly anybody errs there is no variance to see: Wilson's interval, as if everybody
made one comparison. By too few people there is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idgen.scoring import verification
from idgen.scoring.verification import numbered, pair_blocks, unit

FEWEST_PEOPLE = 30
"""With fewer people there is a count, but no rate."""
FEWEST_ERRING = 4
"""People with errors that an influence can be seen of."""
FEWEST_FREE = 3
"""Degrees of freedom below which a few people make all of a rate, and nothing can be said."""
_Z = NormalDist().inv_cdf(0.975)
Rows = NDArray[np.intp]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rate:
    """A rate with its 95 % interval.

    Args:
        errors, comparisons: how many, and among how many.
        people: whose comparisons they are.
        low, high: None where the people are too few to know.
    """

    errors: int
    comparisons: int
    people: int
    low: float | None = None
    high: float | None = None

    @property
    def value(self) -> float | None:
        """The rate; None where the people are too few to know."""
        return None if self.low is None else self.errors / self.comparisons


@dataclass(frozen=True)
class Errors:
    """The wrong comparisons among some pictures at one threshold: sparse, so that millions of comparisons fit.

    Args:
        people: (N,) number from 0 of who is on each picture.
        missed: (M, 2) pictures of one person below the threshold.
        false: (F, 2) pictures of different people at or above it.
    """

    people: Rows
    missed: Rows
    false: Rows

    @classmethod
    def find(cls, vectors: ArrayLike, labels: ArrayLike, threshold: float) -> Errors:
        """Compare all pictures, in blocks.

        Args:
            vectors: (N, D), any length; normalised here.
            labels: (N,) whose equality means the same person.
            threshold: a comparison matches at or above it.
        """
        units, missed, false = unit(np.asarray(vectors, np.float32)), [], []
        for start, scores, same, other in pair_blocks(units, labels):
            matches = scores >= threshold
            missed.append(np.argwhere(same & ~matches) + start)
            false.append(np.argwhere(other & matches) + start)
        return cls(numbered(units, labels), np.concatenate(missed), np.concatenate(false))

    def fnmr(self, chosen: NDArray[np.bool_] | None = None) -> Rate:
        """The false-non-match rate among the chosen pictures (N,), or all: pairs of one person that do not match."""
        errors, comparisons = self.own(chosen)
        some = comparisons > 0
        return fnmr_rate(errors[some], comparisons[some])

    def fmr(self, chosen: NDArray[np.bool_] | None = None) -> Rate:
        """The false-match rate within the chosen pictures (N,), or all: pairs of different people that match."""
        return fmr_rate(*self.between(chosen))

    def own(self, chosen: NDArray[np.bool_] | None = None) -> tuple[Floats, Floats]:
        """Of everybody, (G,) the pairs of their chosen pictures that do not match, and (G,) all such pairs."""
        counts, chosen = self._counts(chosen)
        comparisons = counts * (counts - 1) / 2
        wrong = self.missed[chosen[self.missed].all(1)]
        return np.bincount(self.people[wrong[:, 0]], minlength=len(counts)).astype(float), comparisons

    def between(self, chosen: NDArray[np.bool_] | None = None) -> tuple[Rows, Floats, Floats]:
        """Among the chosen pictures, (E, 2) the pairs of people with false matches, (E,) how many, and (G,) everybody's
        pictures: what `fmr_rate` takes."""
        counts, chosen = self._counts(chosen)
        wrong = np.sort(self.people[self.false[chosen[self.false].all(1)]], axis=1)
        pairs, errors = np.unique(wrong.reshape(-1, 2), axis=0, return_counts=True)
        return pairs, errors.astype(float), counts

    def _counts(self, chosen: NDArray[np.bool_] | None) -> tuple[Floats, NDArray[np.bool_]]:
        chosen = np.ones(len(self.people), bool) if chosen is None else chosen
        counts = np.bincount(self.people[chosen], minlength=int(self.people.max(initial=-1)) + 1)
        return counts.astype(float), chosen


def fnmr_rate(errors: ArrayLike, comparisons: ArrayLike) -> Rate:
    """A rate over people: (G,) errors in (G,) comparisons, above 0, of each with themselves."""
    wrong, all_ = np.asarray(errors, float), np.asarray(comparisons, float)
    total, people = all_.sum(), len(all_)
    if people < FEWEST_PEOPLE:
        return Rate(int(wrong.sum()), int(total), people)
    moves, erring = fnmr_influence(wrong, all_), int((wrong > 0).sum())
    ends = interval(wrong.sum() / total, moves, erring, people, doubt_of_erring(moves, erring))
    return Rate(int(wrong.sum()), int(total), people, *ends)


def fmr_rate(pairs: Rows, errors: ArrayLike, pictures: ArrayLike) -> Rate:
    """A rate over pairs of people.

    Args:
        pairs: (E, 2) numbers of two different people with false matches, each pair once.
        errors: (E,) how many.
        pictures: (G,) of each; 0 for who takes no part. People i and j have n_i · n_j comparisons.
    """
    wrong, n = np.asarray(errors, float), np.asarray(pictures, float)
    people, total = int((n > 0).sum()), (n.sum() ** 2 - np.square(n).sum()) / 2
    if people < FEWEST_PEOPLE:
        return Rate(int(wrong.sum()), int(total), people)
    moves = fmr_influence(pairs, wrong, n)[n > 0]
    twice = counted_twice(pairs, wrong, n)
    ends = interval(wrong.sum() / total, moves, len(np.unique(pairs)), people / 2, doubt_of_all(moves), twice)
    return Rate(int(wrong.sum()), int(total), people, *ends)


def fnmr_influence(errors: Floats, comparisons: Floats) -> Floats:
    """a_i, see above, of (G,) errors in (G,) comparisons."""
    total = comparisons.sum()
    return (errors - errors.sum() / total * comparisons) / total


def fmr_influence(pairs: Rows, errors: Floats, pictures: Floats) -> Floats:
    """b_i, see above, of the arguments of `fmr_rate`; without a matrix, since d_ij = −F·n_i·n_j where nobody errs."""
    n, total = pictures, pictures.sum() ** 2 - np.square(pictures).sum()
    sums = np.bincount(pairs[:, 0], errors, len(n)) + np.bincount(pairs[:, 1], errors, len(n))
    rate = 2 * errors.sum() / total
    return 2 * (sums - rate * n * (n.sum() - n)) / total


def counted_twice(pairs: Rows, errors: Floats, pictures: Floats) -> float:
    """The variance that single pairs add twice to Σ b_i², see above, of the arguments of `fmr_rate`."""
    n, total = pictures, pictures.sum() ** 2 - np.square(pictures).sum()
    rate, both = 2 * errors.sum() / total, pictures[pairs].prod(1)
    squares = 2 * (errors**2 - 2 * rate * errors * both).sum()  # and those without errors are d_ij = −F·n_i·n_j
    return float(2 * (squares + rate**2 * ((n**2).sum() ** 2 - (n**4).sum())) / total**2)


def interval(
    rate: float, moves: Floats, erring: int, fewest: float, doubt: float, twice: float = 0.0
) -> tuple[float | None, float | None]:
    """The 95 % interval of a rate.

    Args:
        rate: as measured.
        moves: (G,) everybody's influence.
        erring: how many people have errors.
        fewest: effective comparisons where hardly anybody errs.
        doubt: one over the degrees of freedom of the variance that is seen.
        twice: variance that the influences hold too often.

    Returns:
        Low and high; None where a few people make so much of it that nothing can be said.
    """
    square = np.square(moves)
    # Not below half, where single pairs are all there is.
    variance = max(float(square.sum()) - twice, float(square.sum()) / 2) * len(moves) / (len(moves) - 1)
    if min(erring, len(moves)) < FEWEST_ERRING or variance <= 0 or not 0 < rate < 1:
        z = _Z**2 / fewest
        half = (z * (rate * (1 - rate) + z / 4)) ** 0.5
        return max(0.0, (rate + z / 2 - half) / (1 + z)), min(1.0, (rate + z / 2 + half) / (1 + z))
    if doubt_of_all(moves) > 1 / FEWEST_FREE:
        return None, None
    half = _student(1 / max(doubt, 1e-6)) * variance**0.5 / (rate * (1 - rate))
    odds = math.log(rate / (1 - rate))
    low, high = (1 / (1 + math.exp(-(odds + end))) for end in (-half, half))
    return low, high


def doubt_of_all(moves: Floats) -> float:
    """One over the degrees of freedom of Σ moves², of which a few people make most; 0 where nobody moves anything."""
    square = np.square(moves)
    return float(np.square(square / square.sum()).sum()) if square.sum() > 0 else 0.0


def doubt_of_erring(moves: Floats, erring: int) -> float:
    """One over the degrees of freedom of Σ moves² among the so many people who err; how many they are is known."""
    most = np.sort(np.square(moves))[-max(1, erring) :]
    return float(np.square(most / most.sum()).sum() - 1 / len(most)) / 2 if most.sum() > 0 else 0.0


def _student(freedom: float) -> float:
    """The 97.5 % point of Student's t (Abramowitz and Stegun 26.7.5)."""
    z, v = _Z, freedom
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / v**power for power, term in enumerate(terms, 1))


@dataclass(frozen=True)
class Sure:
    """A figure of all comparisons of a set, with its 95 % interval; None where the people are too few to know."""

    value: float
    low: float | None
    high: float | None


def equal_error_rate(vectors: ArrayLike, labels: ArrayLike) -> Sure:
    """The equal error rate of (N, D) vectors of (N,) people, all of which are compared, with its interval."""
    genuine, impostor = (np.sort(scores) for scores in verification.pair_scores(vectors, labels))
    rate = verification.eer(genuine, impostor)
    threshold = float(np.quantile(genuine, rate))
    errors, slope = Errors.find(vectors, labels, threshold), _slope(genuine, impostor, threshold)
    return Sure(rate, *_joint(errors, rate, slope, 1 / (1 + slope)))


def tar_at_fmr(vectors: ArrayLike, labels: ArrayLike, target: float) -> Sure:
    """The true-accept rate of (N, D) vectors of (N,) people at the threshold where the false-match rate of these very
    comparisons is the target: its interval knows that other people would give another threshold."""
    genuine, impostor = (np.sort(scores) for scores in verification.pair_scores(vectors, labels))
    threshold = verification.threshold_at_fmr(impostor, target)
    miss = float(verification.fnmr(genuine, threshold))
    errors = Errors.find(vectors, labels, threshold)
    low, high = _joint(errors, miss, _slope(genuine, impostor, threshold), 1.0)
    return Sure(1 - miss, None if high is None else 1 - high, None if low is None else 1 - low)


def _joint(errors: Errors, rate: float, slope: float, share: float) -> tuple[float | None, float | None]:
    """The interval of what both rates move: by (a_i + slope · b_i) · share."""
    own, (pairs, false, pictures) = errors.own(), errors.between()
    if (own[1] > 0).sum() < FEWEST_PEOPLE:
        return None, None
    moves = share * (fnmr_influence(*own) + slope * fmr_influence(pairs, false, pictures))
    twice = (slope * share) ** 2 * counted_twice(pairs, false, pictures)
    erring, people = int((own[0] > 0).sum()), float((own[1] > 0).sum())
    doubt = (doubt_of_erring(moves, erring) + doubt_of_all(moves)) / 2
    return interval(rate, moves, erring, people, doubt, twice)


def _slope(genuine: NDArray[np.floating], impostor: NDArray[np.floating], threshold: float) -> float:
    """|dFNMR/dFMR| at a threshold, of sorted scores: over the tenth of the impostors' spread around it that is needed
    to see both rates move."""
    width = 0.1 * float(impostor.std())
    for step in (width, 2 * width, 4 * width, 8 * width):
        ends = np.array([threshold - step, threshold + step])
        misses, matches = verification.fnmr(genuine, ends), verification.fmr(impostor, ends)
        if misses[1] > misses[0] and matches[0] > matches[1]:
            return float((misses[1] - misses[0]) / (matches[0] - matches[1]))
    return 0.0
