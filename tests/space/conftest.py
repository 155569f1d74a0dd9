"""One running app for the tests that talk to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from idgen.model import Model


@contextmanager
def _serving(model: Any, cache: Path, settings: Any = None) -> Iterator[str]:
    """The address of the app for a model, or `Models`; Gradio keeps its files in `cache`."""
    pytest.importorskip("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        from space.app import build, launch
        from space.settings import Settings

        demo = build(model, settings or Settings())
        _, address, _ = launch(demo, prevent_thread_lock=True, quiet=True)
        try:
            yield address.rstrip("/")
        finally:
            demo.close()


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[str]]:
    """`with serving(model, folder for Gradio's files) as address`; a third argument: `Settings`"""
    return _serving


@pytest.fixture(scope="session")
def small(tiny_model: Path) -> Model:
    """A complete model with random weights."""
    from idgen.model import load_model

    return load_model(str(tiny_model))


@pytest.fixture(scope="session")
def unjudged(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """As a converted model: an encoder, but no judge and no sampler."""
    import shutil

    from idgen.model import load_model

    folder = tmp_path_factory.mktemp("converted") / "converted"
    shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("judge", "sampler"))
    return load_model(str(folder))
