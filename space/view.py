"""Results as HTML: what the visitor reads."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from idgen.ground.identity import Identity
from idgen.pipelines import GeneratedImage
from idgen.scoring import OWN_PICTURES
from idgen.scoring import meaning as meaning_of

from . import plots
from .actions import (
    CROWD,
    MORPH,
    NEIGHBOURS,
    STRIP,
    STRIPS,
    Compared,
    Curve,
    Line,
    Morph,
    Neighbour,
    Point,
    Progress,
    Recipe,
    Result,
    Strip,
)
from .actions import png as png_of
from .parts import grid, part, tile, uri

_OWN = (
    "The judge compared each picture with the mean of four others of fixed seeds that the model made of this person: "
    "it says whether a picture agrees with its own pictures, not whether these show the person of the face vector."
)
_SIDE = 256  # in pixels, up to which a picture is sent as it is while others are still on their way


def person(identity: Identity | None, detail: str = "", letter: str = "") -> Markup:
    """Who is asked for, and whether they exist."""
    if identity is None:
        return nobody("Choose somebody first.")
    return part("person", identity=identity, detail=detail, letter=letter)


def nobody(sentence: str, head: str = "Nobody yet") -> Markup:
    """That there is no person, and what to do about it."""
    return part("person", identity=None, detail=sentence, head=head)


def sampled(identity: Identity, nearest: float, people: int) -> Markup:
    """Who was drawn, and how far from everybody the model was trained on."""
    if not people:
        return person(identity, "Does not exist.")
    closest = f"Closest of the {people:,} people the model learned from: similarity {nearest:.2f}."
    return person(identity, f"Does not exist. {closest}")


def outside(identity: Identity, count: int) -> Markup:
    """A vector that a visitor brought."""
    first = f" The first of {count} was taken." if count > 1 else ""
    return person(identity, f"{identity.source[:1].upper()}{identity.source[1:]}.{first}")


def source(image: GeneratedImage, model: str, who: Identity, recipe: Recipe, side: int | None = _SIDE) -> str:
    """A generated picture, at most `side` pixels wide, that says so in its file."""
    return uri(png_of(image, model, who, recipe, side), "image/png")


class Gallery:
    """One person's pictures as tiles; each is encoded once, however often the page is told."""

    def __init__(self, model: str, who: Identity, recipe: Recipe, side: int | None = _SIDE):
        self.tiles: list[str] = []
        self._model, self._who, self._recipe, self._side = model, who, recipe, side

    def add(self, images: Sequence[GeneratedImage], scores: Sequence[Line]) -> list[str]:
        """All of them so far."""
        for number in range(len(self.tiles), len(images)):
            shown = source(images[number], self._model, self._who, self._recipe, self._side)
            self.tiles.append(tile(number + 1, shown, scores[number], self._who.name))
        return self.tiles


def working(progress: Progress, identity: Identity) -> Markup:
    """How far it is, and whose pictures these are, in the place of the verdict."""
    done, wanted = len(progress.images), progress.wanted
    matches = [line["match"] for line in progress.scores if line["match"] is not None]
    tally, now = Markup(f"{done}<small>of {wanted}</small>"), f"Painting picture {min(done + 1, wanted)} of {wanted}."
    so_far = f" {sum(matches)} of {done} match so far." if matches else ""
    return part("status", kind="", tally=tally, now=now, so_far=so_far, share=progress.share, identity=identity)


def evidence(result: Result) -> Markup:
    """What the scores mean, both plots, and the scores picture by picture."""
    known, scores, cosines = result.reference, result.scores, result.matrix
    histogram, threshold = "", None
    if known is not None:
        pairs = meaning_of([known.calibration], known.calibration.domain, "image-image", known.fmr)
        meaning, threshold = known.explanation, None if pairs is None else pairs.threshold
        if any(line.get("against") == OWN_PICTURES for line in scores):
            meaning = f"{_OWN} {meaning}"
        judged = [(k, line["judge_similarity"]) for k, line in enumerate(scores, 1)]
        if seen := [(k, score) for k, score in judged if score is not None]:
            histogram = plots.score_histogram(seen, known.rates, known.threshold, known.fmr)
    elif any(line["judge_similarity"] is not None for line in scores):
        meaning = f"The numbers are cosines by the judge and by the encoder. {result.sentence}"
    elif any(line["similarity"] is not None for line in scores):
        meaning = "The numbers are cosines by the encoder that made the face vector, which cannot judge itself."
    else:
        meaning = "Nothing was measured: no face was found in the pictures, or the model has no face encoder either."
    matrix, weak = "", False
    if cosines is not None and len(scores) > 1:
        matrix = plots.similarity_matrix(cosines, threshold, "encoder" if known is None else "judge")
        weak = threshold is not None and bool((cosines < threshold).any())
    return part("evidence", result=result, meaning=meaning, histogram=histogram, matrix=matrix, weak=weak)


