"""Train the identity-conditioned denoiser by flow matching in the autoencoder's latent.

The condition of an image is the mean recognition vector of a few random pictures of its person, seldom only its own:
an image's own vector also tells pose and light, and a generator that reads them there draws the same picture again and
again.

Where the set has labels of what a picture looks like, the denoiser is told them as well, all or some: what is told is
not left to chance, so less has to be learned, and what a user leaves open can be drawn as the pictures have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor
from torch.optim import AdamW, Muon, Optimizer
from tqdm.auto import tqdm

from idgen.ground import attributes, files
from idgen.models.autoencoder import FaceAutoencoder
from idgen.models.dit import IdentityDiT
from idgen.models.recognizer import ResNetRecognizer
from idgen.scoring import verification
from idgen.training.augment import Random
from idgen.training.data import Album, Faces, hold_out, load_faces, on_gpu
from idgen.training.embedding import cached, cached_embeddings, content_key, digest_of_latents
from idgen.training.loop import FacesArgs, Task, build, digest, frozen, train

FAR = 40
"""Degrees of yaw from which on a head is turned far: there are few such pictures, and they are the hard ones."""


@dataclass(kw_only=True)
class GeneratorArgs(FacesArgs):
    """Train the denoiser on aligned faces, with a trained recogniser and autoencoder."""

    recognizer: Path
    """Folder of the recogniser whose vectors condition."""
    autoencoder: Path
    """Folder of the autoencoder in whose latents the denoiser works."""
    most_references: int = 8
    """The condition is the mean of 1 to this many random pictures of the person."""
    drop_identity: float = 0.1
    """Share of images trained with the learned empty identity, for classifier-free guidance (Ho & Salimans 2022)."""
    told_all: float = 0.5
    """Share of images trained with all their attributes told; of the others a random part is."""
    direction_weight: float = 0.0
    """Weight of 1 − cosine between predicted and true velocity (Yao et al. 2025, §3.2)."""
    identity_weight: float = 0.0
    """Weight of 1 − cosine between the condition and the embedding of the decoded estimate of the image."""
    identity_images: int = 16
    """How many images of a batch that loss is computed on."""


def cached_latents(args: GeneratorArgs, faces: Faces) -> NDArray[np.float16]:
    """Latents (2, N, C, h, w) of all images and their mirror images; kept in the cache."""
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")

    def make() -> NDArray[np.float16]:
        network = frozen(args.autoencoder, FaceAutoencoder).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        halves: list[list[NDArray[np.float16]]] = [[], []]
        for start in tqdm(range(0, len(faces), 64), desc="encoding", mininterval=5):
            pixels = faces.pixels(np.arange(start, min(start + 64, len(faces))), device) * 2 - 1
            for image, half in zip((pixels, pixels.flip(3)), halves, strict=True):
                latents = network.encode(image.contiguous(memory_format=torch.channels_last)).latents
                half.append((latents * network.config.scaling_factor).half().cpu().numpy())
        return np.stack([np.concatenate(half) for half in halves])

    file = files.cache("latents", f"{content_key(args.autoencoder, faces)}.npy")
    return cached(file, make, device, args.precision == "bf16")


class GeneratorTask(Task):
    """The denoiser, and the frozen decoder and recogniser of its identity loss."""

    args: GeneratorArgs

    def __init__(self, args: GeneratorArgs, faces: Faces):
        super().__init__()
        self.args = args
        self.latents = cached_latents(args, faces)
        self.embeddings = cached_embeddings(args.recognizer, faces, args.device)
        self.album, self.labels = Album(faces.labels), torch.from_numpy(faces.labels)
        self.held_out_people = hold_out(faces.people, args.held_out_people, 100)
        shown = self.labels < faces.people - self.held_out_people
        self.rows, self.held_out = shown.nonzero()[:, 0], (~shown).nonzero()[:, 0]
        labels = attributes.labels(faces.columns)
        known = attributes.found_in(labels)
        vocabulary = attributes.Vocabulary(known)
        self.told = torch.from_numpy(vocabulary.rows(labels)) if known else torch.zeros(len(faces), 0)
        mirrored = [name in attributes.MIRRORED for name in vocabulary.names]
        self.mirror = torch.where(torch.tensor(mirrored, dtype=torch.bool), -1.0, 1.0)
        self.rows = torch.cat([self.rows, *_rare(self.told[self.rows], vocabulary, self.rows)])
        torch.manual_seed(args.seed)  # after the caches, whose making may draw
        self.network = build(
            IdentityDiT,
            args.model,
            in_channels=self.latents.shape[2],
            sample_size=self.latents.shape[3],
            identity_dim=self.embeddings.shape[1],
            attributes=known or None,
        )
        self.frozen = frozen(args.autoencoder, FaceAutoencoder), frozen(args.recognizer, ResNetRecognizer)

    def optimizers(self) -> list[Optimizer]:
        # Muon (Jordan et al. 2024) for the matrices inside the blocks, AdamW for everything else; one rate serves both.
        inner = [p for n, p in self.network.blocks.named_parameters() if p.ndim == 2 and "modulation" not in n]
        chosen = {id(p) for p in inner}
        others = [p for p in self.network.parameters() if id(p) not in chosen]
        a = self.args
        return [
            Muon(inner, lr=a.lr, weight_decay=a.weight_decay, adjust_lr_fn="match_rms_adamw"),
            AdamW(others, a.lr, self.betas, weight_decay=a.weight_decay, fused=True),
        ]

    def references(self, rows: Tensor, generator: Generator) -> Tensor:
        """Unit mean vectors (B, D) of 1 … `most_references` pictures drawn, with repeats, from each row's person."""
        most = self.args.most_references
        chosen = self.album.draw(self.labels[rows], most, generator)
        used = (torch.arange(most) < torch.randint(1, most + 1, (len(rows), 1), generator=generator)).float()
        return F.normalize(F.embedding_bag(chosen, self.embeddings, mode="sum", per_sample_weights=used))

    def _noised(self, rows: Tensor, generator: Generator, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Noised latents, velocities, and attributes; half of the images mirrored."""
        mirrored = torch.randint(2, (len(rows),), generator=generator)
        clean = self._clean(mirrored, rows)
        told = torch.where(mirrored[:, None].bool(), self.mirror, 1.0) * self.told[rows]
        noise = Random(generator, self.device).normal(tuple(clean.shape))
        sigma = sigma.to(self.device)[:, None, None, None]
        return (1 - sigma) * clean + sigma * noise, noise - clean, told

    @cached_property
    def _there(self) -> Tensor | None:
        return on_gpu(self.latents, self.device)

    def _clean(self, mirrored: Tensor, rows: Tensor) -> Tensor:
        """Latents (B, C, h, w)."""
        if self._there is None:
            return torch.from_numpy(self.latents[mirrored.numpy(), rows.numpy()]).to(self.device).float()
        return self._there[mirrored.to(self.device), rows.to(self.device)].float()

    def _left_open(self, told: Tensor, generator: Generator) -> Tensor:
        """Attributes (B, A) of which some are left open: so many as a rate drawn for each image says."""
        rate = torch.rand(len(told), 1, generator=generator)
        rate[torch.rand(len(told), generator=generator) < self.args.told_all] = 1.0
        return torch.where(torch.rand(told.shape, generator=generator) < rate, told, torch.nan)

    def forward(self, step: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.network.train()
        n, device = self.args.batch_size, self.device
        rows = self.rows[torch.randint(len(self.rows), (n,), generator=generator)]
        identity = self.references(rows, generator).to(device)
        # Logit-normal times (Esser et al. 2024): the middle of the path is the hard part.
        sigma = torch.randn(n, generator=generator).sigmoid()
        drop = (torch.rand(n, generator=generator) < self.args.drop_identity).to(device)
        sample, velocity, told = self._noised(rows, generator, sigma)
        told = self._left_open(told, generator).to(device)
        sigma = sigma.to(device)
        predicted = self.network(sample, 1000 * sigma, identity, drop, told).float()
        loss = (predicted - velocity).square().mean()
        logs = {"mse": loss.detach()}
        if self.args.direction_weight:
            turned = 1 - F.cosine_similarity(predicted.flatten(1), velocity.flatten(1), eps=1.0).mean()
            loss = loss + self.args.direction_weight * turned
        if self.args.identity_weight:
            some = slice(0, self.args.identity_images)
            clean = (sample - sigma[:, None, None, None] * predicted)[some]
            cosine = (self.recognise(clean) * identity[some]).sum(1)
            weight = ((1 - sigma) * ~drop)[some]
            miss = ((1 - cosine) * weight).sum() / weight.sum().clamp(min=1)
            loss = loss + self.args.identity_weight * miss
            logs["cosine"] = 1 - miss.detach()
        return loss, logs

    def recognise(self, latents: Tensor) -> Tensor:
        """Unit embeddings (B, D) of decoded latents, differentiable."""
        recognizer = self.frozen[1].to(latents.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        pixels, size = self.decode(latents), recognizer.config.image_size
        pixels = F.interpolate(pixels.float(), (size, size), mode="bilinear", antialias=True)
        return F.normalize(recognizer(pixels.contiguous(memory_format=torch.channels_last)).float())

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels (B, 3, H, W), about [-1, 1]."""
        decoder = self.frozen[0].to(latents.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cast(Tensor, decoder.decode(latents / decoder.config.scaling_factor).sample)

    def validate(self, network: IdentityDiT, out: Path) -> dict[str, float]:
        """On held-out people: the loss at fixed noise; and of two samples a person (12 Euler steps, guidance 2), the
        cosine to the wanted vector and the share above the threshold at FMR 1e-3, by the conditioning recogniser."""
        generator, device = Generator().manual_seed(0), self.device
        rows = self.held_out[torch.randperm(len(self.held_out), generator=generator)[:256]]
        sigma = torch.linspace(0.02, 0.98, len(rows))
        identity = self.references(rows, generator).to(device)
        sample, velocity, told = self._noised(rows, generator, sigma)
        told = told.to(device)
        loss = (network(sample, 1000 * sigma.to(device), identity, None, told).float() - velocity).square().mean()
        people = torch.unique(self.labels[self.held_out])
        centres = torch.stack([F.normalize(self.embeddings[self.labels == p].sum(0), dim=0) for p in people])
        scores = self.embeddings[self.held_out].numpy() @ centres.T.numpy()  # not in bf16
        others = self.labels[self.held_out][:, None] != people[None]
        threshold = verification.threshold_at_fmr(scores[others.numpy()], 1e-3)
        some = people[:48].repeat_interleave(2)
        wanted = centres[:48].repeat_interleave(2, 0).to(device)
        told = self.told[self.album.draw(some, 1, generator)[:, 0]].to(device)
        latents = torch.randn(len(wanted), *sample.shape[1:], generator=generator).to(device)
        nobody = torch.ones(len(wanted), dtype=torch.bool, device=device)
        times = torch.linspace(1, 0, 13)
        for now, following in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            time = torch.full((len(wanted),), 1000 * now, device=device)
            with_identity = network(latents, time, wanted, None, told).float()
            without = network(latents, time, wanted, nobody, told).float()
            latents = latents + (following - now) * (without + 2 * (with_identity - without))
        cosine = (self.recognise(latents) * wanted).sum(1)
        tiles = ((self.decode(latents).clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        across = min(12, len(tiles))
        sheet = [np.concatenate(tiles[i : i + across], 1) for i in range(0, len(tiles) - across + 1, across)]
        Image.fromarray(np.concatenate(sheet)).save(out / "samples.png")
        return {
            "val_mse": float(loss),
            "cosine": float(cosine.mean()),
            "match_1e-3": float((cosine >= threshold).float().mean()),
            "threshold": threshold,
        }


def _rare(told: Tensor, vocabulary: attributes.Vocabulary, rows: Tensor) -> list[Tensor]:
    """Of yes-or-no attributes that fewer than a tenth of the images have, and of heads turned far, these images again,
    up to three times."""
    again = []
    for place, name in enumerate(vocabulary.names):
        if name == "yaw":
            some = rows[told[:, place].abs() > FAR]
        elif vocabulary.values[name] == attributes.YES_NO:
            some = rows[told[:, place] == 1]
        else:
            continue
        times = 0.1 * len(rows) / max(1, len(some)) - 1
        again.append(some.repeat(max(0, min(3, round(times)))))
    return again


def train_generator(args: GeneratorArgs) -> dict[str, float]:
    """Train the denoiser; the network is written to `args.out/model`."""
    faces = load_faces(args.data, args.size)
    origin = {
        "data": faces.content,
        "recognizer": digest(args.recognizer),
        "autoencoder": digest_of_latents(args.autoencoder),
    }
    task = GeneratorTask(args, faces)
    origin["number of held-out people"] = str(task.held_out_people)
    return train(task, args, origin)
