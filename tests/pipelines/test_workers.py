"""Each image as if it were alone."""

from __future__ import annotations

import torch
from torch import Tensor

from idgen.pipelines.workers import by_image


def test_no_image_shows_where_in_the_batch_it_is() -> None:
    """Kernels may compute otherwise on rows that begin elsewhere in memory, as the 55 values of an expression do."""
    seen: list[tuple[int, bool, tuple[int, ...]]] = []

    def call(values: Tensor, same: Tensor) -> Tensor:
        seen.extend((part.data_ptr() % 64, part.is_contiguous(), tuple(part.shape)) for part in (values, same))
        return values + same

    values, same = torch.arange(3 * 2 * 55.0).view(3, 2, 55), torch.ones(3, 1, 55).expand(-1, 2, -1)
    assert values[1].data_ptr() % 64 != 0
    assert torch.equal(by_image(call, values, same), values + 1)
    assert seen == [(0, True, (2, 55))] * 6
