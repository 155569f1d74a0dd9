"""What is on the screen, once more: as Python, as commands, and as the settings in a link."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from idgen.ground.hub import DEFAULT_MODEL, builtin_models
from idgen.ground.identity import Identity

from .actions import CROWD, GOES_WITH, MORPH, NEIGHBOURS, SELF, STRIP, STRIPS, Point, Recipe
from .models import ahead
from .parts import code, file_name

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


def pictures(identity: Identity, recipe: Recipe, model: str, tab: str = "one") -> Again:
    """Of one person's pictures."""
    return _again(tab, "pictures", {"person": identity}, recipe, model)


def turned(identity: Identity, recipe: Recipe, model: str, name: str) -> Again:
    """Of a strip of one person with one attribute changed."""
    what = {
        "name": name,
        "low": STRIPS[name][1],
        "high": STRIPS[name][2],
        "count": STRIP,
        "free": GOES_WITH.get(name, ()),
    }
    return _again(f"turn-{name}", "turned", {"person": identity}, recipe, model, **what)


def strip(ends: tuple[Identity, Identity], recipe: Recipe, model: str) -> Again:
    """Of a morph strip."""
    return _again("two", "strip", {"first": ends[0], "second": ends[1]}, recipe, model, count=MORPH)


def points(identity: Identity, measured: Sequence[Point], model: str) -> Again:
    """Of the pictures behind the last point of a trade-off; the link measures all of them."""
    return pictures(identity, measured[-1].recipe, model, "explore" if len(measured) == 1 else "curve")


def nearest(identity: Identity, recipe: Recipe, model: str) -> Again:
    """Of the nearest sampled people."""
    people = {"person": identity}
    return _again("near", "nearest", people, recipe, model, crowd=CROWD, same=SELF, count=NEIGHBOURS)


def _again(tab: str, what: str, people: dict[str, Identity], recipe: Recipe, model: str, **values: Any) -> Again:
    """The code, for people by their names in it, and the link; a face from a photo has none."""
    drawn = {name: _DRAWN.fullmatch(person.source) for name, person in people.items()}
    seeds = {name: None if found is None else int(found[1]) for name, found in drawn.items()}
    files = {name: file_name(person) for name, person in people.items()}
    # Visitors see the name of a folder of the operator's, not where it lies.
    ours = "" if model in builtin_models() or "/" in model else _OURS
    values |= {"people": seeds, "files": files, "recipe": recipe, "model": model, "ours": ours}
    asked = {"tab": tab, **dict(zip(("person", "other"), seeds.values(), strict=False))}
    asked |= {"pictures": recipe.images, "steps": recipe.steps, "guidance": f"{ahead(recipe.guidance):g}"}
    asked |= {"variation": f"{recipe.variation:g}", "seed": recipe.seed, "model": model}
    asked["space"] = next(iter(people.values())).space  # the seeds are other people in another
    if recipe.attributes:
        asked["with"] = ";".join(f"{name}:{value}" for name, value in recipe.attributes)
    of = "" if model == DEFAULT_MODEL else f" --model {model}"
    commands = code("again.sh", of=of, **values) if what == "pictures" else ""
    query = "" if None in seeds.values() else f"?{urlencode(asked)}"
    return Again(code("again.py", what=what, **values), commands, query)
