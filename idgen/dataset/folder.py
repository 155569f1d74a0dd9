"""What lies where in a dataset's folder, and what is known of a shard from its files."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from idgen.ground import files
from idgen.ground.errors import InputError

PLAN, PLANNED = "plan.yaml", "planned.json"
PEOPLE, LABELS = "identities.safetensors", "soft-labels.json"
CARD, SHEET, REPORT = "README.md", "contact-sheet.png", "report"
DATA, REJECTED = "data", "rejected"
SUBMITTED = "slurm-job"
MADE, MAKING, LOGS = "made", "making", "logs"


def data_name(shards: int, number: int) -> str:
    """The file name of a shard, as `datasets` writes them."""
    return f"train-{number:05d}-of-{shards:05d}.parquet"


def made(folder: Path, shards: int, number: int, whole: bool = True) -> dict[str, Any] | None:
    """What is noted of a finished shard; None where it is not there, or was changed or cut short since.

    Args:
        folder: of the dataset.
        shards: how many there are to be.
        number: of the shard.
        whole: read its files to be sure, not only their names.

    Raises:
        InputError: they cannot be read.
    """
    noted = json_or_none(folder / MADE / f"{number:05d}.json")
    if noted is None:
        return None
    for path, key in (
        (folder / DATA / data_name(shards, number), "sha256"),
        (folder / REJECTED / f"{number:05d}.jsonl", "rejected_sha256"),
    ):
        try:
            if not path.is_file() or (whole and hashlib.sha256(path.read_bytes()).hexdigest() != noted.get(key)):
                return None
        except OSError as error:
            raise InputError(f"Cannot read {path}: {error.strerror}.") from error
    return noted


def note(path: Path, content: dict[str, Any]) -> None:
    """Tell `status` how far a shard is; where that cannot be written, nobody is told."""
    with suppress(InputError):
        files.write(path, json.dumps({**content, "time": time.time(), "pid": os.getpid()}))


def json_or_none(path: Path) -> dict[str, Any] | None:
    """A file's JSON object, or None where there is none that can be read."""
    try:
        return files.read_json(path)
    except InputError:
        return None
