"""What an Arc2Face with adapters can be asked to look like, in the words of every model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from torch import Tensor

from idgen.pipelines.arc2face import expression as expressions
from idgen.pipelines.arc2face.normals import MOST_PITCH, MOST_YAW, head_normals, read_normals

_EXPRESSION = ("expression", "mouth_open", "eyes_shut")
_POSE = ("yaw", "pitch")


def known(adapter: bool, controlnet: bool) -> dict[str, list[Any]]:
    """As a `Vocabulary` takes it: what the expression adapter and the ControlNet can be told."""
    of_adapter: dict[str, list[Any]] = {"expression": list(expressions.PRESETS)}
    of_adapter |= {"mouth_open": [0.0, 1.0], "eyes_shut": [0.0, 1.0]}
    of_controlnet: dict[str, list[Any]] = {"yaw": [-MOST_YAW, MOST_YAW], "pitch": [-MOST_PITCH, MOST_PITCH]}
    return (of_adapter if adapter else {}) | (of_controlnet if controlnet else {})


def expression_of(told: Mapping[str, Any]) -> Tensor:
    """(55,) of a named expression, an open mouth and shut eyes; neutral where nothing is told."""
    sliders = dict(expressions.PRESETS[told["expression"]]) if "expression" in told else {}
    if "mouth_open" in told:
        sliders["jaw_open"] = told["mouth_open"] * expressions.SLIDERS["jaw_open"][1]
    if "eyes_shut" in told:
        sliders |= {"eyelid_a": told["eyes_shut"], "eyelid_b": told["eyes_shut"]}
    return expressions.expression(sliders)


def pose_of(told: Mapping[str, Any], size: int) -> Tensor:
    """The normal map (3, size, size) of a plain head so turned, which takes some seconds the first time; straight where
    nothing is told."""
    return _head(told.get("yaw", 0.0), told.get("pitch", 0.0), size)


@lru_cache(8)
def _head(yaw: float, pitch: float, size: int) -> Tensor:
    return read_normals(head_normals(yaw, pitch, size), size)


def parts(asked: set[str]) -> tuple[bool, bool]:
    """Whether some attributes need an expression, and a pose."""
    return bool(asked & set(_EXPRESSION)), bool(asked & set(_POSE))
