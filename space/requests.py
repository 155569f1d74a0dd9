"""What every request goes through: limits, uploads that do not outlive it, mistakes as sentences, quiet logs."""

from __future__ import annotations

import functools
import inspect
import logging
import secrets
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import route_utils
from gradio.utils import get_upload_folder

from idgen.errors import InputError
from space.limits import Limits, visitor_of

_log = logging.getLogger("idgen.space")


VISITOR = "x-idgen-visitor"
"""The header in which a tool's call says for whom it asks this app: `for_visitor`."""
_OURS = secrets.token_hex(32)  # nobody else can say so


def admit(limits: Limits, request: gr.Request | None, images: int = 0, requests: int = 1) -> None:
    """Count a visitor's request, see `Limits.check`; InputError where it is one too many."""
    request = getattr(request, "request", None) or request  # Gradio's own has only one line of each header
    limits.check(caller(request, limits.settings.proxies), images, requests)


def caller(request: Any, proxies: int) -> str:
    """Whose request it is: of a tool's call, the visitor who called the tool.

    Args:
        request: Starlette's, or one with `client` and `headers` as it has; None: nobody's.
        proxies: see `visitor_of`.
    """
    address = getattr(getattr(request, "client", None), "host", None)
    headers = getattr(request, "headers", {})
    ours, _, visitor = headers.get(VISITOR, "").partition(" ")
    if secrets.compare_digest(ours.encode(), _OURS.encode()):
        return visitor
    # A proxy may append a line of its own instead of an entry.
    lines = headers.getlist("x-forwarded-for") if hasattr(headers, "getlist") else [headers.get("x-forwarded-for", "")]
    return visitor_of(address, ", ".join(lines), proxies)


def for_visitor(visitor: str) -> dict[str, str]:
    """Headers of a request that this process makes to itself, for a visitor."""
    return {VISITOR: f"{_OURS} {visitor}"}


# ---------------------------------------------------------------- uploads

FILE = "/gradio_api/file="
"""What comes before its path in the address of a file that was uploaded here."""


def separate_uploads() -> None:
    """Give every upload a place and a name of its own.

    Gradio puts equal files in one place, under the visitor's name for it. Here each is deleted with its request, which
    may not take away the same photo from somebody else's.
    """
    upload = route_utils.GradioUploadFile
    if getattr(upload, "separated", False):
        return
    ordinary = upload.__init__

    @functools.wraps(ordinary)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        ordinary(self, *args, **kwargs)
        self.sha.update(secrets.token_bytes(16))
        self.filename = "upload" + Path(self.filename or "").suffix[:12]

    parser = route_utils.GradioMultiPartParser
    whole = parser.parse

    @functools.wraps(whole)
    async def parse(self: Any) -> Any:
        """What is not handed on, because the visitor left or named it otherwise, is deleted."""
        claimed: set[str] = set()
        try:
            form = await whole(self)
            claimed = {file.file.name for file in form.getlist("files") if hasattr(file, "file")}
            return form
        finally:
            for file in self._files_to_close_on_error:
                if file.name not in claimed:
                    file.close()
                    Path(file.name).unlink(missing_ok=True)

    upload.__init__ = init
    upload.separated = True
    parser.parse = parse


def take(payload: Any, most: int) -> list[bytes]:
    """The bytes of uploaded files; the files are deleted, whatever happens.

    Args:
        payload: what Gradio hands on.
        most: files that are read.

    Raises:
        InputError: there is none, there are too many, one is no upload, or is gone already.
    """
    files = payload if isinstance(payload, Sequence) and not isinstance(payload, str) else [payload]
    paths = [path for path in map(_uploaded, files) if path is not None]
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


def discard(payload: Any) -> None:
    """Delete the uploads that are named anywhere in a request that is refused."""
    if isinstance(payload, list):
        for one in payload:
            discard(one)
    elif isinstance(payload, dict):
        path = _uploaded(payload)
        _delete([] if path is None else [path])
        for one in payload.values():
            discard(one)


def _delete(paths: Sequence[Path]) -> None:
    """Uploads only: a picture that was made here, and is compared, may be in somebody else's gallery, too."""
    for path in paths:
        if path.name.startswith("upload"):
            path.unlink(missing_ok=True)


def _uploaded(file: Any) -> Path | None:
    """Where an upload is; None for everything that a caller made up."""
    named = file.get("path") if isinstance(file, dict) else getattr(file, "path", None)
    if not isinstance(named, str) or "\0" in named:
        return None
    path = Path(named).resolve()
    return path if path.is_relative_to(Path(get_upload_folder()).resolve()) and not path.is_dir() else None


# ---------------------------------------------------------------- errors


def polite(action: Callable) -> Callable:
    """Show a visitor's mistake as the sentence it comes with; of any other failure, log where it was, and no values."""
    if inspect.isgeneratorfunction(action):

        @functools.wraps(action)
        def streaming(*args: Any, **kwargs: Any) -> Iterator:
            try:
                yield from action(*args, **kwargs)
            except Exception as error:
                raise _said(error) from None

        return streaming

    @functools.wraps(action)
    def plain(*args: Any, **kwargs: Any) -> Any:
        try:
            return action(*args, **kwargs)
        except Exception as error:
            raise _said(error) from None

    return plain


def _said(error: Exception) -> gr.Error:
    if isinstance(error, InputError):
        sentence = str(error).encode(errors="replace").decode()  # it may repeat what no answer can be written with
        return gr.Error(escape(sentence, quote=False), title="That did not work", print_exception=False)
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(sys.exc_info()[2])[-4:]]
    # A message may hold what a visitor sent; its kind and place do not.
    _log.error("%s at %s", type(error).__name__, " < ".join(reversed(places)))
    return gr.Error("This is our mistake, not yours: try again.", title="Something broke", print_exception=False)
