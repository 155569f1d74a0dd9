"""What if only one thing were different? One attribute changed by the generator's controls, the rest held fixed.

After Liang, Perona and Balakrishnan (ICCV 2023), without their human answers: the similarity of a person's picture at a
level of an attribute to that at the usual level, with a placebo in which only the noise changes. Real pictures with the
same label stand beside: where they differ, it is the generator's doing, not the recogniser's.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from idgen.auditing.labels import PREDICTED, Label
from idgen.auditing.looking import Looked, Seen
from idgen.auditing.section import Audited, Section
from idgen.evaluation import charts
from idgen.evaluation.page import legend
from idgen.faces.encoder import FaceEncoder
from idgen.ground import provenance
from idgen.ground.attributes import Vocabulary
from idgen.ground.words import percent

if TYPE_CHECKING:
    from idgen.model import Model

CURVES = (
    "yaw",
    "pitch",
    "light_azimuth",
    "light_elevation",
    "smile",
    "mouth_open",
    "glasses",
    "sunglasses",
    "hat",
    "beard",
)
"""Attributes that are changed, of those that the model can be told."""
LEVELS = 5
_REPEATS = 400
_MORE = 0.1
_NEAR = 0.15  # of the range: a real picture is at a level so near
_SHOWN = 6
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Similarity to the usual level over the levels of an attribute.

    Args:
        mean: (L,) over people.
        low, high: (L,) a band that holds all levels at once in 95 of 100 (max-t, people drawn again).
        below: (L,) share of the people below the threshold.
    """

    mean: Floats
    low: Floats
    high: Floats
    below: Floats


def curve(similarities: ArrayLike, threshold: float, seed: int = 0) -> Curve:
    """Of similarities (P, L) of P people at L levels; NaN where no face was seen."""
    values = np.asarray(similarities, float)
    mean = np.nanmean(values, 0)
    deviation = np.nanstd(values, 0, ddof=1) / np.sqrt(np.isfinite(values).sum(0))
    rng, largest = np.random.default_rng(seed), []
    for _ in range(_REPEATS):
        again = np.nanmean(values[rng.integers(0, len(values), len(values))], 0)
        largest.append(np.nanmax(np.abs(again - mean) / np.maximum(deviation, 1e-12)))
    wide = float(np.quantile(largest, 0.95)) * deviation
    return Curve(
        mean, mean - wide, mean + wide, np.nanmean(np.where(np.isfinite(values), values < threshold, np.nan), 0)
    )


def levels(name: str, vocabulary: Vocabulary) -> tuple[list[Any], int]:
    """Levels of an attribute, and the number of the usual one: 0, "no", or the least."""
    values = vocabulary.of(name)
    if vocabulary.named(name):
        found: list[Any] = list(values)[:LEVELS]
        return found, found.index("no") if "no" in found else 0
    low, high = map(float, values)  # type: ignore[arg-type]
    found = [round(float(level), 3) for level in np.linspace(low, high, LEVELS)]
    return found, int(np.abs(np.array(found)).argmin())


def real_curve(
    vectors: NDArray[np.float32], people: NDArray[Any], label: Label, at: Sequence[Any], usual: int
) -> Floats:
    """(L,) mean similarity of real pictures at each level to the same person's at the usual one; NaN where nobody has
    both. Here other things change, too.

    Args:
        vectors, people: (N, D) and (N,).
        label: what is said of each picture.
        at, usual: levels, and the number of the usual one.
    """
    values = label.values
    if values.dtype.kind == "f":
        reach = _NEAR * (float(max(at)) - float(min(at)))
        distance = np.abs(values[:, None] - np.array(at, float))
        there = distance <= reach
    else:
        there = values[:, None] == np.array([str(level) for level in at])
    found: list[list[float]] = [[] for _ in at]
    for who in np.unique(people):
        rows = np.flatnonzero(people == who)
        base = rows[there[rows, usual]]
        for level in range(len(at)):
            others = rows[there[rows, level]]
            scores = [float(vectors[a] @ vectors[b]) for a in base[:1] for b in others if a != b]
            if scores:
                found[level].append(float(np.mean(scores)))
    return np.array([np.mean(each) if each else np.nan for each in found])


