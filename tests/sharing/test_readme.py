"""The page on sharing, walked to the letter, against a hub on this machine."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from hub_server import HubServer
from pages import blocks, lines, page
from typer.testing import CliRunner

from idgen.cli import app

PAGE = page("docs/sharing.md")


def test_the_page_on_sharing(tiny_model: Path, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("torchmetrics", "onnx", "onnxscript"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model, "my-model", ignore=shutil.ignore_patterns("README.md"))
    commands = map(shlex.split, lines(PAGE, "console"))
    ours = [arguments for program, *arguments in commands if program == "idgen"]
    assert [arguments[0] for arguments in ours] == ["push", "export"]
    for arguments in ours:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert Path("recognizer.onnx").stat().st_size > 0
    commit = hub.pushed["you/my-model"].branches["main"]
    names: dict = {}
    assert len(blocks(PAGE, "py")) == 2
    for code in blocks(PAGE, "py"):
        exec(compile(code.replace("COMMIT", commit), "sharing.md", "exec"), names)
        pipeline = names["pipeline"]
        pipeline.set_progress_bar_config(disable=True)
        people = names["model"].sampler.sample(1, seed=0).vectors
        assert pipeline(people, num_inference_steps=1).images[0].size == (32, 32)
    assert names["model"].name == f"you/my-model@{commit}" and names["model"].has("judge")
