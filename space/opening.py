"""What the page opens with: a person who is painted already. `python -m space.opening` paints them again."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from idgen.ground import files
from idgen.model import Model, load_model

from . import actions
from .actions import Recipe
from .parts import part, tile, uri

SEED = 33
"""Of the person."""
FOLDER = Path(__file__).parent / "painted"
_ABOUT = "opening.json"


def paint(model: Model, folder: Path = FOLDER) -> None:
    """Paint the person as a press of *Generate pictures* does on a fresh page, and keep pictures and scores."""
    person, _ = actions.sample(model, SEED)
    *_, result = actions.generate(model, person, Recipe.of(model))
    assert isinstance(result, actions.Result)  # the last snapshot is
    about = actions.report(result)
    with files.aside(folder) as beside:
        beside.mkdir()
        for line, image in zip(about["pictures"], result.images, strict=True):
            (beside / line["file"]).write_bytes(actions.png(image, model.name, person, result.recipe))
        files.write_json(beside / _ABOUT, about)


@lru_cache
def opening(model: str, folder: Path = FOLDER) -> str:
    """The place of the pictures before there are any: somebody whom this model painted, or an outline."""
    about: dict[str, Any] = {}
    if (folder / _ABOUT).is_file():
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    if about.get("model") != model:
        return part("empty", what="one")
    tiles = [
        tile(number, uri((folder / line["file"]).read_bytes(), "image/png"), line, about["identity"])
        for number, line in enumerate(about["pictures"], 1)
    ]
    return part("empty", what="one", tiles=tiles, about=about)


if __name__ == "__main__":
    paint(load_model())