def section(audited: Audited) -> Section:
    """The section."""
    out = Section(
        "counterfactual",
        "What if only one thing were different?",
        "The generator pictures the same people again, with the same noise and everything else as it "
        "was, at several levels "
        "of one attribute. Shown is the similarity to the usual level, with a band over people. Dashed: "
        "only the noise is "
        "another one (a placebo). Grey: real pictures of one person with those labels, in which other things change as "
        "well. The generator was conditioned by its encoder: believe other recognisers.",
    )
    model = audited.model
    if model is None or not audited.paint or not model.pipeline.vocabulary:
        why = (
            "has to make pictures. Say of how many people, --paint 50"
            if model is None or not audited.paint
            else "model cannot be told"
        )
        out.say("note", f"Not measured: it {why}.")
        return out
    names = [name for name in CURVES if name in model.pipeline.vocabulary.askable]
    viewers = {seen.by: (seen, seen.recogniser) for seen in audited.looked.by if seen.recogniser is not None}
    if not viewers or not names:
        out.say("note", "Not measured: there are no recognisers that look at pictures, or nothing that can be told.")
        return out
    people = model.sampler.sample(max(2, audited.paint), audited.seed)
    base = [_told(model, vector, audited.seed) for vector in people.vectors]
    placebo = _paint(model, people, base, audited, 1)
    for name in names:
        at, usual = levels(name, model.pipeline.vocabulary)
        told = [
            at_level(model, vector, audited.seed, one, name, level)
            for vector, one in zip(people.vectors, base, strict=True)
            for level in at
        ]
        pictures = _paint(model, people, told, audited, 0, len(at))
        _strip(audited, model, name, at, pictures, out)
        if model.has("attributes") and name in model.attributes.vocabulary:
            _reached(model, name, at, pictures, out)
        for by, (seen, recogniser) in viewers.items():
            _curve(audited, model, name, at, usual, pictures, placebo, seen, recogniser, by, out)
    return out


def _told(model: Model, vector: Tensor, seed: int, **asked: Any) -> dict[str, Any]:
    """What a person's (D,) picture is asked to look like, but for what the network is left free in."""
    told = model.pipeline.told(vector, seed, 0, asked)
    return {name: value for name, value in told.items() if value is not None}


def at_level(model: Model, vector: Tensor, seed: int, base: dict[str, Any], name: str, level: Any) -> dict[str, Any]:
    """What is told of a person's (D,) picture where one attribute of `base` is at a level. With a name, such as a hat's
    yes, goes what the prior draws beside it by the same seed: under a hat no hair style is told, or the network, which
    never saw both, would paint a hat in half of the pictures."""
    if not model.pipeline.vocabulary.named(name):
        return {**base, name: level}
    return base if base.get(name) == level else _told(model, vector, seed, **{name: level})


def _paint(model: Model, people: Any, told: list[dict[str, Any]], audited: Audited, k: int, each: int = 1) -> list[Any]:
    """A picture for each of what is told, person by person; k is the number of the noise."""
    vectors = people.vectors.repeat_interleave(each, 0)
    made = model.pipeline.iterate(vectors, 1, seed=audited.seed, first=[k] * len(vectors), attributes=told)
    return [item.image for item in tqdm(made, "painting", len(told), disable=not audited.progress)]


