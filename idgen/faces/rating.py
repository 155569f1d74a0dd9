"""How recognisable a face is, as its recogniser rates it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from idgen.ground.devices import pinned
from idgen.ground.images import ImageSource

NORM, CERTAINTY = "norm", "cr-fiqa"
"""Measures of `Rating.rate`."""


def a_weight(network: torch.nn.Module) -> Tensor:
    """Says where a network is; `ModelMixin.device` and `.dtype` import peft and transformers, which takes seconds."""
    return next(network.parameters())


class Rating:
    """What encoders of all kinds have of it."""

    quality_net: Any = None
    """What `idgen train quality` learned of this recogniser: (N, D) vectors as they come to (N,); or None."""

    @property
    def rated(self: Any) -> tuple[str, ...]:
        """What `rate` measures: `norm`, and `cr-fiqa` where somebody trained it."""
        return (NORM, CERTAINTY) if self.quality_net is not None or self.has_head else (NORM,)

    @property
    def has_head(self: Any) -> bool:
        """Whether the recogniser has a quality head of its own."""
        return bool(getattr(getattr(getattr(self, "recognizer", None), "config", None), "quality", False))

    @torch.no_grad()
    @pinned()
    def rate(self: Any, images: Tensor | Sequence[ImageSource], batch_size: int = 64) -> tuple[Tensor, Tensor]:
        """Vectors of aligned faces as `encode` gives them, and how recognisable each face is, (N, len(rated)): higher
        is better, under this recogniser alone.

        - `norm`: the length of its vector before it is normalised, divided by √D (the observation of MagFace, 2021);
        - `cr-fiqa`: how much nearer to its own person than to anybody else it is expected to be, from -1 to 1 (Boutros
          et al. 2023; see `idgen.training.recognition.certainty_ratio`); or, of a recogniser whose head was fitted
          afterwards (`idgen train quality`), which share of the person's other pictures it is expected to match.
        """
        if not len(images):
            return torch.zeros(0, self.dim), torch.zeros(0, len(self.rated))
        rated = self._rated if self.has_head and self.quality_net is None else self._embed
        raw = self._raw(images, True, batch_size, rated)
        vectors, certain = (raw, raw[:, :0]) if rated == self._embed else (raw[:, :-1], raw[:, -1:])
        if self.quality_net is not None:
            certain = self.quality_net(vectors.to(a_weight(self.quality_net).device))[:, None].cpu()
        norms = vectors.norm(dim=1, keepdim=True) / self.dim**0.5
        return F.normalize(vectors, dim=1), torch.cat([norms, certain], 1)

    def encode_with_quality(self: Any, images: Tensor | Sequence[ImageSource]) -> tuple[Tensor, Tensor]:
        """Vectors, and how recognisable each face is, (N,): the last measure of `rate`."""
        vectors, rated = self.rate(images)
        return vectors, rated[:, -1]

    @torch.no_grad()
    @pinned()
    def maps(self: Any, images: Tensor) -> Tensor:
        """(N, M) what a quality head is given of aligned faces (N, 3, H, W) in [0, 1]; of a recogniser that has one."""

        def look(pixels: Tensor) -> Tensor:
            x = (pixels * 2 - 1).to(a_weight(self.recognizer).dtype, memory_format=torch.channels_last)
            return self.recognizer.maps(x).float().flatten(1).cpu()

        return cast(Tensor, self._raw(images, embed=look))

    def _rated(self: Any, pixels: Tensor) -> Tensor:
        """`_embed` of a recogniser with a second head, what that says as one more number: (N, D + 1)."""
        x = (pixels * 2 - 1).to(a_weight(self.recognizer).dtype, memory_format=torch.channels_last)
        vectors, certain = self.recognizer.embed_and_rate(x)
        vectors = vectors.float() + (self.recognizer(x.flip(3)).float() if self.flip else 0)
        return torch.cat([vectors, certain.float()[:, None]], 1).cpu()
