"""Arc2Face's files as its authors published them: what they are called, and where they come from.

    arc2face/config.json, diffusion_pytorch_model.safetensors    the denoiser
    encoder/config.json, pytorch_model.bin                       the text encoder, a pickle: read without executing it
    controlnet/config.json, diffusion_pytorch_model.safetensors  for the pose
    exp_adapter/exp_adapter.bin                                  for the expression
    arcface.onnx                                                 the recogniser, see `idgen.faces.insight`

and, from Stable Diffusion 1.5, vae/ and scheduler/. There is no model_index.json, so diffusers cannot load it alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffusers import DPMSolverMultistepScheduler

from idgen.ground.errors import InputError
from idgen.ground.hub import resolve
from idgen.ground.weights import first_sentence

SPACE = "arcface-webface42m"
"""The embedding space of Arc2Face's own recogniser, `arcface.onnx`."""
REPOSITORY = "FoivosPar/Arc2Face"
ORIGIN = f"{REPOSITORY} on the Hugging Face Hub"
BASE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
LCM_LORA = "latent-consistency/lcm-lora-sdv1-5"
ADAPTER = "exp_adapter/exp_adapter.bin"
RECOGNIZER = "arcface.onnx"
SAVED_ADAPTER = "expression_adapter/ip_adapter.safetensors"
"""The adapter in a folder that `Arc2FacePipeline.save_pretrained` wrote."""

_NETWORK = ("config.json", "diffusion_pytorch_model.safetensors")
_FILES = [*(f"arc2face/{name}" for name in _NETWORK), "encoder/config.json", "encoder/pytorch_model.bin"]
_BASE_FILES = [*(f"vae/{name}" for name in _NETWORK), "scheduler/scheduler_config.json"]

Place = str | os.PathLike[str]
"""A folder, or a repository on the Hub."""


def are_official(place: Place, hub: Mapping[str, Any]) -> bool:
    """Whether the files of a folder or repository are the published ones: those of a pipeline have a model_index.json.

    Args:
        hub: what `idgen.ground.hub.resolve` takes.
    """
    if os.fspath(place) == REPOSITORY:
        return True
    folder = resolve(place, **{"patterns": ["model_index.json", "arc2face/config.json"], **hub})
    return not (folder / "model_index.json").is_file()


def folders(
    source: Place,
    base: Place | None,
    hub: Mapping[str, Any],
    *,
    controlnet: bool = False,
    expression: bool = False,
    recognizer: bool = False,
    base_revision: str | None = None,
) -> tuple[Path, Path]:
    """The folder of the published files and that of Stable Diffusion 1.5's, in which all that is wanted is.

    Args:
        source: where the published files are.
        base: where vae/ and scheduler/ are; by default `source` if it is a folder that has them, else `BASE`.
        hub: what `idgen.ground.hub.resolve` takes, for `source`; for `base` with `base_revision`.
        controlnet, expression, recognizer: what is wanted beside the denoiser and the text encoder.

    Raises:
        InputError: a file is missing, or cannot be fetched.
    """
    wanted = [*_FILES, *(f"controlnet/{name}" for name in _NETWORK if controlnet)]
    wanted += [ADAPTER] * expression + [RECOGNIZER] * recognizer
    if base is None:
        base = source if (Path(source) / "vae").is_dir() else BASE
    found = _folder(source, wanted, REPOSITORY, hub)
    return found, _folder(base, _BASE_FILES, BASE, {**hub, "revision": base_revision})


def _folder(place: Place, names: Sequence[str], origin: str, hub: Mapping[str, Any]) -> Path:
    try:
        folder = resolve(place, patterns=names, **hub)
    except InputError as error:
        raise InputError(f"{str(error).rstrip('.')}; needed: {', '.join(names)} of {origin}.") from error
    for name in names:
        if not (folder / name).is_file():
            raise InputError(f"There is no {name} in {place}: fetch it from {origin} on the Hugging Face Hub.")
    return folder


def lora_file(place: Place, hub: Mapping[str, Any]) -> Path:
    """A LoRA's file, or that in a folder or repository; InputError where it cannot be."""
    path, name = Path(place), "pytorch_lora_weights.safetensors"
    if path.is_file():
        return path
    if not path.is_dir() and (path.is_absolute() or path.suffix == ".safetensors"):
        raise InputError(f"There is no file {path}: give one, a folder with {name} in it, or a hub repository.")
    return _folder(place, [name], LCM_LORA, hub) / name


def scheduler(folder: Path) -> DPMSolverMultistepScheduler:
    """DPM-Solver++ on the noise schedule of Stable Diffusion 1.5's scheduler/.

    What that file says for other schedulers (`clip_sample` and the like) is kept in the configuration, so that each of
    diffusers' is made from it by `from_config` as the official code makes it of the file. That says nothing of
    `timestep_spacing`, so each takes its own, but once diffusers has saved it again it says `leading`, PNDM's: with
    this solver that gives other pictures, so it is left out.
    """
    try:
        config = DPMSolverMultistepScheduler.load_config(folder)
    except OSError as error:
        why = first_sentence(error)
        raise InputError(f"The schedule in {folder} cannot be read ({why}): fetch it again.") from error
    return DPMSolverMultistepScheduler.from_config({k: v for k, v in config.items() if k != "timestep_spacing"})
