"""Identity-conditioned diffusion transformer: the denoiser of the built-in model.

A DiT (Peebles & Xie 2023, adaptive-norm-zero blocks) over patches of a latent. The identity enters as in IDiff-Face
(Boutros et al. 2023): one shared projection of the recognition vector, *contextual partial dropout* on the
projection's components while training, then several tokens that every block attends to; and here also the adaptive
norms. A learned empty identity stands for "nobody in particular", so that classifier-free guidance means something.

What a picture is to look like (pose, light, expression, hair, …) enters beside it, each attribute given or left open,
with its own learned "left open"; so a network can be told much, little or nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from idgen.ground.attributes import WORN


def sinusoid(values: Tensor, size: int) -> Tensor:
    """(N,) numbers to (N, size) cosines and sines at log-spaced frequencies (Vaswani et al. 2017)."""
    half = size // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, device=values.device, dtype=torch.float32) / half)
    angles = values.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def grid_positions(side: int, width: int) -> Tensor:
    """(1, side², width) fixed two-dimensional sinusoids."""
    place = torch.arange(side, dtype=torch.float32)
    row, column = torch.meshgrid(place, place, indexing="ij")
    return torch.cat([sinusoid(row.flatten(), width // 2), sinusoid(column.flatten(), width // 2)], dim=1)[None]


def zeroed(layer: Any) -> Any:
    """A layer that gives nothing yet: what ends in it starts as the identity."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class AttributeEmbedding(nn.Module):
    """Attributes (N, A), in the order of their names, NaN where left open, to (N, width).

    A number is told by itself and three low frequencies (high ones make few-step networks unstable: sCM, Lu & Song
    2024), a name by one place of its own; what is left open by a place of its own as well.

    Args:
        known: of each attribute its least and greatest number, or its names.
        width: of the result.
    """

    def __init__(self, known: Mapping[str, Sequence[Any]], width: int):
        super().__init__()
        every = [known[name] for name in sorted(known)]
        self.numbers = [place for place, values in enumerate(every) if not isinstance(values[0], str)]
        self.words = [place for place, values in enumerate(every) if isinstance(values[0], str)]
        self.ends = [[float(every[place][end]) for place in self.numbers] for end in (0, 1)]
        sizes = [len(every[place]) for place in self.words]
        self.starts, self.places = [sum(sizes[:row]) for row in range(len(sizes))], sum(sizes)
        self.worn = [place for place, name in enumerate(sorted(known)) if name in WORN]
        count = 7 * len(self.numbers) + self.places + len(every)
        self.layers = nn.Sequential(nn.Linear(count, width), nn.SiLU(), nn.Linear(width, width))

    def features(self, attributes: Tensor) -> Tensor:
        """(N, A) to (N, F)."""
        attributes, left_open = attributes.float(), attributes.isnan()
        low, high = torch.tensor(self.ends, device=attributes.device)
        value = 2 * (attributes[:, self.numbers] - low) / (high - low) - 1
        angles = value[..., None] * (math.pi / 2 * 2 ** torch.arange(3, device=value.device))
        told = torch.cat([value[..., None], angles.sin(), angles.cos()], 2).nan_to_num().flatten(1)
        place = attributes[:, self.words] + torch.tensor(self.starts, device=attributes.device)
        named = attributes.new_zeros(len(attributes), self.places + 1)  # the last place: left open
        named.scatter_(1, place.nan_to_num(self.places).long(), 1.0)
        return torch.cat([told, named[:, :-1], left_open.to(told.dtype)], 1)

    def forward(self, attributes: Tensor, scale: float = 1.0) -> Tensor:
        """(N, A) to (N, width); what is worn goes `scale` times as far from what the same says with that left open, as
        classifier-free guidance does with what a network says (Ho & Salimans 2022)."""
        told = self._told(attributes)
        if scale == 1 or not self.worn:
            return told
        without = attributes.clone()
        without[:, self.worn] = math.nan
        return told + (scale - 1) * (told - self._told(without))

    def _told(self, attributes: Tensor) -> Tensor:
        return cast(Tensor, self.layers(self.features(attributes).to(next(self.parameters()).dtype)))


