"""Uploads: where they lie, and every place where one is read and deleted. No Gradio here.

Each is a file `upload*` in a folder of its own (`gradio_private.Upload`; `keep` for what comes with a tool's
call). `take` deletes what a request reads, `discard` what a refused one names, and `sweep` what nobody asked for.
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from idgen.ground.errors import InputError

UNUSED = 600.0
"""Seconds until an upload that no request has used is deleted, and in which uploads are counted."""

API = "/gradio_api"
"""What the addresses of all that Gradio answers begin with."""
FILE = f"{API}/file="
"""What comes before the path in the address of an upload."""


def folder() -> Path:
    """Where Gradio keeps files."""
    return Path(os.environ.get("GRADIO_TEMP_DIR") or Path(tempfile.gettempdir()) / "gradio").resolve()


def keep(content: bytes) -> Path:
    """Write what did not come as a form to where uploads are."""
    path = folder() / secrets.token_hex(32) / "upload"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def take(payload: Any, most: int) -> list[bytes]:
    """The bytes of uploaded files; the files are deleted, whatever happens.

    Raises:
        InputError: there is none, there are more than `most`, one is no upload, or is gone already.
    """
    files = payload if isinstance(payload, Sequence) and not isinstance(payload, str) else [payload]
    paths = _uploads(files)
    try:
        if len(files) > most:
            raise InputError(f"{len(files):,} files are more than {most}: choose the best ones.")
        if not paths or len(paths) < len(files):
            raise InputError("There is no file, or it is no upload: choose one first.")
        return [path.read_bytes() for path in paths]
    except OSError:
        raise InputError("The file is gone already: choose it again.") from None
    finally:
        _delete(paths)


def handed_back(payload: Any) -> tuple[bytes, tuple[float, float]]:
    """A photo that a page still had, `photo` as an address with its content, and a place on it, `x` and `y` in shares.

    Raises:
        InputError: it is something else.
    """
    try:
        head, _, content = payload["photo"].partition(",")
        x, y = float(payload["x"]), float(payload["y"])
        if head != "data:image/jpeg;base64" or not (0 <= x <= 1 and 0 <= y <= 1):
            raise ValueError("neither a photo nor a place on it")
        return base64.b64decode(content, validate=True), (x, y)
    except (TypeError, KeyError, AttributeError, ValueError):
        raise InputError("That is no place on a photo: choose the photo again.") from None


def discard(payload: Any) -> None:
    """Delete the uploads that are named anywhere in a request that is refused."""
    _delete(_uploads(dictionaries(payload)))


def sweep(where: Path, seconds: float = UNUSED) -> None:
    """Delete the uploads in a folder like `folder()` that are older than `seconds`."""
    for path in where.glob("*/upload*"):
        with contextlib.suppress(OSError):  # somebody else was faster
            if path.stat().st_mtime < time.time() - seconds:
                path.unlink()
                path.parent.rmdir()


def path_in(address: str) -> str:
    """The path in the address of a file here, `http://…/gradio_api/file=…`; "" in any other."""
    return unquote(address.partition(FILE)[2])


def dictionaries(payload: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary in a request, at any depth: a file is one."""
    rest = [payload]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            yield one
            rest += one.values()
        elif isinstance(one, list):
            rest += one


def _uploads(files: Iterable[Any]) -> list[Path]:
    """Where uploads are, without everything that a caller made up."""
    named = (file.get("path") if isinstance(file, dict) else getattr(file, "path", None) for file in files)
    paths = [Path(path).resolve() for path in named if isinstance(path, str) and "\0" not in path]
    return [path for path in paths if path.is_relative_to(folder()) and not path.is_dir()]


def _delete(paths: list[Path]) -> None:
    """Uploads only: a picture that was made here, and is compared, may be in somebody else's gallery, too."""
    for path in paths:
        if path.name.startswith("upload"):
            path.unlink(missing_ok=True)
