"""What sets of faces are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from idgen.cli.shell import DEVICE, argument, flag, integer, needing, option, say
from idgen.ground.errors import InputError


def study(
    plan: str = argument("PLAN", "A plan file, or a packaged one: two-cores, options, distillation or literature."),
    out: Path = option(..., "Folder of the study.", metavar="DIR"),
    sets: list[str] = option([], "Where a set of the plan lies.", "--set", metavar="NAME=PATH"),
    engine: Literal["local", "slurm", "ray"] = option(
        "local", "This machine, Slurm (submits jobs and returns) or Ray."
    ),
    workers: int = integer(None, "Cells at a time; here by default one."),
    slurm: str = option("{}", "YAML for Slurm, such as {partition: gpu, time: '12:00:00'}."),
    gpus: int = integer(0, "For Slurm and Ray: GPUs a worker."),
    only_table: bool = flag("--table", "Train nothing; write the table of what is finished."),
    device: str = DEVICE,
) -> None:
    """Train a recogniser on every row of a plan and test all alike; called again, it goes on where it stopped."""
    with needing("train,dataset,eval"):
        from idgen.ground.options import mapping
        from idgen.study.run import run_study

        places = dict(word.partition("=")[::2] for word in sets)
        if wrong := [name for name, path in places.items() if not (name and path)]:
            raise InputError(f"Where a set lies is written NAME=PATH, got {wrong[0]!r}.")
        options = mapping(slurm, "--slurm")
        table = run_study(
            plan,
            out,
            sets=places,
            engine=engine,
            workers=workers,
            slurm=options,
            gpus=gpus,
            device=device,
            only_table=only_table,
        )
    say(*table.lines(), *table.notes)
    say(f"{table.done} of {table.cells} cells: {out / 'study.html'}")
