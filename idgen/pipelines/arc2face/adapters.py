"""What is added to Arc2Face's denoiser: the expression adapter beside its attention, and a LoRA within its weights."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import diffusers
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from idgen.ground.errors import InputError, require_package
from idgen.ground.weights import read_tensors
from idgen.pipelines.arc2face import expression
from idgen.pipelines.arc2face.files import LCM_LORA, ORIGIN


def read_adapter(file: str | os.PathLike[str]) -> dict[str, Tensor]:
    """An adapter's tensors, their names beginning with `image_proj.` or `ip_adapter.`; InputError if it is none."""
    weights = read_tensors(Path(file), "adapter", ORIGIN)
    if {name.partition(".")[0] for name in weights} != {"image_proj", "ip_adapter"}:
        raise InputError(f"{file} is no adapter: its weights are not called image_proj.… and ip_adapter.…")
    return weights


def with_adapter(denoiser: UNet2DConditionModel, adapter: Mapping[str, Tensor], scale: float) -> UNet2DConditionModel:
    """Another network around the denoiser's own parameters, whose attention also goes to what the adapter makes of an
    expression: an adapter changes how the network that it is added to computes.

    Its shapes are read from its weights; how many tokens it makes is diffusers' guess from their names.

    Args:
        adapter: see `read_adapter`.
        scale: weight of the expression's attention.

    Raises:
        InputError: it takes no 55 values, or does not fit the denoiser.
    """
    first = adapter.get("image_proj.proj.weight", adapter.get("image_proj.proj.0.weight"))
    if first is None or first.shape[-1] != expression.SIZE:
        takes = "cannot be found" if first is None else f"are {first.shape[-1]}"
        raise InputError(f"This is no expression adapter: the values it takes {takes}, not {expression.SIZE}.")
    state: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in adapter.items():
        part, _, rest = name.partition(".")
        state[part][rest] = tensor
    wanted = 2 * sum(name.endswith("attn2.processor") for name in denoiser.attn_processors)
    if len(state["ip_adapter"]) != wanted:
        raise InputError(
            f"The expression adapter has {len(state['ip_adapter'])} attention weights, the denoiser needs {wanted}: "
            "they are of different models."
        )
    with torch.device("meta"):
        other = UNet2DConditionModel.from_config(denoiser.config)
    other.load_state_dict(denoiser.state_dict(keep_vars=True), assign=True)
    other.eval()
    try:
        with _without_notes():
            other._load_ip_adapter_weights([state])
    except (KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"The expression adapter does not fit the denoiser: {error}") from error
    for processor in other.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [scale]
    return other


def fuse_lora(denoiser: UNet2DConditionModel, file: Path) -> None:
    """Add a LoRA to a network's own weights, all of it or nothing.

    Raises:
        InputError: peft is missing, or the LoRA cannot be read or is of another network.
    """
    _inject(denoiser, file, LCM_LORA)
    denoiser.fuse_lora()
    denoiser.unload_lora()


def lora_layers(denoiser: UNet2DConditionModel, file: Path) -> list[tuple[str, nn.Module, nn.Module, float]]:
    """What a LoRA adds to a network, which stays as it is: of each layer its name, and the two maps and the factor of
    (Hu et al. 2021, eq. 3). Errors as those of `fuse_lora`."""
    with torch.device("meta"):
        other = UNet2DConditionModel.from_config(denoiser.config)
    other.load_state_dict(denoiser.state_dict(), assign=True)  # other parameters of the same memory: peft freezes them
    _inject(other, file, ORIGIN)
    layers = [(name, part) for name, part in other.named_modules() if getattr(part, "lora_A", None)]
    return [(name, part.lora_A[_NAME].eval(), part.lora_B[_NAME].eval(), part.scaling[_NAME]) for name, part in layers]


_NAME = "added"


def _inject(denoiser: UNet2DConditionModel, file: Path, origin: str) -> None:
    require_package("peft", "arc2face", "A LoRA")
    loader = diffusers.loaders.StableDiffusionLoraLoaderMixin  # there only with transformers
    weights = read_tensors(file, "LoRA", origin)
    try:
        with _without_notes():
            where = {"weight_name": file.name, "local_files_only": True, "return_lora_metadata": True}
            state, alphas, about = loader.lora_state_dict(str(file.parent), **where)
            loader.load_lora_into_unet(state, alphas, denoiser, adapter_name=_NAME, metadata=about)
    except (KeyError, RuntimeError, ValueError, AttributeError) as error:
        raise InputError(f"The LoRA {file} does not fit the denoiser: {' '.join(str(error).split())}") from error
    taken = sum(".lora_" in name or ".lora." in name for name, _ in denoiser.named_parameters())
    given = sum(name.endswith("weight") for name in weights)
    if taken != given:
        raise InputError(
            f"Only {taken} of the {given} weights of the LoRA {file} belong to the denoiser: it is of another model."
        )


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
