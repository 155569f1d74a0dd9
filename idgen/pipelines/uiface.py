"""Two-stage sampling: first a face of nobody in particular, then the wanted one (UIFace, Lin et al., ICLR 2025).

More varied pictures of one person than guidance alone gives: what is decided early, such as pose and light, is decided
without the identity. Re-implemented from the paper and from what the released code computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers.models.modeling_utils import ModelMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from idgen.ground.errors import InputError
from idgen.ground.identity import Identities
from idgen.models.unet import AttentionHook, IdentityUNet
from idgen.pipelines.base import Predict
from idgen.pipelines.idiff_face import IDiffFacePipeline
from idgen.pipelines.shells import packed
from idgen.pipelines.workers import by_image

Logits = dict[Literal["self", "cross"], list[Tensor]]
"""Of every attention of a run, in the order of computation: (N, heads, queries, keys) each."""


class UIFacePipeline(IDiffFacePipeline):
    """`IDiffFacePipeline` with the sampling that UIFace released; the same folder can be loaded as either.

    In both stages every step runs the network twice, first with the empty identity, and the second run takes the first
    one's self-attention.

    1. From the noisiest timestep down to `stage_two`, the second run has the empty identity too, until a picture's map
       of where the network looks for the identity has *settled*: changed, from one step to the next, by less than
       `settled`. From the next step on the second run has the identity.
    2. Below `stage_two` the second run has the identity, the mean and spread of its cross-attention are brought
       half-way to those of the first run, and the two are combined by guidance.

    The released settings are 50 steps of `UIFaceScheduler` and guidance 2 (its `cfg_scale` of 1 counts from 0).

    Raises:
        InputError: the denoiser is no `IdentityUNet` with an empty identity.
    """

    stage_two = 500
    settled = 0.006

    def __init__(
        self,
        denoiser: ModelMixin,
        autoencoder: ModelMixin,
        scheduler: SchedulerMixin,
        space: str = "",
        num_inference_steps: int = 50,
        guidance_scale: float = 2.0,
        prior: ModelMixin | None = None,
        student: ModelMixin | None = None,
        few_steps: int = 0,
        picture_size: int = 0,
        attribute_scale: float = 1.0,
        sharpening: float = 0.0,
    ):
        if not (isinstance(denoiser, IdentityUNet) and denoiser.has_empty_identity):
            raise InputError(
                "Two-stage sampling needs an IdentityUNet that learned an empty identity, as UIFace's did: "
                "load this model as IDiffFacePipeline."
            )
        asked = (space, num_inference_steps, guidance_scale, prior, student, few_steps, picture_size)
        super().__init__(denoiser, autoencoder, scheduler, *asked, attribute_scale, sharpening)

    def _check_negative(self, negative: Tensor | None, people: Identities, steps: int) -> None:
        if negative is not None:
            raise InputError("Two-stage sampling leads away from nobody: load this model as IDiffFacePipeline.")

    def _predictor(self, vectors: Tensor, condition: Any, steps: int) -> Predict:
        identity = vectors.to(self._execution_device, self.denoiser.dtype)
        settled = torch.zeros(len(identity), dtype=torch.bool, device=identity.device)
        before: Tensor | None = None
        network = packed(self.denoiser)

        def first(sample: Tensor, timestep: Tensor, identity: Tensor, settled: Tensor) -> Tensor:
            seen: Logits = {"self": [], "cross": []}
            _, hook = nobodys(network, sample, timestep, identity, seen, mix=False)
            noise = network(sample, timestep, identity, ~settled, hook).float()
            return torch.cat([noise, identity_map(seen["cross"], sample.shape[-1])[:, None]], 1)

        def second(sample: Tensor, timestep: Tensor, identity: Tensor, strength: Tensor) -> Tensor:
            nobody, hook = nobodys(network, sample, timestep, identity, {"self": [], "cross": []}, mix=True)
            wanted = network(sample, timestep, identity, None, hook).float()
            return nobody + strength[:, None, None, None] * (wanted - nobody)

        def predict(latents: Tensor, timestep: Tensor, strength: float | Tensor) -> Tensor:
            nonlocal settled, before
            rows = (latents.to(identity.dtype), timestep.expand(len(latents)), identity)
            if timestep < self.stage_two:
                scale = torch.as_tensor(strength, dtype=torch.float32, device=identity.device)
                scale = scale.reshape(-1).expand(len(latents))
                return by_image(second, *(row[:, None] for row in (*rows, scale)))[:, 0]
            out = by_image(first, *(row[:, None] for row in (*rows, settled)))[:, 0]
            now = out[:, -1]
            if before is not None:
                settled = settled | ((now - before).abs().mean((1, 2)) < self.settled)
            before = now
            return out[:, :-1]

        return predict


def nobodys(
    network: Any, sample: Tensor, timestep: Tensor, identity: Tensor, seen: Logits, mix: bool
) -> tuple[Tensor, AttentionHook]:
    """The empty identity's noise, float32, and what gives its attention to the next run, whose own is put in
    `seen`."""
    source: Logits = {"self": [], "cross": []}

    def watch(kind: Literal["self", "cross"], logits: Tensor) -> Tensor:
        source[kind].append(logits)
        return logits

    everybody = torch.ones(len(sample), dtype=torch.bool, device=sample.device)
    noise = network(sample, timestep, identity, everybody, watch).float()
    upcoming: dict[str, Iterator[Tensor]] = {kind: iter(logits) for kind, logits in source.items()}

    def follow(kind: Literal["self", "cross"], logits: Tensor) -> Tensor:
        seen[kind].append(logits)
        theirs = next(upcoming[kind])
        return theirs if kind == "self" else blend(logits, theirs) if mix else logits

    return noise, follow


def blend(logits: Tensor, source: Tensor) -> Tensor:
    """Give every query's logits (N, heads, queries, keys) the mean and the standard deviation over the keys half-way
    between their own and the source's (as AdaIN, Huang & Belongie 2017, does with features)."""
    mean, deviation = logits.mean(-1, keepdim=True), logits.std(-1, keepdim=True)
    target = (source.mean(-1, keepdim=True) + mean) / 2, (source.std(-1, keepdim=True) + deviation) / 2
    return (logits - mean) / deviation * target[1] + target[0]


def identity_map(logits: list[Tensor], side: int) -> Tensor:
    """Where the identity is looked at, from a run's cross-attentions (N, heads, places, tokens): (N, side, side).

    A softmax over the *places*, the mean over tokens and heads, relative to its peak, enlarged; the mean over the
    attentions is stretched to [0, 1].
    """
    maps = []
    for layer in logits:
        weight = layer.float().softmax(-2).mean((1, 3))
        weight = weight / weight.amax(1, keepdim=True)
        size = round(weight.shape[1] ** 0.5)
        maps.append(F.interpolate(weight.view(-1, 1, size, size), (side, side), mode="bilinear")[:, 0])
    mean = torch.stack(maps).mean(0)
    low, high = mean.amin((1, 2), keepdim=True), mean.amax((1, 2), keepdim=True)
    return (mean - low) / (high - low)
