"""Train a recogniser, or the judge: another architecture and another loss by recipe, the same code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.modeling_utils import ModelMixin
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate, normalize, smooth_l1_loss
from torch.optim import AdamW, Optimizer

from idgen.ground import files
from idgen.ground.errors import InputError, require_package
from idgen.models.recognizer import PlainRecognizer, ResNetRecognizer
from idgen.scoring import verification
from idgen.training import augment
from idgen.training.data import Album, Faces, load_faces
from idgen.training.loop import FacesArgs, Task, build, digest, frozen, has_bf16, train

ARCHITECTURES: dict[str, type[ModelMixin]] = {"resnet": ResNetRecognizer, "plain": PlainRecognizer}


@dataclass(kw_only=True)
class RecognizerArgs(FacesArgs):
    """Train a recogniser on labelled, aligned faces."""

    architecture: str = "resnet"
    """`resnet` or `plain`."""
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


def _losses() -> Any:
    return require_package("pytorch_metric_learning.losses", "train", "Training a recogniser")


class RecognizerTask(Task):
    """A recogniser and the class vectors of its loss."""

    args: RecognizerArgs

    def __init__(self, args: RecognizerArgs, faces: Faces, held_out: Faces):
        super().__init__()
        torch.manual_seed(args.seed)
        self.args, self.faces, self.held_out = args, faces, held_out
        if args.architecture not in ARCHITECTURES:
            raise InputError(f"No architecture {args.architecture!r}: choose {' or '.join(ARCHITECTURES)}.")
        network: Any = build(ARCHITECTURES[args.architecture], args.model)
        self.network = network.to(memory_format=torch.channels_last)
        size, people = self.network.config.embedding_dim, faces.people
        losses = _losses()
        kinds: dict[str, tuple[Any, dict[str, float]]] = {
            "cosface": (losses.CosFaceLoss, {"margin": args.margin, "scale": args.scale}),
            "arcface": (losses.ArcFaceLoss, {"margin": args.margin * 57.29578, "scale": args.scale}),
            "proxy_anchor": (losses.ProxyAnchorLoss, {"margin": args.margin, "alpha": args.scale}),
        }
        if args.loss not in kinds:
            raise InputError(f"No loss {args.loss!r}: choose cosface, arcface or proxy_anchor.")
        kind, options = kinds[args.loss]
        self.loss: Any = kind(people, size, **options)
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

    def class_vectors(self) -> Tensor:
        """(C, D) one a person, as the loss has them."""
        (vectors,) = self.loss.parameters()
        return vectors if self.args.loss == "proxy_anchor" else vectors.T

    def forward(self, step: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.network.train()
        device, config = self.device, self.network.config
        rows = torch.randint(len(self.faces), (self.args.batch_size,), generator=generator).numpy()
        labels = torch.from_numpy(self.faces.labels[rows]).to(device)
        with torch.autocast(device.type, enabled=False):
            pixels = self.faces.pixels(rows, device)
            pixels = augment.recognition(pixels, generator, config.image_size, self.args.colour, self.args.often)
        pixels = (pixels * 2 - 1).contiguous(memory_format=torch.channels_last)
        rated = None
        if config.get("quality"):
            embeddings, rated = self.network.embed_and_rate(pixels)
        else:
            embeddings = self.network(pixels)
        self.loss.margin = self.full_margin * min(1.0, step / max(1.0, self.args.margin_warmup * self.args.steps))
        with torch.autocast(device.type, enabled=False):  # the loss would cast its class vectors to bf16 for good
            loss = self.loss(embeddings.float(), labels)
            if rated is None:
                return loss, {}
            certainty = certainty_ratio(embeddings.detach().float(), self.class_vectors().detach(), labels)
            quality = smooth_l1_loss(rated.float(), certainty, beta=0.5)
        return loss + 10 * quality, {"certainty": certainty.mean(), "quality": quality}  # λ of CR-FIQA

    def validate(self, network: ModelMixin, out: Path) -> dict[str, float]:
        """EER and TAR at FMR 1e-3 over all pairs of the held-out people."""
        genuine, impostor = verification.pair_scores(embed(network, self.held_out), self.held_out.labels)
        return {
            "eer": verification.eer(genuine, impostor),
            "tar_1e-3": verification.tar_at_fmr(genuine, impostor, 1e-3),
        }


def certainty_ratio(embeddings: Tensor, class_vectors: Tensor, labels: Tensor) -> Tensor:
    """(N,) how surely faces are of their class: the cosine to the own class vector ÷ (that to the nearest other one +
    1), CR-FIQA's certainty ratio (Boutros et al. 2023); of embeddings (N, D), class vectors (C, D) and labels (N,)."""
    cosines = normalize(embeddings) @ normalize(class_vectors).T
    own = cosines.gather(1, labels[:, None])[:, 0]
    nearest = cosines.scatter(1, labels[:, None], -1.0).amax(1)
    return own / (nearest + 1 + 1e-9)


