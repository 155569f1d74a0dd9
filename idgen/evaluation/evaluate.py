"""`idgen evaluate`: everything that can be said of a set of labelled faces, as JSON and as a page to read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from idgen.evaluation import measures
from idgen.evaluation.attributes import breakdown
from idgen.evaluation.bins import read_bin, ten_fold_accuracy
from idgen.evaluation.fruits import Cost, with_variants
from idgen.evaluation.leakage import leakage
from idgen.evaluation.measures import Listed, read_pairs
from idgen.evaluation.reading import Embedded, Reader, Set, common
from idgen.evaluation.report import write_report
from idgen.evaluation.results import AT, Comparisons, Evaluation
from idgen.evaluation.summary import summarise
from idgen.ground import arguments, files
from idgen.ground import domain as domains
from idgen.ground.errors import InputError
from idgen.ground.identity import safe_name
from idgen.ground.vectors import check_vectors, save_vectors
from idgen.ground.words import count, percent
from idgen.model import Model, load_model
from idgen.scoring.verification import Verification
from idgen.sets import read_source

JSON, REPORT = "evaluation.json", "report.html"


def evaluate(
    source: str | Path,
    out: str | Path,
    *,
    model: str | Path | Model = "nobody-128",
    by: Sequence[str] = (),
    training: str | Path | None = None,
    real: str | Path | None = None,
    pairs: str | Path | None = None,
    aligned: bool = True,
    device: str | None = None,
    seed: int = 0,
    fmr: float = arguments.FMR,
    domain: str | None = None,
    fruits: bool = False,
    progress: bool = True,
) -> Evaluation:
    """Measure a set and write `evaluation.json`, `report.html` and the vectors into a folder.

    Args:
        source: a folder by `idgen generate`, Parquet with `image` and `identity`, a folder with one sub-folder a
            person, a file of vectors, or insightface's `.bin` of pairs.
        out: folder for the results.
        model: whose judge and encoder embed the pictures; the judge's verdict counts.
        by: recognisers that embed them instead, by their names (`idgen.faces.resolve`): what they say side by side.
        training: what the generator was trained on, of the same kinds, to look for leaks. By default, where the
            pictures are by a model that brings its training people's vectors, those.
        real: real pictures to take FD, KID, precision and recall against; by default `training`.
        pairs: text file, a pair a line: the two pictures' names as in the set, and 1 for one person or 0; instead of
            all.
        aligned: pictures are aligned faces; else faces are found and aligned first.
        device: for the networks.
        seed: of what is drawn from large sets.
        fmr: false-match rate of the verdicts: 0.01, 0.001 or 0.0001.
        domain: what kind of pictures `source` holds (`idgen.ground.domain`); by default what their files say.
        fruits: also time each recogniser on one thread, and put beside it what ONNX Runtime makes of it in half
            precision and 8 bits, see `idgen.evaluation.fruits`.
        progress: show bars.

    Raises:
        InputError: something cannot be read, nobody has two pictures, there is one person only, vectors are broken or
            of two spaces, or the seed is out of range.
    """
    out = Path(out)
    files.check_writable(out)
    arguments.seed(seed)
    arguments.fmr(fmr)
    loaded = None if by else model if isinstance(model, Model) else load_model(model, device)
    reader = Reader(loaded, aligned, progress, by)
    costs = timed(reader, Path(source)) if fruits else []
    set_ = known = None
    if Path(source).suffix == ".bin":
        if given := [name for name, value in (("training", training), ("real", real), ("pairs", pairs)) if value]:
            raise InputError(f"{source} is a list of pairs, for which --{given[0]} has no meaning: leave it out.")
        result = _evaluate_bin(
            Path(source), reader, domains.PHOTOGRAPHS if domain is None else domains.check(domain), fmr
        )
    else:
        set_ = reader.read(source)
        if domain is not None:
            set_.source = replace(set_.source, domain=domains.check(domain))
        _check_people(set_)
        # Everything that needs a network comes first: what follows is what "after embedding" means.
        known = None if training is None else reader.read(training)
        compare = known if real is None else reader.read(real)
        listed = None if pairs is None else read_pairs(pairs, set_.source.names)
        result = _evaluate_set(set_, reader, known, compare, listed, seed, fmr)
    result.costs = costs
    result.summary = summarise(result)
    out.mkdir(parents=True, exist_ok=True)
    if set_ is not None and set_.source.open is not None:
        for embedded in set_.by:
            kind = safe_name(embedded.by.removeprefix("the ")[-80:])
            save_vectors(out / f"vectors-{kind}.safetensors", embedded.vectors, set_.source.labels, embedded.space)
    files.write_json(out / JSON, result.to_dict())
    write_report(out / REPORT, result, set_, known)
    return result


def timed(reader: Reader, source: Path) -> list[Cost]:
    """See `with_variants`, on the pictures of a set or a `.bin`. InputError for a file of vectors."""
    if source.suffix == ".bin":
        pairs = read_bin(source)
        return with_variants(reader, pairs.picture, len(pairs.pictures))
    found = read_source(source)
    if found.open is None:
        raise InputError(f"{found.name} holds vectors, and --fruits times what makes them: give the pictures.")
    return with_variants(reader, found.open, len(found))


def evaluate_bins(folder: str | Path, out: str | Path, **options: Any) -> list[str]:
    """Every `.bin` of a folder by the ten-fold protocol, each with a report in a folder of its name, and their average.

    Args:
        folder: with insightface's files, such as lfw.bin and agedb_30.bin.
        out: folder for the results; `average.json` in it holds them together.
        options: of `evaluate`.

    Returns:
        A line a file and recogniser, and the averages.
    """
    accuracies: dict[str, dict[str, float]] = {}
    for file in sorted(Path(folder).glob("*.bin")):
        for who, folds in evaluate(file, Path(out) / file.stem, **options).folds.items():
            accuracies.setdefault(who, {})[file.stem] = folds.accuracy
    averages = {who: float(np.mean(list(found.values()))) for who, found in accuracies.items()}
    content = {who: {**found, "average": averages[who]} for who, found in accuracies.items()}
    files.write_json(Path(out) / "average.json", content)
    return [f"{name}: {percent(value)} by {who}" for who, found in content.items() for name, value in found.items()]


def _check_people(set_: Set) -> None:
    name, labels = set_.source.name, set_.source.labels
    people, counts = np.unique(labels, return_counts=True)
    if len(people) < 2:
        raise InputError(f"All pictures of {name} are of one person: at least two people are needed.")
    if (counts < 2).all():
        raise InputError(
            f"Everybody in {name} has a single picture, so there are no two pictures of one person to compare: give "
            "several pictures a person."
        )


def _evaluate_set(
    set_: Set, reader: Reader, known: Set | None, compare: Set | None, listed: Listed | None, seed: int, fmr: float
) -> Evaluation:
    """See `evaluate`: `known` is the training set, `compare` the real pictures."""
    source, judged = set_.source, set_.by[0]
    with_known = None if known is None else common(set_, known)
    with_real = None if compare is None else common(set_, compare)
    landmarks, looked_at = reader.landmarks(source, seed)
    as_read = reader.attributes(source)
    since = time.perf_counter()
    main, *others = (
        measures.compare_all(by, source.labels, seed) if listed is None else measures.compare_listed(by, listed)
        for by in set_.by
    )
    main, *others = (
        measures.promised(by, found, source.domain, fmr) for by, found in zip(set_.by, (main, *others), strict=True)
    )
    out = Evaluation(source.name, len(source), len(np.unique(source.labels)), source.domain, main, others)
    out.separability, out.separability_by = measures.separability(judged, source.labels, out.main, source.domain)
    out.fidelity = measures.fidelity(set_, reader.model, fmr)
    out.diversity = measures.diversity(judged, source.labels, landmarks, looked_at)
    if compare is not None and with_real is not None:
        out.compared_with = compare.source.name
        out.distances = measures.distances_between(*with_real, seed)
    if known is not None and with_known is not None:
        out.training = known.source.name
        ours, theirs = with_known
        out.searches = leakage(ours.vectors, source.labels, theirs.vectors, known.source.labels, seed=seed)
    elif _has_training(reader.model, set_) and reader.model is not None:
        sampler = reader.model.sampler
        out.training = f"the {len(sampler.people):,} people that {reader.model.name}'s sampler learned from"
        out.searches = measures.leakage_of_sampled(set_, reader.model)
    matches = None if out.fidelity is None else out.fidelity.matches
    threshold = out.main.result.thresholds[AT]
    columns = source.columns | {f"{name} (as read)": values for name, values in as_read.items()}
    out.attributes = breakdown(judged.vectors.numpy(), source.labels, columns, threshold, matches, seed=seed)
    read = [each for each in (set_, known, compare) if each is not None]
    out.notes = [*dict.fromkeys(filter(None, (each.source.note for each in read))), *_notes(set_, out, listed is None)]
    if as_read and reader.model is not None:
        out.notes.append(_reading(reader.model, as_read))
    out.seconds = time.perf_counter() - since
    return out


def _has_training(model: Model | None, set_: Set) -> bool:
    """Whether the pictures are by a model that brings its training people's vectors."""
    spaces = {one.space for one in set_.source.wanted.values()}
    known = model is not None and model.has("sampler") and len(model.sampler.people)
    return bool(known) and spaces == {set_.by[-1].space}


