"""What is finished of a dataset in the layouts that other programs read."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from tqdm.auto import tqdm

from idgen.aligning import Aligner, encode
from idgen.dataset.drawing import model_of
from idgen.dataset.plan import DATA, PLANNED, Planned, data_name, json_or_none, picture_path
from idgen.dataset.status import Status, status
from idgen.evaluation.bins import FOLDS, write_bin
from idgen.ground import files
from idgen.ground.errors import InputError, NoFaceError, require_package

Format = Literal["imagefolder", "webdataset", "bin"]


def export(
    folder: str | Path,
    out: str | Path,
    kind: Format,
    *,
    pairs: int = 6000,
    seed: int = 0,
    aligned: int | None = None,
    device: str | None = None,
) -> tuple[Status, int]:
    """Write the finished shards of a dataset in another layout.

    Called again, it goes on, and puts right what was changed; every file is written aside and renamed.

    Args:
        folder: of the dataset.
        out: for "imagefolder" a folder, with `<label>/<kkk>.png` and `metadata.jsonl` as `datasets` reads them; for
            "webdataset" a folder of tar files, one a shard, with a PNG, a JSON and a class number a picture; for "bin"
            insightface's file of verification pairs.
        kind: which.
        pairs: for "bin", how many: half of one person, half of two, mixed alike in all ten folds.
        seed: of the pairs.
        aligned: side in pixels of the recogniser-ready crops to write instead of the pictures.
        device: for what finds the faces to crop.

    Returns:
        How far the dataset is, since what is not made yet is not exported, and how many pictures show no face to cut
        out, and were left out.

    Raises:
        InputError: there is no plan, nothing is finished, `out` cannot be written or holds another dataset, or there
            are too few pictures for so many pairs.
    """
    planned, out = Planned.load(folder), Path(out)
    if kind not in get_args(Format):
        raise InputError(f"There is no layout {kind!r}: choose one of {', '.join(get_args(Format))}.")
    now, shards = finished(planned)
    crops = None if aligned is None else _Crops(Aligner(model_of(planned, device), aligned))
    if kind == "bin":
        _bin(shards, out, pairs, seed, crops)
        return now, 0
    # Names of people repeat between datasets, so two in one place would mix.
    settled = files.read_json(planned.folder / PLANNED)
    about = {"layout": kind, "paths": "numbers", "plan": settled["plan"], "people": settled["people"]}
    about |= {} if aligned is None else {"aligned": aligned}
    if out.is_dir() and any(out.iterdir()) and json_or_none(out / "export.json") != about:
        raise InputError(
            f"{out} holds other files, or an export of another dataset or in another layout: choose another folder."
        )
    files.write_json(out / "export.json", about)
    lines = []
    for shard in tqdm(shards, desc=kind, unit="shard"):
        if kind == "webdataset":
            _tar(shard, out / f"{shard.stem}.tar", crops)  # the shard's own number: others may be finished later
            continue
        for row, data in _pictures(shard, crops):
            path = picture_path(row["label"], row["k"])
            file = out / path
            if not file.is_file() or file.read_bytes() != data:
                files.write(file, data)
            lines.append(json.dumps({"file_name": path, **row}, ensure_ascii=False) + "\n")
    if lines:
        files.write(out / "metadata.jsonl", "".join(lines))
    return now, 0 if crops is None else crops.without


class _Crops:
    """Makes crops of a dataset's pictures, and counts those that show no face."""

    def __init__(self, aligner: Aligner):
        self.aligner, self.without = aligner, 0
        _ = aligner.model.encoder  # a model without one is refused before anything is written

    def of(self, data: bytes) -> bytes | None:
        try:
            return encode(self.aligner.of_its_own(data), data)
        except NoFaceError:
            self.without += 1
            return None


def _pictures(shard: Path, crops: _Crops | None) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The rows of a shard, each without its picture, and the file of that, or of its crop."""
    for row in read_rows(shard):
        data = row.pop("image")["bytes"]
        if (made := data if crops is None else crops.of(data)) is not None:
            yield row, made


def finished(planned: Planned) -> tuple[Status, list[Path]]:
    """How far a dataset is, and its finished shards, each of them read to be sure.

    Raises:
        InputError: nothing is finished yet.
    """
    now = status(planned, whole=True)
    if not now.done:
        raise InputError(f"Nothing in {planned.folder} is finished yet: `idgen dataset run {planned.folder}` makes it.")
    missing = set(now.missing)
    return now, [planned.folder / DATA / data_name(now.shards, n) for n in range(now.shards) if n not in missing]


def read_rows(shard: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a shard, a few in memory at a time."""
    parquet = require_package("pyarrow.parquet", "dataset", "A dataset")
    for batch in parquet.ParquetFile(shard).iter_batches(100, columns=columns):
        yield from batch.to_pylist()


def _tar(shard: Path, out: Path, crops: _Crops | None) -> None:
    """A WebDataset shard; equal rows give equal bytes."""
    with files.aside(out) as aside, tarfile.open(aside, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row, data in _pictures(shard, crops):
            key = picture_path(row["label"], row["k"]).removesuffix(".png").replace("/", "_")
            about = json.dumps(row, ensure_ascii=False).encode()
            for ending, content in (("png", data), ("json", about), ("cls", str(row["label"]).encode())):
                entry = tarfile.TarInfo(f"{key}.{ending}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def _bin(shards: list[Path], out: Path, pairs: int, seed: int, crops: _Crops | None) -> None:
    """Pairs in ten folds, in each as many of one person as of two, first those of one, as LFW has them."""
    if pairs < 2 * FOLDS or pairs % (2 * FOLDS):
        raise InputError(f"The number of pairs is a multiple of {2 * FOLDS}, for {FOLDS} equal folds; got {pairs}.")

    def all_of(column: str) -> Iterator[tuple[tuple[int, int], Any]]:
        for at, shard in enumerate(shards):
            yield from (((at, place), row[column]) for place, row in enumerate(read_rows(shard, [column])))

    by_name = groupby(sorted(all_of("identity"), key=itemgetter(1)), itemgetter(1))
    people = [[picture for picture, _ in group] for _, group in by_name]
    several = [pictures for pictures in people if len(pictures) > 1]
    if len(people) < 2 or not several:
        raise InputError("Pairs need two people, and one of them with two pictures: make more of the dataset first.")
    rng = np.random.default_rng(seed)
    chosen: list[tuple[int, int]] = []  # pictures, by shard and place in it
    same = np.tile(np.repeat([True, False], pairs // (2 * FOLDS)), FOLDS)
    for one_person in same:
        if one_person:
            pictures = several[rng.integers(len(several))]
            chosen += [pictures[place] for place in rng.choice(len(pictures), 2, replace=False)]
        else:
            for person in rng.choice(len(people), 2, replace=False):
                chosen.append(people[person][rng.integers(len(people[person]))])
    wanted = set(chosen)
    found = {picture: image["bytes"] for picture, image in all_of("image") if picture in wanted}
    if crops is not None:
        made = {picture: crops.of(data) for picture, data in found.items()}
        found = {picture: data for picture, data in made.items() if data is not None}
        if crops.without:
            raise InputError(
                f"{crops.without:,} of {len(made):,} pictures for the pairs show no face to cut out: export an "
                "imagefolder, or without --aligned, or plan with `face: true`, which keeps only pictures that show one."
            )
    write_bin(out, [found[picture] for picture in chosen], same)
