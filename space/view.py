"""Results as HTML: what the visitor reads. Plain strings, everything that is not ours escaped."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from html import escape

from PIL import Image

from idgen import provenance
from idgen.identity import Identity
from idgen.scoring import UNCALIBRATED

from . import plots
from .actions import MORPH, Compared, Curve, Found, Line, Morph, Neighbour, Point, Progress, Result
from .settings import INVERSION, Settings

_SVG = (
    '<svg class="face" viewBox="0 0 64 64" aria-hidden="true"><g transform="translate({shift})">'
    '<circle cx="32" cy="27" r="11.5"/><path d="M13 64c0-13 8-20 19-20s19 7 19 20z"/></g></svg>'
)

MASTHEAD = """
<header class="masthead">
  <svg viewBox="0 0 48 48" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round" aria-hidden="true">
    <path d="M9 20a15 15 0 0 1 30 0v9"/><path d="M15 36V21a9 9 0 0 1 18 0v12"/><path d="M9 28v5"/>
    <path d="M21 42V22a3 3 0 0 1 6 0v17"/>
  </svg>
  <div class="words">
    <h1>One person, many pictures</h1>
    <p>Sample someone who does not exist, or start from a photo. Every picture comes with an honest score:
    is this still the same person?</p>
  </div>
  <span class="made">All pictures are AI-generated</span>
  <button class="theme" type="button" aria-label="Switch between light and dark" title="Light or dark">◐</button>
</header>
"""

THEME_JS = """
element.querySelector(".theme").addEventListener("click", () => document.body.classList.toggle("dark"));
"""


def _empty(title: str, text: str, steps: Sequence[tuple[str, str]]) -> str:
    ghosts = "".join(_SVG.format(shift=shift) for shift in (0, 4, -4, 1))
    listed = "".join(f"<li><b>{number}. {head}</b>{body}</li>" for number, (head, body) in enumerate(steps, 1))
    return (
        f'<section class="empty"><div class="ghosts">{ghosts}</div><h2>{title}</h2><p>{text}</p>'
        f"<ol>{listed}</ol></section>"
    )


EMPTY = _empty(
    "Nobody here yet",
    "Press <b>Generate pictures</b>. In a few seconds you will see one person in different poses and light.",
    [
        ("Who", "A face is a list of 512 numbers. We draw one at random, or read it from a photo."),
        ("Pictures", "A diffusion model paints that face again and again, each time from other noise."),
        ("Proof", "A second network, trained apart from the first, judges each picture against the person asked for."),
    ],
)
EMPTY_MORPH = _empty(
    "From one person to another",
    f"Press <b>Morph</b>. {MORPH} pictures lead from person A to person B, in the same pose.",
    [
        ("A", "The person of the first tab."),
        ("Between", "Equal steps on the arc between two face vectors: less and less A, more and more B."),
        ("B", "Whoever you choose. A line for each says where one ends and the other begins."),
    ],
)
EMPTY_COMPARE = _empty(
    "The same person, or not?",
    "Choose two pictures. The judge says whether they show one person, and how often it errs.",
    [
        ("Two pictures", "Of people who agreed, or generated ones."),
        ("Two vectors", "Each face becomes a list of numbers; the closer they are, the more alike."),
        ("A verdict", "With a threshold that strangers pass once in 1,000 times."),
    ],
)
EMPTY_EXPLORE = _empty(
    "How different may pictures be?",
    "Press <b>Draw the curve</b>, or move a slider. Every setting becomes a point: how different the pictures are, and "
    "how much they are still this person.",
    [
        ("Variation", "Paints relatives of the face instead of exactly it. More of it: more different pictures."),
        ("Guidance", "Exaggerates who it is. More of it: more alike, and less varied."),
        ("The price", "Where the curve falls under the line, it is no longer the same person."),
    ],
)

SAMPLE_NOTE = """
<p class="note">A person who does not exist, drawn at random. The same seed is always the same person.</p>
"""
PHOTO_NOTE = """
<p class="note">Photos are deleted as soon as their face is read. What stays are numbers, in the memory of this session
only. Several photos of one person give a better likeness than one.</p>
"""
COMPARE_NOTE = """
<p class="note">Both pictures are deleted as soon as they are compared.</p>
"""
MORPH_NOTE = """
<p class="note">A is the person of the tab <b>One person</b>.</p>
"""
EXPLORE_NOTE = """
<p class="note">The person of the tab <b>One person</b>, four pictures for each setting.</p>
"""


def vector_note(settings: Settings, spaces: str) -> str:
    """What a face vector is, and what it can be abused for."""
    return f'<p class="note">A .safetensors file by idgen, or a bare .npy. This model takes {spaces}. {INVERSION}</p>'


def colophon(settings: Settings) -> str:
    """What a visitor may rely on."""
    minutes = max(1, round(settings.keep_seconds / 60))
    where = "this Space" if settings.public else "this machine"
    return f"""
