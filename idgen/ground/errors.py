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
    """Import the module `name`, such as "peft", that an extra, such as "arc2face", brings. InputError if it is not
    installed: `what` needs it, the beginning of a sentence, such as "The LCM-LoRA"."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        raise InputError(f"{what} needs the package {missing.split('.')[0]}: {how_to_install(extra)}.") from error
