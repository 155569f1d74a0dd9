"""Results as HTML: what the visitor reads. Plain strings, everything that is not ours escaped."""

from __future__ import annotations

import base64
import io
from html import escape

from PIL import Image

from space import plots
from space.actions import Found, Result

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
</header>
"""

EMPTY = f"""
<section class="empty">
  <div class="ghosts">{"".join(_SVG.format(shift=shift) for shift in (0, 4, -4, 1))}</div>
  <h2>Nobody here yet</h2>
  <p>Press <b>Generate pictures</b>. In a few seconds you will see one person, who does not exist,
  in different poses and light.</p>
  <ol>
    <li><b>1. Who</b>A face is a list of 512 numbers. We draw one at random, or read it from a photo.</li>
    <li><b>2. Pictures</b>A diffusion model paints that face again and again, each time from other noise.</li>
    <li><b>3. Proof</b>A second network, trained apart from the first, judges each picture against the person
    asked for.</li>
  </ol>
</section>
"""

SAMPLE_NOTE = """
<p class="note">A person who does not exist, drawn at random. The same seed is always the same person.</p>
"""

PHOTO_NOTE = """
<p class="note">The photo is deleted as soon as its face is read. What stays are 512 numbers, in the memory of this
session only.</p>
"""

COLOPHON = """
<footer class="colophon">
  <p><b>AI-generated.</b> Every picture says so in its own file (XMP <i>trainedAlgorithmicMedia</i>), with the model
  and the seed that made it.</p>
  <p><b>Scores are measurements,</b> not proof of who someone is. The judge errs at a known rate, measured on people
  it has never seen.</p>
  <p><b>Nothing leaves this machine.</b> Photos are deleted once read, pictures within the hour. Nothing is
  collected.</p>
</footer>
"""


def _data(image: Image.Image) -> str:
    """A picture inside the page: it is never a file on the server."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def sampled(seed: int, nearest: float, people: int) -> str:
    """Who was drawn, and how far from everybody the model was trained on."""
    return (
        f'<div class="person">{_SVG.format(shift=0)}<div><b>Person {seed}</b>'
        f"<span>Closest of the {people:,} invented people the model learned from: similarity {nearest:.2f}</span>"
        "</div></div>"
    )


def found(found: Found) -> str:
    """The face that was found in the photo, and what the identity came from."""
    several = f" The largest of {found.faces} faces was taken." if found.faces > 1 else ""
    return (
        f'<img class="found" alt="The photo with the face that was found" src="{_data(found.marked)}">'
        f'<div class="person"><img class="face" alt="The face, aligned" src="{_data(found.face)}">'
        f"<div><b>Face found</b><span>Only its 512 numbers are used from here on.{several}</span></div></div>"
    )


def download(name: str, content: bytes) -> str:
    """The identity as a file that exists only in the visitor's browser."""
    uri = f"data:application/octet-stream;base64,{base64.b64encode(content).decode()}"
    return (
        f'<div class="download"><a id="identity-file" download="{escape(name)}.safetensors" href="{uri}">'
        "Identity (safetensors)</a></div>"
    )


def chip(match: bool, similarity: float) -> str:
    """A verdict in words and colour, with its number."""
    kind, words = ("pass", "✓ same") if match else ("fail", "✗ no match")
    return f'<span class="chip {kind}">{words} {similarity:.2f}</span>'


def caption(match: bool, similarity: float) -> str:
    """The chip over a picture in the gallery (text only; `summary` colours it)."""
    return f"{'✓' if match else '✗'} {similarity:.2f}"


def summary(result: Result) -> str:
    """The verdict in plain words, and what a score means."""
    matches = sum(score.match for score in result.scores)
    count = len(result.scores)
    kind = "half" if matches * 2 < count else ""
    failed = [number for number, score in enumerate(result.scores, 1) if not score.match]
    # Captions are text: their colour follows from their place.
    chips = ",".join(f"#pictures .grid-container > :nth-child({number}) .caption-label" for number in failed)
    style = f"<style>{chips}{{background:var(--no-soft)!important;color:var(--no)!important}}</style>" if failed else ""
    return (
        f'{style}<section class="summary" aria-live="polite">'
        f'<div class="tally {kind}">{matches}<small>of {count}</small></div>'
        f"<div><h2>{escape(result.sentence)}</h2><p>{escape(result.reference.explanation)}</p></div></section>"
    )


def evidence(result: Result) -> str:
    """Both plots, and the scores picture by picture."""
    reference, scores = result.reference, result.scores
    histogram = plots.score_histogram(
        [score.judge_similarity for score in scores],
        reference.genuine,
        reference.impostor,
        reference.threshold,
        reference.fmr,
    )
    dotted = ""
    if len(scores) > 1:
        if (result.matrix < reference.pair_threshold).any():
            dotted = "; dotted: too unlike for two pictures of one person"
        matrix = plots.similarity_matrix(result.matrix, reference.pair_threshold)
    else:
        matrix = '<p class="note">One picture has no other to be compared with: generate two or more.</p>'
    rows = "".join(
        f"<tr><td>{number}</td><td>{chip(score.match, score.judge_similarity)}</td><td>{score.similarity:.2f}</td>"
        f'<td class="seed">{image.seed}</td></tr>'
        for number, (score, image) in enumerate(zip(scores, result.images, strict=True), start=1)
    )
    return (
        '<div class="evidence">'
        "<figure><figcaption>Like the person asked for?<span>Each dot is a picture. Right of the line, it counts as "
        f"the same person.</span></figcaption>{histogram}</figure>"
        "<figure><figcaption>Like each other?<span>Every picture against every other; stronger is more alike"
        f"{dotted}.</span></figcaption>{matrix}</figure>"
        '<figure style="grid-column:1/-1"><figcaption>Picture by picture<span>The judge gives the verdict. The encoder '
        "made the face vector, so its own score flatters: shown for comparison only.</span></figcaption>"
        '<div class="scores"><table>'
        "<thead><tr><th>Picture</th><th>Judge</th><th>Encoder</th><th>Seed</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></figure></div>"
    )
