"""The MCP tools, as a client of that protocol calls them."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny import noise_png

from idgen import provenance
from idgen.model import Model
from space import actions
from space.actions import Recipe, last
from space.settings import Settings

pytest.importorskip("mcp")


@pytest.fixture(scope="module")
def served(serving, small: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    cache = tmp_path_factory.mktemp("gradio")
    with serving(small, cache, Settings(upload_megabytes=1)) as address:
        yield address, cache


def ask(
    address: str, question: Callable[[Any], Any], headers: dict[str, str] | None = None, where: str = "127.0.0.1"
) -> Any:
    """What a client of the protocol gets that sends `headers` from the address `where`."""
    import httpx
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    def client(**options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(local_address=where), **options)

    async def talk() -> Any:
        async with (
            streamablehttp_client(f"{address}/gradio_api/mcp/", headers, httpx_client_factory=client) as (
                read,
                write,
                _,
            ),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await question(session)

    return asyncio.run(talk())


def call(address: str, name: str, arguments: dict, **options: Any) -> Any:
    return ask(address, lambda session: session.call_tool(name, arguments, **options))


def test_names_and_docstrings(served) -> None:
    tools = ask(served[0], lambda session: session.list_tools()).tools
    assert [tool.name for tool in tools] == ["sample", "identify", "generate", "compare"]
    for tool in tools:
        assert len(tool.description) > 60
        described = tool.inputSchema["properties"]
        assert described and all(one["description"] for one in described.values())


async def heard(progress: float, total: float | None, message: str | None) -> None:
    pass


@pytest.mark.parametrize("listening", [{}, {"progress_callback": heard}])
def test_pictures_are_pictures_and_say_what_they_are(served, small: Model, tmp_path: Path, listening: dict) -> None:
    made = call(served[0], "generate", {"images": 2, "steps": 1, "person": 5}, **listening)
    assert not made.isError, made.content
    report = json.loads(made.content[0].text)
    recipe = Recipe.of(small, 2, 1)
    alone = last(actions.generate(small, actions.sample(small, 5)[0], recipe))
    assert report["sentence"] == alone.sentence
    pictures = [one for one in made.content if one.type == "image"]
    assert len(pictures) == 3, "two and the contact sheet"
    for number, picture in enumerate(pictures):
        path = tmp_path / f"{number}.png"
        path.write_bytes(base64.b64decode(picture.data))
        assert "trainedAlgorithmicMedia" in provenance.read(path)["digital_source_type"]
        if number < 2:
            assert Image.open(path).tobytes() == alone.images[number].image.tobytes()


def test_a_sampled_person_is_handed_on(served) -> None:
    person = json.loads(call(served[0], "sample", {"seed": 11}).content[0].text)
    made = call(served[0], "generate", {"images": 1, "steps": 1, "identity": person})
    assert json.loads(made.content[0].text)["source"] == person["source"]


def test_nothing_else_is_a_file(served, tmp_path: Path) -> None:
    """The client behind the tools would open it, on this machine."""
    secret = tmp_path / "secret.txt"
    secret.write_text("hidden")
    for path in (secret, tmp_path / "not there"):
        file = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
        who = {"space": "x", "source": "y", "vector": file}
        answer = call(served[0], "generate", {"images": 1, "steps": 1, "identity": who})
        assert answer.isError and "is no file" in answer.content[0].text
    assert not [one for one in served[1].rglob("*") if one.is_file() and one.read_bytes() == b"hidden"]


def test_visitors_who_wait_do_not_stop_others(served) -> None:
    import httpx

    async def many(session: Any) -> list[Any]:
        waiting = [
            asyncio.create_task(session.call_tool("generate", {"images": 1, "steps": 2, "person": person}))
            for person in range(45)  # more than there are threads for requests
        ]
        await asyncio.sleep(0.5)
        async with httpx.AsyncClient() as other:
            assert (await other.get(f"{served[0]}/config", timeout=20)).status_code == 200
        assert not all(one.done() for one in waiting)
        return await asyncio.gather(*waiting)

    assert not any(answer.isError for answer in ask(served[0], many))


def test_a_picture_that_was_made_here_can_be_compared_and_stays(served) -> None:
    made = call(served[0], "generate", {"images": 1, "steps": 1, "person": 6})
    address = next(one.text for one in made.content if one.type == "text" and "Image URL" in one.text).split()[-1]
    call(served[0], "compare", {"first": address, "second": address, "consent": True})
    assert httpx_get(address) == 200


def httpx_get(address: str) -> int:
    import httpx

    return httpx.get(address).status_code


def sampled(address: str, headers: dict[str, str], where: str = "127.0.0.1") -> str:
    """What the tool /sample says."""
    said = ask(address, lambda session: session.call_tool("sample", {"seed": 7}), headers, where)
    return said.content[0].text


@pytest.mark.parametrize("proxies", [0, 1])
def test_a_caller_cannot_choose_who_it_is(serving, small: Model, tmp_path: Path, proxies: int) -> None:
    """Behind a proxy by the last entry of X-Forwarded-For, which the proxy writes; without one by its address."""
    from gradio_client import Client

    def headers(number: int, visitor: str) -> dict[str, str]:
        forged = f"9.9.9.{number}"
        return {
            "X-Forwarded-For": f"{forged}, {visitor}" if proxies else forged,
            "X-Real-IP": forged,
            "X-Idgen-Visitor": forged,
        }

    with serving(small, tmp_path, Settings(requests_per_minute=3, proxies=proxies)) as address:
        assert "vector" in sampled(address, headers(1, "1.1.1.1"))
        assert "vector" in sampled(address, headers(2, "1.1.1.1"))
        client = Client(address, verbose=False, headers=headers(3, "1.1.1.1"))
        assert "vector" in client.predict(7, api_name="/sample"), "the same visitor, without a tool"
        assert "3 requests within a minute" in sampled(address, headers(4, "1.1.1.1"))
        with pytest.raises(Exception, match="3 requests within a minute"):
            Client(address, verbose=False, headers=headers(5, "1.1.1.1")).predict(7, api_name="/sample")
        assert "vector" in sampled(address, headers(6, "2.2.2.2"), "127.0.0.1" if proxies else "127.0.0.2")


def test_a_proxy_that_writes_a_line_of_its_own() -> None:
    from starlette.requests import Request

    from space.requests import caller

    lines = [(b"x-forwarded-for", b"9.9.9.9"), (b"x-forwarded-for", b"1.2.3.4")]
    assert caller(Request({"type": "http", "client": ("10.0.0.1", 1), "headers": lines}), 1) == "1.2.3.4"


def data(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize(
    ("photo", "said"),
    [
        (data(noise_png()), "face"),
        (data(b"no picture"), "picture|image"),
        ("data:image/png;base64,???", "base64"),
        (data(b"0" * 1_100_000), "at most 1 MB"),
        ("https://elsewhere.example/photo.png", "not fetched"),
        ("http://here/gradio_api/file=/etc/passwd", "does not fit|no upload"),
        ("/etc/passwd", "not fetched"),
    ],
)
@pytest.mark.parametrize("tool", ["identify", "compare"])
def test_a_photo_is_gone_and_a_mistake_is_a_sentence(served, tool: str, photo: str, said: str) -> None:
    before = set(served[1].rglob("*"))
    photos = (
        {"first": photo, "second": photo} if tool == "compare" else {"photo": photo, "more": [data(noise_png()), photo]}
    )
    answer = call(served[0], tool, {**photos, "consent": True})
    assert answer.isError and re.search(said, answer.content[0].text), answer.content
    assert "Traceback" not in answer.content[0].text and "root:" not in answer.content[0].text
    assert not [path for path in set(served[1].rglob("*")) - before if path.is_file()]
