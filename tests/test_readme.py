"""Every page is true: its code runs, its commands work or exist, its links lead somewhere."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from pages import DOCS, PAGES, README, ROOT, blocks, lines, page
from typer.testing import CliRunner

import idgen
from idgen.cli import app
from idgen.dataset.plan import Plan
from idgen.study.plan import Study
from idgen.training.recipe import RECIPES, TRAINERS, trainer

every_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
# Python that needs a server, a download or large weights: the tests that run it, by the page.
ELSEWHERE = {
    "app.md": "space/test_readme_app.py",
    "published.md": "convert/test_arc2face.py",  # and convert/test_idiff_face.py
    "sharing.md": "sharing/test_readme.py",
}


def texts(*languages: str) -> list[str]:
    return [code for path in PAGES for language in languages for code in blocks(path.read_text("utf-8"), language)]


def test_a_newcomer_reads_two_screens_and_finds_every_page() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 180
    assert set(DOCS) == set(ROOT.glob("docs/*.md"))


@every_page
def test_the_python_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for code in blocks(path.read_text("utf-8"), "python"):
        exec(compile(code, path.name, "exec"), {})
    assert path != README or "at a false-match rate of 1 in 1,000" in capsys.readouterr().out
    if blocks(path.read_text("utf-8"), "py"):
        assert path.name in (ROOT / "tests" / ELSEWHERE[path.name]).read_text("utf-8")


def test_only_public_names_are_shown() -> None:
    """And docs/python.md lists all of them."""
    for code in texts("python", "py"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "idgen":
                assert node.module == "idgen" and {name.name for name in node.names} <= set(idgen.__all__)
            elif isinstance(node, ast.Import):
                assert not any(name.name.startswith("idgen.") for name in node.names)
    rows = re.findall(r"^\| (`.*?) \|", page("docs/python.md"), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(idgen.__all__)


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one folder, page after page as the README names them."""
    monkeypatch.chdir(tmp_path)
    for text in texts("yaml"):
        (tmp_path / text.split()[1]).write_text(text)  # "# NAME.yaml" is the first line
    commands = [shlex.split(line) for path in PAGES for line in lines(path.read_text("utf-8"), "bash")]
    assert len(commands) >= 11
    for name, *arguments in commands:
        assert name == "idgen"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{arguments}: {result.output}"
    for made in ("pictures/contact-sheet.png", "few/report/report.html", "report/evaluation.json", "tiny/study.html"):
        assert (tmp_path / made).exists()


def unknown(words: list[str]) -> set[str]:
    """The options that an `idgen` command does not have; a command that does not exist fails."""
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    known = {"--help"} | {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    fields: dict[str, Any] = {}
    if command.name == "plan":
        fields = Plan.__dataclass_fields__
    elif command.name == "train":
        known.add("--recipe")
        fields = trainer(words[0])[0].__dataclass_fields__ if words and words[0].islower() else {}
    known |= {f"--{yes}{field.replace('_', '-')}" for field in fields for yes in ("", "no-")}
    return {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)} - known


@every_page
def test_the_commands_exist_with_their_options(path: Path) -> None:
    text = path.read_text("utf-8")
    inline = re.findall(r"`(idgen [a-z][^`]*)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for line in lines(text, "console") + inline:
        program, *words = shlex.split(line)
        if program == "idgen":
            assert not unknown(words), line
        elif program == "make":
            assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        elif program == "python" and words[0].startswith("benchmarks/"):
            source = (ROOT / words[0]).read_text("utf-8")
            assert all(word[2:].replace("-", "_") in source for word in words if word.startswith("--")), line
        elif program == "python":
            assert all((ROOT / word).exists() for word in words if word.startswith("tests/")), line


def test_the_training_page_names_every_network_and_the_plan_reads(tmp_path: Path) -> None:
    commands = map(shlex.split, lines(page("docs/training.md"), "console"))
    shown = {words[2] for words in commands if words[:2] == ["idgen", "train"]}
    assert shown == set(TRAINERS) == {recipe.stem for recipe in RECIPES.glob("*.yaml")}
    for text in texts("yaml"):
        (tmp_path / "plan.yaml").write_text(text)
        if "rows:" in text:
            assert Study.read(tmp_path / "plan.yaml").reference
        else:
            assert Plan.read(tmp_path / "plan.yaml").people == 10_000


@every_page
def test_links_lead_somewhere(path: Path) -> None:
    for file, anchor in re.findall(r"\]\((?!http)([^)#\s]*)#?([^)\s]*)\)", path.read_text("utf-8")):
        target = path.parent / file if file else path
        assert target.exists(), file
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, anchor
