"""The published checkpoints of IDiff-Face and UIFace to a folder that `IDiffFacePipeline.from_pretrained` reads.

Weights are renamed, never computed with; the training configuration beside them (Hydra) is not even opened.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
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
from idgen.ground.arguments import whole
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
        checkpoint: where the published one lies.
        origin: where the weights are.
        empty: whether it learned an empty identity.
        pipeline, scheduler, steps: the released sampling.
        licence: of what is converted, in words.
    """

    name: str
    space: str
    checkpoint: str
    origin: str
    empty: bool
    pipeline: type[IDiffFacePipeline]
    scheduler: Any
    steps: int
    licence: str


IDIFF_FACE = Family(
    "IDiff-Face",
    ELASTICFACE,
    "trained_models/…/checkpoints/ema_averaged_model.ckpt",
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
    "model.ckpt",
    "the README of github.com/Tencent/TFace, generation/uiface (Google Drive)",
    empty=True,
    pipeline=UIFacePipeline,
    scheduler=UIFaceScheduler(**LINEAR),
    steps=50,
    licence="Apache-2.0 says its repository, but it derives from IDiff-Face, CC BY-NC-SA 4.0: treat it as that",
)
FEWER = """
| steps | CPU time | latents differ by | pixels differ by |
|---|---|---|---|
| 10 | 0.60 | 0.06 | 12 of 255 |
| 6 | 0.45 | 0.14 | 18 of 255 |

Beside those of 20 steps, at this width and on random weights; two pictures of one person differ by 64 of 255. Of these
weights, `python benchmarks/idiff_face.py --model FOLDER` in a checkout of idgen says it.
"""
"""What benchmarks/idiff_face.py printed of fewer steps."""
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
    size: int | None = None,
    unet: Mapping[str, Any] | None = None,
    vq: Mapping[str, Any] | None = None,
    iresnet: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model folder: denoiser/, autoencoder/, scheduler/, a card, and what is given of encoder and identities.

    Args:
        family: `IDIFF_FACE` or `UIFACE`.
        folder: with the checkpoint: the released repository's root with trained_models/ in it, or a model's own folder;
            or the checkpoint itself.
        out: the folder to write; must not hold anything yet.
        checkpoint: the diffusion weights; by default those in the folder, averaged ones before the raw ones. Those of
            the U-Net alone, without the schedule's tensors or without prefix, will do.
        autoencoder: folder with `first_stage_encoder_state_dict.pt` and `first_stage_decoder_state_dict.pt`; by default
            models/autoencoder in `folder` or in one of the two folders above it.
        contexts: identities as released, see `read_contexts`.
        encoder: ElasticFace's `Elastic_R100_295672backbone.pth`; by default looked for in utils/. Only for IDiff-Face.
        fast: save with DPM-Solver++ (Lu et al. 2022) in 20 steps instead of the released sampling.
        size: side of the pictures in pixels; by default as they are decoded, 128. UIFace's own program writes 112.
        unet, vq, iresnet: what differs from the published sizes, as arguments of `IdentityUNet`, `VQModel` and
            `IResNetRecognizer`.

    Returns:
        The folder.

    Raises:
        InputError: a file is missing, cut short, holds more than numbers or another model, or the folder cannot be
            written. Nothing is left in `out` then.
    """
    folder, out = Path(folder), Path(out)
    if checkpoint is None and folder.is_file():
        folder, checkpoint = folder.parent, folder
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
        picture_size=0 if size is None else whole("size of the pictures", size, 16, 1024),
    )
    recognizer = None if backbone is None else _read_encoder(backbone, iresnet or {})
    with files.aside(out) as beside:
        pipeline.save_pretrained(beside)
        if recognizer is not None:
            recognizer.save_pretrained(beside / "encoder")
        if people is not None:
            people.save(beside / IDENTITIES)
        (beside / "README.md").write_text(_card(family, file, recognizer is not None, fast), encoding="utf-8")
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


_PLACES = ("", "checkpoints", "trained_models/*/checkpoints")
_WEIGHTS = (".ckpt", ".pt", ".pth", ".bin", ".safetensors")
_OTHERS = ("optim", "first_stage", "elastic", "antelope", "arcface")  # how other files of weights begin there


def _find_checkpoint(family: Family, folder: Path) -> Path:
    """The one checkpoint in the places where it may be, else anywhere below; an averaged one before a raw one."""

    def candidates(paths: Iterable[Path]) -> list[Path]:
        kept = [path for path in paths if path.suffix in _WEIGHTS and not path.name.lower().startswith(_OTHERS)]
        return sorted(path for path in kept if path.is_file() and not files.left_behind(path.name))

    found = candidates(path for place in _PLACES for path in folder.glob(f"{place}/*".lstrip("/")))
    found = found or candidates(files.walk(folder))
    averaged = [path for path in found if re.search(r"(?<![a-z])ema(?![a-z])", path.stem.lower())]
    chosen = averaged or found
    if len(chosen) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in chosen)
        raise InputError(f"{folder} holds several checkpoints: name one with --checkpoint ({names}).")
    if not chosen:
        there = sorted(path.name for path in folder.iterdir() if not files.left_behind(path.name))
        raise InputError(
            f"There is no checkpoint of {family.name} in {folder}, which holds {', '.join(there[:6]) or 'nothing'}"
            f"{' and more' if len(there) > 6 else ''}: it is {family.checkpoint}, or any file that ends in "
            f"{', '.join(_WEIGHTS)}; name it with --checkpoint, or get it from {family.origin}."
        )
    if len(found) > 1:
        others = ", ".join(str(path.relative_to(folder)) for path in found if path != chosen[0])
        warnings.warn(
            f"{chosen[0].relative_to(folder)}, the averaged weights, is taken, not {others}; --checkpoint takes one.",
            stacklevel=3,
        )
    return chosen[0]


_PREFIX = re.compile(r"^(?:averaged_model\.)?eps_model\.(?:(?:module|_module|_forward_module|_original_module)\.)*")


def _read_unet(family: Family, path: Path, config: Mapping[str, Any]) -> IdentityUNet:
    tensors = read_tensors(path, f"checkpoint of {family.name}", family.origin)
    schedule = {name: tensors.pop(name) for name in _BUFFERS if name in tensors}  # without: it is the published one
    published = torch.linspace(
        LINEAR["beta_start"], LINEAR["beta_end"], LINEAR["num_train_timesteps"], dtype=torch.float32
    )
    expected = {"betas": published, "alpha_bars": (1 - published.double()).cumprod(0).float()}
    for name, value in expected.items():
        have = schedule.get(name, value)
        if have.shape != value.shape or not torch.allclose(have.float(), value, rtol=1e-3, atol=0):
            raise InputError(f"{path} was trained with another noise schedule than the published {family.name}.")
    prefixed = any(_PREFIX.match(name) for name in tensors)
    outside = [name for name, value in tensors.items() if not (_PREFIX.match(name) if prefixed else value.ndim)]
    if outside and len(outside) < len(tensors):  # such as a counter of steps
        warnings.warn(f"{path.name} holds {', '.join(outside[:3])} beside the U-Net: left out.", stacklevel=3)
        tensors = {name: value for name, value in tensors.items() if name not in outside}
    bare = {_PREFIX.sub("", name): value for name, value in tensors.items()}
    if len(bare) < len(tensors):
        raise InputError(f"{path} names some tensors twice, so it is not the checkpoint of {family.name}.")
    what = f"U-Net of {family.name}"
    return fill(lambda: IdentityUNet(**config, learn_empty_context=family.empty), bare, path, what)


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


def _card(family: Family, checkpoint: Path, encoder: bool, fast: bool) -> str:
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
    if fast:
        card += (
            "\nSampled in 20 steps of DPM-Solver++, not as released; `--steps` and `num_inference_steps` take fewer.\n"
        )
    return card + (FEWER if fast and family is IDIFF_FACE else "")
