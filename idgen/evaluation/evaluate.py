"""`idgen evaluate`: everything that can be said of a set of labelled faces, as JSON and as a page to read."""

from __future__ import annotations

import csv
import datetime
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from idgen import files
from idgen.errors import InputError
from idgen.evaluation import diversity
from idgen.evaluation.attributes import Group, breakdown, some_people
from idgen.evaluation.bins import FoldAccuracy, PairSet, read_bin, ten_fold_accuracy
from idgen.evaluation.leakage import Search, leakage
from idgen.evaluation.separability import Separability, precision_recall
from idgen.faces import pose
from idgen.model import load_model
from idgen.scoring import verification
from idgen.scoring.verification import Verification
from idgen.sets import Source, read_source
from idgen.vectors import check_same_space, check_vectors, save_vectors

if TYPE_CHECKING:
    from PIL.Image import Image

    from idgen.model import Model
    from idgen.scoring import Calibration

FMR = 1e-3
JSON, REPORT = "evaluation.json", "report.html"
MOST_COMPARED = 12_000
"""Pictures that are all compared with each other; of larger sets a random part of the people. Pairs of one person are
always all compared."""
MOST_LOOKED_AT = 1_000
"""Pictures whose landmarks are looked for."""
WORST = 8

Level = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class Pair:
    """Two pictures, by number, and their cosine."""

    first: int
    second: int
    cosine: float


@dataclass(frozen=True)
class Comparisons:
    """The comparisons of one recogniser.

    Args:
        by: whose, in words.
        space: its embedding space, where known.
        genuine, impostor: the cosines.
        result: their figures.
        worst_genuine, worst_impostor: the least similar pairs of one person, the most similar of different people.
        compared: pictures among which different people were compared; less than all in large sets.
    """

    by: str
    space: str | None
    genuine: NDArray[np.floating]
    impostor: NDArray[np.floating]
    result: Verification
    worst_genuine: list[Pair] = field(default_factory=list)
    worst_impostor: list[Pair] = field(default_factory=list)
    compared: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON: figures and histograms."""
        edges = np.linspace(-1, 1, 101)
        counts = {
            name: np.histogram(np.clip(scores, -1, 1), edges)[0].tolist()
            for name, scores in (("genuine", self.genuine), ("impostor", self.impostor))
        }
        return {
            "by": self.by,
            "space": self.space,
            "pictures_compared_between_people": self.compared,
            **self.result.to_dict(),
            "histogram": {"from": -1, "to": 1, **counts},
        }


@dataclass(frozen=True)
class Fidelity:
    """Pictures against the person who was wanted: the success rate of a template inversion, by its other name.

    Args:
        rate: share of the pictures that match, at `threshold`.
        threshold, fmr: the judge's calibrated threshold and its false-match rate.
        mean: of the judge's cosines to the wanted person.
        genuine_rate: share of *real* pictures that match their own person in the same kind of comparison.
        encoder_mean: mean cosine by the encoder, whose vectors the pictures were made from.
        cosines: (N,) the judge's.
        matches: (N,)
    """

    rate: float
    threshold: float
    fmr: float
    mean: float
    genuine_rate: float | None
    encoder_mean: float
    cosines: NDArray[np.float32]
    matches: NDArray[np.bool_]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "fidelity": self.rate,
            "template_inversion_success_rate": self.rate,
            "false_match_rate": self.fmr,
            "threshold": self.threshold,
            "judge_similarity_mean": self.mean,
            "encoder_similarity_mean": self.encoder_mean,
            "same_rate_of_real_pictures": self.genuine_rate,
        }


@dataclass(frozen=True)
class Diversity:
    """How different the pictures of one person are.

    Args:
        distance: 1 − mean cosine of pairs of one person, everybody counting the same.
        spread: standard deviation of the cosines of pairs of one person.
        yaw, pitch: standard deviation in degrees among one person's pictures, from the five landmarks; None where
            nobody looked for them.
        looked_at, no_face: pictures whose landmarks were looked for, and the share without a face.
    """

    distance: float
    spread: float
    yaw: float | None = None
    pitch: float | None = None
    looked_at: int = 0
    no_face: float | None = None


@dataclass
class Evaluation:
    """All that was measured of a set; parts that could not be are None or empty."""

    name: str
    pictures: int
    people: int
    seconds: float = 0.0
    main: Comparisons | None = None
    others: list[Comparisons] = field(default_factory=list)
    folds: dict[str, FoldAccuracy] = field(default_factory=dict)
    separability: Separability | None = None
    separability_by: str = ""
    fidelity: Fidelity | None = None
    diversity: Diversity | None = None
    distances: dict[str, float] = field(default_factory=dict)
    compared_with: str = ""
    searches: list[Search] = field(default_factory=list)
    training: str = ""
    attributes: dict[str, list[Group]] = field(default_factory=dict)
    summary: list[tuple[Level, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; numbers that are not finite become null."""
        from dataclasses import asdict

        content = {
            "format": "idgen.evaluation",
            "version": 1,
            "set": self.name,
            "pictures": self.pictures,
            "people": self.people,
            "seconds_after_embedding": round(self.seconds, 2),
            "summary": [text for _, text in self.summary],
            "notes": self.notes,
            "verification": self.main and self.main.to_dict(),
            "verification_by_others": [other.to_dict() for other in self.others],
            "ten_fold_accuracy": {name: asdict(result) for name, result in self.folds.items()},
            "separability": self.separability and asdict(self.separability),
            "fidelity": self.fidelity and self.fidelity.to_dict(),
            "diversity": self.diversity and asdict(self.diversity),
            "distance_to": self.compared_with,
            "distances": self.distances,
            "leakage": {"training": self.training, "searches": [search.to_dict() for search in self.searches]},
            "attributes": {name: [group.to_dict() for group in row] for name, row in self.attributes.items()},
        }
        return _finite(content)


