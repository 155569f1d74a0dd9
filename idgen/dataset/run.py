"""Making the shards that are missing, by one of the engines.

What is done is known from the shards themselves, so that any engine can go on where another one stopped.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from idgen.dataset.drawing import model_of
from idgen.dataset.engine import Engine, Work, alone, check, cores, do, gpu_of
from idgen.dataset.plan import MADE, MAKING, PLANNED, Planned
from idgen.dataset.shard import ShardMaker
from idgen.dataset.status import Status, made, status
from idgen.ground import arguments
from idgen.ground.devices import one_thread
from idgen.ground.errors import InputError

_POLL = 0.5  # seconds between two looks at how far it is
_ABANDONED = 3600  # seconds after which nobody goes on writing a file


@dataclass
class MakeShards:
    """What a task of an engine does, as a step of datatrove: makes every `world_size`-th shard of some, from `rank` on.

    Args:
        folder: of the planned dataset.
        shards: numbers of the shards to make.
        batch_size, device: see `ShardMaker`.
    """

    folder: str
    shards: list[int]
    batch_size: int = 8
    device: str | None = None

    def __call__(self, _: Any, rank: int = 0, world_size: int = 1) -> None:
        device = gpu_of(self.device)
        with one_thread():
            maker = _maker(self.folder, (Path(self.folder) / PLANNED).read_text("utf-8"), self.batch_size, device)
            for number in self.shards[rank::world_size]:
                if made(maker.planned.folder, maker.planned.plan.shards, number) is None:  # a task may start twice
                    maker.make(number)


@lru_cache(1)  # a worker makes many shards with one model
def _maker(folder: str, settled: str, batch_size: int, device: str | None) -> ShardMaker:
    """Of what is planned, not of the folder alone: another plan may have taken its place since."""
    return ShardMaker(Planned.load(folder), batch_size, device)


def run(
    folder: str | Path,
    workers: int | None = None,
    engine: Engine = "local",
    *,
    batch_size: int = 8,
    device: str | None = None,
    slurm: dict[str, Any] | None = None,
    gpus: int = 0,
) -> Status:
    """Make the shards of a planned dataset that are missing.

    What was made before is left alone, where it is whole; so is what other engines or machines made. The bytes do not
    depend on the engine, the number of workers, the batch or on how often this was interrupted.

    Args:
        folder: a planned dataset.
        workers: how many shards are made at the same time. A worker is one core or one GPU; by default as many as there
            are. For Slurm and Ray: tasks at the same time.
        engine: "local", "slurm" (submits an array of jobs and returns) or "ray" (needs a running or a local Ray).
        batch_size, device: see `ShardMaker`.
        slurm: options of datatrove's `SlurmPipelineExecutor`, such as partition, time, qos, sbatch_args.
        gpus: for Slurm and Ray, GPUs a task.

    Returns:
        How far the dataset is.

    Raises:
        InputError: there is no plan, its model is not there or has changed, another run works in the folder, a shard
            cannot be written, or the engine's package is not installed.
    """
    folder = Path(folder)
    planned = Planned.load(folder)
    check(engine, workers)
    arguments.batch_size(batch_size)
    here = device if engine == "local" else None  # other machines have other devices, and refuse for themselves
    model_of(planned, here)  # what cannot be loaded is refused before anything is started
    look = f"idgen dataset status {folder}"
    with alone(folder, look):
        missing = status(planned, whole=True).missing
        if not missing:
            return status(planned)
        _clean(folder, missing)
        step = MakeShards(str(folder.absolute()), missing, batch_size, device)
        work = Work(folder, step, len(missing), "idgen-dataset", "shards", look)
        workers = workers or cores(device)
        if engine == "slurm":
            do(work, engine, workers, slurm=slurm, gpus=gpus)
            return status(planned)
        with _shown(planned):
            logs = do(work, engine, workers, gpus=gpus)
    after = status(planned)
    if engine == "ray" and after.missing:
        raise InputError(
            f"{len(after.missing)} of {len(missing)} shards were not made by Ray: their tasks' logs in {logs / 'logs'} "
            "and Ray's own say why; the same command makes them."
        )
    return after


def _clean(folder: Path, missing: list[int]) -> None:
    """Delete what is left of shards that were changed or cut short, and what a killed worker was writing."""
    for number in missing:
        (folder / MADE / f"{number:05d}.json").unlink(missing_ok=True)
    shutil.rmtree(folder / MAKING, ignore_errors=True)
    for path in folder.glob("*/.*.tmp"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - _ABANDONED:  # what another machine writes just now is younger
                path.unlink()


@contextmanager
def _shown(planned: Planned) -> Iterator[None]:
    """A bar of the pictures, those that are not finished by their steps, drawn by a thread that looks at the folder."""
    done, began, name = threading.Event(), status(planned), planned.folder.resolve().name
    bar = tqdm(total=began.wanted, initial=began.pictures, desc=name, unit="image", unit_scale=True, smoothing=0.1)

    def look() -> None:
        finished = False
        while not finished:
            finished = done.wait(_POLL)
            with suppress(InputError):
                now = status(planned)
                bar.n = min(bar.total, max(bar.n, now.pictures + now.ahead))
                bar.set_postfix(shards=f"{now.done}/{now.shards}", rejected=now.rejected_pictures, refresh=False)
                bar.refresh()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=5)
        bar.close()
