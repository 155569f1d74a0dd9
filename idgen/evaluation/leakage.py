"""Are people that a model was trained on in what it makes? Every sample against every training person.

What counts as an alarm must be measured, not guessed: even total strangers find *some* look-alike among many training
pictures. So each training picture first goes through the same search against all *other* training people. Those are
strangers for certain, and the cosine that one in 1,000 of them reaches is the threshold. Of N samples that leak nobody,
about N/1,000 then raise an alarm by chance; the verdict compares the alarms with what chance makes plausible. Pictures
of one person are alike and raise alarms together, so chance is wider than among strangers: how alike is measured, too.

Three searches, because each finds what the others miss:

- `sample-to-sample`: a picture against every training picture (copies);
- `sample-to-centre`: a picture against every training person's mean (a person in another pose);
- `person-to-person`: the mean of a person's pictures against those means (a person who leaks a little into every
picture).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import normalize
from torch.special import ndtr, ndtri

from idgen.ground.errors import InputError
from idgen.ground.identity import centres

ALARM_RATE = 1e-3
COPY = 0.98
"""From this cosine on, two pictures are one picture, whatever chance allows: compressed or resized at most."""
_CHANCE = 1e-3  # an excess that chance makes with less than this probability is called leakage
_ROWS, _COLUMNS = 1024, 16384
_MOST_STRANGERS = 20_000


@dataclass(frozen=True)
class Search:
    """One search.

    Args:
        kind: see above.
        threshold: cosine that one in 1 / rate strangers reaches.
        rate: share of strangers who reach it.
        strangers: how many the threshold was measured on.
        alarms: rows of the probes at or above it, most similar first.
        people: how many of the set's people these belong to.
        plausible: most alarms that chance makes, but for one case in 1,000.
        copies: probes at a cosine of 0.98 or more: the same picture again.
        nearest: (probes,) cosine of each sample (or person) that was looked up to the nearest.
        matched: (probes,) row of the nearest training picture, or number of the nearest training person.
        stranger_median: of the strangers' nearest cosines.
    """

    kind: str
    threshold: float
    rate: float
    strangers: int
    alarms: NDArray[np.intp]
    people: int
    plausible: int
    copies: int
    nearest: NDArray[np.float32]
    matched: NDArray[np.intp]
    stranger_median: float

    @property
    def probes(self) -> int:
        """How many samples (or people) were looked up."""
        return len(self.nearest)

    @property
    def expected(self) -> float:
        """Alarms by chance."""
        return self.probes * self.rate

    @property
    def leaks(self) -> bool:
        """Whether there are more alarms than plausible, or copies."""
        return self.copies > 0 or len(self.alarms) > self.plausible

    def to_dict(self) -> dict[str, Any]:
        """For JSON: counts instead of rows."""
        return {
            "kind": self.kind,
            "probes": self.probes,
            "strangers": self.strangers,
            "threshold": self.threshold,
            "alarms": len(self.alarms),
            "people_with_alarms": self.people,
            "expected_by_chance": self.expected,
            "plausible_by_chance": self.plausible,
            "copies": self.copies,
            "leaks": self.leaks,
            "nearest_median": float(np.median(self.nearest)),
            "nearest_median_of_strangers": self.stranger_median,
            "nearest_max": float(self.nearest.max()),
        }


def leakage(
    probes: Tensor, labels: ArrayLike, known: Tensor, training_labels: ArrayLike, seed: int = 0
) -> list[Search]:
    """Look for training people in a set of samples.

    Args:
        probes: (N, D) of the samples, by any recogniser; normalised here.
        labels: (N,) who each is meant to be.
        known: (M, D) of training pictures, by the same recogniser, or one a person; normalised here.
        training_labels: (M,) whose equality means the same person; at least two people.
        seed: of the choice of strangers, where there are more than 20,000 training pictures.

    Returns:
        The three searches, or `person-to-person` alone where training has one vector a person, since a mean of many
        pictures says nothing about how near a single stranger's picture comes.

    Raises:
        InputError: the training set has one person.
    """
    probes, known = normalize(probes.float()), normalize(known.float())
    names, people = np.unique(np.asarray(training_labels), return_inverse=True)
    whose, numbers = np.asarray(labels), np.arange(len(names))
    if len(names) < 2:
        raise InputError("The training set has one person: strangers, whom chance is measured on, need at least two.")
    middles, own = centres(known, people), centres(probes, whose)
    few = np.arange(len(known))
    if len(few) > _MOST_STRANGERS:
        few = np.sort(np.random.default_rng(seed).choice(len(known), _MOST_STRANGERS, replace=False))
    out = []
    if len(names) < len(known):
        for kind, gallery, owners in (("sample-to-sample", known, people), ("sample-to-centre", middles, numbers)):
            strangers, _ = nearest(known[few], gallery, people[few], owners)
            out.append(_search(kind, nearest(probes, gallery), whose, strangers))
    strangers, _ = nearest(middles, middles, numbers, numbers)
    return [*out, _search("person-to-person", nearest(own, middles), np.arange(len(own)), strangers)]


def nearest(
    probes: Tensor, gallery: Tensor, not_of: ArrayLike | None = None, owners: ArrayLike | None = None
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Cosine (N,) and row (N,) of each probe's nearest gallery vector, in blocks.

    Args:
        probes, gallery: (N, D) and (M, D) unit vectors.
        not_of, owners: (N,) and (M,): leave out the gallery vectors of the probe's own person.
    """
    best = torch.full((len(probes),), -torch.inf)
    index = torch.zeros(len(probes), dtype=torch.long)
    left, right = (torch.from_numpy(np.asarray(who)) if who is not None else None for who in (not_of, owners))
    for start in range(0, len(probes), _ROWS):
        rows = slice(start, start + _ROWS)
        for first in range(0, len(gallery), _COLUMNS):
            columns = slice(first, first + _COLUMNS)
            products = probes[rows] @ gallery[columns].T
            if left is not None and right is not None:
                products.masked_fill_(left[rows, None] == right[None, columns], -torch.inf)
            cosine, row = products.max(1)
            better = cosine > best[rows]
            best[rows] = torch.where(better, cosine, best[rows])
            index[rows] = torch.where(better, row + first, index[rows])
    return best.numpy(), index.numpy()


