"""A teacher for a recogniser: a network whose vectors of the same pictures are learned, too (PocketNet, Boutros et al.
2022). Of a training that kept snapshots, the teacher is as far as the student is: multi-step distillation."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate

from idgen.ground import files
from idgen.ground.errors import InputError
from idgen.training.loop import digest, frozen, trained_weights

SNAPSHOTS = "snapshots"


def networks(folder: str | Path) -> list[Path]:
    """The folders of a teacher's networks, in their order: its own, or those of a run's `snapshots/`.

    Raises:
        InputError: snapshots are missing.
    """
    numbered = sorted((path for path in Path(folder).glob("*") if path.name.isdigit()), key=lambda p: int(p.name))
    asked = files.read_json(run).get("snapshots") if (run := Path(folder).parent / "args.json").is_file() else None
    if numbered and asked and [path.name for path in numbered] != [str(k) for k in range(1, asked + 1)]:
        raise InputError(f"{folder} holds {len(numbered)} of {asked} snapshots: let the teacher's training end first.")
    return numbered or [Path(folder)]


class Teacher:
    """Frozen networks of one training, in their order.

    Args:
        folder: of a network, or the `snapshots/` of a run, whose numbered folders are networks.
        size: length of the student's vectors.

    Raises:
        InputError: there is no network, or its vectors have another length.
    """

    def __init__(self, folder: str | Path, size: int):
        self.folders = networks(folder)
        for one in self.folders:
            trained_weights(one)
            if (theirs := files.read_json(one / "config.json").get("embedding_dim")) != size:
                raise InputError(
                    f"The vectors of the teacher {one} have {theirs} numbers, the student's {size}: let both be alike, "
                    "by --model '{embedding_dim: N}'."
                )

    def content(self) -> str:
        """Names its weights."""
        return " ".join(digest(one) for one in self.folders)

    def cost(self, share: float, pixels: Tensor, embeddings: Tensor) -> Tensor:
        """The mean of 1 − cos between the student's embeddings (N, D) and the teacher's of the same pictures.

        Args:
            share: of the student's training that is behind it, in [0, 1).
            pixels: (N, 3, S, S) in [-1, 1].
            embeddings: the student's.
        """
        number = min(len(self.folders) - 1, int(share * len(self.folders)))
        network = _network(str(self.folders[number]), str(pixels.device))
        side = network.config.image_size
        if pixels.shape[-1] != side:
            pixels = interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)
        with torch.no_grad():
            theirs = network(pixels).float()
        return 1 - cosine_similarity(embeddings, theirs).mean()


@lru_cache(1)
def _network(folder: str, device: str) -> Any:
    return frozen(Path(folder), ModelMixin).eval().to(device)  # type: ignore[type-var, call-overload]
