"""The errors that are the caller's to mend, and how to get what is not installed."""

from __future__ import annotations

import importlib
from types import ModuleType


class InputError(ValueError):
    """What the caller got wrong, in one sentence: what, why, and what to do. The command line exits with 2 on it."""


class NoFaceError(InputError):
    """There is no face in a picture."""


def how_to_install(extra: str) -> str:
    """The command that installs one of the package's extras, or several with commas between."""
    return f'pip install -e ".[{extra}]" in a checkout of idgen, or pip install "WHEEL[{extra}]" with its wheel'


def require_package(name: str, extra: str, what: str) -> ModuleType:
    """Import a package that an extra brings.

    Args:
        name: of the module, such as "peft".
        extra: that brings it, such as "arc2face".
        what: what needs it, as the beginning of a sentence: "The LCM-LoRA".

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        raise InputError(f"{what} needs the package {missing.split('.')[0]}: {how_to_install(extra)}.") from error
