"""The U-Net of IDiff-Face and UIFace against the maths written down by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from painted import relative
from reference import idiff_face as official
from torch.nn.functional import normalize

from idgen import models
from idgen.models import IdentityUNet

SMALL: dict[str, Any] = {
    "sample_size": 8,
    "channels": (16, 32),
    "attention": (False, True),
    "head_dim": 8,
    "norm_groups": 8,
    "identity_dim": 24,
    "context_dim": 16,
}
SHAPES: dict[str, Any] = {"widths": (16, 32), "attends": (False, True), "head": 8, "context": 16, "identity": 24}


def build(empty: bool = False) -> tuple[IdentityUNet, official.Weights]:
    weights = official.random_weights(official.unet_shapes(**SHAPES, empty=empty))
    network = IdentityUNet(**SMALL, learn_empty_context=empty).eval()
    network.load_state_dict(weights)
    return network, weights


def inputs(count: int = 3, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randn(count, 3, 8, 8, generator=generator)
    identity = normalize(torch.randn(count, 24, generator=generator))
    return sample, torch.tensor([0, 500, 999])[:count], identity


def test_the_published_size_has_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        plain, learned = IdentityUNet(), IdentityUNet(learn_empty_context=True)
    for network, empty in ((plain, False), (learned, True)):
        shapes = official.unet_shapes(empty=empty)
        assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == shapes
    assert len(plain.state_dict()) == 842
    assert sum(parameter.numel() for parameter in plain.parameters()) == 216_341_187


@torch.no_grad()
@pytest.mark.parametrize("empty", [False, True], ids=["IDiff-Face", "UIFace"])
def test_output(empty: bool) -> None:
    network, weights = build(empty)
    sample, timestep, identity = inputs()
    expected = official.unet(weights, sample, timestep, identity, head=8, groups=8)
    assert relative(network(sample, timestep, identity), expected) < 1e-5
    nobody = official.unet(weights, sample, timestep, None, head=8, groups=8)
    drop = torch.tensor([False, True, True])
    mixed = torch.cat([expected[:1], nobody[1:]])
    assert relative(network(sample, timestep, identity, drop), mixed) < 1e-5
    for other in (nobody, expected.flip(0)):  # the comparison would notice another identity
        assert relative(other, expected) > 1e-2


@torch.no_grad()
def test_a_hook_sees_the_official_logits_and_what_it_returns_counts() -> None:
    network, weights = build()
    sample, timestep, identity = inputs()
    theirs: list[tuple[str, torch.Tensor]] = []
    ours: list[tuple[str, torch.Tensor]] = []

    def keep(into: list[tuple[str, torch.Tensor]]) -> Any:
        return lambda kind, logits: into.append((kind, logits)) or logits

    expected = official.unet(weights, sample, timestep, identity, head=8, groups=8, use=keep(theirs))
    assert relative(network(sample, timestep, identity, None, keep(ours)), expected) < 1e-5
    assert [kind for kind, _ in ours] == [kind for kind, _ in theirs] == ["self", "cross"] * 6
    for (_, mine), (_, right) in zip(ours, theirs, strict=True):
        assert relative(mine, right) < 1e-5

    def flat(kind: str, logits: torch.Tensor) -> torch.Tensor:
        return logits if kind == "self" else torch.zeros_like(logits)

    expected = official.unet(weights, sample, timestep, identity, head=8, groups=8, use=flat)
    assert relative(network(sample, timestep, identity, None, flat), expected) < 1e-5


def test_partial_dropout_acts_on_the_projected_identity_and_in_training_only() -> None:
    network, _ = build()
    _, _, identity = inputs(1)
    plain = network.context(identity)
    assert torch.equal(plain, network.context(identity))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = network.train().context(identity.expand(400, -1))
    kept = dropped != 0
    assert float(kept.float().mean()) == pytest.approx(0.75, abs=0.03)
    torch.testing.assert_close(dropped[kept], (plain.expand(400, -1) / 0.75)[kept])


def test_everything_is_trained() -> None:
    network, _ = build(empty=True)
    network.train()
    sample, timestep, identity = inputs()
    network(sample, timestep, identity, torch.tensor([True, False, False])).square().mean().backward()
    without = [name for name, parameter in network.named_parameters() if not parameter.grad.any()]
    # A softmax does not notice what all keys have in common.
    assert all(name.endswith("to_k.bias") for name in without), without


@torch.no_grad()
@pytest.mark.parametrize("empty", [False, True])
def test_saved_and_loaded_again(tmp_path: Path, empty: bool) -> None:
    network, _ = build(empty)
    network.save_pretrained(tmp_path)
    drop = torch.tensor([True, False, False])
    expected = network(*inputs(), drop)
    for again in (models.load(tmp_path, IdentityUNet), IdentityUNet.from_pretrained(tmp_path)):
        assert again.has_empty_identity is empty
        assert torch.equal(again(*inputs(), drop), expected)


@torch.no_grad()
def test_half_precision_stays_near() -> None:
    network, weights = build()
    sample, timestep, identity = inputs()
    expected = official.unet(weights, sample, timestep, identity, head=8, groups=8)
    half = network.bfloat16()(sample.bfloat16(), timestep, identity.bfloat16())
    assert half.dtype == torch.bfloat16 and relative(half, expected) < 0.05
