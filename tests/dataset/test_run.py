"""Shards: the same bytes whoever makes them, however often they are killed, and nothing that is half there."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image, ImageChops
from safetensors.torch import save_file

from idgen.dataset.card import report
from idgen.dataset.drawing import make_plan
from idgen.dataset.export import read_rows
from idgen.dataset.filters import ANOTHER_BETTER, ANOTHER_PERSON, DUPLICATE
from idgen.dataset.plan import CARD, DATA, MADE, MAKING, NO_FACE, REJECTED, Plan, Planned, data_name
from idgen.dataset.run import MakeShards, run
from idgen.dataset.shard import ShardMaker
from idgen.dataset.status import Status, note, status
from idgen.ground import provenance
from idgen.ground.errors import InputError
from idgen.model import load_model
from idgen.sampling.negatives import negatives
from idgen.sampling.variation import Along, vary
from idgen.similarity import boundaries


def content(folder: Path) -> dict[str, bytes]:
    """All that counts of a dataset, and what should not be there."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in (DATA, REJECTED)
        for path in sorted((folder / part).rglob("*"))
    }


@pytest.fixture(scope="module")
def picky(loose: dict[str, Any]) -> Plan:
    """With refills: the judge, who knows nothing, finds a good part nearer to somebody else."""
    return Plan(people=5, images=3, seed=5, **{**loose, "other": True, "duplicate": 0.98, "tries": 3})


