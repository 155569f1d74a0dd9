"""Identities to photoreal faces by Arc2Face (Papantoniou et al., ECCV 2024, arXiv 2403.11641) on today's libraries."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ControlNetModel, LCMScheduler, UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from idgen.ground import hub
from idgen.ground.attributes import Asking, Vocabulary
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, Identity
from idgen.ground.images import ImageSource
from idgen.ground.weights import load_published
from idgen.pipelines.arc2face import attributes as attributes_of
from idgen.pipelines.arc2face import expression as expressions
from idgen.pipelines.arc2face import files
from idgen.pipelines.arc2face import text_encoder as texts
from idgen.pipelines.arc2face.adapters import fuse_lora, read_adapter, with_adapter
from idgen.pipelines.arc2face.files import SAVED_ADAPTER, SPACE
from idgen.pipelines.arc2face.normals import read_all_normals
from idgen.pipelines.arc2face.text_encoder import EncodedIdentities, load_text_encoder
from idgen.pipelines.base import Condition, IdentityPipeline
from idgen.pipelines.workers import by_image


class Arc2FacePipeline(IdentityPipeline):
    """Photoreal pictures, 512×512, of given identities in the space of Arc2Face's recogniser.

    An identity takes the place of one token in a fixed prompt, which a fine-tuned CLIP text encoder turns into what a
    fine-tuned Stable Diffusion 1.5 attends to. Load it with `from_pretrained`.

    Args:
        denoiser: the fine-tuned `UNet2DConditionModel`.
        autoencoder: Stable Diffusion 1.5's.
        scheduler: of diffusers; officially DPM-Solver++; any other by its `from_config(pipeline.scheduler.config)`.
        text_encoder: the fine-tuned `CLIPTextModel`; None where only `EncodedIdentities` will come.
        controlnet: for the pose, or None.
        space: name of the embedding space that the identities must live in.
        identity_dim: length D of their vectors.
        num_inference_steps: denoising steps unless a call says otherwise.
        guidance_scale: classifier-free guidance unless a call says otherwise; 1 is none.
        expression_scale: weight of the expression adapter's attention, where there is one.
    """

    aligned = False
    half_on_accelerator = True
    extra_files = (SAVED_ADAPTER,)
    at_once = 4  # each takes 0.14 GB in float16 (`benchmarks/arc2face.py --memory`), one alone as much as four
    decoded_at_once = 1  # which fills a GPU
    model_cpu_offload_seq = "text_encoder->denoiser->autoencoder"
    _optional_components: ClassVar[list[str]] = ["text_encoder", "controlnet"]

    def __init__(
        self,
        denoiser: UNet2DConditionModel,
        autoencoder: AutoencoderKL,
        scheduler: SchedulerMixin,
        text_encoder: Any = None,  # a CLIPTextModel: importing transformers takes seconds
        controlnet: ControlNetModel | None = None,
        space: str = SPACE,
        identity_dim: int = 512,
        num_inference_steps: int = 25,
        guidance_scale: float = 3.0,
        expression_scale: float = 1.0,
    ):
        super().__init__()
        self.register_modules(
            denoiser=denoiser,
            autoencoder=autoencoder,
            scheduler=scheduler,
            text_encoder=text_encoder,
            controlnet=controlnet,
        )
        more = {"identity_dim": identity_dim, "expression_scale": expression_scale}
        self._configure(space, num_inference_steps, guidance_scale, **more)
        width = denoiser.config.cross_attention_dim
        text = width if text_encoder is None else text_encoder.config.hidden_size
        pose = width if controlnet is None else controlnet.config.cross_attention_dim
        if not identity_dim <= text == pose == width:
            raise InputError(
                f"The parts are of different models: the denoiser takes tokens of {width} numbers, the text encoder "
                f"makes {text}, the ControlNet takes {pose}, and an identity, which has to fit in, is {identity_dim}."
            )
        self._nobody: dict[tuple[torch.device, torch.dtype], Tensor] = {}
        self._expressive: UNet2DConditionModel | None = None
        self._adapter: dict[str, Tensor] = {}

    @property
    def identity_dim(self) -> int:
        return int(self.config.identity_dim)

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(attributes_of.known(self._expressive is not None, self.controlnet is not None))

    @property
    def image_size(self) -> int:
        """Side of the pictures in pixels."""
        return int(self.denoiser.config.sample_size) * 2 ** (len(self.autoencoder.config.block_out_channels) - 1)

    def encode(self, identities: Identity | Identities | Tensor) -> EncodedIdentities:
        """The prompt embeddings of any number of identities; afterwards `pipeline.text_encoder` may be dropped.

        Raises:
            InputError: the identities live in another space, or there is no text encoder.
        """
        people = self._people(identities)
        if isinstance(people, EncodedIdentities):
            return people
        return EncodedIdentities(people, self._prompts(people.vectors).cpu(), self._nobody_prompt().cpu())

    @torch.no_grad()
    def _prompts(self, vectors: Tensor) -> Tensor:
        """(N, D) unit vectors to (N, 77, W)."""
        encoder = self._need_text_encoder()
        vectors = vectors / vectors.norm(dim=1, keepdim=True)
        vectors = F.pad(vectors, (0, encoder.config.hidden_size - vectors.shape[1]))
        tokens = vectors.to(self._execution_device, encoder.dtype)[:, None]
        return by_image(lambda token: texts.encode_prompt(encoder, texts.PROMPT, token), tokens)[:, 0].clone()

    @torch.no_grad()
    def _nobody_prompt(self) -> Tensor:
        """(1, 77, W), made once."""
        encoder = self._need_text_encoder()
        place = self._execution_device, encoder.dtype
        if place not in self._nobody:
            token = torch.zeros(1, 1, 1, device=place[0])  # by_image, so that it does not depend on the threads either
            self._nobody[place] = by_image(lambda _: texts.encode_prompt(encoder, texts.NOBODY), token)[:, 0].clone()
        return self._nobody[place]

    def _need_text_encoder(self) -> Any:
        if self.text_encoder is None:
            raise InputError("There is no text encoder: give identities that `encode` made, or load one.")
        return self.text_encoder

    def prepare(
        self,
        people: Identities,
        images_per_identity: int,
        *,
        expression: str | Mapping[str, float] | Tensor | None = None,
        expression_strength: float = 1.0,
        normals: ImageSource | Sequence[ImageSource] | None = None,
        attributes: Mapping[str, Any] | Asking | None = None,
        **options: Any,
    ) -> Condition:
        """Check what is asked for beside the identities; see `IdentityPipeline.prepare`.

        Args:
            people, images_per_identity: of the call.
            expression: None leaves it to chance as Arc2Face does; else a preset's name, sliders by name, a vector (55,)
                or vectors (N, K, 55), one for each of K pictures of N people, or "random": drawn for each picture from
                its own seed. See `idgen.pipelines.arc2face.expression`. Needs the expression adapter.
            expression_strength: factor on a random expression.
            normals: a normal map for the pose of all pictures, or a list of K, one for each picture of a person; see
                `idgen.pipelines.arc2face.normals`. Needs the ControlNet.
            attributes: instead of both, how the pictures are to look in the words of every model, see `vocabulary` and
                `idgen.ground.attributes.Asking`: yaw and pitch by the ControlNet and a plain head, expression,
                mouth_open and eyes_shut by the adapter. What is left open is straight and neutral.

        Raises:
            InputError: any of these cannot be used, or the part it needs is not loaded.
        """
        super().prepare(people, images_per_identity, **options)
        if expression is not None and self._expressive is None:
            raise InputError(
                "This Arc2Face has no expression adapter: add it by `with_expression`, or load it with expression=True."
            )
        if normals is not None and self.controlnet is None:
            raise InputError("This Arc2Face has no ControlNet for the pose: load it with controlnet=True.")
        if attributes and (expression is not None or normals is not None):
            raise InputError("Give attributes, or an expression and normal maps, not both.")
        asking = Asking(attributes or {}, self.vocabulary) if not isinstance(attributes, Asking) else attributes
        with_face, with_pose = attributes_of.parts(asking.asked)
        faces = expressions.for_pictures(expression, expression_strength, len(people), images_per_identity)
        maps = None if normals is None else read_all_normals(normals, self.image_size, images_per_identity)
        nobody = people.nobody if isinstance(people, EncodedIdentities) else self._nobody_prompt()
        known: dict[int, Tensor] = {}  # prompts of the batch before: a person's pictures may be in two

        def prompts(rows: Sequence[int]) -> Tensor:
            if isinstance(people, EncodedIdentities):
                return people.prompts[rows]
            for row in known.keys() - set(rows):
                del known[row]
            if missing := sorted(set(rows) - known.keys()):
                known.update(zip(missing, self._prompts(people.vectors[missing]), strict=True))
            return torch.stack([known[row] for row in rows])

        def condition(images: Sequence[tuple[int, int]], generators: Sequence[Generator]) -> dict[str, Any]:
            each = zip(images, generators, strict=True)
            if asking.asked:
                told = [self.vocabulary.words(asking.draw(generator)) for generator in generators]
                poses = [attributes_of.pose_of(one, self.image_size) for one in told] if with_pose else []
                looks = [attributes_of.expression_of(one) for one in told] if with_face else []
                return {
                    "prompts": prompts([person for person, _ in images]),
                    "nobody": nobody,
                    "expression": torch.stack(looks) if looks else None,
                    "normals": torch.stack(poses) if poses else None,
                    "told": told,
                }
            return {
                "prompts": prompts([person for person, _ in images]),
                "nobody": nobody,
                "expression": None if faces is None else torch.stack([faces(*one) for one in each]),
                "normals": None if maps is None else torch.stack([maps[k % len(maps)] for _, k in images]),
            }

        return condition

    def _told(self, condition: Any, count: int) -> list[dict[str, Any]]:
        return condition.get("told") or super()._told(condition, count)

    def _conditions(self, vectors: Tensor, condition: Any) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
        device, dtype = self._execution_device, self.denoiser.dtype

        def rows(values: Tensor, without: Tensor | None = None) -> Tensor:
            """(B, …) to (B, 2, …), the second row `without` the identity."""
            values = values.to(device, dtype)
            other = values if without is None else without.to(device, dtype).expand_as(values)
            return torch.stack([values, other], 1)

        given = [rows(condition["prompts"], condition["nobody"])]
        if (faces := condition["expression"]) is not None:
            given.append(rows(faces[:, None], torch.zeros(1, 1, expressions.SIZE)))
        if (maps := condition["normals"]) is not None:
            given.append(rows(maps))
        denoiser: Any = self.denoiser if faces is None else self._expressive

        def call(sample: Tensor, timestep: Tensor, prompts: Tensor, *more: Tensor) -> Tensor:
            added: dict[str, Any] = {}
            if faces is not None:
                added["added_cond_kwargs"] = {"image_embeds": [more[0]]}
            if maps is not None:
                down, middle = self.controlnet(sample, timestep, prompts, more[-1], return_dict=False)
                added |= {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
            return denoiser(sample, timestep, prompts, **added, return_dict=False)[0]

        return call, tuple(given)

    def few_step(self, lora: str | os.PathLike[str] = files.LCM_LORA, **hub: Any) -> Arc2FacePipeline:
        """This model with the LCM-LoRA in its denoiser: 2 to 4 steps without guidance. This one stays as it is, and the
        rest is shared. Needs the package peft.

        Args:
            lora: a safetensors file, a folder that holds `pytorch_lora_weights.safetensors`, or a hub repository.
            hub: revision, token and the like.

        Raises:
            InputError: the LoRA cannot be read or does not fit the denoiser.
        """
        denoiser = copy.deepcopy(self.denoiser)
        fuse_lora(denoiser, files.lora_file(lora, hub))
        other = copy.copy(self)
        other.register_modules(denoiser=denoiser, scheduler=LCMScheduler.from_config(self.scheduler.config))
        other.register_to_config(num_inference_steps=3, guidance_scale=1.0)
        if self._adapter:
            other._attach(self._adapter, self.config.expression_scale)
        return other

    def with_expression(
        self, adapter: str | os.PathLike[str] | Mapping[str, Tensor], scale: float = 1.0
    ) -> Arc2FacePipeline:
        """This model with an expression adapter; this one stays as it is, and all weights are shared.

        Args:
            adapter: `exp_adapter.bin` (read without executing anything), a safetensors file of the same content, or
                that content.
            scale: weight of the expression's attention.

        Raises:
            InputError: the file cannot be read, takes no 55 values, or does not fit the denoiser.
        """
        other = copy.copy(self)
        other._attach(dict(adapter) if isinstance(adapter, Mapping) else read_adapter(adapter), scale)
        return other

    @classmethod
    def from_pipe(cls, pipeline: Any, **changed: Any) -> Arc2FacePipeline:
        """As `IdentityPipeline.from_pipe`, expression adapter included."""
        other = super().from_pipe(pipeline, **changed)
        if adapter := getattr(pipeline, "_adapter", None):
            other._attach(adapter, other.config.expression_scale)
        return other

    def _attach(self, adapter: dict[str, Tensor], scale: float) -> None:
        self._expressive, self._adapter = with_adapter(self.denoiser, adapter, scale), adapter
        self.register_to_config(expression_scale=scale)

    def to(self, *args: Any, **kwargs: Any) -> Arc2FacePipeline:
        """As `DiffusionPipeline.to`."""
        super().to(*args, **kwargs)
        if self._expressive is not None:
            nn.Module.to(self._expressive, self.denoiser.device, self.denoiser.dtype)
        return self

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """As `DiffusionPipeline.save_pretrained`: one folder that `from_pretrained` reads, adapter included."""
        with texts.without_bars():
            super().save_pretrained(save_directory, **kwargs)
        if self._adapter:
            file = Path(save_directory) / SAVED_ADAPTER
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: tensor.contiguous() for name, tensor in self._adapter.items()}, file, {"format": "pt"})

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        base: str | os.PathLike[str] | None = None,
        few_step: bool | str | os.PathLike[str] = False,
        controlnet: Any = None,
        expression: bool = False,
        **kwargs: Any,
    ) -> Arc2FacePipeline:
        """Load what `save_pretrained` wrote, or the files as Arc2Face's authors published them.

        Args:
            pretrained_model_name_or_path: a folder or a hub repository of either kind; the official one is
                "FoivosPar/Arc2Face".
            base: only for the official files: folder or repository of Stable Diffusion 1.5, whose autoencoder and
                schedule are needed; by default the same folder if it has them, else
                "stable-diffusion-v1-5/stable-diffusion-v1-5".
            few_step: add the LCM-LoRA, see `few_step`: True, or where it is.
            controlnet: a loaded one for the pose, or True for that of the official files.
            expression: only for the official files: load the expression adapter too.
            kwargs: of `DiffusionPipeline.from_pretrained`: dtype, revision, token, cache_dir, …

        Raises:
            InputError: a file is missing or cannot be fetched (it says which, and where it comes from), would execute
                code, is damaged, or its weights do not fit.
        """
        if files.are_official(pretrained_model_name_or_path, hub.options_in(kwargs)):
            pipeline = cls._from_official(pretrained_model_name_or_path, base, controlnet is True, expression, **kwargs)
            if isinstance(controlnet, ControlNetModel):
                pipeline.register_modules(controlnet=controlnet)
        else:
            folder = Path(pretrained_model_name_or_path)
            folder = folder if folder.is_dir() else Path(cls.download(str(pretrained_model_name_or_path), **kwargs))
            more = {"controlnet": controlnet} if isinstance(controlnet, ControlNetModel) else {}
            pipeline = super().from_pretrained(folder, **kwargs, **more)
            if (folder / SAVED_ADAPTER).is_file():
                pipeline._attach(read_adapter(folder / SAVED_ADAPTER), pipeline.config.expression_scale)
                pipeline.to(pipeline.denoiser.device)
        return pipeline.few_step(files.LCM_LORA if few_step is True else few_step) if few_step else pipeline

    @classmethod
    def _from_official(
        cls,
        source: files.Place,
        base: files.Place | None,
        controlnet: bool,
        expression: bool,
        *,
        base_revision: str | None = None,
        identity_dim: int = 512,
        dtype: torch.dtype | None = None,
        torch_dtype: torch.dtype | None = None,
        **kwargs: Any,
    ) -> Arc2FacePipeline:
        """`identity_dim` is for a model in this layout that was trained with another recogniser."""
        options, dtype = hub.options_in(kwargs), dtype or torch_dtype
        if unknown := sorted(kwargs.keys() - options.keys()):
            raise InputError(f"There is no option {unknown[0]!r} for Arc2Face's official files: leave it out.")
        folder, base_folder = files.folders(
            source, base, options, controlnet=controlnet, expression=expression, base_revision=base_revision
        )
        pipeline = cls(
            load_published(UNet2DConditionModel, folder / "arc2face", dtype).eval(),
            load_published(AutoencoderKL, base_folder / "vae", dtype).eval(),
            files.scheduler(base_folder / "scheduler"),
            load_text_encoder(folder / "encoder", dtype),
            load_published(ControlNetModel, folder / "controlnet", dtype).eval() if controlnet else None,
            identity_dim=identity_dim,
        )
        return pipeline.with_expression(folder / files.ADAPTER) if expression else pipeline

    @classmethod
    def _load_network(
        cls, library: str, name: str, folder: Path, dtype: torch.dtype | None, variant: str | None
    ) -> Any:
        if (library, name) == ("transformers", "CLIPTextModel"):
            return load_text_encoder(folder, dtype, variant)
        return super()._load_network(library, name, folder, dtype, variant)
