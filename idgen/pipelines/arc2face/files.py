"""Arc2Face's files as its authors published them: what they are called, and where they come from.

    arc2face/config.json, diffusion_pytorch_model.safetensors    the denoiser
    encoder/config.json, pytorch_model.bin                       the text encoder, a pickle: read without executing it
                                                                 (or model.safetensors)
    controlnet/config.json, diffusion_pytorch_model.safetensors  for the pose
    exp_adapter/exp_adapter.bin                                  for the expression
    ref_adapter/pytorch_lora_weights.safetensors                 for a reference
    arcface.onnx                                                 the recogniser, see `idgen.faces.insight`

and, from Stable Diffusion 1.5, vae/ and scheduler/. There is no model_index.json, so diffusers cannot load it alone.
Networks may be of a variant or a pickle, too, see `_ENDINGS`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from diffusers import DPMSolverMultistepScheduler
from huggingface_hub.errors import RevisionNotFoundError

from idgen.ground.errors import InputError
from idgen.ground.files import left_behind, read_json
from idgen.ground.hub import resolve
from idgen.ground.weights import first_sentence

SPACE = "arcface-webface42m"
"""The embedding space of Arc2Face's own recogniser, `arcface.onnx`."""
REPOSITORY = "FoivosPar/Arc2Face"
ORIGIN = f"{REPOSITORY} on the Hugging Face Hub"
BASE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
LCM_LORA = "latent-consistency/lcm-lora-sdv1-5"
ADAPTER = "exp_adapter/exp_adapter.bin"
RECOGNIZERS = ("arcface.onnx", "antelopev2/arcface.onnx")  # as published, and as its README has it be put
SAVED_ADAPTER = "expression_adapter/ip_adapter.safetensors"
"""The expression adapter in a folder that `Arc2FacePipeline.save_pretrained` wrote."""
REFERENCE = "ref_adapter/pytorch_lora_weights.safetensors"
SAVED_REFERENCE = "reference_adapter/pytorch_lora_weights.safetensors"

_STEM = "diffusion_pytorch_model"
_ENDINGS = ("safetensors", "fp16.safetensors", "bin", "fp16.bin")

Names = tuple[str, ...]
"""What a file may be called, what is published first."""


def _network(name: str) -> list[Names]:
    return [(f"{name}/config.json",), tuple(f"{name}/{_STEM}.{ending}" for ending in _ENDINGS)]


_FILES = [
    *_network("arc2face"),
    ("encoder/config.json",),
    ("encoder/pytorch_model.bin", "encoder/model.safetensors", "encoder/model.fp16.safetensors"),
]
_BASE_FILES = [*_network("vae"), ("scheduler/scheduler_config.json",)]

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
    reference: bool = False,
    recognizer: bool = False,
    base_revision: str | None = None,
) -> tuple[Path, Path]:
    """The folder of the published files and that of Stable Diffusion 1.5's, in which all that is wanted is.

    Args:
        source: where the published files are.
        base: where vae/ and scheduler/ are; by default `source` if it is a folder that has them, else `BASE`.
        hub: what `idgen.ground.hub.resolve` takes, for `source`; for `base` with `base_revision`.
        controlnet, expression, reference, recognizer: what is wanted beside the denoiser and the text encoder.

    Raises:
        InputError: a file is missing, or cannot be fetched.
    """
    wanted = [*_FILES, *(_network("controlnet") if controlnet else [])]
    wanted += [(ADAPTER,)] * expression + [(REFERENCE,)] * reference + [RECOGNIZERS] * recognizer
    if (Path(source) / "models" / "arc2face").is_dir():  # the official program's folder, with its models/ in it
        source = Path(source) / "models"
    if base is None:
        base = source if (Path(source) / "vae").is_dir() else BASE
    flags = "--revision main" + " --base-revision main" * (base_revision is None and not Path(base).is_dir())
    found = _folder(source, wanted, REPOSITORY, hub, flags)
    return found, _folder(base, _BASE_FILES, BASE, {**hub, "revision": base_revision}, "--base-revision main")


