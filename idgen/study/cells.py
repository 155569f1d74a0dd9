"""A cell: one recogniser, of one row and one seed, trained and tested. Its result is one file."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from diffusers.models.modeling_utils import ModelMixin

from idgen import models
from idgen.dataset.engine import gpu_of
from idgen.ground import files
from idgen.ground.options import made
from idgen.study.overlap import pictures_of, shared
from idgen.study.plan import Study, slug
from idgen.training.loop import BEST, digest
from idgen.training.mixture import Asked
from idgen.training.recognition import RecognizerArgs, finished, train_recognizer
from idgen.training.teacher import networks
from idgen.training.trial import Test, load_test, measure

CELLS, RUNS = "cells", "runs"


@dataclass(frozen=True)
class Cell:
    """One training and its tests.

    Args:
        row, seed: which.
        args: of the training; its `out` is the run's folder.
        tests: name → path, and what names its content.
        key: names everything that decides the network; results of another key are another cell's.
    """

    row: str
    seed: int
    args: RecognizerArgs
    tests: dict[str, tuple[str, str]]
    key: str

    @property
    def file(self) -> Path:
        """Its result: DIR/cells/ROW-SEED-KEY.json."""
        name = f"{self.args.out.name}.json"
        return self.args.out.parents[1] / CELLS / name

    def result(self) -> dict[str, Any] | None:
        """What was found, if all of it was."""
        found = files.read_json(self.file) if self.file.is_file() else None
        return found if found is not None and ("failed" in found or not self.untested(found)) else None

    def untested(self, found: dict[str, Any]) -> list[str]:
        """The tests that a result lacks; one whose pictures are others now is lacking."""
        return [name for name, (_, content) in self.tests.items() if found["tests"].get(name) != content]


def cells_of(study: Study, out: Path, contents: dict[str, str], device: str | None) -> list[Cell]:
    """Every cell of a study, row by row; `contents` names what is in each set and test, by its path."""
    cells = []
    places = {name: study.path(str(path), out) for name, path in study.tests.items()}
    tests = {name: (path, contents[path]) for name, path in places.items()}
    for row in study.rows:
        options = {**study.training, **study.row(row, out)}
        for seed in study.seeds or ():
            args = made(RecognizerArgs, {**options, "out": out, "seed": seed, "device": device})
            told = {name: value for name, value in asdict(args).items() if name not in ("out", "device", "test")}
            for part in ("data", "pretrain"):
                asked = [Asked.read(text) for text in getattr(args, part)]
                told[part] = [(contents[one.path], one.share) for one in asked]
            told["teacher"] = args.teacher and [digest(one) for one in networks(args.teacher)]
            told["adapt"] = args.adapt and digest(args.adapt)
            # In order all the way down: in which order a plan gives its options decides nothing.
            key = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:12]
            run = out / RUNS / f"{slug(row)}-{seed}-{key}"
            cells.append(Cell(row, seed, replace(args, out=run), tests, key))
    return cells


def run_cell(cell: Cell) -> None:
    """Train and test what was not, and write the result; called again after it was killed, it goes on."""
    if cell.result() is not None:
        return
    began, args = time.monotonic(), cell.args
    # A result that came without its network, from another machine, cannot be tested on more.
    there = cell.file.is_file() and (args.out / "best").is_dir()
    known = files.read_json(cell.file) if there else None
    if known is None:
        try:
            train_recognizer(args)
        except FloatingPointError as error:
            files.write_json(cell.file, {"row": cell.row, "seed": cell.seed, "key": cell.key, "failed": str(error)})
            return
        if not finished(
            replace(args, steps=args.steps - round(args.steps * args.pretrain_share) * bool(args.pretrain))
        ):
            return
    network: Any = models.load(args.out / "best", ModelMixin).eval()  # type: ignore[type-var]
    content = known or {"row": cell.row, "seed": cell.seed, "key": cell.key, "steps": args.steps}
    if known is None:
        content["best"] = files.read_json(args.out / "best" / BEST)
        content["parameters"] = sum(p.numel() for p in network.parameters())
        content["minutes"] = round((time.monotonic() - began) / 60, 2)
        content |= {"figures": {}, "tests": {}, "shared": {}}
    for name in cell.untested(content):
        path, content["tests"][name] = cell.tests[name]
        test = load_test(path, args.size, name)
        content["figures"][name] = measure(network, test)
        content["shared"][name] = _shared(test, path, args)
    files.write_json(cell.file, content)
    for run in (args.out, args.out / "pretrained"):
        files.remove(run / "checkpoint")  # the best network stays, for tests that are added


def _shared(test: Test, path: str, args: RecognizerArgs) -> list[str]:
    """Sentences on the people whom a test shares with what was learned from."""
    learned = dict.fromkeys(Asked.read(text).path for text in (*args.data, *args.pretrain))
    notes = [shared(test, path, pictures_of(one, args.size), one) for one in learned]
    return [note for note in notes if note]


@dataclass
class RunCells:
    """What a task of an engine does: every `world_size`-th of some cells, from `rank` on."""

    cells: list[Cell]

    def __call__(self, _: Any, rank: int = 0, world_size: int = 1) -> None:
        for cell in self.cells[rank::world_size]:
            run_cell(replace(cell, args=replace(cell.args, device=gpu_of(cell.args.device))))
