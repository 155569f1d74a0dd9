"""What the README says of the app, done word for word."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from hub_server import HubServer

from idgen.model import Model
from space.models import Models
from space.settings import Settings

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").split("## The app\n")[1].split("\n## ")[0]


def block(language: str) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)[0]


def test_the_python_client(
    serving, built_in: Model, portraits: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    for name, portrait in zip(("photo", "other"), portraits, strict=True):
        (tmp_path / f"{name}.jpg").write_bytes(portrait)
    monkeypatch.chdir(tmp_path)
    with serving(built_in, tmp_path / "gradio") as address:
        code = block("py").replace("http://127.0.0.1:7860", address)
        assert address in code
        exec(compile(code, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "of 4" in said and "says the independent judge" in said and "Different people" in said


def test_the_mcp_client(serving, built_in: Model, portraits: list[bytes], tmp_path: Path) -> None:
    """Both servers of the configuration: the second uploads a photo, of which the first makes a person."""
    pytest.importorskip("mcp")
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client
    from mcp.client.streamable_http import streamablehttp_client

    photo = tmp_path / "photos" / "me.jpg"
    photo.parent.mkdir()
    photo.write_bytes(portraits[0])

    async def talk(servers: dict) -> str:
        errors = (tmp_path / "errors").open("w")
        command = StdioServerParameters(**{**servers["upload"], "command": str(Path(sys.executable).parent / "gradio")})
        async with (
            streamablehttp_client(servers["idgen"]["url"]) as (read, write, _),
            ClientSession(read, write) as app,
            stdio_client(command, errlog=errors) as (read_files, write_files),
            ClientSession(read_files, write_files) as files,
        ):
            await app.initialize()
            await files.initialize()
            address = (await files.call_tool("upload_file_to_gradio", {"file": str(photo)})).content[0].text
            answer = await app.call_tool("identify", {"photo": address, "consent": True})
            assert not answer.isError, answer.content
            return answer.content[0].text

    with serving(built_in, tmp_path / "gradio") as address:
        text = block("json").replace("http://127.0.0.1:7860", address).replace("FOLDER", str(photo.parent))
        person = json.loads(asyncio.run(talk(json.loads(text)["mcpServers"])))
    assert person["source"] == "1 photo" and len(person["vector"]) == 512
    assert not list((tmp_path / "gradio").glob("*/upload*"))


def test_the_uploaded_folder_runs_on_its_own(hub: HubServer, tmp_path: Path) -> None:
    """What the documented command uploads is all that the app needs."""
    words = shlex.split(block("console"))
    assert words[:3] == ["hf", "upload", "YOU/idgen"]
    hf = [str(Path(sys.executable).parent / words[0]), *words[1:]]
    done = subprocess.run(
        hf, cwd=ROOT, env={**os.environ, "HF_TOKEN": "hf_x"}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    uploaded, _ = hub.at("YOU/idgen", "main") or (None, None)
    assert uploaded is not None
    chosen = {path.relative_to(uploaded).as_posix() for path in uploaded.rglob("*") if path.is_file()}
    assert {"README.md", "app.py", "requirements.txt", "packages.txt", "space/style.css"} <= chosen
    assert not [name for name in chosen if name.startswith("tests/") or "__pycache__" in name or ".venv" in name]
    assert any(name.endswith(".safetensors") for name in hub.large)
    shutil.copytree(uploaded, tmp_path, dirs_exist_ok=True)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(tmp_path / "gradio"),
        "SPACE_ID": "you/idgen",
        "PYTHONSAFEPATH": "",
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part and Path(part).resolve() != ROOT),
    }
    with (tmp_path / "log").open("w") as log:
        app = subprocess.Popen([sys.executable, "app.py"], cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 120
        while True:
            assert app.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()
            try:
                page = httpx.get(f"http://127.0.0.1:{port}/", timeout=20)
                break
            except httpx.TransportError:
                time.sleep(0.3)
        assert page.status_code == 200 and "One person, many pictures" in page.text
        assert "Traceback" not in (tmp_path / "log").read_text()
    finally:
        app.terminate()
        app.wait(20)


def test_every_variable_and_its_default_is_said() -> None:
    said = set(re.findall(r"IDGEN_[A-Z_]+", SECTION)) | {
        "IDGEN_REQUESTS_PER_MINUTE_IN_ALL",
        "IDGEN_MEGABYTES_PER_TEN_MINUTES_IN_ALL",
    }
    assert said == set(re.findall(r"IDGEN_[A-Z_]+", Settings.__doc__ or ""))
    home, public = Settings.from_env({}), Settings.from_env({"SPACE_ID": "you/idgen"})
    for settings, column in ((home, 2), (public, 3)):
        cells = {
            row.split("|")[1].strip(): row.split("|")[column + 1] for row in SECTION.splitlines() if "`IDGEN" in row
        }
        shown = {key: cell.strip() for key, cell in cells.items()}
        assert shown["`IDGEN_VECTOR_UPLOADS`"] == str(int(settings.vector_uploads))
        assert shown["`IDGEN_QUEUE_LENGTH`"] == str(settings.queue_length)
        assert shown["`IDGEN_KEEP_SECONDS`"] == str(settings.keep_seconds)
        assert shown["`IDGEN_REQUESTS_PER_MINUTE`, `…_IN_ALL`"] == (
            f"{settings.requests_per_minute}, {settings.requests_per_minute_in_all}"
        )
        assert shown["`IDGEN_MEGABYTES_PER_TEN_MINUTES`, `…_IN_ALL`"] == (
            f"{settings.megabytes_per_ten_minutes}, {settings.megabytes_per_ten_minutes_in_all}"
        )
    assert Models(home.models).names == ["nobody-128"]
