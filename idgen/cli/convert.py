"""Published checkpoints to folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from idgen.cli.shell import argument, flag, group, integer, option, say

commands = group("Turn published checkpoints into folders for --model and from_pretrained.")

_CHECKPOINT_DIR = argument("CKPT_DIR", "Folder with what was downloaded, or the checkpoint.")
_OUT = argument("OUT", "Folder to write.")
_CHECKPOINT = option(None, "The diffusion weights; by default those in the folder, averaged before raw.")
_AUTOENCODER = option(None, "Folder with the two first_stage_*_state_dict.pt.")
_CONTEXTS = option(None, "A published file of identities; becomes identities.safetensors.")
_SIZE = integer(None, "Side of the pictures in pixels; UIFace's own program writes 112. By default 128, as decoded.")
_FAST = flag("--fast", "20 steps of DPM-Solver++ instead of the released sampling.")


@commands.command("idiff-face")
def idiff_face(
    folder: Path = _CHECKPOINT_DIR,
    out: Path = _OUT,
    checkpoint: Path = _CHECKPOINT,
    autoencoder: Path = _AUTOENCODER,
    contexts: Path = _CONTEXTS,
    encoder: Path = option(None, "ElasticFace's Elastic_R100_295672backbone.pth."),
    size: int = _SIZE,
    fast: bool = _FAST,
) -> None:
    """IDiff-Face (Boutros et al. 2023)."""
    options = {"checkpoint": checkpoint, "autoencoder": autoencoder, "contexts": contexts, "size": size, "fast": fast}
    _convert("IDIFF_FACE", "IDiff-Face", folder, out, encoder=encoder, **options)


@commands.command("uiface")
def uiface(
    folder: Path = _CHECKPOINT_DIR,
    out: Path = _OUT,
    checkpoint: Path = _CHECKPOINT,
    autoencoder: Path = _AUTOENCODER,
    contexts: Path = _CONTEXTS,
    size: int = _SIZE,
    fast: bool = _FAST,
) -> None:
    """UIFace (Lin et al. 2025)."""
    options = {"checkpoint": checkpoint, "autoencoder": autoencoder, "contexts": contexts, "size": size, "fast": fast}
    _convert("UIFACE", "UIFace", folder, out, **options)


def _convert(family: str, title: str, folder: Path, out: Path, **options: Any) -> None:
    from idgen.convert import idiff_face as room
    from idgen.ground.waiting import working

    kind = getattr(room, family)
    with working(f"converting {title}"):
        made = room.convert(kind, folder, out, **options)
    say(f"{title}: {made}{os.sep} ({kind.licence})")


@commands.command("arc2face")
def arc2face(
    source: str = argument("SRC", "Folder or hub repository of the official files."),
    out: Path = _OUT,
    base: str = option(None, "Folder or repository of Stable Diffusion 1.5, for vae/ and scheduler/."),
    pack: str = option(None, "insightface pack that finds the faces in photos: name, folder or repository."),
    controlnet: bool = flag("--controlnet", "With the ControlNet for the pose."),
    expression: bool = flag("--expression", "With the expression adapter."),
    reference: bool = flag("--reference", "With the reference adapter."),
    few_step: bool = flag("--few-step", "With the LCM-LoRA: 2 to 4 steps."),
    lora: str = option(None, "Where the LCM-LoRA is, if not on the hub."),
    revision: str = option(None, "Commit, tag or branch of SRC's repository."),
    base_revision: str = option(None, "The same for --base."),
    single: bool = flag("--float32", "Keep single precision; twice the size."),
) -> None:
    """Arc2Face's official files to one folder for --model."""
    import torch

    from idgen.convert.arc2face import convert
    from idgen.ground.waiting import working

    parts: dict[str, Any] = {"controlnet": controlnet, "expression": expression, "reference": reference}
    parts["few_step"] = lora or few_step
    commits: dict[str, Any] = {"revision": revision, "base_revision": base_revision}
    dtype = torch.float32 if single else torch.float16
    with working("converting Arc2Face"):
        folder = convert(source, out, base, **parts, pack=pack, **commits, dtype=dtype)
    say(f"Arc2Face: {folder} (its README.md says under which licences)")
    if pack is None:
        say("It reads no photos: for that, give --pack, an insightface pack (non-commercial research only).")
