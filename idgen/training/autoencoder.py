"""Train the autoencoder: pixels, plus a perceptual term from the recogniser's own features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.optim import AdamW, Optimizer

from idgen.ground.errors import InputError
from idgen.models.autoencoder import FaceAutoencoder
from idgen.models.dit import IdentityDiT
from idgen.models.recognizer import ResNetRecognizer
from idgen.training import augment
from idgen.training.critic import Critic, texture
from idgen.training.data import Faces, load_faces
from idgen.training.loop import FacesArgs, Task, build, digest, frozen, train


@dataclass(kw_only=True)
class AutoencoderArgs(FacesArgs):
    """Train the autoencoder on aligned faces."""

    recognizer: Path
    """Folder of a trained `ResNetRecognizer`, whose features the perceptual term compares."""
    perceptual: float = 1.0
    """Weight of the distance between the recogniser's features."""
    identity: float = 0.2
    """Weight of 1 − cosine between the embeddings of image and reconstruction."""
    detail: float = 0.0
    """Weight of the distance between Haar details at three scales."""
    decoder_only: bool = False
    """Leave the encoder as it is, and what learned its latents of use: the finish of a trained one (--start)."""
    adversarial: float = 0.0
    """Weight of a critic of patches."""
    texture: float = 0.0
    """Weight of the difference in the local energy of fine detail."""
    latent_noise: float = 0.15
    """Standard deviation of the noise on the unit-variance latents while training."""
    generator: Path | None = None
    """Folder of a denoiser that was trained on these latents: half of them are replaced by what it makes of them
    through a little noise. Those are as smooth as what it paints, and the decoder learns to give them their grain."""
    most_smoothing: float = 0.3
    """How much noise that is at most: the σ of the flow."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.generator is not None and not self.decoder_only:
            raise InputError("With generator the encoder stays as the denoiser knows it: add decoder_only and start.")
        if not 0 < self.most_smoothing < 1:
            raise InputError(f"most_smoothing lies between 0 and 1, got {self.most_smoothing}.")


class AutoencoderTask(Task):
    """An autoencoder and the frozen recogniser that compares."""

    args: AutoencoderArgs

    def __init__(self, args: AutoencoderArgs, faces: Faces, held_out: Faces, recognizer: ResNetRecognizer):
        super().__init__()
        torch.manual_seed(args.seed)
        self.args, self.faces, self.held_out = args, faces, held_out
        network: Any = build(FaceAutoencoder, args.model)
        self.network = network.to(memory_format=torch.channels_last)
        if args.decoder_only:
            network.encoder.requires_grad_(False)
        self.critic = Critic(network.config.latent_channels) if args.adversarial else None
        recognizer = recognizer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frozen = (recognizer,)
        self.denoiser: tuple[IdentityDiT, ...] = ()
        if args.generator is not None:
            self.denoiser = (frozen(args.generator, IdentityDiT).eval(),)
            takes, given = self.denoiser[0].config, (network.config.latent_channels, recognizer.config.embedding_dim)
            if (takes.in_channels, takes.identity_dim) != given:
                raise InputError(f"The denoiser in {args.generator} is of other latents or another recogniser.")

    def optimizers(self) -> list[Optimizer]:
        a, mine = self.args, [p for p in self.network.parameters() if p.requires_grad]
        found: list[Optimizer] = [AdamW(mine, a.lr, self.betas, weight_decay=a.weight_decay, fused=True)]
        if self.critic is not None:
            found.append(AdamW(self.critic.parameters(), a.lr, (0.0, 0.99), weight_decay=0.0))
        return found

    def _compare(self, wanted: Tensor, got: Tensor) -> dict[str, Tensor]:
        recognizer = self.frozen[0].to(wanted.device)
        size = recognizer.config.image_size
        with torch.no_grad():
            features = recognizer.features(_fit(wanted, size))
            target = recognizer.head(features[-1])
        made = recognizer.features(_fit(got, size))
        perceptual = torch.stack(
            [(a - b).abs().mean() / b.abs().mean() for a, b in zip(made[:4], features[:4], strict=True)]
        ).mean()
        cosine = F.cosine_similarity(recognizer.head(made[-1]).float(), target.float()).mean()
        difference = got.float() - wanted
        parts = {"l1": difference.abs().mean(), "perceptual": perceptual, "identity": 1 - cosine}
        return parts | {"detail": haar_details(difference)}

    def forward(self, step: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.network.train()
        rows = torch.randint(len(self.faces), (self.args.batch_size,), generator=generator).numpy()
        pixels = self.faces.pixels(rows, self.device)
        flipped = augment.Random(generator, self.device).choose(len(rows), 0.5)
        pixels[flipped] = pixels[flipped].flip(3)
        pixels = (pixels * 2 - 1).contiguous(memory_format=torch.channels_last)
        if self.args.decoder_only:
            self.network.encoder.eval()  # its batch norm's statistics, too, stay
        latents = self.network.encode(pixels).latents
        if self.denoiser:
            latents = torch.cat([self._smoothed(pixels, latents), latents[len(latents) // 2 :]])
        noisy = latents + self.args.latent_noise * torch.randn_like(latents)
        made = self.network.decode(noisy).sample
        parts = self._compare(pixels, made)
        weights = {"perceptual": self.args.perceptual, "identity": self.args.identity, "detail": self.args.detail}
        loss = parts["l1"] + sum(weight * parts[name] for name, weight in weights.items())
        if self.args.texture:
            parts["texture"] = texture(made, pixels)
            loss = loss + self.args.texture * parts["texture"]
        if self.critic is not None:
            parts["fooled"], parts["critic"] = self.critic.losses(pixels, made, latents.detach())
            loss = loss + self.args.adversarial * parts["fooled"] + parts["critic"]
        return loss, parts

    @torch.no_grad()
    def _smoothed(self, pixels: Tensor, latents: Tensor) -> Tensor:
        """The first half of the latents, as the denoiser sees them through noise, knowing who it is."""
        recognizer, denoiser = (network.to(pixels.device) for network in (self.frozen[0], self.denoiser[0]))
        pixels, latents = pixels[: len(pixels) // 2], latents[: len(latents) // 2] * self.network.config.scaling_factor
        who = F.normalize(recognizer(_fit(pixels, recognizer.config.image_size)).float())
        sigma = self.args.most_smoothing * torch.rand(len(latents), device=latents.device)
        weight = sigma[:, None, None, None]
        noised = (1 - weight) * latents + weight * torch.randn_like(latents)
        return (noised - weight * denoiser(noised, 1000 * sigma, who).float()) / self.network.config.scaling_factor

    def validate(self, network: FaceAutoencoder, out: Path) -> dict[str, float]:
        """L1 (of a range of 2), PSNR in dB and the cosine of embeddings on held-out people, without noise."""
        totals: dict[str, float] = {}
        rows = torch.arange(0, len(self.held_out), max(1, len(self.held_out) // 256)).split(32)
        for block in rows:
            pixels = self.held_out.pixels(block.numpy(), self.device) * 2 - 1
            made = network(pixels).float().clamp(-1, 1)
            parts = self._compare(pixels, made)
            parts["psnr"] = (-10 * ((made - pixels) / 2).square().mean((1, 2, 3)).log10()).mean()
            for name, value in parts.items():
                totals[f"val_{name}"] = totals.get(f"val_{name}", 0.0) + float(value) / len(rows)
        return totals


def haar_details(pixels: Tensor) -> Tensor:
    """Half the mean magnitude of the detail bands of (N, C, H, W) at three scales of the Haar transform: of a
    difference, what a blurred picture lacks (as LiteVAE's wavelet loss, Sadat et al. 2024)."""
    total = pixels.new_zeros(())
    for _ in range(3):
        a, b = pixels[..., ::2, ::2], pixels[..., ::2, 1::2]
        c, d = pixels[..., 1::2, ::2], pixels[..., 1::2, 1::2]
        for band in (a + b - c - d, a - b + c - d, a - b - c + d):
            total = total + band.abs().mean() / 6
        pixels = (a + b + c + d) / 4
    return total


def _fit(pixels: Tensor, size: int) -> Tensor:
    return F.interpolate(pixels, size=(size, size), mode="bilinear", align_corners=False)


def train_autoencoder(args: AutoencoderArgs) -> dict[str, float]:
    """Train the autoencoder; the network is written to `args.out/model`."""
    everybody = load_faces(args.data, args.size)
    faces, held_out = everybody.split_people(args.held_out_people)
    recognizer = frozen(args.recognizer, ResNetRecognizer)
    origin = {"data": everybody.content, "recognizer": digest(args.recognizer)}
    if args.generator is not None:
        origin["generator"] = digest(args.generator)
    origin["number of held-out people"] = str(held_out.people)
    return train(AutoencoderTask(args, faces, held_out, recognizer), args, origin)
