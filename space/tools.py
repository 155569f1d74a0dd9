"""What the MCP tools take and answer: photos that do not outlive the call, and pictures as they are. No Gradio here.

Gradio's own (`gradio_private.Tools` is where it is replaced) keeps a photo that comes as `data:` in its cache, and
gives a client that does not listen for progress everything as one text.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import quote

from idgen.ground.errors import InputError

from .uploads import FILE, dictionaries, keep, path_in

_META = {"_type": "gradio.FileData"}
_written: ContextVar[list[Path]] = ContextVar("written")  # photos that came with the call that is answered


def with_photos(arguments: dict[str, Any], photos: set[Any], megabytes: int) -> dict[str, Any]:
    """A call's arguments for the endpoint behind it, with its photos as uploads, which are noted for `forget`.

    A photo is given by its address in this app, as `data:…;base64,…` of so many megabytes, or as a list of them.

    Raises:
        InputError: a photo is neither, or too large; or something else says that it is a file.
    """
    _written.set([])
    for name, value in arguments.items():
        # The client between the tool and the app would read it from this machine.
        if name not in photos and any({"path", "meta"} & one.keys() for one in dictionaries(value)):
            raise InputError(f"`{name}` is no file: give it as it was answered.")
    return {name: _photo(value, megabytes) if name in photos else value for name, value in arguments.items()}


def forget() -> None:
    """Delete the photos that came with the call."""
    for path in _written.get([]):
        path.unlink(missing_ok=True)


def flat(outputs: Any) -> Iterator[Any]:
    """Outputs of an endpoint: each file on its own, other lists and dictionaries as JSON."""
    for output in outputs:
        if isinstance(output, list) and output and all(map(_is_file, output)):
            yield from output
        elif isinstance(output, dict | list) and not _is_file(output):
            yield json.dumps(output)
        else:
            yield output


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and "path" in value and value.get("meta") == _META


def _photo(value: Any, megabytes: int) -> Any:
    if value is None:
        return None
    if isinstance(value, list):
        return [_photo(one, megabytes) for one in value]
    text = str(value)
    if text.startswith("data:"):
        if len(text) > megabytes * 1_000_000 * 4 / 3 + 100:
            raise InputError(f"A photo has at most {megabytes} MB: make it smaller and try again.")
        try:
            written = keep(base64.b64decode(text.partition(",")[2], validate=True))
        except ValueError:
            raise InputError("The photo is no base64: encode the file as it is.") from None
        _written.get().append(written)
        path = str(written)
    elif FILE in text:
        path = path_in(text)
    else:
        raise InputError(
            "A photo is the address that upload_file_to_gradio answers, or data:image/…;base64,…: files from elsewhere "
            "are not fetched."
        )
    # As an address, because the client between the tool and the app would upload a path once more.
    return {"path": f"http://here{FILE}{quote(path)}", "meta": _META}
