"""Labels of a set, checked by a recogniser: people who are two, two who are one, pictures of nobody of them.

Within a person, pictures that match each other hang together (a graph, as CAST cleans WebFace260M, Zhu et al. 2021);
between people, two are one where most of their pictures match. What matches is measured on the set itself: the
threshold that one in so many comparisons of people with different names reaches.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from idgen.evaluation.page import page, picture, section
from idgen.evaluation.reading import Reader
from idgen.ground import arguments, files
from idgen.ground.errors import InputError, require_package
from idgen.ground.identity import centres
from idgen.ground.words import count
from idgen.model import load_model
from idgen.scoring.verification import pair_scores, threshold_at_fmr
from idgen.sets import MANIFEST, Source

CHANGES, PAGE = "cleaning.jsonl", "cleaning.html"
OUTLIER, SPLIT, MERGED = "outlier", "two people", "the same person"
_SHOWN = 200  # changes whose pictures are on the page
_BLOCK = 2048


@dataclass(frozen=True)
class Change:
    """A picture whose label is doubted.

    Args:
        row: of the set.
        name, identity: what it is called, and who is said to be on it.
        to: who is on it; None for nobody of the set, so that it is left out.
        why: OUTLIER, SPLIT or MERGED.
        similarity: the cosine to the pictures of who is said to be on it, or, of two who are one, between them.
    """

    row: int
    name: str
    identity: str
    to: str | None
    why: str
    similarity: float


@dataclass(frozen=True)
class Cleaned:
    """What was found: (N,) labels, "" for a picture that is left out; what changed; and the threshold."""

    labels: NDArray[np.str_]
    changes: list[Change]
    threshold: float

    def lines(self) -> list[str]:
        """In words."""
        kinds = {why: [one for one in self.changes if one.why == why] for why in (SPLIT, MERGED, OUTLIER)}
        split, merged = (len({one.identity for one in kinds[why]}) for why in (SPLIT, MERGED))
        left_out = count(len(kinds[OUTLIER]), "picture is", "pictures are")
        return [
            f"{count(split, 'person is', 'people are')} two.",
            f"{count(merged, 'person is', 'people are')} somebody else of the set.",
            f"{left_out} of nobody like the others, and left out.",
        ]


def check_labels(
    vectors: NDArray[np.float32], labels: NDArray[np.str_], names: NDArray[np.str_], fmr: float
) -> Cleaned:
    """Look for labels that are wrong.

    Args:
        vectors: (N, D) unit vectors of the pictures.
        labels: (N,) who is said to be on each.
        names: (N,) what the pictures are called.
        fmr: share of the comparisons of people with different names that match.

    Raises:
        InputError: there is one person, or `fmr` is no share.
    """
    fmr = arguments.number("false-match rate", fmr, 1e-7, 0.1)
    people, numbers = np.unique(labels, return_inverse=True)
    if len(people) < 2:
        raise InputError("All pictures are of one person: a set of several is needed to tell who is who.")
    some = np.flatnonzero(numbers < max(2, 12_000 * len(people) // max(len(labels), 12_000)))
    threshold = threshold_at_fmr(pair_scores(vectors[some], numbers[some])[1], fmr)
    out, changes = labels.astype(object), []
    kept = np.ones(len(labels), bool)
    main: list[NDArray[np.intp]] = []
    for number, person in enumerate(people):
        rows = np.flatnonzero(numbers == number)
        groups = _groups(vectors[rows], threshold)
        main.append(rows[groups[0]])
        for place, group in enumerate(groups[1:], 2):
            to = f"{person} ({place})" if len(group) > 1 else None
            for row in rows[group]:
                near = float((vectors[main[-1]] @ vectors[row]).mean())
                changes.append(Change(int(row), str(names[row]), str(person), to, SPLIT if to else OUTLIER, near))
                out[row], kept[row] = to or "", to is not None
    middle = centres(
        torch.from_numpy(vectors[np.concatenate(main)]),
        torch.arange(len(people)).repeat_interleave(torch.tensor([len(rows) for rows in main])),
    ).numpy()
    one_of = list(range(len(people)))
    for start in range(0, len(people), _BLOCK):
        near = middle[start : start + _BLOCK] @ middle.T
        for one, other in zip(*np.nonzero(near >= threshold), strict=True):
            first, second = int(one) + start, int(other)
            if first < second:
                between = float(np.median(vectors[main[first]] @ vectors[main[second]].T))
                if between >= threshold and one_of[second] == second:
                    one_of[second] = one_of[first]
                    to = str(people[one_of[first]])
                    for row in main[second]:
                        said = str(people[second])
                        changes.append(Change(int(row), str(names[row]), said, to, MERGED, between))
                        out[row] = to
    return Cleaned(out.astype(str), changes, threshold)


def _groups(vectors: NDArray[np.float32], threshold: float) -> list[NDArray[np.intp]]:
    """Rows that hang together by matches, or match the middle of a group; the largest group first."""
    near = vectors @ vectors.T >= threshold
    left, groups = set(range(len(vectors))), []
    while left:
        group, edge = set(), {min(left)}
        while edge:
            group |= edge
            edge = set(np.flatnonzero(near[list(edge)].any(0)).tolist()) - group
        left -= group
        groups.append(np.array(sorted(group)))
    groups.sort(key=lambda rows: (-len(rows), rows[0]))
    return groups


def clean(
    source: str | Path,
    out: str | Path,
    *,
    by: str | None = None,
    model: str = "nobody-128",
    fmr: float = 1e-3,
    device: str | None = None,
    progress: bool = True,
) -> Cleaned:
    """Check the labels of a set of aligned faces, and write into a folder what to look at and the cleaned set: a
    manifest that points at the same pictures, or, of Parquet, its rows. Nothing of the set itself is changed.

    Args:
        source: a labelled set of pictures.
        out: folder: cleaning.jsonl, a line a change; cleaning.html with the pictures; and the cleaned set.
        by: the recogniser, by its name; by default the model's judge.
        model: whose judge.
        fmr: see `check_labels`.
        device: for the networks.
        progress: show a bar.

    Raises:
        InputError: the set cannot be read, holds vectors, or is of one person.
    """
    out = Path(out)
    files.check_writable(out)
    reader = Reader(None if by else load_model(model, device), True, progress, [by] if by else (), "")
    seen = reader.read(source)
    if seen.source.open is None:
        raise InputError(f"{source} holds vectors: give the pictures, whose labels are to be checked.")
    if seen.without_face:
        raise InputError(f"{count(seen.without_face, 'picture', 'pictures')} of {source} could not be embedded.")
    vectors = torch.nn.functional.normalize(seen.by[0].vectors, dim=1).numpy()
    cleaned = check_labels(vectors, seen.source.labels, seen.source.names, fmr)
    lines = [json.dumps(vars(one), ensure_ascii=False) + "\n" for one in cleaned.changes]
    files.write(out / CHANGES, "".join(lines))
    _write_page(out, seen.source, cleaned, seen.by[0].by)
    _write_set(Path(source), out, seen.source, cleaned)
    return cleaned


def _write_page(out: Path, source: Source, cleaned: Cleaned, who: str) -> None:
    said = " ".join(cleaned.lines())
    head = f"<header><h1>Labels of {escape(source.name)}</h1><p>{escape(said)} By {escape(who)}.</p></header>"
    parts = [head]
    for why in (SPLIT, MERGED, OUTLIER):
        some = [one for one in cleaned.changes if one.why == why]
        shown = "".join(_shot(source, one) for one in some[:_SHOWN])
        more = f" The first {_SHOWN} are shown." if len(some) > _SHOWN else ""
        lead = f"{count(len(some), 'picture', 'pictures')}.{more}"
        parts.append(section(escape(why.capitalize()), lead, f'<div class="shots">{shown}</div>') if some else "")
    files.write(out / PAGE, page(f"Labels of {source.name}", parts))


def _shot(source: Source, one: Change) -> str:
    to = "left out" if one.to is None else f"→ {one.to}"
    text = f"{escape(one.identity)} {escape(to)}, {one.similarity:.2f}"
    return f'<figure class="shot">{picture(source, one.row)}<figcaption>{text}</figcaption></figure>'


def _write_set(path: Path, out: Path, source: Source, cleaned: Cleaned) -> None:
    """The cleaned set: Parquet of Parquet, else a manifest that points at the pictures."""
    parquet = [path] if path.is_file() else [one for one in files.walk(path) if one.suffix == ".parquet"]
    if parquet and not (path / MANIFEST).is_file():
        return _write_parquet(parquet, out, cleaned)
    lines, seen = [], dict[str, int]()
    for name, label in zip(source.names, cleaned.labels, strict=True):
        if label:
            seen[label] = seen.get(label, -1) + 1
            file = os.path.relpath(path / str(name), out)
            lines.append(json.dumps({"file": file, "identity": label, "k": seen[label]}, ensure_ascii=False) + "\n")
    files.write(out / MANIFEST, "".join(lines))


def _write_parquet(parquet: list[Path], out: Path, cleaned: Cleaned) -> None:
    pq = require_package("pyarrow.parquet", "eval", "Writing Parquet")
    import pyarrow as pa

    start = 0
    for file in parquet:
        table = pq.read_table(file)
        labels = cleaned.labels[start : start + len(table)]
        start += len(table)
        name = "identity" if "identity" in table.column_names else "label"
        table = table.set_column(table.column_names.index(name), "identity", pa.array(labels.tolist()))
        if name == "identity" and "label" in table.column_names:
            table = table.drop_columns(["label"])  # counted before: it would contradict
        with files.aside(out / "data" / file.name) as beside:
            pq.write_table(table.filter(pa.array(labels != "")), beside, row_group_size=100)
