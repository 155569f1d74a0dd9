"""Strangers who send anything: every answer is an answer or a sentence, nothing breaks, nothing leaks, nothing stays.

2,000 mutated payloads; `IDGEN_FUZZ=10000 IDGEN_FUZZ_SEED=1 pytest tests/space/test_fuzz.py` sends more, and others.
"""

from __future__ import annotations

import base64
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import mutate
import pytest
from PIL import Image
from served import ROOT, Served

COUNT, SEED = (int(os.environ.get(name, default)) for name, default in (("IDGEN_FUZZ", 2000), ("IDGEN_FUZZ_SEED", 0)))
OVER_HTTP = COUNT * 3 // 10
GROWTH = 1.05  # of memory
PATIENCE = 240  # seconds for an answer: a stranger may ask for much, and all others wait in line
PHOTO = object()
ENDPOINTS: dict[str, list[Any]] = {  # valid arguments
    "sample": [7, ""],
    "identify": [PHOTO, True, None, ""],
    "generate": [1, 1, 0.0, 0, None, 7, None, ""],
    "compare": [PHOTO, PHOTO, True, ""],
}
_NAMES = {"sample": ["seed"], "identify": ["photo", "consent"], "generate": ["images", "steps"]}
_NAMES["compare"] = ["first", "second", "consent"]
TOOLS = {name: dict(zip(names, ENDPOINTS[name], strict=False)) for name, names in _NAMES.items()}


def test_the_functions_behind_the_app(tiny_model: Path) -> None:
    count = COUNT - OVER_HTTP
    command = [sys.executable, str(ROOT / "tests" / "fuzz.py"), str(tiny_model), str(count), str(SEED)]
    memory = {"MALLOC_MMAP_THRESHOLD_": str(4 << 20)}  # what `space.guard.give_back_memory` sets
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + COUNT, env={**os.environ, **memory})
    assert done.returncode == 0, f"it crashed or hung:\n{done.stderr[-3000:]}"
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["wrong"] == [] and not said["unpickled"]
    assert said["answered"] + said["refused"] == count
    assert said["answered"] > 0.05 * said["refused"] > 0, "both happen, or nothing was tested"
    assert said["after"] < GROWTH * said["before"], f"{said['before']:,} bytes became {said['after']:,}"


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Another machine that the app has no reason to ask, and does not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(BlockingIOError):
            server.accept()


