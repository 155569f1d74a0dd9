"""Long work as an iterator that can be stopped."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _Stopped(Exception):
    """The work is over, or nobody waits for it any longer."""


class Teller(Generic[T]):
    """What the work speaks through."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.stopped = threading.Event()

    def say(self, item: T) -> None:
        """Hand an item to whoever iterates; ends the work here when nobody does any longer."""
        self.check()
        self.said.put(item)

    def check(self) -> None:
        """End the work here when nobody waits for it any longer."""
        if self.stopped.is_set():
            raise _Stopped


def stream(work: Callable[[Teller[T]], None]) -> Generator[T, None, None]:
    """What `work` says. Items are snapshots: one that was overtaken by a newer one is skipped.

    The work begins with the first `next` and runs in a thread of its own. When the iterator is closed, or nobody holds
    it any longer, the work ends at the next thing that it says or checks. What it raises is raised to whoever iterates.
    """
    teller: Teller[T] = Teller()

    def run() -> None:
        try:
            work(teller)
            raise _Stopped
        except BaseException as error:
            teller.said.put(error)

    threading.Thread(target=run, name="idgen-work", daemon=True).start()
    try:
        while True:
            said = [teller.said.get()]
            while not teller.said.empty():
                said.append(teller.said.get())
            end = said.pop() if isinstance(said[-1], BaseException) else None
            yield from said[-1:]
            if isinstance(end, _Stopped):
                return
            if end is not None:
                raise end
    finally:
        teller.stopped.set()
