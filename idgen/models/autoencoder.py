"""A small autoencoder for aligned faces: 128×128 RGB to an 8×16×16 latent and back.

`AutoencoderKL` and `AutoencoderDC`, made as small as they go, are several times slower on a CPU, since they convolve at
full resolution and normalise by group or by channel. Here pixels are folded into channels first (space to depth, as in
Shi et al. 2016), every convolution runs at 32×32 or 16×16, and norms are batch norms, which cost nothing at inference.
The interface (`encode(x).latents`, `decode(z).sample`, `config.scaling_factor`) is that of diffusers' `VQModel`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.autoencoders.vq_model import VQEncoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from idgen.models.recognizer import ResidualBlock


class PlainBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, without a norm: what is bright stays bright. Begins as the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.conv2(torch.relu(self.conv1(torch.relu(x)))))


class Grain(nn.Module):
    """ReLU, and before it fixed noise, as strong in every place and channel as the features there say.

    Fine grain says nothing that a latent could keep, and a decoder without noise of its own can only draw a pattern in
    its place (Karras et al. 2019, §3.2). The noise is always the same: so are the pictures. Begins without any.
    """

    noise: Tensor

    def __init__(self, channels: int, side: int = 64):
        super().__init__()
        self.gain = nn.Conv2d(channels, channels, 1)
        for parameter in self.gain.parameters():
            nn.init.zeros_(parameter)
        noise = torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise", noise)

    def forward(self, x: Tensor) -> Tensor:
        (height, width), noise = x.shape[2:], self.noise
        side = noise.shape[2]
        if height > side or width > side:
            noise = noise.repeat(1, 1, -(-height // side), -(-width // side))
        return torch.relu(x + self.gain(x) * noise[:, :, :height, :width])


def _alike(layer: nn.Conv2d, group: int) -> nn.Conv2d:
    """A layer that begins with the same weights for all pixels that one rearrangement makes: no grid (ICNR, Aitken et
    al. 2017)."""
    with torch.no_grad():
        for tensor in layer.parameters():
            tensor.copy_(tensor[::group].repeat_interleave(group, 0))
    return layer


def _decoder(latent_channels: int, channels: Sequence[int], blocks: Sequence[int], grain: bool) -> nn.Sequential:
    """From 1/8 of the picture's side upwards, a stage a scale; what is left is pixel rearrangement."""
    layers: list[nn.Module] = [nn.Conv2d(latent_channels, channels[-1], 3, 1, 1)]
    for stage in reversed(range(len(channels))):
        layers += [PlainBlock(channels[stage]) for _ in range(blocks[stage])]
        if stage:
            wider = nn.Conv2d(channels[stage], 4 * channels[stage - 1], 1)
            layers += [nn.ReLU(), _alike(wider, 4), nn.PixelShuffle(2)]
    fold = 8 >> (len(channels) - 1)
    last = nn.Conv2d(channels[0], 3 * fold**2, 3, 1, 1)
    return nn.Sequential(
        *layers, Grain(channels[0]) if grain else nn.ReLU(), _alike(last, fold**2), nn.PixelShuffle(fold)
    )


def _stage(channels: int, blocks: int) -> list[nn.Module]:
    return [ResidualBlock(channels, channels, 1) for _ in range(blocks)]


class FaceAutoencoder(ModelMixin, ConfigMixin):
    """Convolutional autoencoder with normalised latents.

    Args:
        latent_channels: channels of the latent.
        encoder_channels: widths of the encoder at 1/4 and 1/8 of the image's side.
        decoder_channels: widths of the decoder: two, at 1/4 and 1/8, with batch norms; or three, at 1/2, 1/4 and 1/8,
            without norms, which keeps fine detail.
        encoder_blocks: residual blocks of each encoder stage.
        decoder_blocks: residual blocks of each decoder stage.
        grain: of a decoder with three widths, noise that the last stage draws grain with.
        scaling_factor: latents are multiplied by it before diffusion; 1, since a batch norm without gain already makes
        them unit.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 8,
        encoder_channels: tuple[int, int] = (64, 128),
        decoder_channels: tuple[int, ...] = (96, 192),
        encoder_blocks: tuple[int, int] = (1, 2),
        decoder_blocks: tuple[int, ...] = (2, 2),
        scaling_factor: float = 1.0,
        grain: bool = False,
    ):
        super().__init__()
        fine, coarse = encoder_channels
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, fine, 3, 1, 1),
            *_stage(fine, encoder_blocks[0]),
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * fine, coarse, 1),
            *_stage(coarse, encoder_blocks[1]),
            nn.Conv2d(coarse, latent_channels, 1),
            nn.BatchNorm2d(latent_channels, affine=False),
        )
        if len(decoder_channels) > 2:
            self.decoder = _decoder(latent_channels, decoder_channels, decoder_blocks, grain)
            return
        fine, coarse = decoder_channels
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, coarse, 3, 1, 1),
            *_stage(coarse, decoder_blocks[1]),
            nn.Conv2d(coarse, 4 * fine, 1),
            nn.PixelShuffle(2),
            *_stage(fine, decoder_blocks[0]),
            nn.Conv2d(fine, 48, 3, 1, 1),
            nn.PixelShuffle(4),
        )

    def encode(self, pixels: Tensor) -> VQEncoderOutput:
        """(N, 3, H, W) in [-1, 1] to latents (N, C, H/8, W/8) of zero mean and unit variance."""
        return VQEncoderOutput(latents=self.encoder(pixels))

    def decode(self, latents: Tensor) -> DecoderOutput:
        """(N, C, h, w) latents to pixels (N, 3, 8h, 8w), about [-1, 1], not clamped."""
        return DecoderOutput(sample=self.decoder(latents))

    def forward(self, pixels: Tensor) -> Tensor:
        """Reconstruct."""
        return cast(Tensor, self.decode(self.encode(pixels).latents).sample)