@pytest.fixture(scope="module")
def reference(picky: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_plan(picky, tmp_path_factory.mktemp("reference") / "people").folder
    run(folder, 1)
    return folder


@pytest.fixture
def folder(picky: Plan, tmp_path: Path) -> Path:
    """Planned like the reference."""
    return make_plan(picky, tmp_path / "a").folder


def test_every_picture_can_be_made_again_and_is_accounted_for(reference: Path, picky: Plan, tmp_path: Path) -> None:
    rows = [row for path in sorted((reference / DATA).glob("*.parquet")) for row in read_rows(path)]
    rejected = [json.loads(line) for path in (reference / REJECTED).glob("*") for line in path.read_text().splitlines()]
    assert rows and rejected and {line["reason"] for line in rejected} <= {ANOTHER_PERSON, DUPLICATE}
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
                picture = Image.open(io.BytesIO(line["image"]["bytes"])).convert("RGB")
                assert ImageChops.difference(picture, again).getbbox() is None
                (tmp_path / "one.png").write_bytes(line["image"]["bytes"])
                assert provenance.read(tmp_path / "one.png")["digital_source_type"] == line["digital_source_type"]
                assert line["other_similarity"] < line["judge_similarity"] and line["label"] == row
    now = status(reference)
    assert (now.pictures, now.tries) == (len(rows), len(rows) + len(rejected)) and not now.missing
    assert sum(now.rejected.values()) == len(rejected)
    assert now.short == {
        name: count for name in people.names if (count := sum(line["identity"] == name for line in rows)) < picky.images
    }


def test_a_plan_leads_away_from_others(loose: dict[str, Any], tmp_path: Path) -> None:
    """As the pipeline does it with the same vectors; a weight of 0 changes nothing."""
    found: dict[str, list[bytes]] = {}
    for name, how in {"plain": {}, "off": {"away_weight": 0.0}, "far": {}}.items():
        away = {} if name == "plain" else {"away": "far"}
        folder = make_plan(Plan(people=3, images=1, seed=5, **loose, **away, **how), tmp_path / name).folder
        run(folder, 1)
        rows = [row for path in sorted((folder / DATA).glob("*.parquet")) for row in read_rows(path)]
        pictures = [Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB").tobytes() for row in rows]
        found[name] = pictures
    assert found["off"] == found["plain"] and found["far"] != found["plain"]
    people = Planned.load(tmp_path / "far").people
    others = people.vectors[negatives(people.vectors, "far")]
    pipeline = load_model(loose["model"]).pipeline
    again = pipeline(people, 1, seed=5, num_inference_steps=2, negative=others).images
    assert [picture.tobytes() for picture in again] == found["far"]
    with pytest.raises(InputError, match=r"`away` of a plan is one of far, close, mid, random"):
        Plan(people=2, away="best")


def test_the_best_of_several_by_a_column(loose: dict[str, Any], tmp_path: Path) -> None:
    """Of every three that follow one another, and none is lost; the hardest is the one that is least alike."""
    for by, chosen in (("judge_similarity", max), ("-judge_similarity", min)):
        how = {"best_of": 3, "best_by": by}
        folder = make_plan(Plan(people=2, images=2, seed=5, **loose, **how), tmp_path / by).folder
        run(folder, 1)
        rows = [row for path in sorted((folder / DATA).glob("*.parquet")) for row in read_rows(path)]
        lines = [json.loads(text) for path in (folder / REJECTED).glob("*") for text in path.read_text().splitlines()]
        assert len(rows) == 4 and len(lines) == 8 and {line["reason"] for line in lines} == {ANOTHER_BETTER}
        made = {(line["identity"], line["k"]): line["judge_similarity"] for line in (*rows, *lines)}
        for row in rows:
            group = [made[row["identity"], row["k"] // 3 * 3 + number] for number in range(3)]
            assert row["judge_similarity"] == pytest.approx(chosen(group), abs=1e-4)
    with pytest.raises(InputError, match="no column for `best_by` of a plan 'beauty'"):
        Plan(people=2, best_by="beauty")


def test_variations_and_schedules_are_those_of_the_pipeline(loose: dict[str, Any], tmp_path: Path) -> None:
    found: dict[str, list[bytes]] = {}
    for name, how in {
        "plain": {},
        "boundary": {"variation": "boundary:0.8", "guidance": 3},
        "other side": {"variation": "boundary:-0.8"},
        "late": {"guidance": "1,2@0.5"},
        "more and more": {"away": "far", "away_weight": "0-1"},
    }.items():
        folder = make_plan(Plan(people=2, images=1, seed=5, **loose, **how), tmp_path / name).folder
        run(folder, 1)
        rows = [row for path in sorted((folder / DATA).glob("*.parquet")) for row in read_rows(path)]
        found[name] = [Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB").tobytes() for row in rows]
    assert all(found[name] != found[other] for name in found for other in found if name != other)
    model = load_model(loose["model"])
    people = Planned.load(tmp_path / "late").people
    options: dict[str, Any] = {"seed": 5, "num_inference_steps": 2}
    late = model.pipeline(people, 1, guidance_scale=lambda done: 1.0 if done < 0.5 else 2.0, **options).images
    assert [picture.tobytes() for picture in late] == found["late"]
    varied = vary(people, Along(0.8, boundaries(model, 2, 3.0)), 1, seed=5)
    by = model.pipeline(varied.vectors, 1, guidance_scale=3.0, **options).images
    assert [picture.tobytes() for picture in by] == found["boundary"]


# Workers that are forked from here, where everything is imported, start in an instant; the real ones take seconds.
STARTS = ["fork", pytest.param("forkserver", marks=pytest.mark.long)]


def started(monkeypatch: pytest.MonkeyPatch, start: str) -> None:
    get_context = multiprocessing.get_context
    monkeypatch.setattr(multiprocessing, "get_context", lambda _=None: get_context(start))


@pytest.mark.parametrize(("workers", "batch_size"), [(1, 7), (2, 1)])
@pytest.mark.parametrize("start", STARTS)
def test_workers_and_batch_do_not_change_a_byte(
    reference: Path, folder: Path, workers: int, batch_size: int, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(monkeypatch, start)
    run(folder, workers, batch_size=batch_size)
    assert content(folder) == content(reference)


def test_only_what_is_missing_or_broken_is_made(reference: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(reference, tmp_path / "a")
    whole = content(folder)
    first, second, third = (folder / DATA / data_name(3, number) for number in range(3))
    untouched = first.stat().st_mtime_ns
    second.write_bytes(second.read_bytes()[:-100])  # cut short by hand
    third.unlink()
    assert status(folder).missing == [2] and status(folder, whole=True).missing == [1, 2]
    run(folder, 1)
    assert content(folder) == whole and first.stat().st_mtime_ns == untouched


def test_another_plan_in_the_same_folder(
    reference: Path, picky: Plan, planned: Planned, plan: dict[str, Any], tmp_path: Path
) -> None:
    run(planned.folder, 1)
    shutil.rmtree(planned.folder)
    make_plan(picky, planned.folder)
    run(planned.folder, 1)
    assert content(planned.folder) == content(reference)


def test_identical_pictures_are_rejected(plan: dict[str, Any], tmp_path: Path) -> None:
    make_plan(Plan(**{**plan, "people": 1, "duplicate": 1e-6, "tries": 2}), tmp_path / "d")
    assert set(run(tmp_path / "d", 1).rejected) == {DUPLICATE}


def test_a_person_who_cannot_be_pictured_stops_at_the_cap(plan: dict[str, Any], tmp_path: Path) -> None:
    make_plan(Plan(**{**plan, "people": 2, "tries": 2, "match": 1e-3}), tmp_path / "a")
    now = run(tmp_path / "a", 1)
    assert now.tries == 2 * 6 and now.pictures == 0 and set(now.short.values()) == {0}
    assert "2 people have fewer pictures than planned" in "\n".join(now.lines())
    assert not run(tmp_path / "a", 1).missing  # an empty shard is finished, too


def killed(work: Callable[[], Any], seconds: float | None = None) -> bool:
    """Run in a process that is killed with everything it started, after some seconds; whether it was."""

    def alone() -> None:
        os.setsid()
        work()

    process = multiprocessing.get_context("fork").Process(target=alone)
    process.start()
    process.join(seconds)
    alive = process.is_alive()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
    process.join()
    return alive or process.exitcode == -signal.SIGKILL


def left_behind(folder: Path) -> int:
    """How many files were never finished; makes them so old that nobody goes on writing them."""
    paths = list(folder.rglob("*.tmp"))
    for path in paths:
        os.utime(path, (0, 0))
    return len(paths)


def test_a_kill_at_any_step_loses_doubles_and_changes_nothing(reference: Path, folder: Path) -> None:
    def dying(step: int) -> None:
        """Dies where the file of this number is complete and not yet in its place."""
        files, replace = count(), os.replace

        def replace_or_die(*paths: Any) -> None:
            if next(files) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*paths)

        os.replace = replace_or_die  # of this process, which ends here
        run(folder, 1)

    done = []
    for step in range(4):  # of a shard: what was rejected, its pictures, the note that it is made; of the next one
        assert killed(lambda step=step: dying(step))
        done.append(status(folder, whole=True).done)
    assert done == [0, 0, 0, 1]
    assert left_behind(folder) == 4
    run(folder, 1)
    assert content(folder) == content(reference)
    assert not list((folder / MAKING).glob("*.json"))


@pytest.mark.long
def test_kills_at_random_moments(reference: Path, folder: Path) -> None:
    dice, kills, partly, began = random.Random(1), 0, 0, time.monotonic()
    assert not killed(lambda: run(folder, 1))
    whole = time.monotonic() - began  # on a busy machine, much longer
    shutil.rmtree(folder / MADE)
    for _ in range(int(os.environ.get("IDGEN_KILLS", "30"))):
        kills += killed(lambda: run(folder, 1), dice.uniform(0.02, whole))
        now = status(folder, whole=True)
        partly += bool(now.done and now.missing)
        if not now.missing:
            shutil.rmtree(folder / MADE)  # begin again: there are kills left
    left_behind(folder)
    run(folder, 1)
    assert kills and partly  # else none was in the middle of it
    assert content(folder) == content(reference)


def test_a_worker_that_dies_is_noticed(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, "fork")
    with monkeypatch.context() as patch:
        patch.setattr(ShardMaker, "make", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        with pytest.raises(InputError, match="A worker died"):
            run(planned.folder, 2)
    assert not run(planned.folder, 2).missing


def test_two_runs_in_one_folder(reference: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(reference, tmp_path / "a")
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another run works in"):
            run(folder, 1)
    assert not run(folder, 1).missing


def test_a_full_disk_is_said_and_what_is_finished_stays(
    reference: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full in the middle of the fifth file: a shard has three."""
    files, write, whole = count(1), Path.write_bytes, content(reference)

    def write_bytes(path: Path, data: bytes) -> int:
        if next(files) >= 5:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", write_bytes)
        with pytest.raises(InputError, match="No space left on device"):
            run(folder, 1)
    assert status(folder, whole=True).missing == [1, 2]
    assert content(folder).items() <= whole.items()
    run(folder, 1)
    assert content(folder) == whole


def test_status_sees_a_shard_in_the_making(planned: Planned) -> None:
    beat = planned.folder / MAKING / "00001.json"
    note(beat, {"pictures": 3, "tries": 4, "ahead": 1.5, "seconds": 9.0})
    now = status(planned.folder)
    assert (now.working, now.pictures, now.rate, now.seconds_left) == (1, 3, 0.5, 27.0)
    assert "1 in the making" in now.lines()[0] and "about 0:00:27 left" in now.lines()[1]
    beat.write_text(json.dumps({**json.loads(beat.read_text()), "time": time.time() - 3600}))
    assert status(planned.folder).working == 0


def test_status_says_what_to_do_where_no_picture_shows_a_face() -> None:
    now = Status(1, wanted=2, tries=4, rejected={NO_FACE: 4})
    assert "--no-face keeps them" in now.lines()[-1]
    assert "--no-face" not in " ".join(replace(now, tries=5).lines())


def test_steps_inside_a_batch_are_noted(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two people × three pictures, each in two steps, which are one batch."""
    noted: list[float] = []
    monkeypatch.setattr("idgen.dataset.shard._BEAT", -1.0)
    monkeypatch.setattr("idgen.dataset.shard.note", lambda path, content: noted.append(content["ahead"]))
    ShardMaker(planned).make(0)
    assert noted == [3.0, 6.0, 0.0]


def test_an_engine_that_is_not_there(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="no `sbatch` here"):
        run(planned.folder, 1, "slurm")
    with pytest.raises(InputError, match="workers is a whole number of at least 1"):
        run(planned.folder, 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_never_the_cpu_instead(planned: Planned) -> None:
    with pytest.raises(InputError, match="There is no device 'cuda' here: choose one of cpu"):
        run(planned.folder, 1, device="cuda")
    with pytest.raises(InputError, match="There is no device 'cuda' here"):  # on another machine
        MakeShards(str(planned.folder), [0], device="cuda")(None)
    assert not (planned.folder / DATA).exists()


SLURM = {"partition": "main", "mem_per_cpu_gb": 1, "time": "0:10:00"}


def test_slurm_is_asked_once(planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By programs that answer as Slurm's do."""

    def program(name: str, says: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / name).chmod(0o755)

    program("sbatch", f"for script; do :; done; cat $script >> {tmp_path}/asked; echo Submitted batch job 7")
    program("squeue", "echo 7")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for options, why in (({}, "needs a partition"), ({**SLURM, "colour": "red"}, "an option that .* does not know")):
        with pytest.raises(InputError, match=why):
            run(planned.folder, 2, "slurm", slurm=options)
    nowhere = f"cuda:{torch.cuda.device_count() + 5}"  # not here, but maybe where the workers are
    assert run(planned.folder, 2, "slurm", slurm=SLURM, gpus=1, device=nowhere).missing == [0, 1, 2]
    asked = (tmp_path / "asked").read_text()
    assert "--partition=main" in asked and "--time=0:10:00" in asked and "launch_pickled_pipeline" in asked
    with pytest.raises(InputError, match=r"Slurm job 7 makes shards of .* `scancel 7` ends it"):
        run(planned.folder, 2, "slurm", slurm=SLURM)
    program("squeue", "")  # it has ended
    program("sbatch", "exit 3")
    with pytest.raises(InputError, match=r"Slurm did not take the jobs: .* \(exit 3\)"):
        run(planned.folder, 2, "slurm", slurm=SLURM)


@pytest.mark.long
def test_slurm_gives_the_same_bytes(reference: Path, folder: Path) -> None:
    """On a cluster of one node, by `benchmarks/slurm_one_node.sh`."""
    if not shutil.which("sinfo") or subprocess.run(["sinfo"], capture_output=True).returncode:
        pytest.skip("there is no Slurm here: benchmarks/slurm_one_node.sh starts one")
    with pytest.raises(InputError, match="Slurm did not take the jobs"):
        run(folder, 2, "slurm", slurm={"partition": "nowhere"})
    assert run(folder, 2, "slurm", slurm=SLURM).missing
    with pytest.raises(InputError, match=r"Slurm job \d+ makes shards of"):
        run(folder, 2, "slurm", slurm=SLURM)
    until = time.monotonic() + 300
    while status(folder).missing and time.monotonic() < until:
        time.sleep(0.5)
    assert content(folder) == content(reference)


def test_ray_shares_the_shards_and_is_asked_what_became_of_them(
    reference: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a Ray that does the first task alone, in this process, and the others when it is asked again."""
    options: dict[str, Any] = {}

    class Executor:
        def __init__(self, **given: Any) -> None:
            options.update(given)
            self.tasks, (self.step,) = given["tasks"], given["pipeline"]

        def run(self) -> None:
            self.step(None, 0, self.tasks)

    ray = SimpleNamespace(is_initialized=lambda: False, init=lambda **given: options.update(given))
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "datatrove.executor.ray", SimpleNamespace(RayPipelineExecutor=Executor))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(InputError, match="1 of 3 shards were not made by Ray: their tasks' logs in"):
        run(folder, 2, "ray", gpus=1)
    assert status(folder).missing == [1]  # the first of two tasks has the first and the third
    assert (options["address"], options["workers"], options["gpus_per_task"]) == ("auto", 2, 1)
    assert not run(folder, 2, "ray").missing
    assert content(folder) == content(reference)


@pytest.mark.long
def test_ray_gives_the_same_bytes(reference: Path, folder: Path) -> None:
    ray = pytest.importorskip("ray")
    try:
        run(folder, 2, "ray")
    finally:
        ray.shutdown()
    assert content(folder) == content(reference)


def rows_of(planned: Planned) -> list[dict[str, Any]]:
    return [row for file in sorted((planned.folder / DATA).glob("*.parquet")) for row in read_rows(file)]


def test_a_plan_says_who_and_how(attributed_model: Path, plan: dict[str, Any], tmp_path: Path) -> None:
    wishes = {"yaw": {"45..60": 0.5}, "smile": [0.1, 0.2], "glasses": {"yes": 0.5, "no": 0.5}}
    told = {**plan, "people": 4, "images": 4, "model": str(attributed_model), "attributes": wishes}
    kinds = {"gender": {"female": 0.5, "male": 0.5}}
    planned = make_plan(Plan(**told, who=kinds), tmp_path / "a")
    run(planned.folder, 1)
    table = rows_of(planned)
    assert {0.1 <= row["smile"] <= 0.2 for row in table} == {True}
    assert 2 <= sum(row["yaw"] >= 45 for row in table) <= 14
    assert {row["glasses"] for row in table} == {"no", "yes"}
    report(planned.folder)
    card = (planned.folder / CARD).read_text()
    assert "gender: female 50.0%, male 50.0%" in card
    assert "beard, environment, expression" in card

    # Told otherwise than by the model itself: other pictures of the same people, those of a pipeline that is so.
    loud = make_plan(Plan(**told, who=kinds, attribute_scale=2), tmp_path / "c")
    run(loud.folder, 1)
    model = load_model(attributed_model)
    model.pipeline.register_to_config(attribute_scale=2.0)
    made = model.pipeline(loud.people, 4, attributes=wishes, seed=loud.plan.seed, num_inference_steps=loud.plan.steps)
    assert [row["image"]["bytes"] for row in rows_of(loud)] != [row["image"]["bytes"] for row in table]
    pixels = [Image.open(io.BytesIO(row["image"]["bytes"])).tobytes() for row in rows_of(loud)]
    assert pixels == [image.tobytes() for image in made.images]

    # "As in" that dataset: what its pictures look like, together, kept with the plan.
    like = Plan(**{**told, "attributes": None, "as_in": planned.folder})
    alike = make_plan(like, tmp_path / "b")
    run(alike.folder, 1)
    known = {(row["yaw"], row["smile"]) for row in table}
    assert {(row["yaw"], row["smile"]) in known for row in rows_of(alike)} == {True}
    with pytest.raises(InputError, match="changed after it was planned"):
        save_file({"rows": torch.zeros(1, 10)}, alike.folder / "as-in.safetensors")
        make_plan(like, alike.folder)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"attributes": {"smle": 1}}, "no attribute 'smle'"),
        ({"attributes": {"expression": {"laugh": 2}}}, "from 0 to 1"),
        ({"attribute_scale": 9}, "is a number from 0 to 4"),
        ({"sharpening": -1}, "`sharpening` of a plan is a number from 0 to 2"),
        ({"who": {"size": "tall"}}, "not by 'size'"),
        ({"who": {"gender": "male"}, "method": "packed"}, "leave out `who`"),
    ],
)
def test_wrong_wishes_leave_nothing_behind(
    attributed_model: Path, plan: dict[str, Any], tmp_path: Path, wrong: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        make_plan(Plan(**{**plan, "model": str(attributed_model), **wrong}), tmp_path / "a")
    assert not (tmp_path / "a").exists() or not any((tmp_path / "a").iterdir())
