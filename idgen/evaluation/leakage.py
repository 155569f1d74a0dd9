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

from idgen.errors import InputError
from idgen.identity import centres
from idgen.vectors import check_vectors

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
        probes: how many samples (or people) were looked up.
        threshold: cosine that one in 1 / rate strangers reaches.
        rate: share of strangers who reach it.
        strangers: how many the threshold was measured on.
        alarms: rows of the probes at or above it, most similar first.
        people: how many of the set's people these belong to.
        expected: alarms by chance.
        plausible: most alarms that chance makes, but for one case in 1,000.
        copies: probes at a cosine of 0.98 or more: the same picture again.
        leaks: whether there are more alarms than plausible, or copies.
        nearest: (probes,) cosine to the nearest.
        matched: (probes,) row of the nearest training picture, or number of the nearest training person.
        stranger_median, probe_median: of the nearest cosines.
    """

    kind: str
    probes: int
    threshold: float
    rate: float
    strangers: int
    alarms: NDArray[np.intp]
    people: int
    expected: float
    plausible: int
    copies: int
    leaks: bool
    nearest: NDArray[np.float32]
    matched: NDArray[np.intp]
    stranger_median: float
    probe_median: float

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
            "nearest_median": self.probe_median,
            "nearest_median_of_strangers": self.stranger_median,
            "nearest_max": float(self.nearest.max()),
        }


def leakage(
    embeddings: Tensor,
    labels: ArrayLike,
    training: Tensor,
    training_labels: ArrayLike,
    rate: float = ALARM_RATE,
    seed: int = 0,
) -> list[Search]:
    """Look for training people in a set of samples.

    Args:
        embeddings: (N, D) of the samples, by any recogniser.
        labels: (N,) who each is meant to be.
        training: (M, D) of training pictures, by the same recogniser; or one vector a person.
        training_labels: (M,) whose equality means the same person; at least two people.
        rate: share of strangers that may raise an alarm.
        seed: of the choice of strangers, where there are more than 20,000 training pictures.

    Returns:
        The three searches, or `person-to-person` alone where training has one vector a person, since a mean of many
        pictures says nothing about how near a single stranger's picture comes.

    Raises:
        InputError: broken vectors, other lengths, or too few training people to know the threshold.
    """
    probes, known = check_vectors(embeddings, "The set"), check_vectors(training, "The training set")
    if probes.shape[1] != known.shape[1]:
        raise InputError(
            f"The samples' vectors have {probes.shape[1]} numbers, the training people's {known.shape[1]}: "
            "embed both by one recogniser."
        )
    names, people = np.unique(np.asarray(training_labels), return_inverse=True)
    if people.shape != (len(known),) or np.asarray(labels).shape != (len(probes),):
        raise InputError("Every vector needs a label that says who it is.")
    if not 0 < rate < 1:
        raise InputError(f"The share of strangers that may raise an alarm lies between 0 and 1, got {rate}.")
    if len(names) < 2:
        raise InputError("The training set has one person: strangers, whom chance is measured on, need at least two.")
    middles = centres(known, people)
    numbers = np.arange(len(names))
    own = centres(probes, labels)
    rng = np.random.default_rng(seed)
    few = np.arange(len(known))
    if len(few) > _MOST_STRANGERS:
        few = np.sort(rng.choice(len(known), _MOST_STRANGERS, replace=False))
    out = []
    if len(names) < len(known):
        for kind, gallery, owners in (("sample-to-sample", known, people), ("sample-to-centre", middles, numbers)):
            strangers, _ = nearest(known[few], gallery, people[few], owners)
            out.append(_search(kind, nearest(probes, gallery), np.asarray(labels), strangers, rate))
    strangers, _ = nearest(middles, middles, numbers, numbers)
    return [*out, _search("person-to-person", nearest(own, middles), np.arange(len(own)), strangers, rate)]


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
    left = None if not_of is None else torch.from_numpy(np.asarray(not_of))
    right = None if owners is None else torch.from_numpy(np.asarray(owners))
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
    kind: str,
    found: tuple[NDArray[np.float32], NDArray[np.intp]],
    labels: NDArray[Any],
    strangers: NDArray[np.float32],
    rate: float,
) -> Search:
    cosine, row = found
    # The lowest cosine that at most a share `rate` of the strangers reach; with too few of them, one that none reaches.
    allowed = int(rate * len(strangers))
    ordered = np.sort(strangers)
    threshold = float(np.nextafter(ordered[len(ordered) - allowed - 1], np.float32(np.inf)))
    # Of n strangers, `allowed` reached it: the share behind it is (allowed + 1)/(n + 1) at most, on average over sets.
    behind = (allowed + 1) / (len(strangers) + 1)
    alarms = np.flatnonzero(cosine >= threshold)
    alarms = alarms[np.argsort(-cosine[alarms], kind="stable")]
    plausible = max(
        chance_limit(len(cosine), len(strangers), allowed), together_limit(cosine, labels, len(strangers), allowed)
    )
    copies = int((cosine >= max(COPY, threshold)).sum())
    return Search(
        kind,
        len(cosine),
        threshold,
        behind,
        len(strangers),
        alarms,
        len(np.unique(labels[alarms])),
        len(cosine) * behind,
        plausible,
        copies,
        copies > 0 or len(alarms) > plausible,
        cosine,
        row,
        float(np.median(strangers)),
        float(np.median(cosine)),
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
    from torch.special import ndtr, ndtri

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
