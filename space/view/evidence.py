"""How far the work on one person's pictures is, the verdict on them, and what it rests on."""

from __future__ import annotations

from html import escape

from idgen.identity import Identity
from idgen.scoring import UNCALIBRATED

from ..actions import Progress, Result
from ..theme import script
from . import plots
from .tiles import chip
from .who import whose


def working(progress: Progress, identity: Identity) -> str:
    """How far it is, and whose pictures these are, in the place of the verdict."""
    done = len(progress.images)
    matches = [line["match"] for line in progress.scores if line["match"] is not None]
    so_far = f" {sum(matches)} of {done} match so far." if matches else ""
    now = f"Painting picture {min(done + 1, progress.wanted)} of {progress.wanted}."
    tally = f"{done}<small>of {progress.wanted}</small>"
    return status(tally, now, so_far, progress.share, whose(identity))


def status(tally: str, now: str, so_far: str, share: float, more: str = "", kind: str = "") -> str:
    """What is `passing` goes when the work ends early."""
    return (
        f'<section class="summary running {kind}"><div class="tally going">{tally}</div><div class="now">'
        f'<h2><span class="passing">{escape(now)}</span>{escape(so_far)}</h2>{more}'
        f'<div class="bar passing" role="progressbar" aria-label="Progress" aria-valuenow="{100 * share:.0f}" '
        f'aria-valuemin="0" aria-valuemax="100"><span style="width:{share:.1%}"></span></div></div></section>'
    )


def left_off_js(stopped: bool) -> str:
    """In the browser, after work that did not come to its end: see `js/left_off.js`."""
    if stopped:
        sign, head, text = "■", "Stopped.", "What was finished stays. Press the button again for all of it."
    else:
        sign, head, text = "!", "This was not finished.", "What was finished stays."
    note = (
        f'<section class="summary early" aria-live="polite"><div class="tally half">{sign}</div><div><h2>{head}</h2>'
        f"<p>{text}</p></div></section>"
    )
    return script("left_off", STOPPED=stopped, NOTE=note)


def summary(result: Result) -> str:
    """The verdict in plain words, and whose pictures these are."""
    count = len(result.scores)
    if result.reference is None:
        tally = f'<div class="tally none">{count}</div>'
    else:
        matches = sum(bool(line["match"]) for line in result.scores)
        tally = f'<div class="tally {"half" if matches * 2 < count else ""}">{matches}<small>of {count}</small></div>'
    return (
        f'<section class="summary" aria-live="polite">{tally}<div><h2>{escape(result.sentence)}</h2>'
        f"{whose(result.identity)}</div></section>"
    )


def evidence(result: Result) -> str:
    """What the scores mean, both plots, and the scores picture by picture."""
    known, scores = result.reference, result.scores
    if known is not None:
        meaning = known.explanation
    elif any(line["similarity"] is not None for line in scores):
        meaning = f"The numbers are cosines by the encoder that made the face vector; {UNCALIBRATED}"
    else:
        meaning = "Nothing was measured: no face was found in the pictures, or the model has no face encoder either."
    return (
        f'<div class="evidence"><p class="note wide">{escape(meaning)}</p>'
        f"{_like_the_person(result)}{_like_each_other(result)}{_picture_by_picture(result)}</div>"
    )


def _figure(caption: str, text: str, plot: str = "") -> str:
    """A plot under its caption with a line on it; or, where there is none, a note on why."""
    if plot:
        return f"<figure><figcaption>{caption}<span>{text}</span></figcaption>{plot}</figure>"
    return f'<figure><figcaption>{caption}</figcaption><p class="note">{text}</p></figure>'


def _like_the_person(result: Result) -> str:
    caption, known = "Like the person asked for?", result.reference
    if known is None:
        return ""
    scores = [(number, line["judge_similarity"]) for number, line in enumerate(result.scores, start=1)]
    judged = [(number, score) for number, score in scores if score is not None]
    if not judged:
        return _figure(caption, "No face was found in any of these pictures, so none was measured.")
    text = "Each dot is a picture. Right of the line, it counts as the same person."
    return _figure(caption, text, plots.score_histogram(judged, known.rates, known.threshold, known.fmr))


def _like_each_other(result: Result) -> str:
    caption, known, matrix = "Like each other?", result.reference, result.matrix
    if matrix is None:
        return ""
    if len(matrix) == 1:
        return _figure(caption, "One picture has no other to be compared with: generate two or more.")
    threshold = None if known is None else known.calibration.threshold("image-image", known.fmr)
    by = "encoder" if known is None else "judge"
    weak = threshold is not None and (matrix < threshold).any()
    dotted = "; dotted: too unlike for two pictures of one person" if weak else ""
    return _figure(
        caption,
        f"Every picture against every other, by the {by}; stronger is more alike{dotted}.",
        plots.similarity_matrix(matrix, threshold, by)
        + '<div class="pair">Point at a cell to see the two pictures.</div>',
    )


def _picture_by_picture(result: Result) -> str:
    judged = result.reference is not None
    rows = "".join(
        f"<tr><td>{number}</td>"
        + (f"<td>{chip(line['match'], line['judge_similarity'], words=True)}</td>" if judged else "")
        + f'<td>{number_of(line["similarity"])}</td><td class="seed">{image.seed}</td></tr>'
        for number, (line, image) in enumerate(zip(result.scores, result.images, strict=True), start=1)
    )
    why = (
        "The judge gives the verdict. The encoder made the face vector, so its own score flatters: shown for "
        "comparison only."
        if judged
        else "The encoder made the face vector, so its own score flatters, and there is no judge."
    )
    return (
        '<figure class="wide"><details><summary>Picture by picture: judge and encoder apart</summary>'
        f'<p class="note">{why}</p><div class="scores"><table><thead><tr><th>Picture</th>'
        f"{'<th>Judge</th>' if judged else ''}<th>Encoder</th><th>Seed</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></details></figure>"
    )


def number_of(value: float | None) -> str:
    """A cosine, or a dash where none was measured."""
    return "–" if value is None else f"{value:.2f}"
