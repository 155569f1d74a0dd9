"""insightface packs at tiny size: real ONNX networks that insightface loads, made without training.

The detector really finds faces, of a kind: bright red squares with something else around them,
with five landmarks where the template has them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

POINTS = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])


def build_detector(file: Path) -> Path:
    """SCRFD's interface: strides 8, 16 and 32, two anchors a place; scores, boxes and landmarks for each stride.

    A cell of 32 pixels fires where it is redder than its surroundings; its box is four cells wide.
    """
    nodes, outputs, constants = [], [], []

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    red = np.zeros((1, 3, 1, 1))
    red[0, :, 0, 0] = 1, -1, -1  # of RGB in [-1, 1]: 3 for pure red
    constant("red", red)
    constants.append(numpy_helper.from_array(np.array([-1, 1], np.int64), "column"))
    parts: dict[str, list[str]] = {"score": [], "box": [], "points": []}
    for stride in (8, 16, 32):
        s = str(stride)
        nodes.append(
            helper.make_node("AveragePool", ["image"], ["mean" + s], kernel_shape=[stride] * 2, strides=[stride] * 2)
        )
        nodes.append(helper.make_node("Conv", ["mean" + s, "red"], ["redness" + s]))
        nodes.append(
            helper.make_node("AveragePool", ["redness" + s], ["around" + s], kernel_shape=[5, 5], pads=[2, 2, 2, 2])
        )
        nodes.append(helper.make_node("Sub", ["redness" + s, "around" + s], ["contrast" + s]))
        constant("low" + s, np.array(1.6 if stride == 32 else 10.0))  # small ones are not looked for
        constant("steep" + s, np.array(8.0))
        nodes.append(helper.make_node("Sub", ["contrast" + s, "low" + s], ["over" + s]))
        nodes.append(helper.make_node("Mul", ["over" + s, "steep" + s], ["logit" + s]))
        nodes.append(helper.make_node("Sigmoid", ["logit" + s], ["one" + s]))
        nodes.append(helper.make_node("Concat", ["one" + s, "one" + s], ["two" + s], axis=1))
        nodes.append(helper.make_node("Transpose", ["two" + s], ["last" + s], perm=[0, 2, 3, 1]))
        nodes.append(helper.make_node("Reshape", ["last" + s, "column"], ["score" + s]))
        nodes.append(helper.make_node("Mul", ["score" + s, constant("no" + s, np.zeros((1, 1)))], ["zero" + s]))
        box = constant("sides" + s, np.full((1, 4), 2.0))  # in strides, left, top, right and bottom of the place
        points = ((POINTS - 56) / 112 * 4).reshape(1, 10)
        nodes.append(helper.make_node("Add", ["zero" + s, box], ["box" + s]))
        nodes.append(helper.make_node("Add", ["zero" + s, constant("where" + s, points)], ["points" + s]))
        for part in parts:
            parts[part].append(part + s)
    for part, width in (("score", 1), ("box", 4), ("points", 10)):
        for name in parts[part]:
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"places_{name}", width]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])
    return _save(file, nodes, [image], outputs, constants)


def build_recognizer(file: Path, dim: int = 512, seed: int = 0, size: int = 112) -> Path:
    """ArcFace's interface: (N, 3, 112, 112) to (N, dim), by means of 8 × 8 places and a random matrix."""
    rng = np.random.default_rng(seed)
    cells = 8
    matrix = numpy_helper.from_array(rng.normal(size=(3 * cells**2, dim)).astype(np.float32), "matrix")
    nodes = [
        helper.make_node(
            "AveragePool", ["face"], ["cells"], kernel_shape=[size // cells] * 2, strides=[size // cells] * 2
        ),
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
