"""What is on the screen, once more: as Python, as commands, and as the settings in a link."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from idgen.ground.hub import DEFAULT_MODEL, builtin_models
from idgen.ground.identity import Identity

from .actions import CROWD, MORPH, NEIGHBOURS, SELF, Point, Recipe
from .parts import code

_OURS = "a model of this app's own: give the path of its folder instead of its name"
_DRAWN = re.compile(r"sampled, seed (\d+), number 0")


@dataclass(frozen=True)
class Again:
    """The code and the commands that make the same pictures, and the link's query; "" where there is none."""

    python: str
    commands: str
    query: str

    @property
    def markdown(self) -> str:
        """What is shown of it."""
        commands = f"\n\nOn the command line:\n\n```bash\n{self.commands}\n```" if self.commands else ""
        return f"```python\n{self.python}\n```{commands}"


def seed_of(identity: Identity) -> int | None:
    """The seed that samples this very person; None for everybody else."""
    drawn = _DRAWN.fullmatch(identity.source)
    return int(drawn[1]) if drawn else None


def pictures(identity: Identity, recipe: Recipe, model: str, tab: str = "one") -> Again:
    """Of one person's pictures."""
    file, of = f"{identity.name}.safetensors", "" if model == DEFAULT_MODEL else f" --model {model}"
    once = _again(tab, "pictures", {"person": identity}, recipe, model)
    values = {"seed": seed_of(identity), "recipe": recipe, "model": model, "ours": _ours(model)}
    return replace(once, commands=code("again.sh", file=file, of=of, **values))


def strip(ends: tuple[Identity, Identity], recipe: Recipe, model: str) -> Again:
    """Of a morph strip."""
    return _again("two", "strip", {"first": ends[0], "second": ends[1]}, recipe, model, count=MORPH)


def points(identity: Identity, measured: Sequence[Point], model: str) -> Again:
    """Of the pictures behind the last point of a trade-off; the link measures all of them."""
    return pictures(identity, measured[-1].recipe, model, "explore" if len(measured) == 1 else "curve")


def nearest(identity: Identity, recipe: Recipe, model: str) -> Again:
    """Of the nearest sampled people."""
    values = {"crowd": CROWD, "same": SELF, "count": NEIGHBOURS}
    return _again("near", "nearest", {"person": identity}, recipe, model, **values)


def _again(tab: str, what: str, people: dict[str, Identity], recipe: Recipe, model: str, **values: Any) -> Again:
    """The code, for people by their names in it, and the link; a face from a photo has none."""
    seeds = {name: seed_of(person) for name, person in people.items()}
    files = {name: f"{person.name}.safetensors" for name, person in people.items()}
    values |= {"people": seeds, "files": files, "recipe": recipe, "model": model, "ours": _ours(model)}
    asked = {
        "tab": tab,
        **dict(zip(("person", "other"), seeds.values(), strict=False)),
        "pictures": recipe.images,
        "steps": recipe.steps,
        "guidance": f"{recipe.guidance:g}",
        "variation": f"{recipe.variation:g}",
        "seed": recipe.seed,
        "model": model,
    }
    return Again(code("again.py", what=what, **values), "", "" if None in seeds.values() else f"?{urlencode(asked)}")


def _ours(model: str) -> str:
    """What is to be said of a folder of the operator's: visitors see its name, not where it lies."""
    return "" if model in builtin_models() or "/" in model else _OURS
