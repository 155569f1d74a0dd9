"""The README's section on sharing, walked to the letter, against a hub on this machine."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from hub_server import HubServer
from typer.testing import CliRunner

from idgen.cli import app

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.split("\n## Share a model\n")[1].split("\n## ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)


def test_the_section_on_sharing(
    tiny_model: Path, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("torchmetrics", "onnx", "onnxscript"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_test")  # in place of `hf auth login`
    shutil.copytree(tiny_model, "my-model", ignore=shutil.ignore_patterns("README.md"))
    commands = [shlex.split(line, comments=True) for block in blocks("console") for line in block.splitlines()]
    ours = [arguments for program, *arguments in commands if program == "idgen"]
    assert [arguments[0] for arguments in ours] == ["push", "export"]
    for arguments in ours:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert Path("recognizer.onnx").stat().st_size > 0
    commit = hub.pushed["you/my-model"].branches["main"]
    names: dict = {}
    assert len(blocks("py")) == 2
    for code in blocks("py"):
        exec(compile(code.replace("COMMIT", commit), "README.md", "exec"), names)
        pipeline = names["pipeline"]
        pipeline.set_progress_bar_config(disable=True)
        people = names["model"].sampler.sample(1, seed=0).vectors
        assert pipeline(people, num_inference_steps=1).images[0].size == (32, 32)
    assert names["model"].name == f"you/my-model@{commit}" and names["model"].has("judge")
