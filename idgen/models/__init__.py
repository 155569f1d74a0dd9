"""The networks, each a diffusers `ModelMixin, ConfigMixin`; imported when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
