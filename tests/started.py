"""The app as a process of its own, asked until it answers."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def started(command: list[str], port: int, folder: Path, environment: dict[str, str]) -> Iterator[httpx.Response]:
    """Its page, from a process in a folder; what it says goes to the file `log` there, where no traceback may be."""
    log = folder / "log"
    with log.open("w") as file:
        app = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
    try:
        until = time.monotonic() + 120
        while True:
            assert app.poll() is None and time.monotonic() < until, log.read_text()
            try:
                page = httpx.get(f"http://127.0.0.1:{port}/", timeout=20)
                break
            except httpx.TransportError:
                time.sleep(0.3)
        yield page
        assert "Traceback" not in log.read_text()
    finally:
        app.terminate()
        app.wait(20)
