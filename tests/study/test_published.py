"""The table on the built-in model's card is that of the cells that are published."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, stdev

import yaml

from idgen.study.plan import PLANS

ROOT = Path(__file__).parents[2]


def test_the_cards_table_is_that_of_the_cells() -> None:
    card = (ROOT / "idgen/builtin/nobody-128/README.md").read_text("utf-8")
    files = sorted((ROOT / "docs/studies/two-cores/cells").glob("*.json"))
    cells = [json.loads(file.read_text("utf-8")) for file in files]
    plan = yaml.safe_load((PLANS / "two-cores.yaml").read_text("utf-8"))
    assert {cell["row"] for cell in cells} <= set(plan["rows"])
    assert {cell["steps"] for cell in cells} == {plan["training"]["steps"]}
    for row in plan["rows"]:
        seeds = [cell for cell in cells if cell["row"] == row]
        assert len({cell["seed"] for cell in seeds}) == len(seeds)
        line = f"| {row} |"
        for figure in ("accuracy", "tar_1e-3", "tar_1e-4"):
            values = [100 * cell["figures"]["val"][figure] for cell in seeds]
            spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
            line += f" {mean(values):.2f}{spread} |" if values else " — |"
        assert (line in card) == bool(seeds), line
