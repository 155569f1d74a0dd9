"""Reading labelled faces."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from idgen.ground import files
from idgen.training.data import hold_out, load_faces


def as_parquet(folder, path, label="identity"):
    rows = [
        {"image": {"bytes": file.read_bytes(), "path": file.name}, label: file.parent.name, "yaw": 1.5}
        for file in sorted(folder.glob("*/*.png"))
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_a_folder_and_parquet_with_further_columns(folder, tmp_path):
    faces, parquet = load_faces(folder), load_faces(as_parquet(folder, tmp_path / "faces.parquet"))
    assert (len(faces), faces.people, faces.images.shape) == (24, 6, (24, 128, 128, 3))
    first = np.asarray(Image.open(folder / "p0" / "0.png"))
    assert np.array_equal(faces.images[0], first)
    assert np.allclose(faces.pixels(np.array([0]))[0].permute(1, 2, 0).numpy() * 255, first)
    assert parquet.people == 6 and (parquet.columns["yaw"] == 1.5).all()
    assert np.array_equal(parquet.images, faces.images)
    small, again = load_faces(folder, size=32), load_faces(folder, size=32)
    assert small.images.shape == (24, 32, 32, 3)
    assert np.array_equal(small.images, again.images) and isinstance(again.images, np.memmap)


def test_nobody_is_on_both_sides(folder):
    faces = load_faces(folder)
    for asked in (2, None):
        shown, held_out = faces.split_people(asked)
        assert (shown.people, held_out.people, len(shown) + len(held_out)) == (4, 2, 24)
    with pytest.raises(ValueError, match="at least one"):
        faces.split_people(6)
    assert [hold_out(there, None) for there in (3, 40, 150, 4500)] == [2, 4, 15, 300]
    assert hold_out(4500, None, 100) == 100 and hold_out(4500, 1) == 1
    with pytest.raises(ValueError, match="2 of 2 people"):
        hold_out(2, None)


def test_names_that_other_programs_take_for_splits(folder):
    (folder / "p0").rename(folder / "test")
    (folder / "p1" / "0.png").rename(folder / "p1" / "test-1.png")
    (folder / "notes.txt").write_text("nothing")
    faces = load_faces(folder)
    assert (len(faces), faces.people) == (24, 6)


def test_numbers_stay_in_their_order(folder):
    for person in range(6):
        (folder / f"p{person}").rename(folder / str(8 + person))
    faces = load_faces(folder)
    for row, name in ((faces.labels.argmin(), "8"), (faces.labels.argmax(), "13")):
        assert np.array_equal(faces.images[row], np.asarray(Image.open(folder / name / "0.png")))


def test_what_is_read_has_a_name_by_content(folder):
    content = load_faces(folder).content
    (folder / "p5" / "3.png").rename(folder / "p4" / "9.png")
    assert load_faces(folder).content != content, "the same pictures, but somebody else's"
    (folder / "p4" / "9.png").rename(folder / "p5" / "3.png")
    assert load_faces(folder).content == content


def test_every_picture_that_cannot_be_used_is_counted(folder):
    (folder / "p0" / "1.png").write_bytes(b"nothing")
    cut = (folder / "p2" / "0.png").read_bytes()
    (folder / "p2" / "0.png").write_bytes(cut[: len(cut) // 2])
    with pytest.raises(ValueError, match=r"p0.1.png is .*2 of 24 pictures"):
        load_faces(folder)
    for name in ("p0/1.png", "p2/0.png"):
        Image.new("RGB", (100, 120)).save(folder / name)
    with pytest.raises(ValueError, match="100×120 pixels: cut faces out square first, by idgen align"):
        load_faces(folder, size=128)
    assert not list((files.cache("decoded")).iterdir()), "nothing half-written stays"


def test_what_cannot_be_read_is_said(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    nobody = pa.table({"image": [{"bytes": b"", "path": None}] * 2, "identity": [1, None], "odd": [[1], [1, 2]]})
    pq.write_table(nobody, tmp_path / "nobody.parquet")
    (tmp_path / "junk.parquet").write_bytes(b"junk")
    as_parquet(folder, tmp_path / "x.parquet", label="who")
    np.save(tmp_path / "vectors.npy", np.ones((3, 4), np.float32))
    Image.new("RGB", (64, 64)).save(folder / "p0" / "9.png")
    for name, says in (
        ("empty", "No files"),
        ("nobody.parquet", r"Row 1 of .* does not say who"),
        ("junk.parquet", "cannot be read as Parquet"),
        ("x.parquet", "are needed"),
        ("vectors.npy", "training needs the pictures"),
        ("faces", "make all alike"),
    ):
        with pytest.raises(ValueError, match=says):
            load_faces(tmp_path / name)
