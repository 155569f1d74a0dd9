"""Around the whole app: a request that breaks a route gets a sentence, and what is large is counted before it is read.

Gradio prints a traceback for a request nobody could make by clicking, with its values in it; here the console stays
clean, and the process keeps no memory that it does not use.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
from pathlib import Path
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from idgen.ground.errors import InputError

from .limits import Limits, caller
from .mistakes import UNFIT, note
from .settings import Settings
from .uploads import API

_MOST = 1_000_000  # bytes of a request without photos; the page's own have a few thousand, a vector about 10,000
_LEAST = 100_000  # bytes as which the smallest upload counts, so that small ones have an end, too
_UNUSED_ROUTES = ("/process_recording", "/proxy=", "/component_server", "/deep_link", "/vibe")


class Guard:
    """ASGI middleware: a request that breaks one of Gradio's own routes gets a sentence too.

    What the app does itself happens inside `GuardedBlocks.process_api`, so what breaks elsewhere does not fit: a form
    that is none, an event that never was. Only uploads and tools may send more than 1 MB: what is sent is read, and
    kept in the queue, before the app is asked. Their bytes are counted for each visitor.
    """

    def __init__(self, app: ASGIApp, settings: Settings):
        self.app, self.proxies, self.limits = app, settings.proxies, Limits(settings)
        # All photos of a request as base64, and room for what is around them.
        self.most = round(settings.upload_megabytes * 1_000_000 * settings.photos_per_request * 4 / 3) + _MOST

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            path = scope["path"]  # of a route that the page has no use for, or that fetches from another machine
            if any(part in path for part in _UNUSED_ROUTES) or ":/" in path.partition("/file=")[2]:
                raise _Unfit(404)
            return await self.app(scope, self._counted(scope, receive), sending)
        except InputError as error:
            answer = JSONResponse({"error": str(error)}, 429)
        except _Unfit as error:
            answer = _unfit(error.args[0])
        except Exception as error:
            note(error)
            answer = _unfit(400)
            if began:
                await send({"type": "http.response.body"})  # the end of a stream
        if not began:
            await answer(scope, receive, send)

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        """`receive`, of a request that is not larger than it says, nor than anything on the page sends.

        Raises:
            _Unfit: it is larger, here or as it comes.
            InputError: the visitor uploaded too much.
        """
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        size = int(said) if said.isdigit() else 0
        upload = scope["path"] == f"{API}/upload"
        large = upload or scope["path"].startswith(f"{API}/mcp")
        most = self.most if large else _MOST
        visitor, counted, came = caller(Request(scope), self.proxies), max(size, _LEAST if upload else 0), 0

        def count(so_far: int, more: int) -> None:
            if so_far > most:
                raise _Unfit(413)
            if large and more:
                self.limits.check_upload(visitor, more)

        async def receiving() -> Message:
            nonlocal came
            message = await receive()
            body = len(message.get("body", b""))
            came += body
            count(came, body if came > counted else 0)  # its size was not said
            return message

        count(size, counted)
        return receiving


class _Unfit(Exception):
    """A request that nothing on the page makes; its argument is the status of the answer."""


def guards(settings: Settings) -> dict[str, Any]:
    """What `launch` needs as `app_kwargs` for all this."""

    async def unfit(request: Request, error: Exception) -> JSONResponse:
        return _unfit(422)  # FastAPI's own repeats the values, and cannot write all of them

    return {"middleware": [Middleware(Guard, settings=settings)], "exception_handlers": {RequestValidationError: unfit}}


def _unfit(status: int) -> JSONResponse:
    return JSONResponse({"error": UNFIT.format("")}, status)


def give_back_memory() -> None:
    """Let blocks of 4 MB and more go back to the system as soon as they are free (glibc).

    Otherwise it learns to keep blocks of up to 32 MB, a photo's pixels for instance, and they fall to pieces.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(-3, 4 << 20)  # M_MMAP_THRESHOLD


def quiet_tools() -> None:
    """The package mcp logs messages that it cannot use, whole, photos in them included: keep it quiet."""
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(_not_of_tools)  # once, however often it is added


def _not_of_tools(record: logging.LogRecord) -> bool:
    return "/mcp/" not in Path(record.pathname).as_posix()
