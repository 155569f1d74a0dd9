"""What every pipeline from identities to pictures shares: seeds, batches, denoising, decoding, strict loading."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, cast, get_args

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

from idgen.ground import arguments
from idgen.ground.attributes import Vocabulary
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError
from idgen.ground.guidance import Guidance, Schedule, Turned, parse_guidance, parse_schedule, scales
from idgen.ground.identity import Identities, Identity, image_seed, key
from idgen.ground.weights import first_sentence
from idgen.pipelines.loading import LoadedPipeline
from idgen.pipelines.output import GeneratedImage, IdentityOutput, ImageLike
from idgen.pipelines.schedulers import check_scheduler
from idgen.pipelines.workers import ACCELERATOR_IMAGES, by_image

OutputType = Literal["pil", "np", "pt", "latent"]
StepCallback = Callable[["IdentityPipeline", int, Tensor, dict[str, Any]], dict[str, Any] | None]
Condition = Callable[[Sequence[tuple[int, int]], Sequence[Generator]], Any]
Predict = Callable[[Tensor, Tensor, float | Tensor], Tensor]
"""What the scheduler takes, (B, C, h, w), of the latents that it scaled, (B, C, h, w), the timestep, (), and the step's
guidance, of all or (B, 1, 1, 1)."""


_OURS = {  # what diffusers' pipelines take
    "generator": "give `seed`, a whole number, from which every picture's own generator follows",
    "num_images_per_prompt": "give `images_per_identity`",
    "prompt": "give identities, which say who; there is no text",
}


def counting(move: Callable[[int], Any], steps: int, then: StepCallback | None = None) -> StepCallback:
    """A step's callback that says how many pictures went on by one of `steps`, then calls another one."""

    def stepped(pipeline: IdentityPipeline, step: int, timestep: Tensor, tensors: dict[str, Any]) -> Any:
        if step < steps:  # some schedulers run the network more often
            move(len(tensors["latents"]))
        return None if then is None else then(pipeline, step, timestep, tensors)

    return stepped


def _all(strength: float | Tensor, scale: float) -> bool:
    """Whether it is this for every picture. Where each has its own, never, so that none depends on its batch."""
    return not isinstance(strength, Tensor) and strength == scale


def check_shape(what: str, values: Tensor | None, shape: tuple[int, ...]) -> None:
    """Raise InputError for values that are not finite or have another shape."""
    if values is not None and (values.shape != shape or not values.isfinite().all()):
        raise InputError(f"The {what} is finite and has the shape {shape}, got {tuple(values.shape)}.")


