"""People kept apart: greedy choice by exact search, in blocks that keep memory flat.

Vectors drawn uniformly are always apart (the closest two of 10,000 in 512 dimensions are at cosine 0.25), so this says
something only on vectors of *generated pictures*: `idgen.choosing` measures those.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from idgen.ground.devices import pinned
from idgen.ground.errors import InputError, require_package

Engine = Literal["torch", "faiss"]
_ROWS, _COLUMNS = 4096, 16384


class _Blocks:
    """The people kept so far, searched by matrix products against the given vectors themselves: no copy is kept."""

    def __init__(self, vectors: Tensor):
        self.vectors, self.rows = vectors, torch.empty(0, dtype=torch.long)
        self.products = torch.empty(0, dtype=torch.float32)

    def close(self, block: Tensor, cosine: float) -> Tensor:
        out = torch.zeros(len(block), dtype=torch.bool)
        if not len(self.rows):
            return out
        if not len(self.products):
            self.products = torch.empty(_ROWS * _COLUMNS, dtype=torch.float32)  # one buffer for all products
        for part in self.rows.split(_COLUMNS):
            others = _unit(self.vectors[part])
            products = self.products[: len(block) * len(others)].view(len(block), len(others))
            torch.mm(block, others.T, out=products)
            out |= products.amax(1) >= cosine
        return out

    def add(self, rows: Tensor, block: Tensor) -> None:
        self.rows = torch.cat([self.rows, rows])


class _Faiss:
    """The same by faiss (a copy of the kept vectors lives in its index)."""

    def __init__(self, vectors: Tensor):
        self.index = require_package("faiss", "faiss", "The engine faiss").IndexFlatIP(vectors.shape[1])

    def close(self, block: Tensor, cosine: float) -> Tensor:
        if not self.index.ntotal:
            return torch.zeros(len(block), dtype=torch.bool)
        return torch.from_numpy(self.index.search(block.numpy(), 1)[0][:, 0] >= cosine)

    def add(self, rows: Tensor, block: Tensor) -> None:
        self.index.add(block.numpy())


@pinned()
def separate(vectors: Tensor, cosine: float, engine: Engine = "torch") -> Tensor:
    """Go through the vectors in order and keep each whose cosine to every one kept before is below `cosine`.

    Exact, and the same whatever the blocks: the first of two close ones is the one that stays.

    Args:
        vectors: (N, D), only their directions count; half precision and memory-mapped arrays save memory.
        cosine: from here on two are too close, from -1 to 1.
        engine: "torch", by matrix products in blocks (about 0.5 GB whatever N is), or "faiss", with faiss-cpu
            installed.

    Returns:
        The rows that stay, ascending.

    Raises:
        InputError: a vector has no direction, the cosine is out of range, or there is no such engine.
    """
    if not -1 <= cosine <= 1:
        raise InputError(f"The cosine from which two people are too close lies between -1 and 1, got {cosine}.")
    if engine not in get_args(Engine):
        raise InputError(f"There is no engine {engine!r}: choose one of {', '.join(get_args(Engine))}.")
    kept = _Faiss(vectors) if engine == "faiss" else _Blocks(vectors)
    rows = []
    for start in range(0, len(vectors), _ROWS):
        block = _unit(vectors[start : start + _ROWS])
        mine = (~kept.close(block, cosine)).nonzero().flatten()
        clash = (block[mine] @ block[mine].T >= cosine).triu(1)
        stays = torch.ones(len(mine), dtype=torch.bool)
        for row in clash.any(1).nonzero().flatten().tolist():  # only those with a later neighbour can remove anybody
            if stays[row]:
                stays &= ~clash[row]
        mine = mine[stays]
        kept.add(mine + start, block[mine])
        rows.append(mine + start)
    return torch.cat(rows)


@pinned()
def nearest_other(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine (N,) of each of at least two vectors (N, D) to its nearest other one, and that one's row (N,); only
    directions count. InputError if a vector has no direction."""
    best = torch.full((len(vectors),), -torch.inf, dtype=torch.float32)
    index = torch.zeros(len(vectors), dtype=torch.long)
    for start in range(0, len(vectors), _ROWS):
        block = _unit(vectors[start : start + _ROWS])
        rows = slice(start, start + len(block))
        for first in range(0, len(vectors), _COLUMNS):
            products = block @ _unit(vectors[first : first + _COLUMNS]).T
            own = torch.arange(start, start + len(block)) - first  # a vector is not its own neighbour
            inside = (own >= 0) & (own < products.shape[1])
            products[inside.nonzero().flatten(), own[inside]] = -torch.inf
            cosine, row = products.max(1)
            better = cosine > best[rows]
            best[rows] = torch.where(better, cosine, best[rows])
            index[rows] = torch.where(better, row + first, index[rows])
    return best, index


def _unit(vectors: Tensor) -> Tensor:
    block = vectors.detach().cpu().float()
    lengths = block.norm(dim=1)
    if not (lengths.isfinite().all() and (lengths > 0).all()):
        raise InputError("A vector is zero, NaN or infinite: leave it out or make it again.")
    return normalize(block)
