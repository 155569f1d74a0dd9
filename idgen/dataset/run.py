"""Making the shards that are missing: on this machine, by Slurm, or by Ray.

The engines are datatrove's (https://github.com/huggingface/datatrove). What is done is known from the shards
themselves, never from an engine's notes, so that any engine can go on where another one stopped.
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
from pathlib import Path
from typing import Any, Literal

from idgen import files
from idgen.dataset.drawing import model_of
from idgen.dataset.folder import DATA, LOGS, MADE, MAKING, REJECTED, SUBMITTED, made
from idgen.dataset.plan import Planned
from idgen.dataset.status import Status, status
from idgen.errors import InputError

Engine = Literal["local", "slurm", "ray"]
_POLL = 0.5  # seconds between two looks at how far it is
_ABANDONED = 3600  # seconds after which nobody goes on writing a file

_makers: dict[tuple[Any, ...], Any] = {}  # the last one, as a worker process makes many shards with one model


@dataclass
class MakeShards:
    """What a task of an engine does: makes every `world_size`-th of some shards, from `rank` on.

    Args:
        folder: of the planned dataset.
        shards: numbers of the shards to make.
        batch_size, device: see `ShardMaker`.
    """

    folder: str
    shards: list[int]
    batch_size: int = 8
    device: str | None = None

    def __post_init__(self) -> None:
        _quiet()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _quiet()  # in the worker that this has come to

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        from idgen.dataset.shard import ShardMaker, one_thread

        worker = _worker_number()
        if worker is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who waits for us says that it was interrupted
        with one_thread():
            device = _pinned(self.device, worker or 0)
            planned = Planned.load(self.folder)
            # By what is planned, not by the folder alone: another plan may have taken its place since.
            who = planned.people.fingerprint()
            key = (self.folder, planned.plan, who, planned.weights, planned.variation, self.batch_size, device)
            if key not in _makers:
                _makers.clear()
                _makers[key] = ShardMaker(planned, self.batch_size, device)
            for number in self.shards[rank::world_size]:
                if made(planned.folder, planned.plan.shards, number) is None:  # a task may be started a second time
                    _makers[key].make(number)


def _worker_number() -> int | None:
    """Which of a pool's processes this is, from 0; None where it is none."""
    identity = multiprocessing.current_process()._identity
    return identity[-1] - 1 if identity else None


def _pinned(device: str | None, worker: int) -> str | None:
    """The GPU of a worker where there are several and none was named: datatrove's local engine pins none."""
    if device not in (None, "cuda"):
        return device
    import torch

    return f"cuda:{worker % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"


def _quiet() -> None:
    """datatrove tells of every task on the console; here the shards themselves do."""
    from loguru import logger

    logger.disable("datatrove")


