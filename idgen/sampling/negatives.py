"""Whom a picture is led away from (NegFaceDiff, Caldeira et al., ICCVW 2025): for everybody another person of the same
crowd."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from idgen.ground.errors import InputError

Away = Literal["far", "close", "mid", "random"]
_BLOCK = 1024


def negatives(vectors: Tensor, which: Away, seed: int = 0) -> Tensor:
    """(N,) the row of everybody's negative.

    Args:
        vectors: (N, D) unit vectors of the people.
        which: the one with the lowest cosine ("far", as the published sets have it), the highest ("close"), the median
            one, or any.
        seed: of "random".

    Raises:
        InputError: there is one person only, or no such choice.
    """
    if which not in get_args(Away):
        raise InputError(f"There is no negative {which!r}: choose one of {', '.join(get_args(Away))}.")
    count = len(vectors)
    if count < 2:
        raise InputError("One person alone has nobody to be led away from: give at least two.")
    if which == "random":
        step = torch.randint(1, count, (count,), generator=Generator().manual_seed(seed))
        return (torch.arange(count) + step) % count
    rows = []
    for start in range(0, count, _BLOCK):
        cosines = vectors[start : start + _BLOCK] @ vectors.T
        own = torch.arange(start, start + len(cosines))
        if which == "mid":
            cosines[torch.arange(len(own)), own] = torch.inf
            rows.append(cosines.sort(1).indices[:, (count - 2) // 2])
        else:
            sign = 1 if which == "close" else -1
            cosines[torch.arange(len(own)), own] = -sign * torch.inf
            rows.append((sign * cosines).argmax(1))
    return torch.cat(rows)
