"""Reading labelled faces."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from idgen.training.data import hold_out, load_faces


def as_parquet(folder, path, label="identity"):
    rows = []
    for file in sorted(folder.glob("*/*.png")):
        rows.append({"image": {"bytes": file.read_bytes(), "path": file.name}, label: file.parent.name, "yaw": 1.5})
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_an_image_folder(folder):
    faces = load_faces(folder)
    assert (len(faces), faces.people, faces.images.shape) == (24, 6, (24, 128, 128, 3))
    first = np.asarray(Image.open(folder / "p0" / "0.png"))
    assert np.array_equal(faces.images[0], first)
    assert np.allclose(faces.pixels(np.array([0]))[0].permute(1, 2, 0).numpy() * 255, first)


def test_parquet_with_further_columns(folder, tmp_path):
    faces = load_faces(as_parquet(folder, tmp_path / "faces.parquet"))
    assert faces.people == 6
    assert (faces.columns["yaw"] == 1.5).all()
    assert np.array_equal(faces.images, load_faces(folder).images)


def test_resized_and_kept_decoded(folder, tmp_path):
    faces = load_faces(folder, size=32)
    assert faces.images.shape == (24, 32, 32, 3)
    again = load_faces(folder, size=32)
    assert np.array_equal(faces.images, again.images)
    assert isinstance(again.images, np.memmap)


def test_nobody_is_on_both_sides(folder):
    shown, held_out = load_faces(folder).split_people(2)
    assert (shown.people, held_out.people) == (4, 2)
    assert len(shown) + len(held_out) == 24
    with pytest.raises(ValueError, match="at least one"):
        load_faces(folder).split_people(6)
    assert load_faces(folder).split_people()[1].people == 2


def test_a_tenth_is_held_out_unless_asked():
    assert [hold_out(there, None) for there in (3, 40, 150, 4500)] == [2, 4, 15, 300]
    assert hold_out(4500, None, 100) == 100 and hold_out(4500, 1) == 1
    with pytest.raises(ValueError, match="2 of 2 people"):
        hold_out(2, None)


def test_what_cannot_be_read_is_said(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="No files"):
        load_faces(tmp_path / "empty")
    with pytest.raises(ValueError, match="no column that names the person"):
        load_faces(as_parquet(folder, tmp_path / "x.parquet", label="who"))
    data = io.BytesIO()
    Image.new("RGB", (64, 64)).save(data, "PNG")
    (folder / "p0" / "9.png").write_bytes(data.getvalue())
    with pytest.raises(ValueError, match="pass a size"):
        load_faces(folder)
