"""The reference adapter: a picture whose appearance and background are kept (Papantoniou and Zafeiriou 2025, arXiv
2510.04706).

The denoiser itself looks at the picture once, at timestep 0 and with the identity's prompt, and what enters its
self-attentions is noted. Another time, with a LoRA in it, it denoises, and its self-attentions see these notes beside
their own tokens: those of the rows with the identity, not of those without.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from torch import Tensor, nn

from idgen.ground.errors import InputError
from idgen.ground.images import ImageSource, describe, open_image
from idgen.pipelines.arc2face.adapters import lora_layers
from idgen.pipelines.arc2face.files import ORIGIN
from idgen.pipelines.shells import replaced
from idgen.pipelines.workers import by_image

STRENGTH = 0.8
"""The weight of the LoRA in the official program."""


class Reference(nn.Module):
    """The adapter of one kind of denoiser.

    Args:
        file: `pytorch_lora_weights.safetensors`.
        denoiser: that it is for; it stays as it is.

    Raises:
        InputError: the file cannot be read or does not fit the denoiser, or peft is missing.
    """

    def __init__(self, file: str | os.PathLike[str], denoiser: Any):
        super().__init__()
        path = Path(file)
        if path.suffix != ".safetensors":
            raise InputError(f"The reference adapter {path} is no .safetensors file: get it from {ORIGIN}.")
        names, down, up, scales = zip(*lora_layers(denoiser, path), strict=True)
        self.scales = dict(zip(names, scales, strict=True))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        self.content = path.read_bytes()  # to be saved as it came: its header may say how strong it is

    def adapted(self, network: Any, strength: float) -> Any:
        """A denoiser with the LoRA, beside the one given, whose weights it shares."""
        layers = zip(self.scales.items(), self.down, self.up, strict=True)
        return replaced(
            network,
            {
                name: _WithLora(network.get_submodule(name), down, up, scale * strength)
                for (name, scale), down, up in layers
            },
        )


class _WithLora(nn.Module):
    """A layer and a LoRA beside it (Hu et al. 2021, eq. 3)."""

    def __init__(self, layer: nn.Module, down: nn.Module, up: nn.Module, scale: float):
        super().__init__()
        self.layer, self.down, self.up, self.scale = layer, down, up, scale

    def forward(self, values: Tensor, *more: Any) -> Tensor:
        return self.layer(values, *more) + self.up(self.down(values)) * self.scale  # type: ignore[no-any-return]


class _Noting(nn.Module):
    """A self-attention that notes its tokens (B, T, C)."""

    def __init__(self, attention: nn.Module, notes: list[Tensor]):
        super().__init__()
        self.attention, self.notes = attention, notes

    def forward(self, tokens: Tensor, **options: Any) -> Tensor:
        self.notes.append(tokens)
        return self.attention(tokens, **options)  # type: ignore[no-any-return]


class _Seeing(nn.Module):
    """A self-attention that sees noted tokens (B, T, C), too, in those rows (B,) that are to.

    Args:
        attention: of the denoiser.
        rest: the notes (B, S) from here on; what is read is taken off, so that the next attention finds its own first.
        which: the rows.
    """

    def __init__(self, attention: nn.Module, rest: list[Tensor], which: Tensor):
        super().__init__()
        self.attention, self.rest, self.which = attention, rest, which

    def forward(self, tokens: Tensor, **options: Any) -> Tensor:
        noted, self.rest[0] = self.rest[0].tensor_split([tokens[0].numel()], 1)
        both, out = torch.cat([tokens, noted.reshape(tokens.shape)], 1), torch.empty_like(tokens)
        for rows, seen in ((self.which, both), (~self.which, tokens)):
            if rows.any():
                out[rows] = self.attention(tokens[rows], **{**options, "encoder_hidden_states": seen[rows]})
        return out


def _with_attentions(network: Any, kind: type[nn.Module], *arguments: Any) -> Any:
    """A network whose self-attentions are within others of a kind; nothing of it is changed."""
    names = [f"{name}.attn1" for name, part in network.named_modules() if isinstance(part, BasicTransformerBlock)]
    return replaced(network, {name: kind(network.get_submodule(name), *arguments) for name in names})


def note(denoiser: Any, latents: Tensor, prompts: Tensor) -> Tensor:
    """What enters a denoiser's self-attentions, one after another, when it looks at latents (B, C, h, w) without noise
    and at prompts (B, 77, W): (B, S)."""

    def call(sample: Tensor, timestep: Tensor, prompt: Tensor) -> Tensor:
        noted: list[Tensor] = []
        _with_attentions(denoiser, _Noting, noted)(sample, timestep, prompt, return_dict=False)
        return torch.cat([tokens.flatten(1) for tokens in noted], 1)

    time = torch.zeros(len(latents), 1, dtype=torch.long, device=latents.device)
    return by_image(call, latents[:, None], time, prompts[:, None])[:, 0]


def seeing(network: Any, noted: Tensor, which: Tensor) -> Any:
    """A denoiser, for one call, whose self-attentions see what `note` gave (B, S), in those rows (B,) that are to."""
    return _with_attentions(network, _Seeing, [noted], which)


def read(reference: ImageSource, size: int) -> Tensor:
    """A picture to keep to, (3, size, size) in [-1, 1].

    Raises:
        InputError: it cannot be opened or is not square.
    """
    picture = open_image(reference)
    if picture.width != picture.height:
        raise InputError(
            f"The reference {describe(reference)} is {picture.width} × {picture.height} pixels: cut the face out as "
            "FFHQ does, to a square, as the command does it."
        )
    if picture.width != size:
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(picture, np.float32) / 255 * 2 - 1).permute(2, 0, 1).contiguous()


def read_all(references: ImageSource | Sequence[ImageSource], size: int, people: int, images: int) -> list[Tensor]:
    """One picture, or one a person, or one for each of a call's pictures, person by person; errors as `read`."""
    given: list[Any] = [*references] if isinstance(references, (list, tuple)) else [references]
    if len(given) not in (1, people, people * images):
        raise InputError(
            f"Give one reference, or one for each of the {people} people or {people * images} pictures, not "
            f"{len(given)}."
        )
    read_once = {id(one): read(one, size) for one in {id(one): one for one in given}.values()}
    return [read_once[id(one)] for one in given]


def spread_of(autoencoder: Any, picture: Tensor) -> tuple[Tensor, Tensor]:
    """Of a picture (3, H, W) in [-1, 1] on the autoencoder's device: mean and deviation of its latents (C, h, w)."""
    moments = by_image(lambda one: autoencoder.encode(one).latent_dist.parameters, picture[None, None])
    spread = DiagonalGaussianDistribution(moments[0].cpu().float())
    return spread.mean[0], spread.std[0]
