"""Arc2Face as its authors published it, `idgen.pipelines.arc2face.files`, made one folder for `from_pretrained`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from idgen.faces.insight import InsightFaceEncoder
from idgen.ground import files
from idgen.ground.errors import InputError
from idgen.ground.hub import REVISIONS
from idgen.pipelines.arc2face import Arc2FacePipeline
from idgen.pipelines.arc2face.files import (
    BASE,
    LCM_LORA,
    RECOGNIZERS,
    SAVED_ADAPTER,
    SAVED_REFERENCE,
    Place,
    folders,
    recognizer_file,
)


def convert(
    source: Place,
    out: Place,
    base: Place | None = None,
    *,
    few_step: bool | Place = False,
    controlnet: bool = False,
    expression: bool = False,
    reference: bool = False,
    pack: Place | None = None,
    revision: str | None = None,
    base_revision: str | None = None,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write one self-contained folder of Arc2Face: for `Arc2FacePipeline.from_pretrained` and `idgen --model`.

    Args:
        source: folder or hub repository of the official files.
        out: the folder; must not exist. Complete or not there at all.
        base: folder or repository with Stable Diffusion 1.5's vae/ and scheduler/; by default `source` if it is a
            folder that has them, else "stable-diffusion-v1-5/stable-diffusion-v1-5".
        few_step: put the LCM-LoRA into the denoiser, see `Arc2FacePipeline.few_step`.
        controlnet, expression, reference: put these in too.
        pack: insightface pack (name, folder or hub repository) whose face detector is put into the folder's encoder/
            together with the `arcface.onnx` in it, or else the source's; without a pack, the folder makes pictures but
            reads no photos.
        revision, base_revision: of the repositories; by default those of `idgen.ground.hub`. The card says which.
        dtype: of the weights in the files.

    Raises:
        InputError: a file is missing or cannot be fetched, is damaged, would execute code, or does not fit; or `out`
            exists or cannot be written.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"{out} exists already: choose another folder, or remove it.")
    files.check_writable(out)
    more = {"controlnet": controlnet, "expression": expression, "reference": reference}
    in_pack = pack is not None and (Path(pack) / RECOGNIZERS[0]).is_file()
    wants = pack is not None and not in_pack
    folder, base_folder = folders(
        source, base, {"revision": revision}, **more, recognizer=wants, base_revision=base_revision
    )
    pipeline = Arc2FacePipeline.from_pretrained(folder, base=base_folder, few_step=few_step, dtype=dtype, **more)
    with files.aside(out) as beside:
        pipeline.save_pretrained(beside)
        if pack is not None:
            if not Path(pack).is_dir() and (folder / Path(pack).name).is_dir():  # as the official program has it
                pack = folder / Path(pack).name
            recognizer = Path(pack) / RECOGNIZERS[0] if in_pack else recognizer_file(folder)
            InsightFaceEncoder.from_pack(pack, recognizer).save_pretrained(beside / "encoder")
        card = _card(beside, _origin(source, folder), _origin(base or BASE, base_folder), few_step)
        (beside / "README.md").write_text(card, encoding="utf-8")
    return out


def _origin(place: Place, folder: Path) -> str:
    """Where files came from, for a card: repository and commit, or nothing but that they were here."""
    return f"{place} at {folder.name}" if folder.parent.name == "snapshots" else "local files"


def _card(folder: Path, source: str, base: str, few_step: bool | Place) -> str:
    lora = f"{LCM_LORA} at {REVISIONS[LCM_LORA]}" if few_step is True else "as given to --lora"
    denoiser = f"Arc2Face (arXiv 2403.11641), {source}"
    terms = "MIT, says its card; trained on WebFace42M, which is for non-commercial research"
    rows: list[tuple[str, str, str, Any]] = [
        ("denoiser, text encoder", denoiser, terms, True),
        ("autoencoder, schedule", f"Stable Diffusion 1.5, {base}", "CreativeML Open RAIL-M", True),
        ("in the denoiser", f"LCM-LoRA for Stable Diffusion 1.5, {lora}", "OpenRAIL++", few_step),
        ("controlnet", "Arc2Face", "as the denoiser", (folder / "controlnet").exists()),
        (SAVED_ADAPTER, "Arc2Face (arXiv 2510.04706)", "as the denoiser", (folder / SAVED_ADAPTER).exists()),
        (SAVED_REFERENCE, "Arc2Face (arXiv 2510.04706)", "as the denoiser", (folder / SAVED_REFERENCE).exists()),
        ("encoder/arcface.onnx", "Arc2Face", "as the denoiser", (folder / "encoder").exists()),
        ("encoder/, the face detector", "insightface", "non-commercial research only", (folder / "encoder").exists()),
    ]
    table = "\n".join(f"| {part} | {origin} | {licence} |" for part, origin, licence, there in rows if there)
    return f"""---
license: other
library_name: diffusers
---
# Arc2Face in one folder

Made by `idgen convert arc2face`. Load it with `idgen.Arc2FacePipeline.from_pretrained`, or use
`idgen generate --model` with this folder.

| part | from | licence |
|---|---|---|
{table}
"""
