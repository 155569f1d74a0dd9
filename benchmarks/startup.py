"""How long short commands take from start to end, as ratios to another checkout's, measured in turns.

    python benchmarks/startup.py --against FOLDER [--repeats 5]

Processor seconds of the whole process (user and system), which other programs on the machine change little; of each
command the quickest run. Both checkouts run in this Python, with its packages, on the same files.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLI = ["-m", "idgen.cli"]
COMMANDS = {
    "import idgen": ["-c", "import idgen"],
    "--help": [*CLI, "--help"],
    "identify": [*CLI, "identify", "photo.png", "--out", "me.safetensors"],
    "compare": [*CLI, "compare", "photo.png", "people.safetensors"],
    "dataset status": [*CLI, "dataset", "status", "few"],
}


def seconds(checkout: Path, arguments: list[str], folder: Path) -> float:
    """Processor time of one run."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(arguments)}: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def prepare(folder: Path) -> None:
    """A photo (of nobody), a person and a planned dataset for the commands to read."""
    from PIL import Image

    for command in (
        "sample --seed 3 --out people.safetensors",
        "generate people.safetensors --images 1 --seed 2 --out pictures",
        "dataset plan --people 3 --images 2 --out few",
    ):
        seconds(ROOT, [*CLI, *command.split()], folder)
    with Image.open(folder / "pictures" / "person-3-0000" / "00.png") as picture:
        picture.resize((256, 256)).save(folder / "photo.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, help="another checkout of idgen")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    checkouts = (ROOT, args.against.resolve())
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        print(f"{'':16}{'here':>9}{'there':>9}{'ratio':>8}")
        for title, arguments in COMMANDS.items():
            runs = [[seconds(checkout, arguments, Path(name)) for checkout in checkouts] for _ in range(args.repeats)]
            here, there = (min(times) for times in zip(*runs, strict=True))
            print(f"{title:16}{here:7.3f} s{there:7.3f} s{here / there:8.2f}")


if __name__ == "__main__":
    main()
