"""Between strangers' requests and the app: what does not fit is answered in a sentence, and the console stays clean.

Gradio prints a traceback for a request nobody could make by clicking, with its values in it; fetches files from
addresses that a caller writes in place of an upload; keeps what 10,000 sessions have last sent and were shown; and
tabulates its last 10,000 events again after each, for a dashboard this app does not have.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import ctypes
import importlib.util
import logging
import os
import threading
import time
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio as gr
from fastapi.exceptions import RequestValidationError
from gradio import state_holder
from gradio.blocks import Block
from gradio.route_utils import API_PREFIX
from gradio.server_messages import ProcessCompletedMessage, ServerMessage
from gradio.utils import LRUCache, get_upload_folder
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from idgen.errors import InputError
from idgen.provenance import Credentials
from space.limits import UNUSED, Uploads
from space.requests import FILE, caller, discard
from space.settings import Settings

log = logging.getLogger(__name__)

_WAITING = 2000  # visitors whose messages are kept
_ANALYTICS = {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9)}  # as good as never
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of mallopt(3)
_SWEEP = 30  # seconds between two looks
_MOST = 1_000_000  # bytes of a request without photos; the page's own have a few thousand, a vector about 10,000
_LEAST = 100_000  # bytes as which the smallest upload counts, so that small ones have an end, too
_UNUSED_ROUTES = ("/process_recording", "/proxy=", "/component_server", "/deep_link", "/vibe")
_TITLE = "That did not work"
UNFIT = "The request does not fit this app{}: the page's API view says what each endpoint takes."
LATE = "Nobody came for this answer, so it is gone: ask again."
OURS = "Something went wrong here, and not because of you: try again, and tell whoever runs this app if it stays."


class Session(state_holder.SessionState):
    """What the server keeps of a visit: the values of `gr.State`, and how the page changed, but not what is on it.

    Gradio's own also copies the whole page, for links into it which this app does not have: 30 ms and 150 kB a session,
    and every picture shown.
    """

    def __init__(self, blocks: gr.Blocks):
        self.blocks_config = copy.copy(blocks.default_config)
        self.state_data: dict[int, Any] = {}
        self._state_ttl: dict[int, Any] = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = 60  # seconds in which a page that lost its connection may come back

    def __setitem__(self, key: int, value: Any) -> None:
        """Also what an update made anew notes its files where the first one does: only there Gradio deletes them."""
        first = self.blocks_config.blocks.get(key)
        if isinstance(first, Block) and isinstance(value, Block):
            value.temp_files = first.temp_files
        super().__setitem__(key, value)

    @property
    def config_values(self) -> dict[int, Any]:  # type: ignore[override]
        """Nothing, and what is put into it is gone."""
        return {}

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


class _Messages(LRUCache):
    """What waits for whom. Gradio's own forgets a visitor who left, writes to them still, and its queue ends.

    Args:
        unfinished: the ids of each visitor's events that are not delivered, which Gradio keeps for ever.
    """

    def __init__(self, unfinished: dict[str, set[str]]):
        super().__init__(_WAITING)
        self._unfinished = unfinished

    def __missing__(self, session: str) -> Any:
        return asyncio.Queue()  # nobody reads it

    def popitem(self, last: bool = True) -> tuple[str, Any]:
        session, messages = super().popitem(last)
        if not self._unfinished.get(session):
            self._unfinished.pop(session, None)
        return session, messages


class GuardedBlocks(gr.Blocks):
    """`gr.Blocks` whose every failure is a `gr.Error` with a sentence, and nothing on the console.

    An `InputError` says its own sentence. Anything else is a fault of ours: the log gets its type and place, never its
    message, which may hold what a visitor sent. A call without a session leaves none behind, and an upload that no
    call has used (see `space.requests.take`) is deleted after ten minutes.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        state_holder.SessionState = Session  # type: ignore[misc]
        for name, value in _ANALYTICS.items():
            os.environ.setdefault(name, value)
        self._over = threading.Event()
        super().__init__(*args, **kwargs)

    def launch(self, *args: Any, **kwargs: Any) -> Any:
        def sweeping() -> None:
            unread: dict[str, int] = {}
            while not self._over.wait(_SWEEP):
                sweep(Path(get_upload_folder()), UNUSED)
                unread = forget_unread(self._queue, unread)

        # Whose request it is follows from IDGEN_PROXIES alone: uvicorn would believe a header of whoever is on this
        # machine, and a server for pages in front of this one would make everybody come from here.
        os.environ["FORWARDED_ALLOW_IPS"] = ""
        kwargs.setdefault("ssr_mode", False)
        quiet_tools()
        give_back_memory()
        self._queue.pending_messages_per_session = _Messages(self._queue.pending_event_ids_session)

        credentials = Credentials.from_env()
        if credentials is not None:
            credentials.algorithm()  # what cannot sign is said to the operator now, not to a visitor later
        if importlib.util.find_spec("mcp") is not None:
            import gradio.mcp

            from space.tools import Tools

            gradio.mcp.GradioMCPServer = Tools  # type: ignore[misc]
        self._over.clear()
        threading.Thread(target=sweeping, name="idgen-sweep", daemon=True).start()
        return super().launch(*args, **kwargs)

    def close(self, *args: Any, **kwargs: Any) -> None:
        self._over.set()
        super().close(*args, **kwargs)

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
        try:
            if block_fn.fn is None:  # it happens in the browser
                raise gr.Error("nothing is computed for it")
            inputs = _files_here(inputs)
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except Exception as error:
            with contextlib.suppress(Exception):  # nested too deeply, or named what no file can be called
                discard(inputs)
            why = f" ({str(error.message)[:200]})" if isinstance(error, gr.Error) else ""
            raise _said(UNFIT.format(why)) from None

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
        finally:
            event = kwargs.get("event_id")
            if event is not None and kwargs.get("session_hash") == event:  # Gradio made one up for this call alone
                self.state_holder.session_data.pop(event, None)
                self.state_holder.time_last_used.pop(event, None)


