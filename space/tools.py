"""The endpoints as MCP tools: Gradio's, but photos do not outlive the request, and pictures arrive as they are.

Gradio keeps a photo that comes as `data:` in its cache, encodes pictures anew, which loses their mark, and gives a
client that does not listen for progress everything as one text.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from gradio.mcp import GradioMCPServer
from gradio.utils import get_upload_folder
from gradio_client import Client
from gradio_client.utils import is_file_obj_with_meta

from idgen.errors import InputError
from space.requests import FILE, caller, for_visitor
from space.settings import Settings

_META = {"_type": "gradio.FileData"}
_PATIENCE = 120  # seconds for an answer of the app behind the tools
_POLL = 0.05  # seconds between two looks at whether the work is done
_written: ContextVar[list[Path]] = ContextVar("written")  # photos that came with the call that is answered


class Tools(GradioMCPServer):
    """The tools of a `space.guard.GuardedBlocks`."""

    def convert_strings_to_filedata(self, value: Any, filedata_positions: list[list[str | int]]) -> Any:
        """Photos, by their address in this app or as `data:…;base64,…`, as uploads that are read once and deleted.

        Raises:
            InputError: a photo is neither, or too large; or something else says that it is a file.
        """
        names = {position[0] for position in filedata_positions}
        settings: Settings = self.blocks.idgen_settings
        written = _written.get()
        for name, item in value.items():
            # The client between this tool and the app would read it from this machine.
            if name not in names and _says_file(item):
                raise InputError(f"`{name}` is no file: give it as it was answered.")
        return {name: _files(item, settings, written) if name in names else item for name, item in value.items()}

    def _get_or_create_client(self) -> Client:
        if getattr(self, "_client_instance", None) is None:
            # Patient: Gradio's own gives up after five seconds, in which a model may still be loading.
            self._client_instance: Any = Client(
                self.local_url,
                download_files=False,
                verbose=False,
                analytics_enabled=False,
                ssl_verify=False,
                headers={"x-gradio-user": "mcp"},
                httpx_kwargs={"timeout": _PATIENCE},
            )
        return self._client_instance

    def _prepare_tool_call_args(self, name: str, arguments: dict[str, Any]) -> Any:
        """As Gradio's, but the call behind the tool is the visitor's who called it, whatever its headers say."""
        _written.set([])
        try:
            endpoint, arguments_of_it, headers, function = super()._prepare_tool_call_args(name, arguments)
        except Exception:
            _forget()
            raise
        visitor = caller(self.mcp_server.request_context.request, self.blocks.idgen_settings.proxies)
        return endpoint, arguments_of_it, {**headers, **for_visitor(visitor)}, function

    async def _execute_tool_without_progress(self, job: Any) -> list[Any]:
        try:
            while not job.done():  # a thread that waited would be one less for everybody else's requests
                await asyncio.sleep(_POLL)
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
        return super().postprocess_output_data(list(_flat(data)), root_url)

    @staticmethod
    def get_base64_data(image: Any, format: str) -> str:
        """The file as it is, with its mark."""
        return base64.b64encode(Path(image.filename).read_bytes()).decode()


def _end(job: Any) -> None:
    """Stop work that nobody waits for any longer, and delete what came with the call."""
    if not job.done():
        threading.Thread(target=job.cancel, daemon=True).start()  # it asks the app, which must not wait for itself
    _forget()


def _forget() -> None:
    for path in _written.get():
        path.unlink(missing_ok=True)


def _says_file(value: Any) -> bool:
    if isinstance(value, dict):
        return bool({"path", "meta"} & value.keys()) or any(map(_says_file, value.values()))
    return isinstance(value, list) and any(map(_says_file, value))


def _flat(outputs: Any) -> Iterator[Any]:
    for output in outputs:
        if isinstance(output, list) and output and all(map(is_file_obj_with_meta, output)):
            yield from output
        elif isinstance(output, dict | list) and not is_file_obj_with_meta(output):
            yield json.dumps(output)
        else:
            yield output


def _files(value: Any, settings: Settings, written: list[Path]) -> Any:
    if value is None:
        return None
    if isinstance(value, list):
        return [_files(one, settings, written) for one in value]
    text = str(value)
    if text.startswith("data:"):
        written.append(_upload(text, settings))
        path = str(written[-1])
    elif FILE in text:
        path = unquote(text.partition(FILE)[2])
    else:
        raise InputError(
            "A photo is the address that upload_file_to_gradio answers, or data:image/…;base64,…: files from elsewhere "
            "are not fetched."
        )
    # As an address, because the client between this tool and the app would upload a path once more.
    return {"path": f"http://here{FILE}{quote(path)}", "meta": _META}


def _upload(text: str, settings: Settings) -> Path:
    most = settings.upload_megabytes
    if len(text) > most * 1_000_000 * 4 / 3 + 100:
        raise InputError(f"A photo has at most {most} MB: make it smaller and try again.")
    try:
        content = base64.b64decode(text.partition(",")[2], validate=True)
    except (ValueError, binascii.Error):
        raise InputError("The photo is no base64: encode the file as it is.") from None
    path = Path(get_upload_folder()) / secrets.token_hex(32) / "upload"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path