<footer class="colophon">
  <p><b>AI-generated.</b> Every picture says so in its own file (XMP <i>trainedAlgorithmicMedia</i>), with the model
  and the seed that made it.</p>
  <p><b>Scores are measurements,</b> not proof of who someone is. The judge errs at a known rate, measured on people
  it has never seen.</p>
  <p><b>Nothing leaves {where}.</b> Photos are deleted once read, pictures within {minutes} minutes. Nothing is
  collected.</p>
  <p><b>A face vector is like a photo.</b> {INVERSION}</p>
</footer>
"""


# ---------------------------------------------------------------- pictures inside the page


def _jpeg(image: Image.Image) -> str:
    """A picture inside the page: it is never a file on the server."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _preview(image: Image.Image) -> str:
    """A picture that is not finished, and says in its file what it will be."""
    content = provenance.encode(image, {}, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def png_source(content: bytes) -> str:
    """A PNG inside the page."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def chip(match: bool | None, similarity: float | None, words: bool = False) -> str:
    """A verdict in a sign, a colour and maybe words, with its number."""
    if match is None and similarity is None:
        return '<span class="chip none">not scored</span>'
    kind, sign, text = {
        True: ("pass", "✓ ", "same "),
        False: ("fail", "✗ ", "no match "),
        None: ("none", "", ""),
    }[match]
    number = "no face" if similarity is None else f"{similarity:.2f}"
    return f'<span class="chip {kind}">{sign}{text if words else ""}{number}</span>'


def _shown(line: Line) -> float | None:
    judged = line["judge_similarity"]
    return line["similarity"] if judged is None and line["match"] is None else judged


def tile(number: int, source: str, line: Line, name: str) -> str:
    """A finished picture with its verdict; a click enlarges it."""
    said = {True: "the same person", False: "not the same person", None: "not judged"}[line["match"]]
    score = _shown(line)
    alt = f"Picture {number} of {name}, AI-generated: {said}" + ("" if score is None else f", {score:.2f}")
    return (
        f'<li class="tile"><button type="button" class="open" aria-label="{escape(alt)}. Enlarge">'
        f'<img alt="{escape(alt)}" src="{source}"></button>{chip(line["match"], score)}</li>'
    )


def grid(tiles: Sequence[str], wanted: int, previews: Sequence[Image.Image] = (), kind: str = "") -> str:
    """All pictures in their places: finished, on their way, and not begun, so that nothing jumps when one comes."""
    cells = list(tiles)
    cells += [
        f'<li class="tile coming"><img alt="A picture on its way" src="{_preview(preview)}"></li>'
        for preview in previews
    ]
    cells += ['<li class="tile waiting" aria-hidden="true"></li>'] * (wanted - len(cells))
    return f'<ul class="grid {kind}" style="--count:{wanted}" aria-label="Pictures">{"".join(cells[:wanted])}</ul>'


ENLARGE_JS = """
element.addEventListener("click", (event) => {
  const image = event.target.closest(".open")?.querySelector("img");
  if (!image) return;
  const dialog = document.createElement("dialog");
  dialog.className = "lightbox";
  dialog.setAttribute("aria-label", image.alt);
  const large = document.createElement("img");
  large.src = image.src; large.alt = image.alt;
  const said = document.createElement("p");
  said.textContent = image.alt;
  dialog.append(large, said);
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.querySelector(".gradio-container").append(dialog);
  dialog.showModal();
});
"""

# A pair of pictures beside each other while the pointer is on their cell of the matrix.
MATRIX_JS = """
element.addEventListener("pointerover", (event) => {
  const cell = event.target.closest(".cell"), shown = element.querySelector(".pair");
  if (!cell || !shown) return;
  const images = document.querySelectorAll("#pictures .tile img"), { row, column, value } = cell.dataset;
  if (row === column || !images[row - 1] || !images[column - 1]) return;
  const close = cell.classList.contains("weak") ? "too unlike for two pictures of one person" : "";
  shown.replaceChildren(images[row - 1].cloneNode(), images[column - 1].cloneNode(),
    document.createTextNode(`Pictures ${row} and ${column}: ${value}${close && " – " + close}`));
});
"""


# ---------------------------------------------------------------- who


def person(identity: Identity | None, detail: str = "", letter: str = "") -> str:
    """Who is asked for, and whether they exist."""
    if identity is None:
        return nobody("Choose somebody first.")
    head, text = _who(identity)
    label = f'<i class="letter {letter.lower()}">{letter}</i>' if letter else ""
    return (
        f'<div class="person">{label or _SVG.format(shift=0)}<div><b>{escape(head)}</b>'
        f"<span>{escape(detail or text)}</span></div></div>"
    )


def nobody(sentence: str) -> str:
    """That there is no person, and what to do about it."""
    return f'<div class="person none"><div><b>Nobody yet</b><span>{escape(sentence)}</span></div></div>'


def _who(identity: Identity) -> tuple[str, str]:
    """What to call them, and whether they exist."""
    if identity.from_photo:
        return _kind(identity), "This person may exist."
    return _name(identity), "Sampled: does not exist."


def _whose(identity: Identity) -> str:
    """Beside pictures, which stay when somebody else is chosen."""
    head, text = _who(identity)
    return f'<p class="whose"><b>{escape(head)}</b> · {escape(text)}</p>'


def _name(identity: Identity) -> str:
    parts = identity.name.split("-")
    return f"Person {parts[1]}" if len(parts) == 3 and parts[0] == "person" else identity.name


def _kind(identity: Identity) -> str:
    return "A face vector from outside" if "vector from outside" in identity.source else "From a photo"


def sampled(identity: Identity, nearest: float, people: int) -> str:
    """Who was drawn, and how far from everybody the model was trained on."""
    return person(
        identity,
        f"Does not exist. Closest of the {people:,} people the model learned from: similarity {nearest:.2f}.",
    )


def refused(sentence: str) -> str:
    """What cannot be had, in place of what was asked for."""
    return f'<div class="person none"><div><b>Not here</b><span>{escape(sentence)}</span></div></div>'


def found(found: Found, notice: str = "") -> str:
    """The faces that were found in the photos, what the identity came from, and what the encoder has to say."""
    photos = "".join(
        f'<img class="found" alt="Photo {number} with the face that was found" src="{_jpeg(face.marked)}">'
        for number, face in enumerate(found.faces, 1)
    )
    count = len(found.faces)
    what = "Face found" if count == 1 else f"{count} faces found, and averaged"
    several = sum(face.faces > 1 for face in found.faces)
    more = ""
    if several:
        more = f" The largest face was taken where there were several ({several} of {count})."
    crops = "".join(f'<img class="face" alt="" src="{_jpeg(face.face)}">' for face in found.faces[:3])
    return (
        f'<div class="photos" style="--count:{min(count, 4)}">{photos}</div>'
        f'<div class="person">{crops}<div><b>{what}</b>'
        f"<span>Only numbers are used from here on. This person may exist.{more}</span></div></div>"
        + "".join(f'<p class="note">{escape(text)}</p>' for text in (notice, found.scope) if text)
    )


def outside(identity: Identity, count: int) -> str:
    """A vector that a visitor brought."""
    first = f" The first of {count} was taken." if count > 1 else ""
    return person(identity, f"{identity.source[:1].upper()}{identity.source[1:]}.{first}")


def download(name: str, content: bytes) -> str:
    """The identity as a file that exists only in the visitor's browser."""
    uri = f"data:application/octet-stream;base64,{base64.b64encode(content).decode()}"
    return (
        f'<div class="download"><a id="identity-file" download="{escape(name)}.safetensors" href="{uri}">'
        "Face vector</a></div>"
    )


# ---------------------------------------------------------------- one person


def working(progress: Progress, identity: Identity) -> str:
    """How far it is, and whose pictures these are, in the place of the verdict."""
    done = len(progress.images)
    matches = [line["match"] for line in progress.scores]
    so_far = ""
    if any(match is not None for match in matches):
        so_far = f" {sum(bool(match) for match in matches)} of {done} match so far."
    now = f"Painting picture {min(done + 1, progress.wanted)} of {progress.wanted}."
    tally = f'<div class="tally going">{done}<small>of {progress.wanted}</small></div>'
    return _status(tally, now, so_far, progress.share, _whose(identity))


def _status(tally: str, now: str, so_far: str, share: float, more: str = "", kind: str = "") -> str:
    """What is `passing` goes when the work ends early."""
    return (
        f'<section class="summary running {kind}">{tally}<div class="now">'
        f'<h2><span class="passing">{escape(now)}</span>{escape(so_far)}</h2>{more}'
        f'<div class="bar passing" role="progressbar" aria-label="Progress" aria-valuenow="{100 * share:.0f}" '
        f'aria-valuemin="0" aria-valuemax="100">'
        f'<span style="width:{share:.1%}"></span></div></div></section>'
    )


def _ended(sign: str, head: str, text: str) -> str:
    return (
        f'<section class="summary early" aria-live="polite"><div class="tally half">{sign}</div><div><h2>{head}</h2>'
        f"<p>{text}</p></div></section>"
    )


STOPPED = _ended("■", "Stopped.", "What was finished stays. Press the button again for all of it.")
FAILED = _ended("!", "This was not finished.", "What was finished stays.")

_LEFT_OFF_JS = """(note, ...results) => {
  let going = STOP;
  const left = results.map((html) => {
    const page = document.createElement("template");
    page.innerHTML = html ?? "";
    const running = page.content.querySelectorAll(".running");
    if (!running.length) return html;
    going = true;
    running.forEach((one) => one.classList.remove("running"));
    page.content.querySelectorAll(".passing, .tile.waiting, .tile.coming").forEach((one) => one.remove());
    return page.innerHTML;
  });
  return [note || (going ? NOTE : ""), ...left];
}"""


def left_off_js(stopped: bool) -> str:
    """In the browser, after work that did not come to its end: a note, and the results without what was on its way.

    It takes the note that is there, and any number of results as HTML, and gives the same. A mistake that a message
    explains needs no note unless something was on its way; what is stopped may fail, too, and the first note stays.
    """
    note = STOPPED if stopped else FAILED
    return _LEFT_OFF_JS.replace("STOP", json.dumps(stopped)).replace("NOTE", json.dumps(note))


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
        f"{_whose(result.identity)}</div></section>"
    )


