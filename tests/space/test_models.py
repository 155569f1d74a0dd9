"""The models that visitors choose from."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hub_server import HubServer

from idgen.model import Model
from space.models import Models


def test_who_waits_for_one_model_does_not_stop_the_others(
    hub: HubServer, small: Model, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["somebody/slow"] = tiny_model
    asked, answer, files = threading.Event(), threading.Event(), hub.at

    def slowly(repo: str, revision: str) -> tuple[Path, str] | None:
        asked.set()
        answer.wait(120)
        return files(repo, revision)

    monkeypatch.setattr(hub, "at", slowly)
    models = Models([small, "somebody/slow"])
    with ThreadPoolExecutor(3) as pool:
        try:
            slow = [pool.submit(models.get, "somebody/slow") for _ in range(2)]
            assert asked.wait(60)
            assert pool.submit(models.get).result(timeout=20) is small
            assert not any(one.done() for one in slow)
        finally:
            answer.set()
        assert slow[0].result().name == "somebody/slow"
        assert slow[0].result() is slow[1].result(), "loaded once"
