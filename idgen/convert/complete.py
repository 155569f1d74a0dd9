"""A converted model becomes a whole one: a judge with its bridge, calibrations, and a sampler, from a labelled set."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from idgen.convert.idiff_face import UIFACE
from idgen.evaluation.completing import NEAREST, Parts, Seen, fit_parts
from idgen.evaluation.reading import Reader
from idgen.faces.encoder import FaceEncoder
from idgen.faces.resolve import recogniser
from idgen.ground import arguments, files, hub
from idgen.ground import domain as domains
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, centres, seen_in
from idgen.ground.words import count, percent
from idgen.model import Judge, Model, load_model
from idgen.scoring.bridge import Bridge
from idgen.scoring.calibration import (
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
MOST_COMPARED = 1_000
"""Pictures that intervals are taken over, on either side."""
LOOKED_AT = 24
"""Pictures without a face among them after which a model is asked for no more."""


def add(
    model: str | Path,
    judge: str,
    people: str | Path,
    *,
    encoder: str | None = None,
    data: str | None = None,
    domain: str | None = None,
    images: int = 5,
    steps: int | None = None,
    aligned: bool = False,
    device: str | None = None,
    progress: bool = True,
) -> list[str]:
    """Give a model's folder a judge, calibrations and, where it has none, a sampler. Written when all is measured.

    What the scores mean is measured on the set's own pictures, on pictures that the model paints of these people
    against them, and on those alone. Half of the people fit the bridge from the encoder's space to the judge's, which
    is measured on the other half, and used where its equal error rate is at most 5 % there.

    Args:
        model: the folder.
        judge: a recogniser of another space than the model's, see `idgen.faces.resolve`.
        people: labelled pictures of people that neither recogniser has seen, of at least 20.
        encoder: the recogniser that the model was trained on, where its folder has none.
        data: where the pictures come from, in words.
        domain: what kind of pictures they are; by default what their files say, and photographs.
        images: pictures that the model paints of each of the people, at least 2.
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
    reader = Reader(None, aligned, progress, [encoder or str(folder / "encoder"), judge], "leave --aligned out")
    set_ = reader.read(people)
    by_own, by_judge = (part.vectors for part in set_.by)
    labels, of = set_.source.labels, set_.source.domain if domain is None else domains.check(domain)
    names = np.unique(labels)
    if len(names) < FEWEST:
        raise InputError(f"{people} has {count(len(names), 'person', 'people')}: give at least {FEWEST}.")
    arguments.whole("number of pictures of each of the people", images, 2)
    seen, half = Seen(by_own, by_judge, labels), np.isin(labels, names[::2])
    said, crowd = data or set_.source.name, None if loaded.has("sampler") else seen
    parts = fit_parts((space, other.space), seen.of(half), seen, said, of, unseen=seen.of(~half), crowd=crowd)
    lines = [_line("the judge", parts.judged, "image-image"), _line("the bridge", parts.judged, "image-bridge")]
    known = with_domain(calibrations_of(other), parts.judged)
    if not of == loaded.paints == domains.RENDERED:
        painted = _paint(loaded, own, other, seen, of, images, steps, progress)
        for new in _painted(loaded.name, other.space, painted, seen, parts.bridge, names[1::2], said, of):
            known = with_domain(known, new)
        lines += _said_of(loaded.name, known, of)
    _write(folder, own if encoder is not None else None, other, parts, known)
    if parts.sampler is not None:
        how = "a flow" if parts.sampler.flow is not None else "a Gaussian"
        nobody = "" if len(parts.sampler.people) else f", without any of them; {NEAREST} says how near it comes to them"
        lines.append(f"a sampler, {how} on where these people's vectors lie{nobody}")
    return [*lines, f"Written to {folder}"]


def _parts(folder: Path, judge: str, encoder: str | None, device: str | None) -> tuple[Model, FaceEncoder, FaceEncoder]:
    """The model, its encoder, and its judge to be, which fit."""
    if not (folder / "model_index.json").is_file() or folder.resolve().is_relative_to(hub.BUILTIN):
        raise InputError(f"{folder} is no model's folder that can be changed: convert one first, or copy it.")
    loaded = load_model(folder, device)
    if encoder is None and not loaded.has("encoder"):
        raise InputError(
            f"{folder} has no encoder: name the recogniser whose vectors it takes with --encoder, or convert it with "
            "that (ElasticFace for IDiff-Face, --pack for Arc2Face)."
        )
    own = loaded.encoder if encoder is None else recogniser(encoder)
    space, dim, called = loaded.pipeline.config.space, loaded.pipeline.identity_dim, own.space
    if own.space != space == UIFACE.space and own.dim == dim:  # whose recogniser nobody named: it is the one given
        own = copy.copy(own)
        own.space, own.calibration = space, None
    if (own.space, own.dim) != (space, dim):
        raise InputError(
            f"The model takes vectors of {space!r} ({dim} numbers), but the encoder's are of {own.space!r} ({own.dim})."
        )
    other = recogniser(judge)
    if other.space in (space, called):
        raise InputError(f"The judge and the encoder are both {called!r}: an encoder may not judge itself.")
    return loaded, own, other


def _line(what: str, known: Calibration, kind: str) -> str:
    rates = known.rates(kind)
    on = f"{domains.pictures(known.domain)} of {count(known.people, 'person', 'people')}"
    return f"{what} on {on}: equal error rate {percent(rates.eer)}, {rates.impostor_pairs:,} comparisons of strangers"


