"""People kept apart: greedy choice by exact search, in blocks that keep memory flat.

Vectors drawn uniformly are always apart (the closest two of 10,000 in 512 dimensions are at cosine 0.25), so this says
something only on vectors of *generated pictures*: `idgen.choosing` measures those.
"""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from idgen.ground.errors import InputError, require_package

Engine = Literal["torch", "faiss"]
_ROWS, _COLUMNS = 4096, 16384


class _Kept(Protocol):
    """The people kept so far."""

    def close(self, block: Tensor, cosine: float) -> Tensor: ...
    def add(self, rows: Tensor, block: Tensor) -> None: ...


class _Blocks:
    """Exact search by matrix products against the given vectors themselves: no copy of them is kept."""

    def __init__(self, vectors: Tensor, device: torch.device | str):
        self.vectors, self.device, self.rows = vectors, device, [torch.empty(0, dtype=torch.long)]
        self.products = torch.empty(0)

    def close(self, block: Tensor, cosine: float) -> Tensor:
        out = torch.zeros(len(block), dtype=torch.bool, device=self.device)
        kept = torch.cat(self.rows)
        if not len(kept):
            return out.cpu()
        if not len(self.products):
            self.products = torch.empty(_ROWS * _COLUMNS, device=self.device)  # one buffer for all products
        for part in kept.split(_COLUMNS):
            others = _unit(self.vectors[part], self.device)
            products = self.products[: len(block) * len(others)].view(len(block), len(others))
            torch.mm(block, others.T, out=products)
            out |= products.amax(1) >= cosine
        return out.cpu()

    def add(self, rows: Tensor, block: Tensor) -> None:
        self.rows.append(rows)


class _Faiss:
    """Exact search by faiss (a copy of the kept vectors lives in its index)."""

    def __init__(self, dim: int):
        self.index = require_package("faiss", "faiss", "The engine faiss").IndexFlatIP(dim)

    def close(self, block: Tensor, cosine: float) -> Tensor:
        if not self.index.ntotal:
            return torch.zeros(len(block), dtype=torch.bool)
        nearest, _ = self.index.search(block.cpu().numpy(), 1)
        return torch.from_numpy(nearest[:, 0] >= cosine)

    def add(self, rows: Tensor, block: Tensor) -> None:
        self.index.add(block.cpu().numpy())


def separate(vectors: Tensor, cosine: float, *, engine: Engine = "torch", device: torch.device | str = "cpu") -> Tensor:
    """Go through the vectors in order and keep each whose cosine to every one kept before is below `cosine`.

    Exact, and the same whatever the blocks: the first of two close ones is the one that stays.

    Args:
        vectors: (N, D), only their directions count; half precision and memory-mapped arrays save memory.
        cosine: from here on two are too close, from -1 to 1.
        engine: "torch", by matrix products in blocks (about 0.5 GB whatever N is), or "faiss", with faiss-cpu
            installed.
        device: where the products are computed.

    Returns:
        (K,) rows of those kept, ascending.

    Raises:
        InputError: the vectors are not (N, D) or one has no direction, the cosine is out of range, or there is no such
            engine.
    """
    if vectors.ndim != 2 or not vectors.numel():
        raise InputError(f"Vectors (N, D) are needed, got the shape {tuple(vectors.shape)}.")
    if not -1 <= cosine <= 1:
        raise InputError(f"The cosine from which two people are too close lies between -1 and 1, got {cosine}.")
    if engine not in get_args(Engine):
        raise InputError(f"There is no engine {engine!r}: choose one of {', '.join(get_args(Engine))}.")
    kept: _Kept = _Faiss(vectors.shape[1]) if engine == "faiss" else _Blocks(vectors, device)
    rows = []
    for start in range(0, len(vectors), _ROWS):
        block = _unit(vectors[start : start + _ROWS], device)
        alone = ~kept.close(block, cosine)
        mine = alone.nonzero().flatten()
        clash = (block[mine] @ block[mine].T >= cosine).cpu().triu(1)
        stays = torch.ones(len(mine), dtype=torch.bool)
        for row in clash.any(1).nonzero().flatten().tolist():  # only those with a later neighbour can remove anybody
            if stays[row]:
                stays &= ~clash[row]
        mine = mine[stays]
        kept.add(mine + start, block[mine])
        rows.append(mine + start)
    return torch.cat(rows)


def nearest_other(vectors: Tensor, *, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Everybody's nearest other one.

    Args:
        vectors: (N, D), N at least 2; only their directions count.
        device: where the products are computed.

    Returns:
        Cosine (N,) and row (N,).

    Raises:
        InputError: the vectors are not (N, D) with N of at least 2, or one has no direction.
    """
    if vectors.ndim != 2 or len(vectors) < 2:
        raise InputError(f"Vectors (N, D) with N of at least 2 are needed, got the shape {tuple(vectors.shape)}.")
    best = torch.full((len(vectors),), -torch.inf)
    index = torch.zeros(len(vectors), dtype=torch.long)
    for start in range(0, len(vectors), _ROWS):
        block = _unit(vectors[start : start + _ROWS], device)
        rows = slice(start, start + len(block))
        for first in range(0, len(vectors), _COLUMNS):
            products = block @ _unit(vectors[first : first + _COLUMNS], device).T
            own = torch.arange(start, start + len(block)) - first  # a vector is not its own neighbour
            inside = (own >= 0) & (own < products.shape[1])
            products[inside.nonzero().flatten(), own[inside]] = -torch.inf
            cosine, row = (found.cpu() for found in products.max(1))
            better = cosine > best[rows]
            best[rows] = torch.where(better, cosine, best[rows])
            index[rows] = torch.where(better, row + first, index[rows])
    return best, index


def _unit(vectors: Tensor, device: torch.device | str) -> Tensor:
    block = vectors.detach().to(device).float()
    lengths = block.norm(dim=1)
    if not (lengths.isfinite().all() and (lengths > 0).all()):
        raise InputError("A vector is zero, NaN or infinite: leave it out or make it again.")
    return normalize(block)
