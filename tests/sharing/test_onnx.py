"""The exported recogniser answers what the encoder answers, in insightface's own hands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY, patterns
from torch.nn.functional import normalize
from typer.testing import CliRunner

from idgen import FaceEncoder
from idgen.cli import app
from idgen.ground.errors import InputError
from idgen.model import Model
from idgen.models import PlainRecognizer, ResNetRecognizer

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
model_zoo = pytest.importorskip("insightface.model_zoo")

from idgen.sharing.onnx import Recognizer, export_recognizer, takes  # noqa: E402


def loaded(file: Path, **options):
    return model_zoo.get_model(str(file), providers=["CPUExecutionProvider"], **options)


def answers(recognizer, crops: list[Image.Image]) -> torch.Tensor:
    """What insightface makes of aligned crops, in its own colour order."""
    return torch.from_numpy(recognizer.get_feat([np.asarray(crop)[:, :, ::-1] for crop in crops]))


def tensor(crops: list[Image.Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(crop) for crop in crops])).permute(0, 3, 1, 2) / 127.5 - 1


@pytest.fixture(scope="module")
def crops() -> list[Image.Image]:
    pixels, _ = patterns(5, 1, size=112, seed=9)
    return [Image.fromarray((picture.permute(1, 2, 0) * 255).byte().numpy()) for picture in pixels]


@pytest.mark.parametrize("judge", [False, True], ids=["encoder", "judge"])
def test_insightface_answers_as_the_encoder(
    tiny_model: Path, tmp_path: Path, crops: list[Image.Image], judge: bool
) -> None:
    out = tmp_path / "recognizer.onnx"
    said, *_ = export_recognizer(tiny_model, out, judge=judge)
    model = Model(tiny_model, device="cpu")
    encoder = model.judge.recognizer if judge else model.encoder
    assert said == f"{out}: crops 112×112 to {encoder.dim} numbers in the space {encoder.space!r}."
    assert [path.name for path in tmp_path.iterdir()] == ["recognizer.onnx"]  # no weights beside it
    recognizer = loaded(out)
    assert type(recognizer).__name__ == "ArcFaceONNX"
    assert (recognizer.input_mean, recognizer.input_std) == (127.5, 127.5)  # so nothing is normalised twice
    wanted = encoder.encode(crops)
    for count in (1, 3, 5):
        assert (normalize(answers(recognizer, crops[:count])) - wanted[:count]).abs().max() < 1e-5
    raw = Recognizer(encoder, 112)(tensor(crops)).detach()
    assert (answers(recognizer, crops) - raw).abs().max() < 1e-5 * max(1, raw.abs().max())


def test_no_path_of_this_machine_is_in_the_file(tiny_model: Path, tmp_path: Path) -> None:
    said, *_ = export_recognizer(tiny_model / "encoder", tmp_path / "x.onnx")  # an encoder by itself does, too
    content = (tmp_path / "x.onnx").read_bytes()
    assert "in the space 'tiny-encoder'" in said
    assert b"idgen" not in content and b".py" not in content and str(tmp_path).encode() not in content


def test_sizes_that_insightface_takes() -> None:
    assert [side for side in (64, 96, 112, 120, 128, 160, 192, 256) if takes(side)] == [112, 128, 160, 256]


@pytest.mark.parametrize(("side", "size"), [(96, 112), (128, 128)])
def test_another_size(tmp_path: Path, crops: list[Image.Image], side: int, size: int) -> None:
    """One that insightface does not take is resized inside the file, from 112, as the encoder would."""
    torch.manual_seed(side)
    encoder = FaceEncoder(ResNetRecognizer(**TINY["encoder"], image_size=side), space="a space")
    said = export_recognizer(encoder.save_pretrained(tmp_path / "encoder"), tmp_path / "x.onnx")
    assert any("resizes crops" in note for note in said) is (size != side)
    recognizer = loaded(tmp_path / "x.onnx")
    assert recognizer.input_size == (size, size)
    given = [crop.resize((size, size)) for crop in crops]
    assert (normalize(answers(recognizer, given)) - encoder.encode(given)).abs().max() < 1e-5


def test_another_architecture_without_flip(tmp_path: Path, crops: list[Image.Image]) -> None:
    torch.manual_seed(0)
    encoder = FaceEncoder(PlainRecognizer(**TINY["judge"]), space="a space", flip=False, alignment="ffhq")
    said = export_recognizer(encoder.save_pretrained(tmp_path / "encoder"), tmp_path / "x.onnx")
    assert any("aligned as 'ffhq'" in note for note in said)
    wanted = normalize(encoder.recognizer(tensor(crops))).detach()
    assert (normalize(answers(loaded(tmp_path / "x.onnx"), crops)) - wanted).abs().max() < 1e-5


def test_a_pack_with_a_manifest(tiny_model: Path, tmp_path: Path, crops: list[Image.Image]) -> None:
    result = CliRunner().invoke(app, ["export", "onnx", str(tiny_model), str(tmp_path / "pack")])
    assert result.exit_code == 0, result.output
    assert "insightface finds faces with SCRFD" in result.output
    wanted = Model(tiny_model, device="cpu").encoder.encode(crops)
    assert (normalize(answers(loaded(tmp_path / "pack", model_task="recognition"), crops)) - wanted).abs().max() < 1e-5
    assert json.loads((tmp_path / "pack" / "manifest.json").read_text())["model_id"] == "tiny-encoder"
    with (tmp_path / "pack" / "recognizer.onnx").open("ab") as file:
        file.write(b"more")
    with pytest.raises(Exception, match=r"(?i)sha"):
        loaded(tmp_path / "pack", model_task="recognition")


def test_what_cannot_be_exported(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="no model 'nobody'"):
        export_recognizer("nobody", tmp_path / "x.onnx")
    with pytest.raises(InputError, match="is a file"):
        export_recognizer(tiny_model, tmp_path / "file" / "x.onnx")
