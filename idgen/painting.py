"""A folder of pictures of some people: each with its score in a manifest, resumable, never half-written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import cosine_similarity
from tqdm.auto import tqdm

from idgen import arguments, files, provenance, weights
from idgen.contact_sheet import Cell, contact_sheet
from idgen.errors import InputError
from idgen.identity import Identities, Identity
from idgen.model import Model, load_model
from idgen.pipelines.base import GeneratedImage, IdentityPipeline
from idgen.sampling.variation import ANY_CURVE, Variation, parse_variation, settled, vary
from idgen.sets import IDENTITIES, MANIFEST, read_manifest
from idgen.similarity import similarity_curve

SETTINGS, SHEET = "settings.json", "contact-sheet.png"


def generate(
    identities: Identities | Identity,
    out: str | Path,
    images: int = 8,
    seed: int = 0,
    model: str | Path | Model = "nobody-128",
    steps: int | None = None,
    guidance: float | None = None,
    variation: float | str = 0.0,
    *,
    batch_size: int = 8,
    device: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Make pictures of every identity, score them, and write them all into one folder.

    The folder holds `identities.safetensors`, `<identity>/<kk>.png`, `settings.json`, `contact-sheet.png` and
    `manifest.jsonl`: a line a picture with its `file`, `identity`, `k`, `seed`, `similarity` (cosine to the wanted
    identity by the encoder that made it), `judge_similarity` and `match` (the independent judge's cosine and verdict,
    at a false-match rate of 1 in 1,000) and `model`. What the model has no encoder or no judge for is
    null. Every file is written aside and renamed. A run that was interrupted goes on where it stopped when it is called
    again; asking for more pictures makes only the missing ones.

    Args:
        identities: who.
        out: the folder; made if it does not exist.
        images: pictures a person, 1 to 1,000; numbered from 0.
        seed: picture k of an identity depends on the identity, k and the seed, and on nothing else.
        model: name, folder or hub id of a model, or a loaded one.
        steps: denoising steps; by default the model's own.
        guidance: guidance scale; by default the model's own.
        variation: 0 (every picture of exactly this identity) to 1: each picture is of a vector at cosine 1 −
            variation; or in words, such as "cone:0.7", see `idgen.sampling.variation`.
        batch_size: pictures at a time; changes speed and memory, not the pictures.
        device: "cpu", "cuda", "mps"; by default the best there is.
        overwrite: replace pictures that other settings left in the folder, instead of refusing.
        progress: show a bar.

    Returns:
        The folder.

    Raises:
        InputError: an argument cannot be used, the identities are of another space than the model's, the folder cannot
            be written, or it holds pictures of other settings.
    """

    from idgen.identity import Identities, Identity

    out, seed = Path(out), arguments.seed(seed)
    arguments.images(images)
    check_options(steps, guidance, variation, batch_size)
    files.check_writable(out)
    if isinstance(identities, Identity):
        identities = Identities.of([identities])
    for name in identities.names:
        if name.casefold() in (IDENTITIES, MANIFEST, SETTINGS, SHEET):
            raise InputError(f"An identity cannot be called {name!r}, a file of the folder: give it another name.")
    if isinstance(model, str | Path):
        model = load_model(str(model), device)
    pipeline, score = model.pipeline, scoring(model)  # what cannot be loaded is refused before anything is made
    identities.require_space(pipeline.config.space, pipeline.identity_dim)

    words = settled(variation, lambda: similarity_curve(model))
    varied = parse_variation(words)
    settings = {
        "model": model.name,
        "weights": weights.fingerprint(model.folder),
        "people": identities.fingerprint(),
        "seed": seed,
        "steps": pipeline.config.num_inference_steps if steps is None else steps,
        "guidance": pipeline.config.guidance_scale if guidance is None else guidance,
        "variation": words,
        "fmr": arguments.FMR,
    }
    _settle(out, settings, identities, overwrite)
    done = {(line["identity"], line["k"]): line for line in read_manifest(out)}
    _write_manifest(out, identities, done)  # without a line that was cut off
    missing = [[k for k in range(images) if (name, k) not in done] for name in identities.names]
    bar = tqdm(
        total=len(identities) * images,
        initial=len(identities) * images - sum(map(len, missing)),
        desc=out.name,
        unit="image",
        disable=not progress,
    )
    with bar, (out / MANIFEST).open("a", encoding="utf-8") as manifest:
        for job in _jobs(missing):
            people = identities[job.start : job.stop]
            options = {"num_inference_steps": steps, "guidance_scale": guidance, "batch_size": batch_size}
            made = paint(pipeline, people, job.count, seed, job.first, varied, options)
            with closing(made):
                for batch in _batched(made, batch_size):
                    wanted = people.vectors[[item.identity for item in batch]]
                    scores = score([item.image for item in batch], wanted)
                    for item, meaning in zip(batch, scores, strict=True):
                        name = people.names[item.identity]
                        line = {
                            "file": f"{name}/{item.k:02d}.png",
                            "identity": name,
                            "k": item.k,
                            "seed": seed,
                            **meaning,
                            "model": model.name,
                        }
                        info = provenance.made_by(model.name, people[item.identity], seed, item.k)
                        provenance.save_image(item.image, out / str(line["file"]), info)
                        manifest.write(json.dumps(line, ensure_ascii=False) + "\n")
                        manifest.flush()
                        done[name, item.k] = line
                        bar.update()
    _write_manifest(out, identities, done)
    if any(missing) or not (out / SHEET).exists():
        _write_sheet(out, identities, done, model.name, seed)
    return out


