"""How long short commands take from start to end, as ratios to another checkout's, measured in turns.

    python benchmarks/startup.py --against FOLDER [--repeats 5]

Processor seconds of the whole process (user and system), which other programs on the machine change little; of each
command the quickest run. Both checkouts run in this Python, with its packages, on the same files.
"""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path

from common import ROOT, options, python
from PIL import Image

CLI = ["-m", "idgen"]
PREPARE = """
sample --seed 3 --out people.safetensors
generate people.safetensors --images 1 --seed 2 --out pictures
dataset plan --people 3 --images 2 --out few
"""
COMMANDS = {
    "import idgen": ["-c", "import idgen"],
    "--help": [*CLI, "--help"],
    "identify": [*CLI, "identify", "photo.png", "--out", "me.safetensors"],
    "compare": [*CLI, "compare", "photo.png", "people.safetensors"],
    "dataset status": [*CLI, "dataset", "status", "few"],
}


def seconds(checkout: Path, arguments: list[str], folder: str) -> float:
    """Processor time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    python(checkout, arguments, folder, OMP_NUM_THREADS="1")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    args = options(__doc__, against=Path, repeats=5)
    checkouts = (ROOT, args.against.resolve())
    with tempfile.TemporaryDirectory() as folder:
        for command in PREPARE.strip().splitlines():
            seconds(ROOT, [*CLI, *command.split()], folder)
        with Image.open(f"{folder}/pictures/person-3-0000/00.png") as picture:
            picture.resize((256, 256)).save(f"{folder}/photo.png")
        print(f"{'':16}{'here':>9}{'there':>9}{'ratio':>8}")
        for title, arguments in COMMANDS.items():
            runs = [[seconds(checkout, arguments, folder) for checkout in checkouts] for _ in range(args.repeats)]
            here, there = map(min, zip(*runs, strict=True))
            print(f"{title:16}{here:7.3f} s{there:7.3f} s{here / there:8.2f}")