def _paint(
    model: Model, own: FaceEncoder, judge: FaceEncoder, seen: Seen, of: str, images: int, steps: int | None, bars: bool
) -> tuple[Tensor, NDArray[Any]]:
    """The judge's vectors of pictures that the model paints of everybody, and whose each is."""
    vectors, names = centres(seen.by_encoder, seen.labels), np.unique(seen.labels)
    people = Identities(vectors, own.space, [seen_in([of], 2)] * len(names), [f"p{row}" for row in range(len(names))])
    made = model.pipeline.iterate(people, images, num_inference_steps=steps)
    parts, who = [], []
    bar = tqdm(total=images * len(people), desc="painting them", unit="image", disable=not bars)
    for batch in batched(made, 8):
        parts.append(own.embed_by([item.image for item in batch], [judge], model.pipeline.aligned)[0])
        who += [item.identity for item in batch]
        bar.update(len(batch))
        found = torch.cat(parts)[:, 0].isfinite().numpy()
        if len(who) >= LOOKED_AT and not found.any():
            break  # which would go on for hours
    bar.close()
    shown = np.bincount(np.array(who)[found], minlength=len(names))  # pictures of each with a face in them
    if (shown > 1).sum() < 2 or not shown[1::2].any():
        raise InputError(
            f"A face is found in {found.sum()} of {len(who)} pictures that {model.name} painted of these people, so "
            "what the judge's scores mean of its pictures cannot be measured, and nothing was written. Look at some, "
            "by idgen generate: where they show no faces, more --steps may help; where they do, the model's face "
            "finder misses them. It paints without a judge, too, and idgen dataset plan takes it with "
            "--method sphere --match none --no-other --no-face."
        )
    return torch.cat(parts)[found], names[np.array(who)[found]]


def _painted(
    name: str,
    space: str,
    painted: tuple[Tensor, NDArray[Any]],
    seen: Seen,
    bridge: Bridge,
    unseen: NDArray[Any],
    data: str,
    of: str,
) -> list[Calibration]:
    """What the judge's cosines mean of pictures that a model paints of people: of these alone, and against the pictures
    that the people are from. With `image-bridge`, measured on people that the bridge has not seen, where it is good."""
    vectors, labels = painted
    names = np.unique(seen.labels)
    held = np.isin(labels, unseen)
    expected = bridge(centres(seen.by_encoder, seen.labels))[np.isin(names, unseen)]
    rates = _against(vectors[held], labels[held], expected, unseen)
    bridged = {"image-bridge": rates} if rates.eer <= WORST_BRIDGE else {}
    made = domains.generated_by(name)
    alone = Calibration.measure(space, vectors, labels, data, made)
    across = {
        "image-image": _against(vectors, labels, seen.by_judge, seen.labels),
        "image-mean": _against(vectors, labels, centres(seen.by_judge, seen.labels), names),
    }
    both = Calibration(space, len(names), len(vectors), data, across | bridged, domains.against([made, of]))
    return [replace(alone, kinds=alone.kinds | bridged), both]


def _against(vectors: Tensor, labels: NDArray[Any], others: Tensor, theirs: NDArray[Any]) -> ErrorRates:
    """Error rates of pictures against other vectors; of large sets over some of the rows."""
    rng = np.random.default_rng(0)
    rows, columns = (np.sort(rng.permutation(len(some))[:MOST_COMPARED]) for some in (labels, theirs))
    cosines = (vectors[rows] @ others[columns].T).numpy()
    who = np.unique(np.concatenate([labels[rows], theirs[columns]]), return_inverse=True)[1]
    first, second = who[: len(rows)], who[len(rows) :]
    same = first[:, None] == second[None]
    one, two = (numbers[~same] for numbers in np.broadcast_arrays(first[:, None], second[None]))
    rates = ErrorRates.measure(cosines[same], cosines[~same])
    own = np.broadcast_to(first[:, None], same.shape)[same][:, None]
    return rates.with_intervals(cosines[same], cosines[~same], own, np.stack([one, two], 1))


def _said_of(name: str, known: list[Calibration], of: str) -> list[str]:
    """What was measured of a model's pictures, and what verdicts there will be."""
    made = domains.generated_by(name)
    alone, both = (next(one for one in known if one.domain == each) for each in (made, domains.against([made, of])))
    lines = [
        _line(f"people from {domains.pictures(of)}, painted", both, "image-image"),
        _line(f"pictures by {name}, against others of its own", alone, "image-mean"),
    ]
    if "image-bridge" in both.kinds:
        lines.append(_line(f"pictures by {name}, by way of the bridge", both, "image-bridge"))
    else:
        lines.append(
            f"by way of the bridge the equal error rate is over {percent(WORST_BRIDGE)}: sampled people are judged by "
            "whether their pictures agree with its own pictures"
        )
    sampled = alone.rates("image-bridge" if "image-bridge" in alone.kinds else "image-mean")
    for who, rates in (("from photos", both.rates("image-image")), ("who are sampled", sampled)):
        if not any(rates.thresholds.values()):
            lines.append(
                f"{rates.impostor_pairs:,} comparisons of strangers are too few for a false-match rate of 1 in 100, so "
                f"pictures of people {who} get no verdict: give more people, or more --images"
            )
    return lines


def _write(
    folder: Path, encoder: FaceEncoder | None, judge: FaceEncoder, parts: Parts, known: list[Calibration]
) -> None:
    if encoder is not None:
        with files.aside(folder / "encoder") as beside:
            encoder.save_pretrained(beside)
    judge.calibration = to_dict(known)
    with files.aside(folder / "judge") as beside:
        Judge(judge, parts.bridge).save_pretrained(beside)
    parts.save(folder)