class Guard:
    """ASGI middleware: a request that breaks one of Gradio's own routes gets a sentence too.

    What the app does itself happens inside `GuardedBlocks.process_api`, so what breaks elsewhere does not fit: a form
    that is none, an event that never was. Only uploads and tools may send more than 1 MB: what is sent is read, and
    kept in the queue, before the app is asked. Their bytes are counted for each visitor.

    Args:
        app: what is guarded.
        settings: its limits.
    """

    def __init__(self, app: ASGIApp, settings: Settings):
        self.app, self.proxies, self.uploads = app, settings.proxies, Uploads(settings)
        # All photos of a request as base64, and room for what is around them.
        self.most = round(settings.upload_megabytes * 1_000_000 * settings.photos_per_request * 4 / 3) + _MOST

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if _unused(scope["path"]):
            return await JSONResponse({"error": UNFIT.format("")}, 404)(scope, receive, send)
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        size = int(said) if said.isdigit() else 0
        upload = scope["path"] == f"{API_PREFIX}/upload"
        large = upload or scope["path"].startswith(f"{API_PREFIX}/mcp")
        most = self.most if large else _MOST
        if size > most:
            return await _unfit(413)(scope, receive, send)
        visitor = caller(Request(scope), self.proxies)
        counted, came, began = max(size, _LEAST if upload else 0), 0, False
        try:
            self._count(visitor, counted if large else 0)
        except InputError as error:
            return await _refused(error)(scope, receive, send)

        async def receiving() -> Message:
            nonlocal came
            message = await receive()
            body = len(message.get("body", b""))
            came += body
            if came > most:
                raise _TooLarge
            if came > counted and large:  # its size was not said
                self._count(visitor, body)
            return message

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self.app(scope, receiving, sending)
        except (_TooLarge, InputError) as error:
            if not began:
                await (_refused(error) if isinstance(error, InputError) else _unfit(413))(scope, receive, send)
        except Exception as error:
            _note(error)
            if began:
                await send({"type": "http.response.body"})  # the end of a stream
            else:
                await _unfit()(scope, receive, send)

    def _count(self, visitor: str, size: int) -> None:
        if size:
            self.uploads.check(visitor, size)


