"""A folder of pictures of some people: each with its score in a manifest, resumable, never half-written."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, cast

import torch
from PIL.Image import Image
from torch.nn.functional import cosine_similarity
from tqdm.auto import tqdm

from idgen.asking import asked, noted, portraits, posed
from idgen.ground import arguments, files, provenance
from idgen.ground.contact_sheet import Cell, contact_sheet
from idgen.ground.errors import InputError
from idgen.ground.guidance import parse_guidance
from idgen.ground.identity import Identities, Identity, folder_names
from idgen.ground.images import ImageSource
from idgen.model import Model, load_model
from idgen.pipelines.base import GeneratedImage, IdentityPipeline, counting
from idgen.sampling.variation import Variation, check_variation, parse_variation, settled, vary
from idgen.scoring.score import OWN_PICTURES, Score
from idgen.sets import IDENTITIES, MANIFEST, read_manifest
from idgen.similarity import batched, boundaries, keeping, similarity_curve, with_own_pictures

SETTINGS, SHEET = "settings.json", "contact-sheet.png"
MANY_STEPS = 200
"""From so many steps on, a model's own number is said to be slow."""

Place = tuple[int, int]
"""A picture of some people: the row of the person, and its number k."""
Line = dict[str, Any]
"""What a manifest says of a picture."""
Scoring = Callable[[list[Any], Sequence[Identity]], list[Line]]


