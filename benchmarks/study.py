"""A study that is killed at random moments: cells lost, doubled, or of other numbers than those of one that was not.

    python benchmarks/study.py [--kills 10] [--steps 24] [--seed 0]

Two rows (one of them pre-trained) and two seeds, of tiny networks on pictures of noise, on one core. Each try is a
process of its own that gets SIGKILL after a random part of the time that a whole study took; where a study ends before
that, the next one begins in another folder. At the end all are finished and compared.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import options, use_cores
from PIL import Image

from idgen.study.plan import Study
from idgen.study.run import run_study


def people(folder: Path, seed: int, count: int = 5, pictures: int = 3) -> str:
    """A folder a person."""
    rng = np.random.default_rng(seed)
    for person in range(count):
        face = rng.integers(0, 255, (8, 8, 3))
        where = folder / f"{folder.name}{person}"
        where.mkdir(parents=True)
        for k in range(pictures):
            pixels = np.clip(face + rng.integers(-20, 20, face.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((64, 64)).save(where / f"{k}.png")
    return str(folder)


def started(study: Study, out: Path) -> int:
    """The number of a process that makes a study; forked, so that nothing is imported anew."""
    if pid := os.fork():
        return pid
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1), os.dup2(silent, 2)
    try:
        run_study(study, out, device="cpu")
        os._exit(0)
    except BaseException:
        os._exit(1)


def ended(pid: int) -> bool:
    """Wait for a process; whether it did all that it had to."""
    return os.waitpid(pid, 0)[1] == 0


def numbers(out: Path) -> dict[str, Any]:
    """Row, seed and key of each cell, and what was measured."""
    cells = [json.loads(file.read_text("utf-8")) for file in sorted((out / "cells").glob("*.json"))]
    return {f"{cell['row']}, seed {cell['seed']}, {cell['key']}": cell["figures"] for cell in cells}


if __name__ == "__main__":
    given = options(__doc__, kills=10, steps=24, seed=0)
    use_cores(1)
    with tempfile.TemporaryDirectory() as aside:
        home = Path(aside)
        os.environ["IDGEN_CACHE"] = str(home / "cache")
        sets = {name: people(home / name, seed) for seed, name in enumerate(("a", "b", "val"))}
        training: dict[str, Any] = {"model": {"channels": [16, 16, 16], "blocks": [1, 1, 1], "embedding_dim": 16}}
        training |= {"steps": given.steps, "batch_size": 8, "size": 64, "precision": "no", "warmup": 1, "lr": "1e-3"}
        training |= {"validate_every": 6, "checkpoint_minutes": 0.0}
        rows = {"A": {"data": "a"}, "A, then B": {"data": "b", "pretrain": "a"}}
        study = Study(sets=sets, rows=rows, tests={"val": "val"}, seeds=[0, 1], training=training)
        began = time.monotonic()
        assert ended(started(study, home / "whole")), "the study does not run"
        took = time.monotonic() - began
        whole, chance, kills, folders = numbers(home / "whole"), random.Random(given.seed), 0, 0
        moments: list[float] = []
        while kills < given.kills:
            out = home / f"killed-{folders}"
            pid, wait = started(study, out), chance.uniform(0, 0.6 * took)
            time.sleep(wait)
            if os.waitpid(pid, os.WNOHANG)[0]:  # it was done before
                folders += 1
                continue
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            kills += 1
            moments.append(wait)
        outs = [home / f"killed-{number}" for number in range(folders + 1)]
        assert all(ended(started(study, out)) for out in outs), "a study did not go on"
        found = [numbers(out) for out in outs]
        lost = sum(len(whole.keys() - one.keys()) for one in found)
        written = sum(len(list((out / "cells").glob("*.json"))) for out in outs)
        doubled = written - sum(len(one.keys() & whole.keys()) for one in found)
        other = sum(one.get(name) != figures for one in found for name, figures in whole.items() if name in one)
        said = ", ".join(f"{moment:.1f}" for moment in moments)
        print(f"{kills} kills after {said} s of {took:.1f}; {len(whole)} cells, {len(outs)} studies")
        print(f"cells lost {lost}, doubled {doubled}, of other numbers {other}")
        sys.exit(bool(lost or doubled or other))
