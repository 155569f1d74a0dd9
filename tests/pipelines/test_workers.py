"""Each image as if it were alone."""

from __future__ import annotations

import pytest
import torch
from diffusers import VQModel
from painted import agree, by_name, quiet
from torch import Tensor

from idgen.models import IdentityUNet
from idgen.pipelines import IDiffFacePipeline, shells
from idgen.pipelines.schedulers import LINEAR, UIFaceScheduler
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


def test_packed_layers_are_the_same_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network that is packed stays as it is, and inputs of another shape are taken, too."""
    monkeypatch.setattr(shells, "HEAVY", 200)
    network = (
        IdentityUNet(8, 3, (8, 16), (False, True), 2, 8, 8, 24, 8, learn_empty_context=True)
        .eval()
        .requires_grad_(False)
    )
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.2)
    before, ready = repr(network), shells.packed(network)
    assert repr(network) == before != repr(ready) and "_Packed" in repr(ready)
    sample, identity = torch.randn(5, 3, 8, 8), torch.nn.functional.normalize(torch.randn(5, 24))
    times, drop = torch.full((5,), 300), torch.zeros(5, dtype=torch.bool)
    together = ready(sample, times, identity, drop)
    for rows in (slice(0, 5), slice(1, 2), slice(0, 5)):
        given = (sample[rows], times[rows], identity[rows], drop[rows])
        expected = network(*given)
        assert 0 < float((ready(*given) - expected).norm() / expected.norm()) < 1e-5
    assert torch.equal(ready(sample, times, identity, drop), together)

    stage = VQModel(block_out_channels=(8,), num_vq_embeddings=16, norm_num_groups=4, scaling_factor=1.0).eval()
    pipeline = quiet(IDiffFacePipeline(network, stage, UIFaceScheduler(**LINEAR), space="s", num_inference_steps=2))
    reference = by_name(pipeline, identity, 2, batch_size=10)
    torch.set_num_threads(3)
    for batch in (1, 4):
        assert agree(reference, by_name(pipeline, identity.flip(0), 2, batch_size=batch))


def test_only_float32_on_a_cpu_is_packed() -> None:
    heavy = torch.nn.Sequential(
        torch.nn.Conv2d(512, 512, 3), torch.nn.Conv2d(512, 512, 3, padding="same"), torch.nn.Linear(512, 512)
    )
    assert [type(layer).__name__ for layer in shells.packed(heavy)] == ["_Packed", "Conv2d", "_PackedLinear"]
    rows = torch.randn(3, 5, 512)
    torch.testing.assert_close(shells.packed(heavy)[2](rows), heavy[2](rows), atol=1e-5, rtol=1e-5)
    assert shells.packed(heavy.half()) is heavy
