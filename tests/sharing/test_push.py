"""What is pushed is what others load: every pixel, by idgen and without it, online, offline and with the hub away."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hub_server import HubServer
from huggingface_hub import constants
from torch.nn.functional import normalize
from typer.testing import CliRunner

from idgen import FaceEncoder, IDiffFacePipeline
from idgen.cli import app
from idgen.ground import hub as hub_of_idgen
from idgen.ground.errors import InputError
from idgen.model import Model, load_model
from idgen.sharing.push import Pushed, push

ROOT = Path(__file__).parents[2]
AWAY = "http://127.0.0.1:9"
"""Where nobody listens."""


@pytest.fixture
def name(tmp_path: Path) -> str:
    """A repository that no other test has put into the cache."""
    return f"user/{tmp_path.name.replace('_', '-')}"


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return Model(tiny_model, device="cpu")


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(tiny_model, tmp_path / "model")


def pictures(pipeline, vectors, **how: Any) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline(vectors, 2, seed=5, num_inference_steps=2, output_type="np", **how).images


# Run where idgen is not: saves the pictures of vectors, and prints what was imported.
WITHOUT_IDGEN = """
import importlib.abc, sys
class Nowhere(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "idgen":
            raise ModuleNotFoundError("no idgen here")
sys.meta_path.insert(0, Nowhere())
import numpy as np
from diffusers import DiffusionPipeline
from safetensors.torch import load_file
repo, revision, vectors, out = sys.argv[1:]
if revision != "-":
    try:
        DiffusionPipeline.from_pretrained(repo, revision=revision, custom_pipeline="pipeline")
    except ValueError as error:
        assert "trust_remote_code" in str(error), error
    else:
        raise SystemExit("code was run without being trusted")
more = {} if revision == "-" else {"revision": revision}
pipeline = DiffusionPipeline.from_pretrained(repo, custom_pipeline="pipeline", trust_remote_code=True, **more)
pipeline.set_progress_bar_config(disable=True)
made = pipeline(load_file(vectors)["vectors"], 2, seed=5, num_inference_steps=2, output_type="np").images
np.save(out, made)
pipeline.save_pretrained(out.replace(".npy", ""))
assert not [name for name in sys.modules if name.split(".")[0] == "idgen"]
"""


def run(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, with its own cache unless `HF_HOME` is given."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


def test_every_pixel_comes_back(model: Model, name: str, hub: HubServer, tmp_path: Path) -> None:
    people = model.sampler.sample(2, seed=3)
    before = pictures(model.pipeline, people)
    done = push(model, name)
    assert done.alone and not done.notes and done.commit == hub.pushed[name].branches["main"]
    assert "denoiser/diffusion_pytorch_model.safetensors" in hub.large
    loaded = load_model(done.name, "cpu")
    assert loaded.name == done.name and all(loaded.has(part) for part in ("encoder", "judge", "sampler"))
    np.testing.assert_array_equal(pictures(loaded.pipeline, loaded.sampler.sample(2, seed=3)), before)
    pinned = IDiffFacePipeline.from_pretrained(name, revision=done.commit)
    np.testing.assert_array_equal(pictures(pinned, people), before)

    file, out = people.save(tmp_path / "people.safetensors"), tmp_path / "alone.npy"
    alone = run(WITHOUT_IDGEN, name, done.commit, file, out, HF_HOME=str(tmp_path / "cache"))
    assert alone.returncode == 0, alone.stderr
    np.testing.assert_array_equal(np.load(out), before)
    # What it saved loads again, without idgen and with it.
    again = run(WITHOUT_IDGEN, tmp_path / "alone", "-", file, tmp_path / "again.npy", HF_HOME=str(tmp_path / "cache"))
    assert again.returncode == 0, again.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "again.npy"), before)
    np.testing.assert_array_equal(pictures(IDiffFacePipeline.from_pretrained(tmp_path / "alone"), people), before)


def test_attributes_and_few_steps_come_back_without_idgen(
    attributed_model: Path, name: str, hub: HubServer, tmp_path: Path
) -> None:
    model = Model(attributed_model, device="cpu")
    people = model.sampler.sample(2, seed=3)
    before = pictures(model.pipeline, people, attributes={"yaw": 20})
    done = push(model, name)
    assert done.alone and not done.notes
    file, out = people.save(tmp_path / "people.safetensors"), tmp_path / "alone.npy"
    code = WITHOUT_IDGEN.replace("num_inference_steps=2,", "num_inference_steps=2, attributes={'yaw': 20},")
    alone = run(code, name, done.commit, file, out, HF_HOME=str(tmp_path / "cache"))
    assert alone.returncode == 0, alone.stderr
    np.testing.assert_array_equal(np.load(out), before)


# Loads each "how repository" and prints what came, and after how many seconds.
BY_IDGEN = """
import json, sys, time
import idgen
from diffusers import DiffusionPipeline
ways = {
    "diffusers": DiffusionPipeline.from_pretrained,
    "pipeline": idgen.IDiffFacePipeline.from_pretrained,
    "model": lambda name: idgen.load_model(name).pipeline,
    "encoder": lambda name: idgen.load_model(name).encoder,
}
said = []
for text in sys.argv[1:]:
    how, repo = text.split()
    began = time.time()
    try:
        found = ways[how](repo)
        if how == "diffusers":
            assert type(found.denoiser) is idgen.IdentityDiT, type(found.denoiser).__module__
        said.append([type(found).__module__ + "." + type(found).__name__, time.time() - began])
    except idgen.InputError as error:
        said.append([str(error), time.time() - began])
print(json.dumps(said))
"""
OURS = "idgen.pipelines.idiff_face.IDiffFacePipeline"


def said(*asked: str, **environment: str) -> list[tuple[str, float]]:
    done = run(BY_IDGEN, *asked, **environment)
    assert done.returncode == 0 and "non-standard" not in done.stderr, done.stderr
    return [tuple(pair) for pair in json.loads(done.stdout)]


def test_online_offline_and_with_the_hub_away(model: Model, name: str, hub: HubServer, tmp_path: Path) -> None:
    """From a clean cache first. By diffusers after `import idgen`, too, without running the repository's code."""
    cache = {"HF_HOME": str(tmp_path / "cache")}
    done = push(model, name)
    known = [f"diffusers {name}", f"pipeline {done.name}", f"model {name}", f"model {done.name}", f"encoder {name}"]
    there = [OURS, OURS, OURS, OURS, "idgen.faces.encoder.FaceEncoder"]
    assert [text for text, _ in said(*known, **cache)] == there
    unknown = [f"{how} user/none{commit}" for how in ("pipeline", "model") for commit in ("", f"@{'a' * 40}")]
    for environment in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": AWAY}):
        answers = said(*known, *unknown, **cache, **environment)
        assert [text for text, _ in answers[:5]] == there
        for text, _ in answers[5:]:
            assert text.startswith("The model 'user/none' is no folder here, and the hub cannot be reached for it")
        assert max(seconds for _, seconds in answers[5:]) < 5


@pytest.mark.parametrize("silent", [False, True])
def test_a_hub_that_is_away_or_says_nothing(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, silent: bool) -> None:
    monkeypatch.setattr(hub_of_idgen, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        at = f"http://127.0.0.1:{server.getsockname()[1]}" if silent else AWAY
        monkeypatch.setattr(constants, "ENDPOINT", at)
        asked: list[tuple[Callable[[], object], str]] = [
            (lambda: push(tiny_model, "user/x"), f"Nothing was uploaded: the Hub at {at} cannot be reached"),
            (lambda: load_model("user/x"), "cannot be reached"),
            (lambda: load_model("user/x@main"), "cannot be reached"),
        ]
        for ask, why in asked:
            began = time.time()
            with pytest.raises(InputError, match=why):
                ask()
            assert time.time() - began < (20 if silent else 5)


def test_a_revision_is_a_branch_or_a_commit(model: Model, name: str, hub: HubServer) -> None:
    first = push(model, name)
    second = push(model, name, revision="v2", message="Second")
    assert hub.pushed[name].messages[-1] == "Second" and first.commit != second.commit
    assert load_model(f"{name}@v2").folder.name == second.commit
    assert load_model(name, revision=first.commit).name == first.name
    assert load_model(name).folder.name == first.commit
    with pytest.raises(InputError, match="no revision 'v9'"):
        load_model(f"{name}@v9")


def test_an_older_push_leaves_nothing_to_be_loaded(folder: Path, name: str, hub: HubServer) -> None:
    push(folder, name)
    shutil.rmtree(folder / "judge")
    push(folder, name)
    assert not load_model(name).has("judge")


def test_what_travels_and_what_does_not(folder: Path, name: str, hub: HubServer) -> None:
    (folder / "me.safetensors").write_bytes(b"somebody")
    (folder / "denoiser" / "optimizer.pt").write_bytes(b"a pickle")
    (folder / "denoiser" / "model.py").write_text("raise SystemExit('executed')")
    (folder / "evaluation.json").write_text("{}")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.json").write_text("{}")
    done = push(folder, name)
    kept = hub.pushed[name].commits[done.commit]
    files = {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()}
    assert files == set(done.files) and "judge/bridge.safetensors" in files
    code = {file for file in files if file.endswith(".py")}
    assert code == {"pipeline.py", "denoiser/idgen.py", "autoencoder/idgen.py"}
    assert set(done.left_out) == {"denoiser/model.py", "denoiser/optimizer.pt", "evaluation.json", "me.safetensors"}
    assert json.loads((kept / "model_index.json").read_text()) == json.loads((folder / "model_index.json").read_text())


def test_a_pipeline_by_itself(model: Model, name: str, hub: HubServer) -> None:
    people = model.sampler.sample(1, seed=1)
    with pytest.raises(InputError, match="under which licence"):
        model.pipeline.push_to_hub(name)
    done = model.pipeline.push_to_hub(name, licence="cc0-1.0", private=True)
    assert isinstance(done, Pushed) and hub.pushed[name].private
    loaded = IDiffFacePipeline.from_pretrained(done.name)
    np.testing.assert_array_equal(pictures(loaded, people), pictures(model.pipeline, people))


def test_a_face_encoder(model: Model, name: str, hub: HubServer) -> None:
    done = model.encoder.push_to_hub(name, licence="apache-2.0")
    loaded = FaceEncoder.from_pretrained(name, revision=done.commit)
    assert loaded.space == "tiny-encoder" and loaded.calibration == model.encoder.calibration
    faces = model.pipeline(model.sampler.sample(1, seed=0), 2, num_inference_steps=1).images
    assert loaded.encode(faces).equal(model.encoder.encode(faces))
    assert loaded.finder is not None
    assert done.lines() == [f'FaceEncoder.from_pretrained("{name}", revision="{done.commit}")']


def test_arc2face_with_its_adapter_and_its_pack(name: str, hub: HubServer, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("insightface")
    from tiny_arc2face import DIM, build_official
    from tiny_insight import build_pack

    from idgen import Arc2FacePipeline
    from idgen.faces.insight import LICENCE, InsightFaceEncoder

    files = build_official(tmp_path / "official")
    pipeline = Arc2FacePipeline.from_pretrained(files, base=files, expression=True, identity_dim=DIM)
    pipeline.save_pretrained(tmp_path / "model")
    encoder = InsightFaceEncoder.from_pack(build_pack(tmp_path / "pack"))
    encoder.save_pretrained(tmp_path / "model" / "encoder")
    with pytest.raises(InputError, match="not uploaded on its own"):
        encoder.push_to_hub(name, licence="mit")
    done = push(tmp_path / "model", name, licence="mit", device="cpu")
    assert not done.alone and done.notes[0].startswith("Only people with idgen can load it")
    assert not [file for file in done.files if file.endswith(".py")]
    loaded = load_model(done.name, "cpu")
    vectors = normalize(torch.randn(1, DIM, generator=torch.Generator().manual_seed(0)))
    options: dict = {"num_inference_steps": 1, "expression": "yawn", "output_type": "np"}
    np.testing.assert_array_equal(loaded.pipeline(vectors, **options).images, pipeline(vectors, **options).images)
    assert loaded.encoder.notice.endswith(LICENCE)
    card = (hub.pushed[name].commits[done.commit] / "README.md").read_text(encoding="utf-8")
    assert LICENCE in card and "Without idgen it does not load." in card


def test_what_does_not_load_or_could_execute_code_is_not_uploaded(folder: Path, hub: HubServer) -> None:
    weights = [folder / part / "diffusion_pytorch_model.safetensors" for part in ("autoencoder", "denoiser")]
    weights[0].write_bytes(b"cut short")
    with pytest.raises(InputError, match="autoencoder"):
        push(folder, "user/x")
    weights[1].rename(weights[1].with_suffix(".bin"))
    with pytest.raises(InputError, match=r"denoiser/diffusion_pytorch_model.bin could execute code"):
        push(folder, "user/x")
    (folder / "model_index.json").unlink()
    with pytest.raises(InputError, match=r"there is no model_index\.json"):
        push(folder, "user/x")
    assert not hub.pushed


@pytest.mark.parametrize("repo", ["name", "a/b/c", "user/..", "user/a b", "user/"])
def test_names_that_no_repository_can_have(tiny_model: Path, repo: str) -> None:
    with pytest.raises(InputError, match="cannot be a repository"):
        push(tiny_model, repo)


def test_who_is_not_logged_in(tiny_model: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError, match="hf auth login"):
        push(tiny_model, "user/x")
    assert not hub.pushed


def test_the_command_says_how_to_load_it(tiny_model: Path, name: str, hub: HubServer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["push", str(tiny_model), name, "--private", "--message", "First"])
    assert result.exit_code == 0, result.output
    assert hub.pushed[name].private and hub.pushed[name].messages[-1] == "First"
    commit = hub.pushed[name].branches["main"]
    assert f"/{name}/commit/{commit}" in result.output
    line = next(line for line in result.output.splitlines() if "idgen generate" in line)
    arguments = line.split()[1:]
    arguments[arguments.index("--out") + 1] = str(tmp_path / "pictures")
    result = CliRunner().invoke(app, [*arguments, "--steps", "1"])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "pictures" / "settings.json").read_text())["model"] == f"{name}@{commit}"