class _TooLarge(Exception):
    """A request with more bytes than anything on the page sends."""


def _unused(path: str) -> bool:
    """Whether it is one of Gradio's routes that the page has no use for, or would fetch from another machine."""
    return any(part in path for part in _UNUSED_ROUTES) or ("/file=" in path and ":/" in path.partition("/file=")[2])


def guards(settings: Settings) -> dict[str, Any]:
    """What `launch` needs as `app_kwargs` for all this."""

    async def unfit(request: Request, error: Exception) -> Response:
        return _unfit(422)  # FastAPI's own repeats the values, and cannot write all of them

    return {"middleware": [Middleware(Guard, settings=settings)], "exception_handlers": {RequestValidationError: unfit}}


def _unfit(status: int = 400) -> Response:
    return JSONResponse({"error": UNFIT.format("")}, status)


def _refused(error: InputError) -> Response:
    return JSONResponse({"error": str(error)}, 429)


def give_back_memory() -> None:
    """Let blocks of 4 MB and more go back to the system as soon as they are free (glibc).

    Otherwise it learns to keep blocks of up to 32 MB, a photo's pixels for instance, and they fall to pieces.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 4 << 20)


def quiet_tools() -> None:
    """The package mcp logs messages that it cannot use, whole, photos in them included: keep it quiet."""
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    root = logging.getLogger()
    if not any(isinstance(one, _NotOfTools) for one in root.filters):
        root.addFilter(_NotOfTools())


class _NotOfTools(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "/mcp/" not in Path(record.pathname).as_posix()


def forget_unread(queue: Any, seen: dict[str, int]) -> dict[str, int]:
    """Empty answers that are finished and that nobody has fetched since the last look: a sentence stays of each.

    Gradio's own books of who waits for what are left alone, as its queue ends when an entry is gone.

    Args:
        queue: Gradio's.
        seen: what the last look returned: session → its oldest unread message.
    """
    unread: dict[str, int] = {}
    for session, messages in list(queue.pending_messages_per_session.items()):
        pending = messages._queue
        finished = [message.event_id for message in list(pending) if message.msg == ServerMessage.process_completed]
        if not finished or pending[-1].msg != ServerMessage.process_completed:
            continue
        unread[session] = id(pending[0])
        if seen.get(session) != unread[session]:
            continue
        late = [ProcessCompletedMessage(event_id=event, output={"error": LATE}, success=False) for event in finished]
        pending.clear()
        pending.extend(late)
        for event in finished:
            if event in queue.event_ids_to_events:
                queue.event_ids_to_events[event].data = None
        unread.pop(session)
    return unread


def sweep(folder: Path, seconds: float) -> None:
    """Delete uploads, each `*/upload*` (see `space.requests.separate_uploads`), that are older than `seconds`."""
    for path in folder.glob("*/upload*"):
        with contextlib.suppress(OSError):  # somebody else was faster
            if path.stat().st_mtime < time.time() - seconds:
                path.unlink()
                path.parent.rmdir()


def _said(sentence: str) -> gr.Error:
    sentence = str(sentence).encode(errors="replace").decode()  # it may repeat what no answer can be written with
    return gr.Error(escape(sentence, quote=False), title=_TITLE, print_exception=False)


def _note(error: BaseException) -> None:
    """The type of an error, and where it came from."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "nowhere"
    log.error("%s at %s", type(error).__name__, place)


def _files_here(value: Any) -> Any:
    """A payload in which the address of an upload, `{"path": "https://…/gradio_api/file=…"}`, is its path.

    Raises:
        gr.Error: a file is somewhere else.
    """
    if isinstance(value, list):
        return [_files_here(one) for one in value]
    if not isinstance(value, dict):
        return value
    value = {name: _files_here(one) for name, one in value.items()}
    path = value.get("path")
    if isinstance(path, str) and "://" in path[:100]:
        if FILE not in path:
            raise gr.Error("files are uploaded, none is fetched from elsewhere")
        return {"path": unquote(path.partition(FILE)[2]), **{name: value[name] for name in ("meta",) if name in value}}
    return value