def _notes(set_: Set, out: Evaluation, all_pairs: bool) -> list[str]:
    """What was left out, and why."""
    notes = []
    if set_.without_face:
        were = "picture was left out: no face was found in it", "pictures were left out: no face was found in them"
        notes.append(f"{count(set_.without_face, *were)}.")
    if lonely := int((np.unique(set_.source.labels, return_counts=True)[1] < 2).sum()):
        have = f"{count(lonely, 'person has', 'people have')} a single picture"
        notes.append(f"{have}, which takes part only in comparisons with others.")
    if out.main.compared < out.pictures and all_pairs:
        notes.append(
            f"Different people were compared among {out.main.compared:,} of the {out.pictures:,} pictures, those of "
            "people drawn at random; pairs of one person were all compared."
        )
    if not out.searches:
        notes.append("Leakage was not looked for: give the generator's training set (--training).")
    return notes


def _reading(model: Model, names: Iterable[str]) -> str:
    """How well what is called "as read" was read."""
    errors = []
    for name in names:
        if known := model.attributes.errors.get(name):
            right = known.get("balanced")
            errors.append(f"{name} {known['error']:.2g} off" if right is None else f"{name} {percent(right)} right")
    on = f"on {model.attributes.measured_on}: {', '.join(errors)}"
    return f"Attributes “as read” were not told but read from the pictures by {model.name}'s reader; {on}."


