"""The README is true: its code runs, its commands work, its links lead somewhere, its options exist."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CARD = ROOT / "idgen" / "builtin" / "nobody-128" / "README.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_python_runs(capsys):
    assert blocks("python")
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), {})
    assert "at a false-match rate of 1 in 1,000" in capsys.readouterr().out


def test_the_commands_run(tmp_path, monkeypatch):
    from idgen.cli import app

    monkeypatch.chdir(tmp_path)
    commands = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
    assert len(commands) >= 3
    for line in commands:
        name, *arguments = shlex.split(re.sub(r"\s#.*", "", line))
        assert name == "idgen"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{line}: {result.output}"
    assert (tmp_path / "pictures" / "contact-sheet.png").exists()


@pytest.mark.parametrize("page", [ROOT / "README.md", CARD], ids=["README", "card"])
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    for target in targets:
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_the_training_commands_exist():
    from idgen.training.recipe import RECIPES, TRAINERS, trainer

    lines = [line for block in blocks("console") for line in block.splitlines() if line.startswith("idgen train")]
    assert {shlex.split(line)[2] for line in lines} == set(TRAINERS) == {p.stem for p in RECIPES.glob("*.yaml")}
    for line in lines:
        _, _, network, *options = shlex.split(line)
        fields = trainer(network)[0].__dataclass_fields__
        assert {o.removeprefix("--").replace("-", "_") for o in options if o.startswith("--")} <= set(fields)


def test_the_plan_and_the_dataset_commands_exist(tmp_path):
    import typer

    from idgen.cli import app
    from idgen.dataset.plan import Plan

    for text in blocks("yaml"):
        (tmp_path / "plan.yaml").write_text(text)
        assert Plan.read(tmp_path / "plan.yaml").people == 10_000
    commands = typer.main.get_command(app).commands["dataset"].commands
    lines = [line for block in blocks("console") for line in block.splitlines() if line.startswith("idgen dataset")]
    assert {shlex.split(line, comments=True)[2] for line in lines} >= {"run", "status", "report", "export"}
    for line in lines:
        _, _, name, *words = shlex.split(line, comments=True)
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
