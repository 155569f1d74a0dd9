"""`idgen study`: make the sets, train and test cell by cell, and write the table."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from idgen.dataset.drawing import make_plan
from idgen.dataset.engine import Engine, Work, alone, check, cores, do
from idgen.dataset.plan import PEOPLE, Plan
from idgen.dataset.run import run as make_set
from idgen.ground import files
from idgen.ground.errors import InputError
from idgen.model import load_model
from idgen.study.cells import Cell, RunCells, cells_of
from idgen.study.page import write_page
from idgen.study.plan import Study, slug
from idgen.study.table import Table, tabulate, write_table
from idgen.training.data import load_faces
from idgen.training.mixture import Asked
from idgen.training.recognition import RecognizerArgs
from idgen.training.trial import load_test


def run_study(
    plan: str | Path | Study,
    out: str | Path,
    *,
    sets: dict[str, str] | None = None,
    engine: Engine = "local",
    workers: int | None = None,
    slurm: dict[str, Any] | None = None,
    gpus: int = 0,
    device: str | None = None,
    only_table: bool = False,
) -> Table:
    """Train a recogniser on every row of a plan and seed, measure it on every test, and write study.json, study.md and
    study.html into a folder.

    What was finished before is left alone; a training that was interrupted goes on from its checkpoint. A row, test or
    seed that is added later costs its own cells only; one that is changed is another cell.

    Args:
        plan: a plan file, the name of one that comes with the package, or a `Study`.
        out: folder of the study: its sets, runs, cells and table.
        sets: name → path, in place of the plan's.
        engine, workers, slurm, gpus: as those of `idgen dataset run`; here, by default, cells run one after the other.
        device: for the networks.
        only_table: of the cells that are finished.

    Returns:
        The table, of what is finished.

    Raises:
        InputError: the plan cannot be used, a set cannot be read or made, or the engine is not there.
    """
    wanted = plan if isinstance(plan, Study) else Study.read(plan, sets)
    out = Path(out)
    files.check_writable(out)
    check(engine, workers)
    out.mkdir(parents=True, exist_ok=True)
    look = f"idgen study {plan if isinstance(plan, (str, Path)) else 'PLAN'} --out {out} --table"
    cells = _cells(wanted, out, device)
    if only_table:
        return _table(wanted, cells, out)
    with alone(out, look):
        more: dict[str, Any] = {"slurm": slurm, "gpus": gpus}
        missing = [cell for cell in cells if cell.result() is None]
        used = _used(wanted, missing, out)
        for name in used:  # what cannot be made is refused before the hours that others take
            _plan(wanted, name, out, device if engine == "local" else None)
        for name in used:
            if make_set(_place(name, out), workers, engine, device=device, **more).missing:
                raise InputError(f"Slurm makes the set {name} of the study: the same command goes on when it is done.")
            load_faces(_place(name, out), missing[0].args.size)  # decoded once, before the cells
        if missing:
            work = Work(out, RunCells(missing), len(missing), "idgen-study", "cells", look)
            do(work, engine, workers or (cores(device) if engine != "local" else 1), **more)
    return _table(wanted, cells, out)


def _place(name: str, out: Path) -> Path:
    return out / "sets" / slug(name)


def _used(wanted: Study, cells: list[Cell], out: Path) -> list[str]:
    """The sets to make for some cells: nothing is made for those that are finished."""
    texts = [text for cell in cells for text in (*cell.args.data, *cell.args.pretrain)]
    paths = {Asked.read(text).path for text in texts} | {path for cell in cells for path, _ in cell.tests.values()}
    return [name for name in wanted.made if str(_place(name, out)) in paths]


def _plan(wanted: Study, name: str, out: Path, device: str | None) -> Path:
    """Plan a set of the study, and before it the one whose people it takes."""
    content = dict(wanted.made[name])
    if (other := wanted.people_of(name)) is not None:
        content["file"] = str(_plan(wanted, other, out, device) / PEOPLE)
    file = files.write(out / "sets" / f"{slug(name)}.yaml", yaml.safe_dump(content, sort_keys=False))
    make_plan(Plan.read(file), _place(name, out), device)
    return _place(name, out)


def _cells(wanted: Study, out: Path, device: str | None) -> list[Cell]:
    """All cells; reads every set that is there, so that what cannot be read is refused before anything is trained."""
    size = int(wanted.training.get("size", RecognizerArgs.size))
    contents = {str(_place(name, out)): _planned(wanted, name, device) for name in wanted.made}
    for row in wanted.rows:
        options = wanted.row(row, out)
        for text in (*options["data"], *options.get("pretrain", ())):
            path = Asked.read(text).path
            contents[path] = contents.get(path) or load_faces(path, size).content
    for name, place in wanted.tests.items():
        path = wanted.path(str(place), out)
        contents[path] = contents.get(path) or load_test(path, size, name).content
    return cells_of(wanted, out, contents, device)


def _planned(wanted: Study, name: str, device: str | None) -> str:
    """Names a set of the study by what decides its pictures, its plan and the model's weights: another machine, which
    rounds differently, makes the same cells."""
    content = dict(wanted.made[name])
    if (other := wanted.people_of(name)) is not None:
        content["file"] = _planned(wanted, other, device)
    weights = load_model(str(content.get("model", Plan.model)), device).fingerprint
    return hashlib.sha256(json.dumps([content, weights], sort_keys=True, default=str).encode()).hexdigest()


def _table(wanted: Study, cells: list[Cell], out: Path) -> Table:
    table = tabulate(wanted, cells)
    write_table(table, out)
    write_page(table, out)
    return table
