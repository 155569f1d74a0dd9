"""What this app uses of Gradio without Gradio promising to keep it: all of it is here, and nowhere else in `space/`.

`tests/space/test_gradio_private.py` runs first and compares what is leaned on with what it was when this was tried: an
upgrade that changes any of it fails there, and says which.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio import mcp, route_utils, state_holder
from gradio.blocks import Block
from gradio.server_messages import ProcessCompletedMessage, ServerMessage
from gradio.utils import LRUCache
from gradio_client import Client

from idgen.ground.provenance import Credentials

from . import tools, uploads
from .guard import give_back_memory, quiet_tools
from .limits import caller, for_visitor
from .mistakes import LATE, told, unfit

TRIED = ("6.31.0",)
"""Gradio versions with which everything here was tried."""

_WAITING = 2000  # visitors whose messages are kept


class GuardedBlocks(gr.Blocks):
    """`gr.Blocks` whose every failure is a `gr.Error` with a sentence (`mistakes`), and nothing on the console.

    A call without a session leaves none behind, and an upload that no call has used is deleted after ten minutes.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        state_holder.SessionState, mcp.GradioMCPServer = Session, Tools  # type: ignore[misc]
        route_utils.GradioUploadFile, route_utils.GradioMultiPartParser = Upload, Form  # type: ignore[misc]
        # Gradio tabulates its last 10,000 events again after each, for a dashboard this app does not have.
        os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
        os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
        self._over = threading.Event()
        super().__init__(*args, **kwargs)

    def launch(self, *args: Any, **kwargs: Any) -> Any:
        # Whose request it is follows from IDGEN_PROXIES alone: uvicorn would believe a header of whoever is on this
        # machine, and a server for pages in front of this one would make everybody come from here.
        os.environ["FORWARDED_ALLOW_IPS"] = ""
        kwargs.setdefault("ssr_mode", False)
        quiet_tools()
        give_back_memory()
        self._queue.pending_messages_per_session = Messages(self._queue.pending_event_ids_session)
        if credentials := Credentials.from_env():
            credentials.algorithm()  # what cannot sign is said to the operator now, not to a visitor later
        self._over.clear()
        threading.Thread(target=self._sweep, name="idgen-sweep", daemon=True).start()
        return super().launch(*args, **kwargs)

    def _sweep(self) -> None:
        unread: dict[str, int] = {}
        while not self._over.wait(30):  # seconds
            uploads.sweep(uploads.folder())
            unread = forget_unread(self._queue, unread)

    def close(self, *args: Any, **kwargs: Any) -> None:
        self._over.set()
        super().close(*args, **kwargs)

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
        try:
            if block_fn.fn is None:  # it happens in the browser
                raise gr.Error("nothing is computed for it")
            _files_here(inputs)
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except Exception as error:
            with contextlib.suppress(Exception):  # named what no file can be called
                uploads.discard(inputs)
            raise unfit(error) from None

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return await super().process_api(*args, **kwargs)
        except Exception as error:
            raise told(error) from None
        finally:
            event = kwargs.get("event_id")
            if event is not None and kwargs.get("session_hash") == event:  # Gradio made one up for this call alone
                self.state_holder.session_data.pop(event, None)
                self.state_holder.time_last_used.pop(event, None)


def _files_here(payload: Any) -> None:
    """In place of the address of an upload, `{"path": "https://…/gradio_api/file=…"}`, put its path.

    Raises:
        gr.Error: a file is somewhere else, from where Gradio would fetch it.
    """
    for file in uploads.dictionaries(payload):
        path = file.get("path")
        if isinstance(path, str) and "://" in path[:100]:
            if not (here := uploads.path_in(path)):
                raise gr.Error("files are uploaded, none is fetched from elsewhere")
            meta = {"meta": file["meta"]} if "meta" in file else {}
            file.clear()
            file.update(meta, path=here)


class Session(state_holder.SessionState):
    """What the server keeps of a visit: the values of `gr.State`, and how the page changed, but not what is on it.

    Gradio's own also copies the whole page, for links into it which this app does not have: 30 ms and 150 kB a session,
    and every picture shown.
    """

    def __init__(self, blocks: gr.Blocks):
        super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks={}))  # type: ignore[arg-type]
        self.STATE_TTL_WHEN_CLOSED = 60  # seconds in which a page that lost its connection may come back

    def __setitem__(self, key: int, value: Any) -> None:
        """Also what an update made anew notes its files where the first one does: only there Gradio deletes them."""
        first = self.blocks_config.blocks.get(key)
        if isinstance(first, Block) and isinstance(value, Block):
            value.temp_files = first.temp_files
        super().__setitem__(key, value)
        self.config_values.clear()

    def _update_value_in_config(self, key: int, value: Any = None) -> None:
        pass

    _update_config = _update_value_in_config


