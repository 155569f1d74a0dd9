"""What is measured of a set: comparisons, separability, fidelity, diversity, distances, leakage.

A new one: its maths in a file of its own, its result in `results`, its call in `evaluate`, its sentence in `summary`.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn.functional import normalize

from idgen.evaluation.attributes import some_people
from idgen.evaluation.distance import distances
from idgen.evaluation.diversity import genuine_distance, spread_within
from idgen.evaluation.leakage import Search, leakage
from idgen.evaluation.reading import Embedded, Set
from idgen.evaluation.results import AT, Comparisons, Diversity, Fidelity, Pair
from idgen.evaluation.separability import Separability, precision_recall
from idgen.faces.pose import pitch_from_landmarks, yaw_from_landmarks
from idgen.ground.arguments import FMR
from idgen.ground.domain import against, pictures
from idgen.ground.errors import InputError
from idgen.ground.words import one_in
from idgen.model import Model
from idgen.scoring import meaning
from idgen.scoring.verification import Verification, numbered, pair_blocks, pair_scores

MOST_COMPARED = 12_000
"""Pictures that are all compared with each other; of larger sets a random part of the people. Pairs of one person are
always all compared."""
WORST = 8


class Listed(NamedTuple):
    """Pairs of pictures: (P,) and (P,) numbers of the pictures, and (P,) whether they are one person."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    same: NDArray[np.bool_]


def read_pairs(path: str | Path, names: ArrayLike) -> Listed:
    """A pair list, of pictures with these names.

    A line is `first second 1`, parted by tabs, commas or spaces; empty lines and those that begin with # are skipped.

    Raises:
        InputError: a line is something else, names a picture that is not there, or one kind of pair is missing.
    """
    rows = {str(name): row for row, name in enumerate(np.asarray(names))}
    found: list[tuple[int, int, bool]] = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The pair list {path} cannot be read ({error}).") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        mark = next((mark for mark in ("\t", ",") if mark in line), " ")
        parts = [part.strip() for part in next(csv.reader([line], delimiter=mark)) if part.strip()]
        if len(parts) != 3 or parts[2] not in ("0", "1"):
            raise InputError(f"Line {number} of {path} is not `picture picture 1` (or 0): {line[:80]!r}.")
        if strange := [part for part in parts[:2] if part not in rows]:
            which = f"names {strange[0]!r}, which is no picture of the set; its first is called {next(iter(rows))!r}"
            raise InputError(f"Line {number} of {path} {which}.")
        found.append((rows[parts[0]], rows[parts[1]], parts[2] == "1"))
    if {same for _, _, same in found} != {True, False}:
        raise InputError(f"{path} needs pairs of one person and pairs of different people, and lacks one kind.")
    first, second, same = zip(*found, strict=True)
    return Listed(np.array(first, np.intp), np.array(second, np.intp), np.array(same, bool))


def compare_listed(embedded: Embedded, pairs: Listed) -> Comparisons:
    """The listed pairs of a set."""
    vectors = embedded.vectors.numpy()
    cosines = (vectors[pairs.first] * vectors[pairs.second]).sum(1)
    order = np.argsort(cosines)
    lowest, highest = (
        [Pair(int(pairs.first[i]), int(pairs.second[i]), float(cosines[i])) for i in rows[:WORST]]
        for rows in (order[pairs.same[order]], order[::-1][~pairs.same[order[::-1]]])
    )
    genuine, impostor, seen = cosines[pairs.same], cosines[~pairs.same], np.union1d(pairs.first, pairs.second)
    result = Verification.measure(genuine, impostor)
    return Comparisons(embedded.by, embedded.space, genuine, impostor, result, lowest, highest, len(seen))


def compare_all(embedded: Embedded, labels: NDArray[Any], seed: int = 0) -> Comparisons:
    """All pairs of a set; see `MOST_COMPARED` for large ones."""
    vectors = embedded.vectors.numpy()
    rows = some_people(labels, np.arange(len(labels)), MOST_COMPARED, seed)
    genuine, impostor = pair_scores(vectors[rows], labels[rows])
    if len(rows) < len(labels):
        genuine = genuine_scores(vectors, labels)
    lowest, highest = (
        [Pair(int(rows[pair.first]), int(rows[pair.second]), pair.cosine) for pair in found]
        for found in worst_pairs(vectors[rows], labels[rows], WORST)
    )
    result = Verification.measure(genuine, impostor)
    return Comparisons(embedded.by, embedded.space, genuine, impostor, result, lowest, highest, len(rows))


def genuine_scores(vectors: NDArray[np.float32], labels: NDArray[Any]) -> NDArray[np.float32]:
    """Cosines of all pairs of one person, of unit vectors (N, D)."""
    index = numbered(vectors, labels)
    order = np.argsort(index, kind="stable")
    people = np.split(order, np.flatnonzero(np.diff(index[order])) + 1)
    return np.concatenate([(vectors[who] @ vectors[who].T)[np.triu_indices(len(who), 1)] for who in people])


def worst_pairs(vectors: NDArray[np.float32], labels: NDArray[Any], count: int) -> tuple[list[Pair], list[Pair]]:
    """The least similar pairs of one person (one a person), and the most similar of different people (one a pair of
    them).

    Args:
        vectors: (N, D) of unit length.
        labels: (N,)
        count: how many of each.
    """
    wide = 8 * count
    low: list[tuple[float, int, int]] = []
    high: list[tuple[float, int, int]] = []
    for start, products, same, other in pair_blocks(vectors, labels):
        for found, sign, mask in ((low, 1, same), (high, -1, other)):
            scores = np.where(mask, sign * products, np.inf).ravel()
            best = np.argpartition(scores, min(wide, scores.size - 1))[:wide]
            for i in best[np.isfinite(scores[best])].tolist():
                row, column = divmod(i, products.shape[1])
                found.append((float(scores[i]), start + row, start + column))
            found.sort()
            del found[8 * wide :]

    def first_of_each(found: list[tuple[float, int, int]], sign: int) -> list[Pair]:
        people: dict[frozenset[Any], Pair] = {}
        for score, a, b in found:
            people.setdefault(frozenset((labels[a], labels[b])), Pair(a, b, sign * score))
        return list(people.values())[:count]

    return first_of_each(low, 1), first_of_each(high, -1)