@dataclass
class Embedded:
    """A set's vectors by one recogniser, with what its scores mean, where that is known."""

    by: str
    space: str | None
    vectors: Tensor
    calibration: Calibration | None = None


def evaluate(
    source: str | Path,
    out: str | Path,
    *,
    model: str | Path | Model = "nobody-128",
    training: str | Path | None = None,
    real: str | Path | None = None,
    pairs: str | Path | None = None,
    aligned: bool = True,
    device: str | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Evaluation:
    """Measure a set and write `evaluation.json`, `report.html` and the vectors into a folder.

    Args:
        source: a folder by `idgen generate`, Parquet with `image` and `identity`, a folder with one sub-folder a
            person, a file of vectors, or insightface's `.bin` of pairs.
        out: folder for the results.
        model: whose judge and encoder embed the pictures; the judge's verdict counts.
        training: what the generator was trained on, of the same kinds, to look for leaks. By default, where the
            pictures are by a model that brings its training people's vectors, those.
        real: real pictures to take FD, KID, precision and recall against; by default `training`.
        pairs: text file, a pair a line: the two pictures' names as in the set, and 1 for one person or 0; instead of
            all.
        aligned: pictures are aligned faces; else faces are found and aligned first.
        device: for the networks.
        seed: of what is drawn from large sets.
        progress: show bars.

    Raises:
        InputError: something cannot be read, nobody has two pictures, there is one person only, vectors are broken or
            of two spaces.
    """
    from idgen.evaluation.report import write_report

    out = Path(out)
    files.check_writable(out)
    if isinstance(model, (str, Path)):
        model = load_model(str(model), device)
    reader = _Reader(model, aligned, progress)
    if Path(source).suffix == ".bin":
        if given := [name for name, value in (("training", training), ("real", real), ("pairs", pairs)) if value]:
            raise InputError(f"{source} is a list of pairs, for which --{given[0]} has no meaning: leave it out.")
        result, set_ = _evaluate_bin(Path(source), reader), None
    else:
        set_ = reader.read(source)
        result = _evaluate_set(set_, reader, training, real, pairs, seed)
    result.summary = summarise(result)
    out.mkdir(parents=True, exist_ok=True)
    if set_ is not None and set_.source.open is not None:
        for kind, embedded in zip(("judge", "encoder"), set_.by, strict=False):
            path = out / f"vectors-{kind}.safetensors"
            save_vectors(path, embedded.vectors, set_.source.labels, embedded.space)
    files.write(out / JSON, (json.dumps(result.to_dict(), indent=1, ensure_ascii=False) + "\n").encode())
    write_report(out / REPORT, result, set_, reader.read(training) if training and result.searches else None)
    return result


@dataclass
class Set:
    """A source with its vectors: by the judge first, then the encoder, or those of its file.

    Rows of the source without a face are left out of all.
    """

    source: Source
    by: list[Embedded]
    without_face: int = 0


class _Reader:
    """Reads and embeds sets, each once."""

    def __init__(self, model: Model, aligned: bool, progress: bool):
        self.model, self.aligned, self.progress = model, aligned, progress
        self._sets: dict[str, Set] = {}

    def read(self, path: str | Path) -> Set:
        key = str(path)
        if key not in self._sets:
            self._sets[key] = self._read(Path(path))
        return self._sets[key]

    def recognisers(self) -> list[tuple[str, Any, Calibration | None]]:
        """(who, encode, calibration): the judge, then the encoder."""
        from idgen.scoring import Calibration

        encoder, judge = self.model.encoder, self.model.judge
        own = None if encoder.calibration is None else Calibration.from_dict(encoder.calibration)
        return [("the judge", judge.recognizer, judge.calibration), ("the encoder", encoder, own)]

    def _read(self, path: Path) -> Set:
        source = read_source(path)
        if source.vectors is not None:
            known = None
            for _, recogniser, calibration in self.recognisers() if source.space else []:
                known = calibration if recogniser.space == source.space else known
            who = f"the recogniser of {source.space}" if source.space else "the recogniser that made the vectors"
            return Set(source, [Embedded(who, source.space, source.vectors, known)])
        kept, vectors = self.embed(source.open, len(source), source.name)
        without_face = len(source) - len(kept)
        if without_face:
            if not len(kept):
                raise InputError(f"No face was found in any picture of {source.name}: are they pictures of faces?")
            source = _rows(source, kept)
        by = [
            Embedded(who, recogniser.space, check_vectors(part, source.name), calibration)
            for (who, recogniser, calibration), part in zip(self.recognisers(), vectors, strict=True)
        ]
        return Set(source, by, without_face)

    def embed(
        self, open_: Callable[[int], Image] | None, count: int, name: str
    ) -> tuple[NDArray[np.intp], list[Tensor]]:
        """The numbers of the pictures with a face, and their vectors by every recogniser."""
        from tqdm.auto import tqdm

        assert open_ is not None
        recognisers = [recogniser for _, recogniser, _ in self.recognisers()]
        kept: list[int] = []
        parts: list[list[Tensor]] = [[], []]
        for start in tqdm(range(0, count, 64), desc=f"embedding {name}", unit="batch", disable=not self.progress):
            batch = []
            for row in range(start, min(start + 64, count)):
                picture = open_(row)
                if self.aligned and picture.width != picture.height:
                    raise InputError(
                        f"A picture of {name} is {picture.width} × {picture.height} pixels, but aligned faces are "
                        "square: add --photos for photos in which faces have to be found first."
                    )
                batch.append(picture)
            seen = self.model.encoder.crops(batch, recognisers, self.aligned)
            kept += [start + place for place, each in enumerate(seen) if each is not None]
            for by, (part, recogniser) in enumerate(zip(parts, recognisers, strict=True)):
                if shown := [each[by] for each in seen if each is not None]:
                    part.append(recogniser.encode(shown))
        return np.array(kept, np.intp), [torch.cat(part) if part else torch.empty(0, 1) for part in parts]


def _rows(source: Source, rows: NDArray[np.intp]) -> Source:
    from dataclasses import replace

    open_ = source.open
    return replace(
        source,
        labels=source.labels[rows],
        names=source.names[rows],
        open=None if open_ is None else lambda row: open_(int(rows[row])),
        columns={name: values[rows] for name, values in source.columns.items()},
    )


# ---------------------------------------------------------------------------------------------------- the measurements


def _evaluate_set(
    set_: Set,
    reader: _Reader,
    training: str | Path | None,
    real: str | Path | None,
    pairs: str | Path | None,
    seed: int,
) -> Evaluation:
    source = set_.source
    people, counts = np.unique(source.labels, return_counts=True)
    if len(people) < 2:
        raise InputError(f"All pictures of {source.name} are of one person: at least two people are needed.")
    if (counts < 2).all():
        raise InputError(
            f"Everybody in {source.name} has a single picture, so there are no two pictures of one person to compare: "
            "give several pictures a person."
        )
    # Everything that needs a network comes first: what follows is what "after embedding" means.
    known = None if training is None else reader.read(training)
    compare = known if real is None else reader.read(real)
    for other in (known, compare):
        if other is not None:
            _common(set_, other)
    landmarks, looked_at = _landmarks(source, reader, seed) if source.open is not None else ({}, 0)

    since = time.perf_counter()
    out = Evaluation(source.name, len(source), len(people))
    if set_.without_face:
        out.notes.append(f"{set_.without_face:,} pictures were left out: no face was found in them.")
    if lonely := int((counts < 2).sum()):
        out.notes.append(f"{lonely:,} people have a single picture, which takes part only in comparisons with others.")
    listed = None if pairs is None else read_pairs(pairs, source.names)
    compared = [compare_all(by, source.labels, seed, listed) for by in set_.by]
    out.main, out.others = compared[0], compared[1:]
    if out.main.compared < len(source) and listed is None:
        out.notes.append(
            f"Different people were compared among {out.main.compared:,} of the {len(source):,} pictures, those of "
            f"people "
            "drawn at random; pairs of one person were all compared."
        )
    judged = set_.by[0]
    at, what = _mean_threshold(judged, out.main)
    out.separability, out.separability_by = Separability.measure(judged.vectors, source.labels, at), what
    out.fidelity = _fidelity(set_, reader)
    out.diversity = _diversity(judged, source.labels, landmarks, looked_at)
    if compare is not None:
        out.compared_with = compare.source.name
        ours, theirs = _common(set_, compare)
        out.distances = _distances(theirs, ours, seed)
    if known is not None:
        out.training = known.source.name
        ours, theirs = _common(set_, known)
        out.searches = leakage(ours.vectors, source.labels, theirs.vectors, known.source.labels, seed=seed)
    elif source.wanted and len(set_.by) > 1 and source.wanted_space == set_.by[1].space:
        out.searches = _default_leakage(set_.by[1], source.labels, reader.model)
        out.training = (
            f"the {len(reader.model.sampler.people):,} people that {reader.model.name}'s sampler learned from"
        )
    if known is None and not out.searches:
        out.notes.append("Leakage was not looked for: give the generator's training set (--training).")
    matches = None if out.fidelity is None else out.fidelity.matches
    threshold = out.main.result.thresholds[f"{FMR:g}"]
    out.attributes = breakdown(judged.vectors.numpy(), source.labels, source.columns, threshold, matches, seed=seed)
    out.seconds = time.perf_counter() - since
    return out


def _evaluate_bin(path: Path, reader: _Reader) -> Evaluation:
    pairs: PairSet = read_bin(path)
    kept, vectors = reader.embed(pairs.picture, len(pairs.pictures), path.name)
    have = np.zeros(len(pairs.pictures), bool)
    have[kept] = True
    both = have[::2] & have[1::2]
    if not both.any():
        raise InputError(f"No pair of {path.name} has a face in both pictures: are they pictures of faces?")
    rows = np.cumsum(have) - 1  # picture → row of the vectors
    first, second = rows[::2][both], rows[1::2][both]
    same = pairs.same[both]
    since = time.perf_counter()
    out = Evaluation(path.name, len(pairs.pictures), 0)
    if missing := int((~both).sum()):
        out.notes.append(
            f"{missing:,} of {len(pairs):,} pairs were left out: no face was found in one of the pictures."
        )
    for (who, recogniser, _), part in zip(reader.recognisers(), vectors, strict=True):
        unit = check_vectors(part, path.name).numpy()
        cosines = (unit[first] * unit[second]).sum(1)
        result = Verification.measure(cosines[same], cosines[~same])
        found = Comparisons(who, recogniser.space, cosines[same], cosines[~same], result, compared=len(same))
        if out.main is None:
            out.main = found
        else:
            out.others.append(found)
        out.folds[who] = ten_fold_accuracy(unit[first], unit[second], same)
    out.seconds = time.perf_counter() - since
    return out


def compare_all(
    embedded: Embedded,
    labels: NDArray[Any],
    seed: int = 0,
    listed: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]] | None = None,
) -> Comparisons:
    """All pairs of a set, or listed ones; see `MOST_COMPARED` for large sets."""
    vectors = embedded.vectors.numpy()
    if listed is not None:
        first, second, same = listed
        cosines = (vectors[first] * vectors[second]).sum(1)
        genuine, impostor = cosines[same], cosines[~same]
        result = Verification.measure(genuine, impostor)
        low, high = (
            np.flatnonzero(mask)[order]
            for mask, order in ((same, np.argsort(genuine)[:WORST]), (~same, np.argsort(-impostor)[:WORST]))
        )
        worst = [[Pair(int(first[i]), int(second[i]), float(cosines[i])) for i in rows] for rows in (low, high)]
        compared = len(np.union1d(first, second))
        return Comparisons(embedded.by, embedded.space, genuine, impostor, result, worst[0], worst[1], compared)
    rows = some_people(labels, np.arange(len(labels)), MOST_COMPARED, seed)
    genuine, impostor = verification.pair_scores(vectors[rows], labels[rows])
    if len(rows) < len(labels):
        genuine = genuine_scores(vectors, labels)
    result = Verification.measure(genuine, impostor)
    worst_genuine, worst_impostor = worst_pairs(vectors[rows], labels[rows], WORST)
    back = lambda found: [Pair(int(rows[p.first]), int(rows[p.second]), p.cosine) for p in found]  # noqa: E731
    return Comparisons(
        embedded.by,
        embedded.space,
        genuine,
        impostor,
        result,
        back(worst_genuine),
        back(worst_impostor),
        len(rows),
    )


