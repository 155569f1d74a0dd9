"""The sampling loops of published models to the letter, as diffusers schedulers."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler, DDIMSchedulerOutput
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

from idgen.ground.errors import InputError

LINEAR: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
    "clip_sample": False,
}
"""The schedule that IDiff-Face and UIFace were trained with (Ho et al. 2020), for any scheduler of diffusers."""

_EDM = "is for networks with the preconditioning of Karras et al. (2022), which these do not have"
_UNFIT = {
    "EDMEulerScheduler": _EDM,
    "EDMDPMSolverMultistepScheduler": _EDM,
    "DPMSolverSDEScheduler": "draws its noise for a whole batch, so a seed would not give the same picture again",
}


def check_scheduler(scheduler: Any) -> None:
    """InputError for one that diffusers calls compatible with the others, but that would paint wrong pictures."""
    if why := _UNFIT.get(name := type(scheduler).__name__):
        raise InputError(f"{name} {why}: use another one, such as DPMSolverMultistepScheduler.")


class IDiffFaceScheduler(DDPMScheduler):  # type: ignore[misc]
    """Ancestral sampling (Ho et al. 2020, algorithm 2, σ² = β) as IDiff-Face released it: 1000 steps, without noise not
    only after the last step, t = 0, but after the one before it, t = 1, as well.

    From generators on the CPU it draws the official order: first x_T (by the pipeline), then a picture's noise for
    t = 999, …, 2. Make it by `IDiffFaceScheduler(**LINEAR, variance_type="fixed_large")`.
    """

    def _get_variance(self, t: int, *args: Any, **kwargs: Any) -> Tensor:
        variance = super()._get_variance(t, *args, **kwargs)
        return torch.zeros_like(variance) if t == 1 else variance


class UIFaceScheduler(DDIMScheduler):  # type: ignore[misc]
    """Deterministic DDIM (Song et al. 2021, eq. 12, η = 0) as UIFace released it: each step ends one timestep further
    than diffusers' does, at ᾱ of t − Δ − 1, so that the step before the last one already arrives at ᾱ = 1.

    Make it by `UIFaceScheduler(**LINEAR)`.
    """

    def step(
        self, model_output: Tensor, timestep: int, sample: Tensor, *, return_dict: bool = True
    ) -> DDIMSchedulerOutput | tuple[Tensor, Tensor]:
        """One step; arguments as those of `DDIMScheduler.step`, without the ones that need noise."""
        target = int(timestep) - self.config.num_train_timesteps // self.num_inference_steps - 1
        now = self.alphas_cumprod[int(timestep)].to(sample)
        then = self.alphas_cumprod[target].to(sample) if target >= 0 else torch.ones_like(now)
        clean = (sample - (1 - now).sqrt() * model_output) / now.sqrt()
        previous = then.sqrt() * clean + (1 - then).sqrt() * model_output
        if not return_dict:
            return previous, clean
        return DDIMSchedulerOutput(prev_sample=previous, pred_original_sample=clean)
