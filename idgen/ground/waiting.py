"""A sign of life of what takes long in one go, such as reading gigabytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from tqdm import tqdm

FIRST, EVERY = 2.0, 1.0
"""Seconds until something is shown at all, and until it changes."""


@contextmanager
def working(what: str) -> Iterator[None]:
    """On a terminal, show what is being done and for how long, from the third second on; afterwards nothing is left of
    it. Elsewhere, show nothing."""
    bar, over = tqdm(desc=what, bar_format="{desc} … {elapsed}", delay=FIRST, disable=None, leave=False), Event()

    def tick() -> None:
        wait = FIRST
        while not over.wait(wait):
            bar.refresh()
            wait = EVERY

    thread = Thread(target=tick, daemon=True)
    if not bar.disable:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.is_alive():
            thread.join()
            bar.clear()
        bar.close()
