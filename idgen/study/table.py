"""The table of a study: of every row and test the figures over the seeds, and how far they are from the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from idgen.ground import files
from idgen.ground.version import __version__
from idgen.study.cells import Cell
from idgen.study.plan import Study

FIGURES = {"accuracy": "ten-fold accuracy", "tar_1e-3": "TAR at FMR 1e-3", "tar_1e-4": "TAR at FMR 1e-4"}
AVERAGE = "average"
JSON, MARKDOWN = "study.json", "study.md"


@dataclass(frozen=True)
class Spread:
    """A figure over the seeds that are finished."""

    values: list[float]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float:
        """Standard deviation over the seeds (n − 1); 0 of one seed, which says nothing."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0

    def text(self) -> str:
        """In percent: 94.79 ± 0.12."""
        spread = f" ± {100 * self.deviation:.2f}" if len(self.values) > 1 else ""
        return f"{100 * self.mean:.2f}{spread}"


def apart(one: Spread, other: Spread) -> bool:
    """Whether two rows differ by more than the spread over the seeds: no value of one lies among the other's. Of one
    seed nothing is known of it."""
    if min(len(one.values), len(other.values)) < 2:
        return False
    return min(one.values) > max(other.values) or max(one.values) < min(other.values)


@dataclass
class Table:
    """What a study found.

    Args:
        rows: row → test → figure → its spread; rows without a finished cell are empty.
        reference: the row that the others are set against.
        done, cells: how many cells are finished, of how many.
        notes: what a reader has to know.
        study: the plan.
        about: row → parameters of the network, minutes a cell, and where the best weights were.
    """

    rows: dict[str, dict[str, dict[str, Spread]]]
    reference: str
    done: int
    cells: int
    notes: list[str]
    study: dict[str, Any]
    about: dict[str, dict[str, Any]] = field(default_factory=dict)

    def gap(self, row: str, test: str, figure: str) -> float | None:
        """The row's mean less the reference's; None where one is not there."""
        here, there = (self.rows[name].get(test, {}).get(figure) for name in (row, self.reference))
        return None if here is None or there is None else here.mean - there.mean

    def lines(self) -> list[str]:
        """In words."""
        tests = list(dict.fromkeys(test for row in self.rows.values() for test in row))
        figures = [name for name in FIGURES if any(name in row[test] for row in self.rows.values() for test in row)]
        heads = [f"{test}: {FIGURES[figure]}" for test in tests for figure in figures]
        out = ["| learned from | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
        for name, row in self.rows.items():
            found = [row.get(test, {}).get(figure) for test in tests for figure in figures]
            out.append(f"| {name} | " + " | ".join("—" if one is None else one.text() for one in found) + " |")
        return out


def tabulate(study: Study, cells: Sequence[Cell]) -> Table:
    """Of the cells that are finished."""
    results = [(cell, found) for cell in cells if (found := cell.result()) is not None]
    rows: dict[str, dict[str, dict[str, Spread]]] = {row: {} for row in study.rows}
    fine = [found for _, found in results if "failed" not in found]
    said = list(dict.fromkeys(note for found in fine for test in study.tests for note in found["shared"][test]))
    about: dict[str, dict[str, Any]] = {}
    for row in study.rows:
        own = [found for cell, found in results if cell.row == row and "failed" not in found]
        said += [f"{row}, seed {cell.seed}: {f['failed']}" for cell, f in results if cell.row == row and "failed" in f]
        for test in study.tests if own else ():
            names = [name for name in (*FIGURES, "eer") if all(name in found["figures"][test] for found in own)]
            rows[row][test] = {name: Spread([found["figures"][test][name] for found in own]) for name in names}
        if own and len(study.tests) > 1:
            each = [[found["figures"][test]["accuracy"] for test in study.tests] for found in own]
            rows[row][AVERAGE] = {"accuracy": Spread([float(np.mean(one)) for one in each])}
        if own:
            minutes = float(np.mean([found["minutes"] for found in own]))
            about[row] = {"parameters": own[0]["parameters"], "minutes": minutes, "steps": own[0]["steps"]}
    if len(study.seeds or ()) < 2:
        said.append("One seed says nothing of the spread.")
    return Table(rows, str(study.reference), len(results), len(cells), said, asdict(study), about)


def write_table(table: Table, out: Path) -> None:
    """study.json and study.md."""
    content: dict[str, Any] = {"idgen": __version__, "done": table.done, "cells": table.cells}
    content |= {"reference": table.reference, "notes": table.notes, "about": table.about, "plan": table.study}
    content["rows"] = {
        row: {
            test: {
                figure: {
                    "mean": spread.mean,
                    "deviation": spread.deviation,
                    "values": spread.values,
                    "gap": table.gap(row, test, figure),
                }
                for figure, spread in figures.items()
            }
            for test, figures in tests.items()
        }
        for row, tests in table.rows.items()
    }
    files.write_json(out / JSON, content)
    seeds = len(table.study["seeds"])
    what = "one seed" if seeds == 1 else f"mean ± standard deviation over {seeds} seeds"
    lead = f"{table.done} of {table.cells} cells; {what}, percent; equal steps."
    notes = [f"* {note}" for note in table.notes]
    files.write(out / MARKDOWN, "\n".join([lead, "", *table.lines(), "", *notes]).rstrip() + "\n")
