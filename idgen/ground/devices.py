"""Where networks are put, refused here if it is not there; and what is computed whatever the host program has set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from idgen.ground.errors import InputError

if hasattr(os, "register_at_fork"):  # OpenMP's threads do not survive a fork: a child that shares work waits for ever
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def device(value: str | None) -> str:
    """Where networks are put: "cpu", "cuda", "cuda:1" or "mps"; by default the best there is."""
    if value is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = str(value).partition(":")
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if kind not in there or int(index or 0 if index.isdigit() or not index else -1) not in range(there[kind]):
        have = ", ".join(name for name, number in there.items() if number)
        raise InputError(f"There is no device {value!r} here: choose one of {have}.")
    return str(value)


@contextmanager
def pinned() -> Iterator[None]:
    """Within it nothing follows what the host program has set for its thread: neither its default device nor autocast,
    which threads of ours would not know of. Its default dtype is of the whole process: what is drawn or made names its
    own."""
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch uses one thread: a worker is one core, and its numbers do not follow the machine's."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
