"""A true exponential moving average of weights and buffers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def average(decay: float) -> Any:
    """What `AveragedModel` moves its weights by: the decay starts lower, min(decay, (1 + n) / (10 + n))."""

    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        n = float(count)
        share = 1 - min(decay, (1 + n) / (10 + n))
        for a, c in zip(averaged, current, strict=True):
            if torch.is_floating_point(a):
                a.lerp_(c.to(a.dtype), share)
            else:
                a.copy_(c)

    return update
