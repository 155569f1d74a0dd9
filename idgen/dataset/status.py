"""How far a dataset is, read from its folder alone: from any shell, while others work in it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from idgen.dataset.plan import DATA, MADE, MAKING, NO_FACE, REJECTED, Planned, data_name, json_or_none
from idgen.ground import files
from idgen.ground.errors import InputError

_ALIVE = 300.0  # seconds after which a shard in the making counts as left; a step of a large model takes minutes


@dataclass
class Status:
    """How far a dataset is.

    Args:
        shards, done: files there are to be, and those that are finished.
        missing: numbers of the others.
        wanted: pictures there are to be.
        pictures: those that are kept so far, also in shards that are being made.
        tries: pictures made in finished shards.
        rejected: reason → how many, in finished shards.
        short: name → how many, of people with fewer pictures than planned.
        working: shards that are being made.
        ahead: how far pictures are there that are not finished, in pictures: half of the steps of eight are 4.
        rate: pictures a second, over all who work; None while nobody does.
    """

    shards: int
    done: int = 0
    missing: list[int] = field(default_factory=list)
    wanted: int = 0
    pictures: int = 0
    tries: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    short: dict[str, int] = field(default_factory=dict)
    working: int = 0
    ahead: float = 0.0
    rate: float | None = None

    @property
    def rejected_pictures(self) -> int:
        """How many were rejected."""
        return sum(self.rejected.values())

    @property
    def seconds_left(self) -> float | None:
        """At the present rate."""
        return max(0.0, self.wanted - self.pictures - self.ahead) / self.rate if self.rate else None

    def lines(self) -> list[str]:
        """In words."""
        out = [
            f"{self.pictures:,} of {self.wanted:,} pictures; {self.done:,} of {self.shards:,} shards are finished"
            + (f", {self.working} in the making." if self.working else ".")
        ]
        if self.rate and self.seconds_left is not None and self.missing:
            out.append(f"{self.rate:.2f} pictures a second; about {timedelta(seconds=round(self.seconds_left))} left.")
        if self.rejected:
            parts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.rejected.items()))
            share = self.rejected_pictures / max(1, self.tries)
            out.append(f"Rejected: {self.rejected_pictures:,} of {self.tries:,} ({share:.1%}): {parts}.")
        if self.rejected.get(NO_FACE, 0) == self.tries > 0:
            out.append(
                "A face is found in none of them: look at some, by idgen generate. Where they show faces, the model's "
                "finder misses them, as it may where they fill the picture and the judge wants them cut out otherwise; "
                "a plan with --match none --no-other --no-face keeps them."
            )
        if self.short:
            some = ", ".join(f"{name} ({count})" for name, count in list(self.short.items())[:3])
            out.append(
                f"{len(self.short):,} people have fewer pictures than planned, such as {some}: no more of those tried "
                "were usable."
            )
        return out


def status(dataset: str | Path | Planned, whole: bool = False) -> Status:
    """How far a planned dataset is.

    Args:
        dataset: a planned one, or its folder.
        whole: read every finished file to be sure that it was not changed or cut short since.

    Raises:
        InputError: there is no plan.
    """
    planned = dataset if isinstance(dataset, Planned) else Planned.load(dataset)
    plan = planned.plan
    now = Status(plan.shards, wanted=plan.people * plan.images)
    for number in range(plan.shards):
        noted = made(planned.folder, plan.shards, number, whole)
        if noted is None:
            now.missing.append(number)
            continue
        now.done += 1
        now.pictures += noted["pictures"]
        now.tries += noted["tries"]
        now.short |= noted["short"]
        for reason, count in noted["rejected"].items():
            now.rejected[reason] = now.rejected.get(reason, 0) + count
    for path in sorted((planned.folder / MAKING).glob("*.json")):
        beat = json_or_none(path)
        if beat is None or time.time() - beat["time"] > _ALIVE or (planned.folder / MADE / path.name).exists():
            continue
        now.working += 1
        now.pictures += beat["pictures"]
        now.ahead += beat["ahead"]
        now.rate = (now.rate or 0) + (beat["pictures"] + beat["ahead"]) / max(beat["seconds"], 1e-3)
    return now


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
