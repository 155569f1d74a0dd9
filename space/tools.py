"""The endpoints as MCP tools: Gradio's, but photos do not outlive the request, and pictures arrive as they are.

Gradio keeps a photo that comes as `data:` in its cache, encodes pictures anew, which loses their mark, and gives a
client that does not listen for progress everything as one text.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from gradio.mcp import GradioMCPServer
from gradio.utils import get_upload_folder
from gradio_client.utils import is_file_obj_with_meta
from starlette.concurrency import run_in_threadpool

from idgen.errors import InputError
from space.requests import FILE
from space.settings import Settings

_META = {"_type": "gradio.FileData"}


class Tools(GradioMCPServer):
    """The tools of a `space.guard.GuardedBlocks`."""

    def convert_strings_to_filedata(self, value: Any, filedata_positions: list[list[str | int]]) -> Any:
        """Photos, by their address in this app or as `data:…;base64,…`, as uploads that are read once and deleted.

        Raises:
            InputError: a photo is neither, or too large.
        """
        names = {position[0] for position in filedata_positions}
        settings: Settings = self.blocks.idgen_settings
        written: list[Path] = []
        try:
            return {name: _files(item, settings, written) if name in names else item for name, item in value.items()}
        except InputError:
            for path in written:
                path.unlink(missing_ok=True)
            raise

    async def _execute_tool_without_progress(self, job: Any) -> list[Any]:
        result = await run_in_threadpool(job.result)
        return list(result) if isinstance(result, tuple) else [result]

    def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
        """Each picture as a picture, the rest as JSON."""
        return super().postprocess_output_data(list(_flat(data)), root_url)

    @staticmethod
    def get_base64_data(image: Any, format: str) -> str:
        """The file as it is, with its mark."""
        return base64.b64encode(Path(image.filename).read_bytes()).decode()


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
