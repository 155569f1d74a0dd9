"""Sets of recogniser-ready crops: of any pictures, found and cut out; and whether a set is one already."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from idgen import models
from idgen.faces.align import ALIGNMENTS, scale_of, similarity
from idgen.faces.finder import FaceFinder, whole_view
from idgen.ground import arguments, files, provenance
from idgen.ground import domain as domains
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError, NoFaceError, require_package
from idgen.ground.geometry import TEMPLATE_SIZE, apply
from idgen.ground.hub import BUILTIN, DEFAULT_MODEL
from idgen.ground.identity import Identities, folder_names
from idgen.ground.images import ImageSource, is_picture, open_image
from idgen.ground.words import count
from idgen.model import Model, load_model
from idgen.models.finder import FaceFinderNet
from idgen.sets import IDENTITIES, MANIFEST, Source, read_manifest, read_source
from idgen.similarity import batched

SETTINGS, NOTES = "aligned.json", "aligned.jsonl"
"""How the pictures of a folder were aligned; and, beside Parquet, what became of every picture of the source."""
LOOKED_AT, AWAY = 24, 0.14
"""Pictures of a set by which it is told whether they are aligned; and how far most of them may be off: the logarithm of
the scale, or the shift in sides, or radians. ArcFace's crops of renders and photographs have .04 to .07, FFHQ's .21,
photographs 1.1."""
_PART = 256  # pictures of a Parquet file


class Aligner:
    """Cuts faces out for recognisers.

    Args:
        model: whose encoder finds them; on photographs dlib does, where the extra `photos` is installed.
        size: side of the crops in pixels; by default what the alignment has.
        alignment: `arcface` or `ffhq`, see `idgen.faces.align.ALIGNMENTS`.

    Raises:
        InputError: there is no such alignment, or the size is out of range.
    """

    def __init__(self, model: Model, size: int | None = None, alignment: str = "arcface"):
        if alignment not in ALIGNMENTS:
            raise InputError(f"There is no alignment {alignment!r}: choose one of {', '.join(ALIGNMENTS)}.")
        self.model, self.alignment = model, alignment
        self.size = ALIGNMENTS[alignment].size if size is None else arguments.whole("size of the crops", size, 16, 2048)

    @pinned()
    def cut(self, picture: ImageSource, face: int | None = None, domain: str | None = None) -> tuple[Image.Image, int]:
        """The crop of a face, and how many faces there are.

        Args:
            picture: any.
            face: which, from 1 for the largest; by default that.
            domain: what kind of picture it is; by default what its file says.

        Raises:
            NoFaceError: there is none, or not so many.
            InputError: the picture cannot be opened, or the model has no finder.
        """
        seen, one, found = self.model.encoder.locate(picture, domain, face or 1)
        return ALIGNMENTS[self.alignment].cut(seen, one.landmarks, self.size), len(found)

    def of_its_own(self, picture: ImageSource) -> Image.Image:
        """The crop of a picture that the model made: where its pictures are such crops already, resized."""
        if self.model.pipeline.aligned and self.model.encoder.alignment == self.alignment:
            return open_image(picture).resize((self.size, self.size), Image.Resampling.BILINEAR)
        return self.cut(picture)[0]


def encode(crop: Image.Image, source: ImageSource) -> bytes:
    """A crop as a PNG file, which says that it is generated if its source does. InputError if it cannot be signed."""
    mark = provenance.mark_of(source)
    if mark is not None:
        return provenance.marked(crop, mark)
    file = io.BytesIO()
    crop.save(file, "PNG")
    return file.getvalue()


@dataclass
class Aligned:
    """What became of a set.

    Args:
        out: the folder.
        pictures: of the source; faces: those that were cut out, now or before.
        several: pictures with more faces than the one.
        faceless, unreadable: names of those that were left out.
        face: which face was asked for.
        note: files of the source that are no pictures, in a sentence.
    """

    out: Path
    pictures: int = 0
    faces: int = 0
    several: int = 0
    faceless: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    face: int | None = None
    note: str = ""

    def lines(self) -> list[str]:
        """For people."""
        said = [f"{count(self.faces, 'face', 'faces')} of {count(self.pictures, 'picture', 'pictures')}: {self.out}"]
        if self.several:
            which = "the largest" if self.face is None else f"number {self.face}"
            said.append(f"{count(self.several, 'picture', 'pictures')} had several faces: {which} was taken (--face).")
        without = "without a face" if self.face in (None, 1) else f"without a face {self.face}"
        kinds = ((self.faceless, without), (self.unreadable, "that cannot be read"))
        if parts := [f"{len(names):,} {what} ({_some(names)})" for names, what in kinds if names]:
            said.append(f"Left out: {' and '.join(parts)}.")
        return [*said, *([self.note] if self.note else [])]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + ", …" * (len(names) > 3)


def align_set(
    source: str | Path,
    out: str | Path,
    *,
    size: int | None = None,
    alignment: str = "arcface",
    face: int | None = None,
    parquet: bool = False,
    domain: str | None = None,
    model: str | Path | Model = DEFAULT_MODEL,
    device: str | None = None,
    progress: bool = True,
) -> Aligned:
    """Cut a face out of every picture of a set, for recognisers and for training.

    Called again it goes on where it stopped. A folder gets the pictures as they lie in the source, as PNG, and
    `manifest.jsonl`; Parquet gets `image`, `identity`, `source` and the source's own columns. Crops of generated
    pictures say that they are generated.

    Args:
        source: a folder of pictures, with or without a folder a person, one by `idgen generate`, or Parquet.
        out: the folder to write.
        size, alignment: see `Aligner`.
        face: which face of each picture, from 1 for the largest; by default that.
        parquet: write Parquet instead of pictures.
        domain: what kind of pictures they are; by default what each one's file says.
        model: whose encoder finds the faces.
        device: for the networks.
        progress: show a bar.

    Raises:
        InputError: nothing readable is there, no picture has a face, or `out` holds something else.
    """
    out, loaded = Path(out), load_model(model, device) if isinstance(model, str | Path) else model
    if face is not None:
        arguments.whole("number of the face", face, 1)
    if domain is not None:
        domains.check(domain)
    aligner, found = Aligner(loaded, size, alignment), read_source(source, labelled=False)
    if found.raw is None:
        raise InputError(f"{source} holds vectors: give pictures.")
    if parquet:
        require_package("pyarrow.parquet", "eval", "Writing Parquet")
    _settle(out, Path(source), {"alignment": alignment, "size": aligner.size, "face": face, "parquet": parquet})
    if found.wanted:
        Identities.of(found.wanted.values()).save(out / IDENTITIES)
    done = _noted(out, parquet)
    rows = [row for row in range(len(found)) if str(found.names[row]) not in done]
    bar = tqdm(total=len(found), initial=len(found) - len(rows), desc=out.name, unit="image", disable=not progress)
    paths = _paths(found)
    with bar, (out / (NOTES if parquet else MANIFEST)).open("a", encoding="utf-8") as notes:
        for some in batched(rows, _PART if parquet else 1):
            lines, faces = [], []
            for row in some:
                line, data = _look(aligner, found, row, face, domain)
                lines.append(line)
                if data is not None:
                    faces.append((row, line, data))
                bar.update()
            if faces:
                _write(out, found, faces, paths, parquet, len({one.get("part") for one in done.values()} - {None}))
            notes.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
            notes.flush()
            done |= {line["source"]: line for line in lines}
    lines = [done[str(name)] for name in found.names]
    kept = sum("faces" in line for line in lines)
    if not kept:
        raise InputError(
            f"No face was found in any of {len(lines):,} pictures of {source}: are they pictures of faces?"
        )
    named = {why: [str(one["source"]) for one in lines if one.get("left_out") == why] for why in ("face", "file")}
    several = sum(line.get("faces", 0) > 1 for line in lines)
    return Aligned(out, len(lines), kept, several, named["face"], named["file"], face, found.note)


def progress_of(source: str | Path, out: str | Path) -> tuple[int, int]:
    """How many pictures of a source were looked at, and how many there are."""
    notes = Path(out) / NOTES
    return len(_noted(Path(out), notes.is_file())), len(read_source(source, labelled=False))


def _look(
    aligner: Aligner, source: Source, row: int, face: int | None, domain: str | None
) -> tuple[dict[str, Any], bytes | None]:
    """What is noted of a picture, and the file of its crop."""
    about: dict[str, Any] = {"source": str(source.names[row])}
    assert source.raw is not None
    try:
        raw = source.raw(row)
        crop, number = aligner.cut(raw, face, domain)
    except NoFaceError:
        return {**about, "left_out": "face"}, None
    except InputError:
        return {**about, "left_out": "file"}, None
    return {**about, "faces": number}, encode(crop, raw)


def _write(
    out: Path,
    source: Source,
    faces: Sequence[tuple[int, dict[str, Any], bytes]],
    paths: Sequence[str],
    parquet: bool,
    part: int,
) -> None:
    """Write some crops, and note in their lines where they are."""
    rows = []
    for row, line, data in faces:
        told = {name: values[row].item() for name, values in source.columns.items()}
        if parquet:
            own = {"identity": str(source.labels[row]), "source": line["source"]}
            rows.append({"image": {"bytes": data, "path": paths[row]}, **told, **own})
            line["part"] = part
            continue
        known = {name: value for name, value in told.items() if not (isinstance(value, float) and math.isnan(value))}
        k = known.pop("k", row)
        line |= {"file": paths[row], "identity": str(source.labels[row]), "k": k, "attributes": known}
        files.write(out / paths[row], data)
    if parquet:
        _write_part(rows, out / "data" / f"{part:05d}.parquet")


def _write_part(rows: list[dict[str, Any]], path: Path) -> None:
    """Rows as Parquet that `datasets` and the Hub's viewer open with pictures."""
    pa, pq = (require_package(name, "eval", "Writing Parquet") for name in ("pyarrow", "pyarrow.parquet"))
    table, file = pa.Table.from_pylist(rows), io.BytesIO()
    kinds: dict[str, Any] = {"double": "float64", "float": "float32"}
    features = {one.name: {"dtype": kinds.get(str(one.type), str(one.type)), "_type": "Value"} for one in table.schema}
    features["image"] = {"_type": "Image"}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(about), file, row_group_size=100)
    files.write(path, file.getvalue())


