"""Arguments from dataclasses, recipes and the command line."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from idgen.ground.errors import InputError
from idgen.ground.options import parse
from idgen.training.recipe import RECIPES, TRAINERS, trainer


@dataclass(kw_only=True)
class Base:
    out: Path
    """Where to."""
    steps: int = 10
    lr: float = 1e-3
    """Learning rate, in 100 % of cases."""


@dataclass(kw_only=True)
class Args(Base):
    """Train a thing."""

    resume: bool = True
    minutes: float | None = None
    model: dict[str, Any] = field(default_factory=dict)
    widths: tuple[int, ...] = (1, 2)
    name: str = "x"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError("steps must be at least 1.")


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_types_and_defaults() -> None:
    args = parse(Args, ["--out", "run", "--steps", "4e2", "--lr=3e-4", "--no-resume", "--model", "{width: 8}"], "train")
    assert args == Args(out=Path("run"), steps=400, lr=3e-4, resume=False, model={"width": 8})
    assert isinstance(args.steps, int) and isinstance(args.out, Path)
    assert parse(Args, ["--out", "run", "--widths", "[3, 4]", "--minutes", "2"], "train").widths == (3, 4)


def test_the_command_line_wins_over_the_recipe(tmp_path: Path) -> None:
    path = recipe(tmp_path, "out: run\nsteps: 5\nlr: 1e-4\nminutes: null\nmodel:\n  width: 4\n")
    args = parse(Args, ["--recipe", str(path), "--steps", "6"], "train")
    assert args == Args(out=Path("run"), steps=6, lr=1e-4, model={"width": 4})
    assert parse(Args, [], "train", path).steps == 5
    assert parse(Args, ["--out", "run"], "train", tmp_path / "absent.yaml").steps == 10


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "needs --out"),
        (["--out", "x", "--steps", "1.5"], "--steps is a whole number, got '1.5'"),
        (["--out", "x", "--steps", "nan"], "whole number"),
        (["--out", "x", "--steps", "inf"], "whole number"),
        (["--out", "x", "--steps", "0"], "at least 1"),
        (["--out", "x", "--model", "[1]"], "--model is YAML"),
        (["--out", "x", "--model", "{"], "--model is YAML"),
        (["--out", "x", "--unknown", "1"], "--unknown"),
        (["--ou", "x"], "--ou"),
    ],
)
def test_what_cannot_be_used(arguments: list[str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        parse(Args, arguments, "train")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("steps: [", "not valid YAML"),
        ("- 1\n", "holds no options"),
        ("speed: 3\n", "speed"),
        ("resume: maybe\n", "--resume is true or false, got 'maybe'"),
        ("steps: true\n", "whole number"),
        ("!!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_recipes_that_cannot_be_used(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        parse(Args, ["--out", "x", "--recipe", str(recipe(tmp_path, text))], "train")


def test_help_says_what_the_docstrings_say(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        parse(Args, ["--help"], "idgen train thing")
    assert done.value.code == 0
    shown = capsys.readouterr().out
    assert "Train a thing." in shown and "Where to." in shown and "100 % of cases. [0.001]" in shown
    assert "--no-resume" in shown


@pytest.mark.parametrize("network", TRAINERS)
def test_every_network_can_be_trained_from_its_recipe(network: str, tmp_path: Path) -> None:
    args_class, function = trainer(network)
    assert callable(function)
    path = RECIPES / f"{network}.yaml"
    assert path.is_file() or network == "model", "there is nothing to choose in putting the networks together"
    needed = [
        text
        for item in dataclasses.fields(args_class)
        if item.default is item.default_factory is dataclasses.MISSING
        for text in (f"--{item.name.replace('_', '-')}", str(tmp_path / item.name))
    ]
    args = parse(args_class, needed, f"idgen train {network}", path)
    assert args.out == tmp_path / "out"
