"""What counts as a picture of a set, what is left out of it, and what its files are called."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from idgen.ground import files
from idgen.ground.errors import InputError
from idgen.ground.images import FORMATS, SUFFIXES
from idgen.sets import read_source
from idgen.training.data import load_faces


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Three people with two pictures each."""
    folder, rng = tmp_path / "people", np.random.default_rng(0)
    for name in ("anna", "bo", "cem"):
        (folder / name).mkdir(parents=True)
        for k in range(2):
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / name / f"0{k}.png")
    return folder


def test_what_editors_and_systems_leave_behind_is_no_data(people: Path) -> None:
    before = read_source(people)
    for left in ("anna/.ipynb_checkpoints", "__MACOSX/anna", "bo/@eaDir", ".git/x"):
        (people / left).mkdir(parents=True)
        shutil.copy(people / "anna" / "00.png", people / left / "00-checkpoint.png")
    for left in ("._00.png", "Thumbs.db", ".hidden.parquet"):
        (people / "anna" / left).write_bytes(b"\0\5\x16\7")
    after = read_source(people)
    assert after.names.tolist() == before.names.tolist() and set(after.labels) == {"anna", "bo", "cem"}
    assert after.note == "" and load_faces(people).people == 3


def test_a_damaged_picture_is_called_by_its_path_in_the_set(people: Path) -> None:
    (people / "bo" / "01.png").write_bytes(b"no picture")
    source = read_source(people)
    assert source.open is not None
    with pytest.raises(InputError, match=r"^bo/01\.png is not a picture"):
        source.open(3)


def test_one_list_of_what_a_picture_is_and_the_rest_is_counted(people: Path) -> None:
    known = {ending.removeprefix(".") for ending, kind in Image.registered_extensions().items() if kind in FORMATS}
    assert known <= SUFFIXES
    picture = Image.open(people / "anna" / "00.png")
    for name in ("02.avif", "03.JFIF", "04.webp"):
        picture.save(people / "anna" / name, "JPEG" if "JFIF" in name else None)
    for name in ("anna/notes.txt", "bo/LICENSE"):
        (people / name).write_text("no picture")
    shutil.copy(people / "anna" / "00.png", people / "lost.png")
    source = read_source(people)
    assert len(source) == 9 and source.open is not None
    assert [source.open(row).size for row in range(9)] == [(16, 16)] * 9
    assert "2 files of people were left out" in source.note and ".txt: 1" in source.note
    assert "1 picture of people was left out, lying in no person's folder" in source.note
    for _ in range(2):  # decoded, and from the cache
        with pytest.warns(UserWarning, match="2 files of people were left out"):
            assert len(load_faces(people)) == 9


def test_a_link_counts_as_what_it_leads_to_at_any_depth(people: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    (linked / "train").mkdir(parents=True)
    (linked / "train" / "anna").symlink_to(people / "anna")
    (linked / "bo").symlink_to(people / "bo")
    (linked / "bo" / "up").symlink_to(linked)  # a circle
    assert sorted(set(read_source(linked).labels)) == ["bo", "train/anna"]
    assert load_faces(linked).people == 2
    before = load_faces(linked).content
    Image.new("RGB", (16, 16)).save(people / "anna" / "00.png")
    assert load_faces(linked).content != before, "a linked picture that was changed is decoded again"
    assert len(list(files.walk(linked))) == 4
