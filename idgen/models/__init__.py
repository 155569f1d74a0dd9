"""The networks, each a diffusers `ModelMixin, ConfigMixin`."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from idgen.ground.errors import InputError
from idgen.ground.files import read_json
from idgen.ground.weights import load_network

if TYPE_CHECKING:
    from idgen.models.adapted import AdaptedRecognizer
    from idgen.models.attribute_net import AttributeNet
    from idgen.models.attribute_prior import AttributePrior
    from idgen.models.autoencoder import FaceAutoencoder
    from idgen.models.dit import IdentityDiT
    from idgen.models.finder import FaceFinderNet
    from idgen.models.identity_flow import IdentityFlow
    from idgen.models.iresnet import IResNetRecognizer
    from idgen.models.pocketnet import PocketNetRecognizer
    from idgen.models.quality_net import QualityNet
    from idgen.models.recognizer import PlainRecognizer, ResNetRecognizer
    from idgen.models.unet import IdentityUNet

# Each is imported when it is first used: diffusers' autoencoders alone take seconds, which a recogniser does not need.
_PLACES = (
    "adapted.AdaptedRecognizer attribute_net.AttributeNet attribute_prior.AttributePrior "
    "autoencoder.FaceAutoencoder dit.IdentityDiT "
    "finder.FaceFinderNet identity_flow.IdentityFlow iresnet.IResNetRecognizer pocketnet.PocketNetRecognizer "
    "quality_net.QualityNet recognizer.PlainRecognizer recognizer.ResNetRecognizer unet.IdentityUNet"
)
_HOME = {place.partition(".")[2]: place.partition(".")[0] for place in _PLACES.split()}
__all__ = [*_HOME, "load"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


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
