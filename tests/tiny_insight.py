"""insightface packs at tiny size: real ONNX networks that insightface loads, made without training.

The detector finds bright red squares with something else around them, with five landmarks where the template has them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from idgen.faces.align import template

POINTS = template(112)


def build_detector(file: Path) -> Path:
    """SCRFD's interface: strides 8, 16 and 32, two anchors a place; scores, boxes and landmarks for each stride.

    A cell of 32 pixels fires where it is redder than its surroundings; its box is four cells wide.
    """
    nodes, outputs, constants = [], [], []

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(values, name))
        return name

    def node(kind: str, output: str, *inputs: str, **options: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **options))
        return output

    def pool(output: str, inputs: str, side: int, **options: Any) -> str:
        return node("AveragePool", output, inputs, kernel_shape=[side] * 2, **options)

    red = constant("red", np.float32([1, -1, -1]).reshape(1, 3, 1, 1))  # of RGB in [-1, 1]: 3 for pure red
    column = constant("column", np.array([-1, 1], np.int64))
    for s in (8, 16, 32):
        redness = node("Conv", f"redness{s}", pool(f"mean{s}", "image", s, strides=[s] * 2), red)
        contrast = node("Sub", f"contrast{s}", redness, pool(f"around{s}", redness, 5, pads=[2] * 4))
        low = constant(f"low{s}", np.float32(1.6 if s == 32 else 10))  # small ones are not looked for
        over = node("Mul", f"logit{s}", node("Sub", f"over{s}", contrast, low), constant(f"steep{s}", np.float32(8)))
        one = node("Sigmoid", f"one{s}", over)
        two = node("Transpose", f"last{s}", node("Concat", f"two{s}", one, one, axis=1), perm=[0, 2, 3, 1])
        score = node("Reshape", f"score{s}", two, column)
        zero = node("Mul", f"zero{s}", score, constant(f"no{s}", np.zeros((1, 1), np.float32)))
        # In strides: left, top, right and bottom of the place; the landmarks from it.
        node("Add", f"box{s}", zero, constant(f"sides{s}", np.full((1, 4), 2, np.float32)))
        node("Add", f"points{s}", zero, constant(f"where{s}", np.float32((POINTS - 56) / 28).reshape(1, 10)))
    for part, width in (("score", 1), ("box", 4), ("points", 10)):
        for s in (8, 16, 32):
            outputs.append(helper.make_tensor_value_info(f"{part}{s}", TensorProto.FLOAT, [f"places_{part}{s}", width]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])
    return _save(file, nodes, [image], outputs, constants)


def build_recognizer(file: Path, dim: int = 512, seed: int = 0, size: int = 112) -> Path:
    """ArcFace's interface: (N, 3, 112, 112) to (N, dim), by means of 8 × 8 places and a random matrix."""
    values = np.random.default_rng(seed).normal(size=(3 * 8**2, dim)).astype(np.float32)
    matrix = numpy_helper.from_array(values, "matrix")
    sides = {"kernel_shape": [size // 8] * 2, "strides": [size // 8] * 2}
    nodes = [
        helper.make_node("AveragePool", ["face"], ["cells"], **sides),
        helper.make_node("Flatten", ["cells"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["vector"]),
    ]
    face = helper.make_tensor_value_info("face", TensorProto.FLOAT, ["batch", 3, size, size])
    vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", dim])
    return _save(file, nodes, [face], [vector], [matrix])


def build_pack(folder: Path, *recognizers: str) -> Path:
    folder.mkdir(parents=True)
    build_detector(folder / "scrfd_10g_bnkps.onnx")
    for number, name in enumerate(recognizers or ("arcface.onnx",)):
        build_recognizer(folder / name, seed=number)
    return folder


def red_face(size: int = 320, at: tuple[int, int] = (96, 64), side: int = 100, seed: int = 0) -> Image.Image:
    """A picture with a red square."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 90, (size, size, 3), dtype=np.uint8)
    pixels[at[1] : at[1] + side, at[0] : at[0] + side] = (250, 5, 5)
    return Image.fromarray(pixels)


def _save(file: Path, nodes: list, inputs: list, outputs: list, constants: list) -> Path:
    graph = helper.make_graph(nodes, file.stem, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))
    return file
