"""Identities to photoreal faces by Arc2Face (Papantoniou et al., ECCV 2024, arXiv 2403.11641) on today's libraries."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Generator, Tensor

from idgen.ground import hub
from idgen.ground.arguments import number
from idgen.ground.attributes import Asking, Vocabulary
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, Identity
from idgen.ground.images import ImageSource
from idgen.ground.weights import load_published
from idgen.pipelines.arc2face import attributes as attributes_of
from idgen.pipelines.arc2face import expression as expressions
from idgen.pipelines.arc2face import files
from idgen.pipelines.arc2face import reference as references
from idgen.pipelines.arc2face import text_encoder as texts
from idgen.pipelines.arc2face.adapted import AdaptedPipeline
from idgen.pipelines.arc2face.files import SAVED_ADAPTER, SAVED_REFERENCE, SPACE
from idgen.pipelines.arc2face.normals import read_all_normals
from idgen.pipelines.arc2face.text_encoder import EncodedIdentities, load_text_encoder
from idgen.pipelines.base import Condition
from idgen.pipelines.shells import packed
from idgen.pipelines.workers import by_image


class Arc2FacePipeline(AdaptedPipeline):
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
    extra_files = (SAVED_ADAPTER, SAVED_REFERENCE)
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

    @property
    def identity_dim(self) -> int:
        return int(self.config.identity_dim)

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(attributes_of.known(self._expressive is not None, self.controlnet is not None))

    @classmethod
    def vocabulary_in(cls, folder: Path) -> Vocabulary:
        there = (folder / SAVED_ADAPTER).is_file(), (folder / "controlnet" / "config.json").is_file()
        return Vocabulary(attributes_of.known(*there))

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
        reference: ImageSource | Sequence[ImageSource] | None = None,
        reference_strength: float = references.STRENGTH,
        attributes: Mapping[str, Any] | Asking | Sequence[Mapping[str, Any]] | None = None,
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
            reference: a face, cut out as FFHQ does, whose appearance and background are kept to: for all pictures, or a
                list, one a person or one a picture; see `idgen.pipelines.arc2face.reference`. Needs that adapter.
            reference_strength: 0 to 1: less leaves more room for expression and pose.
            attributes: instead of expression and normals, how the pictures are to look in the words of every model, see
                `vocabulary` and `Asking`, or one such a picture, person by person: yaw and pitch by the ControlNet and
                a plain head, expression, mouth_open, eyes_shut by the adapter; else straight and neutral.

        Raises:
            InputError: any of these cannot be used, or the part it needs is not loaded.
        """
        super().prepare(people, images_per_identity, **options)
        for asked, part, missing in (
            (expression, self._expressive, "expression adapter: load it with expression=True, or `with_expression`"),
            (normals, self.controlnet, "ControlNet for the pose: load it with controlnet=True"),
            (reference, self._reference, "reference adapter: load it with reference=True, or `with_reference`"),
        ):
            if asked is not None and part is None:
                raise InputError(f"This Arc2Face has no {missing}; `idgen convert` takes the same words.")
        number("strength of the reference", reference_strength, 0, 1)
        if attributes and (expression is not None or normals is not None):
            raise InputError("Give attributes, or an expression and normal maps, not both.")
        every = Asking.each(attributes, self.vocabulary, len(people) * images_per_identity)
        with_face, with_pose = attributes_of.parts(set[str]().union(*(one.asked for one in every)))
        faces = expressions.for_pictures(expression, expression_strength, len(people), images_per_identity)
        maps = None if normals is None else read_all_normals(normals, self.image_size, images_per_identity)
        kept_to = None if reference is None else self._references(reference, len(people), images_per_identity)
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
            each, told = list(zip(images, generators, strict=True)), None
            looks = None if faces is None else [faces(*one) for one in each]
            poses = None if maps is None else [maps[k % len(maps)] for _, k in images]
            if with_face or with_pose:
                which = [every[(person * images_per_identity + k) % len(every)] for person, k in images]
                told = [self.vocabulary.words(a.draw(g)) for a, g in zip(which, generators, strict=True)]
                poses = [attributes_of.pose_of(one, self.image_size) for one in told] if with_pose else None
                looks = [attributes_of.expression_of(one) for one in told] if with_face else None
            return {
                "prompts": prompts([person for person, _ in images]),
                "nobody": people.nobody if isinstance(people, EncodedIdentities) else self._nobody_prompt(),
                "expression": None if looks is None else torch.stack(looks),
                "normals": None if poses is None else torch.stack(poses),
                "reference": None if kept_to is None else torch.stack([kept_to(*one) for one in each]),
                "strength": reference_strength,
                "told": told,
            }

        return condition

    def _references(
        self, given: ImageSource | Sequence[ImageSource], people: int, images: int
    ) -> Callable[[tuple[int, int], Generator], Tensor]:
        """What gives the latents (C, h, w) that a picture keeps to, by its person and number and its generator's
        seed: drawn, as officially, from what the autoencoder makes of the reference."""
        each = references.read_all(given, self.image_size, people, images)
        place, spreads = (self._execution_device, self.autoencoder.dtype), dict[int, Any]()

        def latents(image: tuple[int, int], generator: Generator) -> Tensor:
            picture = each[{1: 0, people: image[0]}.get(len(each), image[0] * images + image[1])]
            if id(picture) not in spreads:
                with torch.inference_mode():
                    spreads[id(picture)] = references.spread_of(self.autoencoder, picture.to(*place))
            mean, deviation = spreads[id(picture)]
            own = Generator().manual_seed(generator.initial_seed() + 1)  # whatever else is drawn for the picture
            noise = torch.randn(mean.shape, generator=own, dtype=torch.float32, device="cpu")
            return (mean + deviation * noise) * self.autoencoder.config.scaling_factor

        return latents

    def _told(self, condition: Any, count: int) -> list[dict[str, Any]]:
        return condition.get("told") or super()._told(condition, count)

    def _conditions(self, vectors: Tensor, condition: Any) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
        device, dtype = self._execution_device, self.denoiser.dtype

        def rows(values: Tensor, without: Tensor | None = None) -> Tensor:
            """(B, …) to (B, 2, …), the second row `without` the identity."""
            values = values.to(device, dtype)
            other = values if without is None else without.to(device, dtype).expand_as(values)
            return torch.stack([values, other], 1)

        given = {"prompts": rows(condition["prompts"], condition["nobody"])}
        denoiser, controlnet = self.denoiser, self.controlnet
        if (faces := condition["expression"]) is not None:
            given["face"] = rows(faces[:, None], torch.zeros(1, 1, expressions.SIZE))
            denoiser = self._expressive
        if (maps := condition["normals"]) is not None:
            given["map"], controlnet = rows(maps), packed(self.controlnet)
        if (kept_to := condition["reference"]) is not None and self._reference is not None:
            noted = references.note(self.denoiser, kept_to.to(device, dtype), condition["prompts"].to(device, dtype))
            given["noted"] = noted[:, None].expand(-1, 2, -1)
            given["which"] = torch.tensor([True, False], device=device).expand(len(noted), 2)
            denoiser = self._reference.adapted(denoiser, condition["strength"])
        denoiser = packed(denoiser)

        def call(sample: Tensor, timestep: Tensor, *values: Tensor) -> Tensor:
            told, added, network = dict(zip(given, values, strict=True)), {}, denoiser
            if "face" in told:
                added["added_cond_kwargs"] = {"image_embeds": [told["face"]]}
            if "map" in told:
                down, middle = controlnet(sample, timestep, told["prompts"], told["map"], return_dict=False)
                added |= {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
            if "noted" in told:
                network = references.seeing(denoiser, told["noted"], told["which"])
            return network(sample, timestep, told["prompts"], **added, return_dict=False)[0]

        return call, tuple(given.values())

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        base: str | os.PathLike[str] | None = None,
        few_step: bool | str | os.PathLike[str] = False,
        controlnet: Any = None,
        expression: bool = False,
        reference: bool = False,
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
            expression, reference: only for the official files: load this adapter too.
            kwargs: of `DiffusionPipeline.from_pretrained`: dtype, revision, token, cache_dir, …

        Raises:
            InputError: a file is missing or cannot be fetched (it says which, and where it comes from), would execute
                code, is damaged, or its weights do not fit.
        """
        if files.are_official(pretrained_model_name_or_path, hub.options_in(kwargs)):
            parts = {"controlnet": controlnet is True, "expression": expression, "reference": reference}
            pipeline = cls._from_official(pretrained_model_name_or_path, base, parts, **kwargs)
            if isinstance(controlnet, ControlNetModel):
                pipeline.register_modules(controlnet=controlnet)
        else:
            folder = Path(pretrained_model_name_or_path)
            folder = folder if folder.is_dir() else Path(cls.download(str(pretrained_model_name_or_path), **kwargs))
            files.warn_of_earlier(folder)
            more = {"controlnet": controlnet} if isinstance(controlnet, ControlNetModel) else {}
            pipeline = super().from_pretrained(folder, **kwargs, **more)
            pipeline._attach_saved(folder)
        return pipeline.few_step(files.LCM_LORA if few_step is True else few_step) if few_step else pipeline

    @classmethod
    def _from_official(
        cls,
        source: files.Place,
        base: files.Place | None,
        parts: Mapping[str, bool],
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
        folder, base_folder = files.folders(source, base, options, **parts, base_revision=base_revision)
        controlnet = folder / "controlnet" if parts["controlnet"] else None
        pipeline = cls(
            load_published(UNet2DConditionModel, folder / "arc2face", dtype).eval(),
            load_published(AutoencoderKL, base_folder / "vae", dtype).eval(),
            files.scheduler(base_folder / "scheduler"),
            load_text_encoder(folder / "encoder", dtype),
            None if controlnet is None else load_published(ControlNetModel, controlnet, dtype).eval(),
            identity_dim=identity_dim,
        )
        if parts["expression"]:
            pipeline = pipeline.with_expression(folder / files.ADAPTER)
        return pipeline.with_reference(folder / files.REFERENCE) if parts["reference"] else pipeline

    @classmethod
    def _load_network(
        cls, library: str, name: str, folder: Path, dtype: torch.dtype | None, variant: str | None
    ) -> Any:
        if (library, name) == ("transformers", "CLIPTextModel"):
            return load_text_encoder(folder, dtype, variant)
        return super()._load_network(library, name, folder, dtype, variant)
