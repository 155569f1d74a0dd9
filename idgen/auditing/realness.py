"""How real? Whether a small classifier tells this set's pictures from the other set's, and by what."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from idgen.auditing.capacity import means_of
from idgen.auditing.looking import Looked
from idgen.auditing.section import Audited, Section
from idgen.evaluation import charts
from idgen.evaluation.attributes import some_people
from idgen.evaluation.page import heads, legend, table
from idgen.ground.words import percent
from idgen.scoring.intervals import FEWEST_PEOPLE, Rate, fnmr_rate
from idgen.scoring.verification import numbered

MOST = 1_000
"""Pictures of each set."""
FOLDS = 5
_SIDE = 64
_RINGS = 24
_PENALTY = 1.0
_TELLS = 0.6
_ON_THE_MAP = 300
Floats = NDArray[np.float64]


def spectrum(picture: Image.Image) -> Floats:
    """(24,) log power of a grey 64 × 64 picture in rings of frequency: what upsampling and compression leave."""
    grey = np.asarray(picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), float) / 255
    power = np.abs(np.fft.fftshift(np.fft.fft2(grey - grey.mean()))) ** 2
    at = np.arange(_SIDE) - _SIDE // 2
    ring = np.minimum(np.hypot(at[:, None], at[None]) / (_SIDE // 2) * _RINGS, 1.4143 * _RINGS).astype(int)
    total, counts = np.bincount(ring.ravel(), power.ravel()), np.bincount(ring.ravel())
    logs = np.log(total[:_RINGS] / counts[:_RINGS] + 1e-9)
    return logs - logs.mean()  # contrast is no matter of frequencies


def colour(picture: Image.Image) -> Floats:
    """(30,) mean, deviation, and shares of eight steps of each channel."""
    pixels = np.asarray(picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX), float).reshape(-1, 3) / 255
    steps = [np.histogram(channel, 8, (0, 1))[0] / len(pixels) for channel in pixels.T]
    return np.concatenate([pixels.mean(0), pixels.std(0), *steps])


def cross_validated(features: Floats, real: NDArray[np.bool_], people: NDArray[np.intp], seed: int = 0) -> Rate:
    """The share of pictures that a classifier gets wrong which learned from others, with an interval over people.

    A linear one, by ridge regression on standardised features: small, fresh, and the same every time.

    Args:
        features: (N, F).
        real: (N,) which set each is of.
        people: (N,) who is on each; nobody is in both a fold and its training part.
        seed: of the folds.
    """
    fold = (np.random.default_rng(seed).permutation(int(people.max()) + 1) % FOLDS)[people]
    wrong = np.zeros(len(real))
    for number in range(FOLDS):
        out = fold == number
        if not out.any() or len(np.unique(real[~out])) < 2:
            continue
        middle, scale = features[~out].mean(0), features[~out].std(0) + 1e-9
        x, y = (features[~out] - middle) / scale, np.where(real[~out], 1.0, -1.0)
        weight = 0.5 / np.where(real[~out], real[~out].mean(), 1 - real[~out].mean())  # both sets count alike
        mean = (weight @ x) / weight.sum()
        x = x - mean
        gram = (x * weight[:, None]).T @ x + _PENALTY * len(y) / 100 * np.eye(x.shape[1])
        learned = np.linalg.solve(gram, (x * weight[:, None]).T @ y)
        scores = ((features[out] - middle) / scale - mean) @ learned
        wrong[out] = (scores > 0) != real[out]
    counts = np.bincount(people)
    some = counts > 0
    return fnmr_rate(np.bincount(people, wrong, len(counts))[some], counts[some])


def plane(vectors: Floats) -> Floats:
    """(N, 2) of vectors (N, D): the two directions in which they differ most."""
    centred = vectors - vectors.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return centred @ axes[:2].T


def section(audited: Audited) -> Section:
    """The section."""
    out = Section(
        "realness",
        "How real does it look?",
        "A fresh linear classifier learns to tell this set's pictures from the other set's, and is asked "
        "about people that "
        "it has not seen: by the spectrum, by colours, and by what a recogniser sees. Half right is "
        "guessing. What tells "
        "them apart may also be how the two sets were photographed, cut and compressed.",
    )
    against = audited.against
    if against is None:
        out.say("note", "Not measured: give the pictures that the generator learned from, or others, --against SET.")
        return out
    sets = (audited.looked, against)
    rows = [some_people(one.source.labels, np.arange(len(one.source)), MOST, audited.seed) for one in sets]
    real = np.repeat([False, True], [len(part) for part in rows])
    people = np.concatenate([numbered(part, one.source.labels[part]) for one, part in zip(sets, rows, strict=True)])
    people[real] += int(people[~real].max()) + 1
    if min(int((~real).sum()), int(real.sum())) < 2 * FOLDS or people.max() + 1 < FEWEST_PEOPLE:
        out.say("note", "Not measured: too few people to say how surely the two sets are told apart.")
        return out
    cues: dict[str, Floats] = {}
    if audited.looked.source.open is not None and against.source.open is not None:
        opened = [_cues(one, part) for one, part in zip(sets, rows, strict=True)]
        cues["spectrum"], cues["colour"] = (np.concatenate([one[place] for one in opened]) for place in (0, 1))
    for seen in audited.looked.by:
        if (other := audited.other(seen)) is not None:
            cues[f"content, by {seen.by}"] = np.concatenate([seen.vectors[rows[0]], other.vectors[rows[1]]]).astype(
                float
            )
    table_rows = [
        _told(name, cross_validated(features, real, people, audited.seed), against, out)
        for name, features in cues.items()
    ]
    out.html.append(table(heads(["told apart by", "right", "95 %"]), table_rows))
    _map(audited, against, out)
    return out


def _cues(looked: Looked, rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
    assert looked.source.open is not None
    pictures = [looked.source.open(int(row)) for row in rows]
    return np.stack([spectrum(one) for one in pictures]), np.stack([colour(one) for one in pictures])


def _told(name: str, wrong: Rate, against: Looked, out: Section) -> list[str]:
    low, high = (None, None) if wrong.low is None or wrong.high is None else (1 - wrong.high, 1 - wrong.low)
    right = 1 - wrong.errors / wrong.comparisons
    out.add("told apart", right, low, high, group=name, count=wrong.comparisons)
    if low is not None and low > _TELLS:
        out.say(
            "bad", f"Told apart from {against.source.name} by its {name}: {percent(right)} right (from {percent(low)})."
        )
    elif low is not None and low > 0.5:
        out.say("note", f"Hardly told apart from {against.source.name} by its {name}: {percent(right)} right.")
    else:
        out.say("good", f"Not told apart from {against.source.name} by its {name}: {percent(right)} right.")
    return [name, percent(right), "" if low is None or high is None else f"{percent(low)} … {percent(high)}"]


def _map(audited: Audited, against: Looked, out: Section) -> None:
    """The people of both sets, in the plane in which they differ most."""
    for seen in audited.looked.by[:1]:
        other = audited.other(seen)
        if other is None:
            return
        means = []
        for one, labels in ((seen.vectors, audited.people), (other.vectors, against.source.labels)):
            rows = some_people(labels, np.arange(len(labels)), MOST, audited.seed)
            means.append(means_of(one[rows], numbered(rows, labels[rows])).astype(float)[:_ON_THE_MAP])
        places = plane(np.concatenate(means))
        groups = [
            ("this set", "genuine", places[: len(means[0])]),
            (against.source.name, "impostor", places[len(means[0]) :]),
        ]
        drawn = charts.dots(groups, "People of both sets")
        named = legend([("genuine", "this set"), ("impostor", against.source.name)])
        out.html.append(f"<h3>A map of the people, by {seen.by}</h3><figure>{drawn}{named}</figure>")
