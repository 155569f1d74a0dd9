"""How many people can a generator, or a set, hold apart for a recogniser?

Three answers: how many of these people are unique; how collisions grow with the number of people, seen and fitted; and
the ratio of hyperspheres (Boddeti, Sreekumar and Ross, IJCB 2023), an upper bound, since it takes the sphere to be
filled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn.functional import normalize

from idgen.auditing.looking import Seen
from idgen.auditing.section import Audited, Section
from idgen.evaluation import charts
from idgen.evaluation.page import legend
from idgen.evaluation.separability import Separability
from idgen.ground.domain import pictures
from idgen.ground.words import count, one_in, percent
from idgen.scoring import meaning
from idgen.scoring.calibration import mean_mean_scores
from idgen.scoring.intervals import FEWEST_PEOPLE, fmr_rate
from idgen.scoring.verification import pair_blocks

MOST_PEOPLE = 50_000
"""People among whom collisions are counted; of more, some drawn at random."""
CROWDED = 0.05
_DRAWS = 200
_DOUBLED = 0.005
_EVERYBODY = 8e9
_QUANTILE = 0.05
_SINGLES = 10_000
Floats = NDArray[np.float64]


def cap(angle: float, dim: int) -> float:
    """log of the share of the unit sphere in `dim` dimensions inside a cap of half-angle `angle`:
    ½ I_{sin²ω}((n − 1)/2, ½), and 1 − that of π − ω beyond the equator."""
    if angle > math.pi / 2:
        return math.log1p(-math.exp(cap(math.pi - angle, dim)))
    if angle <= 0:
        return -math.inf
    # ∫_0^ω sin^(n−2), by Gauss-Legendre on what of it counts: the integrand falls steeply away from ω.
    power = dim - 2
    nodes, weights = np.polynomial.legendre.leggauss(200)
    start = 0.0 if power == 0 else math.asin(min(1.0, math.sin(angle) * math.exp(-40 / power)))
    at = start + (nodes + 1) * (angle - start) / 2
    logs = power * np.log(np.sin(at))
    inside = float(logs.max()) + math.log(float((weights * np.exp(logs - logs.max())).sum()) * (angle - start) / 2)
    whole = math.lgamma((dim - 1) / 2) + math.lgamma(0.5) - math.lgamma(dim / 2)
    return inside - whole


def sphere_ratio(spread: float, within: float, margin: float, dim: int) -> float:
    """The capacity A(Ω₁ + δ)/A(Ω₂ + δ), at least 1.

    Args:
        spread, within: half-angles Ω₁ of all people, and Ω₂ of one person's pictures.
        margin: δ, half the angle of the threshold.
        dim: of the vectors.
    """
    log = cap(min(spread + margin, math.pi), dim) - cap(min(within + margin, math.pi), dim)
    return math.exp(min(max(log, 0.0), 700.0))


def spread_angle(vectors: NDArray[np.float32]) -> float:
    """Ω₁ of one picture a person (N, D): half the angle that all but 5 % of their smallest cosines to another reach."""
    smallest = np.full(len(vectors), np.inf)
    for start in range(0, len(vectors), 1024):
        block = slice(start, start + 1024)
        smallest[block] = (vectors[block] @ vectors.T).min(1)
    return 0.5 * math.acos(float(np.clip(np.quantile(smallest, _QUANTILE), -1, 1)))


def within_angle(vectors: NDArray[np.float32], people: NDArray[np.intp]) -> float:
    """Ω₂: half the median over people of the largest angle between two of their pictures."""
    order = np.argsort(people, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(people[order])) + 1)
    least = [(vectors[who] @ vectors[who].T).min() for who in groups if len(who) > 1]
    return 0.5 * float(np.median(np.arccos(np.clip(least, -1, 1)))) if least else 0.0


def collisions(vectors: ArrayLike, threshold: float) -> NDArray[np.intp]:
    """(E, 2) pairs of people (N, D) whose cosine reaches a threshold, in blocks."""
    units, found = np.asarray(vectors, np.float32), []
    for start, scores, _, other in pair_blocks(units, np.arange(len(units))):
        found.append(np.argwhere(other & (scores >= threshold)) + start)
    return np.concatenate(found)


def doubled(
    means: NDArray[np.float32], vectors: NDArray[np.float32], people: NDArray[np.intp], rows: NDArray[np.intp]
) -> NDArray[np.intp]:
    """(E, 2) pairs of people whose means (G, D) are as near as the two halves of one person's pictures in the middle of
    all people: they may be one. A threshold of the set itself would rise with them, and hide them.

    Args:
        means: of some people.
        vectors, people: (N, D) of all pictures, and (N,) who is on each.
        rows: the pictures that the halves are of.
    """
    if (np.bincount(np.unique(people[rows], return_inverse=True)[1]) > 1).sum() < 2:
        return np.zeros((0, 2), np.intp)
    own, _ = mean_mean_scores(vectors[rows], np.unique(people[rows], return_inverse=True)[1])
    return collisions(means, float(np.median(own)))


@dataclass(frozen=True)
class Growth:
    """How the share of people with a look-alike grows.

    Args:
        people: (K,) how many.
        shares: (K,) of them with somebody at the threshold or nearer, on average over draws.
        rate, power: of the fit 1 − exp(−rate · (N − 1)^power).
        half: people from whom on a share of `CROWDED` has a look-alike, by the fit; infinite where nobody has.
        low, high: its 95 % interval, over people.
    """

    people: Floats
    shares: Floats
    rate: float
    power: float
    half: float
    low: float | None
    high: float | None

    def at(self, people: ArrayLike) -> Floats:
        """The fitted share."""
        return 1 - np.exp(-self.rate * (np.asarray(people, float) - 1) ** self.power)


def growth(pairs: NDArray[np.intp], people: int, seed: int = 0) -> Growth:
    """From the pairs (E, 2) of look-alikes among so many people.

    The share among N of them is that of people with one or more of their look-alikes among N − 1 others drawn: for a
    person with k of them, 1 − C(G − 1 − k, N − 1)/C(G − 1, N − 1), exactly.
    """
    degrees = np.bincount(pairs.ravel(), minlength=people) if len(pairs) else np.zeros(people, int)
    sizes = np.unique(np.geomspace(2, people, 24).astype(int))
    shares = expected_shares(degrees, people, sizes)
    rate, power = _fit(sizes, shares)
    if rate <= 0 and degrees.any():  # too few sizes for a line, or everybody has one
        return Growth(sizes.astype(float), shares, 50.0 * float(shares[-1] >= 1), 0.0, float(sizes[0]), None, None)
    if rate <= 0:
        # Nobody of G: with 95 %, a pair collides in fewer than one of these.
        most = 3 / (people / 2)
        return Growth(sizes.astype(float), shares, 0.0, 1.0, math.inf, 1 + CROWDED / most, None)
    rng, halves = np.random.default_rng(seed), []
    for _ in range(_DRAWS):
        again = degrees[rng.integers(0, people, people)]
        found = _fit(sizes, expected_shares(again, people, sizes))
        halves.append(_crowded(*found))
    low, high = np.quantile(halves, [0.025, 0.975])
    sure = people >= FEWEST_PEOPLE and int((degrees > 0).sum()) > 5
    ends = (float(low), float(high)) if sure and math.isfinite(high) else (None, None)
    return Growth(sizes.astype(float), shares, rate, power, _crowded(rate, power), *ends)


def expected_shares(degrees: NDArray[np.intp], people: int, sizes: NDArray[np.intp]) -> Floats:
    """(K,) expected share with a look-alike among so many of the people, of the numbers (G,) of look-alikes of each."""
    values, counts = np.unique(degrees, return_counts=True)
    logs = np.array([math.lgamma(n + 1) for n in range(people + 1)])
    out = []
    for size in sizes:
        drawn, free = size - 1, people - 1 - values
        possible = free >= drawn
        none = np.zeros(len(values))
        chosen = logs[free[possible]] - logs[free[possible] - drawn] - (logs[people - 1] - logs[people - 1 - drawn])
        none[possible] = np.exp(chosen)
        out.append(float((counts * (1 - none)).sum() / counts.sum()))
    return np.array(out)


def _fit(sizes: NDArray[np.intp], shares: Floats) -> tuple[float, float]:
    """Rate and power, by a line through the logarithms of −log(1 − share)."""
    some = (shares > 0) & (shares < 1)
    if some.sum() < 2:
        return 0.0, 1.0
    x, y = np.log(sizes[some] - 1.0), np.log(-np.log1p(-shares[some]))
    weights = shares[some] ** 0.5
    power, start = np.polyfit(x, y, 1, w=weights)
    return math.exp(start), float(power)


def _crowded(rate: float, power: float) -> float:
    return math.inf if rate <= 0 or power <= 0 else 1 + (-math.log(1 - CROWDED) / rate) ** (1 / power)


def section(audited: Audited) -> Section:
    """The section."""
    out = Section(
        "capacity",
        "How many people can be held apart?",
        "Collisions are people whose means reach the threshold of means: the number of people from whom on "
        f"{percent(CROWDED)} have a look-alike is counted and fitted. The ratio of hyperspheres is an "
        "upper bound: it takes "
        "the sphere to be filled, and falls where more false matches are allowed.",
    )
    names = np.unique(audited.people)
    if len(names) < 2:
        out.say("note", "Not measured: there is one person.")
        return out
    for seen in audited.looked.by:
        _held(audited, seen, names, out)
    return out


def _held(audited: Audited, seen: Seen, names: NDArray[np.str_], out: Section) -> None:
    people = np.searchsorted(names, audited.people)
    means = audited.once(f"means of {seen.by}", lambda: means_of(seen.vectors, people))
    at, rate, how = _threshold(audited, seen, means)
    rng = np.random.default_rng(audited.seed)
    some = np.arange(len(means)) if len(means) <= MOST_PEOPLE else np.sort(rng.choice(len(means), MOST_PEOPLE, False))
    apart = Separability.measure(torch.from_numpy(means[some]), names[some], at)
    pairs = collisions(means[some], at)
    grown = growth(pairs, len(some), audited.seed)
    met = fmr_rate(pairs, np.ones(len(pairs)), np.ones(len(some)))
    first = np.unique(people, return_index=True)[1][:_SINGLES]
    margin = 0.5 * math.acos(float(np.clip(audited.threshold(seen).value, -1, 1)))
    angles = spread_angle(seen.vectors[first]), within_angle(seen.vectors, people)
    ratio = sphere_ratio(*angles, margin, seen.vectors.shape[1])
    out.add("threshold of means", at, by=seen.by)
    out.add("unique people", apart.unique, by=seen.by, count=len(some))
    out.add_rate("pairs of people that collide", met, by=seen.by)
    out.add("people with a look-alike", float(grown.shares[-1]), by=seen.by, count=len(some))
    crowded = grown.half if math.isfinite(grown.half) else None
    out.add(f"people until {percent(CROWDED)} collide", crowded, low=grown.low, high=grown.high, by=seen.by)
    out.add("ratio of hyperspheres", ratio, by=seen.by)
    out.details[seen.by] = {"angles": [*angles, margin], "fit": [grown.rate, grown.power], "threshold": how}
    doubles = len(np.unique(doubled(means[some], seen.vectors, people, audited.some())))
    out.add("people there twice", doubles, by=seen.by, count=len(some))
    _in_words(seen, apart, grown, rate, how, ratio, doubles, out)
    wide = np.geomspace(2, max(grown.people[-1] * 10, 100), 80)
    lines = [("counted", "genuine", grown.people, grown.shares), ("fitted", "second", wide, grown.at(wide))]
    drawn = charts.curves(lines, "people", "share with a look-alike", log=True)
    named = legend([("genuine", "counted"), ("second", "fitted")])
    out.html.append(f"<h3>By {seen.by}</h3><figure>{drawn}{named}</figure>")


def means_of(vectors: NDArray[np.float32], people: NDArray[np.intp]) -> NDArray[np.float32]:
    """(G, D) unit means, without a copy of the vectors (N, D); people (N,) are numbered from 0."""
    sums = torch.zeros(int(people.max()) + 1, vectors.shape[1])
    for start in range(0, len(vectors), 65536):
        part = slice(start, start + 65536)
        sums.index_add_(0, torch.from_numpy(people[part]), torch.from_numpy(np.array(vectors[part])))
    return normalize(sums).numpy()


def _threshold(audited: Audited, seen: Seen, means: NDArray[np.float32]) -> tuple[float, float, str]:
    """From which cosine two people's means are one person's."""
    domain = audited.looked.source.domain
    if known := meaning(seen.calibrations, domain, "mean-mean", audited.fmr):
        return known.threshold, known.fmr, f"the recogniser's for means, {one_in(known.fmr)}, on {pictures(domain)}"
    found = audited.threshold(seen)
    return found.value, found.fmr, f"that of pictures: {found.how}"


def _in_words(
    seen: Seen, apart: Separability, grown: Growth, rate: float, how: str, ratio: float, doubles: int, out: Section
) -> None:
    chance = 1 - (1 - rate) ** (apart.people - 1)  # of a look-alike, for people that are as strangers to each other
    out.say(
        "note",
        f"By {seen.by}, {apart.unique:,} of {count(apart.people, 'person', 'people')} are unique at "
        f"{apart.threshold:.2f}, "
        f"{how}; {percent(float(grown.shares[-1]))} have a look-alike, where strangers at this rate would in "
        f"{percent(chance)}.",
    )
    if doubles > max(1, _DOUBLED * apart.people):
        out.say(
            "bad",
            f"{count(doubles, 'person has', 'people have')} somebody as near, by {seen.by}, as one "
            "person's own pictures "
            f"are to each other: they may be there twice, such as {' and '.join(apart.closest)} "
            f"({apart.nearest_max:.2f}).",
        )
    if math.isfinite(grown.half):
        ends = "" if grown.low is None or grown.high is None else f" ({grown.low:,.0f} to {grown.high:,.0f})"
        out.say(
            "note", f"From about {grown.half:,.0f} people{ends} on, {percent(CROWDED)} have a look-alike, by {seen.by}."
        )
    elif grown.low is not None and grown.low >= apart.people:
        out.say(
            "note",
            f"No two people collide: surely below {percent(CROWDED)} up to {grown.low:,.0f} people, by {seen.by}.",
        )
    bound = f"{ratio:,.3g} people at most" if ratio < _EVERYBODY else "more people than there are, so it bounds nothing"
    out.say("note", f"The ratio of hyperspheres allows {bound}, by {seen.by}.")
