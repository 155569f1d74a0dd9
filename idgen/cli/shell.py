"""What all commands share: mistakes as one sentence, options that mean the same everywhere, summaries."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from idgen.ground.errors import InputError, how_to_install
from idgen.ground.options import value_of

# Before torch is imported: waiting threads that spin starve those that work, here and in other programs.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

INTERRUPTED = 130
_Refused: Any = typer.BadParameter.__mro__[2]  # ClickException; newer typer has its own copy of click


class Commands(TyperGroup):
    """Says what the caller got wrong in one sentence on stderr and exits with 2: no usage screen, no traceback."""

    def main(self, args: Any = None, *rest: Any, **options: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):  # a console may lack letters: the work is done, so it is said anyhow
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            with _notes():
                code = super().main(args, *rest, **{**options, "standalone_mode": False})
        except InputError as error:
            _refuse(str(error))
        except _Refused as error:
            _refuse(error.format_message())
        except ImportError as error:
            if error.name is not None:  # of ours
                raise
            why = (str(error).strip() or "without a reason").splitlines()[0].rstrip(".")
            _refuse(
                f"A package does not load beside what else is installed ({why}): pip install --upgrade brings it up."
            )
        except (typer.Abort, KeyboardInterrupt):
            typer.echo("Interrupted.", err=True)
            sys.exit(INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)


def _refuse(sentence: str) -> NoReturn:
    sentence = " ".join(sentence.split())
    typer.echo(sentence if sentence.endswith((".", "?", "!")) else f"{sentence}.", err=True)
    sys.exit(2)


@contextmanager
def _notes() -> Iterator[None]:
    """Show idgen's own warnings as plain sentences on stderr, and no other package's."""

    def show(message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any) -> None:
        if category is UserWarning and "idgen" in Path(filename).parts:
            if bars := sys.modules.get("tqdm"):  # which may be in this line
                bars.tqdm.write(f"Note: {message}", file=sys.stderr)
            else:
                typer.echo(f"Note: {message}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Say which extra a missing package comes with."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        raise InputError(f"This needs the package {package}: {how_to_install(extra)}.") from error


def group(help: str) -> typer.Typer:
    """Commands under one name."""
    plain: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False}
    return typer.Typer(cls=Commands, help=help, **plain)


def read_wishes(words: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` words to what is asked for, the values in YAML; InputError for no such word, or one name twice."""
    wishes: dict[str, Any] = {}
    for word in words:
        name, equals, text = (part.strip() for part in word.partition("="))
        if not (name and equals and text):
            raise InputError(f"What is asked for is written NAME=VALUE, such as yaw=30, got {word!r}.")
        if name in wishes:
            raise InputError(f"{name} is asked for twice: give it one value.")
        wishes[name] = value_of(name, text)
    return wishes


def say(*lines: str) -> None:
    """A line each."""
    for line in lines:
        typer.echo(line)


def say_summary(summary: Iterable[tuple[str, str]]) -> None:
    """What a report says in plain words."""
    say(*(f"{'!' if level == 'bad' else '-'} {text}" for level, text in summary))


def interrupted(done: int, wanted: int, what: str) -> typer.Exit:
    """What to raise when Control-C left something to go on from."""
    typer.echo(f"Interrupted with {done} of {wanted} {what}: the same command goes on from there.", err=True)
    return typer.Exit(INTERRUPTED)


def argument(metavar: str, help: str, default: Any = ...) -> Any:
    """What comes without a name."""
    return typer.Argument(default, metavar=metavar, help=help)


def option(default: Any, help: str, *names: str, **more: Any) -> Any:
    """What comes after `--name`, by default the parameter's."""
    return typer.Option(default, *names, help=help, **more)


def flag(name: str, help: str) -> Any:
    """On where it is given."""
    return typer.Option(False, name, help=help)


def integer(default: Any, help: str, *names: str) -> Any:
    """An option that takes a whole number."""
    return typer.Option(default, *names, help=help, parser=_whole, metavar="INTEGER")


def _whole(text: Any) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number.") from None


# A command that reads the rest of its line itself.
PASSED_ON: dict[str, Any] = {
    "context_settings": {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    "add_help_option": False,
}
NAMED = {"metavar": "NAME|DIR|user/repo"}
MODEL = option("nobody-128", "Named model, folder, or Hub repository; user/repo@revision pins it.", **NAMED)
DEVICE = option(None, "cpu, cuda or mps; by default the best there is.")
SEED = integer(0, "The same seed gives the same result.")
BATCH_SIZE = integer(8, "Pictures at a time; changes speed and memory only.")
JSON = flag("--json", "Print JSON.")
FMR = option(1e-3, "False-match rate of the verdict: 0.01, 0.001 or 0.0001.")
DOMAIN = option(
    None, "What the pictures are: rendered, photographs, 'generated by NAME'; by default as their files say."
)
TRAINING = option(None, "What the generator was trained on: look for leaks.")