def _curve(
    audited: Audited,
    model: Model,
    name: str,
    at: list[Any],
    usual: int,
    pictures: list[Any],
    placebo: list[Any],
    seen: Seen,
    recogniser: FaceEncoder,
    by: str,
    out: Section,
) -> None:
    def embed(some: list[Any]) -> NDArray[np.float32]:
        found: Tensor = model.encoder.embed_by(some, [recogniser], model.pipeline.aligned)[0]
        return found.numpy()

    vectors = embed(pictures).reshape(len(placebo), len(at), -1)
    similarities = np.einsum("pld,pd->pl", vectors, vectors[:, usual])
    other = np.einsum("pd,pd->p", embed(placebo), vectors[:, usual])
    threshold = audited.threshold(seen).value
    found, chance = curve(similarities, threshold, audited.seed), curve(other[:, None], threshold, audited.seed)
    for level, *values in zip(at, found.mean, found.low, found.high, found.below, strict=True):
        group = f"{name} = {level}"
        out.add("similarity", *map(float, values[:3]), by=by, group=group, count=len(placebo))
        out.add("below the threshold", float(values[3]), by=by, group=group)
    out.add("similarity", float(chance.mean[0]), by=by, group="only the noise changes")
    x = np.array(at, float) if not isinstance(at[0], str) else np.arange(len(at), dtype=float)
    lines = [
        (f"{name} alone", "genuine", x, found.mean),
        ("only the noise", "second", x, np.full(len(at), chance.mean[0])),
    ]
    if (real := _real(audited, seen, name, at, usual)) is not None:
        lines.append(("real pictures", "third", x, real))
        for level, value in zip(at, real, strict=True):
            out.add(
                "similarity of real pictures",
                None if np.isnan(value) else float(value),
                by=by,
                group=f"{name} = {level}",
            )
    under = name if not isinstance(at[0], str) else f"{name}: {', '.join(map(str, at))}"
    drawn = charts.curves(lines, under, "similarity", [("genuine", x, found.low, found.high)])
    named = legend([(kind, text) for text, kind, *_ in lines])
    out.html.append(f"<h4>{escape(name)}, by {escape(by)}</h4><figure>{drawn}{named}</figure>")
    worst = int(np.argmax(found.below))
    if found.below[worst] > chance.below[0] + _MORE and found.high[worst] < chance.low[0]:
        out.say(
            "bad",
            f"{name} alone makes strangers of {percent(float(found.below[worst]))} of the people at "
            f"{at[worst]}, by {by}, "
            f"where another noise does of {percent(float(chance.below[0]))}.",
        )
    else:
        least = int(np.argmin(found.mean))
        out.say(
            "note",
            f"{name} alone costs at most {1 - found.mean[least]:.2f} of similarity, at "
            f"{at[least]}, by {by}; "
            f"another noise costs {1 - chance.mean[0]:.2f}.",
        )


def _real(audited: Audited, seen: Seen, name: str, at: list[Any], usual: int) -> Floats | None:
    """Beside: labelled pictures, of the other set where there is one that says it."""
    sets: list[tuple[Looked | None, Seen | None, dict[str, Label]]] = [
        (audited.against, audited.other(seen), audited.against_labels),
        (audited.looked, seen, audited.labels),
    ]
    for looked, by, labels in sets:
        said = [label for label in labels.values() if label.name == name and label.origin != PREDICTED]
        if looked is not None and by is not None and said:
            return real_curve(by.vectors, looked.source.labels, said[0], at, usual)
    return None


def _reached(model: Model, name: str, at: list[Any], pictures: list[Any], out: Section) -> None:
    """Whether the attribute became what was asked, by the model's reader."""
    vocabulary = model.attributes.vocabulary
    read = model.attributes.read(pictures)[:, vocabulary.names.index(name)].reshape(-1, len(at)).numpy()
    for place, level in enumerate(at):
        asked = float(vocabulary.values[name].index(level)) if isinstance(level, str) else float(level)
        share = float((read[:, place] == asked).mean()) if isinstance(level, str) else float(np.nanmean(read[:, place]))
        out.add(
            "read, share right" if isinstance(level, str) else "read", share, group=f"{name} = {level}", count=len(read)
        )


def _strip(audited: Audited, model: Model, name: str, at: list[Any], pictures: list[Any], out: Section) -> None:
    """One person at all levels, marked as generated."""
    cells = ""
    for level, one in zip(at[:_SHOWN], pictures[:_SHOWN], strict=False):
        small = one.convert("RGB").resize((104, 104), Image.Resampling.LANCZOS)
        data = provenance.encode(small, {"model": model.name, "seed": audited.seed, "k": 0}, "WEBP", quality=82)
        address = f"data:image/webp;base64,{b64encode(io.BytesIO(data).getvalue()).decode()}"
        title = escape(f"{name} = {level}")
        cells += (
            f'<div class="shot"><img src="{address}" width="104" height="104" alt="{title}"> {escape(str(level))}</div>'
        )
    out.html.append(f'<h3>{escape(name)}</h3><div class="shots">{cells}</div>')
