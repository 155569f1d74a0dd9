"""From labelled faces to a model, by the commands of the README, with tiny networks and nothing else decided."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from tiny import encoded, labelled
from typer.testing import CliRunner

from idgen.cli import app
from idgen.model import load_model
from idgen.training.loop import RunArgs

TINY = {
    "recognizer": {"channels": [16, 16, 16], "blocks": [1, 1, 2], "embedding_dim": 16},
    "judge": {"channels": [16, 16, 16], "depths": [1, 1, 1], "embedding_dim": 24},
    "autoencoder": {"latent_channels": 4, "encoder_channels": [16, 16], "decoder_channels": [16, 16]},
    "generator": {"width": 32, "depth": 1, "heads": 2, "context_dim": 16, "identity_tokens": 2},
    "sampler": {"width": 16, "depth": 1, "steps": 2},
}
NEEDS = {"autoencoder": ["recognizer"], "generator": ["recognizer", "autoencoder"], "sampler": ["recognizer"]}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*args):
        return runner.invoke(app, ["train", *map(str, args)])

    return run


def test_a_model_of_ones_own(people, folder, tmp_path, run):
    for network, model in TINY.items():
        command = [network, "--data", folder, "--model", yaml.safe_dump(model, default_flow_style=True)]
        command += ["--steps", 1, "--batch-size", 4, "--device", "cpu", "--no-compile"]
        if network in ("recognizer", "judge"):
            command += ["--margin", 0.1]
        for needed in NEEDS.get(network, ()):
            command += [f"--{needed}", f"runs/{needed}/model"]
        result = run(*command)
        assert result.exit_code == 0, result.output
    unseen = people("unseen", 60, 3, seed=1)

    result = run("model", "--data", folder, "--measure", unseen, "--out", "my-model")
    assert result.exit_code == 0, result.output
    model = load_model(tmp_path / "my-model")
    assert model.encoder.space.startswith("my-model-") and model.encoder.space.endswith("-encoder")
    calibration = tmp_path / "my-model" / "judge" / "calibration.json"
    (known,) = json.loads(calibration.read_text())["calibrations"]
    said = known["data"]
    assert known["domain"] == "rendered" and said == "180 pictures of 60 people who are not in the training data"
    (who,) = model.sampler.sample(1, seed=0)
    (picture,) = model.pipeline(who, num_inference_steps=1).images
    assert picture.size == (128, 128) and len(model.scorer.score([picture], who)) == 1

    (tmp_path / "my-model" / "README.md").write_text("My card.")
    result = run("judge", "--data", folder, "--model", TINY["judge"], "--steps", 2, "--batch-size", 4)
    assert result.exit_code == 0, result.output
    result = run("model", "--data", folder, "--measure", unseen, "--out", "my-model", "--measured-on", "the same")
    assert result.exit_code == 0, result.output
    again = load_model(tmp_path / "my-model")
    assert again.encoder.space != model.encoder.space, "vectors of before would be scored by another judge"
    assert json.loads(calibration.read_text())["calibrations"][0]["data"] == "the same"
    assert (tmp_path / "my-model" / "README.md").read_text() == "My card."

    for measure, out, why in (
        (tmp_path / "nowhere", "other", "No files"),
        (folder, "other", "24 pictures of --measure are in --data too"),
        (people("few", 6, 4, seed=2), "other", "120 comparisons of different people are too few"),
        (unseen, "unseen", "would be replaced"),
    ):
        result = run("model", "--data", folder, "--measure", measure, "--out", out)
        assert result.exit_code == 2 and why in result.output, result.output
    assert len(list(unseen.iterdir())) == 60
    (tmp_path / "my-model" / ".git").mkdir()
    result = run("model", "--data", folder, "--measure", unseen, "--out", "my-model")
    assert result.exit_code == 2 and "holds .git" in result.output and load_model(tmp_path / "my-model")
    assert [path.name for path in tmp_path.iterdir() if "other" in path.name or path.name[0] == "."] == []

    options = ("--data", folder, "--batch-size", 4, "--device", "cpu", "--margin", 0.1)
    result = run("recognizer", *options, "--model", TINY["recognizer"], "--steps", 2)
    assert result.exit_code == 0, result.output
    result = run("model", "--data", folder, "--measure", unseen, "--out", "other")
    assert result.exit_code == 2 and "was trained with another recognizer" in result.output


def labelled_faces(file, people, seed):
    rng, columns = np.random.default_rng(seed), labelled(people, 4, seed)
    faces = rng.integers(0, 255, (people, 8, 8, 3)).repeat(4, 0)
    pixels = np.clip(faces + rng.integers(-20, 20, faces.shape), 0, 255).astype(np.uint8)
    pictures = [encoded(Image.fromarray(one).resize((128, 128))) for one in pixels]
    rows = {name: values.tolist() for name, values in columns.items()}
    rows["identity"] = [f"{seed}-{person}" for person in range(people) for _ in range(4)]
    rows["image"] = [{"bytes": picture, "path": "x.png"} for picture in pictures]
    pq.write_table(pa.table(rows), file)
    return file


def test_a_model_that_can_be_told(tmp_path, run):
    faces, unseen = labelled_faces(tmp_path / "faces.parquet", 8, 0), labelled_faces(tmp_path / "unseen.parquet", 60, 1)
    told = {
        **TINY,
        "student": {},
        "attributes": {"channels": [16, 16], "blocks": [1, 1], "width": 16, "image_size": 32},
    }
    needs = {**NEEDS, "student": ["recognizer", "autoencoder", "generator"]}
    for network, model in told.items():
        command = [network, "--data", faces, "--model", yaml.safe_dump(model, default_flow_style=True)]
        command += ["--steps", 1, "--batch-size", 4, "--device", "cpu", "--no-compile"]
        command += ["--margin", 0.1] if network in ("recognizer", "judge") else []
        command += ["--paths", 8, "--teacher-steps", 2, "--student-steps", 2] if network == "student" else []
        for needed in needs.get(network, ()):
            command += [f"--{needed}", f"runs/{needed}/model"]
        result = run(*command)
        assert result.exit_code == 0, result.output
    result = run("model", "--data", faces, "--measure", unseen, "--out", "told", "--few-steps", 2)
    assert result.exit_code == 0, result.output

    model = load_model(tmp_path / "told")
    (who,) = model.sampler.sample(1, seed=0)
    (item,) = model.pipeline(who, num_inference_steps=2, attributes={"yaw": 30}).items
    assert item.attributes["yaw"] == 30 and "beard" in item.attributes
    assert model.traits(who.vector[None]).shape == (1, 6)
    (read,) = model.attributes.describe([item.image])
    assert {"yaw", "hat", "gender", "age"} <= read.keys()
    assert model.attributes.errors["hat"].keys() == {"accuracy", "balanced"}
    assert model.attributes.measured_on == "240 pictures of 60 people who are not in the training data"


@pytest.mark.parametrize("network", ["autoencoder", "generator", "sampler"])
def test_what_has_to_be_trained_first_is_said(folder, run, network):
    needed = [part for name in NEEDS[network] for part in (f"--{name}", f"runs/{name}/model")]
    result = run(network, "--data", folder, *needed, "--device", "cpu")
    assert result.exit_code == 2, result.output
    assert "runs/" in result.output and "Traceback" not in result.output


def test_bfloat16_only_where_it_is_fast(monkeypatch):
    for able in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {"avx512_bf16": able}, raising=False)
        assert RunArgs(out=Path(), device="cpu").precision == ("bf16" if able else "no")
