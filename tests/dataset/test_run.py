"""Shards: the same bytes whoever makes them, however often they are killed, and nothing that is half there."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from idgen.dataset.drawing import make_plan
from idgen.dataset.filters import DUPLICATE, REASONS
from idgen.dataset.folder import DATA, MADE, MAKING, REJECTED, data_name
from idgen.dataset.plan import Plan, Planned
from idgen.dataset.run import run
from idgen.dataset.status import status
from idgen.errors import InputError


def content(folder: Path) -> dict[str, bytes]:
    """All that counts of a dataset."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in (DATA, REJECTED)
        for path in sorted((folder / part).rglob("*"))
    }


@pytest.fixture(scope="module")
def picky(tiny_model: Path) -> Plan:
    """With refills: the judge, who knows nothing, finds a good part nearer to somebody else."""
    return Plan(
        people=5, images=3, seed=5, model=str(tiny_model), steps=2, shard=2, face=False, match=None, other=True, tries=3
    )


@pytest.fixture(scope="module")
def reference(picky: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "people"
    make_plan(picky, folder)
    run(folder, 1, progress=False)
    return folder


def rows_of(folder: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return [row for path in sorted((folder / DATA).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_every_picture_can_be_made_again_and_is_accounted_for(reference: Path, picky: Plan) -> None:
    from idgen import provenance
    from idgen.model import load_model

    rows = rows_of(reference)
    rejected = [json.loads(line) for path in (reference / REJECTED).glob("*") for line in path.read_text().splitlines()]
    assert rows and rejected and {line["reason"] for line in rejected} <= set(REASONS)
    people = Planned.load(reference).people
    pipeline = load_model(picky.model).pipeline
    for row, name in enumerate(people.names):
        kept = [line["k"] for line in rows if line["identity"] == name]
        tried = sorted(kept + [line["k"] for line in rejected if line["identity"] == name])
        # Numbered without gaps, stopped at the last one needed or at the cap.
        assert tried == list(range(len(tried))) and kept == sorted(kept)
        assert (len(kept) == picky.images and kept[-1] == tried[-1]) or len(tried) == picky.most
        for line in rows:
            if line["identity"] == name:
                again = pipeline(people[row], 1, first=line["k"], seed=picky.seed, num_inference_steps=2).images[0]
                path = reference / "one.png"
                path.write_bytes(line["image"]["bytes"])
                from PIL import Image, ImageChops

                assert ImageChops.difference(Image.open(path).convert("RGB"), again).getbbox() is None
                assert provenance.read(path)["digital_source_type"] == line["digital_source_type"]
                path.unlink()
                assert line["other_similarity"] < line["judge_similarity"] and line["label"] == row
    now = status(reference)
    assert (now.pictures, now.tries) == (len(rows), len(rows) + len(rejected)) and not now.missing
    assert sum(now.rejected.values()) == len(rejected)
    assert now.short == {
        name: count for name in people.names if (count := sum(line["identity"] == name for line in rows)) < picky.images
    }


@pytest.mark.parametrize(("workers", "batch_size"), [(2, 1), (1, 7)])
def test_workers_and_batch_do_not_change_a_byte(
    reference: Path, picky: Plan, tmp_path: Path, workers: int, batch_size: int
) -> None:
    make_plan(picky, tmp_path / "a")
    run(tmp_path / "a", workers, batch_size=batch_size, progress=False)
    assert content(tmp_path / "a") == content(reference)


def test_only_what_is_missing_or_broken_is_made(reference: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(reference, tmp_path / "a")
    whole = content(folder)
    first, second, third = (folder / DATA / data_name(3, number) for number in range(3))
    untouched = first.stat().st_mtime_ns
    second.write_bytes(second.read_bytes()[:-100])  # cut short by hand
    third.unlink()
    assert status(folder).missing == [2] and status(folder, whole=True).missing == [1, 2]
    run(folder, 1, progress=False)
    assert content(folder) == whole and first.stat().st_mtime_ns == untouched


def test_another_plan_in_the_same_folder(reference: Path, picky: Plan, plan: dict[str, Any], tmp_path: Path) -> None:
    make_plan(Plan(**{**plan, "seed": 9}), tmp_path / "a")
    run(tmp_path / "a", 1, progress=False)
    shutil.rmtree(tmp_path / "a")
    make_plan(picky, tmp_path / "a")
    run(tmp_path / "a", 1, progress=False)
    assert content(tmp_path / "a") == content(reference)


def test_identical_pictures_are_rejected(planned: Planned, plan: dict[str, Any], tmp_path: Path) -> None:
    everything = make_plan(Plan(**{**plan, "people": 1, "duplicate": 1e-6, "tries": 2}), tmp_path / "d")
    run(everything.folder, 1, progress=False)
    reasons = status(everything.folder).rejected
    assert set(reasons) == {DUPLICATE}


def test_a_person_who_cannot_be_pictured_stops_at_the_cap(plan: dict[str, Any], tmp_path: Path) -> None:
    impossible = {**plan, "people": 2, "images": 3, "tries": 2, "match": 1e-3}
    make_plan(Plan(**impossible), tmp_path / "a")
    now = run(tmp_path / "a", 1, progress=False)
    assert now.tries == 2 * 6 and now.pictures == 0 and set(now.short.values()) == {0}
    assert "2 people have fewer pictures than planned" in "\n".join(now.lines())
    assert not run(tmp_path / "a", 1, progress=False).missing  # an empty shard is finished, too


def _work(folder: str) -> None:
    os.setsid()
    run(folder, 1, progress=False)


def killed_run(folder: Path, kills: int, seed: int) -> tuple[int, int]:
    """Run in a process that is killed with everything it started, at random moments, then to the end.

    Returns:
        How often it was faster than its killer, and how often some shards were finished and others were not.
    """
    dice = random.Random(seed)
    context = multiprocessing.get_context("fork")
    survived = partly = 0
    for _ in range(kills):
        process = context.Process(target=_work, args=(str(folder),))
        process.start()
        process.join(dice.uniform(0.02, 0.6))
        survived += not process.is_alive()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
        process.join()
        now = status(folder, whole=True)
        listed = {path.name for path in (folder / DATA).glob("*")} if (folder / DATA).exists() else set()
        for number in set(range(now.shards)) - set(now.missing):
            assert data_name(now.shards, number) in listed
        partly += bool(now.done and now.missing)
        if not now.missing:
            shutil.rmtree(folder / MADE)  # begin again: there are kills left
    run(folder, 1, progress=False)
    return survived, partly


def test_kill_9_loses_doubles_and_changes_nothing(reference: Path, picky: Plan, tmp_path: Path) -> None:
    make_plan(picky, tmp_path / "a")
    kills = int(os.environ.get("IDGEN_KILLS", "5"))
    survived, partly = killed_run(tmp_path / "a", kills, seed=1)
    assert survived < kills  # else nothing was killed
    assert partly  # and one in the middle of it
    assert content(tmp_path / "a") == content(reference)
    assert not list((tmp_path / "a" / MAKING).glob("*.json"))


def test_a_worker_that_is_killed_is_noticed(plan: dict[str, Any], tmp_path: Path) -> None:
    """As the kernel does when memory runs out: one of two, not those who wait for it."""
    make_plan(Plan(**{**plan, "images": 40, "steps": 20}), tmp_path / "a")
    killed = threading.Event()

    def kill() -> None:
        while not (found := _workers_of(os.getpid())):
            time.sleep(0.02)
        while not list((tmp_path / "a" / "logs").rglob("task_*")):
            time.sleep(0.02)
        os.kill(found[-1], signal.SIGKILL)
        killed.set()

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(InputError, match="A worker died"):
        run(tmp_path / "a", 2, progress=False)
    assert killed.is_set()
    assert not run(tmp_path / "a", 2, progress=False).missing


def _workers_of(pid: int) -> list[int]:
    """Processes that the fork server started for a process's pool: they make shards."""
    import psutil

    servers = [child for child in psutil.Process(pid).children() if "forkserver" in " ".join(child.cmdline())]
    found = [worker.pid for server in servers for worker in server.children()]
    return found if len(found) >= 3 else []  # one manager and two workers


def test_two_runs_in_one_folder(reference: Path, tmp_path: Path) -> None:
    import fcntl

    folder = shutil.copytree(reference, tmp_path / "a")
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another run works in"):
            run(folder, 1, progress=False)
    assert not run(folder, 1, progress=False).missing


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_said_and_what_is_finished_stays(
    reference: Path, picky: Plan, tmp_path: Path, workers: int
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    needed = sum(map(len, content(reference).values()))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={max(needed // 2, 40_000) // 4096 * 4096}", "tmpfs", str(small)],
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("a small file system needs root")
    try:
        make_plan(picky, small / "a")
        room = next(path for path in (small / "a").glob("*.safetensors"))
        while True:  # till a little is left: one shard may fit
            try:
                with (small / "filler").open("ab") as file:
                    file.write(b"0" * 4096)
            except OSError:
                break
        with (small / "filler").open("r+b") as file:
            file.truncate(max(0, (small / "filler").stat().st_size - 20_000))
        with pytest.raises(InputError, match="No space left on device"):
            run(small / "a", workers, progress=False)
        assert room.exists()
        whole = content(reference)
        now = status(small / "a", whole=True)
        assert now.missing
        (small / "filler").unlink()
        for number in set(range(now.shards)) - set(now.missing):
            name = f"{DATA}/{data_name(now.shards, number)}"
            assert (small / "a" / name).read_bytes() == whole[name]
        assert not list((small / "a").rglob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        run(small / "a", workers, progress=False)
        assert content(small / "a") == whole
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


def test_status_sees_a_shard_in_the_making(planned: Planned) -> None:
    from idgen.dataset.folder import note

    note(planned.folder / MAKING / "00001.json", {"pictures": 3, "tries": 4, "seconds": 6.0})
    now = status(planned.folder)
    assert (now.working, now.pictures, now.rate, now.seconds_left) == (1, 3, 0.5, 30.0)
    assert "1 in the making" in now.lines()[0] and "about 30 s left" in now.lines()[1]
    beat = planned.folder / MAKING / "00001.json"
    beat.write_text(json.dumps({**json.loads(beat.read_text()), "time": time.time() - 3600}))
    assert status(planned.folder).working == 0


def test_an_engine_that_is_not_there(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="no `sbatch` here"):
        run(planned.folder, 1, "slurm")
    with pytest.raises(InputError, match="no engine 'dask'"):
        run(planned.folder, 1, "dask")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="workers is at least 1"):
        run(planned.folder, 0)


def test_slurm_gives_the_same_bytes(reference: Path, picky: Plan, tmp_path: Path) -> None:
    """On a cluster of one node, by `benchmarks/slurm_one_node.sh`."""
    if not shutil.which("sinfo") or subprocess.run(["sinfo"], capture_output=True).returncode:
        pytest.skip("there is no Slurm here: benchmarks/slurm_one_node.sh starts one")
    make_plan(picky, tmp_path / "a")
    with pytest.raises(InputError, match="needs a partition"):
        run(tmp_path / "a", 2, "slurm", progress=False)
    with pytest.raises(InputError, match="does not know"):
        run(tmp_path / "a", 2, "slurm", slurm={"partition": "main", "colour": "red"}, progress=False)
    with pytest.raises(InputError, match="Slurm did not take the jobs"):
        run(tmp_path / "a", 2, "slurm", slurm={"partition": "nowhere"}, progress=False)
    options = {"partition": "main", "mem_per_cpu_gb": 1, "time": "0:10:00"}
    began = run(tmp_path / "a", 2, "slurm", slurm=options, progress=False)
    assert began.missing
    with pytest.raises(InputError, match=r"Slurm job \d+ makes shards of"):
        run(tmp_path / "a", 2, "slurm", slurm=options, progress=False)
    until = time.monotonic() + 300
    while status(tmp_path / "a").missing and time.monotonic() < until:
        time.sleep(0.5)
    assert content(tmp_path / "a") == content(reference)


def test_ray_gives_the_same_bytes(reference: Path, picky: Plan, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    make_plan(picky, tmp_path / "a")
    try:
        run(tmp_path / "a", 2, "ray", progress=False)
    finally:
        ray.shutdown()
    assert content(tmp_path / "a") == content(reference)
