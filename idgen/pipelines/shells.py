"""Networks with some of their parts replaced, for one call: nothing of the network itself is changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

HEAVY = 1 << 20
"""Weights of a convolution from which on `packed` gains."""


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

    def __init__(self, layer: nn.Conv2d):
        super().__init__()
        self.layer, self.ready = layer, (torch.Size(), torch.empty(0))

    def forward(self, values: Tensor) -> Tensor:
        own = self.layer
        how = own.padding, own.stride, own.dilation, own.groups
        shape, weight = self.ready  # in one go, since other threads may be here
        if shape != values.shape:
            weight = torch.ops.mkldnn._reorder_convolution_weight(own.weight, *how, values.shape)
            self.ready = values.shape, weight
        return torch.ops.mkldnn._convolution_pointwise(values, weight, own.bias, *how, "none", [], "")  # type: ignore[no-any-return]


def packed(network: Any) -> Any:
    """The same network, faster for many calls with inputs of one shape, where it is on a CPU in float32. While it
    lives, its large convolutions' weights are there twice."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")):
        return network
    parts = {name: _Packed(layer) for name, layer in network.named_modules() if _is_heavy(layer)}
    return replaced(network, parts) if parts else network


def _is_heavy(layer: nn.Module) -> bool:
    if type(layer) is not nn.Conv2d or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return False
    weight = layer.weight
    return weight.numel() >= HEAVY and weight.device.type == "cpu" and weight.dtype == torch.float32
