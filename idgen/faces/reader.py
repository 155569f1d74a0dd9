"""What aligned faces look like, read by a network, with how well it reads: the attributes of a folder's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idgen.faces.pixels import to_side
from idgen.ground import files
from idgen.ground.attributes import Vocabulary
from idgen.ground.domain import RENDERED
from idgen.ground.images import ImageSource, open_image
from idgen.models import load
from idgen.models.attribute_net import AttributeNet

ERRORS = "errors.json"


class AttributeReader:
    """Reads attributes from aligned faces, square crops as the model's encoder aligns them.

    Args:
        network: what reads.
        errors: attribute → how well it reads it, see `idgen.evaluation.attributes.reading_errors`; measured on people
            it has not seen. On pictures of another kind, such as photographs, its statements are not measured.
        measured_on: what those were.
        domain: what kind of pictures they are, see `idgen.ground.domain`.
    """

    def __init__(
        self,
        network: AttributeNet,
        errors: dict[str, dict[str, float]],
        measured_on: str = "nothing",
        domain: str = RENDERED,
    ):
        self.network, self.errors, self.measured_on, self.domain = network.eval(), errors, measured_on, domain

    @property
    def vocabulary(self) -> Vocabulary:
        """What it reads."""
        return self.network.vocabulary

    @torch.no_grad()
    def read(self, images: Tensor | Sequence[ImageSource], batch_size: int = 64) -> Tensor:
        """Of aligned faces, (N, 3, H, H) in [0, 1] or a list of pictures: (N, A) numbers, as `vocabulary` has them."""
        size = self.network.config.image_size
        parameter = next(self.network.parameters())
        out = []
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size]
            pixels = part if isinstance(part, Tensor) else torch.cat([_pixels(one, size) for one in part])
            pixels = to_side(pixels.float(), size, True) * 2 - 1
            out.append(self.network.rows(self.network(pixels.to(parameter.device, parameter.dtype))).cpu())
        return torch.cat(out) if out else torch.zeros(0, len(self.vocabulary))

    def describe(self, images: Tensor | Sequence[ImageSource]) -> list[dict[str, Any]]:
        """The same in words: attribute → value."""
        return [self.vocabulary.words(row, person=True) for row in self.read(images)]

    def to(self, device: str | torch.device) -> AttributeReader:
        """Move the network."""
        self.network.to(device)  # type: ignore[arg-type]
        return self

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> AttributeReader:
        """Read a reader's folder; InputError for what is missing or damaged."""
        about = files.read_json(Path(folder) / ERRORS)
        domain = about.get("domain", RENDERED)
        return cls(load(folder, AttributeNet).float(), about["errors"], about["measured_on"], domain)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that `from_pretrained` reads."""
        self.network.save_pretrained(folder)
        about = {"errors": self.errors, "measured_on": self.measured_on, "domain": self.domain}
        files.write_json(Path(folder) / ERRORS, about)


def _pixels(image: ImageSource, size: int) -> Tensor:
    pixels = torch.from_numpy(np.asarray(open_image(image)).copy()).permute(2, 0, 1)[None]
    return to_side(pixels.float() / 255, size, True)
