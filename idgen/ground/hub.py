"""A name to a folder: a model in the package, a folder, or a repository on the Hugging Face Hub."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session

from idgen.ground.errors import InputError
from idgen.ground.words import count

DEFAULT_MODEL = "nobody-128"
BUILTIN = Path(__file__).parents[1] / "builtin"
PATIENCE = 10
"""Seconds until the hub counts as away."""
REVISIONS = {
    "FoivosPar/Arc2Face": "321709b2e9697ea2a5bd06c8a51b340592333e1e",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
    "latent-consistency/lcm-lora-sdv1-5": "cf2fced511dbe7e26c8d1d397e728fbab875db4b",
    "DIAMONIK7777/antelopev2": "ba0c3e10f4548361eb9a63265d87ce1140ab5a05",
}
"""Other people's repositories that idgen names, each with the commit that is fetched unless another is asked for: those
that public code and the repositories' own pages name."""

# Weights and their descriptions: nothing that could be executed is fetched.
_PATTERNS = ["*.json", "*.safetensors", "encoder/*.onnx", "judge/*.onnx", "README.md"]
_COMMIT = re.compile("[0-9a-f]{40}")
_OF_THE_DISK = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.ENOENT)
_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "token")


def builtin_models() -> list[str]:
    """Names of the models inside the package."""
    return sorted(index.parent.name for index in BUILTIN.glob("*/model_index.json"))


def options_in(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a `from_pretrained`'s arguments that say what to fetch and how, for `resolve`."""
    return {name: arguments[name] for name in _OPTIONS if name in arguments}


def resolve(
    name: str | os.PathLike[str], revision: str | None = None, patterns: Sequence[str] = _PATTERNS, **hub: Any
) -> Path:
    """The folder of a model: one inside the package, a folder, or a repository `user/name`, which is fetched.

    What is in the Hub's cache is found there when the Hub is away; what is not is refused at once.

    Args:
        name: what to look for; a built-in name wins over a folder of that name in the working directory. A repository
            may bring its revision: `user/name@revision`.
        revision: branch, tag or commit of a repository; by default that of `REVISIONS`, else the newest.
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
    # Where other files are wanted than a model's of ours, those in the package are no help.
    ours = patterns is _PATTERNS or "model_index.json" in patterns
    known = f"in the package there is {', '.join(builtin_models()) or 'none'}" if ours else ""
    repo, _, pinned = text.partition("@")
    revision = revision or pinned or REVISIONS.get(repo)
    if repo.count("/") != 1 or repo.startswith((".", "/", "~")):
        known = f"{known}; else " if known else ""
        raise InputError(f"There is no model {text!r}: {known}give a folder or a hub repository, user/name.")
    try:
        return _fetch(repo, revision, patterns, hub)
    except GatedRepoError as error:
        where = f"{HfApi().endpoint}/{repo}"
        raise InputError(
            f"The model {repo!r} is on the hub for those who accepted its terms: accept them at {where}, then log in "
            "here by `hf auth login`."
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        private = "where a private one is seen after `hf auth login`"
        raise InputError(
            f"There is no model {repo!r}, neither as a folder nor on the hub, {private}{known and '; '}{known}."
        ) from error
    except RevisionNotFoundError as error:
        why = f"The model {repo!r} on the hub has no revision {revision!r}: name another one, such as main."
        raise InputError(why) from error
    except (RuntimeError, *hub_errors()) as error:  # type: ignore[misc]
        if (seconds := asked_to_wait(error)) is not None:
            raise InputError(
                f"The hub answers no more requests for {repo!r} for now (HTTP 429): try again in {seconds}; who is "
                "logged in (`hf auth login`) may ask more often."
            ) from error
        if isinstance(error, RuntimeError):  # there is no home folder
            raise InputError(f"{repo!r} cannot be fetched ({error}): set HF_HOME to a folder for it.") from error
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise InputError(
                f"What is fetched of {repo!r} cannot be written ({error.strerror}: {error.filename}): set HF_HOME to a "
                "folder with room that can be written."
            ) from error
        why = f"({type(error).__name__}): check the name and the network"
        if isinstance(error, OfflineModeIsEnabled):
            why = "(HF_HUB_OFFLINE is set): only what was fetched before can be used"
        raise InputError(
            f"The model {repo!r} is no folder here, and the hub cannot be reached for it {why}; {known}."
        ) from error


def _fetch(repo: str, revision: str | None, patterns: Sequence[str], hub: Mapping[str, Any]) -> Path:
    def fetch(**where: Any) -> Path:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(patterns), **{**hub, **where}))

    if revision is not None and _COMMIT.fullmatch(revision) and not hub.get("force_download"):
        with suppress(LocalEntryNotFoundError):
            return fetch(local_files_only=True)  # a commit never changes
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


def asked_to_wait(error: BaseException) -> str | None:
    """How long the Hub asks to wait before the next request, where it refused one for that (HTTP 429), in words."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if getattr(response, "status_code", None) == 429:
            headers: Any = getattr(response, "headers", {})
            asked = re.search(r"\bt=(\d+)", headers.get("RateLimit", "")) or re.fullmatch(
                r"(\d+)", headers.get("Retry-After", "")
            )
            return count(int(asked[1]), "second", "seconds") if asked else "some minutes"
        cause = cause.__cause__ or cause.__context__
    return None


def hub_errors() -> tuple[type[Exception], ...]:
    """What goes wrong between here and the Hub: no network, offline by choice, refused, nothing in the cache."""
    http = sys.modules[type(get_session()).__module__.partition(".")[0]]  # httpx, its successor, or requests
    return HfHubHTTPError, OfflineModeIsEnabled, getattr(http, "TransportError", OSError), OSError
