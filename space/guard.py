"""Between strangers' requests and the app: what does not fit is answered in a sentence, and the console stays clean.

Gradio prints a traceback for a request nobody could make by clicking, with its values in it, and fetches files from
addresses that a caller writes in place of an upload.
"""

from __future__ import annotations

import logging
from html import escape
from typing import Any

import gradio as gr
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from idgen.errors import InputError

log = logging.getLogger(__name__)

_TITLE = "That did not work"
UNFIT = "The request is not one that this app knows: the page's API view says what each endpoint takes."
OURS = "Something went wrong here, and not because of you: try again, and tell whoever runs this app if it stays."


class GuardedBlocks(gr.Blocks):
    """`gr.Blocks` whose every failure is a `gr.Error` with a sentence, and nothing on the console.

    An `InputError` says its own sentence. Anything else is a fault of ours: the log gets its type and place, never its
    message, which may hold what a visitor sent.
    """

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
        try:
            if block_fn.fn is None:  # it happens in the browser
                raise gr.Error(UNFIT)
            if _names_an_address(inputs):
                raise gr.Error("Files are uploaded to this app: it fetches none from elsewhere.")
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except gr.Error as error:
            raise _said(error.message) from None
        except Exception:
            raise _said(UNFIT) from None

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return await super().process_api(*args, **kwargs)
        except InputError as error:
            raise _said(str(error)) from None
        except gr.Error as error:
            error.print_exception = False
            raise
        except Exception as error:
            _note(error)
            raise _said(OURS) from None


class Guard:
    """ASGI middleware: a request that breaks one of Gradio's own routes gets a sentence too.

    What the app does itself happens inside `GuardedBlocks.process_api`, so what breaks elsewhere does not fit: a form
    that is none, an event that never was.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            _note(error)
            if began:
                await send({"type": "http.response.body"})  # the end of a stream
            else:
                await _unfit()(scope, receive, send)


def guards() -> dict[str, Any]:
    """What `launch` needs as `app_kwargs` for all this."""

    async def unfit(request: Request, error: Exception) -> Response:
        return _unfit(422)  # FastAPI's own repeats the values, and cannot write all of them

    return {"middleware": [Middleware(Guard)], "exception_handlers": {RequestValidationError: unfit}}


def _unfit(status: int = 400) -> Response:
    return JSONResponse({"error": UNFIT}, status)


def _said(sentence: str) -> gr.Error:
    return gr.Error(escape(str(sentence), quote=False), title=_TITLE, print_exception=False)


def _note(error: BaseException) -> None:
    """The type of an error, and where it came from."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "nowhere"
    log.error("%s at %s", type(error).__name__, place)


def _names_an_address(value: Any) -> bool:
    """Whether a payload names a file by an address: `{"path": "https://…"}`."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if "://" in str(one.get("path", ""))[:100]:
                return True
            todo += one.values()
        elif isinstance(one, list):
            todo += one
    return False