def _settle(out: Path, source: Path, how: dict[str, Any]) -> None:
    """Make the folder ready, or refuse it."""
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{out} lies in {source}, of which it is to be made: choose another folder.")
    files.check_writable(out)
    settings = {"format": "idgen.aligned", **how}
    before = files.read_json(out / SETTINGS) if (out / SETTINGS).is_file() else None
    if before is None and out.is_dir() and any(not files.left_behind(path.name) for path in out.iterdir()):
        raise InputError(f"{out} holds other files: choose another folder.")
    for name, value in settings.items():
        if before is not None and before.get(name) != value:
            was = f"faces with {name} {before.get(name)}, not {value}"
            raise InputError(f"{out} holds {was}: choose another folder, or delete it.")
    files.write_json(out / SETTINGS, settings)


def _noted(out: Path, parquet: bool) -> dict[str, dict[str, Any]]:
    """What became of pictures before, by their names."""
    notes, there = out / (NOTES if parquet else MANIFEST), {one["file"] for one in read_manifest(out)}
    done: dict[str, dict[str, Any]] = {}
    text = notes.read_text("utf-8") if notes.is_file() else ""
    if text and not text.endswith("\n"):  # the process was killed while it wrote this line
        text = text[: text.rfind("\n") + 1]
        files.write(notes, text)
    for line in map(json.loads, text.splitlines()):
        if parquet or line.get("file") is None or line["file"] in there:
            done[line["source"]] = line
    return done


