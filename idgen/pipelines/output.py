"""What a pipeline returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

ImageLike = Image.Image | NDArray[np.float32] | Tensor


@dataclass(frozen=True)
class GeneratedImage:
    """One picture.

    Args:
        image: as `output_type` says: a PIL image; (H, W, 3) float32 in [0, 1]; (3, H, W) in [0, 1]; a latent (C, h, w).
        identity: row of the identity among those given.
        k: its number among that identity's pictures.
        seed: of the generator that made it; follows from the run's seed, the identity's vector and k.
        vector: (D,) of the identity.
        attributes: what the network was told that the picture is to look like, asked for or drawn; see
            `idgen.ground.attributes`.
    """

    image: ImageLike
    identity: int
    k: int
    seed: int
    vector: Tensor
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class IdentityOutput(BaseOutput):  # type: ignore[misc]
    """What a call returns.

    Args:
        images: a list of PIL images, or an array (N, H, W, 3), or a tensor (N, 3, H, W) or (N, C, h, w): identity by
            identity, each with its pictures in order.
        items: the same pictures one by one, with their identity, number, seed and vector.
    """

    images: list[Image.Image] | NDArray[np.float32] | Tensor
    items: list[GeneratedImage]
