"""What the benchmarks share: options, time, memory, and the app in a process of its own."""

from __future__ import annotations

import argparse
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT), str(ROOT / "tests")]
T = TypeVar("T")


def options(page: str | None, **defaults: Any) -> argparse.Namespace:
    """What the command line says, by the options' defaults.

    False makes a flag, a list offers a choice of some of its items, None is text that may be missing, a type is one
    that has to be given.
    """
    parser = argparse.ArgumentParser(description=page, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in defaults.items():
        option = f"{'--' if len(name) > 1 else '-'}{name.replace('_', '-')}"
        if default is False:
            parser.add_argument(option, action="store_true")
        elif isinstance(default, list):
            parser.add_argument(option, nargs="+", choices=default, default=default)
        elif isinstance(default, type):
            parser.add_argument(option, type=default, required=True)
        else:
            parser.add_argument(option, type=str if default is None else type(default), default=default)
    return parser.parse_args()


def timed(call: Callable[..., T], *arguments: Any, **named: Any) -> tuple[float, T]:
    """Seconds, and the result."""
    since = time.perf_counter()
    result = call(*arguments, **named)
    return time.perf_counter() - since, result


def peak_gb() -> float:
    """Peak resident memory of this process in GB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9  # macOS counts bytes, Linux KiB


def use_cores(count: int) -> None:
    """Keep this process to so many cores, where the system can (Linux), and torch to so many threads."""
    import torch  # not needed by those who count lines

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    torch.set_num_threads(count)


def python(checkout: Path, arguments: Sequence[str | Path], folder: str | Path = ".", **environment: str) -> str:
    """What Python prints when it runs with a checkout of idgen; RuntimeError with its last words when it fails."""
    variables = {**os.environ, "PYTHONPATH": str(checkout), **environment}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=variables, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{checkout}: {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}"[-4000:])
    return done.stdout


@contextmanager
def running_app(**environment: str) -> Iterator[tuple[int, str]]:
    """`python app.py` of this checkout: the number of its process, and its address, once its page is there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryFile() as console:
        gradio = {"GRADIO_SERVER_PORT": address.rpartition(":")[2], "GRADIO_TEMP_DIR": cache}
        variables = os.environ | {"PYTHONPATH": str(ROOT), **gradio, **environment}
        command = [sys.executable, "app.py"]
        app = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=console, stderr=console)
        try:
            given_up = time.monotonic() + 300
            while not _answers(address):
                if app.poll() is not None or time.monotonic() > given_up:
                    console.seek(0)
                    raise RuntimeError("The app does not answer: " + console.read().decode(errors="replace")[-2000:])
                time.sleep(0.05)
            yield app.pid, address
        finally:
            app.terminate()
            app.wait(30)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.read())
    except OSError:
        return False
