from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from idgen.dataset.drawing import make_plan
from idgen.dataset.plan import Plan, Planned


@pytest.fixture(scope="session")
def loose(tiny_model: Path) -> dict[str, Any]:
    """Options of a plan for the tiny model, whose networks know nothing of faces."""
    free: dict[str, Any] = {"face": False, "match": None, "other": False, "duplicate": None}
    return {"model": str(tiny_model), "steps": 2, "shard": 2, **free}


@pytest.fixture
def plan(loose: dict[str, Any]) -> dict[str, Any]:
    return {"people": 6, "images": 3, "seed": 5, **loose}


@pytest.fixture
def planned(plan: dict[str, Any], tmp_path: Path) -> Planned:
    return make_plan(Plan(**plan), tmp_path / "people")
