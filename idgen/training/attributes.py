"""Train the network that reads from a face what the picture looks like, on a set whose labels say it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from idgen.evaluation.attributes import reading_errors
from idgen.ground import attributes
from idgen.ground.errors import InputError
from idgen.models.attribute_net import AttributeNet
from idgen.training import augment
from idgen.training.data import Faces, load_faces
from idgen.training.loop import FacesArgs, Task, build, train


@dataclass(kw_only=True)
class AttributesArgs(FacesArgs):
    """Train the attribute reader on labelled, aligned faces."""

    balance: float = 0.5
    """How far rare names count more in the loss: 0 not at all, 1 until all count alike."""
    often: float = 0.5
    """Factor on how often images are blurred, made noisy, small or otherwise worse."""


class AttributesTask(Task):
    """The reader, and what it is to read."""

    args: AttributesArgs

    def __init__(self, args: AttributesArgs, faces: Faces, held_out: Faces):
        super().__init__()
        torch.manual_seed(args.seed)
        self.args, self.faces, self.held_out = args, faces, held_out
        labels = attributes.labels(faces.columns)
        known = attributes.found_in(labels, person=True)
        if not known:
            raise InputError(f"{args.data} does not say what its pictures look like: columns such as yaw are needed.")
        network: Any = build(AttributeNet, args.model, attributes=known)
        self.network = network.to(memory_format=torch.channels_last)
        self.vocabulary = network.vocabulary
        self.told = torch.from_numpy(self.vocabulary.rows(labels))
        self.held_out_told = self.vocabulary.rows(attributes.labels(held_out.columns))
        self.mirror = torch.tensor([-1.0 if name in attributes.MIRRORED else 1.0 for name in self.vocabulary.names])
        self.weights = [self._weights(place, name) for place, name in enumerate(self.vocabulary.names)]

    def _weights(self, place: int, name: str) -> Tensor | None:
        if not self.vocabulary.named(name):
            return None
        column = self.told[:, place]
        counts = torch.bincount(column[column.isfinite()].long(), minlength=len(self.vocabulary.values[name])).float()
        weights = (counts.clamp(min=1) / counts.sum()) ** -self.args.balance
        return weights / (weights * counts).sum() * counts.sum()

    def forward(self, step: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.network.train()
        rows = torch.randint(len(self.faces), (self.args.batch_size,), generator=generator)
        rng = augment.Random(generator, self.device)
        told = self.told[rows].clone()
        with torch.autocast(self.device.type, enabled=False):
            pixels = self.faces.pixels(rows.numpy(), self.device)
            mirrored = rng.choose(len(rows), 0.5)
            pixels[mirrored] = pixels[mirrored].flip(3)
            told[mirrored.cpu()] *= self.mirror
            size = self.network.config.image_size
            # A little, as alignment errs; how a head is turned is what is to be read.
            pixels = augment.affine(pixels, rng, size, scale=0.05, rotate=0, shift=0.02, flip=False)
            changes = [(0.3, lambda some, rng: augment.colour(some, rng, 0.3)), (0.15, augment.rescale)]
            changes += [(0.15, augment.blur), (0.2, augment.noise), (0.3, augment.jpeg)]
            augment.sometimes(pixels, rng, changes, self.args.often)
        pixels = (pixels.clamp(0, 1) * 2 - 1).contiguous(memory_format=torch.channels_last)
        outputs = self.network(pixels)
        weights = [None if weight is None else weight.to(self.device) for weight in self.weights]
        with torch.autocast(self.device.type, enabled=False):
            return self.network.misses(outputs, told.to(self.device), weights).sum(), {}

    def validate(self, network: AttributeNet, out: Path) -> dict[str, float]:
        """On held-out people, see `reading_errors`: the mean error of a number, the balanced accuracy of names."""
        size, read = network.config.image_size, []
        for rows in np.split(np.arange(len(self.held_out)), range(64, len(self.held_out), 64)):
            pixels = interpolate(self.held_out.pixels(rows, self.device), (size, size), mode="bilinear", antialias=True)
            read.append(network.rows(network(pixels * 2 - 1)).cpu())
        errors = reading_errors(torch.cat(read).numpy(), self.held_out_told, self.vocabulary)
        return {name: each.get("error", each.get("balanced", 0.0)) for name, each in errors.items()}


def train_attributes(args: AttributesArgs) -> dict[str, float]:
    """Train the attribute reader; the network is written to `args.out/model`."""
    everybody = load_faces(args.data, args.size)
    faces, held_out = everybody.split_people(args.held_out_people)
    origin = {"data": everybody.content, "number of held-out people": str(held_out.people)}
    return train(AttributesTask(args, faces, held_out), args, origin)
