"""Identities to photoreal faces by Arc2Face (Papantoniou et al., ECCV 2024, arXiv 2403.11641) on today's libraries."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ControlNetModel, LCMScheduler, UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from idgen.errors import InputError
from idgen.identity import Identities, Identity
from idgen.images import ImageSource
from idgen.pipelines import expression as expressions
from idgen.pipelines.base import HUB_OPTIONS, Condition, IdentityPipeline, register
from idgen.pipelines.normals import read_normals
from idgen.pipelines.workers import by_image
from idgen.weights import check_fit, read_tensors

if TYPE_CHECKING:
    from transformers import CLIPTextModel

SPACE = "arcface-webface42m"
"""The embedding space of Arc2Face's own recogniser, `arcface.onnx`."""
ORIGIN = "FoivosPar/Arc2Face on the Hugging Face Hub"
LCM_LORA = "latent-consistency/lcm-lora-sdv1-5"
LORA_NAME = "pytorch_lora_weights.safetensors"
ADAPTER_NAME = "expression_adapter/ip_adapter.safetensors"

# "photo of a id person", padded to 77 tokens with the end token, and "", in CLIP's vocabulary: the only two prompts
# that the fine-tuned encoder knows, so no tokenizer is needed. "id" gives way to the identity.
LENGTH, START, END, ID_POSITION = 77, 49406, 49407, 4
PROMPT = (START, 1125, 539, 320, 1014, 2533)
NOBODY = (START,)

_AHEAD = 64  # identities whose prompts are made in one pass
# Gigabytes beside the weights that one 512×512 picture takes in float16, and what the device itself takes. Estimates:
# twice the tensors that are alive at once, as `benchmarks/arc2face.py --memory` counts them, for what kernels need; not
# measured on a GPU.
_DENOISING_GB, _DECODING_GB, _BASE_GB = 0.3, 0.8, 0.8


class EncodedIdentities(Identities):
    """Identities with their prompt embeddings, by `Arc2FacePipeline.encode`: no text encoder is needed any more.

    Args:
        identities: who.
        prompts: (N, 77, W) one an identity.
        nobody: (1, 77, W) the embedding of the empty prompt.
    """

    def __init__(self, identities: Identities, prompts: Tensor, nobody: Tensor):
        super().__init__(identities.vectors, identities.space, identities.sources, identities.names)
        if len(prompts) != len(self) or prompts.shape[1:] != nobody.shape[1:] or len(nobody) != 1:
            raise InputError(
                f"{len(self)} identities need prompts ({len(self)}, {LENGTH}, W) and one for nobody, got "
                f"{tuple(prompts.shape)} and {tuple(nobody.shape)}."
            )
        self.prompts, self.nobody = prompts, nobody