def genuine_scores(vectors: NDArray[np.float32], labels: NDArray[Any]) -> NDArray[np.float32]:
    """Cosines of all pairs of one person, of unit vectors (N, D)."""
    index = np.unique(labels, return_inverse=True)[1]
    order = np.argsort(index, kind="stable")
    parts = []
    for mine in np.split(order, np.flatnonzero(np.diff(index[order])) + 1):
        products = vectors[mine] @ vectors[mine].T
        parts.append(products[np.triu_indices(len(mine), 1)])
    return np.concatenate(parts)


def worst_pairs(vectors: NDArray[np.float32], labels: NDArray[Any], count: int) -> tuple[list[Pair], list[Pair]]:
    """The least similar pairs of one person (one a person), and the most similar of different people (one a pair of
    them).

    Args:
        vectors: (N, D) of unit length.
        labels: (N,)
        count: how many of each.
    """
    index = np.unique(labels, return_inverse=True)[1]
    wide = 8 * count
    low: list[tuple[float, int, int]] = []
    high: list[tuple[float, int, int]] = []
    for start in range(0, len(vectors), 1024):
        block = slice(start, start + 1024)
        products = vectors[block] @ vectors[start:].T
        later = np.arange(products.shape[1])[None] > np.arange(products.shape[0])[:, None]
        same = index[block, None] == index[None, start:]
        for found, sign, mask in ((low, 1, later & same), (high, -1, later & ~same)):
            scores = np.where(mask, sign * products, np.inf).ravel()
            best = np.argpartition(scores, min(wide, scores.size - 1))[:wide]
            found += [
                (float(scores[i]), start + int(i) // products.shape[1], start + int(i) % products.shape[1])
                for i in best[np.isfinite(scores[best])]
            ]
            found.sort()
            del found[8 * wide :]
    out = []
    for found, sign in ((low, 1), (high, -1)):
        seen: set[frozenset[int]] = set()
        chosen: list[Pair] = []
        for score, a, b in found:
            people = frozenset((int(index[a]), int(index[b])))
            if people not in seen and len(chosen) < count:
                seen.add(people)
                chosen.append(Pair(a, b, sign * score))
        out.append(chosen)
    return out[0], out[1]


def read_pairs(path: str | Path, names: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """A pair list: (P,) and (P,) numbers of the pictures, and (P,) whether they are one person.

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
        for part in parts[:2]:
            if part not in rows:
                raise InputError(f"Line {number} of {path} names {part!r}, which is no picture of the set.")
        found.append((rows[parts[0]], rows[parts[1]], parts[2] == "1"))
    if not any(same for _, _, same in found) or all(same for _, _, same in found):
        raise InputError(f"{path} needs pairs of one person and pairs of different people, and lacks one kind.")
    first, second, same = (np.array(column) for column in zip(*found, strict=True))
    return first.astype(np.intp), second.astype(np.intp), same.astype(bool)


def _common(one: Set, other: Set) -> tuple[Embedded, Embedded]:
    """The first recogniser that embedded both."""
    for a in one.by:
        for b in other.by:
            if a.space == b.space or a.space is None or b.space is None:
                if a.vectors.shape[1] != b.vectors.shape[1]:
                    raise InputError(
                        f"The vectors of {one.source.name} have {a.vectors.shape[1]} numbers, those of "
                        f"{other.source.name} {b.vectors.shape[1]}: embed both by one recogniser."
                    )
                return a, b
    check_same_space(one.by[0].space, other.by[0].space)
    raise AssertionError("spaces that differ were not refused")


def _mean_threshold(judged: Embedded, compared: Comparisons) -> tuple[float, str]:
    """From which cosine two people's means count as one person, and how that is known."""
    if judged.calibration is not None:
        try:
            at = judged.calibration.threshold("mean-mean", FMR)
            return at, f"the threshold that 1 in {round(1 / FMR):,} pairs of different real people's means reach"
        except InputError:
            pass
    at = compared.result.thresholds[f"{FMR:g}"]
    return at, f"the cosine that 1 in {round(1 / FMR):,} pairs of pictures of different people in this set reach"


def _fidelity(set_: Set, reader: _Reader) -> Fidelity | None:
    source = set_.source
    if not source.wanted or len(set_.by) < 2 or not set(source.labels) <= source.wanted.keys():
        return None
    judge, scorer = reader.model.judge, reader.model.scorer
    if source.wanted_space != scorer.encoder.space:
        return None
    wanted = torch.stack([source.wanted[str(label)] for label in source.labels])
    cosines = (set_.by[0].vectors * judge.bridge(wanted)).sum(1).numpy()
    own = (set_.by[1].vectors * torch.nn.functional.normalize(wanted)).sum(1)
    matches = cosines >= scorer.judge_threshold
    genuine = scorer.judge_calibration.rates("image-bridge").tar.get(f"{FMR:g}")
    return Fidelity(
        float(matches.mean()),
        scorer.judge_threshold,
        scorer.fmr,
        float(cosines.mean()),
        genuine,
        float(own.mean()),
        cosines,
        matches,
    )


def _landmarks(source: Source, reader: _Reader, seed: int) -> tuple[dict[int, NDArray[np.float64]], int]:
    """Landmarks of the largest face in some pictures, all of some people, and how many pictures were looked at."""
    from tqdm.auto import tqdm

    finder = reader.model.encoder.finder
    if finder is None or source.open is None:
        return {}, 0
    rows = some_people(source.labels, np.arange(len(source)), MOST_LOOKED_AT, seed)
    found = {}
    for row in tqdm(rows, desc="landmarks", unit="picture", disable=not reader.progress):
        faces = finder.find(source.open(int(row)))
        if faces:
            found[int(row)] = faces[0].landmarks
    return found, len(rows)


def _diversity(
    judged: Embedded, labels: NDArray[Any], landmarks: dict[int, NDArray[np.float64]], looked_at: int
) -> Diversity:
    vectors = judged.vectors.numpy()
    distance = diversity.genuine_distance(vectors, labels)
    spread = float(genuine_scores(vectors, labels).std(dtype=np.float64))
    if not landmarks:
        return Diversity(distance, spread, looked_at=looked_at, no_face=1.0 if looked_at else None)
    rows, points = np.array(list(landmarks)), np.stack(list(landmarks.values()))
    return Diversity(
        distance,
        spread,
        diversity.spread_within(pose.yaw_from_landmarks(points), labels[rows]),
        diversity.spread_within(pose.pitch_from_landmarks(points), labels[rows]),
        looked_at,
        1 - len(rows) / looked_at,
    )


def _distances(real: Embedded, fake: Embedded, seed: int) -> dict[str, float]:
    from idgen.evaluation.distance import distances

    # Both depend on how many pictures there are, so both sets give equally many; more than this many change little.
    rng = np.random.default_rng(seed)
    count = min(len(real.vectors), len(fake.vectors), MOST_COMPARED)
    parts = [
        part.vectors[torch.from_numpy(np.sort(rng.choice(len(part.vectors), count, replace=False)))]
        for part in (real, fake)
    ]
    space = real.space or fake.space or "unnamed"
    out: dict[str, float] = {"pictures_of_each": count}
    if count > 3:
        out |= distances(parts[0], parts[1], space, seed=seed)
        precision, recall = precision_recall(parts[0], parts[1])
        out |= {f"precision_{space}": precision, f"recall_{space}": recall}
    return out


def _default_leakage(embedded: Embedded, labels: NDArray[Any], model: Model) -> list[Search]:
    """Against the training people whose vectors the model's sampler brings: means only, in the encoder's space."""
    people = model.sampler.people.float()
    return leakage(embedded.vectors, labels, people, np.arange(len(people)))


# ---------------------------------------------------------------------------------------------------- in plain words


def summarise(result: Evaluation) -> list[tuple[Level, str]]:
    """The findings, a sentence or two each."""
    out: list[tuple[Level, str]] = []
    main = result.main
    if main is not None:
        figures = main.result
        tar = figures.tar[f"{FMR:g}"]
        level: Level = "good" if tar >= 0.9 else "note" if tar >= 0.5 else "bad"
        sure = "" if figures.certain[f"{FMR:g}"] else " (on too few comparisons to be sure)"
        out.append(
            (
                level,
                f"Pictures of one person are recognised as one person in {_percent(tar)} of the pairs, at a "
                f"threshold that "
                f"1 in 1,000 pairs of different people reach{sure}. The equal error rate is {_percent(figures.eer)}.",
            )
        )
    for who, folds in result.folds.items():
        out.append(
            (
                "note",
                f"By the ten-fold protocol, {who} is right on {_percent(folds.accuracy)} of the pairs "
                f"(± {100 * folds.deviation:.2f}).",
            )
        )
    if (fidelity := result.fidelity) is not None:
        level = (
            "good" if fidelity.rate >= 0.8 * (fidelity.genuine_rate or 1) else "note" if fidelity.rate >= 0.3 else "bad"
        )
        same = "" if fidelity.genuine_rate is None else f"; of real pictures {_percent(fidelity.genuine_rate)} do"
        out.append(
            (
                level,
                f"{_percent(fidelity.rate)} of the pictures match the person who was asked for, says the independent "
                f"judge "
                f"at a false-match rate of 1 in 1,000{same}. For a vector that was stolen rather than sampled, this "
                f"is the "
                "success rate of a template inversion.",
            )
        )
    if (apart := result.separability) is not None:
        level = "good" if apart.unique_share >= 0.99 else "note" if apart.unique_share >= 0.9 else "bad"
        out.append(
            (
                level,
                f"{apart.unique:,} of {apart.people:,} people are unique: no earlier person's mean is as close as "
                f"{apart.threshold:.2f}. The closest two are {apart.closest[0]} and {apart.closest[1]} "
                f"({apart.nearest_max:.2f}).",
            )
        )
    if (spread := result.diversity) is not None:
        pose = (
            "" if spread.yaw is None else f" Heads turn by {spread.yaw:.0f}° (standard deviation of one person's yaw)."
        )
        out.append(
            ("note", f"Two pictures of one person are at a cosine of {1 - spread.distance:.2f} on average.{pose}")
        )
        if spread.no_face:
            level = "bad" if spread.no_face > 0.02 else "note"
            out.append((level, f"In {_percent(spread.no_face)} of the pictures looked at, no face was found."))
    if result.searches:
        leaks = [search for search in result.searches if search.leaks]
        if leaks:
            worst = max(leaks, key=lambda search: (search.copies, len(search.alarms) - search.expected))
            copied = f" {worst.copies:,} of them are copies (cosine 0.98 or more)." if worst.copies else ""
            out.append(
                (
                    "bad",
                    f"Training people show up: {_alarms(worst)} come closer to one than "
                    f"1 in {round(1 / worst.rate):,} strangers do, where chance makes {worst.expected:.1f} and "
                    f"hardly ever "
                    f"more than {worst.plausible:,}.{copied}",
                )
            )
        else:
            counts = ", ".join(f"{_alarms(s)} where chance makes {s.expected:.1f}" for s in result.searches)
            out.append(
                ("good", f"No leak was found: nothing comes closer to training people than strangers do ({counts}).")
            )
    return out


def _alarms(search: Search) -> str:
    people = f"{search.people:,} {'person' if search.people == 1 else 'people'}"
    if search.kind == "person-to-person":
        return people
    pictures = f"{len(search.alarms):,} {'picture' if len(search.alarms) == 1 else 'pictures'}"
    return f"{pictures} of {people}" if search.people < len(search.alarms) else pictures


def _percent(share: float) -> str:
    digits = 0 if share in (0, 1) else 1 if 0.001 <= share <= 0.999 else 2
    return f"{100 * share:.{digits}f} %"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def today() -> str:
    """The date of a report."""
    return datetime.date.today().isoformat()
