"""The tables that are published, and those on the built-in model's card, are those of the cells beside them."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
import yaml

from idgen.study.plan import PLANS

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "docs" / "studies"


def published(study: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A packaged plan, and the cells of it that are published."""
    files = sorted((STUDIES / study / "cells").glob("*.json"))
    plan = yaml.safe_load((PLANS / f"{study}.yaml").read_text("utf-8"))
    return plan, [json.loads(file.read_text("utf-8")) for file in files]


def line(row: str, cells: list[dict[str, Any]]) -> str:
    """A row of the table, of its seeds."""
    text = f"| {row} |"
    for figure in ("accuracy", "tar_1e-3", "tar_1e-4"):
        values = [100 * cell["figures"]["val"][figure] for cell in cells]
        spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
        text += f" {mean(values):.2f}{spread} |" if values else " — |"
    return text


@pytest.mark.parametrize("study", sorted(folder.name for folder in STUDIES.iterdir()))
def test_a_table_is_that_of_its_cells(study: str) -> None:
    plan, cells = published(study)
    table = (STUDIES / study / "study.md").read_text("utf-8")
    assert cells and {cell["row"] for cell in cells} <= set(plan["rows"])
    assert {cell["steps"] for cell in cells} == {plan["training"]["steps"]}
    for row in plan["rows"]:
        seeds = [cell for cell in cells if cell["row"] == row]
        assert len({cell["seed"] for cell in seeds}) == len(seeds) and line(row, seeds) in table


@pytest.mark.parametrize("study", ["two-cores", "distillation"])
def test_the_cards_tables_are_those_of_the_cells(study: str) -> None:
    card = (ROOT / "idgen/builtin/nobody-128/README.md").read_text("utf-8")
    plan, cells = published(study)
    for row in plan["rows"]:
        seeds = [cell for cell in cells if cell["row"] == row]
        assert (line(row, seeds) in card) == bool(seeds), line(row, seeds)
