"""What IDiff-Face and UIFace compute, written down from their descriptions, to be checked by eye.

Plain functions over the tensors of an official checkpoint `w`, by their official names; nothing of idgen or diffusers.
In double precision, so that a difference is the other side's rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]

# ---------------------------------------------------------------- the U-Net's tensors


def unet_shapes(
    widths: Sequence[int] = (96, 192, 384, 768),
    attends: Sequence[bool] = (False, True, True, True),
    head: int = 32,
    context: int = 256,
    identity: int = 512,
    latent: int = 3,
    empty: bool = False,
) -> Shapes:
    """Names and shapes under `eps_model.`; `empty`: with UIFace's learned empty identity."""
    shapes: Shapes = {}
    time = 4 * widths[0]

    def layer(name: str, *weight: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = weight, weight[:1]

    def residual(name: str, a: int, b: int) -> None:
        layer(f"{name}.norm1", a)
        layer(f"{name}.conv1", b, a, 3, 3)
        layer(f"{name}.time_emb.1", b, time)
        layer(f"{name}.scale_emb", b, b)
        layer(f"{name}.shift_emb", b, b)
        layer(f"{name}.norm2.norm", b)
        layer(f"{name}.conv2", b, b, 3, 3)
        if a != b:
            layer(f"{name}.shortcut", b, a, 1, 1)

    def attention(name: str, c: int) -> None:
        layer(f"{name}.x_proj_in", c, c, 1, 1)
        layer(f"{name}.x_proj_out", c, c, 1, 1)
        layer(f"{name}.c_proj_in", context * head, context)
        for part, source in (("self_attention", c), ("cross_attention", context)):
            layer(f"{name}.{part}.to_q", c, c, 1)
            layer(f"{name}.{part}.to_k", c, source, 1)
            layer(f"{name}.{part}.to_v", c, source, 1)
            layer(f"{name}.{part}.proj_out", c, c, 1)
        layer(f"{name}.x_norm", c)
        layer(f"{name}.c_norm", context)
        layer(f"{name}.ff.0", 4 * c, c)
        layer(f"{name}.ff.2", c, 4 * c)

    layer("image_proj", widths[0], latent, 3, 3)
    layer("time_emb.lin1", time, widths[0])
    layer("time_emb.lin2", time, time)
    layer("context_emb", context, identity)
    if empty:
        shapes["empty_context_embedding"] = (context,)
    index, stack, width = 0, [widths[0]], widths[0]
    for level, (c, attend) in enumerate(zip(widths, attends, strict=True)):
        for _ in range(2):
            residual(f"down.{index}.res", width, c)
            if attend:
                attention(f"down.{index}.attn", c)
            index, width = index + 1, c
            stack.append(c)
        if level < len(widths) - 1:
            layer(f"down.{index}.conv", c, c, 3, 3)
            index += 1
            stack.append(c)
    residual("middle.res1", width, width)
    attention("middle.attn", width)
    residual("middle.res2", width, width)
    index = 0
    for level in reversed(range(len(widths))):
        for c in (widths[level], widths[level], widths[max(level - 1, 0)]):
            residual(f"up.{index}.res", width + stack.pop(), c)
            if attends[level]:
                attention(f"up.{index}.attn", c)
            index, width = index + 1, c
        if level > 0:
            layer(f"up.{index}.conv", width, width, 4, 4)
            index += 1
    layer("norm", widths[0])
    layer("final", latent, widths[0], 3, 3)
    return shapes


def random_weights(shapes: Shapes, seed: int = 0) -> Weights:
    """Float32 tensors that keep activations at about unit size; norms' scales near 1."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        if name.endswith("weight") and len(shape) > 1:
            value /= math.sqrt(math.prod(shape[1:]))
        elif name.endswith("weight"):
            value = 1 + 0.1 * value
        elif name.endswith("bias"):
            value = 0.1 * value
        weights[name] = value
    return weights


# ---------------------------------------------------------------- the U-Net


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def conv(w: Weights, name: str, x: Tensor, **how: Any) -> Tensor:
    function = F.conv1d if x.ndim == 3 else F.conv2d
    return function(x, w[f"{name}.weight"], w[f"{name}.bias"], **how)


def group_norm(w: Weights, name: str, x: Tensor, groups: int, eps: float = 1e-5) -> Tensor:
    parts = x.reshape(len(x), groups, -1)
    parts = (parts - parts.mean(2, keepdim=True)) / (parts.var(2, correction=0, keepdim=True) + eps).sqrt()
    per_channel = (1, -1, *[1] * (x.ndim - 2))
    return parts.reshape(x.shape) * w[f"{name}.weight"].view(per_channel) + w[f"{name}.bias"].view(per_channel)


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def time_embedding(w: Weights, t: Tensor) -> Tensor:
    size = w["time_emb.lin1.weight"].shape[1]
    half = size // 2
    angle = t.double()[:, None] * torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float64) / half)
    return linear(w, "time_emb.lin2", silu(linear(w, "time_emb.lin1", torch.cat([angle.cos(), angle.sin()], 1))))


def residual_block(w: Weights, name: str, x: Tensor, time: Tensor, groups: int) -> Tensor:
    h = conv(w, f"{name}.conv1", silu(group_norm(w, f"{name}.norm1", x, groups)), padding=1)
    e = linear(w, f"{name}.time_emb.1", silu(time))
    scale, shift = (linear(w, f"{name}.{part}_emb", e)[:, :, None, None] for part in ("scale", "shift"))
    h = (1 + scale) * group_norm(w, f"{name}.norm2.norm", h, groups) + shift
    h = conv(w, f"{name}.conv2", silu(h), padding=1)
    return h + (conv(w, f"{name}.shortcut", x) if f"{name}.shortcut.weight" in w else x)


def multi_head(w: Weights, name: str, x: Tensor, c: Tensor, head: int, use: Callable[[Tensor], Tensor]) -> Tensor:
    """`use`: from the logits (N, heads, places, tokens) to those that count."""
    q, k, v = conv(w, f"{name}.to_q", x), conv(w, f"{name}.to_k", c), conv(w, f"{name}.to_v", c)
    q, k, v = (part.reshape(len(x), -1, head, part.shape[2]) for part in (q, k, v))
    logits = use(torch.einsum("nhct,nhcs->nhts", q, k) / math.sqrt(head))
    weight = torch.exp(logits - logits.amax(-1, keepdim=True))
    weight = weight / weight.sum(-1, keepdim=True)
    return conv(w, f"{name}.proj_out", torch.einsum("nhts,nhcs->nhct", weight, v).reshape(x.shape))


def attention_block(
    w: Weights, name: str, x: Tensor, context: Tensor, head: int, groups: int, use: Callable[[str, Tensor], Tensor]
) -> Tensor:
    c = linear(w, f"{name}.c_proj_in", context).reshape(len(x), context.shape[1], -1)
    c = group_norm(w, f"{name}.c_norm", c, groups)
    h = conv(w, f"{name}.x_proj_in", x).reshape(len(x), x.shape[1], -1)

    def norm(h: Tensor) -> Tensor:
        return group_norm(w, f"{name}.x_norm", h, groups)

    h = h + multi_head(w, f"{name}.self_attention", norm(h), norm(h), head, lambda logits: use("self", logits))
    h = h + multi_head(w, f"{name}.cross_attention", norm(h), c, head, lambda logits: use("cross", logits))
    f = linear(w, f"{name}.ff.0", norm(h).transpose(1, 2))
    f = linear(w, f"{name}.ff.2", 0.5 * f * (1 + torch.erf(f / math.sqrt(2))))
    h = (h + f.transpose(1, 2)).reshape(x.shape)
    return conv(w, f"{name}.x_proj_out", h) + x


@torch.no_grad()
def unet(
    w: Weights,
    x: Tensor,
    t: Tensor,
    context: Tensor | None,
    head: int = 32,
    groups: int = 32,
    use: Callable[[str, Tensor], Tensor] = lambda kind, logits: logits,
) -> Tensor:
    """ε of latents (N, 3, h, w) at t (N,) for identities (N, 512); None is the empty identity (zero if not learned)."""
    w = {name: value.double() for name, value in w.items()}
    x = x.double()
    time = time_embedding(w, t)
    if context is not None:
        c = linear(w, "context_emb", context.double())
    else:
        empty = w.get("empty_context_embedding", torch.zeros(len(w["context_emb.bias"]), dtype=torch.float64))
        c = empty.expand(len(x), -1)

    def block(name: str, x: Tensor) -> Tensor:
        x = residual_block(w, f"{name}.res", x, time, groups)
        return attention_block(w, f"{name}.attn", x, c, head, groups, use) if f"{name}.attn.x_norm.bias" in w else x

    x = conv(w, "image_proj", x, padding=1)
    stack = [x]
    for name in modules(w, "down"):
        resample = f"{name}.conv.weight" in w
        x = conv(w, f"{name}.conv", x, stride=2, padding=1) if resample else block(name, x)
        stack.append(x)
    x = residual_block(w, "middle.res1", x, time, groups)
    x = attention_block(w, "middle.attn", x, c, head, groups, use)
    x = residual_block(w, "middle.res2", x, time, groups)
    for name in modules(w, "up"):
        if f"{name}.conv.weight" in w:
            x = F.conv_transpose2d(x, w[f"{name}.conv.weight"], w[f"{name}.conv.bias"], stride=2, padding=1)
        else:
            x = block(name, torch.cat([x, stack.pop()], 1))
    return conv(w, "final", silu(group_norm(w, "norm", x, groups)), padding=1)


def modules(w: Weights, name: str) -> Iterator[str]:
    count = 1 + max(int(key.split(".")[1]) for key in w if key.startswith(f"{name}."))
    return (f"{name}.{index}" for index in range(count))


# ---------------------------------------------------------------- sampling

BETAS = torch.linspace(1e-4, 0.02, 1000)
Epsilon = Callable[[Tensor, int], Tensor]


def buffers() -> Weights:
    """The eight tensors beside `eps_model.` in a checkpoint."""
    alphas = 1 - BETAS
    bars = alphas.log().cumsum(0).exp()
    return {
        "betas": BETAS,
        "alphas": alphas,
        "sigmas": BETAS.sqrt(),
        "sqrt_alphas_inv": 1 / alphas.sqrt(),
        "alpha_bars": bars,
        "sqrt_alpha_bars": bars.sqrt(),
        "sqrt_one_minus_alpha_bars": (1 - bars).sqrt(),
        "one_minus_alphas_over_sqrt_one_minus_alpha_bars": (1 - alphas) / (1 - bars).sqrt(),
    }


def ancestral(epsilon: Epsilon, shape: tuple[int, ...], generator: torch.Generator, betas: Tensor = BETAS) -> Tensor:
    """IDiff-Face, with 1000 betas: noise after t = 999, …, 2, but after neither 1 nor 0."""
    betas = betas.double()
    alphas, bars = 1 - betas, (1 - betas).cumprod(0)
    x = torch.randn(shape, generator=generator).double()
    for t in reversed(range(len(betas))):
        z = torch.randn(shape, generator=generator).double() if t > 1 else torch.zeros(shape, dtype=torch.float64)
        x = (x - epsilon(x, t) * betas[t] / (1 - bars[t]).sqrt()) / alphas[t].sqrt() + betas[t].sqrt() * z
    return x


def ddim(epsilon: Epsilon, x: Tensor, steps: int = 50) -> Tensor:
    """UIFace: η = 0, with ᾱ of the timestep before the one that a step leads to."""
    bars = (1 - BETAS.double()).cumprod(0)
    skip = 1000 // steps
    x = x.double()
    for t in reversed(range(0, 1000, skip)):
        now, then = bars[t], bars[t - skip - 1] if t - skip - 1 >= 0 else torch.tensor(1.0, dtype=torch.float64)
        noise = epsilon(x, t)
        x = then.sqrt() * (x - (1 - now).sqrt() * noise) / now.sqrt() + (1 - then).sqrt() * noise
    return x


class TwoStage:
    """UIFace's ε for one picture: `w`, identity (1, 512), and how `unet` is called."""

    def __init__(self, w: Weights, identity: Tensor, guidance: float = 2.0, threshold: float = 0.006, **how: int):
        self.w, self.identity, self.guidance, self.threshold, self.how = w, identity, guidance, threshold, how
        self.before: Tensor | None = None
        self.changes: list[float] = []
        self.settled_at: int | None = None

    def __call__(self, x: Tensor, t: int) -> Tensor:
        when = torch.tensor([t])
        nobody: dict[str, list[Tensor]] = {"self": [], "cross": []}
        own: list[Tensor] = []

        def remember(kind: str, logits: Tensor) -> Tensor:
            nobody[kind].append(logits)
            return logits

        def inject(kind: str, logits: Tensor) -> Tensor:
            if kind == "self":
                return nobody["self"].pop(0)
            own.append(logits)
            if t >= 500:
                return logits
            source = nobody["cross"].pop(0)
            mean, std = logits.mean(3, keepdim=True), logits.std(3, keepdim=True)
            mixed_mean = 0.5 * source.mean(3, keepdim=True) + 0.5 * mean
            mixed_std = 0.5 * source.std(3, keepdim=True) + 0.5 * std
            return (logits - mean) / std * mixed_std + mixed_mean

        unconditional = unet(self.w, x, when, None, use=remember, **self.how)
        with_identity = t < 500 or self.settled_at is not None
        conditional = unet(self.w, x, when, self.identity if with_identity else None, use=inject, **self.how)
        if t < 500:
            return self.guidance * conditional - (self.guidance - 1) * unconditional
        now = self.map(own, x.shape[-1])
        if self.before is not None:
            self.changes.append(float((now - self.before).abs().mean()))
            if self.settled_at is None and self.changes[-1] < self.threshold:
                self.settled_at = t
        self.before = now
        return conditional

    @staticmethod
    def map(cross: list[Tensor], side: int) -> Tensor:
        maps = []
        for logits in cross:
            places = torch.softmax(logits, 2).mean(3).mean(1)[0]
            size = int(math.sqrt(len(places)))
            square = (places / places.max()).reshape(1, 1, size, size)
            maps.append(F.interpolate(square, (side, side), mode="bilinear")[0, 0])
        mean = torch.stack(maps).mean(0)
        return (mean - mean.min()) / (mean.max() - mean.min())


# ---------------------------------------------------------------- the first stage, VQ-f4


def vq_shapes(width: int = 128, multiples: Sequence[int] = (1, 2, 4), codes: int = 8192) -> tuple[Shapes, Shapes]:
    """Names and shapes of the encoder's and of the decoder's file."""
    encoder: Shapes = {}
    decoder: Shapes = {}

    def layer(into: Shapes, name: str, *weight: int) -> None:
        into[f"{name}.weight"], into[f"{name}.bias"] = weight, weight[:1]

    def residual(into: Shapes, name: str, a: int, b: int) -> None:
        layer(into, f"{name}.norm1", a)
        layer(into, f"{name}.conv1", b, a, 3, 3)
        layer(into, f"{name}.norm2", b)
        layer(into, f"{name}.conv2", b, b, 3, 3)
        if a != b:
            layer(into, f"{name}.nin_shortcut", b, a, 1, 1)

    def middle(into: Shapes, name: str, c: int) -> None:
        residual(into, f"{name}.block_1", c, c)
        layer(into, f"{name}.attn_1.norm", c)
        for part in ("q", "k", "v", "proj_out"):
            layer(into, f"{name}.attn_1.{part}", c, c, 1, 1)
        residual(into, f"{name}.block_2", c, c)

    widths, top = [width * m for m in multiples], width * multiples[-1]
    layer(encoder, "encoder.conv_in", width, 3, 3, 3)
    c = width
    for level, b in enumerate(widths):
        for block in range(2):
            residual(encoder, f"encoder.down.{level}.block.{block}", c, b)
            c = b
        if level < len(widths) - 1:
            layer(encoder, f"encoder.down.{level}.downsample.conv", b, b, 3, 3)
    middle(encoder, "encoder.mid", top)
    layer(encoder, "encoder.norm_out", top)
    layer(encoder, "encoder.conv_out", 3, top, 3, 3)
    layer(encoder, "quant_conv", 3, 3, 1, 1)

    decoder["quantize.embedding.weight"] = (codes, 3)
    layer(decoder, "post_quant_conv", 3, 3, 1, 1)
    layer(decoder, "decoder.conv_in", top, 3, 3, 3)
    middle(decoder, "decoder.mid", top)
    c = top
    for level in reversed(range(len(widths))):
        for block in range(3):
            residual(decoder, f"decoder.up.{level}.block.{block}", c, widths[level])
            c = widths[level]
        if level > 0:
            layer(decoder, f"decoder.up.{level}.upsample.conv", c, c, 3, 3)
    layer(decoder, "decoder.norm_out", width)
    layer(decoder, "decoder.conv_out", 3, width, 3, 3)
    return encoder, decoder


def vq_residual(w: Weights, name: str, x: Tensor) -> Tensor:
    h = conv(w, f"{name}.conv1", silu(group_norm(w, f"{name}.norm1", x, 32, 1e-6)), padding=1)
    h = conv(w, f"{name}.conv2", silu(group_norm(w, f"{name}.norm2", h, 32, 1e-6)), padding=1)
    return h + (conv(w, f"{name}.nin_shortcut", x) if f"{name}.nin_shortcut.weight" in w else x)


def vq_middle(w: Weights, name: str, x: Tensor) -> Tensor:
    x = vq_residual(w, f"{name}.block_1", x)
    h = group_norm(w, f"{name}.attn_1.norm", x, 32, 1e-6)
    q, k, v = (conv(w, f"{name}.attn_1.{part}", h).flatten(2) for part in "qkv")
    weight = torch.softmax(torch.einsum("nct,ncs->nts", q, k) / math.sqrt(q.shape[1]), -1)
    h = torch.einsum("nts,ncs->nct", weight, v).reshape(x.shape)
    return vq_residual(w, f"{name}.block_2", x + conv(w, f"{name}.attn_1.proj_out", h))


@torch.no_grad()
def vq_encode(w: Weights, pixels: Tensor, levels: int = 3) -> Tensor:
    """(N, 3, 4h, 4w) in [-1, 1] to latents (N, 3, h, w) before they are quantised."""
    w = {name: value.double() for name, value in w.items()}
    x = conv(w, "encoder.conv_in", pixels.double(), padding=1)
    for level in range(levels):
        for block in range(2):
            x = vq_residual(w, f"encoder.down.{level}.block.{block}", x)
        if level < levels - 1:
            x = conv(w, f"encoder.down.{level}.downsample.conv", F.pad(x, (0, 1, 0, 1)), stride=2)
    x = silu(group_norm(w, "encoder.norm_out", vq_middle(w, "encoder.mid", x), 32, 1e-6))
    return conv(w, "quant_conv", conv(w, "encoder.conv_out", x, padding=1))


def nearest_codes(w: Weights, latents: Tensor) -> Tensor:
    """Numbers of the codes (N·h·w,), by |z|² + |e|² − 2 z·e in the precision that is given."""
    codes, z = w["quantize.embedding.weight"], latents.permute(0, 2, 3, 1).reshape(-1, 3)
    return ((z**2).sum(1, keepdim=True) + (codes**2).sum(1) - 2 * z @ codes.T).argmin(1)


@torch.no_grad()
def vq_decode(w: Weights, latents: Tensor, levels: int = 3) -> Tensor:
    """Latents (N, 3, h, w) to pixels (N, 3, 4h, 4w)."""
    w = {name: value.double() for name, value in w.items()}
    n, _, height, width = latents.shape
    z = w["quantize.embedding.weight"][nearest_codes(w, latents.double())]
    x = conv(w, "post_quant_conv", z.reshape(n, height, width, 3).permute(0, 3, 1, 2))
    x = vq_middle(w, "decoder.mid", conv(w, "decoder.conv_in", x, padding=1))
    for level in reversed(range(levels)):
        for block in range(3):
            x = vq_residual(w, f"decoder.up.{level}.block.{block}", x)
        if level > 0:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = conv(w, f"decoder.up.{level}.upsample.conv", x, padding=1)
    return conv(w, "decoder.conv_out", silu(group_norm(w, "decoder.norm_out", x, 32, 1e-6)), padding=1)


# ---------------------------------------------------------------- a whole download


def checkpoint(weights: Weights, wrapper: str = "") -> Weights:
    """As `ema_averaged_model.ckpt` has it."""
    return {f"{wrapper}{name}": value for name, value in buffers().items()} | {
        f"{wrapper}eps_model.{name}": value for name, value in weights.items()
    }