def recognizer_file(folder: Path) -> Path:
    """Where the recogniser is among the published files."""
    return folder / next(name for name in RECOGNIZERS if (folder / name).is_file())


def _folder(place: Place, wanted: Sequence[Names], origin: str, hub: Mapping[str, Any], flags: str) -> Path:
    """A folder with one file of each of `wanted`; `flags` ask for the newest revision at the command line."""
    first = [names[0] for names in wanted]
    try:
        folder = resolve(place, patterns=first, **hub)
        if not Path(place).is_dir() and (other := [n for names in wanted if not _any(folder, names) for n in names]):
            folder = resolve(place, patterns=[*first, *other], **hub)
    except InputError as error:
        hint = "a folder with these in it does as well" + ", by --base" * flags.startswith("--base")
        if _has_main(place, first, hub):
            hint = f"what was fetched of main before is used with {flags}"
        elif isinstance(error.__cause__, RevisionNotFoundError):
            hint = f"what is newest is fetched with {flags}"
        raise InputError(f"{str(error).rstrip('.')}; needed: {', '.join(first)} of {origin}; {hint}.") from error
    for names in wanted:
        if not _any(folder, names):
            called = f"{names[0]} (nor {' nor '.join(names[1:])})" if len(names) > 1 else names[0]
            raise InputError(f"There is no {called} in {place}{_elsewhere(folder, wanted[0][0], origin)}.")
    return folder


def _any(folder: Path, names: Names) -> bool:
    return any((folder / name).is_file() for name in names)


def _has_main(place: Place, patterns: Sequence[str], hub: Mapping[str, Any]) -> bool:
    """Whether the newest of a repository was fetched, where another commit of it was asked for."""
    if hub.get("revision") is not None or Path(place).is_dir():
        return False
    with suppress(InputError):
        resolve(place, patterns=patterns, **{**hub, "revision": "main", "local_files_only": True})
        return True
    return False


def _elsewhere(folder: Path, name: str, origin: str) -> str:
    """What to say of a folder that lacks something: where the file `name` is, if it is one too high or too low; else
    what is there, and where to get the rest."""
    fetch = f": fetch it from {origin} on the Hugging Face Hub"
    if (folder / name).is_file():
        return fetch
    below = sorted(path for depth in ("*", "*/*", "*/*/*") for path in folder.glob(f"{depth}/{name}"))
    if found := [path.parents[name.count("/")] for path in below] + [folder.parent] * (folder.parent / name).is_file():
        return f", but {found[0]} has it: give that folder"
    there = sorted(path.name for path in folder.iterdir() if not left_behind(path.name))
    return f", which holds {', '.join(there[:6]) or 'nothing'}{' and more' if len(there) > 6 else ''}{fetch}"


def lora_file(place: Place, hub: Mapping[str, Any]) -> Path:
    """A LoRA's file, or that in a folder or repository; InputError where it cannot be."""
    path, name = Path(place), "pytorch_lora_weights.safetensors"
    if path.is_file():
        return path
    if not path.is_dir() and (path.is_absolute() or path.suffix == ".safetensors"):
        raise InputError(f"There is no file {path}: give one, a folder with {name} in it, or a hub repository.")
    return _folder(place, [(name,)], LCM_LORA, hub, "revision main") / name


def warn_of_earlier(folder: Path) -> None:
    """Say so of a converted folder by a version of idgen that lost what schedulers other than its own need to know."""
    with suppress(InputError):
        config = read_json(folder / "scheduler" / "scheduler_config.json")
        if config.get("timestep_spacing") == "linspace" and "skip_prk_steps" not in config:
            warnings.warn(
                f"{folder} was converted by an earlier version of idgen: its own scheduler paints what it did, any "
                "other one made from its configuration wrong pictures; for those, convert the same files again, with "
                "the same options, to another folder (idgen convert arc2face).",
                stacklevel=4,
            )


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
