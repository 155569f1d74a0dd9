"""The published checkpoints of IDiff-Face and UIFace to a folder that `IDiffFacePipeline.from_pretrained` reads.

Weights are renamed, never computed with; the training configuration beside them (Hydra) is not even opened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, VQModel
from torch import Tensor

from idgen import models
from idgen.faces.encoder import FaceEncoder
from idgen.faces.finder import FaceFinder
from idgen.ground import files
from idgen.ground.errors import InputError
from idgen.ground.hub import BUILTIN, DEFAULT_MODEL
from idgen.ground.identity import SAMPLED, Identities, safe_name
from idgen.ground.weights import cut_short, fill, first_existing, read_pickle, read_tensors
from idgen.models import FaceFinderNet, IdentityUNet, IResNetRecognizer
from idgen.pipelines import IDiffFacePipeline, UIFacePipeline
from idgen.pipelines.schedulers import LINEAR, IDiffFaceScheduler, UIFaceScheduler

IDENTITIES = "identities.safetensors"
ELASTICFACE = "elasticface-arc-r100"
"""The embedding space of IDiff-Face: ElasticFace-Arc, iresnet100, on FFHQ-style crops."""

VQ_F4: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (128, 256, 512),
    "layers_per_block": 2,
    "latent_channels": 3,
    "num_vq_embeddings": 8192,
    "norm_num_groups": 32,
    "vq_embed_dim": 3,
    "scaling_factor": 1.0,
}
"""diffusers' `VQModel` as the first stage "ffhq256, VQ-f4" of Rombach et al. 2022 (CompVis latent-diffusion)."""

_BUFFERS = (
    *("betas", "alphas", "sigmas", "sqrt_alphas_inv", "alpha_bars", "sqrt_alpha_bars"),
    *("sqrt_one_minus_alpha_bars", "one_minus_alphas_over_sqrt_one_minus_alpha_bars"),
)
_FIRST_STAGE_ORIGIN = 'the README of github.com/fdbtrs/IDiff-Face, "Download for the setup" (Google Drive)'


@dataclass(frozen=True)
class Family:
    """What differs between the two.

    Args:
        name: in messages and in the card.
        space: name of the embedding space of its vectors.
        checkpoints: patterns of the checkpoint's place in the folder; the first that fits anything counts.
        origin: where the weights are.
        empty: whether it learned an empty identity.
        pipeline, scheduler, steps: the released sampling.
        licence: of what is converted, in words.
    """

    name: str
    space: str
    checkpoints: tuple[str, ...]
    origin: str
    empty: bool
    pipeline: type[IDiffFacePipeline]
    scheduler: Any
    steps: int
    licence: str


IDIFF_FACE = Family(
    "IDiff-Face",
    ELASTICFACE,
    ("checkpoints/ema_averaged_model.ckpt", "trained_models/*/checkpoints/ema_averaged_model.ckpt"),
    "the README of github.com/fdbtrs/IDiff-Face (Google Drive)",
    empty=False,
    pipeline=IDiffFacePipeline,
    scheduler=IDiffFaceScheduler(**LINEAR, variance_type="fixed_large"),
    steps=1000,
    licence="CC BY-NC-SA 4.0 (Fraunhofer IGD): not for commercial use, share alike",
)
UIFACE = Family(
    "UIFace",
    "uiface",  # the recogniser behind its vectors is not named where the weights are
    ("checkpoints/model*.ckpt", "model*.ckpt", "checkpoints/*.ckpt", "*.ckpt"),
    "the README of github.com/Tencent/TFace, generation/uiface (Google Drive)",
    empty=True,
    pipeline=UIFacePipeline,
    scheduler=UIFaceScheduler(**LINEAR),
    steps=50,
    licence="Apache-2.0 says its repository, but it derives from IDiff-Face, CC BY-NC-SA 4.0: treat it as that",
)
FAST = DPMSolverMultistepScheduler.from_config({**LINEAR, "timestep_spacing": "trailing"})