class Stranger:
    """Sends one mutated request after another; `wrong` is what should not have come back."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=f"{address}/gradio_api", timeout=PATIENCE)
        config = httpx.get(f"{address}/config").json()["dependencies"]
        self.events = [(event["id"], len(event["inputs"])) for event in config]
        face = Image.effect_mandelbrot((96, 96), (-2, -1.5, 1, 1.5), 60).convert("RGB")
        self.photos = mutate.pictures(face)
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []

    def send(self, number: int) -> None:
        chance = random.Random(f"{SEED} http {number}")
        kind = chance.choices(("call", "upload", "event", "tool", "body", "route"), (40, 20, 15, 10, 10, 5))[0]
        try:
            end = getattr(self, f"_{kind}")(chance)
        except httpx.TimeoutException:
            end = "hung"
        except httpx.HTTPError as error:
            end = f"broke off: {type(error).__name__}"
        self.ends[end] += 1
        if end not in ("answered", "refused"):
            self.wrong.append(f"{number} {kind}: {end}")

    def call(self, name: str, data: Any) -> tuple[str, Any]:
        """Make a call as a program would; its end, and the answer or the error."""
        body = json.dumps({"data": data}).encode()
        return self._follow(name, self._post(f"/call/{name}", body))

    def _follow(self, name: str, response: httpx.Response) -> tuple[str, Any]:
        end = self._judge(response)
        said = response.json() if response.status_code == 200 else None
        if not isinstance(said, dict) or "event_id" not in said:
            return end, None
        event, _, data = self._streamed(f"/call/{name}/{said['event_id']}").partition("\n")
        content = json.loads(data.removeprefix("data: "))
        if event == "event: complete":
            return "answered", content
        sentence = content.get("error") if isinstance(content, dict) else None
        return self._sentence(sentence), sentence

    def _streamed(self, path: str) -> str:
        """The last message of a stream, which has to end: a heartbeat alone keeps nobody waiting."""
        began, text = time.monotonic(), ""
        with self.http.stream("GET", path) as response:
            for line in response.iter_lines():
                if time.monotonic() > began + PATIENCE:
                    raise httpx.ReadTimeout("it never ends")
                text += line + "\n"
        return text.strip().split("\n\n")[-1]

    def _sentence(self, text: Any) -> str:
        if not isinstance(text, str) or not text.rstrip().endswith((".", "?", "!")) or len(text) > 1000:
            return f"no sentence: {text!r}"[:300]
        return f"a fault of ours: {text}" if "not because of you" in text else "refused"

    def _post(self, path: str, body: bytes, kind: str = "application/json") -> httpx.Response:
        return self.http.post(path, content=body, headers={"content-type": kind})

    def _judge(self, response: httpx.Response) -> str:
        if response.status_code >= 500:
            is_json = response.headers.get("content-type", "").startswith("application/json")
            return self._sentence(response.json().get("error") if is_json else None)
        return "refused" if response.status_code >= 400 else "answered"

    def upload(self, data: bytes, name: str = "visitor.png") -> dict[str, Any]:
        (path,) = self.http.post("/upload", files={"files": (name, data)}).json()
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def _filled(self, chance: random.Random, name: str) -> list[Any]:
        return [self.upload(mutate.picture(chance, self.photos)) if one is PHOTO else one for one in ENDPOINTS[name]]

    def _call(self, chance: random.Random) -> str:
        name = chance.choice(list(ENDPOINTS))
        return self.call(name, mutate.arguments(chance, self._filled(chance, name)))[0]

    def _upload(self, chance: random.Random) -> str:
        name = chance.choice(("identify", "compare"))
        return self.call(name, self._filled(chance, name))[0]

    def _event(self, chance: random.Random) -> str:
        """What the page itself calls, with anything in it."""
        number, inputs = chance.choice(self.events)
        valid = [chance.choice((7, True, "", None, mutate.value(chance))) for _ in range(inputs)]
        session = f"s{threading.get_ident()} {chance.randrange(25)}"  # nobody else's at the time
        body = {"data": mutate.arguments(chance, valid), "fn_index": number, "session_hash": session}
        if chance.random() < 0.3:
            body[chance.choice(("fn_index", "session_hash", "event_data", "trigger_id"))] = mutate.value(chance)
        response = self._post("/queue/join", json.dumps(body).encode())
        if response.status_code != 200 or body["session_hash"] != session:
            return self._judge(response)
        began = time.monotonic()
        with self.http.stream("GET", "/queue/data", params={"session_hash": session}) as messages:
            for line in messages.iter_lines():
                said = json.loads(line.removeprefix("data: ")) if line else {}
                if said.get("msg") == "process_completed":
                    sentence = (said.get("output") or {}).get("error")
                    return "answered" if said["success"] else self._sentence(sentence)
                if time.monotonic() > began + PATIENCE:
                    raise httpx.ReadTimeout(f"event {body['fn_index']} never ends")
        return f"event {body['fn_index']} has no end"

    def _tool(self, chance: random.Random) -> str:
        """As a language model calls it, which makes up arguments."""
        name = chance.choice(list(TOOLS))
        arguments = dict(TOOLS[name])
        for key in [key for key, one in arguments.items() if one is PHOTO]:
            photo = mutate.picture(chance, self.photos)
            written = f"data:image/png;base64,{base64.b64encode(photo).decode()}"
            arguments[key] = chance.choice((written, f"{self.http.base_url}file={self.upload(photo)['path']}"))
        for _ in range(chance.randrange(3)):
            arguments[chance.choice([*arguments, "other"])] = mutate.value(chance)
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
        if chance.random() < 0.1:
            del call[chance.choice(list(call))]
        headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        response = self.http.post("/mcp/", content=json.dumps(call).encode(), headers=headers)
        if response.status_code != 200:
            return self._judge(response)
        answer = json.loads(next(line for line in response.text.splitlines() if line.startswith("data: "))[6:])
        if "error" in answer:
            return "refused"
        text = answer["result"]["content"][0]["text"]
        return f"a fault of ours: {text}" if "Traceback" in text or "not because of you" in text else "answered"

    def _body(self, chance: random.Random) -> str:
        name = chance.choice(list(ENDPOINTS))
        valid = [None if one is PHOTO else one for one in ENDPOINTS[name]]
        body = json.dumps({"data": valid, "session_hash": f"s{chance.randrange(99)}"}).encode()
        deep = b'{"data": ' + b"[" * 100_000
        body = chance.choice((mutate.damage(chance, body), mutate.damage(chance, body), deep, b"", b"[1]", b"null"))
        kind = chance.choice(("application/json", "application/json", "text/plain", "multipart/form-data", ""))
        return self._follow(name, self._post(f"/call/{name}", body, kind))[0]

    def _route(self, chance: random.Random) -> str:
        kind = f"multipart/form-data; boundary={chance.choice(('x', '', 'y' * 5000))}"
        part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="../../a\0.png"\r\n\r\nhi\r\n--x--\r\n'
        value = mutate.value(chance)
        sent = {"/queue/join": value, "/cancel": value, "/component_server": {"data": value}}
        sent["/mcp/"] = {"method": "tools/call", "params": value}
        files = ["/file=" + name for name in ("/etc/passwd", "../../etc/passwd", "%00", "x" * 5000)]
        calls = [f"/call/{name}/{event}" for name in ("sample", "x") for event in ("x", "%00", "y" * 999)]
        which = chance.choice(("/upload", "/nowhere", *sent, files, calls))
        if isinstance(which, list):
            return self._judge(self.http.get(chance.choice(which)))
        if which == "/upload":
            return self._judge(self._post(which, mutate.damage(chance, part), kind))
        return self._judge(self._post(which, json.dumps(sent[which]).encode() if which in sent else b""))


def test_the_app_over_http(served: Served, elsewhere: str) -> None:
    stranger = Stranger(served.address)
    fetched = {"path": f"{elsewhere}x.png", "url": f"{elsewhere}x.png", "meta": {"_type": "gradio.FileData"}}
    for name in ("identify", "compare"):
        end, said = stranger.call(name, [fetched if one is PHOTO else one for one in ENDPOINTS[name]])
        assert end == "refused" and "uploaded" in said, said
    _, expected = stranger.call("sample", ENDPOINTS["sample"])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(stranger.send, range(OVER_HTTP // 3)))
        before = served.memory()
        list(pool.map(stranger.send, range(OVER_HTTP // 3, OVER_HTTP)))
    after = served.memory()

    assert not stranger.wrong, "\n".join([*stranger.wrong[:40], served.printed()[-3000:]])
    assert stranger.ends["answered"] > 0.05 * stranger.ends["refused"] > 0, stranger.ends
    assert "Traceback" not in served.printed(), served.printed()[-3000:]
    assert "visitor" not in served.printed()
    assert stranger.call("sample", ENDPOINTS["sample"]) == ("answered", expected), "it still works as before"
    assert not Path("unpickled-by-the-app").exists()
    assert after < GROWTH * before, f"{before:,} bytes became {after:,}"
    print(dict(stranger.ends), f"{before:,} -> {after:,}")
