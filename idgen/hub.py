"""Models by name: those in the package, folders, and repositories on the Hugging Face Hub."""

from __future__ import annotations

import importlib
import os
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idgen.errors import InputError
from idgen.revisions import REVISIONS

if TYPE_CHECKING:
    from idgen.faces.encoder import FaceEncoder
    from idgen.pipelines import IdentityPipeline
    from idgen.sampling.sampler import IdentitySampler
    from idgen.scoring import Judge, Scorer
    from idgen.sharing.push import Pushed

DEFAULT_MODEL = "nobody-128"
BUILTIN = Path(__file__).parent / "builtin"
PARTS = ("encoder", "judge", "sampler")
"""What a model's folder may hold beside its pipeline."""

# Weights and their descriptions: nothing that could be executed is fetched.
_PATTERNS = ["*.json", "*.safetensors", "encoder/*.onnx", "README.md"]
_COMMIT = re.compile("[0-9a-f]{40}")
PATIENCE = 10
"""Seconds until the hub counts as away."""


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


class Model:
    """A model's folder, whose parts are loaded when they are first used. Safe to share between threads.

    The folder holds a pipeline (model_index.json and its parts), and may hold encoder/ (`FaceEncoder`), judge/
    (`Judge`) and sampler/ (`IdentitySampler`); what is missing is refused when it is asked for.

    Args:
        folder: where it is.
        name: what to call it; by default as the folder.
        device: for the networks, such as "cpu" or "cuda"; by default the best there is.
    """

    def __init__(self, folder: str | os.PathLike[str], name: str | None = None, device: str | None = None):
        self.folder = Path(folder)
        self.name = name or self.folder.resolve().name
        self._device = device
        self._parts: dict[str, Any] = {}
        self._lock = threading.RLock()

    @property
    def device(self) -> str:
        """Where the networks are put."""
        if self._device is None:
            import torch

            self._device = "cuda" if torch.cuda.is_available() else "cpu"
        return self._device

    @property
    def pipeline(self) -> IdentityPipeline:
        """Identities to pictures."""
        return self._part("pipeline")

    @property
    def encoder(self) -> FaceEncoder:
        """Faces to the vectors that the pipeline takes."""
        return self._part("encoder")

    @property
    def judge(self) -> Judge:
        """The independent recogniser."""
        return self._part("judge")

    @property
    def sampler(self) -> IdentitySampler:
        """People who do not exist."""
        return self._part("sampler")

    @property
    def scorer(self) -> Scorer:
        """Encoder and judge, with thresholds at a false-match rate of 1 in 1,000."""
        return self._part("scorer")

    def has(self, part: str) -> bool:
        """Whether the folder holds one of `PARTS`: "encoder", "judge" or "sampler"."""
        return (self.folder / part / "config.json").exists()

    def push(self, repo: str, **options: Any) -> Pushed:
        """Upload the folder to the Hugging Face Hub; see `idgen.sharing.push.push` for options and errors."""
        from idgen.sharing.push import push

        return push(self, repo, **options)

    def __repr__(self) -> str:
        return f"Model({str(self.folder)!r}, name={self.name!r})"

    def _part(self, name: str) -> Any:
        with self._lock:
            if name not in self._parts:
                self._parts[name] = getattr(self, f"_load_{name}")()
            return self._parts[name]

    def _need(self, part: str, file: str) -> Path:
        if not (self.folder / file).exists():
            raise InputError(f"The model {self.name!r} has no {part}: {self.folder / file} does not exist.")
        return (self.folder / file).parent

    def _load_pipeline(self) -> IdentityPipeline:
        import torch
        from diffusers.utils import logging

        from idgen.pipelines import pipeline_class

        if not (self.folder / "model_index.json").exists() and (self.folder / "arc2face").is_dir():
            raise InputError(
                f"{self.name} has Arc2Face's files as published: make a model of them by "
                f"`idgen convert arc2face {self.folder} OUT`, then use OUT."
            )
        folder = self._need("pipeline", "model_index.json")
        kind = pipeline_class(folder)
        half = kind.half_on_accelerator and not self.device.startswith("cpu")
        showing = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # over in a moment, and the commands' own bars are enough
        try:
            pipeline = kind.from_pretrained(folder, **({"dtype": torch.float16} if half else {}))
        finally:
            if showing:
                logging.enable_progress_bar()
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)

    def _load_encoder(self) -> FaceEncoder:
        from idgen.faces.encoder import FaceEncoder

        return FaceEncoder.from_pretrained(self._need("encoder", "encoder/config.json")).to(self.device)

    def _load_judge(self) -> Judge:
        from idgen.scoring import Judge

        judge = Judge.from_pretrained(self._need("judge", "judge/config.json"))
        judge.recognizer.to(self.device)
        return judge

    def _load_sampler(self) -> IdentitySampler:
        from idgen.sampling.sampler import IdentitySampler

        return IdentitySampler.from_pretrained(self._need("sampler", "sampler/config.json"))

    def _load_scorer(self) -> Scorer:
        from idgen.scoring import Scorer

        return Scorer(self.encoder, self.judge)


def load_model(
    name: str | os.PathLike[str] = DEFAULT_MODEL, device: str | None = None, revision: str | None = None
) -> Model:
    """A model by the name of one in the package, a folder, or a hub repository; its parts are loaded on first use.

    Args:
        name: see `resolve`; `user/name@revision` pins a repository.
        device: see `Model`.
        revision: the same pin, apart.

    Raises:
        InputError: there is no such model.
    """
    text = os.fspath(name)
    if text == "FoivosPar/Arc2Face":  # said before gigabytes are fetched
        raise InputError(
            f"{text} has Arc2Face's files as published: `idgen convert arc2face {text} OUT` makes a model."
        )
    folder = resolve(text, revision)
    hub = "/" in text and not Path(text).is_dir()
    if hub and revision is not None:
        text = f"{text.partition('@')[0]}@{revision}"
    return Model(folder, text if hub else None, device)