def generate(
    identities: Identities | Identity,
    out: str | Path,
    images: int = 8,
    seed: int = 0,
    model: str | Path | Model = "nobody-128",
    steps: int | None = None,
    guidance: float | str | None = None,
    variation: float | str = 0.0,
    *,
    attributes: Mapping[str, Any] | None = None,
    as_in: str | Path | None = None,
    reference: ImageSource | Sequence[ImageSource] | None = None,
    fmr: float = arguments.FMR,
    batch_size: int = 8,
    device: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Make pictures of every identity, score them, and write them all into one folder, which is returned.

    The folder holds `identities.safetensors`, `<identity>/<kk>.png`, `settings.json`, `contact-sheet.png` and
    `manifest.jsonl`: a line a picture with its `file`, `identity`, `k`, `seed`, `similarity` (cosine to the wanted
    identity by the encoder that made it), `judge_similarity` and `match` (the independent judge's cosine and verdict),
    `domain` and `fmr` (what kind of pictures the verdict was measured on, and its false-match rate), `compared` (what
    kind of pictures these are, against what kind the person is of), `against` (what the judge compared them with, see
    `idgen.scoring.score.AGAINST`), `model`, and, where the model can be told, `attributes`: what was asked for or
    drawn. What the model has no encoder or judge for, or the judge was not measured on, is null.

    A name that a system takes for more is a number in a path. Files are written aside and renamed. A run that was
    interrupted goes on when it is called again; asking for more pictures makes only the missing ones.

    Args:
        identities: who.
        out: the folder; made if it does not exist.
        images: pictures a person, 1 to 1,000; numbered from 0.
        seed: picture k of an identity depends on the identity, k and the seed, and on nothing else.
        model: name, folder or hub id of a model, or a loaded one.
        steps: denoising steps; by default the model's own.
        guidance: guidance scale; by default the model's own; or words such as "0-3", see `idgen.ground.guidance`.
        variation: 0 (every picture of exactly this identity) to 1: each picture is of a vector at cosine 1 −
            variation; or in words, such as "cone:0.7", see `idgen.sampling.variation`.
        attributes: how they are to look, such as {"yaw": 30, "smile": [0.5, 1]}, see `idgen.ground.attributes.Asking`;
            {"pose": FILE} takes yaw and pitch of the face in a picture.
        as_in: a labelled set: what its pictures look like is drawn from it together; `attributes` go before.
        reference: a photo, or one a person, whose appearance and background the pictures keep to; for an Arc2Face with
            its reference adapter.
        fmr: false-match rate of the verdicts: 0.01, 0.001 or 0.0001.
        batch_size: pictures at a time; changes speed and memory only.
        device: "cpu", "cuda", "mps"; by default the best there is.
        overwrite: replace pictures that other settings left in the folder, instead of refusing.
        progress: show a bar.

    Raises:
        InputError: an argument or the identities cannot be used, or the folder holds pictures of other settings.
    """
    out, seed, images = Path(out), arguments.seed(seed), arguments.images(images)
    check_options(out, images, steps, guidance, variation, batch_size)
    people = Identities.of([identities]) if isinstance(identities, Identity) else identities
    if isinstance(model, str | Path):
        model = load_model(str(model), device)
    pipeline, score = model.pipeline, scoring(model, fmr)  # what cannot be loaded is refused before anything is made
    people.require_space(pipeline.config.space, pipeline.identity_dim)
    attributes = posed(model, attributes)
    asking = asked(pipeline.vocabulary, attributes, as_in)
    faces = None if reference is None else portraits(model, reference, len(people))
    words = settled(variation, lambda: similarity_curve(model, guidance))
    settings = _settings(model, people, steps, guidance) | {"seed": seed, "variation": words, "fmr": arguments.fmr(fmr)}
    settings |= noted(asking, attributes, as_in, faces)
    how = {name: given for name, given in (("attributes", asking), ("reference", faces)) if given is not None}
    options: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance, **how}
    options["batch_size"] = batch_size
    pipeline.iterate(people, 1, **options)  # what cannot be painted is refused before anything is written
    _settle(out, settings, people, overwrite)
    varied = parse_variation(words, boundary=boundaries(model, steps, guidance))
    made = _fill(out, people, images, seed, model, score, varied, options, progress)
    if made or not (out / SHEET).exists():
        picture = sheet(out, people.names, model.name)
        provenance.save_image(picture, out / SHEET, {"model": model.name, "seed": seed})
    return out


def check_options(
    out: Path, images: int, steps: int | None, guidance: float | str | None, variation: float | str, batch_size: int
) -> None:
    """Refuse what `generate` takes, before anything is loaded."""
    arguments.images(images)
    if steps is not None:
        arguments.steps(steps)
    if guidance is not None:
        parse_guidance(guidance)
    check_variation(variation)
    arguments.batch_size(batch_size)
    files.check_writable(out)


def _settings(model: Model, people: Identities, steps: int | None, guidance: float | str | None) -> dict[str, Any]:
    """What a folder notes of what it was made by and of whom."""
    own = model.pipeline.config
    return {
        "model": model.name,
        "weights": model.fingerprint,
        "people": people.fingerprint(),
        "steps": model.pipeline.usual_steps(guidance) if steps is None else steps,
        "guidance": own.guidance_scale if guidance is None else guidance,
    }


def paint(
    pipeline: IdentityPipeline,
    people: Identities,
    places: Iterable[Place],
    seed: int,
    variation: Variation | None,
    options: dict[str, Any],
) -> Generator[GeneratedImage, None, None]:
    """Exactly these pictures, in this order, whatever the kind of variation; batches fill across people.

    Args:
        pipeline, people, seed: as the pipeline takes them.
        places: (row of the person, number k) of each.
        variation: see `idgen.sampling.variation.parse_variation`; None for none.
        options: what else `pipeline.iterate` takes; a `batch_size` at least; `negative` has a row a person.
    """
    # A batch at a time: a variation may measure its person first, for many pictures' time, and one sees how it goes on.
    for some in batched(places, options["batch_size"]):
        rows, numbers = [row for row, _ in some], [k for _, k in some]
        vectors, options = people.vectors[rows], dict(options)
        if "reference" in options:  # one a person
            options["reference"] = [options["reference"][row] for row in rows]
        kept = keeping(pipeline, vectors)
        if variation is not None:
            vectors = torch.cat([vary(people.take([row]), variation, 1, seed, k).vectors for row, k in some])
        # Each vector is pictured once, with its own number: equal vectors give different pictures, too.
        negative = options.get("negative")
        away = {} if negative is None else {"negative": negative[rows]}
        made = pipeline.iterate(vectors, 1, seed=seed, first=numbers, **{**options, **kept, **away})
        for row, item in zip(rows, made, strict=True):
            yield replace(item, identity=row)


def scoring(model: Model, fmr: float = arguments.FMR) -> Scoring:
    """What scores pictures against people, one a picture, as far as the model can: what it has nothing for is None.

    A line a picture: `similarity` by the encoder, `judge_similarity` and `match` by the judge, `domain` and `fmr` of
    the verdict, the `compared` pictures' domain, and `against`, see `generate`.
    """
    encoder = model.encoder if model.has("encoder") else None
    scorer = model.scorer_at(fmr) if encoder is not None and model.has("judge") else None
    aligned = model.pipeline.aligned

    def score(pictures: list[Any], people: Sequence[Identity]) -> list[Line]:
        found = [Score(math.nan, math.nan, None, None, None, None, None, "")] * len(pictures)
        if scorer is not None:
            found = scorer.score(pictures, people, aligned)
        elif encoder is not None:
            (vectors,) = encoder.embed_by(pictures, [encoder], aligned)
            wanted = torch.stack([person.vector for person in people])
            cosines = cosine_similarity(vectors, wanted).tolist()
            found = [replace(one, similarity=cosine) for one, cosine in zip(found, cosines, strict=True)]
        return [
            {
                "similarity": rounded(one.similarity),
                "judge_similarity": rounded(one.judge_similarity),
                "match": one.match,
                "domain": one.domain,
                "fmr": one.fmr,
                "compared": one.of or None,
                "against": one.against if scorer is not None else None,
            }
            for one in found
        ]

    return score


def rounded(value: float) -> float | None:
    """A measured number as a manifest or a dataset has it; None for one that could not be measured."""
    return round(value, 4) if math.isfinite(value) else None


def sheet(folder: Path, names: Sequence[str], model: str) -> Image:
    """The contact sheet of some people of a folder by `generate`, which says by which model they are."""
    rows: dict[str, list[Cell]] = {name: [] for name in names}
    own = False
    for line in read_manifest(folder):
        if line["identity"] in rows:
            rows[line["identity"]].append(Cell(folder / line["file"], line.get("judge_similarity"), line.get("match")))
            own = own or line.get("against") == OWN_PICTURES
    what = "whether it agrees with its own pictures, says the judge," if own else "the judge's verdict"
    wanted = "them" if own else "the wanted identity"
    title = f"AI-generated by {model}. Under each picture: {what} and its cosine to {wanted}."
    return contact_sheet(list(rows.items()), title)


def _settle(out: Path, settings: dict[str, Any], people: Identities, overwrite: bool) -> None:
    """Make the folder ready for these settings, or refuse it."""
    before: dict[str, Any] = {}
    with suppress(InputError):
        before = files.read_json(out / SETTINGS)
    if before == settings:
        return
    if any((out / name).exists() for name in (SETTINGS, IDENTITIES, MANIFEST)):
        if not overwrite:
            held = f"The folder {out} holds {_difference(before, settings)}"
            raise InputError(f"{held}: choose another folder, or replace them with --overwrite.")
        _clear(out)
    people.save(out / IDENTITIES)
    files.write_json(out / SETTINGS, settings)


def _difference(before: dict[str, Any], settings: dict[str, Any]) -> str:
    """What a folder holds that these settings did not make."""
    if not before:
        return "files of the same names that another program wrote"
    if before.get("people") != settings["people"]:
        return "pictures of other people"
    for key in ("model", "seed", "steps", "guidance", "variation", "fmr", "attributes", "reference"):
        was, now = (held.get(key, "left open") for held in (before, settings))
        if was != now:
            return f"pictures with {key} {was}, not {now}"
    return f"pictures by other weights or settings of {settings['model']}"


def _clear(out: Path) -> None:
    """Delete what `generate` wrote, and nothing else."""
    for line in read_manifest(out):
        file = out / line["file"]
        if file.resolve().is_relative_to(out.resolve()):  # the manifest may be anybody's
            file.unlink(missing_ok=True)
            if file.parent != out and not any(file.parent.iterdir()):
                file.parent.rmdir()
    for name in (SETTINGS, MANIFEST, SHEET):
        (out / name).unlink(missing_ok=True)


def _fill(
    out: Path,
    people: Identities,
    images: int,
    seed: int,
    model: Model,
    score: Scoring,
    variation: Variation | None,
    options: dict[str, Any],
    progress: bool,
) -> int:
    """Make what is missing, and return how many pictures that were."""
    done, wanted = _in_order(out, people), len(people) * images
    missing = [place for place in product(range(len(people)), range(images)) if place not in done]
    if missing:
        people = _looked_at(out, people, model, options, progress)
    steps = options["num_inference_steps"] or _own_steps(model, options["guidance_scale"])
    there = (wanted - len(missing)) * steps
    bar = tqdm(total=wanted * steps, initial=there, desc=out.name, unit="step", disable=not progress)
    options = {**options, "callback_on_step_end": counting(bar.update, steps)}
    made, folders = paint(model.pipeline, people, missing, seed, variation, options), folder_names(people.names)

    def encoded(item: GeneratedImage) -> bytes:
        about = provenance.made_by(model.name, people[item.identity], seed, item.k)
        return provenance.marked(cast(Image, item.image), about)

    with bar, closing(made), (out / MANIFEST).open("a", encoding="utf-8") as manifest, ThreadPoolExecutor(4) as pool:
        number = 0
        for batch in batched(made, options["batch_size"]):
            scores = score([item.image for item in batch], [people[item.identity] for item in batch])
            for item, meaning, data in zip(batch, scores, pool.map(encoded, batch), strict=True):
                person, number = people[item.identity], number + 1
                file = f"{folders[item.identity]}/{item.k:02d}.png"
                files.write(out / file, data)
                about = {"file": file, "identity": person.name, "k": item.k, "seed": seed}
                told = {"attributes": item.attributes} if item.attributes else {}
                manifest.write(_json_line({**about, **meaning, "model": model.name, **told}))
                manifest.flush()
                bar.set_postfix_str(f"{wanted - len(missing) + number} of {wanted} images", refresh=False)
    _in_order(out, people)
    return len(missing)


def _looked_at(out: Path, people: Identities, model: Model, options: Mapping[str, Any], progress: bool) -> Identities:
    """People with what the judge sees in the model's own pictures of them, where that is needed: as the folder has it,
    or looked at now."""
    with suppress(InputError):
        saved = Identities.load(out / IDENTITIES)
        if saved.fingerprint() == people.fingerprint():
            people = saved
    own = {name: options[name] for name in ("num_inference_steps", "guidance_scale", "batch_size")}
    looked = with_own_pictures(model, people, options=own, progress=progress)
    if any(set(after) - set(before) for before, after in zip(people.also, looked.also, strict=True)):
        looked.save(out / IDENTITIES)
    return looked


def _own_steps(model: Model, guidance: Any) -> int:
    """The model's own number of steps, with a word where they are very many."""
    steps = model.pipeline.usual_steps(guidance)
    if steps >= MANY_STEPS:
        warnings.warn(
            f"A picture takes {steps:,} steps, as the model was released: one that was converted with --fast takes 20, "
            "about a 20th of the time.",
            stacklevel=4,
        )
    return steps


def _in_order(out: Path, people: Identities) -> Collection[Place]:
    """Put the manifest in order, without a line that was cut off; returns what there is."""
    order = {name: row for row, name in enumerate(people.names)}
    lines = {(order[one["identity"]], one["k"]): one for one in read_manifest(out) if one["identity"] in order}
    files.write(out / MANIFEST, "".join(_json_line(lines[place]) for place in sorted(lines)))
    return lines.keys()


def _json_line(line: Line) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"
