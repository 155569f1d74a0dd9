"""Making the shards that are missing: on this machine, or by Slurm or Ray through datatrove
(https://github.com/huggingface/datatrove).

What is done is known from the shards themselves, never from an engine's notes, so that any engine can go on where
another one stopped.
"""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from tqdm.auto import tqdm

from idgen.dataset.drawing import model_of
from idgen.dataset.plan import LOGS, MADE, MAKING, PLANNED, SUBMITTED, Planned
from idgen.dataset.shard import ShardMaker, one_thread
from idgen.dataset.status import Status, made, status
from idgen.ground import arguments, files
from idgen.ground.errors import InputError, require_package

Engine = Literal["local", "slurm", "ray"]
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
        number_in_pool = multiprocessing.current_process()._identity  # () where this is no process of a pool
        if number_in_pool:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who waits for us says that it was interrupted
        device = self.device
        if device in (None, "cuda") and torch.cuda.is_available():  # of several GPUs, each worker takes its own
            worker = number_in_pool[-1] if number_in_pool else 0
            device = f"cuda:{worker % torch.cuda.device_count()}"
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
    if engine not in get_args(Engine):
        raise InputError(f"There is no engine {engine!r}: choose one of {', '.join(get_args(Engine))}.")
    if workers is not None:
        arguments.whole("number of workers", workers, 1)
    arguments.batch_size(batch_size)
    here = device if engine == "local" else None  # other machines have other devices, and refuse for themselves
    model_of(planned, here)  # what cannot be loaded is refused before anything is started
    with _alone(folder):
        missing = status(planned, whole=True).missing
        if not missing:
            return status(planned)
        _clean(folder, missing)
        workers = min(len(missing), workers or _cores(device))
        step = MakeShards(str(folder.absolute()), missing, batch_size, device)
        logs = folder / LOGS / engine
        shutil.rmtree(logs, ignore_errors=True)  # notes of an earlier run, which numbered its tasks otherwise
        common = {"tasks": workers, "workers": workers, "gpus_per_task": gpus, "pipeline": [step]}
        common |= {"logging_dir": str(logs.absolute()), "skip_completed": False}
        if engine == "slurm":
            _submit(folder, slurm or {}, common)
            return status(planned)
        with _shown(planned):
            if engine == "ray":
                _ray(common)
            elif workers == 1:
                step(None)
            else:
                _work(step, workers)
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


def _executor(engine: Literal["slurm", "ray"]) -> Any:
    module = require_package(f"datatrove.executor.{engine}", "dataset", f"The engine {engine}")
    require_package("loguru", "dataset", "datatrove").logger.disable("datatrove")  # the shards tell how far it is
    return getattr(module, f"{engine.title()}PipelineExecutor")


def _submit(folder: Path, options: dict[str, Any], common: dict[str, Any]) -> None:
    """Give Slurm as many jobs as workers, each with its share of the shards, so that a job loads the model once."""
    if shutil.which("sbatch") is None:
        raise InputError("There is no `sbatch` here: run this on a machine that submits to a Slurm cluster.")
    if (folder / SUBMITTED).exists():
        job = (folder / SUBMITTED).read_text()
        queued = subprocess.run(["squeue", "-h", "-j", job], capture_output=True, text=True)
        if queued.returncode == 0 and queued.stdout.strip():
            raise InputError(
                f"Slurm job {job} makes shards of {folder} already: `idgen dataset status {folder}` says how far it "
                f"is, `scancel {job}` ends it."
            )
    if "partition" not in options:
        raise InputError("Slurm needs a partition: add --slurm '{partition: NAME}'; `sinfo` lists them.")
    usual = {"time": "24:00:00", "qos": "", "mem_per_cpu_gb": 4, "job_name": "idgen-dataset"}
    usual["env_command"] = f"export PATH={Path(sys.executable).parent}:$PATH"
    try:
        executor = _executor("slurm")(**{**usual, **options, **common})
    except TypeError as error:
        raise InputError(f"--slurm has an option that datatrove's Slurm executor does not know: {error}.") from error
    try:
        executor.run()
    except subprocess.CalledProcessError as error:
        raise InputError(f"Slurm did not take the jobs: sbatch says why, above (exit {error.returncode}).") from error
    files.write(folder / SUBMITTED, str(executor.job_id))


def _ray(common: dict[str, Any]) -> None:
    ray = require_package("ray", "ray", "The engine ray")
    if not ray.is_initialized():
        address = "auto" if os.environ.get("RAY_ADDRESS") else None
        ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    _executor("ray")(cpus_per_task=1, mem_per_cpu_gb=0.5, **common).run()


def _work(step: MakeShards, workers: int) -> None:
    """Make the shards in processes."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver")) as pool:
        tasks = [pool.submit(_task, step, rank) for rank in range(len(step.shards))]
        try:
            for task in as_completed(tasks):
                task.result()
        except BaseException as error:
            for worker in list((pool._processes or {}).values()):
                worker.terminate()
            pool.shutdown(cancel_futures=True)  # whoever goes on in this folder is alone there
            if not isinstance(error, BrokenExecutor):
                raise
            raise InputError(
                f"A worker died, perhaps because there was not enough memory for {workers} of them: what was finished "
                "is kept, and the same command goes on, with --workers 1 in the least memory."
            ) from None


def _task(step: MakeShards, rank: int) -> None:
    def end_with_parent() -> None:
        multiprocessing.parent_process().join()  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    step(None, rank, len(step.shards))


def _cores(device: str | None) -> int:
    if device in (None, "cuda") and torch.cuda.is_available():
        return torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else on this machine makes shards in the folder meanwhile; a process that dies lets go."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            why = f"Another run works in {folder}: `idgen dataset status {folder}` says how far it is."
            raise InputError(why) from None
        yield


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
