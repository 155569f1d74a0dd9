"""Identities to faces by latent diffusion, as in IDiff-Face (Boutros et al., ICCV 2023, arXiv 2308.04995)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.modeling_utils import ModelMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from idgen.ground.errors import InputError
from idgen.pipelines.base import IdentityPipeline


class IDiffFacePipeline(IdentityPipeline):
    """Pictures of given identities by a latent diffusion model that gets the identity's vector itself.

    Args:
        denoiser: `denoiser(sample (N, C, h, w), timestep (N,), identity (N, D), drop (N,) bool) -> (N, C, h, w)`, with
            `in_channels`, `sample_size` and `identity_dim` in its config and the property `has_empty_identity`: whether
            it learned what to do where `drop` is true, without which there is no guidance.
        autoencoder: decodes latents: `decode(z).sample`, with `scaling_factor` and maybe `shift_factor` in its config.
        scheduler: any of diffusers whose prediction type is the denoiser's.
        space: name of the embedding space that the identities must live in.
        num_inference_steps: denoising steps unless a call says otherwise.
        guidance_scale: classifier-free guidance (Ho & Salimans 2022) unless a call says otherwise; 1 is none. By
            default 2 where the denoiser has an empty identity, else 1.

    Raises:
        InputError: weights are missing, or there is guidance without an empty identity.
    """

    model_cpu_offload_seq = "denoiser->autoencoder"

    def __init__(
        self,
        denoiser: ModelMixin,
        autoencoder: ModelMixin,
        scheduler: SchedulerMixin,
        space: str = "",
        num_inference_steps: int = 15,
        guidance_scale: float | None = None,
    ):
        super().__init__()
        self.register_modules(denoiser=denoiser, autoencoder=autoencoder, scheduler=scheduler)
        if guidance_scale is None:
            guidance_scale = 2.0 if denoiser.has_empty_identity else 1.0
        self._configure(space, num_inference_steps, guidance_scale)

    @property
    def identity_dim(self) -> int:
        return int(self.denoiser.config.identity_dim)

    def _check_guidance(self, guidance_scale: float) -> None:
        super()._check_guidance(guidance_scale)
        if guidance_scale != 1 and not self.denoiser.has_empty_identity:
            raise InputError(
                f"This model never learned an empty identity, so guidance would mean nothing: it is 1, not "
                f"{guidance_scale:g}."
            )

    def _conditions(self, vectors: Tensor, condition: Any) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
        device = self._execution_device
        drop = torch.tensor([False, True], device=device).expand(len(vectors), -1)
        identity = vectors.to(device, self.denoiser.dtype)[:, None].expand(-1, 2, -1)
        return self.denoiser, (identity, drop)