class IdentityPipeline(LoadedPipeline):
    """Pictures of given identities; what its subclasses add is how an identity reaches the denoiser.

    The same identity, seed and number give the same picture to the last bit on the same machine, whatever the batch
    size, the order, the number of pictures and of CPU threads. A call changes nothing in the pipeline, so calls may run
    at the same time.

    A subclass has the components `denoiser` (with `in_channels` and `sample_size` in its config), `autoencoder` and
    `scheduler`, and the configuration of `_configure`.
    """

    aligned: ClassVar[bool] = True
    """Whether the pictures are face crops as the model's encoder aligns them, and can be scored as they are."""
    half_on_accelerator: ClassVar[bool] = False
    """Whether a GPU is to run it in float16."""
    at_once: int = ACCELERATOR_IMAGES
    """Pictures that an accelerator denoises in one call: fewer take less memory and may have other last bits."""
    decoded_at_once: int = ACCELERATOR_IMAGES
    """The same for decoding."""

    def _configure(self, space: str, num_inference_steps: int, guidance_scale: float | str, **more: Any) -> None:
        """Refuse components that lack weights, and note what calls use unless they say otherwise."""
        if not space:
            raise ValueError("A pipeline needs `space`, the name of the embedding space of its identities.")
        for name, module in self.components.items():
            for weight, tensor in module.named_parameters() if isinstance(module, torch.nn.Module) else ():
                if tensor.is_meta:
                    raise InputError(f"Weights of the {name} are missing, such as {weight}: fetch the model again.")
        guidance = parse_guidance(guidance_scale)
        if callable(guidance):
            raise InputError(
                f"A model's own guidance is the same at every step, such as 2 or 1.4/2.4; got {guidance_scale!r}."
            )
        self._check_guidance(guidance, num_inference_steps)
        self.register_to_config(
            space=space,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance if isinstance(guidance, float) else guidance_scale,
            **more,
        )

    @property
    def identity_dim(self) -> int:
        """Length D of the identities' vectors."""
        raise NotImplementedError

    @property
    def vocabulary(self) -> Vocabulary:
        """What the pictures can be asked to look like; empty for a model that cannot be told."""
        return Vocabulary({})

    @property
    def own_guidance(self) -> Guidance:
        """That of a call that names none."""
        return parse_guidance(self.config.guidance_scale)

    def usual_steps(self, guidance: Guidance | str | None = None, negative: bool = False) -> int:
        """Denoising steps of a call that names none, with this guidance and with or without negative identities."""
        return int(self.config.num_inference_steps)

    @classmethod
    def vocabulary_in(cls, folder: Path) -> Vocabulary:
        """The `vocabulary` of one in a folder, without loading it."""
        return Vocabulary({})

    def told(self, vector: Tensor, seed: int, k: int, attributes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What picture k of a person (D,) is asked to look like, wholly, by a run of this seed; nothing is painted.
        Here, what is asked for and no more: what is left out, the model never hears of."""
        return dict(attributes or {})

    def prepare(self, people: Identities, images_per_identity: int, **options: Any) -> Condition:
        """Check a call's `options` and return what makes a batch's condition.

        That gets the (person, number of the picture counted from 0) of each image and their generators, and returns
        what `_conditions` takes.
        """
        for name in sorted(options):
            raise InputError(f"{type(self).__name__} has no option {name!r}: {_OURS.get(name, 'leave it out')}.")
        return lambda images, generators: None

    def _conditions(self, vectors: Tensor, condition: Any) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
        """The denoiser as `call(sample, timestep, *conditions)` and its conditions (B, 2, …) of vectors (B, D).

        Their rows are with and without the identity, in this order. `call` gets any number of rows, (·, C, h, w), (·,)
        and (·, …).
        """
        raise NotImplementedError

    def _told(self, condition: Any, count: int) -> list[dict[str, Any]]:
        """Of a batch's condition, what its pictures are to look like."""
        return [{} for _ in range(count)]

    def _scheduler(self, steps: int) -> Any:
        """A scheduler of its own for a run, since schedulers hold the state of one."""
        scheduler = type(self.scheduler).from_config(self.scheduler.config)
        scheduler.set_timesteps(steps, device=self._execution_device)
        return scheduler

    def _predictor(self, vectors: Tensor, condition: Any, steps: int) -> Predict:
        """What one batch's steps call, in order: the denoiser's float32 output for vectors (B, D), guided."""
        call, conditions = self._conditions(vectors, condition)
        at_once, dtype = self.at_once, self.denoiser.dtype

        def predict(latents: Tensor, timestep: Tensor, strength: float | Tensor) -> Tensor:
            asked = slice(1, 2) if _all(strength, 0) else slice(0, 1) if _all(strength, 1) else slice(0, 2)
            rows = asked.stop - asked.start
            sample = latents.to(dtype)[:, None].expand(-1, rows, -1, -1, -1)
            times = timestep.expand(len(latents), rows)
            given = [values[:, asked] for values in conditions]
            predicted = by_image(call, sample, times, *given, at_once=at_once).float()
            wanted = predicted[:, 0]
            return wanted if rows == 1 else predicted[:, 1] + strength * (wanted - predicted[:, 1])

        return predict

    def __call__(
        self,
        identities: Identity | Identities | Tensor,
        images_per_identity: int = 1,
        *,
        output_type: OutputType = "pil",
        **options: Any,
    ) -> IdentityOutput:
        """Make all pictures at once; arguments and errors are those of `iterate`."""
        people = self._people(identities)
        asked = options.get("guidance_scale"), options.get("negative") is not None
        steps = options.get("num_inference_steps") or self.usual_steps(*asked)
        then = options.pop("callback_on_step_end", None)
        moving = counting(lambda pictures: bar.update(pictures), steps, then)
        made = self.iterate(
            people, images_per_identity, output_type=output_type, callback_on_step_end=moving, **options
        )
        with self.progress_bar(total=len(people) * images_per_identity * steps) as bar:
            items = list(made)
        images: Any = [item.image for item in items]
        if output_type != "pil":
            images = np.stack(images) if output_type == "np" else torch.stack(images)
        return IdentityOutput(images=images, items=items)

    @pinned()
    def iterate(
        self,
        identities: Identity | Identities | Tensor,
        images_per_identity: int = 1,
        *,
        num_inference_steps: int | None = None,
        guidance_scale: Guidance | str | None = None,
        seed: int = 0,
        first: int | Sequence[int] = 0,
        latents: Tensor | None = None,
        negative: Tensor | None = None,
        negative_weight: Schedule | str = 0.5,
        batch_size: int = 8,
        callback_on_step_end: StepCallback | None = None,
        output_type: OutputType = "pil",
        **options: Any,
    ) -> Iterator[GeneratedImage]:
        """Make pictures one batch after another, identity by identity; closing the iterator stops it.

        Args:
            identities: who; a tensor (N, D) or (D,) of unit vectors is taken to live in the pipeline's space.
            images_per_identity: pictures of each.
            num_inference_steps: denoising steps; by default the pipeline's.
            guidance_scale: how much of the identity's influence is exaggerated; 1 is none, and all that a denoiser
                without an empty identity takes. Or by the steps or the turn of the head: `idgen.ground.guidance`.
            seed: of the run, from 0 to 2^63 − 1.
            first: number k of an identity's first picture, or of each identity's; the others count on from it.
            latents: (N · K, C, h, w) noise to start from, picture by picture, instead of the seed's; such as draws
                along an `idgen.sampling.boundary.Boundary`.
            negative: (N, D) unit vectors of others, whom each identity's pictures are led away from: adds
                w·(ε_pos − ε_neg) (NegFaceDiff, arXiv 2508.09661); needs no empty identity.
            negative_weight: w, a number, a function or words as `guidance_scale`; AdaptDiff's is "0-1".
            batch_size: pictures that advance together; changes memory and speed, not the pictures.
            callback_on_step_end: `callback(pipeline, step, timestep, {"latents": (B, C, h, w)})` may return others.
            output_type: "pil", "np", "pt" or "latent", see `GeneratedImage`.
            options: what else the pipeline takes, see its `prepare`.

        Raises:
            InputError: at once, not at the first picture: an argument, the scheduler or the identities cannot be used.
        """
        people = self._people(identities)
        images = arguments.images(images_per_identity, None)
        own, most = self.usual_steps(guidance_scale, negative is not None), self.scheduler.config.num_train_timesteps
        steps = arguments.steps(own if num_inference_steps is None else num_inference_steps, int(most))
        guidance = self.own_guidance if guidance_scale is None else parse_guidance(guidance_scale)
        weight = parse_schedule(negative_weight, "negative weight")
        seed, batch_size = arguments.seed(seed), arguments.batch_size(batch_size)
        firsts = list(first) if isinstance(first, Sequence) else [first] * len(people)
        self._check_guidance(guidance, steps)
        check_scheduler(self.scheduler)
        if len(firsts) != len(people):
            raise InputError(f"{len(people)} identities need as many first numbers, got {len(firsts)}.")
        firsts = [arguments.whole("number of the first picture", number, 0) for number in firsts]
        check_shape("noise to start from", latents, (len(people) * images, *self.latent_shape))
        self._check_negative(negative, people, steps)
        if output_type not in get_args(OutputType):
            raise InputError(f"There is no output type {output_type!r}: use one of {', '.join(get_args(OutputType))}.")
        condition = pinned()(self.prepare(people, images, **options))
        jobs = [(person, k) for person in range(len(people)) for k in range(images)]

        def batches() -> Iterator[GeneratedImage]:
            names = [key(vector) for vector in people.vectors]
            for start in range(0, len(jobs), batch_size):
                batch = jobs[start : start + batch_size]
                seeds = [image_seed(seed, names[person], firsts[person] + k) for person, k in batch]
                generators = [Generator().manual_seed(number) for number in seeds]
                vectors = people.vectors[[person for person, _ in batch]]
                noise = torch.stack([self._noise(generator) for generator in generators])
                if latents is not None:
                    noise = latents[start : start + batch_size].float().cpu()
                led = guidance, None if negative is None else negative[[who for who, _ in batch]], weight
                with self._fitting():
                    given = condition(batch, generators)
                    noise = self._denoise(noise, vectors, steps, led, generators, callback_on_step_end, given)
                    made = self._finish(noise, output_type)
                told = self._told(given, len(batch))
                for (person, k), image, *rest in zip(batch, made, seeds, vectors, told, strict=True):
                    yield GeneratedImage(image, person, firsts[person] + k, *rest)

        return batches()

    def _noise(self, generator: Generator) -> Tensor:
        """What a picture begins as, (C, h, w), whatever the host program has set."""
        return torch.randn(self.latent_shape, generator=generator, dtype=torch.float32, device="cpu")

    def _check_guidance(self, guidance: Guidance, steps: int) -> None:
        """Raise InputError unless the model can be guided so, in so many steps."""
        if isinstance(guidance, Turned) and "yaw" not in self.vocabulary:
            raise InputError(
                "This model cannot be told how far a head is turned, so its guidance cannot depend on that: give one "
                "number."
            )
        for scale in scales(guidance, steps):
            arguments.guidance(scale)

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Says what to do where the memory does not suffice."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"The memory of the device {self._execution_device} does not suffice for {self.at_once} pictures at a "
                f"time ({first_sentence(error)}): lower the pipeline's `at_once`, or use the CPU."
            ) from error

    def _check_negative(self, negative: Tensor | None, people: Identities, steps: int) -> None:
        """Raise InputError unless pictures can be led away from these people in so many steps."""
        check_shape("vectors to be led away from", negative, tuple(people.vectors.shape))

    def _people(self, identities: Identity | Identities | Tensor) -> Identities:
        if isinstance(identities, Identity):
            identities = Identities.of([identities])
        elif isinstance(identities, Tensor):
            vectors = identities[None] if identities.ndim == 1 else identities
            names = [str(row) for row in range(len(vectors))]
            identities = Identities(vectors, self.config.space, ["a tensor"] * len(names), names)
        elif not isinstance(identities, Identities):
            raise InputError(f"Give an Identity, Identities or a tensor of vectors, not a {type(identities).__name__}.")
        identities.require_space(self.config.space, self.identity_dim)
        return identities

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of a picture's noise."""
        config = self.denoiser.config
        return config.in_channels, config.sample_size, config.sample_size

    @torch.inference_mode()
    @pinned()
    def _denoise(
        self,
        latents: Tensor,
        vectors: Tensor,
        steps: int,
        led: tuple[Guidance, Tensor | None, Schedule],
        generators: Sequence[Generator],
        callback: StepCallback | None,
        condition: Any = None,
    ) -> Tensor:
        """Noise (B, C, h, w) to latents. The scheduler works in float32, the denoiser in its own precision. `led` is
        the guidance, the negative vectors (B, D) if there are any, and their weight."""
        guidance, negative, weight = led
        device = self._execution_device
        scheduler = self._scheduler(steps)
        scale = getattr(scheduler, "scale_model_input", lambda sample, _: sample)
        extra = {"generator": list(generators)} if "generator" in inspect.signature(scheduler.step).parameters else {}
        predict = self._predictor(vectors, condition, steps)
        away = None if negative is None else self._predictor(negative, condition, steps)
        latents = latents.to(device) * getattr(scheduler, "init_noise_sigma", 1.0)
        strengths: Schedule | Tensor
        if isinstance(guidance, Turned):
            turns = [told.get("yaw") or 0.0 for told in self._told(condition, len(latents))]
            strengths = guidance.at(torch.tensor(turns, dtype=torch.float32, device=device))[:, None, None, None]
        else:
            strengths = guidance
        for step, timestep in enumerate(scheduler.timesteps):
            share, seen = step / len(scheduler.timesteps), scale(latents, timestep)
            strength = strengths(share) if callable(strengths) else strengths
            output = predict(seen, timestep, strength)
            if away is not None and (w := weight(share) if callable(weight) else weight):
                towards = output if _all(strength, 1) else predict(seen, timestep, 1.0)
                output = output + w * (towards - away(seen, timestep, 1.0))
            latents = scheduler.step(output, timestep, latents, **extra, return_dict=False)[0]
            if callback is not None:
                latents = (callback(self, step, timestep, {"latents": latents}) or {}).get("latents", latents)
        return latents

    def preview(self, latents: Tensor) -> list[Image.Image]:
        """How latents (B, C, h, w) that a callback got look so far, as PIL images."""
        return cast(list[Image.Image], self._finish(latents, "pil"))

    def _finish(self, latents: Tensor, output_type: OutputType) -> list[ImageLike]:
        if output_type == "latent":
            return [latent.clone() for latent in latents.cpu()]
        pixels = self._decode(latents)
        if output_type == "pt":
            return [image.clone() for image in pixels.cpu()]  # usable outside inference mode, and each on its own
        arrays = pixels.permute(0, 2, 3, 1).cpu().numpy()
        if output_type == "np":
            return [array.copy() for array in arrays]
        return [Image.fromarray(array) for array in (arrays * 255).round().astype(np.uint8)]

    @torch.inference_mode()
    @pinned()
    def _decode(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) latents to (B, 3, H, W) in [0, 1]."""
        config = self.autoencoder.config
        latents = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
        decode = lambda z: self.autoencoder.decode(z).sample  # noqa: E731
        pixels = by_image(decode, latents.to(self.autoencoder.dtype)[:, None], at_once=self.decoded_at_once)[:, 0]
        return (pixels.float() / 2 + 0.5).clamp(0, 1)


# What `help`, an editor, and diffusers' look at a pipeline's arguments see.
setattr(IdentityPipeline.__call__, "__signature__", inspect.signature(IdentityPipeline.iterate))  # noqa: B010
