"""Train the flow that people who do not exist are sampled from, on the recognition vectors of training people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn.functional import normalize

from idgen.ground.attributes import HABITS, PERSON
from idgen.ground.errors import InputError
from idgen.ground.identity import centres
from idgen.models.identity_flow import IdentityFlow
from idgen.sampling.axes import BENT, axes_needed
from idgen.sampling.fitting import flow_coordinates, neighbourhood
from idgen.training.augment import Random
from idgen.training.data import Album, Faces, hold_out, load_faces
from idgen.training.embedding import cached_embeddings
from idgen.training.loop import FacesArgs, Task, build, digest, train


@dataclass(kw_only=True)
class SamplerArgs(FacesArgs):
    """Train the flow that samples people, with a trained recogniser."""

    recognizer: Path
    """Folder of the recogniser whose vectors are to be sampled."""
    references: int = 8
    """A training vector is the mean of this many random pictures of a person."""


class SamplerTask(Task):
    """The flow and the vectors it learns."""

    args: SamplerArgs
    betas = (0.9, 0.999)

    def __init__(self, args: SamplerArgs, embeddings: Tensor, labels: NDArray[np.int64], told: Tensor | None = None):
        super().__init__()
        torch.manual_seed(args.seed)
        self.args, self.embeddings, self.album = args, embeddings, Album(labels)
        people = centres(embeddings, labels)
        shown = len(people) - hold_out(len(people), args.held_out_people)
        self.people, self.held_out = people[:shown], people[shown:]
        if shown < 3:
            raise InputError(f"A flow of {shown} people cannot be learned: give at least 3 that are not held out.")
        components = axes_needed(self.people, min(shown - 1, embeddings.shape[1]))
        components = args.model.get("components", components)
        fitted, shaped = flow_coordinates(self.people, components, None if told is None else told[:shown])
        sizes = {"identity_dim": embeddings.shape[1], "components": components, "shaped": shaped}
        sizes["bent"] = axes_needed(self.people, components, BENT)
        self.network = build(IdentityFlow, args.model, **sizes)
        self.network.fit(self.people, *fitted)

    def _loss(self, network: IdentityFlow, vectors: Tensor, generator: Generator) -> Tensor:
        device = network.mean.device
        rng = Random(generator, device)
        noise = rng.normal((len(vectors), len(network.axes)))
        return network.loss(vectors.to(device), noise, rng.normal((len(vectors),)).sigmoid())

    def forward(self, step: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.network.train()
        people = torch.randint(len(self.people), (self.args.batch_size,), generator=generator)
        rows = self.album.draw(people, self.args.references, generator)
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


def train_sampler(args: SamplerArgs) -> dict[str, float]:
    """Train the flow; the network is written to `args.out/model`."""
    faces = load_faces(args.data, args.size)
    embeddings = cached_embeddings(args.recognizer, faces, args.device)
    task = SamplerTask(args, embeddings, faces.labels, _traits(faces))
    origin = {"data": faces.content, "recognizer": digest(args.recognizer)}
    origin["number of held-out people"] = str(len(task.held_out))
    return train(task, args, origin)


def _traits(faces: Faces) -> Tensor | None:
    """(P, n) everybody's mean of what the set tells of a person in numbers; None where it tells nothing."""
    names = [*PERSON, *(name for group in HABITS for name in group if name not in PERSON)]
    columns = [faces.columns[name] for name in names if name in faces.columns]
    told = [torch.from_numpy(values.astype(np.float32)) for values in columns if values.dtype.kind in "bfiu"]
    if not told:
        return None
    rows, labels = torch.stack(told, 1), torch.from_numpy(faces.labels)
    return torch.stack([rows[labels == label].nanmean(0) for label in labels.unique()])