def _paths(source: Source) -> list[str]:
    """Where each crop goes: as in the source, or into a folder a person."""
    people = dict(zip(unique := np.unique(source.labels).tolist(), folder_names(unique), strict=True))
    out: list[str] = []
    taken: set[str] = set()
    for row, name in enumerate(source.names.tolist()):
        path = PurePath(name)
        if not is_picture(Path(name)) or path.is_absolute() or ".." in path.parts:
            path = PurePath(people[source.labels[row]], f"{row:06d}")
        place = path.with_suffix(".png").as_posix()
        if place.casefold() in taken:  # the same name with another ending
            place = path.with_name(f"{path.name}.png").as_posix()
        taken.add(place.casefold())
        out.append(place)
    return out


@pinned()
def unaligned(pictures: Sequence[Image.Image], alignment: str = "arcface") -> str:
    """How square pictures differ from crops of an alignment, in words: "" where they do not, or show no faces.

    The built-in finder's first look at each says where the landmarks are; most of them have to be where that has them.
    """
    folder = BUILTIN / DEFAULT_MODEL / "encoder" / "finder"
    finder = FaceFinder(models.load(folder, FaceFinderNet))
    away = np.array([offset for picture in pictures if (offset := _away(finder, picture, alignment)) is not None])
    if len(away) < max(2, len(pictures) / 3):
        return ""
    scale, shift, turn = np.median(away, axis=0)
    if max(abs(scale), shift, turn) <= AWAY:
        return ""
    if abs(scale) > AWAY:
        return f"{math.exp(abs(scale)):.1f} times too {'small' if scale > 0 else 'large'}"
    return f"off by {shift:.0%} of the side" if shift > AWAY else f"turned by {math.degrees(turn):.0f} degrees"