def _unjudged(scores: Sequence[Line]) -> str:
    if any(line["similarity"] is not None for line in scores):
        return f"The numbers are cosines by the encoder that made the face vector; {UNCALIBRATED}"
    return "Nothing was measured: no face was found in the pictures, or the model has no face encoder either."


def evidence(result: Result) -> str:
    """What the scores mean, both plots, and the scores picture by picture."""
    known, scores = result.reference, result.scores
    meaning = _unjudged(scores) if known is None else known.explanation
    figures = [f'<p class="note wide">{escape(meaning)}</p>']
    judged = [
        (number, line["judge_similarity"])
        for number, line in enumerate(scores, start=1)
        if line["judge_similarity"] is not None
    ]
    if known is not None and not judged:
        figures.append(
            '<figure><figcaption>Like the person asked for?</figcaption><p class="note">No face was found in any of '
            "these pictures, so none was measured.</p></figure>"
        )
    elif known is not None:
        histogram = plots.score_histogram(
            judged,
            known.genuine,
            known.impostor,
            known.threshold,
            known.fmr,
        )
        figures.append(
            "<figure><figcaption>Like the person asked for?<span>Each dot is a picture. Right of the line, it counts "
            f"as the same person.</span></figcaption>{histogram}</figure>"
        )
    by = "encoder" if known is None else "judge"
    if result.matrix is not None and len(scores) > 1:
        dotted = ""
        if known is not None and (result.matrix < known.pair_threshold).any():
            dotted = "; dotted: too unlike for two pictures of one person"
        matrix = plots.similarity_matrix(result.matrix, None if known is None else known.pair_threshold, by)
        figures.append(
            f"<figure><figcaption>Like each other?<span>Every picture against every other, by the {by}; stronger is "
            f'more alike{dotted}.</span></figcaption>{matrix}<div class="pair">Point at a cell to see the two pictures.'
            "</div></figure>"
        )
    elif result.matrix is not None:
        figures.append(
            '<figure><figcaption>Like each other?</figcaption><p class="note">One picture has no other to be compared '
            "with: generate two or more.</p></figure>"
        )
    rows = "".join(
        f"<tr><td>{number}</td>"
        + (f"<td>{chip(line['match'], line['judge_similarity'], words=True)}</td>" if known is not None else "")
        + f'<td>{_number(line["similarity"])}</td><td class="seed">{image.seed}</td></tr>'
        for number, (line, image) in enumerate(zip(scores, result.images, strict=True), start=1)
    )
    judge = "<th>Judge</th>" if known is not None else ""
    why = (
        "The judge gives the verdict. The encoder made the face vector, so its own score flatters: shown for "
        "comparison only."
        if known is not None
        else "The encoder made the face vector, so its own score flatters, and there is no judge."
    )
    figures.append(
        '<figure class="wide"><details><summary>Picture by picture: judge and encoder apart</summary>'
        f'<p class="note">{why}</p><div class="scores"><table>'
        f"<thead><tr><th>Picture</th>{judge}<th>Encoder</th><th>Seed</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></details></figure>"
    )
    return f'<div class="evidence">{"".join(figures)}</div>'


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


