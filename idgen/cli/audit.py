"""What a set of labelled faces must tell about itself."""

from __future__ import annotations

from pathlib import Path

from idgen.cli.shell import DEVICE, DOMAIN, FMR, NAMED, SEED, argument, flag, integer, needing, option, say, say_summary


def audit(
    source: Path = argument("SET", "A folder by `generate`, Parquet, a folder a person, or a file of vectors."),
    out: Path = option(..., "Folder for audit.html, audit.json and audit.csv; the same command goes on after a stop."),
    by: list[str] = option(
        [], "Look by this recogniser instead of a model's; several stand side by side.", metavar="RECOGNISER"
    ),
    against: Path = option(None, "Another set to compare with, such as real pictures, or a test set."),
    labels: Path = option(
        None, "CSV of what is known of the pictures: file or identity, gender.self, age.annotated, …"
    ),
    section: list[str] = option([], "Only this section; several may be given.", metavar="SECTION"),
    paint: int = integer(0, "People whom the model pictures for the sections that ask its generator."),
    photos: bool = flag("--photos", "The pictures are photos: find and align the faces first."),
    seed: int = SEED,
    fmr: float = FMR,
    domain: str = DOMAIN,
    model: str = option(None, "Whose judge, encoder, generator are asked; by default nobody-128's.", **NAMED),
    device: str = DEVICE,
) -> None:
    """Audit a set of labelled faces: groups, quality, attributes, capacity, copies, risk, and how sure that is."""
    with needing("eval"):
        from idgen.auditing import audit as room

        result = room.audit(
            source,
            out,
            by=by,
            against=against,
            labels=labels,
            model=model,
            sections=section,
            aligned=not photos,
            domain=domain,
            fmr=fmr,
            paint=paint,
            seed=seed,
            device=device,
        )
    say_summary(result.summary)
    say(*(f"  {note}" for note in result.notes))
    say(f"Page: {out / room.PAGE}")
