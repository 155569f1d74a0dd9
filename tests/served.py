"""The app in a process of its own, to be treated badly: what it prints, keeps on disk, holds open, and needs.

`python tests/served.py MODEL` runs it and prints its address.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fuzz import give_back, memory

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Served:
    """A running app."""

    address: str
    pid: int
    cache: Path  # where Gradio keeps files
    console: Path  # what it prints, both streams

    def printed(self) -> str:
        """Everything so far on its console."""
        return self.console.read_text(encoding="utf-8", errors="replace")

    def memory(self) -> int:
        """Resident bytes, after what is free was given back."""
        os.kill(self.pid, signal.SIGUSR1)
        time.sleep(0.5)
        return memory(self.pid)

    def open_files(self) -> list[str]:
        """Paths that it holds open."""
        links = Path(f"/proc/{self.pid}/fd").iterdir()
        return [os.readlink(link) for link in links if link.is_symlink()]


@contextlib.contextmanager
def serve(model: str | Path, folder: Path, environ: Mapping[str, str] | None = None) -> Iterator[Served]:
    """Run the app for a model; its files and its console are in `folder`."""
    cache, console = folder / "gradio", folder / "console.txt"
    command = [sys.executable, __file__, str(model)]
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "GRADIO_TEMP_DIR": str(cache)}
    variables |= {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", **(environ or {})}
    with (
        console.open("wb") as printed,
        subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, env=variables, cwd=ROOT) as process,
    ):
        try:
            yield Served(_address(process, console), process.pid, cache, console)
        finally:
            process.terminate()


def _address(process: subprocess.Popen, console: Path) -> str:
    began = time.monotonic()
    while process.poll() is None and time.monotonic() < began + 300:  # a shared machine is slow
        if said := re.search(r"^at (http\S+?)/?$", console.read_text(errors="replace"), re.MULTILINE):
            return said[1]
        time.sleep(0.1)
    raise RuntimeError(f"The app did not start: {console.read_text(errors='replace')[-2000:]}")


def _main(model: str) -> None:
    import idgen.model
    from space.app import build, launch
    from space.models import Models
    from space.settings import Settings

    signal.signal(signal.SIGUSR1, lambda *_: give_back())
    if "IDGEN_FUZZ" not in os.environ:  # dlib looks at every photograph where it is there: in the long run only
        idgen.model.for_photographs = lambda: None
    loaded = idgen.model.load_model(model)
    loaded.sampler, loaded.pipeline, loaded.scorer, loaded.encoder  # noqa: B018 - loads them
    _, address, _ = launch(build(Models([loaded]), Settings.from_env()), prevent_thread_lock=True, quiet=True)
    print(f"at {address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    _main(sys.argv[1])
