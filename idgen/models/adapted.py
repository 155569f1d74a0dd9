"""A recogniser that learns pictures of low resolution without forgetting the others (PETALface, Narayan et al. 2025).

It stays as it is, and beside every convolution stand two small ones, weighed by how much detail a picture has.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn.functional import interpolate

from idgen.ground.errors import InputError
from idgen.models.iresnet import IResNetRecognizer
from idgen.models.pocketnet import PocketNetRecognizer
from idgen.models.recognizer import PlainRecognizer, ResNetRecognizer

_BASES: dict[str, type[ModelMixin]] = {
    kind.__name__: kind for kind in (ResNetRecognizer, PlainRecognizer, IResNetRecognizer, PocketNetRecognizer)
}
_SHARE: ContextVar[Tensor] = ContextVar("share")


class AdaptedConv(nn.Conv2d):
    """Wx + U₁D₁((1 − a)x) + U₂D₂(ax): D as W, with `rank` channels out, from N(0, 1/rank), U of 1×1, from 0.

    `a` (N, 1, 1, 1) is the share of each picture that is of high quality.
    """

    def __init__(self, layer: nn.Conv2d, rank: int, dropout: float):
        kernel, how = cast(Any, layer.kernel_size), {"stride": layer.stride, "padding": layer.padding}
        plain: Any = {**how, "dilation": layer.dilation, "bias": layer.bias is not None}
        super().__init__(layer.in_channels, layer.out_channels, kernel, **plain)
        self.low, self.high = (
            nn.Sequential(
                nn.Conv2d(layer.in_channels, rank, kernel, **{**plain, "bias": False}),
                nn.Conv2d(rank, layer.out_channels, 1, bias=False),
                nn.Dropout(dropout),
            )
            for _ in range(2)
        )
        for part in (self.low, self.high):
            nn.init.normal_(cast(Tensor, part[0].weight), std=rank**-0.5)
            nn.init.zeros_(cast(Tensor, part[1].weight))

    def forward(self, x: Tensor) -> Tensor:
        a = _SHARE.get().to(x.dtype)
        return cast(Tensor, super().forward(x) + self.low((1 - a) * x) + self.high(a * x))


class AdaptedRecognizer(ModelMixin, ConfigMixin):
    """A recogniser with adapters, of which these alone learn.

    Args:
        base: its class in `idgen.models` (`_class_name`) and that class's arguments.
        rank: channels inside an adapter.
        dropout: share of what an adapter gives that is dropped in training.
        usual: the detail of a usual picture, see `detail`: its share a is a half.
        embedding_dim, image_size: those of the base.
    """

    @register_to_config
    def __init__(
        self,
        base: dict[str, Any],
        rank: int = 8,
        dropout: float = 0.1,
        usual: float = 0.02,
        embedding_dim: int = 512,
        image_size: int = 112,
    ):
        super().__init__()
        known = {name: value for name, value in base.items() if not name.startswith("_")}
        self.network: nn.Module = _BASES[base["_class_name"]](**known)
        for module in list(self.network.modules()):
            for name, layer in list(module.named_children()):
                if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1) and layer.groups == 1:
                    setattr(module, name, AdaptedConv(layer, rank, dropout))
        self.requires_grad_(False)
        for part in self.adapters():
            part.low.requires_grad_(True)
            part.high.requires_grad_(True)

    def adapters(self) -> list[AdaptedConv]:
        """All of them, in the network's order."""
        return [module for module in self.modules() if isinstance(module, AdaptedConv)]

    def train(self, mode: bool = True) -> AdaptedRecognizer:
        """The base stays in evaluation: its batch norms' statistics are those that it learned."""
        super().train(False)
        self.training = mode
        for part in self.adapters():
            part.low.train(mode)
            part.high.train(mode)
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed faces: (N, 3, S, S) RGB in [-1, 1] to (N, D), not normalised."""
        found = detail(pixels.float())
        token = _SHARE.set((found / (found + self.config.usual))[:, None, None, None])
        try:
            return cast(Tensor, self.network(pixels))
        finally:
            _SHARE.reset(token)


def detail(pixels: Tensor) -> Tensor:
    """(N,) the mean of what pictures (N, 3, H, W) in [-1, 1] lose when they are made half as large and large again.

    Little where the resolution was low.
    """
    side = pixels.shape[-2:]
    small = interpolate(pixels, size=[n // 2 for n in side], mode="bilinear", antialias=True)
    return (pixels - interpolate(small, size=side, mode="bilinear")).abs().flatten(1).mean(1)


def adapted(network: ModelMixin, rank: int, usual: float) -> AdaptedRecognizer:
    """A trained recogniser with adapters that change nothing yet. InputError for a network of another kind."""
    if type(network).__name__ not in _BASES:
        raise InputError(f"A {type(network).__name__} cannot be adapted: give one of {', '.join(_BASES)}.")
    config = {name: value for name, value in network.config.items() if name[0] != "_"}
    config["_class_name"] = type(network).__name__
    sizes = {name: network.config[name] for name in ("embedding_dim", "image_size")}
    made = AdaptedRecognizer(config, rank, usual=usual, **sizes)
    made.network.load_state_dict(network.state_dict(), strict=False)  # all but the adapters
    return made


def usual_detail(pixels: Tensor) -> float:
    """The median detail of pictures (N, 3, H, W) in [-1, 1]."""
    return max(1e-6, float(torch.median(detail(pixels))))
