"""What a study compares: a plan file. Rows are what is learned from, columns are tests, the recipe is one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from idgen.ground import arguments
from idgen.ground.errors import InputError
from idgen.ground.options import parse
from idgen.training.recipe import RECIPES
from idgen.training.recognition import RecognizerArgs

PLANS = Path(__file__).parent / "plans"
"""Plans that come with the package, `<name>.yaml`."""
OF_DATA = (
    *("data", "people", "pictures", "held_out_people", "soft_labels", "domain_mixup"),
    *("pretrain", "pretrain_share", "finetune_lr"),
)
"""What is learned from: in this rows differ."""
OF_A_ROW = (*OF_DATA, "loss", "margin", "scale", "queue", "teacher", "teacher_weight", "symmetry")
"""In what rows may differ: also in what is learned by; not in the network, nor in how long."""
_OWN = {"out", "seed", "start", "resume", "max_minutes", "device", "test", *OF_DATA}


@dataclass(frozen=True, kw_only=True)
class Study:
    """A table to be made: rows × tests × seeds."""

    rows: dict[str, Any]
    """Name → what is learned from: {data: SET, people: 1000, pictures: 12}, {data: [SET, OTHER:0.2]}, {data: SET,
    pretrain: OTHER}, soft_labels, domain_mixup, held_out_people."""
    tests: dict[str, Any]
    """Name → a set, or a .bin of pairs."""
    training: dict[str, Any]
    """Options of `idgen train recognizer` that are the same for all rows; `recipe` is the name of one of its recipes or
    a file, which the others change. Steps must be among them."""
    sets: dict[str, Any] | None = None
    """Name → a path, or the plan of a dataset that is made for the study; `file: '@NAME'` means the people of one."""
    seeds: list[Any] | None = None
    """Of the trainings; by default 0, 1, 2."""
    reference: str | None = None
    """The row that the others are set against; by default the first."""

    def __post_init__(self) -> None:
        for what in ("rows", "tests"):
            if not getattr(self, what):
                raise InputError(f"A study needs {what}, got none.")
        object.__setattr__(self, "sets", self.sets or {})
        object.__setattr__(self, "seeds", [0, 1, 2] if self.seeds is None else self.seeds)
        for seed in self.seeds or ():
            arguments.seed(seed)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"The seeds of a study are different whole numbers, got {self.seeds}.")
        object.__setattr__(self, "reference", self.reference or next(iter(self.rows)))
        if self.reference not in self.rows:
            raise InputError(f"There is no row {self.reference!r} to set the others against: {', '.join(self.rows)}.")
        object.__setattr__(self, "training", _with_recipe(self.training))
        known = {item.name for item in fields(RecognizerArgs)}
        if wrong := sorted(set(self.training) - (known - _OWN)):
            raise InputError(f"`training` of a study has no option {wrong[0]!r}: it belongs to a row, or is none.")
        if "steps" not in self.training:
            raise InputError("All rows of a study learn for equally many steps: give `steps` in `training`.")
        for name, row in self.rows.items():
            if not isinstance(row, dict) or "data" not in row:
                raise InputError(f"The row {name!r} does not say what is learned from: give it `data`.")
            if wrong := sorted(set(row) - set(OF_A_ROW)):
                raise InputError(
                    f"Rows differ in what they learn from and by: `{wrong[0]}` of {name!r} goes to `training`."
                )

    @classmethod
    def read(cls, plan: str | Path, sets: Mapping[str, str] | None = None) -> Study:
        """Of a plan file, or the name of one of `PLANS`; `sets` are paths in place of the plan's.

        Raises:
            InputError: there is no such plan, or it cannot be used.
        """
        ours = PLANS / f"{plan}.yaml"
        path = ours if ours.is_file() and not Path(plan).is_file() else Path(plan)
        study = parse(cls, ["--recipe", str(path)], f"The study {plan}")
        known = study.sets or {}
        if wrong := [name for name in sets or {} if name not in known]:
            raise InputError(f"The study {plan} has no set {wrong[0]!r}: its sets are {', '.join(known) or 'none'}.")
        study = replace(study, sets={**known, **(sets or {})})
        if lacking := [name for name, where in (study.sets or {}).items() if where is None]:
            raise InputError(f"The study {plan} does not know where {lacking[0]} is: add --set {lacking[0]}=PATH.")
        return study

    @property
    def made(self) -> dict[str, dict[str, Any]]:
        """Name → plan of the sets that are made for the study."""
        return {name: content for name, content in (self.sets or {}).items() if isinstance(content, dict)}

    def people_of(self, name: str) -> str | None:
        """The set whose people one that is made takes (`file: '@NAME'`), if it does.

        Raises:
            InputError: the study makes no such set.
        """
        file = str(self.made[name].get("file", ""))
        if not file.startswith("@"):
            return None
        if file[1:] not in self.made or file[1:] == name:
            raise InputError(f"The set {name} takes the people of {file[1:]!r}, which the study does not make.")
        return file[1:]

    def path(self, text: str, out: Path) -> str:
        """Where a set, `NAME` or `NAME:SHARE`, lies; a path as it is."""
        name, colon, share = text.rpartition(":")
        if text in (self.sets or {}):
            name, colon, share = text, "", ""
        where = (self.sets or {}).get(name)
        if where is None:
            return text
        place = out / "sets" / slug(name) if isinstance(where, dict) else where
        return f"{place}{colon}{share}"

    def row(self, name: str, out: Path) -> dict[str, Any]:
        """Options of a row, with its sets' paths."""
        row = dict(self.rows[name])
        for part in ("data", "pretrain"):
            if part in row:
                several = row[part] if isinstance(row[part], list) else [row[part]]
                row[part] = [self.path(str(text), out) for text in several]
        if row.get("teacher"):
            row["teacher"] = self.path(str(row["teacher"]), out)
        return row


def _with_recipe(training: dict[str, Any]) -> dict[str, Any]:
    """The options with those of the recipe that they name."""
    told = dict(training)
    if (recipe := told.pop("recipe", None)) is None:
        return told
    ours = RECIPES / "recognizer" / f"{recipe}.yaml"
    try:
        content = yaml.safe_load((ours if ours.is_file() else Path(recipe)).read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"The recipe {recipe} of the study cannot be read: {error}.") from error
    return {**{name: value for name, value in content.items() if name not in _OWN}, **told}


def slug(name: str) -> str:
    """A name as a file's."""
    return re.sub(r"[^\w-]+", "-", name).strip("-").lower() or "row"
