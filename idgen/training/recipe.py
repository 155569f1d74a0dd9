"""What can be trained, and by which recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from idgen.ground.errors import InputError, require_package

TRAINERS = {
    "recognizer": ("idgen.training.recognition", "RecognizerArgs", "train_recognizer"),
    "judge": ("idgen.training.recognition", "RecognizerArgs", "train_recognizer"),
    "finder": ("idgen.training.finder", "FinderArgs", "train_finder"),
    "autoencoder": ("idgen.training.autoencoder", "AutoencoderArgs", "train_autoencoder"),
    "generator": ("idgen.training.generator", "GeneratorArgs", "train_generator"),
    "student": ("idgen.training.student", "StudentArgs", "train_student"),
    "attributes": ("idgen.training.attributes", "AttributesArgs", "train_attributes"),
    "quality": ("idgen.training.quality", "QualityArgs", "train_quality"),
    "sampler": ("idgen.training.sampler", "SamplerArgs", "train_sampler"),
    "model": ("idgen.training.assemble", "AssembleArgs", "assemble"),
}
"""What can be trained: module, dataclass of its arguments, function.

Judge and recogniser differ by recipe; `model` puts the trained networks together.
"""

RECIPES = Path(__file__).parent / "recipes"
"""The recipes that made the shipped weights, `<network>.yaml`."""


def trainer(network: str) -> tuple[type, Callable[[Any], Any]]:
    """Dataclass of the arguments and training function of a network. InputError if there is none of that name, or the
    packages for training are not installed."""
    if network not in TRAINERS:
        raise InputError(f"There is no network {network!r} to train: choose one of {', '.join(TRAINERS)}.")
    home, args_name, function_name = TRAINERS[network]
    module = require_package(home, "train", "Training")
    return getattr(module, args_name), getattr(module, function_name)