def convert(
    family: Family,
    folder: str | Path,
    out: str | Path,
    *,
    checkpoint: str | Path | None = None,
    autoencoder: str | Path | None = None,
    contexts: str | Path | None = None,
    encoder: str | Path | None = None,
    fast: bool = False,
    unet: Mapping[str, Any] | None = None,
    vq: Mapping[str, Any] | None = None,
    iresnet: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model folder: denoiser/, autoencoder/, scheduler/, a card, and what is given of encoder and identities.

    Args:
        family: `IDIFF_FACE` or `UIFACE`.
        folder: with the checkpoint: the released repository's root with trained_models/ in it, or a model's own folder.
        out: the folder to write; must not hold anything yet.
        checkpoint: the diffusion weights, where they are not in their place; those of the U-Net alone, without the
            schedule's tensors or without prefix, will do.
        autoencoder: folder with `first_stage_encoder_state_dict.pt` and `first_stage_decoder_state_dict.pt`; by default
            models/autoencoder in `folder` or in one of the two folders above it.
        contexts: identities as released, see `read_contexts`.
        encoder: ElasticFace's `Elastic_R100_295672backbone.pth`; by default looked for in utils/. Only for IDiff-Face.
        fast: save with DPM-Solver++ (Lu et al. 2022) in 20 steps instead of the released sampling.
        unet, vq, iresnet: what differs from the published sizes, as arguments of `IdentityUNet`, `VQModel` and
            `IResNetRecognizer`.

    Returns:
        The folder.

    Raises:
        InputError: a file is missing, cut short, holds more than numbers or another model, or the folder cannot be
            written. Nothing is left in `out` then.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}: give the one with the checkpoint, from {family.origin}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already: choose another folder to write.")
    if encoder is not None and family is not IDIFF_FACE:
        raise InputError(f"The recogniser behind {family.name}'s vectors is not ElasticFace: leave the encoder out.")
    files.check_writable(out)
    file = Path(checkpoint) if checkpoint is not None else _find_checkpoint(family, folder)
    first_stage, backbone = _find_parts(folder, autoencoder, family)
    if encoder is not None:
        backbone = Path(encoder)
    people = None if contexts is None else read_contexts(Path(contexts), family)
    if people is not None:  # quick to refuse, before what is slow to read
        people.require_space(family.space, (unet or {}).get("identity_dim", 512))
    pipeline = family.pipeline(
        _read_unet(family, file, unet or {}),
        _read_first_stage(first_stage, vq or {}),
        FAST if fast else family.scheduler,
        space=family.space,
        num_inference_steps=20 if fast else family.steps,
    )
    recognizer = None if backbone is None else _read_encoder(backbone, iresnet or {})
    with files.aside(out) as beside:
        pipeline.save_pretrained(beside)
        if recognizer is not None:
            recognizer.save_pretrained(beside / "encoder")
        if people is not None:
            people.save(beside / IDENTITIES)
        (beside / "README.md").write_text(_card(family, file, recognizer is not None), encoding="utf-8")
    return out


def _find_parts(folder: Path, autoencoder: str | Path | None, family: Family) -> tuple[list[Path], Path | None]:
    """The first stage's two files, and ElasticFace's if it is there and of the family."""
    above = [folder, *folder.absolute().parents[:2]]
    places = [*(place / "models" / "autoencoder" for place in above), folder]
    if autoencoder is not None:
        places = [Path(autoencoder)]
    backbone = first_existing([place / "utils" for place in above], "Elastic_R100_295672backbone.pth")
    found = backbone if family is IDIFF_FACE and backbone.is_file() else None
    return [first_existing(places, f"first_stage_{half}_state_dict.pt") for half in ("encoder", "decoder")], found


def _find_checkpoint(family: Family, folder: Path) -> Path:
    for pattern in family.checkpoints:
        found = sorted(path for path in folder.glob(pattern) if not files.left_behind(path.name))
        if len(found) > 1:
            names = ", ".join(str(path.relative_to(folder)) for path in found)
            raise InputError(f"{folder} holds several checkpoints: name one with --checkpoint ({names}).")
        if found:
            return found[0]
    raise InputError(f"There is no checkpoint {folder / family.checkpoints[0]}: get it from {family.origin}.")


def _read_unet(family: Family, path: Path, config: Mapping[str, Any]) -> IdentityUNet:
    tensors = read_tensors(path, f"checkpoint of {family.name}", family.origin)
    prefix = "eps_model."
    if any(name in tensors for name in _BUFFERS):  # else they are the U-Net's alone, for the published schedule
        if missing := [name for name in _BUFFERS if name not in tensors]:
            raise InputError(f"{path} is not the checkpoint of {family.name}: it has no tensor called {missing[0]}.")
        published = torch.linspace(
            LINEAR["beta_start"], LINEAR["beta_end"], LINEAR["num_train_timesteps"], dtype=torch.float32
        )
        betas, *_ = [tensors.pop(name) for name in _BUFFERS]
        if betas.shape != published.shape or not torch.allclose(betas.float(), published, rtol=1e-5, atol=0):
            raise InputError(f"{path} was trained with another noise schedule than the published {family.name}.")
    if any(name.startswith(prefix) for name in tensors):
        tensors = {  # what has no prefix is reported as unknown
            name.removeprefix(prefix) if name.startswith(prefix) else f"{name} (outside of eps_model)": value
            for name, value in tensors.items()
        }
    what = f"U-Net of {family.name}"
    return fill(lambda: IdentityUNet(**config, learn_empty_context=family.empty), tensors, path, what)


