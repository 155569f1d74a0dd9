"""What a visitor sends is gone when the answer comes: on disk, among the open files, and from the console."""

from __future__ import annotations

import base64
import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from served import Served
from tiny import encoded

from space.settings import Settings
from space.uploads import sweep

gradio_client = pytest.importorskip("gradio_client")

NAME, WORDS = "visitor-zaphod", b"at home with zaphod"
PATIENT = {"timeout": 120}
HEAD = b'--x\r\nContent-Disposition: form-data; name="files"; filename="zaphod.png"\r\n\r\n'
FORM = {"content-type": "multipart/form-data; boundary=x"}


def photo(size: int = 160) -> bytes:
    """A picture with words in it that nothing else has."""
    exif = Image.Exif()
    exif[0x010E] = WORDS.decode()
    pixels = np.random.default_rng(0).integers(0, 255, (size, size, 3), np.uint8)
    return encoded(Image.fromarray(pixels), exif=exif)


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> None:
    """Without what other tests have sent and nobody has used."""
    if "served" in request.fixturenames:
        sweep(request.getfixturevalue("served").cache, -1)


@pytest.fixture
def client(served: Served, tmp_path: Path) -> Any:
    return gradio_client.Client(served.address, verbose=False, download_files=str(tmp_path), httpx_kwargs=PATIENT)


def assert_gone(served: Served) -> None:
    for folder in (served.cache, served.console.parent):
        for path in folder.rglob("*"):
            assert "zaphod" not in path.name
            assert not path.is_file() or WORDS not in path.read_bytes(), f"the upload is still at {path}"
            assert not path.name.startswith("upload"), f"an upload is still at {path}"
    assert not [path for path in served.open_files() if "zaphod" in path or "upload" in path]
    assert "zaphod" not in served.printed()


