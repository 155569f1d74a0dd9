"""Two people, compared and between each other; settings explored; neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..actions import CROWD, MORPH, NEIGHBOURS, Compared, Curve, Morph, Neighbour, Point, Progress
from . import plots
from .evidence import number_of, status
from .tiles import grid, jpeg
from .who import called


def morph_status(progress: Progress) -> str:
    """How far the strip is, and how it looks so far."""
    now = f"Painting {MORPH} people between A and B."
    return status(f"{progress.share:.0%}", now, "", progress.share, kind="passing") + grid(
        [], MORPH, progress.previews, "line"
    )


def morph(result: Morph, tiles: Sequence[str]) -> str:
    """The strip with its lines."""
    which = "similarity" if result.reference is None else "judge_similarity"
    first, second = ([line[which] for line in side] for side in result.scores)
    plot = ""
    if all(value is not None for value in (*first, *second)):
        plot = plots.crossing(first, second, None if result.reference is None else result.reference.threshold)
    a, b = (escape(called(end)) for end in result.ends)
    return (
        f'<section class="strip" aria-live="polite"><h2>{escape(result.sentence)}</h2>'
        f'{grid(tiles, MORPH, kind="line")}<div class="ends"><span><i class="letter a">A</i>{a}</span>'
        f'<span>{b}<i class="letter b">B</i></span></div>{plot}</section>'
    )


def compared(result: Compared) -> str:
    """Both pictures with their faces, and the verdict."""
    photos = "".join(
        f'<img alt="Picture {number} with the face that was found" src="{jpeg(face.marked)}">'
        for number, face in enumerate(result.faces, 1)
    )
    said, known = result.comparison, result.reference
    if said is None or known is None:
        kind, head, figures = "none", f"Cosine {result.cosine:.2f}", ""
    else:
        kind, head = ("pass", "✓ ") if said.match else ("fail", "✗ ")
        head += said.verdict.capitalize()
        score = said.cosine if said.judge_cosine is None else said.judge_cosine
        what = "similarity of two pictures, by the judge (cosine)"
        plot = plots.score_histogram([(1, score)], known.rates, known.threshold, known.fmr, what, "these two")
        figures = (
            f'<figure>{plot}</figure><figure><div class="scores"><table>'
            "<thead><tr><th></th><th>Cosine</th><th>Same from</th></tr></thead><tbody>"
            f"<tr><td>Judge (verdict)</td><td>{number_of(said.judge_cosine)}</td>"
            f"<td>{number_of(said.judge_threshold)}</td></tr>"
            f"<tr><td>Encoder</td><td>{said.cosine:.2f}</td><td>{said.threshold:.2f}</td></tr>"
            "</tbody></table></div></figure>"
        )
    return (
        f'<section class="compared" aria-live="polite"><div class="couple">{photos}</div>'
        f'<h2><span class="chip {kind} large">{escape(head)}</span></h2><p class="note">{escape(result.sentence)}</p>'
        f'<div class="evidence">{figures}</div></section>'
    )


def curve(result: Curve, known: Sequence[Point], tiles: Sequence[Sequence[str]]) -> str:
    """The trade-off so far, and the pictures behind its newest points.

    Args:
        result: what is being measured; known: what was measured before and joins it (`Point.joins`).
        tiles: the pictures of each of the result's points, and of the one on its way.
    """
    by_guidance: dict[float, list[tuple[str, float, float]]] = {}
    for point in [*known, *result.points]:
        line = by_guidance.pop(point.recipe.guidance, [])  # the newest last
        label = f"{point.recipe.variation:.2f}"
        line = [one for one in line if one[0] != label] + [(label, point.diversity, point.similarity)]
        by_guidance[point.recipe.guidance] = line
    curves = [(f"guidance {guidance:g}", line) for guidance, line in by_guidance.items()]
    rows = [
        f'<div class="row"><span>Variation {point.recipe.variation:g}<small>similarity {point.similarity:.2f}, '
        f"difference {point.diversity:.2f}</small></span>{grid(cells, point.recipe.images)}</div>"
        for point, cells in zip(result.points, tiles)  # noqa: B905 - one more may be on its way
    ]
    if result.progress is not None:
        coming = grid(tiles[len(result.points)], result.progress.wanted, result.progress.previews)
        rows.append(f'<div class="row passing"><span>Painting …</span>{coming}</div>')
    return (
        f'<section class="strip {"" if result.finished else "running"}" aria-live="polite">'
        f'<h2 class="{"" if result.points else "passing"}">{escape(_sentence(result))}</h2>'
        f'<div class="explored"><figure>{plots.trade_off(curves, result.threshold)}</figure>'
        f'<div class="rows">{"".join(rows)}</div></div></section>'
    )


def _sentence(result: Curve) -> str:
    if not result.points:
        return "Painting the first pictures …"
    point = result.points[-1]
    at = f"At variation {point.recipe.variation:g} and guidance {point.recipe.guidance:g}"
    if point.matches is None:
        said = f"similarity {point.similarity:.2f}, difference {point.diversity:.2f}"
        return f"{at}: {said}. {result.model} has no judge."
    still = f"{point.matches} of {point.recipe.images} are still the same person"
    return f"{at}, {still}, and two pictures differ by {point.diversity:.2f}."


def neighbours(found: Sequence[Neighbour], tiles: Sequence[str]) -> str:
    """The nearest sampled people."""
    coming = NEIGHBOURS - len(tiles)
    named = "".join(f"<li>{escape(one.identity.name)}<small>cosine {one.cosine:.2f}</small></li>" for one in found)
    cells = "".join([*tiles, *['<li class="tile waiting" aria-hidden="true"></li>'] * coming])
    return (
        f'<section class="strip {"running" if coming else ""}"><h2>The nearest of {CROWD} sampled people</h2>'
        f'<p class="note">Cosine of their face vectors to this person\'s. All of them are invented.</p>'
        f'<ul class="grid line" style="--count:{NEIGHBOURS}" aria-label="Nearest people">{cells}</ul>'
        f'<ul class="names" style="--count:{NEIGHBOURS}">{named}</ul></section>'
    )
