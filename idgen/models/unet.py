"""The identity-conditioned U-Net of IDiff-Face (Boutros et al., ICCV 2023, arXiv 2308.04995) and UIFace (Lin et al.,
ICLR 2025), re-implemented from their descriptions.

Its modules are called as in the published checkpoints, so that converting one is stripping a prefix. What diffusers'
`UNet2DConditionModel` has no switch for: strided transposed convolutions, a third block of every up level that already
narrows, one group norm shared by the three parts of an attention block and taken over all tokens, and 32 identity
tokens that every attention block makes for itself of one shared projection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from idgen.models.dit import sinusoid, zeroed

AttentionHook = Callable[[Literal["self", "cross"], Tensor], Tensor]
"""Called at every attention, in the order of computation, with its kind and its scaled logits (N, heads, queries,
keys); returns those to use."""


class TimeEmbedding(nn.Module):
    """Timesteps (N,) to (N, channels): sinusoids of a quarter of the channels, then two linear layers."""

    def __init__(self, channels: int):
        super().__init__()
        self.lin1 = nn.Linear(channels // 4, channels)
        self.lin2 = nn.Linear(channels, channels)

    def forward(self, timestep: Tensor) -> Tensor:
        waves = sinusoid(timestep, self.lin1.in_features).to(self.lin1.weight.dtype)
        return cast(Tensor, self.lin2(F.silu(self.lin1(waves))))


class TimedResidualBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut; the time, and nothing else, scales and shifts the second norm."""

    def __init__(self, in_channels: int, out_channels: int, time_channels: int, groups: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, 1, 1)
        self.time_emb = nn.Sequential(nn.SiLU(), nn.Linear(time_channels, out_channels))
        self.scale_emb = nn.Linear(out_channels, out_channels)
        self.shift_emb = nn.Linear(out_channels, out_channels)
        self.norm2 = nn.ModuleDict({"norm": nn.GroupNorm(groups, out_channels)})
        self.conv2 = zeroed(nn.Conv2d(out_channels, out_channels, 3, 1, 1))
        same = in_channels == out_channels
        self.shortcut: nn.Module = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        time = self.time_emb(time)
        scale, shift = (part(time)[:, :, None, None] for part in (self.scale_emb, self.shift_emb))
        h = (1 + scale) * self.norm2["norm"](h) + shift  # Dhariwal & Nichol 2021
        return cast(Tensor, self.conv2(F.silu(h)) + self.shortcut(x))


class Attention(nn.Module):
    """Multi-head attention on (N, C, L): from `x` to itself, or to a context (N, K, T)."""

    def __init__(self, channels: int, context_channels: int | None, head_dim: int):
        super().__init__()
        self.head_dim = head_dim
        self.to_q = nn.Conv1d(channels, channels, 1)
        self.to_k = nn.Conv1d(context_channels or channels, channels, 1)
        self.to_v = nn.Conv1d(context_channels or channels, channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor | None = None, hook: AttentionHook | None = None) -> Tensor:
        source = x if context is None else context
        query, key, value = (
            tokens.unflatten(1, (-1, self.head_dim)).transpose(2, 3)  # (N, heads, tokens, head_dim)
            for tokens in (self.to_q(x), self.to_k(source), self.to_v(source))
        )
        if hook is None:
            out = F.scaled_dot_product_attention(query, key, value)
        else:
            scale = self.head_dim**-0.25  # on both factors, so that half precision does not overflow
            logits = hook("self" if context is None else "cross", (query * scale) @ (key * scale).transpose(2, 3))
            out = logits.float().softmax(-1).to(value.dtype) @ value
        return cast(Tensor, self.proj_out(out.transpose(2, 3).flatten(1, 2)))


class IdentityAttention(nn.Module):
    """Self-attention, attention to the identity and a feed-forward part, all behind the same group norm."""

    def __init__(self, channels: int, context_dim: int, head_dim: int, groups: int):
        super().__init__()
        self.x_proj_in = nn.Conv2d(channels, channels, 1)
        self.x_proj_out = zeroed(nn.Conv2d(channels, channels, 1))
        self.self_attention = Attention(channels, None, head_dim)
        self.c_proj_in = nn.Linear(context_dim, context_dim * head_dim)
        self.cross_attention = Attention(channels, context_dim, head_dim)
        self.x_norm = nn.GroupNorm(groups, channels)
        self.c_norm = nn.GroupNorm(groups, context_dim)
        self.ff = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor, context: Tensor, hook: AttentionHook | None) -> Tensor:
        tokens = self.c_norm(self.c_proj_in(context).unflatten(1, (context.shape[1], -1)))  # (N, K, T)
        h = self.x_proj_in(x).flatten(2)
        h = h + self.self_attention(self.x_norm(h), None, hook)
        h = h + self.cross_attention(self.x_norm(h), tokens, hook)
        h = h + self.ff(self.x_norm(h).transpose(1, 2)).transpose(1, 2)
        return cast(Tensor, x + self.x_proj_out(h.unflatten(2, x.shape[2:])))


class UNetBlock(nn.Module):
    """A residual block and, on the levels that have it, attention."""

    def __init__(self, residual: TimedResidualBlock, attention: IdentityAttention | None):
        super().__init__()
        self.res = residual
        self.attn = attention

    def forward(self, x: Tensor, time: Tensor, context: Tensor, hook: AttentionHook | None) -> Tensor:
        x = self.res(x, time)
        return x if self.attn is None else self.attn(x, context, hook)