def _away(finder: FaceFinder, picture: Image.Image, alignment: str) -> tuple[float, float, float] | None:
    """How far the surest face is from where the alignment has it: the logarithm of the scale that it lacks, the shift
    in sides, and the angle in radians."""
    views = [whole_view(*picture.size, finder.view_size, zoom) for zoom in (1.0, finder.padded)]
    found = [face for faces in finder.look(picture, views, finder.threshold) for face in faces]
    if not found:
        return None
    best = max(found, key=lambda face: face.confidence)
    there = ALIGNMENTS[alignment].places(TEMPLATE_SIZE)
    to_template = similarity(best.landmarks * (TEMPLATE_SIZE / picture.width), there)
    middle = np.full(2, TEMPLATE_SIZE / 2)
    shift = float(np.linalg.norm(apply(to_template, middle) - middle)) / TEMPLATE_SIZE
    return math.log(scale_of(to_template)), shift, abs(math.atan2(to_template[1, 0], to_template[0, 0]))


def check_aligned(source: Source, path: str | Path, or_else: str = "", alignment: str = "arcface") -> None:
    """Refuse a set whose square pictures are no crops of an alignment, by the look of some.

    Args:
        source: the set; path: where it is.
        or_else: what can be done instead of cutting them out, in words, with a comma before.
        alignment: a name in `idgen.faces.align.ALIGNMENTS`.

    Raises:
        InputError: it is such a set.
    """
    pictures = []
    for row in np.unique(np.linspace(0, len(source) - 1, min(len(source), LOOKED_AT)).astype(int)):
        with suppress(InputError):  # who reads them all counts those that cannot be
            assert source.open is not None
            pictures.append(source.open(int(row)))
    how = unaligned([picture for picture in pictures if picture.width == picture.height], alignment)
    if how:
        way = "" if alignment == "arcface" else f" --alignment {alignment}"
        wrong = f"The faces in {path} are not aligned, most of them are {how}"
        raise InputError(f"{wrong}: cut them out first, by idgen align {path} OUT{way}, and take OUT{or_else}.")
