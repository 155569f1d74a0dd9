"""Datasets of many people: planned, made, looked at, handed on."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import typer

from idgen.cli.shell import (
    BATCH_SIZE,
    DEVICE,
    JSON,
    PASSED_ON,
    SEED,
    TRAINING,
    argument,
    flag,
    group,
    integer,
    interrupted,
    needing,
    option,
    say,
    say_summary,
)
from idgen.ground.errors import InputError
from idgen.ground.words import count

commands = group("Make a dataset of many people: plan, run, status, report, export, push; clean any labelled set.")

Engine = Literal["local", "slurm", "ray"]
Layout = Literal["imagefolder", "webdataset", "bin"]

_FOLDER = argument("DIR", "Folder of a planned dataset.")


@commands.command("plan", **PASSED_ON)
def plan(
    context: typer.Context, out: Path = option(None, "Folder of the dataset.", metavar="DIR"), device: str = DEVICE
) -> None:
    """Draw the people of a plan: `idgen dataset plan plan.yaml --out DIR`; --help lists what a plan says."""
    with needing("dataset"):
        from idgen.dataset.drawing import make_plan
        from idgen.dataset.plan import Plan
        from idgen.ground.options import parse

        given = list(context.args)
        if given and not given[0].startswith("-"):
            given.insert(0, "--recipe")  # the plan file, which options after it change
        wanted = parse(Plan, given, "idgen dataset plan [PLAN.yaml] --out DIR")
        if out is None:
            raise InputError("A plan needs a folder: add --out DIR.")
        planned = make_plan(wanted, out, device)
    say(
        f"{count(wanted.people, 'person', 'people')} × {wanted.images} = {wanted.people * wanted.images:,} pictures in "
        f"{count(wanted.shards, 'shard', 'shards')} of {wanted.people_a_shard} people: {out}{os.sep}"
    )
    if any(person.from_photo for person in planned.people):
        say("Some of them come from a file: whether they exist, nobody can say.")
    say(f"Make them: idgen dataset run {out}")


@commands.command("run")
def run(
    folder: Path = argument("DIR|PLAN.yaml", "A planned dataset, or a plan file with --out."),
    out: Path = option(None, "With a plan file: plan into this folder first.", metavar="DIR"),
    workers: int = integer(None, "By default one a core, or one a GPU."),
    engine: Engine = option("local", "This machine, Slurm (submits jobs and returns) or Ray."),
    slurm: str = option(
        "{}", "YAML for Slurm, such as {partition: gpu, time: '12:00:00', sbatch_args: {account: me}}."
    ),
    gpus: int = integer(0, "For Slurm and Ray: GPUs a worker."),
    batch_size: int = BATCH_SIZE,
    device: str = DEVICE,
) -> None:
    """Make what is missing; called again, it goes on where it stopped."""
    with needing("dataset"):
        from idgen.dataset import run as room
        from idgen.dataset.drawing import make_plan
        from idgen.dataset.plan import Plan
        from idgen.dataset.status import status
        from idgen.ground.options import mapping

        if folder.is_file():
            if out is None:
                raise InputError(f"{folder} is a plan file: say where its dataset goes with --out DIR.")
            make_plan(Plan.read(folder), out, device if engine == "local" else None)
            folder = out
        elif out is not None:
            raise InputError(f"--out goes with a plan file, and {folder} is none: leave it out, or name the plan file.")
        options = mapping(slurm, "--slurm")
        try:
            now = room.run(folder, workers, engine, batch_size=batch_size, device=device, slurm=options, gpus=gpus)
        except KeyboardInterrupt:
            now = status(folder)
            raise interrupted(now.done, now.shards, "shards finished") from None
    say(*now.lines())
    if engine == "slurm" and now.missing:
        say(f"Submitted; `squeue --me` and `idgen dataset status {folder}` say how far it is.")


@commands.command("status")
def status(
    folder: Path = _FOLDER,
    whole: bool = flag("--check", "Read every finished file to be sure that it is whole."),
    as_json: bool = JSON,
) -> None:
    """Say how far a dataset is, from any shell."""
    with needing("dataset"):
        from idgen.dataset.status import status

        now = status(folder, whole)
    said = {**asdict(now), "seconds_left": now.seconds_left}
    say(*([json.dumps(said)] if as_json else now.lines()))


@commands.command("report")
def report(
    folder: Path = _FOLDER,
    training: Path = TRAINING,
    most: int = integer(20_000, "Look at so many pictures at most."),
    device: str = DEVICE,
) -> None:
    """Measure what is finished, and write report/, the contact sheet and the card (README.md)."""
    with needing("eval,dataset"):
        from idgen.dataset import card

        result = card.report(folder, training=training, most=most, device=device)
    if result is None:
        say("The model has no independent recogniser, so nothing was measured.")
    else:
        say_summary(result.summary)
    say(f"Card: {folder / 'README.md'}")


@commands.command("push")
def push(
    folder: Path = _FOLDER,
    repo: str = argument("user/repo", "Where to on the Hugging Face Hub; made if need be."),
    private: bool = option(None, "When it is made; by default as the Hub does.", "--private/--public"),
    revision: str = option("main", "Branch to commit to; made if need be."),
    message: str = option(None, "Of the commit."),
) -> None:
    """Upload a finished dataset with its card."""
    with needing("dataset"):
        from idgen.sharing.dataset import push_dataset

        done = push_dataset(folder, repo, private=private, revision=revision, message=message)
    say(f"{count(len(done.files), 'file', 'files')}: {done.url}", "Others load exactly this by:")
    say(*(f"    {line}" for line in done.lines()))


@commands.command("clean")
def clean(
    source: Path = argument("SET", "Aligned faces with labels."),
    out: Path = option(..., "Folder for the list and the cleaned set.", metavar="DIR"),
    by: str = option(None, "The recogniser, as for `idgen evaluate`; by default the built-in judge."),
    fmr: float = option(1e-3, "Share of the comparisons of people with different names that count as a match."),
    device: str = DEVICE,
) -> None:
    """Check who is who by a recogniser: a list to look at, and a cleaned copy of the labels; the set stays as it is."""
    with needing("eval"):
        from idgen.evaluation.cleaning import clean

        cleaned = clean(source, out, by=by, fmr=fmr, device=device)
    say(*cleaned.lines(), f"Look at {out / 'cleaning.html'}; the cleaned set is {out}{os.sep}")


@commands.command("export")
def export(
    folder: Path = _FOLDER,
    out: Path = argument("OUT", "Folder, or for bin a file, to write."),
    layout: Layout = option("imagefolder", "ImageFolder, WebDataset, or pairs (.bin).", "--format"),
    pairs: int = integer(6000, "For bin: how many, half of them of one person."),
    seed: int = SEED,
    aligned: int = integer(None, "Write recogniser-ready crops of this side in pixels, such as 112."),
    device: str = DEVICE,
) -> None:
    """Write what is finished in another layout."""
    with needing("dataset"):
        from idgen.dataset.export import export

        now, without = export(folder, out, layout, pairs=pairs, seed=seed, aligned=aligned, device=device)
    if now.missing:
        typer.echo(f"{len(now.missing):,} of {now.shards:,} shards are not made yet and so not in it.", err=True)
    if without:
        shows = count(without, "picture shows", "pictures show")
        typer.echo(f"{shows} no face to cut out: left out. Without --aligned, pictures go as they are.", err=True)
    say(f"{now.pictures - without:,} pictures: {out}" if layout != "bin" else f"{pairs:,} pairs: {out}")
