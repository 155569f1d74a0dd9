"""`idgen audit`: what a face set must tell about itself, section by section, as JSON, as CSV and as a page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from idgen.auditing import attributes as looks
from idgen.auditing import capacity, counterfactual, groups, inversion, lookalikes, quality, realness, search
from idgen.auditing.labels import predicted, told
from idgen.auditing.looking import Looked, look
from idgen.auditing.page import write_csv, write_page
from idgen.auditing.section import Audited, Figure, Section
from idgen.evaluation.reading import Reader
from idgen.evaluation.results import Level, finite
from idgen.faces.reader import AttributeReader
from idgen.ground import arguments, files
from idgen.ground import domain as domains
from idgen.ground.domain import pictures
from idgen.ground.version import __version__
from idgen.ground.words import count
from idgen.model import Model, load_model

JSON, CSV, PAGE, SEEN, DONE = "audit.json", "audit.csv", "audit.html", "seen", "sections"
SECTIONS: dict[str, Callable[[Audited], Section]] = {
    "groups": groups.section,
    "quality": quality.section,
    "attributes": looks.section,
    "capacity": capacity.section,
    "lookalikes": lookalikes.section,
    "search": search.section,
    "inversion": inversion.section,
    "realness": realness.section,
    "counterfactual": counterfactual.section,
}
"""In their order."""


@dataclass(frozen=True)
class Audit:
    """What was found.

    Args:
        name: of the set.
        about: how many pictures of how many people, of what kind.
        sections: in order.
        notes: what was left out.
    """

    name: str
    about: str
    sections: list[Section]
    notes: list[str]

    @property
    def summary(self) -> list[tuple[Level, str]]:
        """All findings."""
        return [found for one in self.sections for found in one.findings]

    def figure(self, section: str, name: str, by: str = "", group: str = "") -> Figure:
        """One figure of a section; KeyError where there is none."""
        for one in self.sections:
            for found in one.figures if one.key == section else ():
                if (found.name, found.group) == (name, group) and by in ("", found.by):
                    return found
        raise KeyError((section, name, by, group))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        about = {"format": "idgen.audit", "version": 1, "set": self.name, "about": self.about, "notes": self.notes}
        return finite({**about, "sections": [one.to_dict() for one in self.sections]})


def audit(
    source: str | Path,
    out: str | Path,
    *,
    by: Sequence[str] = (),
    against: str | Path | None = None,
    labels: str | Path | None = None,
    model: str | Path | Model | None = None,
    sections: Sequence[str] = (),
    aligned: bool = True,
    domain: str | None = None,
    fmr: float = arguments.FMR,
    paint: int = 0,
    seed: int = 0,
    device: str | None = None,
    progress: bool = True,
) -> Audit:
    """Audit a set and write `audit.json`, `audit.csv` and `audit.html` into a folder.

    Pictures are looked at once, what was seen of them lies in files under `seen/`, and a finished section under
    `sections/`: called again with the same arguments, it goes on where it was interrupted.

    Args:
        source: a folder by `idgen generate`, Parquet with `image` and `identity`, a folder with one sub-folder a
            person, or a file of vectors.
        out: folder for the results.
        by: recognisers by their names (`idgen.faces.resolve`), instead of the model's judge and encoder.
        against: another set: what the first is compared with, such as real pictures, or a test set.
        labels: CSV of what is known of the pictures, see `idgen.auditing.labels`.
        model: whose judge and encoder look at the pictures where `by` is empty, whose attribute reader reads them, and
            whose generator is asked; by default the built-in model, without `by`.
        sections: their keys; by default all.
        aligned: pictures are aligned faces; else faces are found and aligned first.
        domain: what kind of pictures `source` holds (`idgen.ground.domain`); by default what their files say.
        fmr: false-match rate of the thresholds: 0.01, 0.001 or 0.0001.
        paint: people whom the model's generator pictures for the sections that need it; 0: none.
        seed: of what is drawn.
        device: for the networks.
        progress: show bars.

    Raises:
        InputError: something cannot be read, everybody is one person, or an argument is out of range.
    """
    out = Path(out)
    files.check_writable(out)
    arguments.seed(seed)
    arguments.fmr(fmr)
    arguments.whole("number of people to paint", paint, 0)
    chosen = arguments.among("section", sections, SECTIONS)
    loaded = model if isinstance(model, Model) else load_model(model or "nobody-128", device)
    asked = None if by and model is None else loaded
    reader = Reader(None if by else loaded, aligned, progress, by)
    attributes = asked.attributes if asked is not None and asked.has("attributes") else None
    looked = look(source, reader, out / SEEN / "set", attributes)
    if domain is not None:
        looked.source = replace(looked.source, domain=domains.check(domain))
    other = None if against is None else look(against, reader, out / SEEN / "against", attributes)
    audited = Audited(
        looked,
        other,
        _labels(looked, attributes, asked, labels),
        {} if other is None else _labels(other, attributes, asked, None),
        asked,
        fmr,
        seed,
        paint,
        progress,
    )
    key = _key(audited, [Path(labels).read_text("utf-8") if labels else "", *by])
    found = [
        _done_before(out / DONE / f"{name}.json", key) or _do(name, audited, out / DONE / f"{name}.json", key)
        for name in tqdm(chosen, desc="sections", disable=not progress)
    ]
    result = Audit(looked.source.name, _about(looked), found, _notes(looked))
    files.write_json(out / JSON, result.to_dict())
    files.write(out / CSV, write_csv(found))
    files.write(out / PAGE, write_page(result.name, result.about, found))
    return result


def _labels(
    looked: Looked, reader: AttributeReader | None, model: Model | None, file: str | Path | None
) -> dict[str, Any]:
    found = told(looked.source, file)
    # A predictor has a domain, as a verdict has one.
    domains_ = () if reader is None or model is None else (reader.domain, model.paints)
    if reader is not None and looked.read is not None and looked.source.domain in domains_:
        found |= predicted(looked.read, reader.vocabulary)
    return found


def _do(name: str, audited: Audited, file: Path, key: str) -> Section:
    section = SECTIONS[name](audited)
    files.write_json(file, finite({"follows_from": key, "html": section.html, **section.to_dict()}))
    return section


def _done_before(file: Path, key: str) -> Section | None:
    if not file.is_file():
        return None
    content = files.read_json(file)
    if content.pop("follows_from", None) != key:
        return None
    content["findings"] = [(one["level"], one["text"]) for one in content["findings"]]
    content["figures"] = [Figure(**one) for one in content["figures"]]
    return Section(**content)


def _key(audited: Audited, more: Sequence[str]) -> str:
    """Names what a section's result follows from."""
    asked = "" if audited.model is None else audited.model.fingerprint
    content = hashlib.sha256(json.dumps([__version__, *more, asked, audited.fmr, audited.seed, audited.paint]).encode())
    for one in filter(None, (audited.looked, audited.against)):
        content.update(json.dumps([one.source.name, one.source.domain, *one.source.labels.tolist()]).encode())
        for seen in one.by:
            content.update(f"{seen.by} {seen.space} {len(seen.calibrations)}".encode())
            content.update(seen.vectors[:: max(1, len(seen.vectors) // 1000)].tobytes())
    return content.hexdigest()[:20]


def _about(looked: Looked) -> str:
    people = count(len(set(looked.source.labels.tolist())), "person", "people")
    return f"{len(looked.source):,} {pictures(looked.source.domain)} of {people}"


def _notes(looked: Looked) -> list[str]:
    lost = count(
        looked.without_face, "picture was left out, showing no face", "pictures were left out, showing no face"
    )
    return [*filter(None, [looked.source.note]), *([f"{lost}."] if looked.without_face else [])]