def _evaluate_bin(path: Path, reader: Reader, domain: str, fmr: float) -> Evaluation:
    pairs = read_bin(path)
    rows, vectors = reader.embed(pairs.picture, len(pairs.pictures), path.name)
    place = np.full(len(pairs.pictures), -1)  # picture → row of the vectors
    place[rows] = np.arange(len(rows))
    both = (place[::2] >= 0) & (place[1::2] >= 0)
    if not both.any():
        raise InputError(f"No pair of {path.name} has a face in both pictures: are they pictures of faces?")
    first, second, same = place[::2][both], place[1::2][both], pairs.same[both]
    since = time.perf_counter()
    compared, folds = [], {}
    for (who, recogniser, known), part in zip(reader.recognisers, vectors, strict=True):
        unit = check_vectors(part, path.name).numpy()
        cosines = (unit[first] * unit[second]).sum(1)
        result = Verification.measure(cosines[same], cosines[~same])
        found = Comparisons(who, recogniser.space, cosines[same], cosines[~same], result, compared=len(same))
        compared.append(measures.promised(Embedded(who, recogniser.space, part, known), found, domain, fmr))
        folds[who] = ten_fold_accuracy(unit[first], unit[second], same)
    out = Evaluation(path.name, len(pairs.pictures), 0, domain, compared[0], compared[1:], folds=folds)
    if missing := int((~both).sum()):
        out.notes = [f"{missing:,} of {len(pairs):,} pairs were left out: no face was found in one of the pictures."]
    out.seconds = time.perf_counter() - since
    return out
