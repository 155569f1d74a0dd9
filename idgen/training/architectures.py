"""Recognisers that can be trained, by name."""

from __future__ import annotations

from typing import Any

from diffusers.models.modeling_utils import ModelMixin

from idgen.ground.errors import InputError
from idgen.models.iresnet import IResNetRecognizer
from idgen.models.pocketnet import PocketNetRecognizer
from idgen.models.recognizer import PlainRecognizer, ResNetRecognizer
from idgen.training.loop import build

ARCHITECTURES: dict[str, tuple[type[ModelMixin], dict[str, Any]]] = {
    "resnet": (ResNetRecognizer, {}),
    "plain": (PlainRecognizer, {}),
    "iresnet18": (IResNetRecognizer, {"blocks": (2, 2, 2, 2)}),
    "iresnet34": (IResNetRecognizer, {"blocks": (3, 4, 6, 3)}),
    "iresnet50": (IResNetRecognizer, {"blocks": (3, 4, 14, 3)}),
    "iresnet100": (IResNetRecognizer, {"blocks": (3, 13, 30, 3)}),
    "pocketnet_s128": (PocketNetRecognizer, {"channels": 16, "layers": 18, "embedding_dim": 128}),
    "pocketnet_s256": (PocketNetRecognizer, {"channels": 16, "layers": 18, "embedding_dim": 256}),
    "pocketnet_m128": (PocketNetRecognizer, {"channels": 32, "layers": 9, "embedding_dim": 128}),
    "pocketnet_m256": (PocketNetRecognizer, {"channels": 32, "layers": 9, "embedding_dim": 256}),
}
"""Class and arguments; IResNets and PocketNets have the names and shapes of the published ones."""


def make(name: str, options: dict[str, Any]) -> Any:
    """A recogniser to train, with the user's `options` beside those of its name; InputError where there is none."""
    if name not in ARCHITECTURES:
        raise InputError(f"No architecture {name!r}: choose one of {', '.join(ARCHITECTURES)}.")
    kind, given = ARCHITECTURES[name]
    return build(kind, options, **given)
