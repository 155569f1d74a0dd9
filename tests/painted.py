"""What tests of pipelines share: made-up people, quiet pipelines, and pictures compared to the last bit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idgen.ground.identity import Identities


def unit_vectors(count: int, dim: int, seed: int = 0) -> Tensor:
    """(count, dim) unit vectors in random directions."""
    drawn = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn)


def identities(vectors: Tensor, space: str) -> Identities:
    """People called p0, p1, …"""
    rows = range(len(vectors))
    return Identities(vectors, space, ["sampled" for _ in rows], [f"p{row}" for row in rows])


def quiet(pipeline: Any) -> Any:
    """The same pipeline, without progress bars."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def same(a: Iterable[Any], b: Iterable[Any]) -> bool:
    """Whether two runs' pictures are equal to the last bit."""
    a, b = list(a), list(b)
    return len(a) == len(b) and all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(a, b, strict=True))


def by_name(pipeline: Any, who: Any, *args: Any, **kwargs: Any) -> dict[tuple[bytes, int], np.ndarray]:
    """A run's pictures by their person's vector and their number."""
    vectors = who.vectors if isinstance(who, Identities) else who
    made = pipeline.iterate(who, *args, **kwargs)
    return {(vectors[item.identity].numpy().tobytes(), item.k): np.asarray(item.image) for item in made}


def agree(a: dict[Any, np.ndarray], b: dict[Any, np.ndarray]) -> bool:
    """Whether two runs have pictures in common, and these are equal to the last bit."""
    shared = a.keys() & b.keys()
    return bool(shared) and all(np.array_equal(a[name], b[name]) for name in shared)


def relative(ours: Tensor, theirs: Tensor) -> float:
    """|a − b| / |b|."""
    return float((ours.double() - theirs).norm() / theirs.norm())


def last(snapshots: Iterable[Any]) -> Any:
    """What long work comes to."""
    return deque(snapshots, maxlen=1).pop()
