"""Gradio's own code that `space.gradio_private` replaces or leans on is still the one with which it was tried."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from typing import Any

import pytest

gradio = pytest.importorskip("gradio")

KNOWN = {  # what is leaned on, and how the SHA-256 of its source begins
    "blocks.Blocks.preprocess_data": "6848b88b",
    "blocks.Blocks.process_api": "cb2ef4a0",
    "mcp.GradioMCPServer._execute_tool_with_progress": "73c0ecce",
    "mcp.GradioMCPServer._execute_tool_without_progress": "9c4bae23",
    "mcp.GradioMCPServer._get_or_create_client": "b7259076",
    "mcp.GradioMCPServer._prepare_tool_call_args": "0a9eb749",
    "mcp.GradioMCPServer.convert_strings_to_filedata": "b55084f3",
    "mcp.GradioMCPServer.create_mcp_server": "333c469e",
    "mcp.GradioMCPServer.get_base64_data": "25e36605",
    "mcp.GradioMCPServer.postprocess_output_data": "210203dd",
    "queueing.Queue.__init__": "8f39a435",
    "queueing.Queue.push": "c7b4091f",
    "queueing.Queue.send_message": "79d70f86",
    "queueing.Queue.clean_events": "ee8f9ecc",
    "route_utils.GradioMultiPartParser": "26110d85",
    "route_utils.GradioUploadFile": "5c81039c",
    "route_utils.call_process_api": "9898b033",
    "server_messages.ProcessCompletedMessage": "150ac514",
    "state_holder.SessionState": "cf7fe461",
    "state_holder.StateHolder": "7a180698",
    "utils.LRUCache": "18eefdf1",
    "utils.get_upload_folder": "ab346c44",
}


@pytest.mark.parametrize("name", KNOWN)
def test_gradio_has_not_changed(name: str) -> None:
    module, *path = name.split(".")
    thing: Any = importlib.import_module(f"gradio.{module}")
    for part in path:
        thing = getattr(thing, part)
        if not thing.__module__.startswith("gradio"):  # ours is in its place already
            thing = thing.__base__
    digest = hashlib.sha256(inspect.getsource(thing).encode()).hexdigest()[:8]
    assert digest == KNOWN[name], (
        f"gradio.{name} is another one: read what changed, see whether space/gradio_private.py still fits it, "
        f"add the version to TRIED there, and write {digest!r} here."
    )


def test_everything_was_tried_with_this_version() -> None:
    from space import gradio_private

    assert gradio.__version__ in gradio_private.TRIED


def test_what_is_written_down_of_gradio_is_so() -> None:
    from gradio.route_utils import API_PREFIX
    from gradio.utils import get_upload_folder

    from space import uploads

    assert uploads.API == API_PREFIX
    assert str(uploads.folder()) == get_upload_folder()
