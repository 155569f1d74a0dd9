"""A study of tiny networks and tiny sets: its table, what is done again and what is not, and whom a test knows."""

from __future__ import annotations

import json
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from idgen.cli import app
from idgen.dataset.plan import Plan
from idgen.ground.errors import InputError
from idgen.ground.options import made
from idgen.study import run as room
from idgen.study.cells import RunCells
from idgen.study.page import gaps
from idgen.study.plan import PLANS, Study
from idgen.study.run import run_study
from idgen.study.table import Spread, Table, apart
from idgen.training.recognition import RecognizerArgs

TRAINING: dict[str, Any] = {
    "model": {"channels": [16, 16, 16], "blocks": [1, 1, 1], "embedding_dim": 16},
    **{"steps": 2, "batch_size": 8, "size": 64, "precision": "no", "warmup": 1, "validate_every": 1, "lr": "1e-3"},
}


def people(folder: Path, seed: int, count: int = 5, pictures: int = 3, names: str = "p") -> Path:
    rng = np.random.default_rng(seed)
    for person in range(count):
        face = rng.integers(0, 255, (8, 8, 3))
        (folder / f"{names}{person}").mkdir(parents=True)
        for k in range(pictures):
            pixels = np.clip(face + rng.integers(-20, 20, face.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((64, 64)).save(folder / f"{names}{person}" / f"{k}.png")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDGEN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def plan(tmp_path: Path) -> dict[str, Any]:
    sets = {name: str(people(tmp_path / name, seed, names=name)) for seed, name in enumerate(("a", "b", "val"))}
    rows = {"A": {"data": "a"}, "A, then B": {"data": "b", "pretrain": "a"}}
    return {"sets": sets, "rows": rows, "tests": {"val": "val"}, "seeds": [0, 1], "training": dict(TRAINING)}


def cells(out: Path) -> dict[str, dict[str, Any]]:
    return {file.name: json.loads(file.read_text()) for file in sorted((out / "cells").glob("*.json"))}


def numbers(out: Path) -> dict[str, Any]:
    return {name: cell["figures"] for name, cell in cells(out).items()}


def test_the_table_is_that_of_the_cells(plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    table = run_study(Study(**plan), out, device="cpu")
    found = cells(out)
    assert len(found) == 4 and (table.done, table.cells) == (4, 4)
    for row in plan["rows"]:
        values = [cell["figures"]["val"]["accuracy"] for cell in found.values() if cell["row"] == row]
        assert sorted(table.rows[row]["val"]["accuracy"].values) == sorted(values)
    content = json.loads((out / "study.json").read_text())
    assert content["rows"]["A"]["val"]["accuracy"]["gap"] == 0 and content["plan"]["training"]["steps"] == 2
    assert "tar_1e-3" not in content["rows"]["A"]["val"], "90 comparisons say nothing of one in a thousand"
    assert "| A, then B | " in (out / "study.md").read_text() and "4 of 4 cells" in (out / "study.md").read_text()
    assert "<svg" in (out / "study.html").read_text()
    assert not list(out.glob("runs/*/checkpoint")) and len(list(out.glob("runs/*/best"))) == 4

    trained: list[str] = []
    before = numbers(out)
    real = room.RunCells.__call__
    monkeypatch.setattr("idgen.study.cells.train_recognizer", lambda args: trained.append(args.out.name) or real)
    run_study(Study(**plan), out, device="cpu")
    plan["tests"]["again"] = "val"
    table = run_study(Study(**plan), out, device="cpu")
    assert trained == [] and {name: {"val": cell["val"]} for name, cell in numbers(out).items()} == before
    assert table.rows["A"]["again"] == table.rows["A"]["val"] and "average" in table.rows["A"]
    plan["rows"]["A"]["pictures"] = 2
    run_study(Study(**plan), out, device="cpu")
    assert len(trained) == 2, "a row that is changed is another cell; the others stay"


def test_a_test_whose_pictures_changed_is_measured_again(plan: dict[str, Any], tmp_path: Path) -> None:
    plan |= {"rows": {"A": {"data": "a"}}, "seeds": [0]}
    run_study(Study(**plan), tmp_path / "out", device="cpu")
    before = cells(tmp_path / "out")
    plan["sets"]["val"] = str(people(tmp_path / "other", 7))
    run_study(Study(**plan), tmp_path / "out", device="cpu")
    (name, after), (_, old) = *cells(tmp_path / "out").items(), *before.items()
    assert list(before) == [name] and after["tests"] != old["tests"] and after["minutes"] == old["minutes"]


def test_a_teacher_is_known_by_its_weights(plan: dict[str, Any], tmp_path: Path) -> None:
    plan["seeds"] = [0]
    run_study(Study(**plan), tmp_path / "one", device="cpu")
    first, second = (folder / "best" for folder in sorted((tmp_path / "one" / "runs").iterdir()))
    plan |= {"rows": {"taught": {"data": "b", "teacher": "t"}}}

    def key(folder: Path) -> str:
        plan["sets"]["t"] = str(folder)
        return room._cells(Study(**plan), tmp_path, "cpu")[0].key

    moved = Path(shutil.copytree(first, tmp_path / "elsewhere"))
    assert key(first) == key(moved) != key(second)


def test_sets_are_made_by_their_plans(plan: dict[str, Any], tiny_model: Path, tmp_path: Path) -> None:
    made = {"people": 4, "images": 3, "model": str(tiny_model), "match": None, "other": False, "face": False}
    plan["sets"]["made"] = {**made, "steps": 1}
    plan["sets"]["mixed"] = {**made, "steps": 1, "method": "mixup", "file": "@made"}
    plan["rows"] = {"made": {"data": "made"}, "mixed": {"data": ["mixed:0.5", "made"], "soft_labels": True}}
    plan["seeds"] = [0]
    table = run_study(Study(**plan), tmp_path / "out", device="cpu")
    assert table.done == 2 and "One seed says nothing of the spread." in table.notes
    assert "2 of 2 cells; one seed, percent" in (tmp_path / "out" / "study.md").read_text()
    assert (tmp_path / "out" / "sets" / "mixed" / "soft-labels.json").is_file()

    # Another machine rounds differently: its pictures are others, its cells are not; and makes no set for nothing.
    shutil.copytree(tmp_path / "out" / "cells", tmp_path / "again" / "cells")
    assert run_study(Study(**plan), tmp_path / "again", device="cpu").rows == table.rows
    assert not (tmp_path / "again" / "sets").exists()
    plan["rows"]["made, too"] = {"data": "made", "pictures": 2}
    assert run_study(Study(**plan), tmp_path / "again", device="cpu").done == 3
    assert [path.name for path in (tmp_path / "again" / "sets").iterdir() if path.is_dir()] == ["made"]
    plan["tests"]["more"] = "a"
    assert run_study(Study(**plan), tmp_path / "again", device="cpu").done == 3, "without its network it is made again"
    plan["sets"] |= {"first": {**made, "steps": 1, "seed": 7}, "last": {**made, "best_of": 2, "best_by": "quality"}}
    plan["rows"] = {"first": {"data": "first"}, "last": {"data": "last"}}
    with pytest.raises(InputError, match="knows how recognisable a face is"):
        run_study(Study(**plan), tmp_path / "again", device="cpu")
    painted = list((tmp_path / "again" / "sets" / "first" / "data").glob("*"))
    assert painted == [], "what cannot be made is refused before anything is painted"
    plan["rows"] = {"mixed": {"data": "mixed", "soft_labels": True}}
    plan["sets"]["mixed"]["file"] = "@val"
    with pytest.raises(InputError, match="mixed takes the people of 'val', which the study does not make"):
        run_study(Study(**plan), tmp_path / "again", device="cpu")


def test_rows_of_methods(plan: dict[str, Any], tmp_path: Path) -> None:
    """The teacher of the second one is the best network of the first study."""
    plan |= {"rows": {"labels": {"data": "a"}, "none": {"data": "a", "loss": "usynthface", "queue": 8}}, "seeds": [0]}
    assert run_study(Study(**plan), tmp_path / "one", device="cpu").done == 2
    (teacher,) = (tmp_path / "one" / "runs").glob("labels-*/best")
    plan["sets"]["teacher"] = str(teacher)
    plan["rows"] = {"alone": {"data": "b"}, "taught": {"data": "b", "teacher": "teacher"}}
    table = run_study(Study(**plan), tmp_path / "two", device="cpu")
    assert table.done == 2 and "teacher" in next((tmp_path / "two" / "runs").glob("taught-*/log.jsonl")).read_text()


def test_a_test_that_knows_its_people_is_named(plan: dict[str, Any], tmp_path: Path) -> None:
    plan["tests"] = {"same": "a", "val": "val", "names": str(people(tmp_path / "other", 9, names="a"))}
    plan["rows"], plan["seeds"] = {"A": {"data": "a"}}, [0]
    notes = run_study(Study(**plan), tmp_path / "out", device="cpu").notes
    assert any("same tests on people of" in note and "5 people of it have pictures in both" in note for note in notes)
    assert any("names may test on people of" in note and "5 names are in both (a0, a1, a2)" in note for note in notes)
    assert not any(note.startswith("val") for note in notes)


def test_a_cell_that_diverges_is_said_and_not_tried_again(
    plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(args: RecognizerArgs) -> None:
        tried.append(args.seed)
        raise FloatingPointError("The loss became nan: lower --lr.")

    tried: list[int] = []
    monkeypatch.setattr("idgen.study.cells.train_recognizer", diverge)
    plan["rows"] = {"A": {"data": "a"}}
    for _ in range(2):
        table = run_study(Study(**plan), tmp_path / "out", device="cpu")
    assert tried == [0, 1] and table.rows["A"] == {}
    assert "A, seed 1: The loss became nan: lower --lr." in table.notes
    assert "—" not in (tmp_path / "out" / "study.md").read_text()


def test_the_step_travels(plan: dict[str, Any], tmp_path: Path) -> None:
    found = room._cells(Study(**plan), tmp_path, "cpu")
    assert pickle.loads(pickle.dumps(RunCells(found))).cells == found
    assert len({cell.key for cell in found}) == 4


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"rows": {}}, "needs rows"),
        ({"rows": {"A": {"people": 3}}}, "does not say what is learned from"),
        ({"rows": {"A": {"data": "a", "steps": 9}}}, "learn from and by: `steps` of 'A' goes to `training`"),
        ({"training": {"batch_size": 8}}, "equally many steps"),
        ({"training": {"steps": 2, "data": "a"}}, "has no option 'data'"),
        ({"training": {"recipe": "nowhere"}}, "recipe nowhere of the study cannot be read"),
        ({"seeds": [1, 1]}, "different whole numbers"),
        ({"reference": "C"}, "no row 'C'"),
    ],
)
def test_plans_that_cannot_be(plan: dict[str, Any], change: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        Study(**{**plan, **change})


def test_our_plans_ask_where_sets_are() -> None:
    steps = {}
    for file in PLANS.glob("*.yaml"):
        with pytest.raises(InputError, match=r"does not know where \w+ is: add --set"):
            Study.read(file.stem)
        lacking = [name for name, where in yaml.safe_load(file.read_text())["sets"].items() if where is None]
        read = Study.read(file.stem, dict.fromkeys(lacking, "x"))
        for content in read.sets.values():
            if isinstance(content, dict):
                assert made(Plan, dict(content)).people in {"options": (300,), "two-cores": (500, 1000)}[file.stem]
        for row in read.rows:
            RecognizerArgs(out=Path("x"), **{**read.training, **read.row(row, Path("x"))})
        assert "precision" in read.training, "by default it is the machine's, and the cells were another machine's"
        steps[file.stem] = read.training["steps"]
    assert steps == {"two-cores": 3000, "distillation": 3000, "options": 1000, "literature": 39063}
    with pytest.raises(InputError, match="has no set 'imdb'"):
        Study.read("two-cores", {"imdb": "x"})


def test_rows_differ_where_no_seed_lies_among_the_others() -> None:
    low, high = Spread([0.5, 0.6]), Spread([0.61, 0.7])
    assert apart(low, high) and not apart(low, Spread([0.59, 0.7]))
    assert not apart(low, Spread([0.9])) and not apart(Spread([0.1]), Spread([0.9])), "one seed may be a chance"
    assert high.text() == "65.50 ± 6.36" and Spread([0.5]).text() == "50.00"
    rows = {"low": {"t": {"accuracy": low}}, "high <b>": {"t": {"accuracy": high}}, "none": {}}
    drawn = gaps(Table(rows, "low", 4, 4, [], {"seeds": [0, 1]}), "t", "accuracy")
    assert (
        drawn.count("<circle") == 4
        and '<tspan style="fill:var(--good)">+10.50</tspan>' in drawn
        and "high &lt;b&gt;" in drawn
    )


@pytest.mark.parametrize("length", [1, 40, 200])
def test_every_row_has_room_for_its_name(length: int) -> None:
    rows = {"a": {"t": {"accuracy": Spread([0.5])}}, "b" * length: {"t": {"accuracy": Spread([0.6])}}}
    drawn = gaps(Table(rows, "a", 2, 2, [], {"seeds": [0]}), "t", "accuracy")
    at, squeezed = re.findall(r'class="marked" x="([\d.]+)"[^>]*?(?: textLength="(\d+)"[^>]*)?>', drawn)[1]
    assert float(at) - float(squeezed or 6 * length) >= 0 and float(at) < 500


def test_the_command(plan: dict[str, Any], tmp_path: Path) -> None:
    sets = plan.pop("sets")
    plan |= {"sets": {"a": None, "b": None, "val": None}, "seeds": [0], "rows": {"A": {"data": "a"}}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    words = ["study", str(tmp_path / "plan.yaml"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    told = [word for name, path in sets.items() for word in ("--set", f"{name}={path}")]
    wrong = CliRunner().invoke(app, [*words, "--set", "a"])
    assert wrong.exit_code == 2 and "NAME=PATH, got 'a'" in wrong.output
    done = CliRunner().invoke(app, [*words, *told])
    assert done.exit_code == 0 and "| A | " in done.output and "1 of 1 cells" in done.output
    table = CliRunner().invoke(app, [*words, *told, "--table"])
    assert table.exit_code == 0 and "1 of 1 cells" in table.output


def test_the_order_of_options_decides_nothing(plan: dict[str, Any], tmp_path: Path) -> None:
    run_study(Study(**plan), tmp_path / "study", device="cpu")
    before = numbers(tmp_path / "study")
    plan["training"]["model"] = dict(reversed(plan["training"]["model"].items()))
    plan["training"] = dict(reversed(plan["training"].items()))
    run_study(Study(**plan), tmp_path / "study", device="cpu")
    assert numbers(tmp_path / "study") == before and len(before) == 4


@pytest.mark.long
def test_killed_at_any_moment_it_loses_doubles_and_changes_nothing(plan: dict[str, Any], tmp_path: Path) -> None:
    """Ten times, at random moments of the trainings."""
    plan["training"] |= {"steps": 24, "checkpoint_minutes": 0.0, "validate_every": 6}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    run_study(Study(**plan), tmp_path / "whole", device="cpu")
    out, killed = tmp_path / "killed", 0
    command = [sys.executable, "-m", "idgen", "study", str(tmp_path / "plan.yaml"), "--out", str(out)]
    chance = random.Random(0)
    while killed < 10:
        process = subprocess.Popen([*command, "--device", "cpu"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        began = time.monotonic()
        while not (out / "runs").exists() and process.poll() is None:
            time.sleep(0.1)
        time.sleep((time.monotonic() - began) * 0.7 * (killed > 0) + chance.uniform(0, 2))
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1
    run_study(Study(**plan), out, device="cpu")
    assert numbers(out) == numbers(tmp_path / "whole") and killed >= 3
