"""Identities to faces by latent diffusion, as in IDiff-Face (Boutros et al., ICCV 2023, arXiv 2308.04995)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from idgen.pipelines.base import IdentityPipeline, register


class IDiffFacePipeline(IdentityPipeline):
    """Pictures of given identities by a latent diffusion model that gets the identity's vector itself.

    Args:
        denoiser: `denoiser(sample (N, C, h, w), timestep (N,), identity (N, D), drop (N,) bool) -> (N, C, h, w)`, with
            `in_channels`, `sample_size` and `identity_dim` in its config.
        autoencoder: decodes latents: `decode(z).sample`, with `scaling_factor` and maybe `shift_factor` in its config.
        scheduler: any of diffusers whose prediction type is the denoiser's.
        space: name of the embedding space that the identities must live in.
        num_inference_steps: denoising steps unless a call says otherwise.
        guidance_scale: classifier-free guidance (Ho & Salimans 2022) unless a call says otherwise; 1 is none.
    """

    model_cpu_offload_seq = "denoiser->autoencoder"

    def __init__(
        self,
        denoiser: ModelMixin,
        autoencoder: ModelMixin,
        scheduler: SchedulerMixin,
        space: str = "",
        num_inference_steps: int = 15,
        guidance_scale: float = 2.0,
    ):
        super().__init__()
        self.register_modules(denoiser=denoiser, autoencoder=autoencoder, scheduler=scheduler)
        self._configure(space, num_inference_steps, guidance_scale)

    @property
    def identity_dim(self) -> int:
        return int(self.denoiser.config.identity_dim)

    def _conditions(
        self, vectors: Tensor, guided: bool, condition: Any
    ) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
        device = self._execution_device
        drop = torch.tensor([False, True] if guided else [False], device=device).expand(len(vectors), -1)
        identity = vectors.to(device, self.denoiser.dtype)[:, None].expand(-1, drop.shape[1], -1)
        return self.denoiser, (identity, drop)


register(IDiffFacePipeline)
