"""A recogniser as one ONNX file that insightface loads and that answers what idgen's encoder answers."""

from __future__ import annotations

import hashlib
import re
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idgen.faces.align import ALIGNMENTS
from idgen.faces.encoder import FaceEncoder
from idgen.ground import files
from idgen.ground.errors import InputError, require_package
from idgen.ground.hub import resolve
from idgen.model import Model

TASK_SIDE = 112
"""Side of the crops that insightface's `norm_crop` makes."""
_NO_FINDER = (
    "insightface finds faces with SCRFD, nine maps of anchors; idgen's finder is two networks with a warp between "
    "them, which that format cannot hold: use a detector of insightface, or aligned crops."
)


class Recognizer(nn.Module):
    """What is exported: the encoder's embedding before it is normalised, of crops of a size that insightface takes.

    Args:
        encoder: whose.
        size: side of the crops; where the network sees another, they are resized in here as the encoder would.
    """

    def __init__(self, encoder: FaceEncoder, size: int):
        super().__init__()
        self.network: nn.Module = encoder.recognizer
        self.flip, self.size, self.side = encoder.flip, size, encoder.image_size
        self.antialias = ALIGNMENTS[encoder.alignment].antialias

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, size, size) RGB in [-1, 1] to (N, D), not normalised."""
        if self.side != self.size:
            side = self.side, self.side
            pixels = F.interpolate(pixels, side, mode="bilinear", antialias=self.antialias, align_corners=False)
        vectors = self.network(pixels)
        return vectors + self.network(pixels.flip(3)) if self.flip else vectors


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
    _write(Recognizer(encoder, size).eval(), size, file)
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


def _write(network: nn.Module, size: int, file: Path) -> None:
    onnx = require_package("onnx", "onnx", "An ONNX file")
    require_package("onnxscript", "onnx", "An ONNX file")  # of which torch's exporter makes use
    weight = next(network.parameters())
    crops = torch.zeros(2, 3, size, size, dtype=weight.dtype, device=weight.device)
    with files.aside(file) as aside:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about its own parts
            names: dict[str, Any] = {"input_names": ["crops"], "output_names": ["vectors"]}
            names["dynamic_shapes"] = {"pixels": {0: torch.export.Dim("batch", min=1)}}
            torch.onnx.export(network, (crops,), str(aside), dynamo=True, external_data=False, verbose=False, **names)
        made = onnx.load(aside)
        graph = made.graph
        # Where each node comes from in the source: paths of this machine, which are nobody's business.
        for item in (made, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
            item.ClearField("metadata_props")
            item.ClearField("doc_string")
        onnx.save(made, aside)
