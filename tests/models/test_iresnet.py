"""iresnet against a functional one by its official names, and the published size."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from idgen.models import IResNetRecognizer

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


def test_the_published_size() -> None:
    with torch.device("meta"):
        network = IResNetRecognizer()
    assert (
        len(network.state_dict()) == 19 + 49 * 18 + 4 * 6
    )  # stem and head, blocks, shortcuts: all that are used above
    assert network.fc.weight.shape == (512, 512 * 7 * 7) and network.layer4[0].conv1.weight.shape == (512, 256, 3, 3)
    assert sum(parameter.numel() for parameter in network.parameters()) == 65_156_160
