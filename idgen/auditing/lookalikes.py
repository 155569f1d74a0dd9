"""Look-alikes and copies: twins, people of another set, pasted references, and the same picture twice."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from idgen.auditing.capacity import means_of
from idgen.auditing.looking import Looked, Seen
from idgen.auditing.section import Audited, Section
from idgen.evaluation.attributes import some_people
from idgen.evaluation.leakage import leakage
from idgen.evaluation.page import pair, picture
from idgen.ground.words import count, percent
from idgen.sampling.separation import nearest_other
from idgen.scoring import verification
from idgen.scoring.intervals import fnmr_rate

ALIKE = 0.98
"""Thumbnails that correlate so strongly are one picture, or nearly."""
TWINS = 0.05
"""Share of the people who are looked at as twins: those nearest to somebody else."""
_CONFUSED = 0.8
_MANY = 0.01
_MOST_COPIES = 2_000_000
_MOST_SEARCHED = 200_000
_LOW = 8  # frequencies a side
_BLOCK, _WIDE = 1024, 16384
_SHOWN = 8


@dataclass(frozen=True)
class Twins:
    """People chosen by one recogniser as nearest to somebody else, judged by another.

    Args:
        pairs: (T, 2) numbers of the people.
        auc: chance that the other recogniser puts two pictures of one of them above one of each.
        auc_of_all: the same of any two people.
    """

    pairs: NDArray[np.intp]
    auc: float
    auc_of_all: float


def twins(
    chooser: NDArray[np.float32],
    judge: NDArray[np.float32],
    people: NDArray[np.intp],
    share: float = TWINS,
    seed: int = 0,
) -> Twins:
    """The twins test: choosing and judging by one recogniser would be selection on the outcome.

    Args:
        chooser, judge: (N, D) and (N, E) unit vectors of the same pictures.
        people: (N,) numbered from 0; somebody has two pictures.
        share: of the people.
        seed: of the pairs of any people.
    """
    means = means_of(chooser, people)
    cosine, other = (each.numpy() for each in nearest_other(torch.from_numpy(means)))
    first = np.argsort(-cosine, kind="stable")[: max(2, round(share * len(means)))]
    pairs = np.unique(np.sort(np.stack([first, other[first]], 1), axis=1), axis=0)
    rows = _rows(people)
    genuine = np.concatenate([_within(judge[rows[who]]) for who in np.unique(pairs)])
    between = np.concatenate([(judge[rows[a]] @ judge[rows[b]].T).ravel() for a, b in pairs])
    rng = np.random.default_rng(seed)
    chance = rng.integers(0, len(means), (max(200, len(pairs)), 2))
    chance = chance[chance[:, 0] != chance[:, 1]]
    strangers = np.concatenate([(judge[rows[a]] @ judge[rows[b]].T).ravel() for a, b in chance])
    own = np.concatenate([_within(judge[rows[who]]) for who in np.unique(chance)])
    if not len(genuine) or not len(own):
        return Twins(pairs, float("nan"), float("nan"))
    return Twins(pairs, verification.auc(genuine, between), verification.auc(own, strangers))


def _rows(people: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    order = np.argsort(people, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(people[order])) + 1)


def _within(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]


def copy_paste(generated: NDArray[Any], reference: NDArray[Any], others: NDArray[Any]) -> tuple[float, bool]:
    """How much a picture is its reference rather than its person (WithAnyone 2025), and whether it is nearer to the
    reference than any other picture of the person is.

    (θ(g, t) − θ(g, r))/θ(t, r), on average over the person's other pictures t: 1 is the reference itself, 0 as near to
    one as to the other.

    Args:
        generated, reference: (D,) unit vectors.
        others: (T, D) of the person's other real pictures.
    """
    cosines = others @ generated, reference @ generated, others @ reference
    to_targets, to_reference, apart = (np.arccos(np.clip(np.asarray(x, float), -1, 1)) for x in cosines)
    known = apart > 1e-6
    score = float(((to_targets - to_reference)[known] / apart[known]).mean()) if known.any() else 0.0
    return score, bool(to_reference < apart.min())


def near_duplicates(thumbnails: NDArray[np.uint8], correlation: float = ALIKE) -> NDArray[np.intp]:
    """(E, 2) pairs of pictures whose thumbnails (N, 1024) correlate so strongly, exactly, in one blocked pass.

    Unit vectors at a correlation c are at a squared distance of 2 − 2c, and no projection makes it longer: those whose
    63 lowest frequencies are farther apart are none, and of the few others all 1,024 numbers are compared.
    """
    low = _frequencies(thumbnails)
    norms = np.square(low).sum(1, keepdims=True) / 2
    ones = np.ones_like(norms)
    left, right = np.hstack([low, -norms, ones]), np.hstack([low, ones, -norms])
    found, limit = [], np.float32(-(1 - correlation) - 1e-5)
    for start in range(0, len(low), _BLOCK):
        ours = _units(thumbnails[start : start + _BLOCK])
        for first in range(start, len(low), _WIDE):
            near = left[start : start + _BLOCK] @ right[first : first + _WIDE].T >= limit
            pairs = np.argwhere(near) + np.array([start, first])
            pairs = pairs[pairs[:, 0] < pairs[:, 1]]
            for part in np.array_split(pairs, len(pairs) // 65536 + 1):
                alike = (ours[part[:, 0] - start] * _units(thumbnails[part[:, 1]])).sum(1) >= correlation
                found.append(part[alike])
        if sum(map(len, found)) > _MOST_COPIES:
            break
    return np.concatenate(found) if found else np.zeros((0, 2), np.intp)


def _units(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    values = np.asarray(thumbnails, np.float32)
    values = values - values.mean(1, keepdims=True)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)


def _frequencies(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 63) the lowest terms of the cosine transform of (N, 1024), an orthonormal projection."""
    at = (np.arange(32) + 0.5) * np.pi / 32
    basis = np.cos(np.arange(_LOW)[:, None] * at) * np.sqrt(2 / 32)
    basis[0] /= np.sqrt(2)
    plane = np.einsum("ax,by->abxy", basis, basis).reshape(_LOW**2, 1024)[1:].T.astype(np.float32)
    parts = [_units(thumbnails[start : start + _BLOCK]) @ plane for start in range(0, len(thumbnails), _BLOCK)]
    return np.concatenate(parts)


