"""What the page's buttons do, pressed over HTTP as a browser does."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from idgen.ground.identity import Identity
from idgen.model import Model
from space.models import Models
from space.settings import Settings

gradio_client = pytest.importorskip("gradio_client")


class Visitor:
    """A page that is open: it has a session, and the states that the server keeps for it."""

    def __init__(self, address: str):
        self.http = httpx.Client(base_url=address, timeout=120)
        self.session = secrets.token_hex(8)
        config = self.http.get("/config").json()
        self._ids = {one["props"].get("elem_id"): one["id"] for one in config["components"]}
        self._events = config["dependencies"]
        self._shown = {one["id"]: one["props"].get("value") for one in config["components"]}
        (opened,) = [one for one in self._events if any(event == "load" for _, event in one["targets"])]
        assert self._send(opened["id"], [None] * len(opened["inputs"]))["success"]

    def press(self, button: str, *values: Any, event: str = "click") -> dict[str, Any]:
        """The last message after it; `values`: those of the event's inputs, None where the server keeps them; the
        others are as the page shows them."""
        target = [self._ids[button], event]
        found = next(one for one in self._events if target in one["targets"] and one["backend_fn"])
        return self._send(found["id"], [*values, *(self._shown[one] for one in found["inputs"][len(values) :])])

    def _send(self, number: int, data: list[Any]) -> dict[str, Any]:
        body = {"data": data, "fn_index": number, "session_hash": self.session}
        event = self.http.post("/gradio_api/queue/join", json=body).json()["event_id"]
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as lines:
            for line in lines.iter_lines():
                message = json.loads(line.removeprefix("data: ") or "{}")
                if message.get("msg") == "process_completed" and message["event_id"] == event:
                    return message
        raise AssertionError("it never ends")


def test_what_makes_a_fixed_number_is_not_bound_by_the_pictures_of_a_request(
    serving, small: Model, tmp_path: Path
) -> None:
    with serving(small, tmp_path, Settings(images_per_request=2)) as address:
        visitor = Visitor(address)
        for answer in (
            visitor.press("morph", small.name, None, None, 1, 1, 0),
            visitor.press("near", small.name, None, 1, 1, 0),
            visitor.press("spread", small.name, None, None, 0.3, 1, 1, 0, event="release"),
        ):
            assert answer["success"], answer["output"]
        assert not visitor.press("generate", small.name, None, 3, 1, 0, 1, 0)["success"], "this one was chosen"


def test_a_curve_that_is_refused_spends_nothing(serving, small: Model, tmp_path: Path) -> None:
    with serving(small, tmp_path, Settings(requests_per_minute=6)) as address:
        visitor = Visitor(address)
        settings = (small.name, None, None, 0.3, 1, 1, 0)
        for _ in range(2):
            assert visitor.press("spread", *settings, event="release")["success"]
        assert "this counts as 5 more" in visitor.press("curve", *settings)["output"]["error"]
        for _ in range(4):
            assert visitor.press("spread", *settings, event="release")["success"]
        assert "6 requests within a minute" in visitor.press("spread", *settings, event="release")["output"]["error"]


def test_who_was_forgotten_goes_on(serving, small: Model, tmp_path: Path) -> None:
    """A phone that slept comes back with a page whose session the server no longer has."""
    with serving(small, tmp_path, Settings()) as address:
        visitor = Visitor(address)
        visitor.session = secrets.token_hex(8)
        assert not visitor.press("generate", small.name, None, 1, 1, 0, 1, 0)["success"]
        assert visitor.press("who", None, small.name, 7, event="input")["success"]
        assert visitor.press("generate", small.name, None, 1, 1, 0, 1, 0)["success"]


def test_pictures_and_people_go_when_their_time_is_over(
    small: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from space.app import build, launch

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    demo = build(Models([small]), Settings(keep_seconds=10))
    demo.delete_cache = (1, demo.delete_cache[1])  # seconds: looked at more often than every minute

    def people() -> list[Identity]:
        states = [value for session in demo.state_holder.session_data.values() for value in session.state_data.values()]
        return [value for value in states if isinstance(value, Identity)]

    def kept() -> list[Path]:
        return [path for path in tmp_path.rglob("*") if path.is_file()]

    asked = ("generate", small.name, None, 1, 1, 0, 1, 0)
    with closing(demo):
        address = launch(demo, prevent_thread_lock=True, quiet=True)[1]
        visitor = Visitor(address)
        assert visitor.press(*asked)["success"]
        assert len(people()) == 2, "A and B"
        assert {path.suffix for path in kept()} == {".zip", ".png"}, "what can be downloaded"
        client = gradio_client.Client(address, verbose=False, download_files=False)
        files = client.predict(1, 1, api_name="/generate")[1]
        assert Path(files[0]["path"]).is_file()
        until = time.monotonic() + 30
        while kept():
            assert time.monotonic() < until
            time.sleep(0.5)
        assert not people()
        again = visitor.press(*asked)
        assert not again["success"] and "person" in again["output"]["error"]


def test_a_link_made_with_other_weights_says_that_its_seeds_are_other_people_now(small: Model) -> None:
    from urllib.parse import parse_qsl

    from space import actions, again
    from space.actions import Recipe
    from space.models import space
    from space.page import stale

    link = again.pictures(actions.sample(small, 7)[0], Recipe.of(small, 1, 1), small.name).query
    query, now = dict(parse_qsl(link[1:])), space(small)
    assert stale(query, small.name, now) == ""
    assert stale({}, small.name, now) == "", "a fresh page"
    assert "made with the space tiny-0-encoder" in stale({**query, "space": "tiny-0-encoder"}, small.name, now)
    assert "made with idgen 0.2 or before" in stale({"person": "7"}, small.name, now)