class Resample(nn.Module):
    """Halves the resolution by a strided convolution, or doubles it by a transposed one."""

    def __init__(self, channels: int, up: bool):
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, channels, 4, 2, 1) if up else nn.Conv2d(channels, channels, 3, 2, 1)

    def forward(self, x: Tensor, *_: object) -> Tensor:
        return cast(Tensor, self.conv(x))


class IdentityUNet(ModelMixin, ConfigMixin):
    """Predicts the noise ε in a noised latent, given who is to be on it. 216,341,187 parameters as published.

    Args:
        sample_size: side of the latent.
        in_channels: channels of the latent.
        channels: width of each level; every level after the first has half the resolution of the one before.
        attention: which levels attend to themselves and to the identity; the middle always does.
        blocks: residual blocks of a level on the way down; one more on the way up.
        head_dim: channels of an attention head, and number of identity tokens. Divides the attending levels' widths.
        norm_groups: of every group norm; divides all widths and `context_dim`.
        identity_dim: length of the recognition vector.
        context_dim: length of its one projection, on whose components partial dropout acts.
        context_dropout: share of those components dropped while training (IDiff-Face: 0.25 or 0.5).
        learn_empty_context: have a learned empty identity (UIFace). Without it (IDiff-Face) the empty identity is zero
            and was never trained, so there is no guidance.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 32,
        in_channels: int = 3,
        channels: Sequence[int] = (96, 192, 384, 768),
        attention: Sequence[bool] = (False, True, True, True),
        blocks: int = 2,
        head_dim: int = 32,
        norm_groups: int = 32,
        identity_dim: int = 512,
        context_dim: int = 256,
        context_dropout: float = 0.25,
        learn_empty_context: bool = False,
    ):
        super().__init__()
        first, last, time_channels = channels[0], channels[-1], 4 * channels[0]

        def residual(inputs: int, outputs: int) -> TimedResidualBlock:
            return TimedResidualBlock(inputs, outputs, time_channels, norm_groups)

        def attend(width: int) -> IdentityAttention:
            return IdentityAttention(width, context_dim, head_dim, norm_groups)

        self.image_proj = nn.Conv2d(in_channels, first, 3, 1, 1)
        self.time_emb = TimeEmbedding(time_channels)
        self.context_emb = nn.Linear(identity_dim, context_dim)
        self.partial_dropout = nn.Dropout(context_dropout)
        self.empty_context_embedding = nn.Parameter(torch.randn(context_dim)) if learn_empty_context else None

        levels = list(zip(channels, attention, strict=True))
        self.down = nn.ModuleList()
        width = first
        for level, (outputs, attends) in enumerate(levels):
            for _ in range(blocks):
                self.down.append(UNetBlock(residual(width, outputs), attend(outputs) if attends else None))
                width = outputs
            if level < len(levels) - 1:
                self.down.append(Resample(width, up=False))
        self.middle = nn.ModuleDict({"res1": residual(last, last), "attn": attend(last), "res2": residual(last, last)})
        self.up = nn.ModuleList()
        for level in reversed(range(len(levels))):
            width, attends = levels[level]
            below = channels[max(level - 1, 0)]  # the last block has the next level's width already
            for outputs in [width] * blocks + [below]:
                # Two entries of the level's width were pushed on the way down, then one of the level before.
                self.up.append(UNetBlock(residual(width + outputs, outputs), attend(outputs) if attends else None))
            if level:
                self.up.append(Resample(below, up=True))
        self.norm = nn.GroupNorm(norm_groups, first)
        self.final = zeroed(nn.Conv2d(first, in_channels, 3, 1, 1))

    @property
    def has_empty_identity(self) -> bool:
        """Whether "nobody in particular" was learned, so that guidance means something."""
        return bool(self.config.learn_empty_context)

    def context(self, identity: Tensor, drop: Tensor | None = None) -> Tensor:
        """The projected identity (N, K), partially dropped in training; where `drop` is true, the empty identity."""
        context = self.partial_dropout(self.context_emb(identity))
        if drop is not None:
            empty = torch.zeros(()) if self.empty_context_embedding is None else self.empty_context_embedding
            context = torch.where(drop[:, None], empty.to(context), context)
        return cast(Tensor, context)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        identity: Tensor,
        drop: Tensor | None = None,
        attention_hook: AttentionHook | None = None,
    ) -> Tensor:
        """Predict the noise.

        Args:
            sample: (N, C, H, W) noised latents √ᾱ x₀ + √(1 − ᾱ) ε; H and W multiples of 2 to the number of halvings.
            timestep: (N,) from 0 to 999.
            identity: (N, D) unit recognition vectors.
            drop: (N,) bool; true where the identity is to be ignored.
            attention_hook: sees, and may replace, the logits of every attention.

        Returns:
            (N, C, H, W) noises.
        """
        context = self.context(identity, drop)
        time = self.time_emb(timestep)
        skips = [self.image_proj(sample)]
        for block in self.down:
            skips.append(block(skips[-1], time, context, attention_hook))
        x = self.middle["attn"](self.middle["res1"](skips[-1], time), context, attention_hook)
        x = self.middle["res2"](x, time)
        for block in self.up:
            if isinstance(block, UNetBlock):
                x = torch.cat([x, skips.pop()], 1)
            x = block(x, time, context, attention_hook)
        return cast(Tensor, self.final(F.silu(self.norm(x))))
