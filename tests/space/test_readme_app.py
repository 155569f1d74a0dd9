"""What the page on the app says, done word for word."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import HubServer
from pages import ROOT, blocks, page
from started import free_port, started

from idgen.model import Model
from space.models import Models
from space.settings import Settings

PAGE = page("docs/app.md")


def test_the_python_client(
    serving, built_in: Model, portraits: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    for name, portrait in zip(("photo", "other"), portraits, strict=True):
        (tmp_path / f"{name}.jpg").write_bytes(portrait)
    monkeypatch.chdir(tmp_path)
    with serving(built_in, tmp_path / "gradio") as address:
        code = blocks(PAGE, "py")[0].replace("http://127.0.0.1:7860", address)
        assert address in code
        exec(compile(code, "app.md", "exec"), {})
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
        text = blocks(PAGE, "json")[0].replace("http://127.0.0.1:7860", address).replace("FOLDER", str(photo.parent))
        person = json.loads(asyncio.run(talk(json.loads(text)["mcpServers"])))
    assert person["source"].startswith("1 p") and len(person["vector"]) == 512
    assert not list((tmp_path / "gradio").glob("*/upload*"))


def test_the_uploaded_folder_runs_on_its_own(hub: HubServer, tmp_path: Path) -> None:
    """What the documented command uploads is all that the app needs."""
    words = shlex.split(blocks(PAGE, "console")[0])
    assert words[:3] == ["hf", "upload", "YOU/idgen"]
    hf = [str(Path(sys.executable).parent / words[0]), *words[1:]]
    how: dict = {"env": {**os.environ, "HF_TOKEN": "hf_x"}, "capture_output": True, "text": True}
    done = subprocess.run(hf, cwd=ROOT, timeout=240, **how)
    assert done.returncode == 0, done.stderr
    uploaded, _ = hub.at("YOU/idgen", "main") or (None, None)
    assert uploaded is not None
    chosen = {path.relative_to(uploaded).as_posix() for path in uploaded.rglob("*") if path.is_file()}
    assert {"README.md", "app.py", "requirements.txt", "packages.txt", "space/style.css"} <= chosen
    assert not [name for name in chosen if name.startswith("tests/") or "__pycache__" in name or ".venv" in name]
    assert any(name.endswith(".safetensors") for name in hub.large)
    shutil.copytree(uploaded, tmp_path, dirs_exist_ok=True)

    port = free_port()
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(tmp_path / "gradio"),
        "SPACE_ID": "you/idgen",
        "PYTHONSAFEPATH": "",
        "PYTHONPATH": os.pathsep.join(part for part in sys.path if part and Path(part).resolve() != ROOT),
    }
    with started([sys.executable, "app.py"], port, tmp_path, environment) as page:
        assert page.status_code == 200 and "One person, many pictures" in page.text


def test_every_variable_and_its_default_is_said() -> None:
    said = set(re.findall(r"IDGEN_[A-Z_]+", PAGE)) | {
        "IDGEN_REQUESTS_PER_MINUTE_IN_ALL",
        "IDGEN_MEGABYTES_PER_TEN_MINUTES_IN_ALL",
    }
    assert said == set(re.findall(r"IDGEN_[A-Z_]+", Settings.__doc__ or ""))
    home, public = Settings.from_env({}), Settings.from_env({"SPACE_ID": "you/idgen"})
    for names, *columns in re.findall(r"^\| (`IDGEN.*?) \| .*? \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE):
        first, *others = re.findall(r"`(.*?)`", names)
        attributes = [name.removeprefix("IDGEN_").lower() for name in (first, *(o.replace("…", first) for o in others))]
        for settings, column in zip((home, public), columns, strict=True):
            values = [column.removesuffix(" on a Space")] if len(attributes) == 1 else column.split(", ")
            for attribute, value in zip(attributes, values, strict=True):
                setting = getattr(settings, attribute)
                assert value == (", ".join(setting) if attribute == "models" else f"{setting:g}"), attribute
    assert Models(home.models).names == ["nobody-128"]
