"""A set of labelled faces, measured; and what a recogniser's scores mean."""

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
        "SET",
        "A folder by `generate`, Parquet, a folder a person, a file of vectors, pairs (.bin), or a folder of .bin.",
    ),
    out: Path = option(..., "Folder for report.html and evaluation.json."),
    training: Path = TRAINING,
    real: Path = option(None, "Real pictures to compare the whole set with; by default --training."),
    pairs: Path = option(None, "Compare only these: a line a pair, `picture picture 1` or 0."),
    photos: bool = flag("--photos", "The pictures are photos: find and align the faces first."),
    seed: int = SEED,
    fmr: float = FMR,
    domain: str = DOMAIN,
    by: list[str] = option(
        [], "Measure this recogniser instead of a model's; several stand side by side.", metavar="RECOGNISER"
    ),
    fruits: bool = flag("--fruits", "Also time detection, alignment, embedding on one thread; beside half and 8 bits."),
    model: str = MODEL,
    device: str = DEVICE,
) -> None:
    """Measure a set of labelled faces: are people told apart, varied, as wanted, and leaked from nobody?"""
    with needing("eval"):
        from idgen.evaluation import evaluate as room

        sets: dict[str, Any] = {"training": training, "real": real, "pairs": pairs}
        how: dict[str, Any] = {
            "aligned": not photos,
            "device": device,
            "seed": seed,
            "fmr": fmr,
            "domain": domain,
            "by": by,
            "fruits": fruits,
        }
        if any(source.glob("*.bin")):
            say(*(f"- {line}" for line in room.evaluate_bins(source, out, model=model, **sets, **how)))
            say(f"Together: {out / 'average.json'}")
            return
        result = room.evaluate(source, out, model=model, **sets, **how)
    say_summary(result.summary)
    for cost in result.costs:
        size = "" if cost.weights is None else f", network {cost.weights / 1e6:.2f} MB"
        say(f"- {cost.by}: {cost.total:.1f} ms a picture, {cost.embedding:.1f} of them the vector of {cost.dim}{size}")
    say(*(f"  {note}" for note in result.notes))
    say(f"Report: {out / room.REPORT}")


def calibrate(
    recogniser: str = argument("RECOGNISER", "dlib, an insightface pack, an ONNX file, a folder or a Hub repository."),
    source: Path = argument("SET", "A folder a person, Parquet, or pairs (.bin): of people that it never saw."),
    domain: str = DOMAIN,
    pairs: Path = option(None, "Compare only these: a line a pair, `picture picture 1` or 0."),
    out: Path = option(None, "File to write; by default the recogniser's folder, or for what has none yours."),
    into: Path = option(None, "Model whose encoder or judge it is."),
    data: str = option(None, "Where the pictures come from, in words."),
    aligned: bool = flag("--aligned", "The pictures are aligned face crops already."),
) -> None:
    """Measure what a recogniser's scores mean on pictures of a kind, for verdicts on such pictures."""
    with needing("eval"):
        from idgen.evaluation import calibrate as room

        say(
            *room.calibrate(
                recogniser, source, domain=domain, pairs=pairs, out=out, into=into, data=data, aligned=aligned
            ).lines()
        )
