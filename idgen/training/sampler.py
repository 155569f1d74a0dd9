"""Train the flow that people who do not exist are sampled from, on the recognition vectors of training people."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize
from torch.optim import AdamW, Optimizer

from idgen.errors import InputError
from idgen.identity import centres
from idgen.models.identity_flow import IdentityFlow
from idgen.sampling.sampler import principal_axes
from idgen.training.augment import Random
from idgen.training.data import hold_out, load_faces
from idgen.training.loop import RunArgs, build, digest, train
from idgen.training.recognition import cached_embeddings


@dataclass(kw_only=True)
class SamplerArgs(RunArgs):
    """Train the flow that samples people, with a trained recogniser."""

    data: Path
    """Parquet file or folder, or a folder with one sub-folder a person."""
    recognizer: Path
    """Folder of the recogniser whose vectors are to be sampled."""
    held_out_people: int | None = None
    """The last people of `data`, kept for validation; by default a tenth of them, at most 300."""
    references: int = 8
    """A training vector is the mean of this many random pictures of a person."""
    model: dict[str, Any] = field(default_factory=dict)
    """Arguments of `IdentityFlow`."""


class SamplerTask(nn.Module):
    """The flow and the vectors it learns."""

    def __init__(self, args: SamplerArgs, embeddings: Tensor, labels: Tensor):
        super().__init__()
        torch.manual_seed(args.seed)
        self.args, self.embeddings = args, embeddings
        self.order = torch.argsort(labels, stable=True)  # pictures person by person
        self.counts = torch.bincount(labels)
        self.starts = self.counts.cumsum(0) - self.counts
        people = centres(embeddings, labels.numpy())
        shown = len(people) - hold_out(len(people), args.held_out_people)
        self.people, self.held_out = people[:shown], people[shown:]
        if shown < 3:
            raise InputError(f"A flow of {shown} people cannot be learned: give at least 3 that are not held out.")
        components = min(64, shown - 1, embeddings.shape[1])  # as many as people and vectors have
        self.network = build(IdentityFlow, args.model, identity_dim=embeddings.shape[1], components=components)
        mean, axes, deviations = principal_axes(self.people, len(self.network.axes))
        self.network.mean.copy_(mean)
        self.network.axes.copy_(axes)
        self.network.deviations.copy_(deviations)

    def optimizers(self) -> list[Optimizer]:
        a = self.args
        return [AdamW(self.network.parameters(), lr=a.lr, weight_decay=a.weight_decay, fused=True)]

    def _loss(self, network: IdentityFlow, vectors: Tensor, generator: Generator) -> Tensor:
        device = network.mean.device
        rng = Random(generator, device)
        clean = network.to_coordinates(vectors.to(device))
        noise, time = rng.normal(tuple(clean.shape)), rng.normal((len(clean),)).sigmoid()
        mixed = (1 - time[:, None]) * clean + time[:, None] * noise
        # An error counts by what it moves: an axis by its variance.
        weight = network.deviations.square() / network.deviations.square().mean()
        return ((network(mixed, time).float() - (noise - clean)).square() * weight).mean()

    def forward(self, step: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.network.train()
        n = self.args.batch_size
        person = torch.randint(len(self.people), (n, 1), generator=generator)
        draws = torch.rand(n, self.args.references, generator=generator)
        rows = self.order[self.starts[person] + (draws * self.counts[person]).long()]
        return self._loss(self.network, normalize(self.embeddings[rows].sum(1)), generator), {}

    def validate(self, network: IdentityFlow, out: Path) -> dict[str, float]:
        """The loss on held-out people, and the mean cosine to the nearest training person and the mean distance to the
        flat through near ones, of samples and of held-out people: equal where samples live where people do."""
        generator = Generator().manual_seed(0)
        device = network.mean.device
        with torch.autocast(device.type, enabled=False):
            sampled = network.sample(torch.randn(len(self.held_out), len(network.axes), generator=generator).to(device))
            loss = self._loss(network, self.held_out.repeat(16, 1), generator)
            real, drawn = (neighbourhood(vectors, self.people) for vectors in (self.held_out, sampled.cpu()))
        return {
            "val_loss": float(loss),
            "nearest_real": real[0],
            "nearest_sampled": drawn[0],
            "off_real": real[1],
            "off_sampled": drawn[1],
        }


def neighbourhood(vectors: Tensor, people: Tensor, near: int = 24, flat: int = 12) -> tuple[float, float]:
    """Of unit vectors (N, D): the mean cosine to the nearest of `people` (P, D), and the mean distance to the
    `flat`-dimensional plane through the `near` nearest of them."""
    cosines, rows = (vectors @ people.T).topk(min(near, len(people)), 1)
    around = people[rows]
    middle = around.mean(1, keepdim=True)
    plane = torch.linalg.svd(around - middle, full_matrices=False).Vh[:, :flat]
    aside = vectors[:, None] - middle
    aside = aside - aside @ plane.transpose(1, 2) @ plane
    return float(cosines[:, 0].mean()), float(aside.norm(dim=2).mean())


def train_sampler(args: SamplerArgs) -> dict[str, float]:
    """Train the flow; the network is written to `args.out/model`."""
    faces = load_faces(args.data, args.size)
    embeddings = cached_embeddings(args.recognizer, faces, args.device)
    task = SamplerTask(args, embeddings, torch.from_numpy(faces.labels))
    origin = {"data": faces.content, "recognizer": digest(args.recognizer)}
    origin["number of held-out people"] = str(len(task.held_out))
    return train(task, args, origin)
