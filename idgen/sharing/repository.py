"""A branch of a repository on the Hugging Face Hub, to write to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id

from idgen.ground import hub
from idgen.ground.errors import InputError

Files = dict[str, Path | bytes]
"""Name in the repository → where it is, or what it holds."""

_LOG_IN = "The Hub does not know who you are: run `hf auth login`, or set HF_TOKEN to a token that may write."
_REPLACED = (".safetensors", ".json", ".py", ".onnx")


@dataclass(frozen=True)
class Repository:
    """Where to upload.

    Args:
        name: "user/name".
        revision: the branch.
        token: of the Hub; by default that of `hf auth login` or HF_TOKEN.
        kind: "model" or "dataset".

    Raises:
        InputError: it cannot be a repository's name.
    """

    name: str
    revision: str = "main"
    token: str | bool | None = None
    kind: str = "model"

    def __post_init__(self) -> None:
        try:
            validate_repo_id(self.name)
            if self.name.count("/") != 1:
                raise HFValidationError("it is not user/name")
        except HFValidationError as error:
            wrong = f"{self.name!r} cannot be a repository on the Hub: give user/name, of letters, digits, - _ ."
            raise InputError(wrong) from error

    def make(self, private: bool | None) -> None:
        """Make sure that there is something to write to, before anything that takes long.

        Raises:
            InputError: nobody is logged in, or the Hub refuses or cannot be reached.
        """
        with self._api() as api:
            with suppress(RepositoryNotFoundError):
                api.repo_info(
                    self.name, repo_type=self.kind, timeout=hub.PATIENCE
                )  # a silent Hub would let all else wait for minutes
            api.create_repo(self.name, private=private, repo_type=self.kind, exist_ok=True)
            if self.revision != "main":
                api.create_branch(self.name, branch=self.revision, repo_type=self.kind, exist_ok=True)

    def commit(self, files: Mapping[str, Path | bytes], message: str) -> CommitInfo:
        """Make the branch hold these files, in one commit.

        Weights, configurations and code that an earlier push left, and that are not among the files, are removed: a
        model without a judge must not be loaded with an older one's. So are an older dataset's files.

        Raises:
            InputError: as `make`.
        """
        with self._api() as api:
            operations: list[Any] = [
                CommitOperationDelete(name)
                for name in api.list_repo_files(self.name, revision=self.revision, repo_type=self.kind)
                if name not in files and self._replaced(name)
            ]
            operations += [CommitOperationAdd(name, content) for name, content in sorted(files.items())]
            where: dict[str, Any] = {"revision": self.revision, "repo_type": self.kind}
            return api.create_commit(self.name, operations, commit_message=message, **where)

    def _replaced(self, name: str) -> bool:
        if self.kind == "dataset":
            return name.endswith(".parquet") or name == "identities.safetensors"
        return name in ("pipeline.py", "people.safetensors") or ("/" in name and name.endswith(_REPLACED))

    @contextmanager
    def _api(self) -> Iterator[HfApi]:
        """The Hub; what goes wrong with it is an `InputError`."""
        api = HfApi(token=self.token)
        try:
            yield api
        except LocalTokenNotFoundError as error:
            raise InputError(_LOG_IN) from error
        except HfHubHTTPError as error:
            owner = "make one with the right to write, or ask its owner"
            known = {401: _LOG_IN, 403: f"Your token may not write to {self.name}: {owner}."}
            status, why = getattr(error.response, "status_code", 0), _one_line(error)
            if (seconds := hub.asked_to_wait(error)) is not None:
                known[status] = f"The Hub takes no more requests for now (HTTP 429): push again in {seconds}."
            raise InputError(known.get(status, f"The Hub refused the upload to {self.name}: {why}")) from error
        except hub.hub_errors() as error:
            silent = f"the Hub at {api.endpoint} cannot be reached ({type(error).__name__})"
            raise InputError(f"Nothing was uploaded: {silent}; try again.") from error
        except ValueError as error:  # the Hub's check of the card's front matter
            raise InputError(f"The Hub refused the card: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
