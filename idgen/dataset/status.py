"""How far a dataset is, read from its folder alone: from any shell, while others work in it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from idgen.dataset.folder import MADE, MAKING, json_or_none, made
from idgen.dataset.plan import Planned

_ALIVE = 60.0  # seconds after which a shard in the making counts as left


@dataclass(frozen=True)
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
        rate: pictures kept a second, over all who work; None while nobody does.
    """

    shards: int
    done: int
    missing: list[int]
    wanted: int
    pictures: int
    tries: int
    rejected: dict[str, int] = field(default_factory=dict)
    short: dict[str, int] = field(default_factory=dict)
    working: int = 0
    rate: float | None = None

    @property
    def rejected_pictures(self) -> int:
        """How many were rejected."""
        return sum(self.rejected.values())

    @property
    def seconds_left(self) -> float | None:
        """At the present rate."""
        return (self.wanted - self.pictures) / self.rate if self.rate else None

    def lines(self) -> list[str]:
        """In words."""
        out = [
            f"{self.pictures:,} of {self.wanted:,} pictures; {self.done:,} of {self.shards:,} shards are finished"
            + (f", {self.working} in the making." if self.working else ".")
        ]
        if self.rate and self.seconds_left is not None and self.missing:
            out.append(f"{self.rate:.2f} pictures a second; about {_duration(self.seconds_left)} left.")
        if self.rejected:
            parts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.rejected.items()))
            share = self.rejected_pictures / max(1, self.tries)
            out.append(f"Rejected: {self.rejected_pictures:,} of {self.tries:,} ({share:.1%}): {parts}.")
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
    missing, pictures, tries, working, rate = [], 0, 0, 0, 0.0
    rejected: Counter[str] = Counter()
    short: dict[str, int] = {}
    for number in range(plan.shards):
        noted = made(planned.folder, plan.shards, number, whole)
        if noted is None:
            missing.append(number)
            continue
        pictures, tries = pictures + noted["pictures"], tries + noted["tries"]
        rejected.update(noted["rejected"])
        short.update(noted["short"])
    for path in sorted((planned.folder / MAKING).glob("*.json")):
        beat = json_or_none(path)
        if beat is None or time.time() - beat["time"] > _ALIVE:
            continue
        if not (planned.folder / MADE / path.name).exists():
            working += 1
            pictures += beat["pictures"]
            rate += beat["pictures"] / max(beat["seconds"], 1e-3)
    done, wanted = plan.shards - len(missing), plan.people * plan.images
    reasons = dict(rejected)
    return Status(plan.shards, done, missing, wanted, pictures, tries, reasons, short, working, rate or None)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