def _search(
    kind: str, found: tuple[NDArray[np.float32], NDArray[np.intp]], labels: NDArray[Any], strangers: NDArray[np.float32]
) -> Search:
    cosine, matched = found
    count, allowed = len(strangers), int(ALARM_RATE * len(strangers))
    # The lowest cosine that at most `allowed` strangers reach; with too few of them, one that none reaches.
    threshold = float(np.nextafter(np.sort(strangers)[count - allowed - 1], np.float32(np.inf)))
    alarms = np.flatnonzero(cosine >= threshold)
    alarms = alarms[np.argsort(-cosine[alarms], kind="stable")]
    return Search(
        kind=kind,
        threshold=threshold,
        rate=(allowed + 1) / (count + 1),  # the share behind the threshold at most, on average over sets of strangers
        strangers=count,
        alarms=alarms,
        people=len(np.unique(labels[alarms])),
        plausible=max(chance_limit(len(cosine), count, allowed), together_limit(cosine, labels, count, allowed)),
        copies=int((cosine >= max(COPY, threshold)).sum()),
        nearest=cosine,
        matched=matched,
        stranger_median=float(np.median(strangers)),
    )


def chance_limit(probes: int, strangers: int, allowed: int, chance: float = _CHANCE) -> int:
    """The most alarms that `probes` strangers raise, but with probability `chance`.

    The threshold lies just above the (allowed + 1)-th highest of `strangers` cosines, so it is itself uncertain. If all
    come from one distribution, every order of the two groups is equally likely, and the number A of probes above is
    negative-hypergeometric: P(A = a) = C(a + allowed, a) · C(probes − a + strangers − allowed − 1, probes − a) /
    C(probes + strangers, probes).
    """
    r = allowed + 1

    def log_choose(n: float, k: float) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    total, below = log_choose(probes + strangers, probes), 0.0
    for a in range(probes + 1):
        below += math.exp(log_choose(a + r - 1, a) + log_choose(probes - a + strangers - r, probes - a) - total)
        if below >= 1 - chance:
            return a
    return probes


def together_limit(
    cosines: ArrayLike, labels: ArrayLike, strangers: int, allowed: int, chance: float = _CHANCE, draws: int = 4000
) -> int:
    """`chance_limit` where one person's pictures raise alarms together: simulated, with a fixed seed.

    How much they do is the intraclass correlation ρ of the normal scores of the probes' cosines (one-way ANOVA). A
    picture's score is then √ρ · u + √(1 − ρ) · e, with u of the person and e of the picture, and an alarm is one beyond
    the threshold, whose share of strangers is Beta(allowed + 1, strangers − allowed).

    Args:
        cosines, labels: (N,) of the probes to the nearest, and who each is meant to be.
        strangers, allowed, chance: see `chance_limit`.
        draws: simulated sets.
    """
    values = np.asarray(cosines)
    _, who, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    total, groups = len(values), len(counts)
    if groups == total or groups < 2:
        return 0
    ranks = np.empty(total)
    ranks[np.argsort(values, kind="stable")] = np.arange(total)
    scores = ndtri(torch.from_numpy((ranks + 0.5) / total)).numpy()
    means = np.bincount(who, scores) / counts
    within = ((scores - means[who]) ** 2).sum() / (total - groups)
    between = (counts * (means - scores.mean()) ** 2).sum() / (groups - 1)
    typical = (total - (counts**2).sum() / total) / (groups - 1)
    correlation = min(0.99, max(0.0, (between - within) / (between + (typical - 1) * within)))
    rng = np.random.default_rng(0)
    alarms = np.empty(draws, np.int64)
    for draw in range(draws):
        beyond = ndtri(torch.tensor(1 - rng.beta(allowed + 1, max(strangers - allowed, 1)), dtype=torch.float64))
        own = correlation**0.5 * torch.from_numpy(rng.standard_normal(groups))
        shares = ndtr((own - beyond) / (1 - correlation) ** 0.5).numpy()
        alarms[draw] = rng.binomial(counts, shares).sum()
    return int(np.quantile(alarms, 1 - chance, method="higher"))
