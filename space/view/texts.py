"""The page's standing texts."""

from __future__ import annotations

from collections.abc import Sequence

from ..actions import MORPH
from ..settings import INVERSION, Settings

SVG = (
    '<svg class="face" viewBox="0 0 64 64" aria-hidden="true"><g transform="translate({shift})">'
    '<circle cx="32" cy="27" r="11.5"/><path d="M13 64c0-13 8-20 19-20s19 7 19 20z"/></g></svg>'
)
"""A face of nobody in particular."""

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


def _empty(title: str, text: str, steps: Sequence[tuple[str, str]]) -> str:
    ghosts = "".join(SVG.format(shift=shift) for shift in (0, 4, -4, 1))
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


def vector_note(space: str) -> str:
    """What a face vector is, and what it can be abused for."""
    takes = f"This model takes vectors of the space {space!r}."
    return f'<p class="note">A .safetensors file by idgen, or a bare .npy. {takes} {INVERSION}</p>'


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
