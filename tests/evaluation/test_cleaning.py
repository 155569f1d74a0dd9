"""Labels that were made wrong are found; right ones stay; and the set itself is not touched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tiny import encoded, patterns
from typer.testing import CliRunner

from idgen.cli import app
from idgen.evaluation.cleaning import MERGED, OUTLIER, SPLIT, check_labels, clean
from idgen.ground.errors import InputError
from idgen.sets import read_source

PEOPLE, PICTURES = 40, 8


def planted() -> np.ndarray:
    """40 people × 8: p01 and p00 are one, p02 has three of p03's, p04 one of p05's."""
    labels = np.repeat([f"p{number:02d}" for number in range(PEOPLE)], PICTURES)
    labels[8:16] = "p01"
    return labels


def vectors() -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    who = torch.randn(PEOPLE, 64, generator=generator)
    who[1], own = who[0], torch.arange(PEOPLE).repeat_interleave(PICTURES)
    own[16:19], own[32] = 3, 39
    near = who[own] + 0.6 * torch.randn(len(own), 64, generator=generator)
    return torch.nn.functional.normalize(near, dim=1).numpy()


def test_who_is_two_who_is_one_and_who_is_nobody() -> None:
    labels, names = planted(), np.arange(320).astype(str)
    found = check_labels(vectors(), labels, names, 5e-3)
    by = {why: sorted(one.row for one in found.changes if one.why == why) for why in (SPLIT, MERGED, OUTLIER)}
    assert by == {SPLIT: [16, 17, 18], MERGED: list(range(8, 16)), OUTLIER: [32]}
    assert (found.labels[8:16] == "p00").all() and (found.labels[16:19] == "p02 (2)").all() and found.labels[32] == ""
    others = np.setdiff1d(np.arange(320), [*range(8, 19), 32])
    assert (found.labels[others] == labels[others]).all()
    assert found.lines() == [
        "1 person is two.",
        "1 person is somebody else of the set.",
        "1 picture is of nobody like the others, and left out.",
    ]


def test_one_person_alone_cannot_be_checked() -> None:
    with pytest.raises(InputError, match="of one person"):
        check_labels(vectors()[:8], planted()[:8], planted()[:8], 1e-3)


@pytest.fixture
def pictures() -> list[Image.Image]:
    pixels, _ = patterns(12, 4, size=64)
    arrays = (pixels.permute(0, 2, 3, 1) * 255).byte().numpy()
    return [Image.fromarray(array) for array in arrays]


def test_a_folder_becomes_a_manifest_that_all_commands_read(
    pictures: list[Image.Image], tiny_model: Path, tmp_path: Path
) -> None:
    for row, image in enumerate(pictures):
        person = 0 if row == 5 else row // 4  # one of the second person's is among the first's
        (tmp_path / "set" / f"p{person:02d}").mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "set" / f"p{person:02d}" / f"{row:02d}.png")
    words = ["dataset", "clean", str(tmp_path / "set"), "--by", str(tiny_model / "encoder"), "--fmr", "0.01"]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "clean")])
    assert done.exit_code == 0, done.output
    changes = [json.loads(line) for line in (tmp_path / "clean" / "cleaning.jsonl").read_text().splitlines()]
    assert {"name": "p00/05.png", "identity": "p00", "to": None, "why": OUTLIER}.items() <= changes[0].items()
    left_out = sum(one["to"] is None for one in changes)
    read = read_source(tmp_path / "clean")
    assert len(read) == 48 - left_out and read.open is not None and read.open(0).size == (64, 64)
    assert len(read_source(tmp_path / "set")) == 48
    assert "p00 left out" in (tmp_path / "clean" / "cleaning.html").read_text()


def test_parquet_becomes_parquet(pictures: list[Image.Image], tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"bytes": encoded(image), "path": "x"} for image in pictures]
    who = [0 if row == 5 else row // 4 for row in range(48)]
    pq.write_table(
        pa.table({"image": rows, "identity": [f"p{n}" for n in who], "label": who}), tmp_path / "set.parquet"
    )
    cleaned = clean(tmp_path / "set.parquet", tmp_path / "clean", by=str(tiny_model / "encoder"), fmr=0.01)
    read = read_source(tmp_path / "clean")
    assert read.labels.tolist() == [label for label in cleaned.labels if label] and len(read) < 48
    assert cleaned.labels[5] == "" and "label" not in read.columns
