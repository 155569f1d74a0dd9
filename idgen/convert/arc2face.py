"""Arc2Face as its authors published it, made one folder that `from_pretrained` reads.

    arc2face/config.json, diffusion_pytorch_model.safetensors    the denoiser
    encoder/config.json, pytorch_model.bin                       the text encoder, a pickle: read without executing it
    controlnet/config.json, diffusion_pytorch_model.safetensors  for the pose
    exp_adapter/exp_adapter.bin                                  for the expression
    arcface.onnx                                                 the recogniser, see `idgen.faces.insight`

and, from Stable Diffusion 1.5, vae/ and scheduler/. There is no model_index.json, so diffusers cannot load it alone.
"""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, DPMSolverMultistepScheduler, UNet2DConditionModel

from idgen.errors import InputError
from idgen.hub import resolve
from idgen.pipelines.arc2face import ADAPTER_NAME, LCM_LORA, SPACE, Arc2FacePipeline, load_text_encoder
from idgen.pipelines.base import HUB_OPTIONS
from idgen.revisions import REVISIONS
from idgen.weights import first_sentence, load_network

REPOSITORY = "FoivosPar/Arc2Face"
BASE = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SAFETENSORS = "diffusion_pytorch_model.safetensors"

_NETWORK = ["config.json", SAFETENSORS]
_FILES = [*(f"arc2face/{name}" for name in _NETWORK), "encoder/config.json", "encoder/pytorch_model.bin"]
_BASE_FILES = [*(f"vae/{name}" for name in _NETWORK), "scheduler/scheduler_config.json"]
_CONTROLNET_FILES = [f"controlnet/{name}" for name in _NETWORK]
_EXPRESSION = "exp_adapter/exp_adapter.bin"
_RECOGNIZER = "arcface.onnx"


def find(place: str | os.PathLike[str], **hub: Any) -> str | os.PathLike[str] | None:
    """`place` if it is a folder or repository of the official files, None if it has a model_index.json."""
    if Path(place).is_dir():
        return None if (Path(place) / "model_index.json").is_file() else place
    if os.fspath(place) == REPOSITORY:
        return place
    folder = resolve(place, hub.pop("revision", None), ["model_index.json", "arc2face/config.json"], **hub)
    return None if (folder / "model_index.json").is_file() else place


def load(
    source: str | os.PathLike[str],
    base: str | os.PathLike[str] | None = None,
    controlnet: bool = False,
    expression: bool = False,
    base_revision: str | None = None,
    space: str = SPACE,
    identity_dim: int = 512,
    **kwargs: Any,
) -> Arc2FacePipeline:
    """The official files as a pipeline.

    Args:
        source: folder or hub repository.
        base: folder or repository with Stable Diffusion 1.5's vae/ and scheduler/; by default `source` if it is a
            folder that has them, else `BASE`.
        controlnet, expression: load these too.
        base_revision: of the base's repository; by default, as for the source, that of `idgen.revisions`.
        space, identity_dim: of the identities' vectors, for a model in this layout that was trained with another
            recogniser.
        kwargs: dtype, and hub options for the source.

    Raises:
        InputError: a file is missing or cannot be fetched, is damaged, would execute code, or does not fit.
    """
    hub = {name: kwargs.pop(name) for name in HUB_OPTIONS if name in kwargs}
    dtype = kwargs.pop("dtype", kwargs.pop("torch_dtype", None))
    if kwargs:
        raise InputError(f"There is no option {sorted(kwargs)[0]!r} for Arc2Face's official files: leave it out.")
    folder, base_folder = _folders(source, base, controlnet, expression, False, base_revision, hub)
    pipeline = Arc2FacePipeline(
        load_network(UNet2DConditionModel, folder / "arc2face", dtype).eval(),
        load_network(AutoencoderKL, base_folder / "vae", dtype).eval(),
        scheduler(base_folder / "scheduler"),
        load_text_encoder(folder / "encoder", dtype),
        load_network(ControlNetModel, folder / "controlnet", dtype).eval() if controlnet else None,
        space=space,
        identity_dim=identity_dim,
    )
    return pipeline.with_expression(folder / _EXPRESSION) if expression else pipeline


def _folders(
    source: str | os.PathLike[str],
    base: str | os.PathLike[str] | None,
    controlnet: bool,
    expression: bool,
    recognizer: bool,
    base_revision: str | None,
    hub: dict[str, Any],
) -> tuple[Path, Path]:
    """The folders of the official files and of the base's, in which all that is wanted is."""
    wanted = [*_FILES, *(_CONTROLNET_FILES if controlnet else ()), *([_EXPRESSION] if expression else ())]
    folder = _files(source, [*wanted, *([_RECOGNIZER] if recognizer else ())], REPOSITORY, hub)
    if base is None:
        base = source if Path(source).is_dir() and (Path(source) / "vae").is_dir() else BASE
    return folder, _files(base, _BASE_FILES, BASE, {**hub, "revision": base_revision})