def embed(network: Any, faces: Faces, flip: bool = False) -> Tensor:
    """Unit embeddings (N, D) of aligned faces, by a network in eval mode; with `flip`, summed with the mirrored
    image's."""
    device, size = next(network.parameters()).device, network.config.image_size
    out = []
    for rows in np.split(np.arange(len(faces)), range(64, len(faces), 64)):
        pixels = faces.pixels(rows, device)
        pixels = interpolate(pixels, size=(size, size), mode="bilinear", antialias=True) * 2 - 1
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        embedding = network(pixels).float()
        if flip:
            embedding = embedding + network(pixels.flip(3)).float()
        out.append(normalize(embedding).cpu())
    return torch.cat(out)


def content_key(network: Path, faces: Faces) -> str:
    """A name, of the weights' and the images' bytes, for what a network in a folder makes of some faces."""
    content = faces.content or hashlib.sha256(faces.images.tobytes() + str(faces.images.shape).encode()).hexdigest()
    return f"{digest(network)}-{content[:16]}"


def cached(file: Path, make: Callable[[], NDArray[Any]], device: str, bf16: bool) -> NDArray[Any]:
    """The array in a file of the cache, as a read-only memory map; `make` makes it first if it is not there, without
    gradients, on a device, in bfloat16 or not."""
    if not file.exists():
        files.check_cache(file)
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
            array = make()
        with files.aside(file) as beside, beside.open("wb") as opened:
            np.save(opened, array)
    return np.load(file, mmap_mode="r")


def cached_embeddings(recognizer: Path, faces: Faces, device: str | None = None) -> Tensor:
    """Unit embeddings (N, D) of all faces, summed with the mirrored images', by the recogniser in a folder; kept in the
    cache."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")

    def make() -> NDArray[np.float32]:
        network = frozen(recognizer, ModelMixin).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return embed(network, faces, flip=True).numpy()

    file = files.cache("embeddings", f"{content_key(recognizer, faces)}.npy")
    return torch.from_numpy(np.array(cached(file, make, device, has_bf16(device))))


def train_recognizer(args: RecognizerArgs) -> dict[str, float]:
    """Train a recogniser; the network is written to `args.out/model`."""
    _losses()  # refused before the faces are decoded
    everybody = load_faces(args.data, args.size)
    faces, held_out = everybody.split_people(args.held_out_people)
    if faces.people < 2:
        raise InputError(
            f"A recogniser learns to tell people apart, and {args.data} has but {faces.people} to learn from, beside "
            f"{held_out.people} held out: give more people, or hold out fewer (--held-out-people)."
        )
    # All pairs are compared, so the pictures of a person are few where the people are many.
    held_out = held_out.subset(Album(held_out.labels).first(max(2, 5000 // held_out.people)))
    if held_out.people < 2 or len(held_out) == held_out.people:
        raise InputError(
            f"The {held_out.people} people held out have {len(held_out)} pictures: at least 2 people and somebody with "
            "2 pictures are needed, or nothing can be validated."
        )
    origin = {"data": everybody.content, "number of held-out people": str(held_out.people)}
    origin |= {"architecture": args.architecture, "loss": args.loss}
    return train(RecognizerTask(args, faces, held_out), args, origin)
