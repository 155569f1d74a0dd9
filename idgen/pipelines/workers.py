"""Network calls that give the same bits whatever else is computed beside them.

Measured on a CPU in float32 with a 20M-parameter transformer: a row's result changes (by about 1e-6) with the number of
rows in the call, with the number of threads inside an operation and with where the row begins in memory (by 2e-5 on
some CPUs). So on a CPU each image is a call of its own, on copies, made by a worker whose operations run on one thread;
several workers share the images. That also keeps busy neighbours from stalling threads that wait for each other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor

ACCELERATOR_IMAGES = 16
"""Images a call on an accelerator, where an incomplete block is filled up: kernels, and so bits, follow the shape."""


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    """Threads whose torch operations use one thread each; two calls at once may make two, which are as good."""
    started = threading.Barrier(workers)

    def start() -> None:
        torch.get_num_threads()  # first takes over the process's number, which would undo the next line later
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(workers, "idgen", start)
    for future in [pool.submit(started.wait) for _ in range(workers)]:
        future.result()
    torch.set_num_threads(workers)  # what threads made from now on start with
    return pool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def by_image(call: Callable[..., Tensor], *arguments: Tensor, at_once: int = ACCELERATOR_IMAGES) -> Tensor:
    """`call(*arguments)` where the result of every image is independent of the others to the last bit.

    Args:
        call: network; acts on each row alone.
        arguments: (N, R, …) tensors: R rows for each of N images. `call` gets them as (B·R, …) and returns (B·R, …).
        at_once: images in a call on an accelerator.

    Returns:
        (N, R, …)
    """
    count, rows = arguments[0].shape[:2]
    if arguments[0].device.type != "cpu":
        parts = []
        for start in range(0, count, at_once):
            index = torch.arange(start, start + at_once, device=arguments[0].device).clamp_max(count - 1)
            out = call(*(argument[index].flatten(0, 1) for argument in arguments))
            parts.append(out.unflatten(0, (-1, rows))[: count - start])
        return torch.cat(parts)

    def one(image: int) -> Tensor:
        with torch.inference_mode():
            # Copied, so that it begins at a cache line wherever in a batch it lies: kernels follow the address too.
            return call(*(argument[image].clone(memory_format=torch.contiguous_format) for argument in arguments))

    workers = torch.get_num_threads()
    return torch.stack(list(map(one, range(count)) if workers == 1 else _pool(workers).map(one, range(count))))