class IdentityBlock(nn.Module):
    """Attention over image and identity tokens, then an MLP, both modulated by the condition (adaLN-Zero)."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, condition_dim: int):
        super().__init__()
        self.heads = heads
        self.modulation = zeroed(nn.Linear(condition_dim, 6 * width))
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.identity_kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp_in = nn.Linear(width, mlp_ratio * width)
        self.mlp_out = nn.Linear(mlp_ratio * width, width)

    def forward(self, x: Tensor, condition: Tensor, identity_tokens: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, dim=2)
        h = self.norm1(x) * (1 + scale1) + shift1
        query, key, value = self.qkv(h).chunk(3, dim=2)
        identity_key, identity_value = self.identity_kv(identity_tokens).chunk(2, dim=2)
        query, key, value = (
            tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for tokens in (query, torch.cat([key, identity_key], 1), torch.cat([value, identity_value], 1))
        )
        # Written out: for 64 tokens two matrix products are several times faster on a CPU, backward too, than the fused
        # kernel.
        weights = ((query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)).softmax(-1)
        x = x + gate1 * self.out((weights.to(value.dtype) @ value).transpose(1, 2).flatten(2))
        # Squared ReLU (So et al. 2021): as good as GELU here and a fraction of its time.
        h = F.relu(self.mlp_in(self.norm2(x) * (1 + scale2) + shift2)).square()
        return cast(Tensor, x + gate2 * self.mlp_out(h))


class IdentityDiT(ModelMixin, ConfigMixin):
    """Predicts the flow-matching velocity ε − x₀ of a noised latent, given who is to be on it.

    Args:
        sample_size: side of the latent.
        in_channels: channels of the latent.
        patch_size: side of the patch that becomes a token.
        width: token width, a multiple of `heads`.
        depth: number of blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the MLP over `width`.
        identity_dim: length of the recognition vector.
        context_dim: length of its projection, on whose components partial dropout acts.
        identity_tokens: tokens made of the projection.
        condition_dim: length of what time and identity become together before every block's adaptive norms; short,
            since those projections would otherwise be a third of all weights.
        context_dropout: share of the projection's components dropped while training (IDiff-Face: 0.25 or 0.5).
        attributes: what it can be told of a picture: of each attribute its least and greatest number, or its names,
            see `idgen.ground.attributes`.
        attribute_tokens: tokens made of what it is told.
        guidance_range: where the guidance scale is an input, since the network was distilled from a guided one, the
            least and the greatest scale that it learned.
    """

    has_empty_identity = True

    @register_to_config
    def __init__(
        self,
        sample_size: int = 16,
        in_channels: int = 8,
        patch_size: int = 2,
        width: int = 320,
        depth: int = 9,
        heads: int = 5,
        mlp_ratio: int = 4,
        identity_dim: int = 512,
        context_dim: int = 256,
        identity_tokens: int = 8,
        condition_dim: int = 96,
        context_dropout: float = 0.1,
        attributes: dict[str, list[Any]] | None = None,
        attribute_tokens: int = 4,
        guidance_range: tuple[float, float] | None = None,
    ):
        super().__init__()
        self.patch = nn.Conv2d(in_channels, width, patch_size, patch_size)
        self.register_buffer("positions", grid_positions(sample_size // patch_size, width), persistent=False)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.identity = nn.Linear(identity_dim, context_dim)
        self.empty_identity = nn.Parameter(torch.randn(context_dim) * 0.02)
        self.partial_dropout = nn.Dropout(context_dropout)
        self.to_condition = nn.Linear(context_dim, width)
        self.condition = nn.Linear(width, condition_dim)
        self.to_tokens = nn.Linear(context_dim, identity_tokens * width)
        self.token_norm = nn.LayerNorm(width)
        self.told: Any = AttributeEmbedding(attributes, width) if attributes else None
        self.told_tokens: Any = nn.Linear(width, attribute_tokens * width) if attributes else None
        self.guidance = zeroed(nn.Linear(256, width)) if guidance_range else None
        self.blocks = nn.ModuleList(IdentityBlock(width, heads, mlp_ratio, condition_dim) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = zeroed(nn.Linear(condition_dim, 2 * width))
        self.out = zeroed(nn.Linear(width, patch_size**2 * in_channels))

    def context(self, identity: Tensor, drop: Tensor | None = None) -> Tensor:
        """The projected identity, partially dropped in training; where `drop` is true, the learned empty identity."""
        # A unit vector's components are about D^-½; √D brings them to the scale that initialisation expects.
        context = self.partial_dropout(self.identity(identity * identity.shape[1] ** 0.5))
        if drop is not None:
            context = torch.where(drop[:, None], self.empty_identity.to(context.dtype), context)
        return cast(Tensor, context)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        identity: Tensor,
        drop: Tensor | None = None,
        attributes: Tensor | None = None,
        guidance: Tensor | None = None,
        attribute_scale: float = 1.0,
    ) -> Tensor:
        """Predict the velocity.

        Args:
            sample: (N, C, H, W) noised latents (1 − σ) x₀ + σ ε.
            timestep: (N,) 1000 σ.
            identity: (N, D) unit recognition vectors.
            drop: (N,) bool; true where the identity is to be ignored.
            attributes: (N, A) numbers, NaN where left open; by default all are.
            guidance: (N,) guidance scales, where they are an input; by default 1.
            attribute_scale: how strongly it is told of beard, glasses, hat and sunglasses; 1 is as it learned.

        Returns:
            (N, C, H, W) velocities.
        """
        n, _, height, width = sample.shape
        context = self.context(identity, drop)
        time = self.time(sinusoid(timestep, 256).to(sample.dtype))
        given = time + self.to_condition(context)
        tokens = self.to_tokens(context).view(n, self.config.identity_tokens, -1)
        if self.told is not None:
            if attributes is None:
                attributes = sample.new_full((n, len(self.config.attributes)), math.nan)
            told = self.told(attributes, attribute_scale)
            given = given + told
            tokens = torch.cat([tokens, self.told_tokens(told).view(n, self.config.attribute_tokens, -1)], 1)
        if self.guidance is not None:
            scale = torch.ones_like(timestep) if guidance is None else guidance
            given = given + self.guidance(sinusoid(100 * scale, 256).to(sample.dtype))
        condition = self.condition(F.silu(given))
        tokens = self.token_norm(tokens)
        x = self.patch(sample).flatten(2).transpose(1, 2) + self.positions.to(sample.dtype)
        for block in self.blocks:
            x = block(x, condition, tokens)
        shift, scale = self.modulation(condition)[:, None].chunk(2, dim=2)
        x = self.out(self.norm(x) * (1 + scale) + shift)
        p = self.config.patch_size
        x = x.view(n, height // p, width // p, -1, p, p).permute(0, 3, 1, 4, 2, 5)
        return x.reshape(n, -1, height, width)
