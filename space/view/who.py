"""Who is asked for, and whether they exist."""

from __future__ import annotations

from html import escape

from idgen.identity import Identity

from ..actions import Found
from .texts import SVG
from .tiles import jpeg, uri


def person(identity: Identity | None, detail: str = "", letter: str = "") -> str:
    """Who is asked for, and whether they exist."""
    if identity is None:
        return nobody("Choose somebody first.")
    text = "This person may exist." if identity.from_photo else "Sampled: does not exist."
    label = f'<i class="letter {letter.lower()}">{letter}</i>' if letter else SVG.format(shift=0)
    return (
        f'<div class="person">{label}<div><b>{escape(called(identity))}</b>'
        f"<span>{escape(detail or text)}</span></div></div>"
    )


def nobody(sentence: str, head: str = "Nobody yet") -> str:
    """That there is no person, and what to do about it."""
    return f'<div class="person none"><div><b>{head}</b><span>{escape(sentence)}</span></div></div>'


def whose(identity: Identity) -> str:
    """Beside pictures, which stay when somebody else is chosen."""
    text = "This person may exist." if identity.from_photo else "Sampled: does not exist."
    return f'<p class="whose"><b>{escape(called(identity))}</b> · {text}</p>'


def called(identity: Identity) -> str:
    """What to call a person."""
    if identity.from_photo:
        return "A face vector from outside" if "vector from outside" in identity.source else "From a photo"
    parts = identity.name.split("-")
    return f"Person {parts[1]}" if len(parts) == 3 and parts[0] == "person" else identity.name


def sampled(identity: Identity, nearest: float, people: int) -> str:
    """Who was drawn, and how far from everybody the model was trained on."""
    return person(
        identity,
        f"Does not exist. Closest of the {people:,} people the model learned from: similarity {nearest:.2f}.",
    )


def found(found: Found, notice: str = "") -> str:
    """The faces that were found in the photos, what the identity came from, and what the encoder has to say."""
    photos = "".join(
        f'<img class="found" alt="Photo {number} with the face that was found" src="{jpeg(face.marked)}">'
        for number, face in enumerate(found.faces, 1)
    )
    count = len(found.faces)
    what = "Face found" if count == 1 else f"{count} faces found, and averaged"
    several = sum(face.faces > 1 for face in found.faces)
    more = f" The largest face was taken where there were several ({several} of {count})." if several else ""
    crops = "".join(f'<img class="face" alt="" src="{jpeg(face.face)}">' for face in found.faces[:3])
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
    return (
        f'<div class="download"><a id="identity-file" download="{escape(name)}.safetensors" '
        f'href="{uri(content, "application/octet-stream")}">Face vector</a></div>'
    )
