"""How good are the pictures for recognition, and does a measure of quality know?

A measure is judged as ISO/IEC 29794-1 has it, by error versus discard: the pairs of one person with the lowest quality
go first, a pair's quality is its worse picture's, and FNMR is taken of those that are left, at one threshold of all.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageFilter

from idgen.auditing.looking import Seen
from idgen.auditing.section import Audited, Section
from idgen.evaluation import charts
from idgen.evaluation.page import heads, legend, table
from idgen.faces.rating import CERTAINTY, NORM
from idgen.ground.words import percent
from idgen.scoring.verification import numbered

MOST_DISCARDED = 0.3
FEWEST_ERRORS = 100
"""Wrong pairs without which an area is noise."""
_REPEATS = 200
_DEGRADED = 96
_SMALL = 8  # pixels that an unrecognisable face has a side
_FAULTY = 0.01
_KINDS = ("genuine", "second", "impostor", "third")
WORDS = {NORM: "length of the vector", CERTAINTY: "CR-FIQA"}

Floats = NDArray[np.float64]


class Discard(NamedTuple):
    """FNMR (K,) of the pairs that are left from a discarded share (K,) on, to the next; ties go together."""

    shares: Floats
    fnmr: Floats

    def area(self, most: float = MOST_DISCARDED) -> float:
        """Under the steps up to a share; NaN where nothing is left before it."""
        edges = np.append(self.shares[self.shares < most], most)
        values = self.fnmr[: len(edges) - 1]
        return float((np.diff(edges) * values).sum())


def error_versus_discard(misses: ArrayLike, quality: ArrayLike, weights: ArrayLike | None = None) -> Discard:
    """The curve.

    Args:
        misses: (P,) whether each pair of one person is missed at the threshold.
        quality: (P,) of each pair.
        weights: (P,) how often each counts; by default once.
    """
    order = np.argsort(np.asarray(quality, float), kind="stable")
    wrong, value = np.asarray(misses, float)[order], np.asarray(quality, float)[order]
    weight = np.ones(len(order)) if weights is None else np.asarray(weights, float)[order]
    first = np.flatnonzero(np.append(True, np.diff(value) != 0))  # where a group of ties begins, all before it gone
    left, missed = np.cumsum(weight[::-1])[::-1][first], np.cumsum((weight * wrong)[::-1])[::-1][first]
    keep = left > 0
    return Discard(1 - left[keep] / weight.sum(), missed[keep] / left[keep])


def ideal_area(fnmr: float, most: float = MOST_DISCARDED) -> float:
    """Under max(0, (FNMR − u)/(1 − u)), of a measure that discards exactly the wrong pairs."""
    end = min(fnmr, most)
    return end + (1 - fnmr) * math.log1p(-end) if end < 1 else end


def pair_quality(people: NDArray[np.intp], quality: ArrayLike) -> tuple[NDArray[np.intp], Floats]:
    """All pairs (P, 2) of pictures of one person, and the lower quality (P,) of the two."""
    order = np.argsort(people, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(people[order])) + 1)
    pairs = [np.stack([who[a] for a in np.triu_indices(len(who), 1)], 1) for who in groups]
    both = np.concatenate(pairs)
    return both, np.asarray(quality, float)[both].min(1)


def recognisability(vectors: ArrayLike, centre: ArrayLike) -> Floats:
    """(N,) distance min(1 − cos, 1) of unit vectors (N, D) from the centre (D,) of faces that cannot be recognised
    (Deng et al. 2021): higher is better."""
    return np.minimum(1 - np.asarray(vectors, float) @ np.asarray(centre, float), 1)


def ruined(picture: Image.Image) -> Image.Image:
    """A face that nobody can be recognised by: of 8 × 8 pixels, and blurred."""
    return picture.resize((_SMALL, _SMALL)).resize(picture.size).filter(ImageFilter.GaussianBlur(picture.width / 24))


def section(audited: Audited) -> Section:
    """The section."""
    out = Section(
        "quality",
        "How good are the pictures for recognition?",
        "Error versus discard: pairs of one person with the lowest quality go first, at one threshold of all. The area "
        f"is that under FNMR up to {percent(MOST_DISCARDED)} discarded, as a share of that of discarding at random.",
    )
    raters = [seen for seen in audited.looked.by if seen.recogniser is not None or seen.quality]
    if not raters:
        out.say("note", "Not measured: a file of vectors says nothing of its pictures.")
        return out
    measures: dict[str, Floats] = {
        f"{WORDS.get(name, name)} by {seen.by}": np.asarray(values, float)
        for seen in raters
        for name, values in seen.quality.items()
        if len(values) and float(np.ptp(values)) > 0
    }
    for seen in audited.looked.by:
        if (found := _unrecognisable(audited, seen, out)) is not None:
            measures[f"recognisability by {seen.by}"] = found
    for name, values in measures.items():
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        out.add("median quality", float(middle), group=name, count=len(values))
        out.details[name] = {"5 %": float(low), "50 %": float(middle), "95 %": float(high)}
    for seen in audited.looked.by:
        _judged(audited, seen, measures, out)
    return out


def _unrecognisable(audited: Audited, seen: Seen, out: Section) -> Floats | None:
    """Distances from the cluster of ruined faces; None where they make none."""
    source = audited.looked.source
    if seen.recogniser is None or source.open is None:
        return None
    order = np.random.default_rng(audited.seed).permutation(len(audited.people))
    chosen = order[np.unique(audited.people[order], return_index=True)[1]][:_DEGRADED]  # one of each person
    if len(chosen) < 3:
        return None
    bad = seen.recogniser.encode([ruined(source.open(int(row))) for row in chosen]).numpy()
    apart = ~np.eye(len(chosen), dtype=bool)
    clean = seen.vectors[chosen] @ seen.vectors[chosen].T
    if float(np.median((bad @ bad.T)[apart])) <= float(np.quantile(clean[apart], 0.95)):
        out.say("note", f"By {seen.by} ruined faces lie no nearer to each other than clean ones: no recognisability.")
        return None
    centre = torch.nn.functional.normalize(torch.from_numpy(bad.mean(0)), dim=0).numpy()
    found = recognisability(seen.vectors, centre)
    limit = float(np.quantile(recognisability(bad, centre), 0.9))
    share = float((found <= limit).mean())
    out.add("unrecognisable", share, by=seen.by, count=len(found))
    if share > _FAULTY:
        out.say(
            "bad",
            f"{percent(share)} of the pictures look to {seen.by} like faces of 8 × 8 pixels, which nobody can be "
            f"recognised by: such as {source.names[int(found.argmin())]}.",
        )
    return found


def _judged(audited: Audited, seen: Seen, measures: dict[str, Floats], out: Section) -> None:
    """All measures by one recogniser's errors."""
    people, threshold = numbered(audited.people, audited.people), audited.threshold(seen)
    pairs, _ = pair_quality(people, np.zeros(len(people)))
    if not len(pairs):
        out.say("note", "Nobody has two pictures: no errors to judge a measure by.")
        return
    cosines = np.concatenate([_products(seen.vectors, part) for part in np.array_split(pairs, len(pairs) // 65536 + 1)])
    misses, who = cosines < threshold.value, people[pairs[:, 0]]
    rate = float(misses.mean())
    if misses.sum() < FEWEST_ERRORS:
        out.say(
            "note",
            f"{seen.by} misses {int(misses.sum()):,} of {len(pairs):,} pairs of one person: fewer than {FEWEST_ERRORS} "
            "are too few to judge a measure of quality by.",
        )
        return
    curves, rows, ideal = [], [], ideal_area(rate)
    flat = MOST_DISCARDED * rate
    norm = next((values for name, values in measures.items() if name == f"{WORDS[NORM]} by {seen.by}"), None)
    for kind, (name, values) in zip((*_KINDS, *_KINDS), measures.items(), strict=False):
        quality = values[pairs].min(1)
        curve = error_versus_discard(misses, quality)
        low, high = _ends(misses, quality, who, audited.seed)
        area = curve.area() / flat
        out.add("area", area, low=low, high=high, by=seen.by, group=name, count=len(pairs))
        cells = [name, f"{area:.3f}", f"{low:.3f} … {high:.3f}"]
        if norm is not None:
            base = error_versus_discard(misses, norm[pairs].min(1)).area()
            ratio = (curve.area() - ideal) / (base - ideal) if base != ideal else math.nan
            out.add("area over the norm's", ratio, by=seen.by, group=name)
            cells.append(f"{ratio:.3f}")
        rows.append(cells)
        shown = curve.shares <= MOST_DISCARDED
        curves.append((name, kind, curve.shares[shown], curve.fnmr[shown]))
        if low > 1:
            out.say(
                "bad", f"{name} is worse than discarding at random, by the errors of {seen.by}: {area:.2f} of its area."
            )
        elif high >= 1:
            out.say("note", f"{name} does no better than discarding at random, by the errors of {seen.by}.")
        else:
            out.say(
                "good",
                f"{name} foresees errors of {seen.by}: {area:.2f} of the area at random ({low:.2f} to {high:.2f}).",
            )
    out.add("area", ideal / flat, by=seen.by, group="ideal", count=len(pairs))
    drawn = charts.curves(curves, "share of the pairs discarded", "FNMR")
    named = legend([(kind, name) for name, kind, *_ in curves])
    head = heads(["measure", "area", "95 %", *(["over the norm's, less the ideal"] if norm is not None else [])])
    out.html.append(f"<h3>By the errors of {seen.by}</h3><figure>{drawn}{named}</figure>{table(head, rows)}")


def _products(vectors: NDArray[np.float32], pairs: NDArray[np.intp]) -> NDArray[np.float32]:
    return (vectors[pairs[:, 0]] * vectors[pairs[:, 1]]).sum(1)


def _ends(misses: NDArray[np.bool_], quality: Floats, who: NDArray[np.intp], seed: int) -> tuple[float, float]:
    """The 95 % interval of the area as a share of that at random, by drawing people again."""
    rng, found, people = np.random.default_rng(seed), [], int(who.max()) + 1
    order = np.argsort(quality, kind="stable")
    misses, quality, who = misses[order], quality[order], who[order]
    for _ in range(_REPEATS if len(misses) < 200_000 else 20):
        weights = np.bincount(rng.integers(0, people, people), minlength=people)[who].astype(float)
        if (rate := float((weights * misses).sum())) > 0:
            found.append(
                error_versus_discard(misses, quality, weights).area() / (MOST_DISCARDED * rate / weights.sum())
            )
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)
