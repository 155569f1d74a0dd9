"""Who: people drawn, people read from photos, and whether two are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import normalize

from idgen.cli.shell import (
    DEVICE,
    DOMAIN,
    FMR,
    JSON,
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

if TYPE_CHECKING:
    from idgen.ground.identity import Identity

Method = Literal["flow", "gaussian", "sphere", "packed", "file", "interpolate", "mean", "mixup"]


def sample(
    out: Path = option(..., "File to write, such as people.safetensors."),
    n: int = integer(1, "How many people.", "-n"),
    seed: int = SEED,
    method: Method = option(
        None,
        "By the flow trained on people's vectors, from a Gaussian fitted on them, or anywhere on the sphere "
        "(by default the flow, where the model has one); packed apart where they live; or made of a --from file: some "
        "of it, people between its first two, their mean, or mixed pairs.",
    ),
    origin: Path = option(None, "File of people or vectors, for file, interpolate, mean and mixup.", "--from"),
    who: list[str] = option(
        [], "What kind: gender=female, age=old, skin_tone='{dark: 0.3}', ancestry=uniform; again for more."
    ),
    apart: int = integer(0, "Keep only people told apart by the judge on so many pictures each."),
    fmr: float = FMR,
    model: str = MODEL,
    device: str = DEVICE,
) -> None:
    """Draw people who do not exist."""
    from idgen.ground.files import check_writable_file

    check_writable_file(out)
    from idgen.sampling.who import Who

    kind = Who(read_wishes(who)) if who else None
    from idgen.model import load_model, sampler_of
    from idgen.sampling.draw import draw, write_soft_labels

    loaded = load_model(model, device)
    sampler = sampler_of(loaded)
    people, labels = draw(sampler, n, seed, method, origin, kind, loaded.traits)
    if apart:
        from idgen.choosing import picture_means, told_apart
        from idgen.scoring.verdict import judge_threshold

        threshold = judge_threshold(loaded.judge, "mean-mean", fmr, loaded.paints)
        rows = told_apart(picture_means(people, loaded, apart, seed), threshold).tolist()
        say(
            f"{len(rows):,} of {count(len(people), 'person', 'people')} are told apart by the judge on "
            f"{count(apart, 'picture', 'pictures')} each (means below {threshold:.2f})."
        )
        people, labels = people.take(rows), [labels[row] for row in rows] if labels else []
    people.save(out)
    if labels:
        say(f"What each is made of: {write_soft_labels(out, people, labels)}")
    exist = "" if any(person.from_photo for person in people) else f" who do{'es' * (len(people) == 1)} not exist"
    say(f"{count(len(people), 'person', 'people')}{exist}: {out}")
    if len(sampler.people):
        nearest = float(sampler.nearest(people.vectors)[0].max())
        say(f"The nearest of the {len(sampler.people):,} people the sampler learned from is at cosine {nearest:.2f}.")


def identify(
    photos: list[Path] = argument("PHOTO...", "One or several photos of one person."),
    out: Path = option(..., "File to write, such as me.safetensors."),
    name: str = option(None, "What to call the person; by default after the first photo's file."),
    aligned: bool = flag("--aligned", "The photos are aligned face crops already."),
    face: int = integer(None, "Which face of each photo; 1, the largest, by default."),
    domain: str = DOMAIN,
    model: str = MODEL,
    device: str = DEVICE,
) -> None:
    """Read the largest face of photos into an identity; of several photos, their mean."""
    from idgen.ground.files import check_writable_file

    check_writable_file(out)
    from idgen.ground.identity import Identities
    from idgen.model import load_model

    loaded = load_model(model, device)
    person = loaded.identify(photos, aligned=aligned, name=name, domain=domain, face=face)
    Identities.of([person]).save(out)
    say(f"{person.name} ({person.source}): {out}", *filter(None, [loaded.encoder.notice]))
    say("The file is biometric data: it can be used to recognise this person. Treat it like the photos.")


def compare(
    a: str = argument("A", "A photo, or a file of identities; of several: people.safetensors#NAME."),
    b: str = argument("B", "The other one."),
    fmr: float = FMR,
    domain: str = DOMAIN,
    as_json: bool = JSON,
    model: str = MODEL,
    device: str = DEVICE,
) -> None:
    """Say whether two photos or identities are the same person."""
    first, second = _photo_or_identity(a), _photo_or_identity(b)
    from dataclasses import asdict

    from idgen.model import load_model

    result = load_model(model, device).scorer_at(fmr).compare(first, second, of=domain)
    if as_json:
        say(json.dumps({**asdict(result), "verdict": result.verdict}))
        return
    said = [("Encoder:", result.cosine, result.threshold), ("Judge:  ", result.judge_cosine, result.judge_threshold)]
    for who, cosine, least in said:
        if cosine is not None:
            say(f"{who} cosine {cosine:.3f}{'' if least is None else f', threshold {least:.3f}'}.")
    say(result.sentence())


def _photo_or_identity(text: str) -> Path | Identity:
    path, _, name = text.partition("#") if not Path(text).exists() else (text, "", "")
    if Path(path).suffix.lower() != ".safetensors":
        return Path(text)
    from idgen.ground.identity import Identities

    people = Identities.load(path)
    if not name and len(people) == 1:
        return people[0]
    coded = [normalize("NFC", text) for text in (*people.names, name)]  # terminals and files code accents differently
    if name and coded.index(coded[-1]) < len(people):
        return people[coded.index(coded[-1])]
    some = ", ".join(people.names[:3]) + (", ..." if len(people) > 3 else "")
    what = f"nobody called {name!r}" if name else f"{len(people)} people"
    raise InputError(f"{path} holds {what}: name one as {path}#NAME ({some}).")


def align(
    source: Path = argument("SET", "A folder of any pictures, with or without a folder a person, or Parquet."),
    out: Path = argument("OUT", "Folder to write."),
    size: int = integer(None, "Side of the crops in pixels; by default 112, for ffhq 128."),
    alignment: str = option("arcface", "How faces are cut out: arcface or ffhq."),
    face: int = integer(None, "Which face of each picture; 1, the largest, by default."),
    parquet: bool = flag("--parquet", "Write Parquet instead of pictures."),
    domain: str = DOMAIN,
    model: str = MODEL,
    device: str = DEVICE,
) -> None:
    """Cut faces out of pictures for recognisers and for training; called again, it goes on where it stopped."""
    from idgen import aligning

    how: dict[str, Any] = {"size": size, "alignment": alignment, "face": face, "parquet": parquet, "domain": domain}
    try:
        done = aligning.align_set(source, out, model=model, device=device, **how)
    except KeyboardInterrupt:
        raise interrupted(*aligning.progress_of(source, out), f"pictures of {source}") from None
    say(*done.lines())
