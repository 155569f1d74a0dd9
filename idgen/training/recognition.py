"""Train a recogniser, or the judge: another architecture and another loss by recipe, the same code."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.modeling_utils import ModelMixin
from numpy.typing import NDArray
from pytorch_metric_learning import losses
from torch import Generator, Tensor, nn
from torch.optim import AdamW, Optimizer

from idgen import files
from idgen.errors import InputError
from idgen.models.recognizer import PlainRecognizer, ResNetRecognizer
from idgen.scoring import verification
from idgen.training import augment
from idgen.training.data import Faces, load_faces, occurrence
from idgen.training.loop import RunArgs, build, digest, frozen, has_bf16, train

ARCHITECTURES: dict[str, type[ModelMixin]] = {"resnet": ResNetRecognizer, "plain": PlainRecognizer}
_VALIDATED = 5000  # pictures


@dataclass(kw_only=True)
class RecognizerArgs(RunArgs):
    """Train a recogniser on labelled, aligned faces."""

    data: Path
    """Parquet file or folder, or a folder with one sub-folder a person."""
    held_out_people: int | None = None
    """The last people of `data`, kept for validation; by default a tenth of them, at most 300."""
    architecture: str = "resnet"
    """`resnet` or `plain`."""
    model: dict[str, Any] = field(default_factory=dict)
    """Arguments of the architecture."""
    loss: str = "cosface"
    """`cosface` (Wang et al. 2018), `arcface` (Deng et al. 2019) or `proxy_anchor` (Kim et al. 2020)."""
    margin: float = 0.35
    """cosface: in cosine. arcface: in radians. proxy_anchor: in cosine."""
    scale: float = 32.0
    margin_warmup: float = 0.33
    """Share of the steps over which the margin grows from 0: a small network does not start with the full one."""
    colour: float = 0.7
    """Strength of the colour augmentation."""
    often: float = 1.0
    """Factor on how often images are augmented; resuming with less at the end of a training brings it closer to the
    pictures that it is measured on (Touvron et al. 2019), at the cost of some robustness."""


class RecognizerTask(nn.Module):
    """A recogniser and the class vectors of its loss."""

    def __init__(self, args: RecognizerArgs, faces: Faces, held_out: Faces):
        super().__init__()
        torch.manual_seed(args.seed)
        self.args, self.faces, self.held_out = args, faces, held_out
        if args.architecture not in ARCHITECTURES:
            raise InputError(f"No architecture {args.architecture!r}: choose {' or '.join(ARCHITECTURES)}.")
        network: Any = build(ARCHITECTURES[args.architecture], args.model)
        self.network = network.to(memory_format=torch.channels_last)
        size, people = self.network.config.embedding_dim, faces.people
        self.loss: Any
        if args.loss == "cosface":
            self.loss = losses.CosFaceLoss(people, size, margin=args.margin, scale=args.scale)
        elif args.loss == "arcface":
            self.loss = losses.ArcFaceLoss(people, size, margin=args.margin * 57.29578, scale=args.scale)
        elif args.loss == "proxy_anchor":
            self.loss = losses.ProxyAnchorLoss(people, size, margin=args.margin, alpha=args.scale)
        else:
            raise InputError(f"No loss {args.loss!r}: choose cosface, arcface or proxy_anchor.")
        self.full_margin = self.loss.margin
        # The package draws class vectors of length √D; only their direction counts, and short ones turn faster.
        for vectors in self.loss.parameters():
            nn.init.normal_(vectors, std=0.05)

    def optimizers(self) -> list[Optimizer]:
        networks = [p for p in self.network.parameters() if p.ndim > 1]
        scales = [p for p in self.network.parameters() if p.ndim <= 1]
        # Few images reach each class vector, so none decays; proxies learn faster (Kim et al. 2020, §4.1).
        faster = 10.0 if self.args.loss == "proxy_anchor" else 1.0
        groups = [
            {"params": networks, "weight_decay": self.args.weight_decay},
            {"params": scales, "weight_decay": 0.0},
            {"params": list(self.loss.parameters()), "weight_decay": 0.0, "lr": self.args.lr * faster},
        ]
        return [AdamW(groups, lr=self.args.lr, betas=(0.9, 0.99), fused=True)]

    def forward(self, step: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.network.train()
        device = next(self.network.parameters()).device
        rows = torch.randint(len(self.faces), (self.args.batch_size,), generator=generator).numpy()
        labels = torch.from_numpy(self.faces.labels[rows]).to(device)
        with torch.autocast(device.type, enabled=False):
            pixels = augment.recognition(
                self.faces.pixels(rows, device),
                generator,
                self.network.config.image_size,
                self.args.colour,
                self.args.often,
            )
        embeddings = self.network((pixels * 2 - 1).contiguous(memory_format=torch.channels_last))
        grown = min(1.0, step / max(1.0, self.args.margin_warmup * self.args.steps))
        self.loss.margin = self.full_margin * grown
        with torch.autocast(device.type, enabled=False):  # the loss would cast its class vectors to bf16 for good
            loss = self.loss(embeddings.float(), labels)
        return loss, {}

    def validate(self, network: ModelMixin, out: Path) -> dict[str, float]:
        """EER and TAR at FMR 1e-3 over all pairs of the held-out people."""
        genuine, impostor = verification.pair_scores(embed(network, self.held_out), self.held_out.labels)
        return {
            "eer": verification.eer(genuine, impostor),
            "tar_1e-3": verification.tar_at_fmr(genuine, impostor, 1e-3),
        }


def embed(network: nn.Module, faces: Faces, batch_size: int = 64, flip: bool = False) -> Tensor:
    """Unit embeddings (N, D) of aligned faces, by a network in eval mode; with `flip`, summed with the mirrored
    image's."""
    device = next(network.parameters()).device
    out = []
    size: int = network.config.image_size  # type: ignore[union-attr, assignment]
    for start in range(0, len(faces), batch_size):
        rows = torch.arange(start, min(start + batch_size, len(faces))).numpy()
        pixels = faces.pixels(rows, device)
        pixels = nn.functional.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True) * 2 - 1
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        embedding = network(pixels).float()
        if flip:
            embedding = embedding + network(pixels.flip(3)).float()
        out.append(nn.functional.normalize(embedding).cpu())
    return torch.cat(out)


