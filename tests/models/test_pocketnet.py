"""PocketNet against a functional one by its official names, and the published sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from idgen.models import PocketNetRecognizer
from idgen.training.architectures import make

Weights = dict[str, torch.Tensor]
NORMAL = [[("dw3", 0), ("dw1", 1)], [("dw3", 2), ("dw5", 0)], [("dw3", 3), ("dw3", 0)], [("dw3", 4), ("skip", 0)]]
REDUCE = [[("dw3", 1), ("dw7", 0)], [("skip", 2), ("dw5", 1)], [("max", 0), ("skip", 2)], [("max", 0), ("max", 1)]]


def norm(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    mean, variance, scale, shift = (
        w[f"{name}.{part}"].double() for part in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x.movedim(1, -1) - mean) / (variance + 1e-5).sqrt() * scale + shift).movedim(-1, 1)


def prelu(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.prelu(x, w[f"{name}.weight"].double())


def conv(w: Weights, name: str, x: torch.Tensor, stride: int = 1, padding: int = 0) -> torch.Tensor:
    kernel = w[f"{name}.weight"].double()
    return F.conv2d(x, kernel, None, stride, padding, groups=x.shape[1] // kernel.shape[1])


def separable(w: Weights, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
    side = w[f"{name}.net.1.weight"].shape[-1]
    x = conv(w, f"{name}.net.1", prelu(w, f"{name}.net.0", x), stride, side // 2)
    return norm(w, f"{name}.net.3", conv(w, f"{name}.net.2", x))


def halved(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    x = prelu(w, f"{name}.relu", x)
    parts = [conv(w, f"{name}.conv{n}2", conv(w, f"{name}.conv{n}1", x[:, :, n - 1 :, n - 1 :], 2)) for n in (1, 2)]
    return norm(w, f"{name}.bn", torch.cat(parts, 1))


def pocketnet(w: Weights, x: torch.Tensor, layers: int) -> torch.Tensor:
    reductions = {layers // 3, 2 * layers // 3, layers - 1}
    s0 = s1 = norm(w, "stem.1", conv(w, "stem.0", x.double(), 2, 1))
    for cell in range(layers):
        name = f"cells.{cell}"
        first = (halved if cell - 1 in reductions else separable)(w, f"{name}.preproc0", s0)
        states = [first, separable(w, f"{name}.preproc1", s1)]
        for node, edges in enumerate(REDUCE if cell in reductions else NORMAL):
            total = torch.zeros(())
            for edge, (kind, of) in enumerate(edges):
                here, stride = f"{name}.dag.{node}.{edge}", 2 if cell in reductions and of < 2 else 1
                if kind == "max":
                    total = total + norm(w, f"{here}.bn", F.max_pool2d(states[of], 3, stride, 1))
                else:
                    total = total + (states[of] if kind == "skip" else separable(w, here, states[of], stride))
            states.append(total)
        s0, s1 = s1, torch.cat(states[2:], 1)
    x = prelu(w, "tail.3", norm(w, "tail.2", conv(w, "tail.1", prelu(w, "tail.0", s1))))
    return norm(w, "tail.7", conv(w, "tail.6", norm(w, "tail.5", conv(w, "tail.4", x)))).flatten(1)


class Read(dict[str, torch.Tensor]):
    """Notes the names that are asked for."""

    def __init__(self, weights: Weights):
        super().__init__(weights)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> torch.Tensor:
        self.names.add(name)
        return super().__getitem__(name)


@torch.no_grad()
def test_output() -> None:
    torch.manual_seed(0)
    network = PocketNetRecognizer(channels=4, layers=6, embedding_dim=12, image_size=48)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.ndim == 1 and value.is_floating_point():
            value.add_(0.2 * torch.randn(value.shape))
    pixels = torch.rand(2, 3, 48, 48) * 2 - 1
    read = Read(network.state_dict())
    expected = pocketnet(read, pixels, 6)
    assert read.names == {name for name in read if not name.endswith("num_batches_tracked")}, "no name but the official"
    found = network.eval()(pixels)
    assert found.shape == (2, 12) and (found - expected).norm() / expected.norm() < 1e-5


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("pocketnet_s128", 925_632),
        ("pocketnet_s256", 991_424),
        ("pocketnet_m128", 1_686_656),
        ("pocketnet_m256", 1_752_448),
    ],
)
def test_the_published_sizes_by_name(name: str, size: int) -> None:
    with torch.device("meta"):
        network = make(name, {})
        assert network(torch.empty(2, 3, 112, 112)).shape == (2, int(name[-3:]))
    assert sum(parameter.numel() for parameter in network.parameters()) == size
    third = 7 if name[10] == "s" else 4  # a cell after a reducing one
    published = {"stem.1.running_var", f"cells.{third}.preproc0.conv22.weight", "cells.0.dag.1.1.net.2.weight"}
    assert published | {f"cells.{third - 1}.dag.3.0.bn.bias", "tail.4.weight"} < network.state_dict().keys()
