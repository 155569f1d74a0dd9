"""Work in a folder, shared out: on this machine, or by Slurm or Ray through datatrove
(https://github.com/huggingface/datatrove).

What is done is known from the files that the work leaves, never from an engine's notes, so that any engine can go on
where another one stopped.
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
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from idgen.ground import arguments, files
from idgen.ground.errors import InputError, require_package

Engine = Literal["local", "slurm", "ray"]
LOGS, SUBMITTED = "logs", "slurm-job"


@dataclass(frozen=True)
class Work:
    """What is to be done in a folder, and how to speak of it.

    Args:
        folder: where.
        step: called as `step(None, rank, world_size)`: does every `world_size`-th of what is to be done, from `rank`
            on; leaves alone what is done.
        pieces: of how many.
        name: of the jobs, such as "idgen-dataset".
        pieces_are: what they are called, such as "shards".
        look: the command that says how far it is.
    """

    folder: Path
    step: Callable[..., None]
    pieces: int
    name: str
    pieces_are: str
    look: str


def check(engine: str, workers: int | None) -> None:
    """Raise InputError for an engine that there is not, or no number of workers."""
    if engine not in get_args(Engine):
        raise InputError(f"There is no engine {engine!r}: choose one of {', '.join(get_args(Engine))}.")
    if workers is not None:
        arguments.whole("number of workers", workers, 1)


def do(work: Work, engine: Engine, workers: int, *, slurm: dict[str, Any] | None = None, gpus: int = 0) -> Path:
    """Have it done by so many workers at the same time; returns where the engine's logs are. Slurm only takes it.

    Args:
        work: what.
        engine: "local", "slurm" (submits an array of jobs and returns) or "ray" (needs a running or a local Ray).
        workers: processes here; tasks of Slurm and Ray.
        slurm: options of datatrove's `SlurmPipelineExecutor`, such as partition, time, qos, sbatch_args.
        gpus: for Slurm and Ray, GPUs a task.

    Raises:
        InputError: the engine or its package is not there, a worker died, or what the work raises.
    """
    workers = min(work.pieces, workers)
    logs = work.folder / LOGS / engine
    shutil.rmtree(logs, ignore_errors=True)  # notes of an earlier run, which numbered its tasks otherwise
    common = {"tasks": workers, "workers": workers, "gpus_per_task": gpus, "pipeline": [work.step]}
    common |= {"logging_dir": str(logs.absolute()), "skip_completed": False}
    if engine == "slurm":
        _submit(work, slurm or {}, common)
    elif engine == "ray":
        _ray(common)
    elif workers == 1:
        work.step(None)
    else:
        _share(work, workers)
    return logs


def gpu_of(device: str | None) -> str | None:
    """The device of this worker: of several GPUs, each takes its own. A worker leaves Ctrl-C to who waits for it."""
    number_in_pool = multiprocessing.current_process()._identity  # () where this is no process of a pool
    if number_in_pool:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who waits for us says that it was interrupted
    if device in (None, "cuda") and torch.cuda.is_available():
        worker = number_in_pool[-1] if number_in_pool else 0
        device = f"cuda:{worker % torch.cuda.device_count()}"
    return device


def _executor(engine: Literal["slurm", "ray"]) -> Any:
    module = require_package(f"datatrove.executor.{engine}", "dataset", f"The engine {engine}")
    require_package("loguru", "dataset", "datatrove").logger.disable("datatrove")  # the shards tell how far it is
    return getattr(module, f"{engine.title()}PipelineExecutor")


def _submit(work: Work, options: dict[str, Any], common: dict[str, Any]) -> None:
    """Give Slurm as many jobs as workers, each with its share of the pieces, so that a job loads a model once."""
    folder = work.folder
    if shutil.which("sbatch") is None:
        raise InputError("There is no `sbatch` here: run this on a machine that submits to a Slurm cluster.")
    if (folder / SUBMITTED).exists():
        job = (folder / SUBMITTED).read_text()
        queued = subprocess.run(["squeue", "-h", "-j", job], capture_output=True, text=True)
        if queued.returncode == 0 and queued.stdout.strip():
            raise InputError(
                f"Slurm job {job} makes {work.pieces_are} of {folder} already: `{work.look}` says how far it is, "
                f"`scancel {job}` ends it."
            )
    if "partition" not in options:
        raise InputError("Slurm needs a partition: add --slurm '{partition: NAME}'; `sinfo` lists them.")
    usual = {"time": "24:00:00", "qos": "", "mem_per_cpu_gb": 4, "job_name": work.name}
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


def _share(work: Work, workers: int) -> None:
    """Have it done in processes."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver")) as pool:
        tasks = [pool.submit(_task, work.step, rank, work.pieces) for rank in range(work.pieces)]
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


def _task(step: Callable[..., None], rank: int, pieces: int) -> None:
    def end_with_parent() -> None:
        multiprocessing.parent_process().join()  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    step(None, rank, pieces)


def cores(device: str | None) -> int:
    """How many workers there may be here: one a GPU, or one a core."""
    if device in (None, "cuda") and torch.cuda.is_available():
        return torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def alone(folder: Path, look: str) -> Iterator[None]:
    """Nobody else on this machine works in the folder meanwhile; a process that dies lets go. `look` is the command
    that says how far it is."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            why = f"Another run works in {folder}: `{look}` says how far it is."
            raise InputError(why) from None
        yield
