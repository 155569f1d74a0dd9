"""One running app for the tests that talk to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from painted import last
from PIL import Image
from served import Served, serve

from idgen.ground.identity import Identity
from idgen.ground.provenance import encode
from idgen.model import Model, load_model
from space import actions
from space.models import Models
from space.settings import Settings


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First of all whether Gradio is still the one that the app leans on: the rest may fail for no other reason."""
    items.sort(key=lambda item: "test_gradio_private" not in item.nodeid)


@contextmanager
def _serving(model: Any, cache: Path, settings: Any = None) -> Iterator[str]:
    """The address of the app for a model, or `Models`; Gradio keeps its files in `cache`."""
    pytest.importorskip("gradio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        from space.app import build, launch

        demo = build(model if isinstance(model, Models) else Models([model]), settings or Settings())
        with closing(demo):
            yield launch(demo, prevent_thread_lock=True, quiet=True)[1].rstrip("/")


@pytest.fixture(scope="session")
def serving() -> Callable[..., AbstractContextManager[str]]:
    """`with serving(model, folder for Gradio's files) as address`; a third argument: `Settings`"""
    return _serving


@pytest.fixture(scope="session")
def small(tiny_model: Path) -> Model:
    """A complete model with random weights."""
    return load_model(str(tiny_model))


@pytest.fixture(scope="session")
def told(attributed_model: Path) -> Model:
    """One that can be told attributes."""
    return load_model(str(attributed_model))


@pytest.fixture(scope="session")
def app(
    small: Model, unjudged: Model, told: Model, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The address of one app for all tests that leave its settings alone, and where Gradio keeps its files.

    It has three models, and a photo has at most 1 MB.
    """
    cache = tmp_path_factory.mktemp("gradio")
    with _serving(Models([small, unjudged, told]), cache, Settings(upload_megabytes=1)) as address:
        yield address, cache


@pytest.fixture(scope="session")
def served(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same in a process of its own, which can be treated badly. A photo has at most a megapixel. Its proxy is away,
    which is none of its business when it asks itself whether it is up."""
    pytest.importorskip("gradio")
    limits = {"IDGEN_UPLOAD_MEGAPIXELS": "1", "IDGEN_UPLOAD_MEGABYTES": "4", "http_proxy": "http://127.0.0.1:9"}
    with serve(tiny_model, tmp_path_factory.mktemp("served"), limits) as running:
        yield running


@pytest.fixture(scope="session")
def unjudged(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """As a converted model: an encoder, but no judge and no sampler."""
    folder = tmp_path_factory.mktemp("converted") / "converted"
    shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("judge", "sampler"))
    return load_model(str(folder))


@pytest.fixture(scope="session")
def person(small: Model) -> Identity:
    """Person 7, who does not exist."""
    return actions.sample(small, 7)[0]


@pytest.fixture(scope="session")
def result(small: Model, person: Identity) -> Any:
    """Three pictures of person 7."""
    return last(actions.generate(small, person, actions.Recipe.of(small, 3, 2, seed=1)))


@pytest.fixture(scope="session")
def built_in() -> Model:
    """The model that ships."""
    return load_model("nobody-128")


@pytest.fixture(scope="session")
def portraits(built_in: Model) -> list[bytes]:
    """Pictures of two people who do not exist, marked as such: generated faces, off centre in a larger picture."""
    files = []
    for seed in (3, 10):
        recipe, person = actions.Recipe.of(built_in, 1, seed=2), actions.sample(built_in, seed)[0]
        image = last(actions.generate(built_in, person, recipe)).images[0].image
        canvas = Image.new("RGB", (480, 360), (176, 182, 190))
        canvas.paste(image.resize((224, 224), Image.Resampling.BICUBIC), (70, 60))
        files.append(encode(canvas, {"model": built_in.name}, "JPEG", quality=92))
    return files
