"""A converted model becomes a whole one: a judge with its bridge, calibrations, and a sampler, from a labelled set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from idgen.evaluation.reading import Reader
from idgen.faces.encoder import FaceEncoder
from idgen.faces.resolve import recogniser
from idgen.ground import domain as domains
from idgen.ground import files, hub
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, centres, seen_in
from idgen.ground.words import count, percent
from idgen.model import Judge, Model, load_model
from idgen.sampling.sampler import IdentitySampler
from idgen.scoring.bridge import Bridge
from idgen.scoring.calibration import (
    CALIBRATION_NAME,
    Calibration,
    ErrorRates,
    calibrations_of,
    to_dict,
    with_domain,
)
from idgen.similarity import batched

FEWEST = 20
"""People that the bridge and the calibrations need together."""
WORST_BRIDGE = 0.05
"""Equal error rate up to which the pictures of a model are judged by way of the bridge."""


def add(
    model: str | Path,
    judge: str,
    people: str | Path,
    *,
    encoder: str | None = None,
    data: str | None = None,
    domain: str | None = None,
    images: int = 2,
    steps: int | None = None,
    aligned: bool = False,
    device: str | None = None,
    progress: bool = True,
) -> list[str]:
    """Give a model's folder a judge, calibrations and, where it has none, a sampler. Written when all is measured.

    Half of the people fit the bridge from the encoder's space to the judge's; on the other half is measured what the
    scores mean: of the set's own pictures, and of pictures that the model paints of these people, against them. What
    the model paints is judged only where the bridge has an equal error rate of at most 5 % there.

    Args:
        model: the folder.
        judge: a recogniser of another space than the model's, see `idgen.faces.resolve`.
        people: labelled pictures of people that neither recogniser has seen, of at least 20.
        encoder: the recogniser that the model was trained on, where its folder has none.
        data: where the pictures come from, in words.
        domain: what kind of pictures they are; by default what their files say, and photographs.
        images: pictures that the model paints of each of the people.
        steps: denoising steps; by default the model's.
        aligned: the pictures are face crops already; else faces are found first.
        device: for the networks.
        progress: show bars.

    Returns:
        What was measured and written, a line each.

    Raises:
        InputError: there is no such model or recogniser, they do not fit, or there are too few people.
    """
    folder = Path(model)
    loaded, own, other = _parts(folder, judge, encoder, device)
    space = own.space
    reader = Reader(None, aligned, progress, [encoder or str(folder / "encoder"), judge])
    set_ = reader.read(people)
    by_own, by_judge = (part.vectors for part in set_.by)
    labels, of = set_.source.labels, set_.source.domain if domain is None else domains.check(domain)
    names = np.unique(labels)
    if len(names) < FEWEST:
        raise InputError(f"{people} has {count(len(names), 'person', 'people')}: give at least {FEWEST}.")
    fit = np.isin(labels, names[::2])
    bridge = Bridge.fit(centres(by_own[fit], labels[fit]), centres(by_judge[fit], labels[fit]), space, other.space)
    said = data or set_.source.name
    rest = (by_own[~fit], by_judge[~fit], labels[~fit])
    calibration = Calibration.measure(space, rest[0], rest[2], said, of)
    judged = Calibration.measure(other.space, rest[1], rest[2], said, of).measure_bridge(bridge, *rest)
    known, lines = with_domain(calibrations_of(other), judged), [_line("the judge", judged, "image-image")]
    lines.append(_line("the bridge", judged, "image-bridge"))
    if not of == loaded.paints == domains.RENDERED:
        rates = _painted(loaded, own, other, bridge, rest, of, images, steps, progress)
        lines.append(f"pictures by {loaded.name}, by way of the bridge: equal error rate {percent(rates.eer)}")
        if not any(rates.thresholds.values()):
            few = f"{rates.impostor_pairs:,} comparisons of strangers are too few for a false-match rate of 1 in 100"
            lines.append(f"{few}: give more people, or more --images")
        good = rates.eer <= WORST_BRIDGE
        made, shown = domains.generated_by(loaded.name), (len(names[1::2]), images * len(names[1::2]))
        for kind in (made, domains.against([made, of])):
            kinds = {"image-bridge": rates} if good else {}
            known = with_domain(known, Calibration(other.space, *shown, said, kinds, kind))
        if not good:
            lines.append(f"That is over {percent(WORST_BRIDGE)}, so what {loaded.name} paints gets no verdict")
    _write(folder, own if encoder is not None else None, other, bridge, calibration, known, loaded)
    if not loaded.has("sampler"):
        _sampler(by_own, labels, space, of).save_pretrained(folder / "sampler")
        nobody = "" if of == domains.RENDERED else ", without any of them"
        lines.append(f"a sampler, a Gaussian on where these people's vectors lie{nobody}")
    return [*lines, f"Written to {folder}"]


def _parts(folder: Path, judge: str, encoder: str | None, device: str | None) -> tuple[Model, FaceEncoder, FaceEncoder]:
    """The model, its encoder, and its judge to be, which fit."""
    if not (folder / "model_index.json").is_file() or folder.resolve().is_relative_to(hub.BUILTIN):
        raise InputError(f"{folder} is no model's folder that can be changed: convert one first, or copy it.")
    loaded = load_model(folder, device)
    own = loaded.encoder if encoder is None else recogniser(encoder)
    space, dim = loaded.pipeline.config.space, loaded.pipeline.identity_dim
    if (own.space, own.dim) != (space, dim):
        raise InputError(
            f"The model takes vectors of {space!r} ({dim} numbers), but the encoder's are of {own.space!r} ({own.dim})."
        )
    other = recogniser(judge)
    if other.space == space:
        raise InputError(f"The judge and the encoder are both {space!r}: an encoder may not judge itself.")
    return loaded, own, other


def _line(what: str, known: Calibration, kind: str) -> str:
    rates = known.rates(kind)
    on = f"{domains.pictures(known.domain)} of {count(known.people, 'person', 'people')}"
    return f"{what} on {on}: equal error rate {percent(rates.eer)}, {rates.impostor_pairs:,} comparisons of strangers"


def _painted(
    model: Model,
    own: FaceEncoder,
    judge: FaceEncoder,
    bridge: Bridge,
    rest: tuple[Tensor, Tensor, NDArray[Any]],
    of: str,
    images: int,
    steps: int | None,
    progress: bool,
) -> ErrorRates:
    """`image-bridge`: pictures that the model paints of people, against what the bridge expects of everybody."""
    vectors, names = centres(rest[0], rest[2]), np.unique(rest[2])
    people = Identities(vectors, own.space, [seen_in([of], 2)] * len(names), [f"p{row}" for row in range(len(names))])
    made = model.pipeline.iterate(people, images, num_inference_steps=steps)
    seen, who = [], []
    bar = tqdm(total=images * len(people), desc="painting them", unit="image", disable=not progress)
    for batch in batched(made, 8):
        seen.append(own.embed_by([item.image for item in batch], [judge], model.pipeline.aligned)[0])
        who += [item.identity for item in batch]
        bar.update(len(batch))
    bar.close()
    shown, row = torch.cat(seen), np.array(who)
    found = shown[:, 0].isfinite().numpy()
    if found.sum() < 2:
        raise InputError(f"No face is found in what {model.name} paints of these people, so nothing can be measured.")
    cosines = (shown[found] @ bridge(vectors).T).numpy()
    same = row[found][:, None] == np.arange(len(names))
    rates = ErrorRates.measure(cosines[same], cosines[~same])
    painted, compared = np.nonzero(~same)
    over = np.stack([row[found][painted], compared], 1)
    return rates.with_intervals(cosines[same], cosines[~same], row[found][:, None], over)


def _sampler(vectors: Tensor, labels: NDArray[Any], space: str, of: str) -> IdentitySampler:
    """A Gaussian where these people live; of people who exist it keeps nobody's vector."""
    people = centres(vectors, labels)
    sampler = IdentitySampler.fit(people, space, max(2, min(48, len(people) // 4)))
    if of != domains.RENDERED:
        sampler.people = torch.zeros(0, people.shape[1], dtype=sampler.people.dtype)
    return sampler


def _write(
    folder: Path,
    encoder: FaceEncoder | None,
    judge: FaceEncoder,
    bridge: Bridge,
    own: Calibration,
    known: list[Calibration],
    model: Model,
) -> None:
    before = calibrations_of(model.encoder if encoder is None else encoder)
    if encoder is not None:
        with files.aside(folder / "encoder") as beside:
            encoder.save_pretrained(beside)
    files.write_json(folder / "encoder" / CALIBRATION_NAME, to_dict(with_domain(before, own)))
    judge.calibration = to_dict(known)
    with files.aside(folder / "judge") as beside:
        Judge(judge, bridge).save_pretrained(beside)