class Arc2FacePipeline(IdentityPipeline):
    """Photoreal pictures, 512×512, of given identities in the space of Arc2Face's recogniser.

    An identity takes the place of one token in a fixed prompt, which a fine-tuned CLIP text encoder turns into what a
    fine-tuned Stable Diffusion 1.5 attends to. Load it with `from_pretrained`.

    Args:
        denoiser: the fine-tuned `UNet2DConditionModel`.
        autoencoder: Stable Diffusion 1.5's.
        scheduler: of diffusers; officially DPM-Solver++ with `timestep_spacing="linspace"`.
        text_encoder: the fine-tuned `CLIPTextModel`; None where only `EncodedIdentities` will come.
        controlnet: for the pose, or None.
        space: name of the embedding space that the identities must live in.
        identity_dim: length D of their vectors.
        num_inference_steps: denoising steps unless a call says otherwise.
        guidance_scale: classifier-free guidance unless a call says otherwise; 1 is none.
        expression_scale: weight of the expression adapter's attention, where there is one.

    Attributes:
        memory_gb: memory of the device that may be used, weights included; by default all of a GPU, and on a CPU as
            much as it takes. How many pictures are computed at once follows from it; not which.
    """

    aligned = False
    half_on_accelerator = True
    extra_files = (ADAPTER_NAME,)
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
        if text_encoder is not None and text_encoder.config.hidden_size != width:
            raise InputError(
                f"The denoiser attends to vectors of {width} numbers, but the text encoder makes "
                f"{text_encoder.config.hidden_size}: they are of different models."
            )
        if identity_dim > width:
            raise InputError(f"A vector of {identity_dim} numbers does not fit into a token of {width}.")
        if controlnet is not None and controlnet.config.cross_attention_dim != width:
            raise InputError("The ControlNet and the denoiser are of different models: their token widths differ.")
        self.memory_gb: float | None = None
        self._nobody: dict[tuple[torch.device, torch.dtype], Tensor] = {}
        self._expressive: UNet2DConditionModel | None = None
        self._adapter: dict[str, Tensor] = {}

    @property
    def identity_dim(self) -> int:
        return int(self.config.identity_dim)

    @property
    def image_size(self) -> int:
        """Side of the pictures in pixels."""
        return int(self.denoiser.config.sample_size) * 2 ** (len(self.autoencoder.config.block_out_channels) - 1)

    # ------------------------------------------------------------ conditioning

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
        return by_image(lambda token: encode_prompt(encoder, PROMPT, token), tokens)[:, 0].clone()

    @torch.no_grad()
    def _nobody_prompt(self) -> Tensor:
        """(1, 77, W), made once."""
        encoder = self._need_text_encoder()
        place = self._execution_device, encoder.dtype
        if place not in self._nobody:
            token = torch.zeros(1, 1, 1, device=place[0])  # by_image, so that it does not depend on the threads either
            made = by_image(lambda _: encode_prompt(encoder, NOBODY), token)[:, 0].clone()
            self._nobody[place] = made
        return self._nobody[place]

    def _need_text_encoder(self) -> CLIPTextModel:
        if self.text_encoder is None:
            raise InputError(
                "There is no text encoder: give identities that `encode` made, without a variation, or load one."
            )
        return self.text_encoder

    def prepare(
        self,
        people: Identities,
        images_per_identity: int,
        *,
        expression: str | Mapping[str, float] | Tensor | None = None,
        expression_strength: float = 1.0,
        normals: ImageSource | Sequence[ImageSource] | None = None,
        **options: Any,
    ) -> Condition:
        """Check what is asked for beside the identities; see `IdentityPipeline.prepare`.

        Args:
            people, images_per_identity: of the call.
            expression: None leaves it to chance as Arc2Face does; else a preset's name, sliders by name, a vector (55,)
                or vectors (N, K, 55), one for each of K pictures of N people, or "random": drawn for each picture from
                its own seed. See `idgen.pipelines.expression`. Needs the expression adapter.
            expression_strength: factor on a random expression.
            normals: a normal map for the pose of all pictures, or a list of K, one for each picture of a person; see
                `idgen.pipelines.normals`. Needs the ControlNet.

        Raises:
            InputError: any of these cannot be used, the part it needs is not loaded, or the memory is too small.
        """
        super().prepare(people, images_per_identity, **options)
        self._check_memory()
        wanted = self._wanted_expressions(expression, expression_strength, len(people), images_per_identity)
        maps = self._wanted_normals(normals, images_per_identity)
        known: dict[int, Tensor] = {}
        nobody = people.nobody if isinstance(people, EncodedIdentities) else self._nobody_prompt()

        def condition(
            images: Sequence[tuple[int, int]], vectors: Tensor, generators: Sequence[Generator]
        ) -> dict[str, Tensor | None]:
            rows = [person for person, _ in images]
            if not torch.equal(vectors, people.vectors[rows]):  # variations
                prompts = self._prompts(vectors)
            elif isinstance(people, EncodedIdentities):
                prompts = people.prompts[rows]
            else:
                for row in set(known) - set(rows):
                    del known[row]
                if missing := sorted(set(rows) - set(known)):
                    block = range(missing[0], min(max(missing[0] + _AHEAD, missing[-1] + 1), len(people)))
                    known.update(zip(block, self._prompts(people.vectors[block.start : block.stop]), strict=True))
                prompts = torch.stack([known[row] for row in rows])
            faces = None
            if wanted is not None:
                faces = torch.stack(
                    [wanted(image, generator) for image, generator in zip(images, generators, strict=True)]
                )
            return {
                "prompts": prompts,
                "nobody": nobody,
                "expression": faces,
                "normals": None if maps is None else torch.stack([maps[k % len(maps)] for _, k in images]),
            }

        return condition

    def _wanted_expressions(
        self, values: Any, strength: float, people: int, images: int
    ) -> Callable[[tuple[int, int], Generator], Tensor] | None:
        if values is None:
            return None
        if self._expressive is None:
            raise InputError(
                "This Arc2Face has no expression adapter: add it by `with_expression`, or load it with expression=True."
            )
        if isinstance(values, str) and values == "random":
            expressions.draw(Generator(), strength)  # checks the strength now
            return lambda image, generator: expressions.draw(generator, strength)
        if isinstance(values, Tensor) and values.ndim > 1:
            if tuple(values.shape[:-1]) != (people, images):
                raise InputError(
                    f"Expressions for {images} pictures of {people} people have the shape ({people}, {images}, 55), "
                    f"got {tuple(values.shape)}."
                )
            table = expressions.check(values)
            return lambda image, generator: table[image]
        one = expressions.expression(values)
        return lambda image, generator: one

    def _wanted_normals(self, normals: Any, images: int) -> list[Tensor] | None:
        if normals is None:
            return None
        if self.controlnet is None:
            raise InputError("This Arc2Face has no ControlNet for the pose: load it with controlnet=True.")
        sources = list(normals) if isinstance(normals, (list, tuple)) else [normals]
        if len(sources) not in (1, images):
            raise InputError(f"Give one normal map, or one for each of the {images} pictures, not {len(sources)}.")
        return [read_normals(source, self.image_size) for source in sources]

    def _conditions(self, vectors: Tensor, condition: Any) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
        device, dtype = self._execution_device, self.denoiser.dtype

        def rows(values: Tensor, without: Tensor | None = None) -> Tensor:
            """(B, …) to (B, 2, …), the second row `without` the identity."""
            values = values.to(device, dtype)
            other = values if without is None else without.to(device, dtype).expand_as(values)
            return torch.stack([values, other], 1)

        given = [rows(condition["prompts"], condition["nobody"])]
        faces, maps = condition["expression"], condition["normals"]
        if faces is not None:
            given.append(rows(faces[:, None], torch.zeros(1, 1, expressions.SIZE)))
        if maps is not None:
            given.append(rows(maps))
        denoiser: Any = self.denoiser if faces is None else self._expressive

        def call(sample: Tensor, timestep: Tensor, prompts: Tensor, *more: Tensor) -> Tensor:
            left = list(more)
            added = {"image_embeds": [left.pop(0)]} if faces is not None else None
            residuals: dict[str, Any] = {}
            if maps is not None:
                down, middle = self.controlnet(sample, timestep, prompts, left.pop(0), return_dict=False)
                residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
            return denoiser(sample, timestep, prompts, added_cond_kwargs=added, **residuals, return_dict=False)[0]

        return call, tuple(given)

    # ------------------------------------------------------------ memory

    def _memory(self) -> float | None:
        """Gigabytes that may be used, weights included; None: no limit is known."""
        if self.memory_gb is not None:
            return self.memory_gb
        device = self._execution_device
        return torch.cuda.get_device_properties(device).total_memory / 1e9 if device.type == "cuda" else None

    def _fitting(self, each: float) -> int | None:
        memory = self._memory()
        if memory is None:
            return None
        networks = [part for part in self.components.values() if isinstance(part, nn.Module)]
        weights = sum(p.numel() * p.element_size() for network in networks for p in network.parameters()) / 1e9
        scale = self.denoiser.config.block_out_channels[0] / 320 * (self.denoiser.config.sample_size / 64) ** 2
        each *= scale * torch.finfo(self.denoiser.dtype).bits / 16
        return math.floor((memory - weights - _BASE_GB * scale) / each)

    def _at_once(self) -> int | None:
        return self._fitting(_DENOISING_GB)

    def _decoded_at_once(self) -> int | None:
        fitting = self._fitting(_DECODING_GB)
        # One picture fills a GPU when it is decoded, so a block that must be filled up would only cost.
        return 1 if fitting is not None or self._execution_device.type != "cpu" else None

    def _check_memory(self) -> None:
        fitting, decoded = self._fitting(_DENOISING_GB), self._fitting(_DECODING_GB)
        if fitting is not None and decoded is not None and min(fitting, decoded) < 1:
            least, have = 0.01, self._memory() or 0.0
            networks = [part for part in self.components.values() if isinstance(part, nn.Module)]
            weights = sum(p.numel() * p.element_size() for network in networks for p in network.parameters()) / 1e9
            bits = torch.finfo(self.denoiser.dtype).bits
            least = weights + (_BASE_GB + _DECODING_GB * bits / 16) * (self.denoiser.config.sample_size / 64) ** 2
            how = "run it on the CPU" if bits == 16 else "load it with dtype=torch.float16, or run it on the CPU"
            raise InputError(
                f"Arc2Face needs an estimated {least:.1f} GB for one picture ({weights:.1f} GB of them weights), but "
                f"{have:.1f} GB may be used: {how}."
            )

    # ------------------------------------------------------------ other pipelines of the same parts

    def few_step(self, lora: str | os.PathLike[str] = LCM_LORA, **hub: Any) -> Arc2FacePipeline:
        """This model with the LCM-LoRA in its denoiser: 2 to 4 steps without guidance. This one stays as it is.

        The rest is shared. Needs the package peft.

        Args:
            lora: a safetensors file, a folder that holds `pytorch_lora_weights.safetensors`, or a hub repository.
            hub: revision, token and the like.

        Raises:
            InputError: the LoRA cannot be read or does not fit the denoiser.
        """
        denoiser = copy.deepcopy(self.denoiser)
        fuse_lora(denoiser, _fetch(lora, LORA_NAME, **hub))
        other = Arc2FacePipeline(
            denoiser,
            self.autoencoder,
            LCMScheduler.from_config(self.scheduler.config),
            self.text_encoder,
            self.controlnet,
            space=self.config.space,
            identity_dim=self.identity_dim,
            num_inference_steps=3,
            guidance_scale=1.0,
        )
        other.memory_gb = self.memory_gb
        return other.with_expression(self._adapter, self.config.expression_scale) if self._adapter else other

    def with_expression(
        self, adapter: str | os.PathLike[str] | Mapping[str, Tensor], scale: float = 1.0
    ) -> Arc2FacePipeline:
        """This model with an expression adapter; this one stays as it is, and all weights are shared.

        Its shapes are read from the file: how many tokens it makes is diffusers' guess from the names of its weights,
        as nobody here has seen the published one.

        Args:
            adapter: `exp_adapter.bin` (read without executing anything), a safetensors file of the same content, or
                that content.
            scale: weight of the expression's attention.

        Raises:
            InputError: the file cannot be read, takes no 55 values, or does not fit the denoiser.
        """
        other = copy.copy(self)
        other._internal_dict = copy.copy(self._internal_dict)
        other._nobody = {}
        other._attach(read_adapter(adapter) if not isinstance(adapter, Mapping) else dict(adapter), scale)
        return other

    def _attach(self, adapter: dict[str, Tensor], scale: float) -> None:
        first = next(
            (adapter[name] for name in ("image_proj.proj.weight", "image_proj.proj.0.weight") if name in adapter), None
        )
        if first is None or first.shape[-1] != expressions.SIZE:
            takes = "cannot be found" if first is None else f"are {first.shape[-1]}"
            raise InputError(f"This is no expression adapter: the values it takes {takes}, not {expressions.SIZE}.")
        state: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
        for name, tensor in adapter.items():
            part, _, rest = name.partition(".")
            state[part][rest] = tensor
        crossing = [name for name in self.denoiser.attn_processors if name.endswith("attn2.processor")]
        if len(state["ip_adapter"]) != 2 * len(crossing):
            raise InputError(
                f"The expression adapter has {len(state['ip_adapter'])} attention weights, the denoiser needs "
                f"{2 * len(crossing)}: they are of different models."
            )
        # Another network around the same parameters: an adapter changes how the network it is added to computes.
        with torch.device("meta"):
            denoiser = UNet2DConditionModel.from_config(self.denoiser.config)
        denoiser.load_state_dict(self.denoiser.state_dict(keep_vars=True), assign=True)
        denoiser.eval()
        try:
            with _without_notes():
                denoiser._load_ip_adapter_weights([state])
        except (KeyError, RuntimeError, ValueError) as error:
            raise InputError(f"The expression adapter does not fit the denoiser: {error}") from error
        for processor in denoiser.attn_processors.values():
            if hasattr(processor, "scale"):
                processor.scale = [scale]
        self._expressive, self._adapter = denoiser, adapter
        self.register_to_config(expression_scale=scale)

    def to(self, *args: Any, **kwargs: Any) -> Arc2FacePipeline:
        """As `DiffusionPipeline.to`."""
        super().to(*args, **kwargs)
        if self._expressive is not None:
            nn.Module.to(self._expressive, self.denoiser.device, self.denoiser.dtype)
        return self

    # ------------------------------------------------------------ files

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """As `DiffusionPipeline.save_pretrained`: one folder that `from_pretrained` reads, adapter included."""
        super().save_pretrained(save_directory, **kwargs)
        if self._adapter:
            file = Path(save_directory) / ADAPTER_NAME
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
            controlnet: only for the official files: True loads the ControlNet for the pose too; or a loaded one.
            expression: only for the official files: load the expression adapter too.
            kwargs: of `DiffusionPipeline.from_pretrained`: dtype, revision, token, cache_dir, …

        Raises:
            InputError: a file is missing or cannot be fetched (it says which, and where it comes from), would execute
                code, is damaged, or its weights do not fit.
        """
        from idgen.convert import arc2face as official

        hub = {name: kwargs[name] for name in HUB_OPTIONS if name in kwargs}
        place = official.find(pretrained_model_name_or_path, **hub)
        if place is not None:
            pipeline = official.load(place, base, bool(controlnet), expression, **kwargs)
            if isinstance(controlnet, ControlNetModel):
                pipeline.register_modules(controlnet=controlnet)
        else:
            if controlnet is not None and not isinstance(controlnet, bool):
                kwargs["controlnet"] = controlnet
            pipeline = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
            folder = Path(pretrained_model_name_or_path)
            folder = folder if folder.is_dir() else Path(cls.download(str(pretrained_model_name_or_path), **kwargs))
            if (folder / ADAPTER_NAME).is_file():
                pipeline._attach(read_adapter(folder / ADAPTER_NAME), pipeline.config.expression_scale)
                pipeline.to(pipeline.denoiser.device)
        if few_step:
            pipeline = pipeline.few_step(LCM_LORA if few_step is True else few_step)
        return pipeline

    @classmethod
    def _load_network(cls, library: str, name: str, folder: Path, dtype: torch.dtype | None) -> Any:
        if (library, name) == ("transformers", "CLIPTextModel"):
            return load_text_encoder(folder, dtype)
        return super()._load_network(library, name, folder, dtype)


# ---------------------------------------------------------------- the text encoder


class _Token(nn.Module):
    """A table of token embeddings that gives another vector at one position. (N, L) ids to (N, L, W)."""

    def __init__(self, table: nn.Module, position: int, vectors: Tensor):
        super().__init__()
        self.table, self.position, self.vectors = table, position, vectors

    def forward(self, ids: Tensor) -> Tensor:
        out = self.table(ids).clone()
        out[:, self.position] = self.vectors
        return out


def encode_prompt(encoder: CLIPTextModel, prompt: Sequence[int], vectors: Tensor | None = None) -> Tensor:
    """A fixed prompt's last hidden states, with vectors in place of the embedding of its fifth token.

    Before the position embedding is added, and under the causal mask only, as in Arc2Face. The encoder is not changed,
    not even for the time of the call: others may be using it.

    Args:
        encoder: CLIP's text model, of any generation of transformers.
        prompt: token ids, padded to 77 here.
        vectors: (N, W), or None for the prompt as it is.

    Returns:
        (N, 77, W), or (1, 77, W).
    """
    ids = torch.tensor([*prompt, *[END] * (LENGTH - len(prompt))], device=encoder.device)
    if vectors is None:
        return encoder(ids[None])[0]
    table = encoder.get_input_embeddings()
    path = next(name for name, module in encoder.named_modules() if module is table)
    patched = _replaced(encoder, path.split("."), _Token(table, ID_POSITION, vectors))
    return patched(ids.expand(len(vectors), -1))[0]


def _replaced(module: nn.Module, path: Sequence[str], new: nn.Module) -> Any:
    """The same module with another one at `path`; everything else is shared."""
    if not path:
        return new
    shell = copy.copy(module)
    shell._modules = {**module._modules, path[0]: _replaced(module._modules[path[0]], path[1:], new)}  # type: ignore[arg-type]
    return shell


def load_text_encoder(folder: Path, dtype: torch.dtype | None = None) -> CLIPTextModel:
    """CLIP's text model from config.json and model.safetensors or, without executing anything, pytorch_model.bin.

    Not by transformers' own loader, because that only prints a table where weights are missing, and because names begin
    with `text_model.` in one of its generations and not in the other.

    Raises:
        InputError: a file is missing or damaged, would execute code, or its weights are not exactly the model's.
    """
    try:
        from transformers import CLIPTextConfig, CLIPTextModel
    except ImportError as error:
        raise InputError("Arc2Face needs the package transformers: pip install 'idgen[arc2face]'.") from error

    files = [folder / name for name in ("model.safetensors", "pytorch_model.bin")]
    file = next((file for file in files if file.is_file()), files[1])
    try:
        encoder = CLIPTextModel(CLIPTextConfig.from_pretrained(folder))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"There is no readable configuration of CLIP's text model in {folder}: get encoder/config.json from "
            f"{ORIGIN} ({' '.join(str(error).split())[:200]})."
        ) from error
    weights = {_bare(name): tensor for name, tensor in read_tensors(file, "text encoder", ORIGIN).items()}
    positions = weights.pop(_POSITIONS, None)  # a buffer that older generations saved
    if positions is not None and not torch.equal(positions.flatten(), torch.arange(positions.numel())):
        raise InputError(f"The positions in {file} are not counted from 0: this is no text encoder of CLIP.")
    own = {name: tensor for name, tensor in encoder.state_dict().items() if _bare(name) != _POSITIONS}
    check_fit({_bare(name): tensor for name, tensor in own.items()}, weights, file, "text encoder of Arc2Face")
    encoder.load_state_dict({name: weights[_bare(name)] for name in own}, strict=False)
    return encoder.to(dtype).eval() if dtype is not None else encoder.float().eval()


_POSITIONS = "embeddings.position_ids"


def _bare(name: str) -> str:
    return name.removeprefix("text_model.")


def read_adapter(file: str | os.PathLike[str]) -> dict[str, Tensor]:
    """An adapter's tensors, their names beginning with `image_proj.` or `ip_adapter.`; InputError if it is none."""
    weights = read_tensors(Path(file), "adapter", ORIGIN)
    if {name.partition(".")[0] for name in weights} != {"image_proj", "ip_adapter"}:
        raise InputError(f"{file} is no adapter: its weights are not called image_proj.… and ip_adapter.…")
    return weights


