"""One running app for the tests that talk to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from idgen.hub import Model


@contextmanager
def _serving(model: Model, cache: Path) -> Iterator[str]:
    """The address of the app for a model; Gradio keeps its files in `cache`."""
    pytest.importorskip("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        from space.app import build, launch

        demo = build(model)
        _, address, _ = launch(demo, prevent_thread_lock=True, quiet=True)
        try:
            yield address.rstrip("/")
        finally:
            demo.close()


@pytest.fixture(scope="session")
def serving() -> Callable[[Model, Path], AbstractContextManager[str]]:
    """`with serving(model, folder for Gradio's files) as address`"""
    return _serving
