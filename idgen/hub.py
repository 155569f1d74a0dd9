"""A name to a folder: a model in the package, a folder, or a repository on the Hugging Face Hub."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from idgen.errors import InputError
from idgen.revisions import REVISIONS

DEFAULT_MODEL = "nobody-128"
BUILTIN = Path(__file__).parent / "builtin"

# Weights and their descriptions: nothing that could be executed is fetched.
_PATTERNS = ["*.json", "*.safetensors", "encoder/*.onnx", "README.md"]
_COMMIT = re.compile("[0-9a-f]{40}")
PATIENCE = 10
"""Seconds until the hub counts as away."""

uploader: Callable[..., Any] | None = None
"""What `push` calls; `import idgen` sets it."""


def builtin_models() -> list[str]:
    """Names of the models inside the package."""
    return sorted(index.parent.name for index in BUILTIN.glob("*/model_index.json"))


def resolve(
    name: str | os.PathLike[str], revision: str | None = None, patterns: Sequence[str] = _PATTERNS, **hub: Any
) -> Path:
    """The folder of a model: one inside the package, a folder, or a repository `user/name`, which is fetched.

    What is in the Hub's cache is found there when the Hub is away; what is not is refused at once.

    Args:
        name: what to look for; a built-in name wins over a folder of that name in the working directory. A repository
            may bring its revision: `user/name@revision`.
        revision: branch, tag or commit of a repository; by default that of `idgen.revisions`, else the newest.
        patterns: which files of a repository.
        hub: what else `snapshot_download` takes: token, cache_dir, local_files_only, …

    Raises:
        InputError: there is nothing of that name, or it cannot be fetched.
    """
    text = os.fspath(name)
    if text in builtin_models():
        return BUILTIN / text
    if text and Path(text).is_dir():
        return Path(text)
    known = f"in the package there is {', '.join(builtin_models()) or 'none'}"
    repo, _, pinned = text.partition("@")
    revision = revision or pinned or REVISIONS.get(repo)
    if repo.count("/") != 1 or repo.startswith((".", "/", "~")):
        raise InputError(f"There is no model {text!r}: {known}; else give a folder or a hub repository, user/name.")
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    def fetch(**where: Any) -> Path:
        options = {**hub, **where}
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(patterns), **options))

    try:
        if revision is not None and _COMMIT.fullmatch(revision) and not hub.get("force_download"):
            try:
                return fetch(local_files_only=True)  # a commit never changes
            except LocalEntryNotFoundError:
                pass
        if not hub.get("local_files_only"):
            try:
                # Says soon that the hub is away, or is silent; fetching would try again for minutes.
                HfApi(token=hub.get("token")).model_info(repo, revision=revision, timeout=PATIENCE)
            except (RepositoryNotFoundError, RevisionNotFoundError):
                raise
            except hub_errors():
                with suppress(LocalEntryNotFoundError):
                    return fetch(local_files_only=True)  # what was fetched before
                raise
        return fetch()
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(f"There is no model {repo!r}, neither as a folder nor on the hub; {known}.") from error
    except RevisionNotFoundError as error:
        raise InputError(
            f"The model {repo!r} on the hub has no revision {revision!r}: name another one, such as main."
        ) from error
    except hub_errors() as error:
        raise InputError(
            f"The model {repo!r} is no folder here, and the hub cannot be reached for it ({type(error).__name__}): "
            f"check the name and the network; {known}."
        ) from error


def hub_errors() -> tuple[type[Exception], ...]:
    """What goes wrong between here and the Hub: no network, offline by choice, refused, nothing in the cache."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import get_session

    http = importlib.import_module(type(get_session()).__module__.split(".")[0])  # httpx, or its successor
    return HfHubHTTPError, OfflineModeIsEnabled, http.TransportError, OSError


uploader: Callable[..., Any] | None = None
"""What `push` calls; `import idgen` sets it."""


def push(what: Any, repo: str, **options: Any) -> Any:
    """Upload a model, a pipeline or a face encoder: what can be uploaded does not know how. See `idgen.push`."""
    assert uploader is not None  # `import idgen` comes before any of its modules
    return uploader(what, repo, **options)