def separability(
    judged: Embedded, labels: NDArray[Any], compared: Comparisons, domain: str
) -> tuple[Separability, str]:
    """People against people, and how it is known from which cosine two people's means count as one person."""
    at = compared.result.thresholds[AT]
    how = "the cosine that {} pairs of pictures of different people in this set reach"
    rate = FMR
    if found := meaning(judged.calibrations, domain, "mean-mean", FMR):
        at, rate = found.threshold, found.fmr
        how = f"the threshold that {{}} pairs of different people's means reach, measured on {pictures(domain)}"
    return Separability.measure(judged.vectors, labels, at), how.format(one_in(rate))


def promised(embedded: Embedded, found: Comparisons, domain: str, fmr: float = FMR) -> Comparisons:
    """Comparisons with what the recogniser's calibration of such pictures promises: `domain`, `threshold` and `fmr` of
    it, and the shares of pairs of one person (`tar`) and of different people (`false_matches`) that reach it here."""
    known = meaning(embedded.calibrations, domain, "image-image", fmr)
    if known is None:
        return found
    shares = (float((scores >= known.threshold).mean()) for scores in (found.genuine, found.impostor))
    said = {"domain": domain, "threshold": known.threshold, "fmr": known.fmr}
    return replace(found, calibrated={**said, **dict(zip(("tar", "false_matches"), shares, strict=True))})


def fidelity(set_: Set, model: Model | None, fmr: float = FMR) -> Fidelity | None:
    """The pictures against the people they were made for; None where nobody was wanted of this model's encoder."""
    source = set_.source
    if model is None or not model.has("judge"):
        return None
    known = len(set_.by) > 1 and source.wanted and set(source.labels) <= source.wanted.keys()
    people = [source.wanted[str(label)] for label in source.labels] if known else []
    if not people or people[0].space != model.encoder.space:
        return None
    scorer = model.scorer_at(fmr)
    wanted = torch.stack([person.vector for person in people])
    ways = {name: scorer.way(source.wanted[name], source.domain) for name in set(source.labels.tolist())}
    expected = {name: way.vector(source.wanted[name], model.judge) for name, way in ways.items()}
    cosines = (set_.by[0].vectors * torch.stack([expected[str(label)] for label in source.labels])).sum(1).numpy()
    of = scorer.compared(against(person.domain for person in people if person.domain), source.domain)
    kinds = {(way.against, way.of, None if way.meaning is None else way.meaning.kind): way for way in ways.values()}
    one = next(iter(kinds.values()))
    means = one.meaning if len(kinds) == 1 else None  # people of several kinds have no threshold in common
    matches = None if means is None else cosines >= means.threshold
    return Fidelity(
        rate=None if matches is None else float(matches.mean()),
        threshold=None if means is None else means.threshold,
        fmr=None if means is None else means.fmr,
        domain=None if means is None else means.calibration.domain,
        of=of,
        against=one.against,
        mean=float(cosines.mean()),
        genuine_rate=None if means is None else means.rates.tar.get(f"{means.fmr:g}"),
        encoder_mean=float((set_.by[1].vectors * normalize(wanted)).sum(1).mean()),
        cosines=cosines,
        matches=matches,
    )


def diversity(
    judged: Embedded, labels: NDArray[Any], landmarks: dict[int, NDArray[np.float64]], looked_at: int
) -> Diversity:
    """How different one person's pictures are; landmarks are those of some pictures, by number."""
    vectors = judged.vectors.numpy()
    distance, spread = genuine_distance(vectors, labels), float(genuine_scores(vectors, labels).std(dtype=np.float64))
    if not landmarks:
        return Diversity(distance, spread, looked_at=looked_at, no_face=1.0 if looked_at else None)
    who, points = labels[list(landmarks)], np.stack(list(landmarks.values()))
    yaw, pitch = (spread_within(angle(points), who) for angle in (yaw_from_landmarks, pitch_from_landmarks))
    return Diversity(distance, spread, yaw, pitch, looked_at, 1 - len(who) / looked_at)


def distances_between(fake: Embedded, real: Embedded, seed: int) -> dict[str, float]:
    """FD, KID, precision and recall of one set against another.

    All depend on how many pictures there are, so both sets give equally many; more than 12,000 change little.
    """
    rng = np.random.default_rng(seed)
    count = min(len(real.vectors), len(fake.vectors), MOST_COMPARED)
    theirs, ours = (
        part.vectors[torch.from_numpy(np.sort(rng.choice(len(part.vectors), count, replace=False)))]
        for part in (real, fake)
    )
    space = real.space or fake.space or "unnamed"
    out: dict[str, float] = {"pictures_of_each": count}
    if count > 3:
        out |= distances(theirs, ours, space, seed=seed)
        out[f"precision_{space}"], out[f"recall_{space}"] = precision_recall(theirs, ours)
    return out


def leakage_of_sampled(set_: Set, model: Model) -> list[Search]:
    """Against the training people whose vectors the model's sampler brings: means only, in the encoder's space."""
    people = model.sampler.people.float()
    return leakage(set_.by[-1].vectors, set_.source.labels, people, np.arange(len(people)))
