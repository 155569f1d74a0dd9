"""Generated pictures say that they are."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from idgen.errors import InputError
from idgen.provenance import SOURCE_TYPE, png_bytes, read, save_image

INFO = {"model": "nobody-128", "identity": "person-7-0002", "seed": 7, "k": 3}


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = save_image(picture(), tmp_path / "new" / "00.png", INFO)
    said = read(path)
    assert said["digital_source_type"] == SOURCE_TYPE
    assert INFO.items() <= said.items()
    assert said["generator"].startswith("idgen ")
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(picture()))
    assert [file.name for file in path.parent.iterdir()] == ["00.png"]


def test_xmp_is_valid_and_names_the_source_type(tmp_path: Path) -> None:
    path = save_image(picture(), tmp_path / "00.png", {"identity": 'a <b> & "c" ü'})
    packet = Image.open(path).info["XML:com.adobe.xmp"]
    root = ElementTree.fromstring(packet)
    found = root.find(".//{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert found is not None and found.text == SOURCE_TYPE
    assert read(path)["identity"] == 'a <b> & "c" ü'


def test_equal_pictures_are_equal_bytes() -> None:
    assert png_bytes(picture(), INFO) == png_bytes(picture(), INFO)


def test_nothing_of_a_photo_slips_through(tmp_path: Path) -> None:
    photo = picture()
    photo.info.update({"comment": b"at home", "icc_profile": b"profile", "Author": "somebody"})
    photo.getexif()[0x010F] = "camera"
    plain, full = png_bytes(picture(), INFO), png_bytes(photo, INFO)
    assert plain == full


def test_a_picture_that_says_nothing(tmp_path: Path) -> None:
    picture().save(tmp_path / "plain.png")
    assert read(tmp_path / "plain.png") == {}


def test_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no")
    with pytest.raises(InputError, match="not a readable image"):
        read(tmp_path / "text.png")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path, tmp_path / "file" / "00.png"):
        with pytest.raises(InputError, match="Cannot write"):
            save_image(picture(), place, INFO)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
