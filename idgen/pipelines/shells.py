"""Networks with some of their parts replaced, for one call: nothing of the network itself is changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

HEAVY = 1 << 16
"""Weights of a layer from which on `packed` gains."""


def replaced(module: nn.Module, new: Mapping[str, nn.Module]) -> Any:
    """The same module with other ones at some paths, as `named_modules` calls them; everything else is shared."""
    if "" in new:
        return new[""]
    below: dict[str, dict[str, nn.Module]] = {}
    for path, other in new.items():
        name, _, rest = path.partition(".")
        below.setdefault(name, {})[rest] = other
    shell = copy.copy(module)
    if "_old_forward" in vars(shell):  # a hook of accelerate's, such as of CPU offload, which runs what it is bound to
        object.__setattr__(shell, "_old_forward", type(module).forward.__get__(shell))
        object.__setattr__(shell, "forward", partial(vars(module)["forward"].func, shell))
    others = {name: replaced(module.get_submodule(name), some) for name, some in below.items()}
    shell._modules = {**module._modules, **others}
    return shell


class _Packed(nn.Module):
    """A convolution whose weights are put into the order that the CPU's kernels read once, not at every call: at 8 × 8
    places that takes as long as the convolution."""

    def __init__(self, layer: Any):
        super().__init__()
        self.layer, self.ready = layer, (torch.Size(), torch.empty(0))

    def __getattr__(self, name: str) -> Any:
        """What a network asks of its layer besides calling it, such as its weight's type."""
        own = super().__getattr__
        return getattr(own("layer"), name) if name in ("weight", "bias", "in_features") else own(name)

    def forward(self, values: Tensor) -> Tensor:
        own = self.layer
        how = own.padding, own.stride, own.dilation, own.groups
        shape, weight = self.ready  # in one go, since other threads may be here
        if shape != values.shape:
            weight = torch.ops.mkldnn._reorder_convolution_weight(own.weight, *how, values.shape)
            self.ready = values.shape, weight
        return torch.ops.mkldnn._convolution_pointwise(values, weight, own.bias, *how, "none", [], "")  # type: ignore[no-any-return]


class _PackedLinear(_Packed):
    """The same for a linear layer, by kernels that are up to a quarter faster than those that torch takes on some
    CPUs."""

    def forward(self, values: Tensor) -> Tensor:
        own = self.layer
        shape, weight = self.ready
        if shape != values.shape:
            weight = torch.ops.mkldnn._reorder_linear_weight(own.weight, values.numel() // values.shape[-1])
            self.ready = values.shape, weight
        return torch.ops.mkldnn._linear_pointwise(values, weight, own.bias, "none", [], "")  # type: ignore[no-any-return]


def packed(network: Any) -> Any:
    """The same network, faster for many calls with inputs of one shape, where it is on a CPU in float32. While it
    lives, its large layers' weights are there twice."""
    needed = ("_reorder_convolution_weight", "_reorder_linear_weight")
    if not (torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in needed)):
        return network
    kinds = {nn.Conv2d: _Packed, nn.Linear: _PackedLinear}
    parts = {name: kinds[type(layer)](layer) for name, layer in network.named_modules() if is_heavy(layer)}
    return replaced(network, parts) if parts else network


def is_heavy(layer: nn.Module) -> bool:
    """Whether `packed` gains by this layer."""
    if type(layer) is nn.Conv2d:
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            return False
    elif type(layer) is not nn.Linear:
        return False
    weight = layer.weight
    return weight.numel() >= HEAVY and weight.device.type == "cpu" and weight.dtype == torch.float32