def components(pairs: NDArray[np.intp], size: int) -> list[NDArray[np.intp]]:
    """The groups of two or more that pairs (E, 2) connect, of so many, the largest first."""
    root = np.arange(size)

    def find(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = int(root[node])
        return node

    for a, b in pairs.tolist():
        one, other = find(a), find(b)
        root[max(one, other)] = min(one, other)
    members = np.unique(pairs)
    roots = np.array([find(int(node)) for node in members])
    groups = [members[roots == each] for each in np.unique(roots)]
    return sorted(groups, key=len, reverse=True)


def section(audited: Audited) -> Section:
    """The section."""
    out = Section(
        "lookalikes",
        "Look-alikes and copies",
        "Twins are the people whom one recogniser finds nearest to somebody else; another one says whether it can tell "
        "them apart. People of the other set are looked for against what chance makes of strangers. "
        "Copies are found by "
        "their pixels, since one recogniser's nearest pictures are the same pose, not the same picture.",
    )
    _twins(audited, out)
    if audited.against is None:
        out.say("note", "Overlap with another set was not looked for: --against SET.")
    else:
        _overlap(audited, audited.against, out)
        _pasted(audited, audited.against, out)
    _copies(audited, out)
    return out


def _twins(audited: Audited, out: Section) -> None:
    names, people = np.unique(audited.people, return_inverse=True)
    if len(names) < 10:
        out.say("note", "No twins test: it needs ten people or more.")
        return
    if len(audited.looked.by) < 2:
        out.say("note", "No twins test: twins are chosen by one recogniser and judged by another; give two, --by.")
    for chooser in audited.looked.by:
        for judge in audited.looked.by:
            if chooser is judge:
                continue
            found = twins(chooser.vectors, judge.vectors, people, seed=audited.seed)
            named = f"chosen by {chooser.by}"
            out.add("AUC of twins", found.auc, by=judge.by, group=named, count=len(found.pairs))
            out.add("AUC of any two", found.auc_of_all, by=judge.by, group=named)
            confused = found.auc < _CONFUSED * found.auc_of_all
            a, b = (str(names[who]) for who in found.pairs[0])
            out.say(
                "bad" if confused else "note",
                f"{count(len(found.pairs), 'pair', 'pairs')} of people whom {chooser.by} finds nearest, "
                f"such as {a} and {b}: "
                f"{judge.by} tells their pictures apart {percent(found.auc)} of the time, any two people's "
                f"{percent(found.auc_of_all)}.",
            )


def _overlap(audited: Audited, against: Looked, out: Section) -> None:
    for seen in audited.looked.by:
        other = audited.other(seen)
        if other is None:
            continue
        ours, theirs = (
            some_people(one.source.labels, np.arange(len(one.source)), _MOST_SEARCHED, audited.seed)
            for one in (audited.looked, against)
        )
        if len(np.unique(against.source.labels[theirs])) < 2:
            out.say("note", f"{against.source.name} has one person: chance cannot be measured on it.")
            return
        searches = leakage(
            torch.from_numpy(seen.vectors[ours]),
            audited.people[ours],
            torch.from_numpy(other.vectors[theirs]),
            against.source.labels[theirs],
            audited.seed,
        )
        for search in searches:
            found: dict[str, Any] = {"by": seen.by, "group": search.kind, "count": search.probes}
            out.add("overlap alarms", len(search.alarms), high=float(search.plausible), **found)
            out.add("overlap copies", search.copies, **found)
        leaks = [search for search in searches if search.leaks]
        if not leaks:
            out.say(
                "good", f"No more of {against.source.name} in this set than chance makes of strangers, by {seen.by}."
            )
            continue
        worst = max(leaks, key=lambda search: len(search.alarms))
        out.say(
            "bad",
            f"People of {against.source.name} are in this set, by {seen.by}: {len(worst.alarms):,} of {worst.probes:,} "
            f"({worst.kind}) come as near as 1 in {1 / worst.rate:,.0f} strangers do, where chance makes "
            f"{worst.expected:.1f} and hardly ever over {worst.plausible:,}; {worst.copies:,} are copies.",
        )


def _pasted(audited: Audited, against: Looked, out: Section) -> None:
    """Of people who are in both sets: are pictures nearer to the reference than they ought to be?"""
    names = {str(name): row for row, name in enumerate(against.source.names)}
    said = audited.looked.source.columns.get("reference")
    rows_of = {str(who): np.flatnonzero(against.source.labels == who) for who in np.unique(against.source.labels)}
    both = [row for row, who in enumerate(audited.people) if len(rows_of.get(str(who), ())) > 2]
    if not both:
        return
    for seen in audited.looked.by:
        if (other := audited.other(seen)) is None:
            continue
        scores, nearer, chances, who = [], [], [], []
        at = audited.threshold(seen).value
        for row in both:
            theirs = rows_of[str(audited.people[row])]
            shown = theirs[0] if said is None else names.get(str(said[row]), -1)
            if shown not in theirs:
                continue
            if float((other.vectors[theirs] @ seen.vectors[row]).max()) < at:  # another person of that name
                continue
            rest = theirs[theirs != shown]
            score, near = copy_paste(seen.vectors[row], other.vectors[shown], other.vectors[rest])
            scores.append(score)
            nearer.append(near)
            chances.append(1 / (len(rest) + 1))
            who.append(audited.people[row])
        out.add("pictures like their person in the other set", len(scores), by=seen.by, count=len(both))
        if scores:
            _say_pasted(seen, scores, nearer, chances, who, said is not None, out)


def _say_pasted(
    seen: Seen, scores: list[float], nearer: list[bool], chances: list[float], who: list[str], told: bool, out: Section
) -> None:
    people = np.unique(who, return_inverse=True)[1]
    wrong, all_ = np.bincount(people, np.array(nearer, float)), np.bincount(people)
    rate, chance = fnmr_rate(wrong, all_), float(np.mean(chances))
    out.add("copy-paste score", float(np.mean(scores)), by=seen.by, count=len(scores))
    out.add_rate("nearer to the reference than any real picture", rate, by=seen.by)
    out.add("the same by chance", chance, by=seen.by)
    share = float(np.mean(nearer))
    which = "the picture that was shown" if told else "the person's first picture"
    pasted = share > chance + 3 * (chance / len(all_)) ** 0.5
    out.say(
        "bad" if pasted else "good",
        f"{percent(share)} of the pictures are nearer to {which} than any other real picture of the "
        f"person is, by {seen.by}; "
        f"of real pictures {percent(chance)} would be. The copy-paste score is {np.mean(scores):.2f} (1 is a copy).",
    )


def _copies(audited: Audited, out: Section) -> None:
    thumbnails = audited.looked.thumbnails
    if thumbnails is None:
        out.say("note", "Copies were not looked for: there are no pictures.")
        return
    pairs = near_duplicates(thumbnails)
    if len(pairs) > _MOST_COPIES:
        out.say(
            "bad", f"There are over {_MOST_COPIES:,} pairs of near-duplicates: what follows is of the first pictures."
        )
    people = audited.people
    within = people[pairs[:, 0]] == people[pairs[:, 1]]
    for kind, chosen in (("one person", within), ("different people", ~within)):
        groups = components(pairs[chosen], len(people))
        spare = sum(len(group) - 1 for group in groups)
        out.add("near-duplicates", spare, group=kind, count=len(people))
        out.add("groups of near-duplicates", len(groups), group=kind)
        worse = spare > (_MANY * len(people) if kind == "one person" else 0)
        said = f"{count(spare, 'picture is', 'pictures are')} nearly the same as another one of {kind}"
        out.say(
            "bad" if worse else "good" if not spare else "note",
            f"{said}, in {count(len(groups), 'group', 'groups')}.",
        )
        source = audited.looked.source
        if groups and source.open is not None:
            cells = ""
            for one, other in (group[:2] for group in groups[:_SHOWN]):
                both = picture(source, int(one)) + picture(source, int(other))
                cells += pair(both, escape(f"{source.names[one]}, {source.names[other]}"))
            out.html.append(f'<h3>Near-duplicates of {kind}</h3><div class="pairs">{cells}</div>')
