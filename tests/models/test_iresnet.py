"""iresnet against a functional one by its official names, and the published size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from idgen.models import IResNetRecognizer
from idgen.training.architectures import make

Weights = dict[str, torch.Tensor]


def norm(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    shape = (1, -1, *[1] * (x.ndim - 2))
    mean, variance, scale, shift = (
        w[f"{name}.{part}"].double().view(shape) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def prelu(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return torch.where(x >= 0, x, x * w[f"{name}.weight"].double().view(1, -1, 1, 1))


def iresnet(w: Weights, x: torch.Tensor, blocks: tuple[int, ...]) -> torch.Tensor:
    def conv(name: str, x: torch.Tensor, stride: int = 1, padding: int = 1) -> torch.Tensor:
        return F.conv2d(x, w[f"{name}.weight"].double(), None, stride, padding)

    x = prelu(w, "prelu", norm(w, "bn1", conv("conv1", x.double())))
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            name, stride = f"layer{stage}.{block}", 2 if block == 0 else 1
            h = conv(f"{name}.conv1", norm(w, f"{name}.bn1", x))
            h = prelu(w, f"{name}.prelu", norm(w, f"{name}.bn2", h))
            h = norm(w, f"{name}.bn3", conv(f"{name}.conv2", h, stride))
            if block == 0:
                x = norm(w, f"{name}.downsample.1", conv(f"{name}.downsample.0", x, 2, 0))
            x = x + h
    x = norm(w, "bn2", x).flatten(1)
    return norm(w, "features", x @ w["fc.weight"].double().T + w["fc.bias"].double())


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith(("running_var", "bn1.weight", "bn2.weight", "bn3.weight")):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif value.ndim < 2 and value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.2)
    return network.eval()


@torch.no_grad()
def test_output() -> None:
    network = randomised(IResNetRecognizer((8, 8, 16, 16), (1, 2, 1, 1), embedding_dim=12))
    pixels = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1
    expected = iresnet(network.state_dict(), pixels, (1, 2, 1, 1))
    difference = (network(pixels) - expected).norm() / expected.norm()
    assert network(pixels).shape == (2, 12) and difference < 1e-5


@pytest.mark.parametrize(
    ("name", "size"),
    [("iresnet18", 24_025_600), ("iresnet34", 34_139_328), ("iresnet50", 43_590_848), ("iresnet100", 65_156_160)],
)
def test_the_published_sizes_by_name(name: str, size: int) -> None:
    with torch.device("meta"):
        network = make(name, {})
    assert sum(parameter.numel() for parameter in network.parameters()) == size
    published = {
        "conv1.weight",
        "layer3.0.downsample.0.weight",
        "layer4.1.bn3.running_var",
        "fc.bias",
        "features.weight",
    }
    assert published < network.state_dict().keys()
    assert not network.features.weight.requires_grad


def test_dropout_is_for_training_alone() -> None:
    network = randomised(IResNetRecognizer((8, 8), (1, 1), embedding_dim=12, image_size=16, dropout=0.4))
    pixels = torch.rand(4, 3, 16, 16)
    assert torch.equal(network(pixels), network(pixels))
    network.train()
    assert not torch.equal(network(pixels), network(pixels))


def test_the_published_size() -> None:
    with torch.device("meta"):
        network = IResNetRecognizer()
    assert (
        len(network.state_dict()) == 19 + 49 * 18 + 4 * 6
    )  # stem and head, blocks, shortcuts: all that are used above
    assert network.fc.weight.shape == (512, 512 * 7 * 7) and network.layer4[0].conv1.weight.shape == (512, 256, 3, 3)
    assert sum(parameter.numel() for parameter in network.parameters()) == 65_156_160
