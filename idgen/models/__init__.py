"""The networks, each a diffusers `ModelMixin, ConfigMixin`; imported when first used."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from idgen.errors import InputError
from idgen.files import read_json
from idgen.weights import load_network

if TYPE_CHECKING:
    from idgen.models.autoencoder import FaceAutoencoder as FaceAutoencoder
    from idgen.models.dit import IdentityDiT as IdentityDiT
    from idgen.models.finder import FaceFinderNet as FaceFinderNet
    from idgen.models.identity_flow import IdentityFlow as IdentityFlow
    from idgen.models.iresnet import IResNetRecognizer as IResNetRecognizer
    from idgen.models.recognizer import PlainRecognizer as PlainRecognizer
    from idgen.models.recognizer import ResNetRecognizer as ResNetRecognizer
    from idgen.models.unet import IdentityUNet as IdentityUNet

_HOME = {
    "FaceAutoencoder": "autoencoder",
    "FaceFinderNet": "finder",
    "IResNetRecognizer": "iresnet",
    "IdentityDiT": "dit",
    "IdentityFlow": "identity_flow",
    "IdentityUNet": "unet",
    "PlainRecognizer": "recognizer",
    "ResNetRecognizer": "recognizer",
}

__all__ = [*_HOME, "load"]

Network = TypeVar("Network")


def load(folder: str | os.PathLike[str], kind: type[Network]) -> Network:
    """The network that a folder's config.json names, with its weights, every one of them and no others.

    Only classes of this package and safetensors are read, so nothing that was fetched is executed.

    Args:
        folder: as the `save_pretrained` of a diffusers model writes it.
        kind: what class it must be, or be derived from.

    Raises:
        InputError: a file is missing or damaged, the class is not one of ours, or weights are missing, left over or of
            another shape.
    """
    config = Path(folder) / "config.json"
    name = read_json(config).get("_class_name")
    network = __getattr__(name) if isinstance(name, str) and name in _HOME else None
    if not (isinstance(network, type) and issubclass(network, kind)):
        raise InputError(f"{config} asks for {name!r}, which is no {kind.__name__} of idgen.models: update idgen?")
    return load_network(network, Path(folder))


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
