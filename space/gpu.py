"""Hugging Face ZeroGPU: a GPU only while a function runs, asked for by the seconds that the work will take."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

ZERO = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
"""Whether this is a Space with such a GPU, where `spaces` is installed and must be imported before torch."""

if ZERO:
    importlib.import_module("spaces")

_START, _STEP, _LONGEST = 10.0, 0.05, 120
"""Seconds: to get the GPU and move the networks, a denoising step of one 512-pixel picture, the most that is asked."""


def seconds(pictures: int, steps: int) -> int:
    """How long a GPU is asked for: generous, because what is not used is given back, and what runs over is cut off."""
    return min(_LONGEST, round(_START + _STEP * pictures * steps))


def on_gpu(duration: Callable[..., int]) -> Callable[[F], F]:
    """A decorator: on ZeroGPU, run the function with a GPU for `duration(*its arguments)` seconds; elsewhere, nothing.

    Arguments and results travel between processes there, so they must be picklable.
    """
    if not ZERO:
        return lambda function: function
    return importlib.import_module("spaces").GPU(duration=duration)
