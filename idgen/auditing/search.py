"""1:N: is somebody found among many, and is somebody found who is not there?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idgen.auditing.looking import Seen
from idgen.auditing.section import Audited, Section
from idgen.evaluation import charts
from idgen.evaluation.page import heads, legend, table
from idgen.ground.words import count, percent
from idgen.scoring.intervals import Rate, fnmr_rate
from idgen.scoring.verification import unit

MOST_PEOPLE = 20_000
"""People who are enrolled, of larger sets drawn at random."""
RATES = (0.1, 0.01)
_WRONG = 0.005
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """A search of probes among templates.

    Args:
        rank: (P,) of each probe's own template; other templates with the same score go before it.
        own: (P,) the score of that.
        strangers: (Q,) the highest score of each probe of somebody who is not enrolled.
        who: (P,) whose each probe is.
    """

    rank: NDArray[np.intp]
    own: Floats
    strangers: Floats
    who: NDArray[np.intp]

    def within(self, rank: int = 1, threshold: float = -np.inf) -> Rate:
        """Probes that miss: not among so many best, or below a threshold; with an interval over people."""
        hit = (self.rank <= rank) & (self.own >= threshold)
        numbers = np.unique(self.who, return_inverse=True)[1]
        return fnmr_rate(np.bincount(numbers, ~hit), np.bincount(numbers))

    def threshold(self, fpir: float) -> float | None:
        """The lowest threshold at which at most this share of the strangers finds anybody; None where there are too few
        strangers to say."""
        if not len(self.strangers) or fpir < 1 / len(self.strangers):
            return None
        scores = np.sort(self.strangers)
        allowed = int(np.floor(fpir * len(scores) * (1 + 1e-12)))
        return float(np.nextafter(scores[len(scores) - allowed - 1], np.float32(np.inf)))


def template(vectors: ArrayLike) -> Floats:
    """(D,) of several pictures of one person: the sum of their unit vectors (N, D), of unit length."""
    return unit(unit(np.asarray(vectors, np.float32)).sum(0, keepdims=True))[0]


def search(templates: Floats, probes: Floats, who: NDArray[np.intp], strangers: Floats) -> Found:
    """Search in blocks.

    Args:
        templates: (N, D) of everybody enrolled.
        probes: (P, D) of people who are enrolled, and who: (P,) their template's row.
        strangers: (Q, D) of people who are not.
    """
    rank, own = np.empty(len(probes), np.intp), np.empty(len(probes), np.float32)
    for start in range(0, len(probes), 1024):
        block = slice(start, start + 1024)
        scores = probes[block] @ templates.T
        mine = scores[np.arange(len(scores)), who[block]]
        own[block], rank[block] = mine, (scores >= mine[:, None]).sum(1)
    best = [(strangers[start : start + 1024] @ templates.T).max(1) for start in range(0, len(strangers), 1024)]
    return Found(rank, own, np.concatenate(best) if best else np.zeros(0, np.float32), who)


def section(audited: Audited) -> Section:
    """The section."""
    out = Section(
        "search",
        "Is somebody found among many?",
        "Half of the people are enrolled by half of their pictures, once by a single one and once by a "
        "template of all of "
        "these; their other pictures are looked up, and so are all of the people who are not enrolled. "
        "Ties count against "
        "us. A result without the number of people enrolled means nothing: with more, strangers are found more often.",
    )
    names, people = np.unique(audited.people, return_inverse=True)
    several = np.flatnonzero(np.bincount(people) > 1)
    if len(several) < 2 or len(names) < 4:
        out.say("note", "Not measured: at least two people with two pictures, and two others, are needed.")
        return out
    rng = np.random.default_rng(audited.seed)
    enrolled = np.sort(rng.permutation(several)[: min(MOST_PEOPLE, max(1, len(names) // 2))])
    for seen in audited.looked.by:
        _search(audited, seen, people, enrolled, out)
    return out


def _search(audited: Audited, seen: Seen, people: NDArray[np.intp], enrolled: NDArray[np.intp], out: Section) -> None:
    place = np.full(int(people.max()) + 1, -1)
    place[enrolled] = np.arange(len(enrolled))
    order = np.argsort(people, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(people[order])) + 1)
    halves = [groups[who][: max(1, len(groups[who]) // 2)] for who in enrolled]
    used = np.zeros(len(people), bool)
    used[np.concatenate(halves)] = True
    probes = np.flatnonzero((place[people] >= 0) & ~used)
    others = np.flatnonzero(place[people] < 0)[: 4 * MOST_PEOPLE]
    rows, lines = [], []
    kinds = {"one picture": [half[:1] for half in halves], "a template of several": halves}
    if all(len(half) == 1 for half in halves):
        del kinds["a template of several"]
    for line, (kind, chosen) in zip(("impostor", "genuine"), kinds.items(), strict=False):
        templates = np.stack([template(seen.vectors[half]) for half in chosen])
        found = search(templates, seen.vectors[probes], place[people[probes]], seen.vectors[others])
        rows.append(_figures(found, seen, kind, len(templates), out))
        ranks = np.unique(np.geomspace(1, len(templates), 24).astype(int))
        lines.append((kind, line, ranks, [float((found.rank <= rank).mean()) for rank in ranks]))
    drawn = charts.curves(lines, "rank", "share found within it", log=True)
    head = heads(["enrolled by", "rank 1", *(f"TPIR at FPIR {percent(rate)}" for rate in RATES)])
    named = legend([(line, kind) for kind, line, *_ in lines])
    out.html.append(
        f"<h3>By {seen.by}, {len(enrolled):,} enrolled</h3><figure>{drawn}{named}</figure>{table(head, rows)}"
    )
    _wrong(audited, seen, probes, found, templates, out)


def _figures(found: Found, seen: Seen, kind: str, size: int, out: Section) -> list[str]:
    named: dict[str, Any] = {"by": seen.by, "group": f"{kind}, {size} enrolled"}
    miss = found.within()
    out.add("rank-1", *_turned(miss), count=miss.comparisons, **named)
    cells, said = [kind, _ends(miss)], [f"{_ends(miss)} of the probes at rank 1"]
    for rate in RATES:
        at = found.threshold(rate)
        if at is None:
            out.add(f"TPIR at FPIR {rate:g}", None, count=len(found.strangers), **named)
            cells.append("too few strangers")
            continue
        missed = found.within(1, at)
        out.add(f"TPIR at FPIR {rate:g}", *_turned(missed), count=missed.comparisons, **named)
        cells.append(_ends(missed))
        said.append(f"{_ends(missed)} where {percent(rate)} of the strangers are taken for somebody")
    out.say("note", f"By {seen.by}, {count(size, 'person', 'people')} enrolled by {kind}: found are {', '.join(said)}.")
    return cells


def _turned(miss: Rate) -> tuple[float | None, float | None, float | None]:
    """What is found, of what is missed."""
    if miss.value is None or miss.low is None or miss.high is None:
        return None, None, None
    return 1 - miss.value, 1 - miss.high, 1 - miss.low


def _ends(miss: Rate) -> str:
    value, low, high = _turned(miss)
    if value is None or low is None or high is None:
        return f"{miss.comparisons - miss.errors:,} of {miss.comparisons:,} (too few people for a rate)"
    return f"{percent(value)} ({percent(low)} to {percent(high)})"


def _wrong(
    audited: Audited, seen: Seen, probes: NDArray[np.intp], found: Found, templates: Floats, out: Section
) -> None:
    """Pictures that are no more like their own person than strangers are, and as like another as people are to
    themselves: they may carry a wrong name."""
    if not len(found.strangers):
        return
    low, high = float(np.median(found.strangers)), float(np.median(found.own))
    suspects = np.flatnonzero((found.rank > 1) & (found.own < low))
    best = np.array([float((templates @ seen.vectors[probes[row]]).max()) for row in suspects])
    wrong = suspects[best >= high] if len(suspects) else suspects
    out.add("pictures under another's name", len(wrong), by=seen.by, count=len(probes))
    if len(wrong) > max(1, _WRONG * len(probes)):
        some = ", ".join(str(audited.looked.source.names[probes[row]]) for row in wrong[:3])
        out.say(
            "bad",
            f"{count(len(wrong), 'picture is', 'pictures are')} like another person than the one it is named after, by "
            f"{seen.by}: such as {some}.",
        )
