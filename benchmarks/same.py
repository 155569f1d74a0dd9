"""Whether two checkouts make the same pictures, scores and datasets to the last bit, over a fixed set of commands.

    python benchmarks/same.py BEFORE [AFTER]

BEFORE and AFTER are folders with a checkout each (AFTER: this one); both run in this environment. Compared are the
tensors of safetensors, the pixels of pictures, all columns of Parquet, and JSON; left out is what names the version,
the time or the folder, and what a mark in a file says of them.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import load_file

HERE = Path(__file__).parent.parent
COMMANDS = """
sample -n 3 --seed 7 --out people.safetensors
sample -n 2 --seed 1 --method gaussian --out gaussian.safetensors
sample -n 2 --seed 1 --method sphere --out sphere.safetensors
sample -n 3 --seed 2 --method packed --out packed.safetensors
sample -n 2 --seed 2 --method mixup --from people.safetensors --out mixup.safetensors
sample -n 3 --method interpolate --from people.safetensors --out between.safetensors
sample -n 1 --method mean --from people.safetensors --out mean.safetensors
generate people.safetensors --images 3 --seed 3 --out pictures
generate people.safetensors --images 2 --steps 4 --guidance 1 --batch-size 1 --out few
generate people.safetensors --images 2 --steps 4 --variation cone:0.6-0.9 --out cone
generate --sample 2 --images 1 --steps 3 --variation gaussian:0.02 --out gaussian
identify pictures/person-7-0000/00.png pictures/person-7-0000/01.png --aligned --out me.safetensors
identify pictures/person-7-0001/00.png --out found.safetensors
compare pictures/person-7-0000/00.png pictures/person-7-0000/01.png --json
compare pictures/person-7-0000/00.png people.safetensors#person-7-0001 --json
compare people.safetensors#person-7-0000 people.safetensors#person-7-0001 --json
sample -n 2 --seed 5 --apart 1 --out apart.safetensors
evaluate pictures --out report
dataset plan --people 3 --images 2 --seed 1 --shard 2 --out set
dataset run set --workers 1
dataset export set tars --format webdataset
evaluate set --out set-report
train recognizer --data set/data --steps 2 --batch-size 4 --held-out-people 2 --precision no --out recognizer
export onnx nobody-128 recognizer.onnx
"""
LEFT_OUT = re.compile(r"seconds|time|version|idgen|generator|pid|date|weights|folder|url|card|summary|notes")


def run(checkout: Path, folder: Path) -> list[str]:
    """Run the commands in a folder; what they print."""
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "IDGEN_CACHE": str(folder.with_name(folder.name + "-cache")),
        "OMP_NUM_THREADS": "2",
    }
    said = []
    for line in COMMANDS.strip().splitlines():
        command = [sys.executable, "-m", "idgen.cli", *line.split()]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200)
        if done.returncode:
            raise SystemExit(f"{checkout}: idgen {line}\n{done.stdout}{done.stderr}")
        said.append(done.stdout)
    return said


def content(file: Path) -> Any:
    """What a file says, without its marks."""
    if file.suffix == ".safetensors":
        return {name: (array.dtype.str, array.tobytes()) for name, array in load_file(file).items()}
    if file.suffix in (".png", ".webp", ".jpg"):
        return _pixels(file.read_bytes())
    if file.suffix == ".parquet":
        rows = pq.read_table(file).to_pylist()
        return [{k: _pixels(v["bytes"]) if k == "image" else v for k, v in row.items() if not _out(k)} for row in rows]
    if file.suffix == ".json":
        return _plain(json.loads(file.read_text()))
    if file.suffix == ".jsonl":
        return [_plain(json.loads(line)) for line in file.read_text().splitlines()]
    return None


def _pixels(data: bytes) -> Any:
    with Image.open(io.BytesIO(data)) as image:
        return image.mode, image.size, np.asarray(image).tobytes()


def _out(key: str) -> bool:
    return bool(LEFT_OUT.search(key))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if not _out(key)}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def files(folder: Path) -> Iterator[Path]:
    """Everything that is compared, relative to the folder."""
    kinds = (".safetensors", ".png", ".webp", ".jpg", ".parquet", ".json", ".jsonl")
    yield from (
        path.relative_to(folder)
        for path in sorted(folder.rglob("*"))
        if path.suffix in kinds and not {"checkpoint", "logs", "log"} & set(path.parts) and path.name != "args.json"
    )


def main() -> None:
    """Compare two checkouts."""
    before = Path(sys.argv[1]).absolute()
    after = Path(sys.argv[2] if len(sys.argv) > 2 else HERE).absolute()
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / name for name in ("before", "after")]
        said = []
        for checkout, folder in zip((before, after), folders, strict=True):
            folder.mkdir()
            said.append(run(checkout, folder))
        names = [set(files(folder)) for folder in folders]
        wrong = [f"only in {'before' if name in names[0] else 'after'}: {name}" for name in names[0] ^ names[1]]
        same = 0
        for name in sorted(names[0] & names[1]):
            one, two = (content(folder / name) for folder in folders)
            if one == two:
                same += 1
            else:
                wrong.append(f"differs: {name}")
        for line, first, second in zip(COMMANDS.strip().splitlines(), *said, strict=True):
            if line.startswith("compare") and _plain(json.loads(first)) != _plain(json.loads(second)):
                wrong.append(f"answers otherwise: idgen {line}")
        print(f"{same} files the same, of {len(names[0] | names[1])}; {len(COMMANDS.strip().splitlines())} commands.")
        print("\n".join(wrong) or "No difference.")
        sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
