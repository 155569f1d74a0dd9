"""Pictures of people into a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from idgen.cli.shell import (
    BATCH_SIZE,
    DEVICE,
    FMR,
    MODEL,
    SEED,
    argument,
    flag,
    integer,
    interrupted,
    option,
    read_wishes,
    say,
)
from idgen.ground.errors import InputError
from idgen.ground.words import count


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def generate(
    people: Path = argument("PEOPLE", "A file of identities, by `sample` or `identify`.", None),
    out: Path = option(..., "Folder to write."),
    sample: int = integer(None, "Instead of a file: draw so many people who do not exist."),
    images: int = integer(8, "Pictures a person, 1 to 1,000."),
    seed: int = SEED,
    steps: int = integer(None, "Denoising steps; by default the model's."),
    guidance: str = option(
        None,
        "How strongly to follow the identity; by default the model's; 0-3: more and more; 0,2@0.3: from 0.3 on; "
        "1.4/2.4: more for turned heads.",
        parser=_number,
        metavar="TEXT",
    ),
    variation: str = option(
        "0",
        "0: exactly this identity; up to 1: others around; or cone:0.7, gaussian:0.03, similarity:0.5, boundary:0.5.",
        parser=_number,
        metavar="TEXT",
    ),
    wishes: list[str] = option(
        [],
        "How they look: yaw=30, smile=[0.5,1], expression='open smile', pose=PHOTO; again for more.",
        "--with",
    ),
    as_in: Path = option(None, "A labelled set: draw poses, light and so on together as its pictures have them."),
    reference: list[Path] = option(
        [], "A photo whose looks and background to keep to (Arc2Face); again: one a person."
    ),
    fmr: float = FMR,
    batch_size: int = BATCH_SIZE,
    overwrite: bool = flag("--overwrite", "Replace what other settings left in the folder."),
    model: str = MODEL,
    device: str = DEVICE,
) -> None:
    """Make pictures of people, with a score for each; called again, it goes on where it stopped."""
    if (people is None) == (sample is None):
        raise InputError("Give either a file of identities or --sample with a number of people.")
    from idgen import painting
    from idgen.ground.identity import Identities
    from idgen.model import load_model
    from idgen.sets import MANIFEST, read_manifest

    attributes = read_wishes(wishes)
    painting.check_options(out, images, steps, guidance, variation, batch_size)
    identities = None if people is None else Identities.load(people)
    loaded = load_model(model, device)
    if identities is None:
        identities = loaded.sampler.sample(sample, seed)
    how: dict[str, Any] = {"attributes": attributes, "as_in": as_in, "fmr": fmr}
    how |= {"reference": reference or None, "batch_size": batch_size, "overwrite": overwrite}
    try:
        painting.generate(identities, out, images, seed, loaded, steps, guidance, variation, **how)
    except KeyboardInterrupt:
        wanted = len(identities) * images
        raise interrupted(len(read_manifest(out)), wanted, f"pictures in {out}") from None
    lines = read_manifest(out)
    made = f"{count(len(lines), 'picture', 'pictures')} of {count(len(identities), 'person', 'people')}"
    say(f"{made}: {out}{os.sep} ({painting.SHEET} shows them, {MANIFEST} has their scores)")
    if loaded.has("judge"):
        from idgen.scoring import verdicts

        keys = ("match", "judge_similarity", "domain", "fmr", "compared", "against")
        say(verdicts([tuple(line.get(key) for key in keys) for line in lines], fmr))
        return
    say("This model has no judge, so nothing says whether they are the wanted people: idgen model add gives it one.")
    if loaded.has("encoder"):
        from idgen.ground import domain
        from idgen.scoring import calibrations_of, explained

        of = domain.against({loaded.paints, *(person.domain for person in identities)} - {""})
        said = explained(calibrations_of(loaded.encoder), of, "image-mean", fmr)
        say(f"The cosines by its own encoder, which made the vectors, are in the manifest: {said}.")
