"""What a decoder is finished with: a critic of patches, and the local energy of texture.

A decoder that minimises a distance draws the mean of all textures that a latent may stand for, which is none. A critic
rewards what cannot be told from a picture; the energy loss asks for as much texture as there was, wherever it was.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import spectral_norm


class Critic(nn.Module):
    """A PatchGAN (Isola et al. 2017) with spectral norm (Miyato et al. 2018), which also sees the latent, so that it
    does not reward what the latent does not say.

    Args:
        latent_channels: of the latent at 1/8 of the picture's side.
        width: of the first layer.
    """

    def __init__(self, latent_channels: int, width: int = 32):
        super().__init__()
        self.fold = nn.PixelUnshuffle(2)
        self.first = spectral_norm(nn.Conv2d(12, width, 3, 1, 1))
        self.second = spectral_norm(nn.Conv2d(width, 2 * width, 4, 2, 1))
        self.third = spectral_norm(nn.Conv2d(2 * width, 4 * width, 4, 2, 1))
        self.latent = spectral_norm(nn.Conv2d(latent_channels, 4 * width, 3, 1, 1))
        self.fine = spectral_norm(nn.Conv2d(width, 1, 3, 1, 1))
        self.last = spectral_norm(nn.Conv2d(4 * width, 1, 3, 1, 1))

    def forward(self, pixels: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of fine and of coarse patches, (N, 1, H/2, W/2) and (N, 1, H/8, W/8): high where they look real."""
        x = F.leaky_relu(self.first(self.fold(pixels)), 0.2)
        fine = self.fine(x)
        x = F.leaky_relu(self.second(x), 0.2)
        x = F.leaky_relu(self.third(x) + self.latent(latents), 0.2)
        return fine, self.last(x)

    def losses(self, real: Tensor, made: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's loss, which moves no weight of the critic, and the critic's own (hinge: Lim & Ye 2017)."""
        fixed = {name: value.detach() for name, value in self.named_parameters()}
        fixed |= {name: value.clone() for name, value in self.named_buffers()}
        fooled = -sum(scores.mean() for scores in functional_call(self, fixed, (made, latents)))
        on_real, on_made = self(real, latents), self(made.detach(), latents)
        own = sum(F.relu(1 - r).mean() + F.relu(1 + m).mean() for r, m in zip(on_real, on_made, strict=True))
        return cast(Tensor, fooled / 2), cast(Tensor, own / 4)


def texture(got: Tensor, wanted: Tensor, window: int = 8) -> Tensor:
    """Mean absolute difference of the log energy of fine detail, at two scales, of (N, 3, H, W) in [-1, 1]: how much
    texture there is, not where its grains lie. In windows; and in whole pictures, since what is right in most windows
    still lacks the few that hold most of the energy. Across, down and diagonally each for itself: else the energy comes
    as the chequers that cost the other losses least."""
    weights = got.new_tensor([0.2126, 0.7152, 0.0722])[:, None, None]
    pair = [(pixels.float() * weights).sum(1, keepdim=True) for pixels in (got, wanted)]
    total = got.new_zeros(())
    for _ in range(2):
        energies = []
        for grey in pair:
            a, b, c, d = grey[..., :-1, :-1], grey[..., :-1, 1:], grey[..., 1:, :-1], grey[..., 1:, 1:]
            detail = torch.cat([a + b - c - d, a - b + c - d, a - b - c + d], 1) / 4
            local = F.avg_pool2d(detail.square(), window, window // 2)
            energies.append(((local + 1e-5).log(), (local.mean((2, 3)) + 1e-5).log()))
        total = total + sum((one - other).abs().mean() / 4 for one, other in zip(*energies, strict=True))
        pair = [F.avg_pool2d(grey, 2) for grey in pair]
    return total
