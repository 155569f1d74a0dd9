"""Where what can be made again is kept, on machines where that is nowhere."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from idgen import similarity
from idgen.ground import files, hub
from idgen.ground.errors import InputError
from idgen.model import load_model
from idgen.training.data import load_faces


@pytest.fixture(params=["no home", "not a folder"])
def nowhere(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IDGEN_CACHE")
    if request.param == "not a folder":  # as a home that cannot be written, for root, too
        (tmp_path / "file").write_text("")
        return monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.delenv("HOME")

    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_training_names_the_variable(nowhere: None, tmp_path: Path) -> None:
    for person in "ab":
        (tmp_path / "faces" / person).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "faces" / person / "0.png")
    with pytest.raises(InputError, match="set IDGEN_CACHE to a folder that can be written"):
        load_faces(tmp_path / "faces")


def test_a_curve_that_was_measured_is_used_though_it_cannot_be_kept(
    nowhere: None, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few: Callable[..., object] = partial(similarity.measure_similarity, cosines=(0, 1), people=2, images=1, steps=1)
    monkeypatch.setattr(similarity, "measure_similarity", few)
    with pytest.warns(UserWarning, match="measured again the next time.*set IDGEN_CACHE"):
        curve = similarity.similarity_curve(load_model(tiny_model, device="cpu"))
    assert list(curve.cosines) == [0, 1]


def test_fetching_names_the_variable(nowhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "~/hub")
    with pytest.raises(InputError, match=r"HF_HOME|cannot be reached"):
        hub.resolve("user/never-fetched")


def test_a_place_is_asked_for_when_it_is_used(nowhere: None) -> None:
    with pytest.raises(InputError, match="IDGEN_CACHE"):
        files.check_cache(files.cache("anything", "file"))


def test_what_was_used_longest_ago_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without that, a cache of decoded pictures grew to 40 GB in a day, and the next set found no room."""
    now = time.time()
    for name, days in (("old", 40), ("b", 3), ("c", 2), ("d", 1), (".half", 40)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "images.npy").write_bytes(b"1234")
        os.utime(tmp_path / name, (now - days * 86400,) * 2)
    monkeypatch.setattr(
        "shutil.disk_usage", lambda folder: SimpleNamespace(free=100 - sum(1 for _ in tmp_path.glob("*/images.npy")))
    )
    assert files.make_room(tmp_path, 10) == 96
    assert sorted(path.name for path in tmp_path.iterdir()) == [".half", "b", "c", "d"]
    files.used(tmp_path / "b")
    assert files.make_room(tmp_path, 98) == 98
    assert sorted(path.name for path in tmp_path.iterdir()) == [".half", "b"]