def fuse_lora(denoiser: UNet2DConditionModel, file: Path) -> None:
    """Add a LoRA to a network's own weights, all of it or nothing.

    Raises:
        InputError: peft is missing, or the LoRA cannot be read or is of another network.
    """
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise InputError("The LCM-LoRA needs the package peft: pip install 'idgen[arc2face]'.") from error
    from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader

    weights = read_tensors(file, "LoRA", LCM_LORA)
    try:
        with _without_notes():
            state, alphas, *_ = Loader.lora_state_dict(dict(weights))
            Loader.load_lora_into_unet(state, alphas, denoiser, adapter_name="lcm")
    except (KeyError, RuntimeError, ValueError, AttributeError) as error:
        raise InputError(f"The LoRA {file} does not fit the denoiser: {' '.join(str(error).split())}") from error
    taken = sum(".lora_" in name or ".lora." in name for name, _ in denoiser.named_parameters())
    given = sum(name.endswith("weight") for name in weights)
    if taken != given:
        raise InputError(
            f"Only {taken} of the {given} weights of the LoRA {file} belong to the denoiser: it is of another model."
        )
    denoiser.fuse_lora()
    denoiser.unload_lora()


@contextlib.contextmanager
def _without_notes() -> Iterator[None]:
    """Without diffusers' warnings: that a cast of nothing could matter, or what is refused here afterwards anyway."""
    logger = logging.getLogger("diffusers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _fetch(place: str | os.PathLike[str], name: str, **hub: Any) -> Path:
    """A file, or the file `name` in a folder or hub repository."""
    path = Path(place)
    if path.is_file():
        return path
    if path.is_dir():
        return path / name
    if path.is_absolute() or path.suffix == ".safetensors":
        raise InputError(f"There is no file {path}: give one, a folder with {name} in it, or a hub repository.")
    from idgen.hub import resolve

    try:
        return resolve(place, hub.get("revision"), [name]) / name
    except InputError as error:
        raise InputError(f"{str(error).rstrip('.')}; needed is {name} of {place}.") from error


register(Arc2FacePipeline)
