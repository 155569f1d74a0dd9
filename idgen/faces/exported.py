"""A recogniser as an ONNX file, and one that is run from such a file in ONNX Runtime, on one thread."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idgen.faces.align import ALIGNMENTS
from idgen.faces.encoder import FaceEncoder
from idgen.faces.insight import InsightFaceEncoder
from idgen.ground import files
from idgen.ground.errors import require_package


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


def write_onnx(network: nn.Module, size: int, file: Path) -> None:
    """Write a network of crops (N, 3, size, size) as one ONNX file. InputError where a package is missing."""
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


def exported(encoder: FaceEncoder, folder: Path) -> Path | None:
    """The recogniser of an encoder as an ONNX file, written into a folder where it is none; None for one that cannot be
    exported, such as dlib's. InputError where a package is missing."""
    if isinstance(encoder, InsightFaceEncoder):
        return encoder.files[-1]
    if type(encoder) is not FaceEncoder:
        return None
    file = folder / "float32.onnx"
    write_onnx(Recognizer(encoder, encoder.image_size).eval(), encoder.image_size, file)
    return file


def on_one_thread(encoder: FaceEncoder, file: Path) -> FaceEncoder:
    """An encoder whose recogniser is run from a file by `exported`, or another one made of it."""
    other = copy.copy(encoder)
    session, given = one_thread_session(file), fed(encoder)
    name = session.get_inputs()[0].name

    def embed(pixels: Tensor) -> Tensor:
        vectors = [session.run(None, {name: given(one[None])})[0].reshape(-1) for one in pixels]
        return torch.from_numpy(np.stack(vectors)).float()

    setattr(other, "_embed", embed)  # noqa: B010
    return other


def fed(encoder: FaceEncoder) -> Callable[[Tensor], Any]:
    """What makes the input of an encoder's file of pixels (N, 3, H, H) in [0, 1]."""
    if isinstance(encoder, InsightFaceEncoder):
        return lambda pixels: ((pixels * 255 - encoder.scaled[0]) / encoder.scaled[1]).cpu().numpy()
    return lambda pixels: (pixels * 2 - 1).cpu().numpy()


def one_thread_session(file: Path) -> Any:
    """A session of ONNX Runtime for a file, on the CPU."""
    runtime = require_package("onnxruntime", "onnx", "Running an ONNX file")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