# ---------------------------------------------------------------- two people


def morph_status(progress: Progress) -> str:
    """How far the strip is."""
    tally = f'<div class="tally going">{progress.share:.0%}</div>'
    return _status(tally, f"Painting {MORPH} people between A and B.", "", progress.share, kind="passing")


def morph(result: Morph, tiles: Sequence[str]) -> str:
    """The strip with its lines."""
    which = "similarity" if result.reference is None else "judge_similarity"
    first, second = ([line[which] for line in side] for side in result.scores)
    plot = ""
    if all(value is not None for value in (*first, *second)):
        plot = plots.crossing(first, second, None if result.reference is None else result.reference.threshold)
    a, b = (escape(_name(end) if not end.from_photo else _kind(end)) for end in result.ends)
    return (
        f'<section class="strip" aria-live="polite"><h2>{escape(result.sentence)}</h2>'
        f'{grid(tiles, MORPH, kind="line")}<div class="ends"><span><i class="letter a">A</i>{a}</span>'
        f'<span>{b}<i class="letter b">B</i></span></div>{plot}</section>'
    )


def compared(result: Compared) -> str:
    """Both pictures with their faces, and the verdict."""
    photos = "".join(
        f'<img alt="Picture {number} with the face that was found" src="{_jpeg(face.marked)}">'
        for number, face in enumerate(result.faces, 1)
    )
    if result.comparison is None or result.reference is None:
        head, kind, plot = f"Cosine {result.cosine:.2f}", "none", ""
    else:
        head = ("✓ " if result.comparison.match else "✗ ") + result.comparison.verdict.capitalize()
        kind = "pass" if result.comparison.match else "fail"
        score = result.comparison.judge_cosine
        plot = plots.score_histogram(
            [(1, score if score is not None else result.comparison.cosine)],
            result.reference.genuine,
            result.reference.impostor,
            result.reference.threshold,
            result.reference.fmr,
            "similarity of two pictures, by the judge (cosine)",
            "these two",
        )
    numbers = ""
    if result.comparison is not None:
        numbers = (
            f'<div class="scores"><table><thead><tr><th></th><th>Cosine</th><th>Same from</th></tr></thead><tbody>'
            f"<tr><td>Judge (verdict)</td><td>{_number(result.comparison.judge_cosine)}</td>"
            f"<td>{_number(result.comparison.judge_threshold)}</td></tr><tr><td>Encoder</td>"
            f"<td>{result.comparison.cosine:.2f}</td><td>{result.comparison.threshold:.2f}</td></tr>"
            "</tbody></table></div>"
        )
    return (
        f'<section class="compared" aria-live="polite"><div class="couple">{photos}</div>'
        f'<h2><span class="chip {kind} large">{escape(head)}</span></h2><p class="note">{escape(result.sentence)}</p>'
        f'<div class="evidence">{f"<figure>{plot}</figure>" if plot else ""}'
        f"{f'<figure>{numbers}</figure>' if numbers else ''}</div></section>"
    )


# ---------------------------------------------------------------- explore


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
        return (
            f"{at}: similarity {point.similarity:.2f}, difference {point.diversity:.2f}. {result.model} has no judge."
        )
    return (
        f"{at}, {point.matches} of {point.recipe.images} are still the same person, "
        f"and two pictures differ by {point.diversity:.2f}."
    )


def neighbours(found: Sequence[Neighbour], tiles: Sequence[str], wanted: int, crowd: int) -> str:
    """The nearest sampled people."""
    rest = ['<li class="tile waiting" aria-hidden="true"></li>'] * (wanted - len(tiles))
    named = "".join(f"<li>{escape(one.identity.name)}<small>cosine {one.cosine:.2f}</small></li>" for one in found)
    return (
        f'<section class="strip {"running" if rest else ""}"><h2>The nearest of {crowd} sampled people</h2>'
        f'<p class="note">Cosine of their face vectors to this person\'s. All of them are invented.</p>'
        f'<ul class="grid line" style="--count:{wanted}" aria-label="Nearest people">{"".join([*tiles, *rest])}</ul>'
        f'<ul class="names" style="--count:{wanted}">{named}</ul></section>'
    )
