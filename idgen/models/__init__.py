"""The networks, each a diffusers `ModelMixin, ConfigMixin`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from idgen.ground.errors import InputError
from idgen.ground.files import read_json
from idgen.ground.weights import load_network
from idgen.models.autoencoder import FaceAutoencoder
from idgen.models.dit import IdentityDiT
from idgen.models.finder import FaceFinderNet
from idgen.models.identity_flow import IdentityFlow
from idgen.models.iresnet import IResNetRecognizer
from idgen.models.recognizer import PlainRecognizer, ResNetRecognizer
from idgen.models.unet import IdentityUNet

__all__ = [
    "FaceAutoencoder",
    "FaceFinderNet",
    "IResNetRecognizer",
    "IdentityDiT",
    "IdentityFlow",
    "IdentityUNet",
    "PlainRecognizer",
    "ResNetRecognizer",
    "load",
]

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
    network = globals()[name] if isinstance(name, str) and name in __all__ else None
    if not (isinstance(network, type) and issubclass(network, kind)):
        raise InputError(f"{config} asks for {name!r}, which is no {kind.__name__} of idgen.models: update idgen?")
    return load_network(network, Path(folder))
