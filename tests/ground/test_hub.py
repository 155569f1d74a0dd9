import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_server import HubServer

from idgen import IDiffFacePipeline
from idgen.ground import hub as models
from idgen.ground.errors import InputError
from idgen.ground.hub import resolve
from idgen.model import Model, load_model


@pytest.fixture
def repository(tiny_model: Path, hub: HubServer, tmp_path: Path) -> str:
    """The tiny model as user/tiny on the hub, beside files that nobody should fetch."""
    folder = shutil.copytree(tiny_model, tmp_path / "repository")
    for name in ("denoiser/model.py", "pipeline.py", "denoiser/idgen.py", "denoiser/diffusion_pytorch_model.bin"):
        (folder / name).write_text("raise SystemExit('executed')")
    name = f"user/{tmp_path.name.replace('_', '-')}"
    hub.repos[name] = folder
    return name


def test_a_model_inside_the_package(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nobody-128").symlink_to(tiny_model, target_is_directory=True)
    monkeypatch.setattr(models, "BUILTIN", tmp_path)
    assert models.builtin_models() == ["nobody-128"]
    loaded = load_model()
    assert loaded.folder == tmp_path / "nobody-128"
    assert load_model(tiny_model).name == "tiny" and resolve(str(tiny_model)) == tiny_model
    with pytest.raises(InputError, match=r"no model 'nobdy'.*nobody-128"):
        load_model("nobdy")


@pytest.mark.parametrize("name", ["nobody-64", "./not/here", "/not/here", "a/b/c", "", "user/nothing", "user/.."])
def test_an_unknown_model(hub: HubServer, name: str) -> None:
    with pytest.raises(InputError, match="no model"):
        load_model(name)


def test_the_hub_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"cannot be reached .*HF_HUB_OFFLINE is set"):
        load_model("user/never-fetched")


def test_a_gated_model_asks_to_accept_its_terms(repository: str, hub: HubServer) -> None:
    hub.gated.append(repository)
    for load in (load_model, IDiffFacePipeline.from_pretrained):
        with pytest.raises(
            InputError, match=rf"accept them at {hub.url}/{repository}, then log in here by `hf auth login"
        ):
            load(repository)
    assert resolve(repository, token="hf_mine").is_dir()


def test_a_busy_hub_says_how_long_to_wait(repository: str, hub: HubServer) -> None:
    hub.busy.append(1)
    with pytest.raises(InputError, match=r"HTTP 429\): try again in 1 second;"):
        load_model(repository)
    hub.busy.clear()
    resolve(repository)
    hub.busy.append(1)
    assert resolve(repository).is_dir(), "what was fetched before is there"


def test_what_is_fetched_cannot_be_written(repository: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"cannot be written \(.*: set HF_HOME to a folder"):
        resolve(repository, cache_dir=tmp_path / "file" / "hub")


def test_a_model_on_the_hub(repository: str, hub: HubServer, tiny_model: Path) -> None:
    with pytest.raises(InputError, match="no revision 'v9'"):
        resolve(repository, revision="v9")
    for part in ("encoder", "judge"):  # as insightface's recognisers lie there
        (hub.repos[repository] / part / "recogniser.onnx").write_bytes(part.encode())
    loaded = load_model(repository, device="cpu")
    assert loaded.name == repository and loaded.folder.is_dir()
    fetched = {name for _, name in hub.fetched}
    assert {"model_index.json", "encoder/config.json", "judge/bridge.safetensors"} <= fetched
    assert {"encoder/recogniser.onnx", "judge/recogniser.onnx"} <= fetched
    assert not [name for name in fetched if name.endswith((".py", ".bin"))]
    person = loaded.sampler.sample(1, seed=3)
    here = Model(tiny_model, device="cpu").pipeline(person, num_inference_steps=2).images[0]
    np.testing.assert_array_equal(loaded.pipeline(person, num_inference_steps=2).images[0], here)


def test_a_pipeline_on_the_hub(repository: str, hub: HubServer) -> None:
    pipeline = IDiffFacePipeline.from_pretrained(repository)
    assert pipeline.config.space == "tiny-encoder"
    fetched = {name for _, name in hub.fetched}
    assert not [name for name in fetched if name.endswith((".py", ".bin")) or name.startswith(("encoder", "judge"))]


def test_parts_are_loaded_once_and_when_used(tiny_model: Path) -> None:
    loaded = load_model(tiny_model, device="cpu")
    assert loaded._parts == {}
    scorer = loaded.scorer
    assert set(loaded._parts) == {"scorer", "encoder", "judge"} and loaded.scorer is scorer
    made = loaded.pipeline(loaded.sampler.sample(1, seed=0), 2, num_inference_steps=1)
    scores = scorer.score(made.images, made.items[0].vector)
    assert len(scores) == 2 and all(-1 <= score.similarity <= 1 for score in scores)


def test_a_model_without_a_judge_says_so(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "partial", ignore=shutil.ignore_patterns("judge"))
    with pytest.raises(InputError, match="'partial' has no judge"):
        _ = load_model(folder).judge


_FRESH = """
import sys
import idgen
assert not {"torch", "diffusers", "numpy"} & set(sys.modules), "import idgen is not light"
from diffusers import DiffusionPipeline
pipeline = DiffusionPipeline.from_pretrained(sys.argv[1])
assert type(pipeline) is idgen.IDiffFacePipeline, type(pipeline)
assert type(pipeline.denoiser) is idgen.IdentityDiT
assert all(getattr(idgen, name) for name in idgen.__all__)
assert all(getattr(idgen.models, name) for name in idgen.models.__all__)
assert idgen.load_model and "IDiffFacePipeline" in dir(idgen) and not hasattr(idgen, "nothing")
"""


def test_diffusers_knows_the_pipeline_after_a_plain_import(repository: str) -> None:
    """In a process of its own: nothing else has imported anything."""
    done = subprocess.run(
        [sys.executable, "-c", _FRESH, repository], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
