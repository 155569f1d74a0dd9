"""Typed arguments of a long run, from a YAML file and the command line: one option a field of the dataclass."""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from idgen.ground.errors import InputError

Args = TypeVar("Args")


def parse(args_class: type[Args], argv: Sequence[str], prog: str, recipe: Path | None = None) -> Args:
    """Arguments from a recipe, overridden by the command line.

    Args:
        args_class: a dataclass; the docstring of a field is the help of its option.
        argv: the command line after the command; `--recipe FILE` names another recipe, and `--help` prints and exits.
        prog: how the command is called.
        recipe: the recipe to use when `argv` names none; left out when there is no such file. In the folder of its name
            are others, which `--recipe NAME` finds.

    Raises:
        InputError: an option or a recipe that cannot be used.
    """
    recipe = recipe if recipe is not None and recipe.is_file() else None
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--recipe", type=Path, default=recipe)
    with contextlib.suppress(argparse.ArgumentError):  # said below
        named = first.parse_known_args(list(argv))[0].recipe
        ours = None if recipe is None else recipe.with_suffix("") / f"{named}.yaml"
        recipe = ours if ours is not None and ours.is_file() and not named.is_file() else named
    parser = _Parser(prog=prog, description=inspect.getdoc(args_class), allow_abbrev=False)
    parser.add_argument(
        "--recipe",
        type=Path,
        metavar="FILE",
        help="YAML file with any of the options below, or the name of one of ours.",
    )
    hints, docs = typing.get_type_hints(args_class), _field_docs(args_class)
    fields: dict[str, Any] = {item.name: item for item in dataclasses.fields(args_class)}  # type: ignore[arg-type]
    values = {} if recipe is None else _read(recipe, set(fields))
    for name, item in fields.items():
        option, kind = _option(name), _plain(hints[name])
        text = docs.get(name, "").replace("%", "%%")
        default = values.get(name, item.default)
        if default not in (dataclasses.MISSING, None):
            text = f"{text} [{default}]"
        common: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": text}
        if kind is bool:
            parser.add_argument(option, action=argparse.BooleanOptionalAction, **common)
        elif _several(hints[name]):
            parser.add_argument(option, action="append", metavar="TEXT", **common)
        else:
            metavar = {int: "N", float: "X", Path: "PATH"} | dict.fromkeys((dict, list, tuple, Any), "YAML")
            parser.add_argument(option, metavar=metavar.get(kind, "TEXT"), **common)
    given = vars(parser.parse_args(list(argv)))
    del given["recipe"]
    values.update(given)
    absent = [
        _option(name)
        for name, item in fields.items()
        if name not in values and item.default is item.default_factory is dataclasses.MISSING
    ]
    if absent:
        raise InputError(f"{prog} needs {' and '.join(absent)}: give them here or in a recipe.")
    return made(args_class, values)


def made(args_class: type[Args], values: dict[str, Any]) -> Args:
    """Arguments of what a file or a command line says of each; InputError for one that cannot be used."""
    hints = typing.get_type_hints(args_class)
    try:
        return args_class(**{name: _convert(_option(name), value, hints[name]) for name, value in values.items()})
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error


def mapping(text: str, option: str) -> dict[str, Any]:
    """Options in YAML, such as {partition: gpu}; InputError where it is something else."""
    return _convert(option, text, dict)


def value_of(name: str, text: str) -> Any:
    """A value in YAML, such as 30, yes, [0.5, 1] or {yes: 0.3}; InputError where it is none."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"The value of {name} is a number, a word, or YAML such as [0.5, 1], got {text!r}.") from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message}; see --help.")


def _read(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no options: write lines such as `steps: 1000`.")
    values = {str(name).replace("-", "_"): value for name, value in values.items()}
    if unknown := sorted(values.keys() - known):
        raise InputError(f"{path} has options that do not exist: {', '.join(unknown)}.")
    return values


def _plain(hint: Any) -> Any:
    """`X` of `X | None`, and the class of a generic one."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    return typing.get_origin(hint) or hint


def _several(hint: Any) -> bool:
    """Whether an option is given once for each of its values."""
    return _plain(hint) is list and typing.get_args(hint) == (str,)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _convert(option: str, value: Any, hint: Any) -> Any:
    kind = _plain(hint)
    if value is None or (value == "none" and type(None) in typing.get_args(hint)):
        return None
    try:
        if kind is Any:
            return yaml.safe_load(value) if isinstance(value, str) else value
        if _several(hint):
            return [str(one) for one in ([value] if isinstance(value, (str, Path)) else value)]
        if kind in (dict, list, tuple):
            value = yaml.safe_load(value) if isinstance(value, str) else value
            if not isinstance(value, dict if kind is dict else list):
                raise ValueError
            return kind(value)
        if kind is bool and not isinstance(value, bool):
            raise ValueError
        if kind in (int, float):
            # YAML 1.1 reads 1e-3 as text, and a whole number may be written 4e5.
            number = float(value) if not isinstance(value, bool) else float("nan")
            if number != number or (kind is int and number != int(number)):
                raise ValueError
            return kind(number)
        return kind(value) if callable(kind) else value
    except Exception as error:  # yaml's errors are of many kinds
        words = {int: "a whole number", float: "a number", bool: "true or false", dict: "YAML such as {width: 64}"}
        raise InputError(f"{option} is {words.get(kind, 'not usable')}, got {value!r}.") from error


def _field_docs(args_class: type) -> dict[str, str]:
    """The docstrings under the fields, which Python itself does not keep."""
    docs: dict[str, str] = {}
    for part in reversed(args_class.__mro__[:-1]):
        body = typing.cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]).body
        for item, following in itertools.pairwise(body):
            if (
                isinstance(item, ast.AnnAssign)
                and isinstance(item.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                docs[item.target.id] = " ".join(str(following.value.value).split())
    return docs