def content_key(network: Path, faces: Faces) -> str:
    """A name for what a network in a folder makes of some faces: of the weights' and the images' bytes.

    Raises:
        InputError: there is no network.
    """
    content = faces.content or hashlib.sha256(faces.images.tobytes() + str(faces.images.shape).encode()).hexdigest()
    return f"{digest(network)}-{content[:16]}"


def save_aside(file: Path, array: NDArray[Any]) -> None:
    """`np.save`, beside and then in one move."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(f".{os.getpid()}.npy")
    np.save(aside, array)
    aside.rename(file)


def cached_embeddings(recognizer: Path, faces: Faces, device: str | None = None) -> Tensor:
    """Unit embeddings (N, D) of all faces, summed with the mirrored images', by the recogniser in a folder; kept in the
    cache."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    file = files.cache("embeddings") / f"{content_key(recognizer, faces)}.npy"
    if not file.exists():
        network = frozen(recognizer, ModelMixin).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=has_bf16(device)):
            save_aside(file, embed(network, faces, flip=True).numpy())
    return torch.from_numpy(np.load(file))


def train_recognizer(args: RecognizerArgs) -> dict[str, float]:
    """Train a recogniser; the network is written to `args.out/model`."""
    everybody = load_faces(args.data, args.size)
    faces, held_out = everybody.split_people(args.held_out_people)
    # All pairs are compared, so the pictures of a person are few where the people are many.
    most = max(2, _VALIDATED // held_out.people)
    held_out = held_out.subset(np.flatnonzero(occurrence(held_out.labels) < most))
    if held_out.people < 2 or len(held_out) == held_out.people:
        raise InputError(
            f"The {held_out.people} people held out have {len(held_out)} pictures: at least 2 people and somebody with "
            "2 pictures are needed, or nothing can be validated."
        )
    origin = {"data": everybody.content, "number of held-out people": str(held_out.people)}
    origin |= {"architecture": args.architecture, "loss": args.loss}
    return train(RecognizerTask(args, faces, held_out), args, origin)
