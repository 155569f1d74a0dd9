"""The MCP tools, as a client of that protocol calls them."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from painted import last
from PIL import Image
from tiny import noise_png

from idgen.ground import provenance
from idgen.model import Model
from space import actions
from space.actions import Recipe
from space.parts import uri
from space.settings import Settings

pytest.importorskip("mcp")


def ask(
    address: str, question: Callable[[Any], Any], headers: dict[str, str] | None = None, where: str = "127.0.0.1"
) -> Any:
    """What a client of the protocol gets that sends `headers` from the address `where`."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    def client(**options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(local_address=where), **options)

    async def talk() -> Any:
        there = streamablehttp_client(f"{address}/gradio_api/mcp/", headers, httpx_client_factory=client)
        async with there as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            return await question(session)

    return asyncio.run(talk())


def call(address: str, name: str, arguments: dict, **options: Any) -> Any:
    return ask(address, lambda session: session.call_tool(name, arguments, **options))


def test_names_and_docstrings(app) -> None:
    tools = ask(app[0], lambda session: session.list_tools()).tools
    assert [tool.name for tool in tools] == ["sample", "identify", "generate", "compare"]
    for tool in tools:
        assert len(tool.description) > 60
        described = tool.inputSchema["properties"]
        assert described and all(one["description"] for one in described.values())


async def heard(progress: float, total: float | None, message: str | None) -> None:
    pass


@pytest.mark.parametrize("listening", [{}, {"progress_callback": heard}])
def test_pictures_are_pictures_and_say_what_they_are(app, small: Model, tmp_path: Path, listening: dict) -> None:
    person = json.loads(call(app[0], "sample", {"seed": 5}).content[0].text)
    made = call(app[0], "generate", {"images": 2, "steps": 1, "identity": person}, **listening)
    assert not made.isError, made.content
    alone = last(actions.generate(small, actions.sample(small, 5)[0], Recipe.of(small, 2, 1)))
    assert json.loads(made.content[0].text)["sentence"] == alone.sentence
    pictures = [one for one in made.content if one.type == "image"]
    assert len(pictures) == 3, "two and the contact sheet"
    path = tmp_path / "picture.png"
    for picture, image in itertools.zip_longest(pictures, alone.images):
        path.write_bytes(base64.b64decode(picture.data))
        assert "trainedAlgorithmicMedia" in provenance.read(path)["digital_source_type"]
        assert image is None or Image.open(path).tobytes() == image.image.tobytes()


def test_nothing_else_is_a_file(app, tmp_path: Path) -> None:
    """The client behind the tools would open it, on this machine."""
    secret = tmp_path / "secret.txt"
    secret.write_text("hidden")
    for path in (secret, tmp_path / "not there"):
        file = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
        who = {"space": "x", "source": "y", "vector": file}
        answer = call(app[0], "generate", {"images": 1, "steps": 1, "identity": who})
        assert answer.isError and "is no file" in answer.content[0].text
    assert not [one for one in app[1].rglob("*") if one.is_file() and one.read_bytes() == b"hidden"]


def test_visitors_who_wait_do_not_stop_others(app) -> None:
    async def many(session: Any) -> list[Any]:
        waiting = [
            asyncio.create_task(session.call_tool("generate", {"images": 1, "steps": 1, "person": person}))
            for person in range(45)  # more than there are threads for requests
        ]
        await asyncio.sleep(0.5)
        async with httpx.AsyncClient() as other:
            assert (await other.get(f"{app[0]}/config", timeout=20)).status_code == 200
        assert not all(one.done() for one in waiting)
        return await asyncio.gather(*waiting)

    assert not any(answer.isError for answer in ask(app[0], many))


def test_a_picture_that_was_made_here_can_be_compared_and_stays(app) -> None:
    made = call(app[0], "generate", {"images": 1, "steps": 1, "person": 6})
    address = next(one.text for one in made.content if one.type == "text" and "Image URL" in one.text).split()[-1]
    call(app[0], "compare", {"first": address, "second": address, "consent": True})
    assert httpx.get(address).status_code == 200


@pytest.mark.parametrize("proxies", [0, 1])
def test_a_caller_cannot_choose_who_it_is(serving, small: Model, tmp_path: Path, proxies: int) -> None:
    """Behind a proxy by the last entry of X-Forwarded-For, which the proxy writes; without one by its address."""
    numbers = itertools.count()

    def headers(visitor: str) -> dict[str, str]:
        forged = f"9.9.9.{next(numbers)}"
        true = f"{forged}, {visitor}" if proxies else forged
        return {"X-Forwarded-For": true, "X-Real-IP": forged, "X-Idgen-Visitor": forged}

    def tool(visitor: str, where: str = "127.0.0.1") -> str:
        """What the tool /sample says."""
        said = ask(address, lambda session: session.call_tool("sample", {"seed": 7}), headers(visitor), where)
        return said.content[0].text

    def endpoint(visitor: str) -> str:
        there = f"{address}/gradio_api/call/sample"
        event = httpx.post(there, json={"data": [7, ""]}, headers=headers(visitor)).json()["event_id"]
        return httpx.get(f"{there}/{event}").text

    with serving(small, tmp_path, Settings(requests_per_minute=3, proxies=proxies)) as address:
        assert "vector" in tool("1.1.1.1") and "vector" in tool("1.1.1.1")
        assert "vector" in endpoint("1.1.1.1"), "the same visitor, without a tool"
        assert "3 requests within a minute" in tool("1.1.1.1")
        assert "3 requests within a minute" in endpoint("1.1.1.1")
        assert "vector" in tool("2.2.2.2", "127.0.0.1" if proxies else "127.0.0.2")


@pytest.mark.parametrize(
    ("photo", "said"),
    [
        (uri(noise_png(), "image/png"), "face"),
        (uri(b"no picture", "image/png"), "picture|image"),
        ("data:image/png;base64,???", "base64"),
        (uri(b"0" * 1_100_000, "image/png"), "at most 1 MB"),
        ("https://elsewhere.example/photo.png", "not fetched"),
        ("http://here/gradio_api/file=/etc/passwd", "does not fit|no upload"),
        ("/etc/passwd", "not fetched"),
    ],
)
@pytest.mark.parametrize("tool", ["identify", "compare"])
def test_a_photo_is_gone_and_a_mistake_is_a_sentence(app, tool: str, photo: str, said: str) -> None:
    before = set(app[1].rglob("*"))
    first, other = ("first", "second") if tool == "compare" else ("photo", "more")
    others = photo if tool == "compare" else [uri(noise_png(), "image/png"), photo]
    answer = call(app[0], tool, {first: photo, other: others, "consent": True})
    assert answer.isError and re.search(said, answer.content[0].text), answer.content
    assert "Traceback" not in answer.content[0].text and "root:" not in answer.content[0].text
    assert not [path for path in set(app[1].rglob("*")) - before if path.is_file()]