def scheduler(folder: Path) -> DPMSolverMultistepScheduler:
    """DPM-Solver++ on the base model's noise schedule.

    `linspace` is said outright: the base's file says nothing, where the official code takes the solver's default, but
    once diffusers has saved that file again it says `leading`, which gives other pictures.
    """
    known = inspect.signature(DPMSolverMultistepScheduler).parameters
    try:
        config = DPMSolverMultistepScheduler.load_config(folder)
    except OSError as error:
        raise InputError(
            f"The schedule in {folder} cannot be read ({first_sentence(error)}): fetch it again."
        ) from error
    config = {name: value for name, value in config.items() if name in known}  # the base's is of another class
    return DPMSolverMultistepScheduler.from_config(config, timestep_spacing="linspace")


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    base: str | os.PathLike[str] | None = None,
    *,
    few_step: bool | str | os.PathLike[str] = False,
    controlnet: bool = False,
    expression: bool = False,
    pack: str | os.PathLike[str] | None = None,
    revision: str | None = None,
    base_revision: str | None = None,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write one self-contained folder of Arc2Face: for `Arc2FacePipeline.from_pretrained` and `idgen --model`.

    Args:
        source: folder or hub repository of the official files.
        out: the folder; must not exist. Complete or not there at all.
        base, controlnet, expression: see `load`.
        few_step: put the LCM-LoRA into the denoiser, see `Arc2FacePipeline.few_step`.
        pack: insightface pack (name, folder or hub repository) whose face detector is put into the folder's encoder/
            together with the source's `arcface.onnx`; without one, the folder makes pictures but reads no photos.
        revision, base_revision: see `load`; the card says which commits it was.
        dtype: of the weights in the files.

    Raises:
        InputError: as `load`; or `out` exists.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"{out} exists already: choose another folder, or remove it.")
    from idgen.files import check_writable

    check_writable(out.absolute().parent)
    hub = {"revision": revision}
    folder, base_folder = _folders(source, base, controlnet, expression, pack is not None, base_revision, hub)
    pipeline = load(folder, base_folder, controlnet, expression, dtype=dtype)
    if few_step:
        pipeline = pipeline.few_step() if few_step is True else pipeline.few_step(few_step)
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        pipeline.save_pretrained(aside)
        if pack is not None:
            from idgen.faces.insight import InsightFaceEncoder

            InsightFaceEncoder.from_pack(pack, folder / _RECOGNIZER).save_pretrained(aside / "encoder")
        card = _card(pipeline, _origin(source, folder), _origin(base or BASE, base_folder), few_step, pack is not None)
        (aside / "README.md").write_text(card, encoding="utf-8")
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return out


def _files(place: str | os.PathLike[str], names: Sequence[str], origin: str, hub: dict[str, Any]) -> Path:
    """The folder of `place`, in which all these files are."""
    try:
        folder = resolve(place, hub.get("revision"), names, **{k: v for k, v in hub.items() if k != "revision"})
    except InputError as error:
        raise InputError(f"{str(error).rstrip('.')}; needed are {', '.join(names)} of {origin}.") from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError(f"There is no {missing[0]} in {place}: fetch it from {origin} on the Hugging Face Hub.")
    return folder


def _origin(place: str | os.PathLike[str], folder: Path) -> str:
    """Where files came from, for a card: repository and commit, or nothing but that they were here."""
    return f"{os.fspath(place)} at {folder.name}" if folder.parent.name == "snapshots" else "local files"


def _card(
    pipeline: Arc2FacePipeline,
    source: str,
    base: str,
    few_step: bool | str | os.PathLike[str],
    reads_photos: bool,
) -> str:
    parts = [
        f"| denoiser, text encoder | Arc2Face (arXiv 2403.11641), {source} | MIT, says its card; trained on "
        "WebFace42M, which is for non-commercial research |",
        f"| autoencoder, schedule | Stable Diffusion 1.5, {base} | CreativeML Open RAIL-M |",
    ]
    if few_step:
        lora = f"{LCM_LORA} at {REVISIONS[LCM_LORA]}" if few_step is True else "as given to --lora"
        parts.append(f"| in the denoiser | LCM-LoRA for Stable Diffusion 1.5, {lora} | OpenRAIL++ |")
    if pipeline.controlnet is not None:
        parts.append("| controlnet | Arc2Face | as the denoiser |")
    if pipeline._adapter:
        parts.append(f"| {ADAPTER_NAME} | Arc2Face (arXiv 2510.04706) | as the denoiser |")
    if reads_photos:
        parts.append("| encoder/arcface.onnx | Arc2Face | as the denoiser |")
        parts.append("| encoder/, the face detector | insightface | non-commercial research only |")
    return "\n".join(
        [
            "---\nlicense: other\nlibrary_name: diffusers\n---\n# Arc2Face in one folder\n",
            "Made by `idgen convert arc2face`. Load it with `idgen.Arc2FacePipeline.from_pretrained`, or use",
            "`idgen generate --model` with this folder.\n",
            "| part | from | licence |\n|---|---|---|",
            *parts,
            "",
        ]
    )
