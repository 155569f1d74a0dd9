"""Identities to faces by latent diffusion, as in IDiff-Face (Boutros et al., ICCV 2023, arXiv 2308.04995)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.models.modeling_utils import ModelMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Generator, Tensor

from idgen.ground import arguments
from idgen.ground.attributes import Asking, Vocabulary
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError
from idgen.ground.files import read_json
from idgen.ground.guidance import Guidance, Turned, parse_guidance, scales
from idgen.ground.identity import Identities, image_seed, key
from idgen.pipelines.base import Condition, IdentityPipeline, Predict
from idgen.pipelines.shells import packed
from idgen.pipelines.workers import by_image


class IDiffFacePipeline(IdentityPipeline):
    """Pictures of given identities by a latent diffusion model that gets the identity's vector itself.

    Args:
        denoiser: `denoiser(sample (N, C, h, w), timestep (N,), identity (N, D), drop (N,) bool) -> (N, C, h, w)`, with
            `in_channels`, `sample_size` and `identity_dim` in its config and the property `has_empty_identity`: whether
            it learned what to do where `drop` is true, without which there is no guidance. One with `attributes` in its
            config takes them after `drop`, see `IdentityDiT`.
        autoencoder: decodes latents: `decode(z).sample`, with `scaling_factor` and maybe `shift_factor` in its config.
        scheduler: any of diffusers whose prediction type is the denoiser's.
        space: name of the embedding space that the identities must live in.
        num_inference_steps: denoising steps unless a call says otherwise; with a student, where it cannot serve.
        guidance_scale: classifier-free guidance (Ho & Salimans 2022) unless a call says otherwise; 1 is none; "1.4/2.4"
            grows with the turn of the head, see `idgen.ground.guidance`. By default 2 where the denoiser has an empty
            identity, else 1.
        prior: draws the attributes that nobody asks for, see `AttributePrior`; without one the network is free.
        student: a flow network distilled from the denoiser, for calls of at most `few_steps` steps; it has
            `guidance_range` in its config. A scheduler that takes the place of the first one is the denoiser's alone.
        few_steps: most steps that the student takes, and how many unless a call says otherwise.
        attribute_scale: how strongly the networks are told of beard, glasses, hat and sunglasses: 1 as they learned,
            above 1 further from leaving them open; see `IdentityDiT`.
        sharpening: what a 3×3 binomial blur takes away from a decoded picture is added so many times (unsharp masking);
            0 leaves it as it is.
        picture_size: side to which the decoded pictures are resized (bilinear), such as the 112 that UIFace's own
            program writes; 0 leaves them as they are.

    Raises:
        InputError: weights are missing, or there is guidance without an empty identity.
    """

    model_cpu_offload_seq = "denoiser->student->autoencoder"
    _optional_components: ClassVar[list[str]] = ["prior", "student"]

    def __init__(
        self,
        denoiser: ModelMixin,
        autoencoder: ModelMixin,
        scheduler: SchedulerMixin,
        space: str = "",
        num_inference_steps: int = 15,
        guidance_scale: float | str | None = None,
        prior: ModelMixin | None = None,
        student: ModelMixin | None = None,
        few_steps: int = 4,
        picture_size: int = 0,
        attribute_scale: float = 1.0,
        sharpening: float = 0.0,
    ):
        super().__init__()
        self.register_modules(
            denoiser=denoiser, autoencoder=autoencoder, scheduler=scheduler, prior=prior, student=student
        )
        if guidance_scale is None:
            guidance_scale = 2.0 if denoiser.has_empty_identity else 1.0
        self.register_to_config(
            few_steps=few_steps,
            picture_size=picture_size,
            attribute_scale=arguments.attribute_scale(attribute_scale),
            sharpening=arguments.sharpening(sharpening),
        )
        self._first_scheduler = scheduler
        self._configure(space, num_inference_steps, guidance_scale)

    @property
    def identity_dim(self) -> int:
        return int(self.denoiser.config.identity_dim)

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(getattr(self.denoiser.config, "attributes", None) or {})

    @classmethod
    def vocabulary_in(cls, folder: Path) -> Vocabulary:
        return Vocabulary(read_json(folder / "denoiser" / "config.json").get("attributes") or {})

    def _few(self, steps: int) -> bool:
        """Whether the student makes pictures in so many steps."""
        there = self.student is not None and self.scheduler is self._first_scheduler
        return there and steps <= self.config.few_steps

    def usual_steps(self, guidance: Guidance | str | None = None, negative: bool = False) -> int:
        few, many = self.config.few_steps, super().usual_steps(guidance, negative)
        guidance = self.own_guidance if guidance is None else parse_guidance(guidance)
        return few if few and not negative and self._few(few) and self._serves(guidance, few) else many

    def _serves(self, guidance: Guidance, steps: int) -> bool:
        """Whether the student can be guided so: the same at all steps, as it learned."""
        low, high = self.student.config.guidance_range
        asked = scales(guidance, steps)
        return (len(set(asked)) == 1 or isinstance(guidance, Turned)) and low <= min(asked) <= max(asked) <= high

    def _check_guidance(self, guidance: Guidance, steps: int) -> None:
        super()._check_guidance(guidance, steps)
        strongest = max(scales(guidance, steps), key=lambda scale: abs(scale - 1))
        if not self.denoiser.has_empty_identity and strongest != 1:
            raise InputError(
                f"This model never learned an empty identity, so guidance would mean nothing: it is 1, not "
                f"{strongest:g}."
            )
        if self._few(steps) and not self._serves(guidance, steps):
            low, high = self.student.config.guidance_range
            raise InputError(
                f"In at most {self.config.few_steps} steps guidance is the same at every step, from {low:g} to "
                f"{high:g}: for anything else take more steps, such as 15."
            )

    def _check_negative(self, negative: Tensor | None, people: Identities, steps: int) -> None:
        super()._check_negative(negative, people, steps)
        if negative is not None and self._few(steps):
            few = self.config.few_steps
            raise InputError(f"In at most {few} steps nobody can be led away from: take more steps, such as 15.")

    def prepare(
        self,
        people: Identities,
        images_per_identity: int,
        *,
        attributes: Mapping[str, Any] | Asking | Sequence[Mapping[str, Any]] | None = None,
        habits: Tensor | None = None,
        **options: Any,
    ) -> Condition:
        """What the pictures are to look like.

        Args:
            attributes: name → value, or how it is drawn, see `idgen.ground.attributes.Asking`; or one such a picture,
                person by person. What is not asked for is drawn as the training pictures have it: pose, light and
                expression by the picture's seed; hair, beard, glasses and the like from what people like this one
                have, once by the person, then by habit.
            habits: (N, D) vectors whose habits the pictures have, by default the identities' own.
        """
        nothing = super().prepare(people, images_per_identity, **options)
        if not self.vocabulary and not attributes:
            return nothing
        every = Asking.each(attributes, self.vocabulary, len(people) * images_per_identity)
        vectors = people.vectors if habits is None else habits

        def condition(images: Sequence[tuple[int, int]], generators: Sequence[Generator]) -> Tensor:
            rows = []
            for (person, k), generator in zip(images, generators, strict=True):
                asking = every[(person * images_per_identity + k) % len(every)]
                rows.append(self._drawn(asking, vectors[person], generator))
            return torch.tensor(rows, dtype=torch.float32)

        return condition

    def _drawn(self, asking: Asking, vector: Tensor, generator: Generator) -> list[float]:
        """A picture's attributes, as `words` has them."""
        row = asking.draw(generator)
        if self.prior is not None:
            own = Generator().manual_seed(image_seed(0, key(vector), 0))
            row = self.prior.draw(vector, row, own, generator)
        row[[self.vocabulary.names.index(name) for name in asking.free]] = torch.nan
        return [round(number, 4) for number in row.tolist()]

    @pinned()
    def told(self, vector: Tensor, seed: int, k: int, attributes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What picture k of a person (D,) is asked to look like, wholly, by a run of this seed; nothing is painted."""
        if not self.vocabulary:
            return {}
        generator = Generator().manual_seed(image_seed(seed, key(vector), k))
        self._noise(generator)  # is drawn first
        row = self._drawn(Asking(attributes or {}, self.vocabulary), vector, generator)
        return {
            **dict.fromkeys(self.vocabulary.askable),
            **self.vocabulary.words(torch.tensor(row, dtype=torch.float64)),
        }

    def _told(self, condition: Any, count: int) -> list[dict[str, Any]]:
        if condition is None:
            return super()._told(condition, count)
        return [self.vocabulary.words(row) for row in condition]

    def _conditions(self, vectors: Tensor, condition: Any) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
        device = self._execution_device
        drop = torch.tensor([False, True], device=device).expand(len(vectors), -1)
        identity = vectors.to(device, self.denoiser.dtype)[:, None].expand(-1, 2, -1)
        told = () if condition is None else (condition.to(device)[:, None].expand(-1, 2, -1),)
        return self._loud(packed(self.denoiser)), (identity, drop, *told)

    def _loud(self, network: Any) -> Any:
        """A network that is told as strongly as the pipeline says."""
        scale = self.config.attribute_scale
        return network if scale == 1 or not self.vocabulary else partial(network, attribute_scale=scale)

    @torch.inference_mode()
    @pinned()
    def _decode(self, latents: Tensor) -> Tensor:
        pixels, side = super()._decode(latents), self.config.picture_size
        if amount := self.config.sharpening:
            pixels = sharpened(pixels, amount)
        if not side:
            return pixels
        resize = lambda images: F.interpolate(images, (side, side), mode="bilinear")  # noqa: E731
        return by_image(resize, pixels[:, None], at_once=self.decoded_at_once)[:, 0]

    def _scheduler(self, steps: int) -> Any:
        if not self._few(steps):
            return super()._scheduler(steps)
        scheduler = FlowMatchEulerDiscreteScheduler()
        sigmas = [1 - step / steps for step in range(steps)]
        scheduler.set_timesteps(sigmas=sigmas, device=self._execution_device)
        return scheduler

    def _predictor(self, vectors: Tensor, condition: Any, steps: int) -> Predict:
        if not self._few(steps):
            return super()._predictor(vectors, condition, steps)
        _, conditions = self._conditions(vectors, condition)
        given, network = [values[:, :1] for values in conditions], self._loud(self.student)
        if condition is None:
            given.append(
                torch.full((len(vectors), 1, 0), torch.nan, dtype=torch.float32, device=self._execution_device)
            )

        def predict(latents: Tensor, timestep: Tensor, strength: float | Tensor) -> Tensor:
            times = timestep.expand(len(latents), 1)
            scale = torch.as_tensor(strength).to(times).reshape(-1, 1).expand_as(times)
            sample = latents.to(self.student.dtype)[:, None]
            return by_image(network, sample, times, *given, scale, at_once=self.at_once)[:, 0].float()

        return predict


def sharpened(pixels: Tensor, amount: float) -> Tensor:
    """(B, 3, H, W) in [0, 1] with `amount` times what a 3×3 binomial blur takes away. Sums of shifted pictures, not a
    convolution: each picture's bits are its own, whatever its batch."""
    wide = F.pad(pixels, (1, 1, 1, 1), mode="replicate")
    rows = wide[:, :, :-2] + 2 * wide[:, :, 1:-1] + wide[:, :, 2:]
    blurred = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 16
    return (pixels + amount * (pixels - blurred)).clamp(0, 1)
