"""The models that the operator allows, each loaded when it is first needed and then shared by everybody."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idgen.ground.attributes import Vocabulary
from idgen.ground.errors import InputError
from idgen.ground.guidance import parse_guidance, scales
from idgen.model import Model, load_model


class Models:
    """Models by the name that visitors see; safe to share between threads.

    Args:
        allowed: names, folders or Hub ids, or loaded models; the first is taken where none is named. A folder is called
            by its own name, so that a visitor does not see where it lies.
    """

    def __init__(self, allowed: Sequence[str | Model]):
        self._allowed = {_label(model): model for model in allowed}
        self._locks = {name: threading.Lock() for name in self._allowed}  # one may be fetched from the Hub for minutes

    @property
    def names(self) -> list[str]:
        """In the operator's order."""
        return list(self._allowed)

    def get(self, name: str | None = None) -> Model:
        """A model by its name; by default the first.

        Raises:
            InputError: the operator does not allow it, or it cannot be loaded.
        """
        name = name or self.names[0]
        if not isinstance(name, str) or name not in self._allowed:
            raise InputError(f"There is no model of that name here: choose one of {', '.join(self.names)}.")
        with self._locks[name]:
            model = self._allowed[name]
            if isinstance(model, str):
                model = self._allowed[name] = load_model(model)
            return model


def _label(model: str | Model) -> str:
    if not isinstance(model, str):
        return model.name
    return Path(model).resolve().name if Path(model).is_dir() else model


def defaults(model: Model) -> tuple[int, float | str]:
    """Steps and guidance of a model unless asked otherwise, without loading its networks. Guidance 1 is none."""
    index = _index(model)
    fast = any(index.get("student") or ())  # without one it is [null, null]
    steps, guidance = index.get("few_steps" if fast else "num_inference_steps"), index.get("guidance_scale")
    return int(steps or 15), 1.0 if guidance is None else guidance


def ahead(guidance: float | str) -> float:
    """The number that a slider has for a model's own guidance: that of heads that are hardly turned."""
    return scales(parse_guidance(guidance), 1)[0]


def vocabulary(model: Model) -> Vocabulary:
    """What pictures can be asked to look like, without loading the networks."""
    try:
        return model.vocabulary
    except InputError:  # said when its pipeline is asked for
        return Vocabulary({})


def reads_traits(model: Model) -> bool:
    """Whether it says of the people it draws what kind they are, without loading it."""
    return model.has("sampler") and (model.folder / "prior").is_dir()


def space(model: Model) -> str:
    """The embedding space whose vectors a model paints, without loading its networks."""
    return str(_index(model).get("space", ""))


def _index(model: Model) -> dict[str, Any]:
    return _json(model, "model_index.json")


def _json(model: Model, *parts: str) -> dict[str, Any]:
    try:
        return json.loads(model.folder.joinpath(*parts).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # said when its pipeline is asked for
