"""Files that are written whole or not at all, and read strictly; folders; and where what can be made again is kept."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from idgen.ground.errors import InputError


@contextmanager
def aside(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder to; renamed to `path` at the end, removed if anything fails.

    What was at `path` is replaced. Missing parent folders are made. InputError if it cannot be written there."""
    path = Path(path).absolute()
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            if beside.is_file() and path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            if beside.is_dir() and path.is_dir():  # a reader sees one of them or, for an instant, none
                gone = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
                path.rename(gone)
                beside.rename(path)
                remove(gone)
            else:
                os.replace(beside, path)
        finally:
            remove(beside)
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror or error}; choose another place.") from error


def write(path: str | Path, data: bytes | str) -> Path:
    """Write a file, complete or not at all; see `aside`."""
    with aside(path) as beside:
        beside.write_bytes(data.encode() if isinstance(data, str) else data)
    return Path(path)


def write_json(path: str | Path, content: Any) -> Path:
    """Write JSON for people to read, complete or not at all."""
    return write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """A file's JSON object; InputError where there is none."""
    try:
        content = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read {path} ({error.strerror}): is the folder complete?") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: fetch it again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} does not hold a JSON object: fetch it again.")
    return content


def remove(path: Path) -> None:
    """A file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


_CACHE = "set IDGEN_CACHE to a folder that can be written"
_LEFT_BEHIND = {
    *("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__pycache__"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
}


def left_behind(name: str) -> bool:
    """Whether an editor, a system or a file server leaves files or folders of this name behind: it begins with a dot,
    such as `.ipynb_checkpoints` or `._00.png`, or is `__MACOSX`, `@eaDir`, `Thumbs.db` or their like."""
    return name.startswith(".") or name.casefold() in _LEFT_BEHIND


def walk(folder: str | Path) -> Iterator[Path]:
    """The files in a folder and below it, sorted, without what was `left_behind`. A link counts as what it leads to; it
    is not followed where it leads up again. A folder that cannot be read is an InputError."""

    def below(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
        real = os.path.realpath(folder)
        if real in above:
            return
        try:
            with os.scandir(folder) as entries:
                found = sorted((one.name, one.is_dir(), one.is_file()) for one in entries if not left_behind(one.name))
        except OSError as error:
            raise InputError(f"Cannot read the folder {folder}: {error.strerror}.") from error
        for name, is_folder, is_file in found:
            if is_folder:
                yield from below(folder / name, (*above, real))
            elif is_file:
                yield folder / name

    return below(Path(folder), ())


def check_writable(out: str | Path) -> None:
    """Raise InputError unless a folder can be made or written at `out`; makes nothing itself."""
    existing = Path(out).absolute()
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        raise InputError(f"Cannot write to the folder {out}: {existing} is a file; choose another folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"Cannot write to the folder {out}: no permission in {existing}; choose another folder.")


def check_writable_file(out: str | Path) -> None:
    """Raise InputError unless a file can be written at `out`; makes nothing itself."""
    out = Path(out)
    if out.is_dir():
        raise InputError(f"Cannot write {out}: it is a folder; give a file, such as {out / 'people.safetensors'}.")
    check_writable(out.absolute().parent)


def cache(*parts: str) -> Path:
    """A place for what can be made again: a path in `IDGEN_CACHE`, by default ~/.cache/idgen; nothing is made.
    InputError where there is no home folder."""
    try:
        return Path(os.environ.get("IDGEN_CACHE") or Path.home() / ".cache" / "idgen", *parts)
    except RuntimeError as error:  # of a user whom the machine does not know, as in a container
        raise InputError(f"There is no home folder to keep things in: {_CACHE}.") from error


def used(folder: Path) -> None:
    """Note that a folder of the cache is used now, see `make_room`."""
    with contextlib.suppress(OSError):  # of somebody else, or on a disk that is read only
        os.utime(folder)


def make_room(folder: Path, needed: int, days: float = 30) -> int:
    """Remove from a folder of the cache what nobody used for so many days, and what was used longest ago while the disk
    has less than `needed` bytes free; returns how many it has then. Whoever has such a file open keeps it."""
    there = sorted((path.stat().st_mtime, path) for path in folder.iterdir() if not path.name.startswith("."))
    for when, path in there:
        if time.time() - when > days * 86400 or shutil.disk_usage(folder).free < needed:
            remove(path)
    return shutil.disk_usage(folder).free


def check_cache(path: Path) -> None:
    """Raise InputError unless a file or folder of the cache can be written at `path`; makes the folder above it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise InputError(f"Nothing can be kept in {path.parent} ({error.strerror or error}): {_CACHE}.") from error