def _read_first_stage(paths: list[Path], config: Mapping[str, Any]) -> VQModel:
    config = {**VQ_F4, **config}
    tensors: dict[str, Tensor] = {}
    for path in paths:
        for name, value in read_tensors(path, "first stage", _FIRST_STAGE_ORIGIN).items():
            renamed = vq_name(name, len(config["block_out_channels"]))
            if renamed in tensors:
                raise InputError(f"{paths[0]} and {paths[1]} both hold {name}: one of them is the other's copy.")
            # diffusers has the attention's 1×1 convolutions as linear layers.
            linear = ".attentions." in renamed and value.shape[2:] == (1, 1)
            tensors[renamed] = value[:, :, 0, 0] if linear else value
    return fill(lambda: VQModel(**config), tensors, paths[0].parent, "first stage VQ-f4")


_VQ_NAMES = (
    (r"^encoder\.down\.(\d+)\.", r"encoder.down_blocks.\1."),
    (r"(blocks\.\d+)\.block\.(\d+)\.", r"\1.resnets.\2."),
    (r"(blocks\.\d+)\.(down|up)sample\.", r"\1.\2samplers.0."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.norm\.", ".mid_block.attentions.0.group_norm."),
    (r"\.mid\.attn_1\.([qkv])\.", r".mid_block.attentions.0.to_\1."),
    (r"\.mid\.attn_1\.proj_out\.", ".mid_block.attentions.0.to_out.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"\.norm_out\.", ".conv_norm_out."),
)


def vq_name(name: str, levels: int = 3) -> str:
    """What diffusers' `VQModel` calls a tensor of CompVis' VQ models; `levels` is the number of resolutions."""
    if found := re.match(r"decoder\.up\.(\d+)\.", name):  # counted from the coarsest
        name = f"decoder.up_blocks.{levels - 1 - int(found[1])}.{name[found.end() :]}"
    for pattern, replacement in _VQ_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _read_encoder(path: Path, config: Mapping[str, Any]) -> FaceEncoder:
    tensors = read_tensors(path, "ElasticFace", "the README of github.com/fdbtrs/ElasticFace (ElasticFace-Arc)")
    network = fill(lambda: IResNetRecognizer(**config), tensors, path, "iresnet100 of ElasticFace")
    finder = models.load(BUILTIN / DEFAULT_MODEL / "encoder" / "finder", FaceFinderNet)
    return FaceEncoder(network, FaceFinder(finder), space=ELASTICFACE, flip=False, alignment="ffhq")


def read_contexts(path: Path, family: Family) -> Identities:
    """Identities as released: IDiff-Face's files called .npy, which are `torch.save`d dicts of a name and an array
    (D,) each, or UIFace's real .npy of vectors (N, D), which are normalised as there and called by their row.

    Those whose file begins with "random_synthetic" count as sampled, all others as of a photo.

    Raises:
        InputError: the file is missing or damaged, holds anything but such vectors, or they are not of unit length.
    """
    origin = f"the repository of {family.name}"
    if path.is_file() and path.open("rb").read(6) == b"\x93NUMPY":
        try:
            array = np.load(path, allow_pickle=False)
        except ValueError as error:
            raise cut_short(path, error, origin) from error
        if array.ndim != 2 or not array.size or array.dtype.kind != "f":
            raise InputError(f"{path} holds an array {array.shape} of {array.dtype}, not vectors (N, D) of floats.")
        lengths = np.linalg.norm(array.astype(np.float64), axis=1, keepdims=True)
        vectors = (array / np.maximum(lengths, 1e-12)).astype(np.float32)  # `Identities` refuses zero and NaN
        names = [str(row) for row in range(len(array))]
    else:
        content = read_pickle(path, "contexts file", origin)
        rows = list(content.values()) if isinstance(content, Mapping) else []
        if not rows or not all(isinstance(row, np.ndarray) and row.shape == rows[0].shape for row in rows):
            raise InputError(f"{path} does not hold a name and a vector (D,) for each identity.")
        vectors, names = np.stack(rows), [safe_name(str(name)) for name in content]
    source = f"{SAMPLED if path.name.startswith('random_synthetic') else family.name}, {path.name}"
    return Identities(vectors, family.space, [source] * len(names), names)


def _card(family: Family, checkpoint: Path, encoder: bool) -> str:
    card = f"""---
license: cc-by-nc-sa-4.0
library_name: diffusers
---
# {family.name}, converted

From `{checkpoint.name}` by `idgen convert`; the weights are the published ones, under other names.
Load it with `idgen.{family.pipeline.__name__}.from_pretrained`.

* U-Net: {family.licence}.
* First stage: VQ-f4 of CompVis latent-diffusion (code MIT), trained on FFHQ (CC BY-NC-SA 4.0).
"""
    if encoder:
        card += "* Recogniser in encoder/: ElasticFace-Arc, CC BY-NC-SA 4.0; the face finder beside it is idgen's.\n"
    return card
