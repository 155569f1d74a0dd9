"""A set of labelled faces, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from idgen.cli.shell import (
    DEVICE,
    DOMAIN,
    FMR,
    MODEL,
    SEED,
    TRAINING,
    argument,
    flag,
    needing,
    option,
    say,
    say_summary,
)


def evaluate(
    source: Path = argument(
        "SET", "A folder by `generate`, Parquet, a folder a person, a file of vectors, or pairs (.bin)."
    ),
    out: Path = option(..., "Folder for report.html and evaluation.json."),
    training: Path = TRAINING,
    real: Path = option(None, "Real pictures to compare the whole set with; by default --training."),
    pairs: Path = option(None, "Compare only these: a line a pair, `picture picture 1` or 0."),
    photos: bool = flag("--photos", "The pictures are photos: find and align the faces first."),
    seed: int = SEED,
    fmr: float = FMR,
    domain: str = DOMAIN,
    model: str = MODEL,
    device: str = DEVICE,
) -> None:
    """Measure a set of labelled faces: are people told apart, varied, as wanted, and leaked from nobody?"""
    with needing("eval"):
        from idgen.evaluation import evaluate as room

        sets: dict[str, Any] = {"training": training, "real": real, "pairs": pairs}
        how: dict[str, Any] = {"aligned": not photos, "device": device, "seed": seed, "fmr": fmr, "domain": domain}
        result = room.evaluate(source, out, model=model, **sets, **how)
    say_summary(result.summary)
    say(f"Report: {out / room.REPORT}")