def paint(
    pipeline: IdentityPipeline,
    people: Identities,
    images: int,
    seed: int,
    first: int,
    variation: Variation | None,
    options: dict[str, Any],
) -> Generator[GeneratedImage, None, None]:
    """Pictures `first` to `first + images − 1` of everybody, person by person, whatever the kind of variation.

    Args:
        pipeline, people, seed: as the pipeline takes them.
        variation: see `idgen.sampling.variation.parse_variation`; None for none.
        options: what else `pipeline.iterate` takes.
    """
    if variation is None:
        yield from pipeline.iterate(people, images, seed=seed, first=first, **options)
        return
    # A vector for every picture, each pictured once, with its own number: equal vectors give different pictures, too.
    varied = vary(people, variation, images, seed, first)
    numbers = [first + i % images for i in range(len(varied))]
    for i, item in enumerate(pipeline.iterate(varied, 1, seed=seed, first=numbers, **options)):
        yield replace(item, identity=i // images)


def scoring(model: Model) -> Callable[[list[Any], Tensor], list[dict[str, Any]]]:
    """What scores pictures against vectors (N, D), as far as the model can: what it has nothing for is None.

    A line a picture: `similarity` by the encoder, `judge_similarity` and `match` by the judge, see `generate`.
    """
    encoder = model.encoder if model.has("encoder") else None
    scorer = model.scorer if encoder is not None and model.has("judge") else None
    aligned = model.pipeline.aligned

    def number(value: float) -> float | None:
        return round(value, 4) if math.isfinite(value) else None  # no face is found

    def score(pictures: list[Any], wanted: Tensor) -> list[dict[str, Any]]:
        if encoder is None:
            return [{"similarity": None, "judge_similarity": None, "match": None} for _ in pictures]
        if scorer is None:
            cosines = cosine_similarity(encoder.embed_by(pictures, [encoder], aligned)[0], wanted).tolist()
            return [{"similarity": number(value), "judge_similarity": None, "match": None} for value in cosines]
        return [
            {
                "similarity": number(found.similarity),
                "judge_similarity": number(found.judge_similarity),
                "match": found.match,
            }
            for found in scorer.score(pictures, wanted, aligned)
        ]

    return score


@dataclass
class _Job:
    """Pictures `first` to `first + count − 1` of the people from `start` to before `stop`."""

    start: int
    stop: int
    first: int
    count: int


def _jobs(missing: list[list[int]]) -> list[_Job]:
    """As few calls of the pipeline as make exactly the missing pictures, so that batches fill across people."""
    jobs: list[_Job] = []
    for person, numbers in enumerate(missing):
        spans: list[list[int]] = []
        for k in numbers:
            if spans and sum(spans[-1]) == k:
                spans[-1][1] += 1
            else:
                spans.append([k, 1])
        for first, count in spans:
            if jobs and jobs[-1].stop == person and (jobs[-1].first, jobs[-1].count) == (first, count):
                jobs[-1].stop += 1
            else:
                jobs.append(_Job(person, person + 1, first, count))
    return jobs


def _batched(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def check_options(steps: int | None, guidance: float | None, variation: float | str, batch_size: int) -> None:
    """Refuse what `generate` takes of the way to paint before anything is loaded."""
    if steps is not None:
        arguments.steps(steps)
    if guidance is not None:
        arguments.guidance(guidance)
    parse_variation(variation, lambda: ANY_CURVE)
    arguments.batch_size(batch_size)


def _settle(out: Path, settings: dict[str, Any], identities: Identities, overwrite: bool) -> None:
    """Make the folder ready for these settings, or refuse it."""
    try:
        before = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        before = None
    except ValueError:
        before = {}
    if before == settings:
        return
    if before is None and not any((out / name).exists() for name in (IDENTITIES, MANIFEST)):
        _start(out, settings, identities)
        return
    if not overwrite:
        before = before or {}
        named = [key for key in ("seed", "steps", "guidance", "variation") if before.get(key) != settings[key]]
        if not before:
            why = "files of the same names that another program wrote"
        elif before.get("model") != settings["model"]:
            why = f"pictures by the model {before.get('model')}, not {settings['model']}"
        elif before.get("people") != settings["people"]:
            why = "pictures of other people"
        elif named:
            why = " and ".join(f"pictures with {key} {before.get(key)}, not {settings[key]}" for key in named[:1])
        else:
            why = f"pictures by other weights of {settings['model']}"
        raise InputError(f"The folder {out} holds {why}: choose another folder, or replace them with --overwrite.")
    for line in read_manifest(out):
        file = out / line["file"]
        if file.resolve().is_relative_to(out.resolve()):  # the manifest may be anybody's
            file.unlink(missing_ok=True)
            if file.parent != out and not any(file.parent.iterdir()):
                file.parent.rmdir()
    for name in (SETTINGS, MANIFEST, SHEET):
        (out / name).unlink(missing_ok=True)
    _start(out, settings, identities)


def _start(out: Path, settings: dict[str, Any], identities: Identities) -> None:
    identities.save(out / IDENTITIES)
    files.write(out / SETTINGS, (json.dumps(settings, indent=1) + "\n").encode())


def _write_manifest(out: Path, identities: Identities, done: dict[tuple[str, int], dict[str, Any]]) -> None:
    order = {name: row for row, name in enumerate(identities.names)}
    lines = sorted(
        (line for (name, _), line in done.items() if name in order),
        key=lambda line: (order[line["identity"]], line["k"]),
    )
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    files.write(out / MANIFEST, text.encode())


def _write_sheet(
    out: Path, identities: Identities, done: dict[tuple[str, int], dict[str, Any]], model_name: str, seed: int
) -> None:
    rows: dict[str, list[Cell]] = {name: [] for name in identities.names}
    for name, k in sorted(done):
        if name in rows:
            line = done[name, k]
            rows[name].append(Cell(out / line["file"], line.get("judge_similarity"), line.get("match")))
    sheet = contact_sheet(
        list(rows.items()),
        f"AI-generated by {model_name}. Under each picture: the judge's verdict and its cosine to the wanted identity.",
    )
    provenance.save_image(sheet, out / SHEET, {"model": model_name, "seed": seed})