def test_only_old_uploads_are_swept(tmp_path: Path) -> None:
    for name in ("a/upload.png", "b/person-7-0000-00.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    sweep(tmp_path, 60)
    assert len(list(tmp_path.glob("*/*"))) == 2, "somebody may still use it"
    sweep(tmp_path, -1)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_answered_and_refused(served: Served, client: Any, tmp_path: Path) -> None:
    def send(content: bytes, *arguments: Any, kind: str = "png", endpoint: str = "/identify", files: int = 1) -> str:
        path = tmp_path / f"{NAME}.{kind}"
        path.write_bytes(content)
        try:
            client.predict(*[gradio_client.handle_file(str(path))] * files, *arguments, api_name=endpoint)
        except Exception as error:
            assert "zaphod" not in str(error) and "Traceback" not in str(error) and str(error).rstrip().endswith(".")
            return str(error)
        return "answered"

    for words, end in (
        ("answered|face", send(photo(), True)),
        ("answered|face", send(photo(), True, endpoint="/compare", files=2)),
        ("consent", send(photo(), False)),
        ("consent", send(photo(), False, endpoint="/compare", files=2)),
        ("damaged", send(photo()[:5000], True)),
        ("not a picture", send(b"<svg>" + WORDS, True, kind="svg")),
        ("too large", send(photo(1100), True)),
        ("no model", send(photo(), True, None, "no such model")),
        ("no upload", send(photo(), True, endpoint="/compare")),  # the second is missing
    ):
        assert re.search(words, end)
    assert_gone(served)


def test_cancelled_and_never_used(served: Served, client: Any, tmp_path: Path) -> None:
    path = tmp_path / f"{NAME}.png"
    path.write_bytes(photo())
    jobs = [client.submit(gradio_client.handle_file(str(path)), True, api_name="/identify") for _ in range(6)]
    for job in jobs:
        job.cancel()
    while not all(job.done() for job in jobs):
        time.sleep(0.1)
    httpx.post(f"{served.address}/gradio_api/upload", files={"files": (path.name, photo())}).raise_for_status()
    assert list(served.cache.glob("*/upload*")), "nothing asked for it yet"
    sweep(served.cache, -1)
    assert_gone(served)


def test_uploads_that_break_off_or_are_not_asked_for(served: Served) -> None:
    upload = f"{served.address}/gradio_api/upload"

    def broken() -> Iterator[bytes]:
        yield HEAD + photo()
        raise ConnectionError("the visitor closes the tab")

    with pytest.raises(ConnectionError):
        httpx.post(upload, content=broken(), headers=FORM)
    httpx.post(upload, content=HEAD + photo(), headers=FORM)  # no last boundary
    httpx.post(upload, files={"others": ("zaphod.png", photo())})
    httpx.post(f"{served.address}/gradio_api/process_recording", files={"file": ("zaphod.webm", photo())})
    until = time.monotonic() + 30
    while list(served.cache.glob("tmp*")) and time.monotonic() < until:
        time.sleep(0.1)
    assert_gone(served)


def test_more_than_is_ever_sent_is_not_read(served: Served) -> None:
    before = served.memory()
    # It would be kept until its turn comes.
    for path, size in (("call/identify", 1_100_000), ("queue/join", 1_100_000), ("mcp/", 60_000_000)):
        there = f"{served.address}/gradio_api/{path}"
        answer = httpx.post(there, content=b"[" * size, **PATIENT)
        assert answer.status_code == 413 and answer.json()["error"].endswith(".")
        with contextlib.suppress(httpx.TransportError):  # it hangs up
            answer = httpx.post(there, content=(b"[" * 1_000_000 for _ in range(300)), **PATIENT)  # no length is said
            assert answer.status_code >= 400
    assert served.memory() < before + 200_000_000
    address = f"{served.address}/gradio_api/file=https://example.com/x.png"
    assert httpx.get(address).status_code == 404


def test_the_same_upload_named_often(served: Served, client: Any) -> None:
    (path,) = httpx.post(f"{served.address}/gradio_api/upload", files={"files": ("a.png", photo())}).json()
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    call = f"{served.address}/gradio_api/call/identify"
    event = httpx.post(call, json={"data": [file, True, [file] * 300, "", None]}).json()["event_id"]
    assert "301 files are more than 8" in httpx.get(f"{call}/{event}", **PATIENT).text
    assert_gone(served)


def test_what_a_tool_is_sent_is_not_logged(served: Served) -> None:
    headers = {"accept": "application/json, text/event-stream"}
    data = base64.b64encode(photo()).decode()
    arguments = {"photo": f"data:image/png;base64,{data}", "consent": "zaphod"}
    call = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "identify", "arguments": arguments}}
    for extra in ({}, {"id": 1}):  # a message without a number gets no answer
        httpx.post(f"{served.address}/gradio_api/mcp/", json={**call, **extra}, headers=headers, **PATIENT)
    assert data[:60] not in served.printed()
    assert_gone(served)


def test_a_visitor_cannot_fill_the_disk(serving, small: Any, tmp_path: Path) -> None:
    limits = Settings(megabytes_per_ten_minutes=2, megabytes_per_ten_minutes_in_all=4, upload_megabytes=4)
    headers = {**FORM, "x-forwarded-for": "9.9.9.9"}  # forged

    def send(size: int, where: str = "127.0.0.1", said: bool = True) -> httpx.Response:
        body = HEAD + b"0" * size + b"\r\n--x--\r\n"
        content = body if said else (body[k : k + 50_000] for k in range(0, len(body), 50_000))
        with httpx.Client(transport=httpx.HTTPTransport(local_address=where), **PATIENT) as client:
            return client.post(f"{address}/gradio_api/upload", content=content, headers=headers)

    with serving(small, tmp_path, limits) as address:
        assert send(1_200_000).status_code == 200
        for said in (True, False):
            refused = send(1_200_000, said=said)
            assert refused.status_code == 429, refused.text
            assert refused.json()["error"].startswith("You may upload 2 MB within ten minutes")
        # What came of the one without a length counts.
        assert send(1_200_000, "127.0.0.2").status_code == 200
        assert send(1_200_000, "127.0.0.3").json()["error"].startswith("Visitors may upload 4 MB")
        kept = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert len(kept) == 2 and sum(path.stat().st_size for path in kept) == 2_400_000
        while (answer := send(1, "127.0.0.3")).status_code == 200:
            assert len(kept) < 20, "small ones have an end, too"
            kept.append(Path(answer.json()[0]))
