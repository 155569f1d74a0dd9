"""Names of recognisers."""

from __future__ import annotations

from pathlib import Path

import pytest

from idgen.faces import FaceEncoder
from idgen.faces.resolve import folder_of, recogniser, user_calibration
from idgen.ground import files
from idgen.ground.errors import InputError
from idgen.model import load_model


def test_folders_models_and_their_judges(tiny_model: Path, tmp_path: Path) -> None:
    assert recogniser(tiny_model).space == recogniser(tiny_model / "encoder").space == "tiny-encoder"
    assert recogniser(tiny_model / "judge").space == "tiny-judge"
    assert recogniser("nobody-128/judge").space == load_model("nobody-128").judge.space
    assert folder_of(tiny_model) == tiny_model / "encoder" and folder_of("dlib") is None
    for name, says in (("nowhere", "no model 'nowhere'"), (str(tmp_path), "holds no .onnx|is no recogniser")):
        with pytest.raises(InputError, match=says):
            recogniser(name)


def test_what_this_user_measured_is_read(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDGEN_CACHE", str(tmp_path))
    shipped = FaceEncoder.from_pretrained(tiny_model / "encoder").calibration
    assert shipped is not None
    (one,) = shipped["calibrations"]
    own = user_calibration("tiny-encoder")
    files.write_json(own, {**shipped, "calibrations": [{**one, "domain": "photographs"}]})
    found = recogniser(tiny_model / "encoder").calibration
    assert found is not None and [each["domain"] for each in found["calibrations"]] == ["rendered", "photographs"]


def test_an_onnx_file_alone(tmp_path: Path) -> None:
    pytest.importorskip("insightface")
    from tiny_insight import build_recognizer

    encoder = recogniser(build_recognizer(tmp_path / "mine.onnx"))
    assert (encoder.space, encoder.dim) == ("insightface-mine", 512) and encoder.finder is not None
    encoder.save_pretrained(tmp_path / "kept")
    again = FaceEncoder.from_pretrained(tmp_path / "kept")
    assert again.space == encoder.space and again.finder is not None


def test_dlib_without_its_extra_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idgen.faces.dlib_resnet.require_package", _missing)
    with pytest.raises(InputError, match="photos"):
        recogniser("dlib")


def _missing(name: str, extra: str, what: str) -> None:
    raise InputError(f"{what} needs the package {name}: {extra}.")
