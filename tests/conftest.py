from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer

# Before anything imports torch: threads that wait for each other beside busy neighbours cost more than they bring.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before anything imports huggingface_hub: no test leaves this machine, and none meets a cache from another run.
_HUB = HubServer()
_CACHE = tempfile.TemporaryDirectory(prefix="idgen-tests-", ignore_cleanup_errors=True)
os.environ.update(
    IDGEN_CACHE=f"{_CACHE.name}/idgen",
    HF_ENDPOINT=_HUB.url,
    HF_HOME=f"{_CACHE.name}/hub",
    HF_HUB_DISABLE_XET="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    GRADIO_ANALYTICS_ENABLED="False",
)
for _name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "TRANSFORMERS_OFFLINE"):
    os.environ.pop(_name, None)


@pytest.fixture(scope="session", autouse=True)
def without_dlib() -> Iterator[None]:
    """As without the extra `photos`, which would look at every photograph: whether it is there decides no test but
    those that ask for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("idgen.model.for_photographs", lambda: None)
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a complete model with random weights; not to be changed."""
    from tiny import build_tiny_model

    return build_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def attributed_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model with random weights that can be told attributes; not to be changed."""
    from tiny import build_attributed_model

    return build_attributed_model(tiny_model, tmp_path_factory.mktemp("model") / "attributed")


@pytest.fixture(scope="session")
def reading_model(attributed_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of that model with a network that reads attributes; not to be changed."""
    from tiny import build_reading_model

    return build_reading_model(attributed_model, tmp_path_factory.mktemp("model") / "reading")


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """A Hugging Face Hub on this machine, empty at first."""
    yield _HUB
    _HUB.clear()
