"""From a photo to a vector: the picture opened, the face found, aligned, embedded."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idgen.faces.encoder import FaceEncoder
    from idgen.faces.finder import Detection, FaceFinder
    from idgen.images import open_image

__all__ = ["Detection", "FaceEncoder", "FaceFinder", "open_image"]

# On demand, so that opening a picture does not import torch.
_HOME = {"Detection": "finder", "FaceEncoder": "encoder", "FaceFinder": "finder", "open_image": "images"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