def run(
    folder: str | Path,
    workers: int | None = None,
    engine: Engine = "local",
    *,
    batch_size: int = 8,
    device: str | None = None,
    slurm: dict[str, Any] | None = None,
    gpus: int = 0,
    progress: bool = True,
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
        progress: show a bar.

    Returns:
        How far the dataset is.

    Raises:
        InputError: there is no plan, its model is not there or has changed, another run works in the folder, a shard
            cannot be written, or the engine's package is not installed.
    """
    folder = Path(folder)
    planned = Planned.load(folder)
    if workers is not None and workers < 1:
        raise InputError(f"The number of workers is at least 1, got {workers}.")
    if batch_size < 1:
        raise InputError(f"The batch size is at least 1, got {batch_size}.")
    model_of(planned, device)  # what cannot be loaded is refused before anything is started
    with _alone(folder):
        missing = status(planned, whole=True).missing
        if not missing:
            return status(planned)
        for number in missing:  # what is left of one that was changed or cut short
            (folder / MADE / f"{number:05d}.json").unlink(missing_ok=True)
        shutil.rmtree(folder / MAKING, ignore_errors=True)
        _sweep(folder)
        if engine == "slurm":
            _not_submitted(folder)
        workers = min(len(missing), workers or _cores(device))
        step = MakeShards(str(folder.absolute()), missing, batch_size, device)
        executor = _executor(engine, step, workers, folder / LOGS / engine, slurm or {}, gpus)
        try:
            with _shown(planned, progress and engine != "slurm"):
                _run_local(executor) if engine == "local" else executor.run()
            if engine == "slurm":
                files.write(folder / SUBMITTED, str(executor.job_id).encode())
        except BrokenExecutor:
            raise InputError(
                f"A worker died, perhaps because there was not enough memory for {workers} of them: what was finished "
                "is kept, and the same command goes on, with --workers 1 in the least memory."
            ) from None
        except subprocess.CalledProcessError as error:
            raise InputError(
                f"Slurm did not take the jobs: sbatch says why, above (exit {error.returncode})."
            ) from error
        except OSError as error:
            raise InputError(
                f"Cannot write in {folder}: {error.strerror or error}. What was finished is kept; the same command "
                "goes on when there is room."
            ) from error
    after = status(planned)
    if engine == "ray" and after.missing:
        raise InputError(
            f"{len(after.missing)} of {len(missing)} shards were not made by Ray: their tasks' logs in "
            f"{folder / LOGS / engine / 'logs'} and Ray's own say why; the same command makes them."
        )
    return after


def _executor(engine: Engine, step: MakeShards, workers: int, logs: Path, slurm: dict[str, Any], gpus: int) -> Any:
    shutil.rmtree(logs, ignore_errors=True)  # notes of an earlier run, which numbered its tasks otherwise
    common: dict[str, Any] = {"pipeline": [step], "logging_dir": str(logs.absolute()), "skip_completed": False}
    if engine == "local":
        from datatrove.executor.local import LocalPipelineExecutor

        return LocalPipelineExecutor(tasks=len(step.shards), workers=workers, **common)
    if engine == "slurm":
        if shutil.which("sbatch") is None:
            raise InputError("There is no `sbatch` here: run this on a machine that submits to a Slurm cluster.")
        from datatrove.executor.slurm import SlurmPipelineExecutor

        if "partition" not in slurm:
            raise InputError("Slurm needs a partition: add --slurm '{partition: NAME}'; `sinfo` lists them.")
        options = {"time": "24:00:00", "qos": "", "mem_per_cpu_gb": 4, **slurm}
        environment = options.pop("env_command", f"export PATH={Path(sys.executable).parent}:$PATH")
        try:
            # As many jobs as workers, each with its share of the shards, so that a job loads the model once.
            return SlurmPipelineExecutor(
                tasks=workers,
                workers=workers,
                gpus_per_task=gpus,
                job_name="idgen-dataset",
                env_command=environment,
                **options,
                **common,
            )
        except TypeError as error:
            raise InputError(
                f"--slurm has an option that datatrove's Slurm executor does not know: {error}."
            ) from error
    if engine == "ray":
        try:
            import ray
        except ModuleNotFoundError as error:
            raise InputError("The engine ray needs the package ray: pip install 'idgen[ray]'.") from error
        from datatrove.executor.ray import RayPipelineExecutor

        if not ray.is_initialized():
            address = "auto" if os.environ.get("RAY_ADDRESS") else None
            ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
        return RayPipelineExecutor(
            tasks=workers, workers=workers, cpus_per_task=1, mem_per_cpu_gb=0.5, gpus_per_task=gpus, **common
        )
    raise InputError(f"There is no engine {engine!r}: choose local, slurm or ray.")


def _run_local(executor: Any) -> None:
    """datatrove's local engine in processes whose death is noticed: its own pool waits for a dead one's task for ever.

    Raises:
        BrokenExecutor: a worker died.
    """
    if executor.workers == 1:
        executor.run()
        return
    context = multiprocessing.get_context("forkserver")
    with context.Manager() as manager, ProcessPoolExecutor(executor.workers, context) as pool:
        places = manager.Queue()
        for number in range(executor.workers):
            places.put(number)
        tasks = [pool.submit(_task, executor, rank, places) for rank in range(executor.tasks)]
        try:
            for task in as_completed(tasks):
                task.result()
        except BaseException:
            for worker in list((pool._processes or {}).values()):
                worker.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _task(executor: Any, rank: int, places: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    executor._launch_run_for_rank(rank, places)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _sweep(folder: Path) -> None:
    """Delete what a killed worker was writing; what another machine writes just now is younger."""
    for path in (path for part in (DATA, REJECTED, MADE) for path in (folder / part).glob(".*.tmp")):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - _ABANDONED:
                path.unlink()


def _not_submitted(folder: Path) -> None:
    """Raise InputError while jobs that were submitted for the folder are waiting or running."""
    try:
        job = (folder / SUBMITTED).read_text().strip()
    except OSError:
        return
    queued = subprocess.run(["squeue", "-h", "-j", job], capture_output=True, text=True)
    if queued.returncode == 0 and queued.stdout.strip():
        raise InputError(
            f"Slurm job {job} makes shards of {folder} already: `idgen dataset status {folder}` says how far it is, "
            f"`scancel {job}` ends it."
        )


def _cores(device: str | None) -> int:
    import torch

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
            raise InputError(
                f"Another run works in {folder}: `idgen dataset status {folder}` says how far it is."
            ) from None
        yield


@contextmanager
def _shown(planned: Planned, progress: bool) -> Iterator[None]:
    """A bar of the pictures, drawn by a thread that looks at the folder."""
    from tqdm.auto import tqdm

    done = threading.Event()
    began = status(planned)
    bar = tqdm(
        total=began.wanted,
        initial=began.pictures,
        desc=planned.folder.resolve().name,
        unit="image",
        disable=not progress,
        smoothing=0.1,
    )

    def look() -> None:
        while True:
            finished = done.wait(_POLL)
            with suppress(InputError):
                now = status(planned)
                bar.n = min(bar.total, max(bar.n, now.pictures))
                bar.set_postfix(shards=f"{now.done}/{now.shards}", rejected=now.rejected_pictures, refresh=False)
                bar.refresh()
            if finished:
                return

    thread = threading.Thread(target=look, daemon=True)
    if progress:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if progress:
            thread.join(timeout=5)
        bar.close()