class Messages(LRUCache):
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
        if not pending or pending[-1].msg != ServerMessage.process_completed:
            continue
        if seen.get(session) != id(pending[0]):
            unread[session] = id(pending[0])
            continue
        finished = [message.event_id for message in list(pending) if message.msg == ServerMessage.process_completed]
        pending.clear()
        for event in finished:
            pending.append(ProcessCompletedMessage(event_id=event, output={"error": LATE}, success=False))
            if event in queue.event_ids_to_events:
                queue.event_ids_to_events[event].data = None
    return unread


class Upload(route_utils.GradioUploadFile):
    """A file that is uploaded, in a place and under a name of its own.

    Gradio puts equal files in one place, under the visitor's name for it. Here each is deleted with its request
    (`uploads`), which may not take away the same photo from somebody else's.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.sha.update(secrets.token_bytes(16))
        self.filename: str | None = "upload" + Path(self.filename or "").suffix[:12]


class Form(route_utils.GradioMultiPartParser):
    """What is not handed on, because the visitor left or named it otherwise, is deleted."""

    async def parse(self) -> Any:
        claimed: set[str] = set()
        try:
            form = await super().parse()
            claimed = {file.file.name for file in form.getlist("files") if hasattr(file, "file")}
            return form
        finally:
            for file in self._files_to_close_on_error:
                if file.name not in claimed:
                    file.close()
                    Path(file.name).unlink(missing_ok=True)


class Tools(mcp.GradioMCPServer):
    """The endpoints of `GuardedBlocks` as MCP tools, see `tools`."""

    def convert_strings_to_filedata(self, value: Any, filedata_positions: list[list[str | int]]) -> Any:
        photos = {position[0] for position in filedata_positions}
        return tools.with_photos(value, photos, self.blocks.idgen_settings.upload_megabytes)

    def _get_or_create_client(self) -> Client:
        if getattr(self, "_client_instance", None) is None:
            options: dict[str, Any] = {"headers": {"x-gradio-user": "mcp"}, "download_files": False, "verbose": False}
            options |= {"analytics_enabled": False, "ssl_verify": False}
            # Patient: Gradio's own gives up after five seconds, in which a model may still be loading.
            self._client_instance: Any = Client(self.local_url, httpx_kwargs={"timeout": 120}, **options)
        return self._client_instance

    def _prepare_tool_call_args(self, name: str, arguments: dict[str, Any]) -> Any:
        """As Gradio's, but the call behind the tool is the visitor's who called it, whatever its headers say."""
        try:
            endpoint, payload, headers, function = super()._prepare_tool_call_args(name, arguments)
        except Exception:
            tools.forget()
            raise
        visitor = caller(self.mcp_server.request_context.request, self.blocks.idgen_settings.proxies)
        return endpoint, payload, headers | for_visitor(visitor), function

    async def _execute_tool_without_progress(self, job: Any) -> list[Any]:
        try:
            while not job.done():  # a thread that waited would be one less for everybody else's requests
                await asyncio.sleep(0.05)
            result = job.result()
        finally:
            _end(job)
        return list(result) if isinstance(result, tuple) else [result]

    async def _execute_tool_with_progress(self, job: Any, progress_token: str | int) -> Any:
        try:
            return await super()._execute_tool_with_progress(job, progress_token)
        finally:
            _end(job)

    def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
        """Each picture as a picture, the rest as JSON."""
        return super().postprocess_output_data(list(tools.flat(data)), root_url)

    @staticmethod
    def get_base64_data(image: Any, format: str) -> str:
        """The file as it is: Gradio encodes it anew, which loses its mark."""
        return base64.b64encode(Path(image.filename).read_bytes()).decode()


def _end(job: Any) -> None:
    """Stop work that nobody waits for any longer, and delete what came with the call."""
    if not job.done():
        threading.Thread(target=job.cancel, daemon=True).start()  # it asks the app, which must not wait for itself
    tools.forget()