def morph_status(progress: Progress) -> Markup:
    """How far the strip is, and how it looks so far."""
    share, now = progress.share, f"Painting {MORPH} people between A and B."
    status = part("status", kind="passing", tally=f"{share:.0%}", now=now, so_far="", share=share, identity=None)
    return status + grid([], MORPH, progress.previews, "line")


def morph(result: Morph) -> Markup:
    """The strip with its lines; each tile says what it is to whom it is more like."""
    which = "similarity" if result.reference is None else "judge_similarity"
    first, second = ([line[which] for line in side] for side in result.scores)
    tiles, plot = [], ""
    for k, (image, *pair, who) in enumerate(zip(result.images, *result.scores, result.people, strict=True), 1):
        line = max(pair, key=lambda line: line["judge_similarity"] or line["similarity"] or 0.0)
        tiles.append(tile(k, source(image, result.model, who, result.recipe, None), line, "the strip"))
    if all(value is not None for value in (*first, *second)):
        plot = plots.crossing(first, second, None if result.reference is None else result.reference.threshold)
    return part("morph", result=result, tiles=tiles, plot=plot)


def strip_status(progress: Progress, name: str) -> Markup:
    """How far the strip is, and how it looks so far."""
    share, now = progress.share, f"{STRIPS[name][0]}: painting {STRIP} pictures from the same noise."
    status = part("status", kind="passing", tally=f"{share:.0%}", now=now, so_far="", share=share, identity=None)
    return status + grid([], STRIP, progress.previews, "line")


def strip(result: Strip) -> Markup:
    """The pictures in a row, what each was told, and all as one animated picture to keep."""
    tiles = [
        tile(k, source(image, result.model, result.identity, result.recipe, None), line, result.identity.name, told)
        for k, (image, line, told) in enumerate(zip(result.images, result.scores, result.told, strict=True), 1)
    ]
    animated = uri(result.animated(), "image/webp")
    return part(
        "strip", result=result, tiles=tiles, animated=animated, file=f"idgen-{result.identity.name}-{result.name}"
    )


def compared(result: Compared) -> Markup:
    """Both pictures with their faces, and the verdict."""
    said, known, plot = result.comparison, result.reference, ""
    if said is not None and known is not None and said.judge_cosine is not None:
        what, seen = "similarity of two pictures, by the judge (cosine)", [(1, said.judge_cosine)]
        plot = plots.score_histogram(seen, known.rates, known.threshold, known.fmr, what, "these two")
    return part("compared", result=result, plot=plot)


def curve(result: Curve, known: Sequence[Point], tiles: Sequence[Sequence[str]]) -> Markup:
    """The trade-off so far: what was `known` and joins it (`Point.joins`), and its points with the tiles of each."""
    by_guidance: dict[str, list[tuple[str, float, float]]] = {}
    for point in [*known, *result.points]:
        line = by_guidance.pop(point.recipe.strength, [])  # the newest last
        label = f"{point.recipe.variation:.2f}"
        line = [one for one in line if one[0] != label] + [(label, point.diversity, point.similarity)]
        by_guidance[point.recipe.strength] = line
    curves = [(f"guidance {guidance}", line) for guidance, line in by_guidance.items()]
    return part("curve", result=result, tiles=tiles, plot=plots.trade_off(curves, result.threshold))


def neighbours(found: Sequence[Neighbour], model: str, recipe: Recipe) -> Markup:
    """The nearest sampled people, pictured by a model."""
    tiles = []
    for k, one in enumerate(found, 1):
        line = {"similarity": one.cosine, "judge_similarity": None, "match": None}
        tiles.append(tile(k, source(one.image, model, one.identity, recipe), line, one.identity.name))
    return part("neighbours", found=found, tiles=tiles, wanted=NEIGHBOURS, crowd=CROWD)
