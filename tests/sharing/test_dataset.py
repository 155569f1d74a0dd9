"""A dataset on the Hub is what `datasets` loads by its name, with its card; vectors of photos stay here."""

from __future__ import annotations

from pathlib import Path

import pytest
from hub_server import HubServer
from typer.testing import CliRunner

from idgen import Identities
from idgen.cli import app
from idgen.dataset.card import report
from idgen.dataset.drawing import make_plan
from idgen.dataset.plan import Plan
from idgen.dataset.run import run
from idgen.ground.errors import InputError
from idgen.sharing.dataset import push_dataset

FEW = {"people": 2, "images": 2, "steps": 1, "match": None, "other": False, "face": False, "shard": 1}


@pytest.fixture
def name(tmp_path: Path) -> str:
    return f"user/{tmp_path.name.replace('_', '-')}"


def test_it_is_loaded_by_its_name(
    tiny_model: Path, tmp_path: Path, name: str, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "few"
    make_plan(Plan(model=str(tiny_model), **FEW), folder)
    with pytest.raises(InputError, match=r"2 of 2 shards of .* are not made yet"):
        push_dataset(folder, name)
    run(folder, 1)
    with pytest.raises(InputError, match="has no card: `idgen dataset report"):
        push_dataset(folder, name)
    report(folder)
    monkeypatch.setenv("HF_TOKEN", "hf_fake")
    done = CliRunner().invoke(app, ["dataset", "push", str(folder), name, "--private"])
    assert done.exit_code == 0 and f'datasets.load_dataset("{name}", revision="' in done.output, done.output
    pushed = hub.pushed[name]
    there = pushed.commits[pushed.branches["main"]]
    data = sorted(path.name for path in (there / "data").iterdir())
    assert data == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"] and pushed.private
    assert (there / data[0]).exists() is False and (there / "identities.safetensors").is_file()
    assert f'load_dataset("{name}", split="train")' in (there / "README.md").read_text()
    assert not list(there.glob("made")) and (there / "report" / "report.html").is_file()


def test_vectors_of_photos_stay_here(
    tiny_model: Path, tmp_path: Path, name: str, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from idgen.model import Model

    people = Model(tiny_model).sampler.sample(2, 0)
    photographed = Identities.of([dataclasses.replace(one, source="photo.jpg") for one in people])
    photographed.save(tmp_path / "people.safetensors")
    folder = tmp_path / "few"
    make_plan(Plan(model=str(tiny_model), method="file", file=tmp_path / "people.safetensors", **FEW), folder)
    run(folder, 1)
    report(folder)
    monkeypatch.setenv("HF_TOKEN", "hf_fake")
    done = push_dataset(folder, name)
    assert "identities.safetensors" in done.left_out and "identities.safetensors" not in done.files
