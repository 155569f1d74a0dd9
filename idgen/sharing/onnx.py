"""A recogniser as one ONNX file that insightface loads and that answers what idgen's encoder answers."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from idgen.faces.encoder import FaceEncoder
from idgen.faces.exported import Recognizer, write_onnx
from idgen.ground import files
from idgen.ground.errors import InputError
from idgen.ground.hub import resolve
from idgen.model import Model

TASK_SIDE = 112
"""Side of the crops that insightface's `norm_crop` makes."""
_NO_FINDER = (
    "insightface finds faces with SCRFD, nine maps of anchors; idgen's finder is two networks with a warp between "
    "them, which that format cannot hold: use a detector of insightface, or aligned crops."
)


def takes(size: int) -> bool:
    """Whether insightface takes a square input of this side as a recogniser's, by what its router asks."""
    return size >= TASK_SIDE and size % 16 == 0 and size != 192  # 192 would be a landmark network, 96 one for age


def export_recognizer(model: str | Path, out: str | Path, *, judge: bool = False) -> list[str]:
    """Write a recogniser for `insightface.model_zoo.get_model`.

    Any number of crops at once; weights inside the file; pixels as insightface makes them, (RGB − 127.5) / 127.5, with
    no normalisation in the graph, which would be done twice; the mirrored crop is added in the graph where the encoder
    adds it, so that the answer is the encoder's vector before it is normalised.

    Args:
        model: name, folder or hub id of a model or of a face encoder.
        out: a file `….onnx`; else a folder, which becomes a pack of insightface with manifest (its version 2).
        judge: the judge's recogniser, not the encoder's.

    Returns:
        Sentences: what the file takes and gives, and what else its user should know.

    Raises:
        InputError: there is no such recogniser, it is in ONNX already, the package onnxscript is missing, or the place
            cannot be written.
    """
    pack = Path(out).suffix != ".onnx"
    file = Path(out) / "recognizer.onnx" if pack else Path(out)
    files.check_writable(file.absolute().parent)
    folder = resolve(model)
    if (folder / "recognizer").is_dir() and not judge:  # an encoder by itself
        encoder = FaceEncoder.from_pretrained(folder)
    else:
        loaded = Model(folder, device="cpu")
        encoder = loaded.judge.recognizer if judge else loaded.encoder
    if encoder.notice:
        raise InputError(f"This encoder is in ONNX already: {encoder.notice}")
    size = encoder.image_size if takes(encoder.image_size) else TASK_SIDE
    notes = [f"{file}: crops {size}×{size} to {encoder.dim} numbers in the space {encoder.space!r}.", _NO_FINDER]
    if size != encoder.image_size:
        notes.append(f"The network sees {encoder.image_size}×{encoder.image_size}: the file resizes crops by itself.")
    if encoder.alignment != "arcface":
        notes.append(f"It was trained on crops aligned as {encoder.alignment!r}, not as insightface's norm_crop does.")
    write_onnx(Recognizer(encoder, size).eval(), size, file)
    if pack:
        recognition = {
            "file": file.name,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "embedding_dimension": encoder.dim,
            "input_size": [size, size],
        }
        manifest = {
            "manifest_version": 2,
            "model_id": re.sub(r"[^A-Za-z0-9._-]", "-", encoder.space)[:128],
            "license": "MODEL.LICENSE",  # the only name that is taken; the file itself, a signature, may be missing
            "tasks": {"recognition": recognition},
        }
        files.write_json(file.parent / "manifest.json", manifest)
    return notes
