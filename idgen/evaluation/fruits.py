"""What one picture costs a recogniser, on one thread: detection, alignment, embedding (FRUITS, Zhu et al. 2021); and
the same recogniser in half precision and in 8 bits, by ONNX Runtime's own tools."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from idgen.evaluation.reading import Reader
from idgen.faces.encoder import FaceEncoder
from idgen.faces.exported import exported, fed, on_one_thread
from idgen.faces.insight import InsightFaceEncoder
from idgen.ground.devices import one_thread
from idgen.ground.errors import require_package

TIMED = 20
"""Pictures that are timed one by one, after two that are not."""
RANGE = 64
"""Faces that tell how large the numbers inside the 8-bit network become."""


@dataclass(frozen=True)
class Cost:
    """Of one picture; milliseconds are medians, None where there is nothing of the kind.

    Args:
        by: whose.
        detection, alignment, embedding: milliseconds.
        total, slow: of all three together, the median and the 95th percentile.
        dim, vector: numbers of a vector, and its bytes as float32.
        weights: bytes of the network, where known.
    """

    by: str
    detection: float | None
    alignment: float | None
    embedding: float
    total: float
    slow: float
    dim: int
    vector: int
    weights: int | None


def with_variants(reader: Reader, open_: Callable[[int], Image], count: int) -> list[Cost]:
    """Time the reader's recognisers on some of `count` pictures, and put beside each what ONNX Runtime makes of it.

    Raises:
        InputError: no picture shows a face, or a package is missing.
    """
    rows = np.unique(np.linspace(0, count - 1, min(count, RANGE)).round().astype(int)).tolist()
    pictures = [open_(row) for row in rows]
    found: list[Any] = []
    costs: list[Cost] = []
    with one_thread(), tempfile.TemporaryDirectory(prefix="idgen-") as folder:
        for number, (who, encoder, known) in enumerate(reader.recognisers):
            crops = [
                seen[0] for seen in reader.seeker.crops(pictures, [encoder], not reader.searched) if seen is not None
            ]
            if not crops:
                raise reader.none_shown("picture that is to be timed")
            if isinstance(encoder, InsightFaceEncoder):
                encoder.on_one_thread()
            aside = Path(folder) / str(number)
            aside.mkdir()
            finding = encoder if encoder.finder is not None else reader.seeker
            before = [_found(finding, picture) for picture in pictures[: TIMED + 2]]
            kinds = [("", encoder, _bytes(encoder))]
            if (file := exported(encoder, aside)) is not None:
                made = {"ONNX": file, "half": _half(file, aside), "8 bits": _eight_bits(file, aside, encoder, crops)}
                kinds += [(f", {kind}", on_one_thread(encoder, one), one.stat().st_size) for kind, one in made.items()]
            for kind, one, size in kinds:
                found.append((f"{who}{kind}", one, known))
                costs.append(_cost(f"{who}{kind}", one, crops[: TIMED + 2], before, size))
    reader.recognisers = found
    return costs


def processor() -> str:
    """What was timed on."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _found(encoder: FaceEncoder, picture: Image) -> tuple[float, float | None]:
    """Seconds to find the face and to cut it out."""
    since = time.perf_counter()
    faces = encoder.finder.find(picture) if encoder.finder is not None else []
    then = time.perf_counter()
    if not faces:
        return then - since, None
    encoder.crop(picture, faces[0])
    return then - since, time.perf_counter() - then


def _cost(
    by: str,
    encoder: FaceEncoder,
    crops: Sequence[Image],
    before: Sequence[tuple[float, float | None]],
    size: int | None,
) -> Cost:
    seconds = []
    for crop in crops:
        since = time.perf_counter()
        encoder.encode([crop])
        seconds.append(time.perf_counter() - since)
    warm = slice(2 if len(seconds) > 2 else 0, None)
    embedding = 1000 * np.array(seconds[warm])
    looked = 1000 * np.array([one for one, _ in before[warm]])
    cut = 1000 * np.array([other for _, other in before[warm] if other is not None])
    aligning = float(np.median(cut)) if len(cut) else None
    every = embedding[:, None] + looked[None] + (aligning or 0.0)
    return Cost(
        by,
        float(np.median(looked)),
        aligning,
        float(np.median(embedding)),
        float(np.median(every)),
        float(np.percentile(every, 95)),
        encoder.dim,
        4 * encoder.dim,
        size,
    )


def _bytes(encoder: FaceEncoder) -> int | None:
    if isinstance(encoder, InsightFaceEncoder):
        return encoder.files[-1].stat().st_size
    network = getattr(encoder, "recognizer", None)
    return (
        sum(p.numel() * p.element_size() for p in network.parameters())
        if isinstance(network, torch.nn.Module)
        else None
    )


def _half(file: Path, folder: Path) -> Path:
    onnx = require_package("onnx", "onnx", "An ONNX file")
    tool = require_package("onnxruntime.transformers.float16", "onnx", "Half precision")
    out = folder / "half.onnx"
    onnx.save(tool.convert_float_to_float16(onnx.load(file), keep_io_types=True), out)
    return out


def _eight_bits(file: Path, folder: Path, encoder: FaceEncoder, crops: Sequence[Image]) -> Path:
    """Weights, within seven of the bits, and activations, within what these faces make them."""
    tool = require_package("onnxruntime.quantization", "onnx", "8 bits")
    given, name = fed(encoder), _input(file)
    faces = iter([{name: given(encoder._read(crop))} for crop in crops])

    class Faces(tool.CalibrationDataReader):  # type: ignore[name-defined, misc]
        def get_next(self) -> Any:
            return next(faces, None)

    prepared, out = folder / "prepared.onnx", folder / "8-bits.onnx"
    tool.shape_inference.quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
    how = {"per_channel": True, "weight_type": tool.QuantType.QInt8, "activation_type": tool.QuantType.QUInt8}
    # Weights of seven bits: on processors without VNNI sums of eight-bit pairs overflow, in silence.
    tool.quantize_static(str(prepared), str(out), Faces(), reduce_range=True, **how)
    return out


def _input(file: Path) -> str:
    graph = require_package("onnx", "onnx", "An ONNX file").load(file, load_external_data=False).graph
    inside = {one.name for one in graph.initializer}
    return str(next(one.name for one in graph.input if one.name not in inside))
