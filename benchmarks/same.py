"""Whether two checkouts make the same pictures, scores and datasets to the last bit, over a fixed set of commands.

    python benchmarks/same.py BEFORE [AFTER]

BEFORE and AFTER are folders with a checkout each (AFTER: this one); both run in this environment. Compared are the
tensors of safetensors, the pixels of pictures, all columns of Parquet, and JSON; left out is what names the version,
the time or the folder, and what a mark in a file says of them.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from common import ROOT, python
from PIL import Image
from safetensors.numpy import load_file

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
""".strip().splitlines()
PICTURES = (".png", ".webp", ".jpg")
LEFT_OUT = re.compile(r"sha256|seconds|time|version|idgen|generator|pid|date|weights|folder|url|card|summary|notes")


def run(checkout: Path, folder: Path) -> list[str]:
    """Run the commands in a folder of their own; what they print."""
    folder.mkdir()
    cache = str(folder.with_name(folder.name + "-cache"))
    commands = [["-m", "idgen", *line.split()] for line in COMMANDS]
    return [python(checkout, command, folder, IDGEN_CACHE=cache, OMP_NUM_THREADS="2") for command in commands]


def content(file: Path) -> Any:
    """What a file says, without its marks."""
    if file.suffix == ".safetensors":
        return {name: (array.dtype.str, array.tobytes()) for name, array in load_file(file).items()}
    if file.suffix in PICTURES:
        return plain(file.read_bytes())
    if file.suffix == ".parquet":
        return plain(pq.read_table(file).to_pylist())
    lines = file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
    return [plain(json.loads(line)) for line in lines]


def plain(value: Any) -> Any:
    """A value without what names the version, the time or the folder, and pictures by their pixels."""
    if isinstance(value, bytes):
        with Image.open(io.BytesIO(value)) as image:
            return image.mode, image.size, image.tobytes()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if not LEFT_OUT.search(key)}
    return [plain(item) for item in value] if isinstance(value, list) else value


def names(folder: Path) -> set[Path]:
    """Everything that is compared, relative to the folder."""
    kinds = (*PICTURES, ".safetensors", ".parquet", ".json", ".jsonl")
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.suffix in kinds}
    return {path for path in found if not {"checkpoint", "logs", "log", "args.json"} & set(path.parts)}


if __name__ == "__main__":
    before, after = (Path(folder).absolute() for folder in (*sys.argv[1:], ROOT)[:2])
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / name for name in ("before", "after")]
        said = [run(*each) for each in zip((before, after), folders, strict=True)]
        old, new = map(names, folders)
        both = sorted(old & new)
        wrong = [f"only in {'before' if name in old else 'after'}: {name}" for name in old ^ new]
        differ = [name for name in both if content(folders[0] / name) != content(folders[1] / name)]
        wrong += [f"differs: {name}" for name in differ]
    for line, first, second in zip(COMMANDS, *said, strict=True):
        if line.startswith("compare") and plain(json.loads(first)) != plain(json.loads(second)):
            wrong.append(f"answers otherwise: idgen {line}")
    print(f"{len(both) - len(differ)} files the same, of {len(old | new)}; {len(COMMANDS)} commands.")
    print("\n".join(wrong) or "No difference.")
    sys.exit(bool(wrong))
