"""A small autoencoder for aligned faces: 128×128 RGB to an 8×16×16 latent and back.

`AutoencoderKL` and `AutoencoderDC`, made as small as they go, are several times slower on a CPU, since they convolve at
full resolution and normalise by group or by channel. Here pixels are folded into channels first (space to depth, as in
Shi et al. 2016), every convolution runs at 32×32 or 16×16, and norms are batch norms, which cost nothing at inference.
The interface (`encode(x).latents`, `decode(z).sample`, `config.scaling_factor`) is that of diffusers' `VQModel`.
"""

from __future__ import annotations

from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.autoencoders.vq_model import VQEncoderOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from idgen.models.recognizer import ResidualBlock


def _stage(channels: int, blocks: int) -> list[nn.Module]:
    return [ResidualBlock(channels, channels, 1) for _ in range(blocks)]


class FaceAutoencoder(ModelMixin, ConfigMixin):
    """Convolutional autoencoder with normalised latents.

    Args:
        latent_channels: channels of the latent.
        encoder_channels: widths of the encoder at 1/4 and 1/8 of the image's side.
        decoder_channels: widths of the decoder at 1/4 and 1/8.
        encoder_blocks: residual blocks of each encoder stage.
        decoder_blocks: residual blocks of each decoder stage.
        scaling_factor: latents are multiplied by it before diffusion; 1, since a batch norm without gain already makes
        them unit.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 8,
        encoder_channels: tuple[int, int] = (64, 128),
        decoder_channels: tuple[int, int] = (96, 192),
        encoder_blocks: tuple[int, int] = (1, 2),
        decoder_blocks: tuple[int, int] = (2, 2),
        scaling_factor: float = 1.0,
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

    def forward(self, pixels: Tensor, latent_noise: float = 0.0) -> Tensor:
        """Reconstruct, with Gaussian noise of that standard deviation on the latents (a decoder that forgives a
        denoiser)."""
        latents = self.encode(pixels).latents
        return cast(Tensor, self.decode(latents + latent_noise * torch.randn_like(latents)).sample)
