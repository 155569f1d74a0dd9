"""Measure what a recogniser's scores mean: error rates with their domain, into the file that verdicts are read from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from idgen.evaluation.bins import read_bin
from idgen.evaluation.measures import read_pairs
from idgen.evaluation.reading import Reader
from idgen.faces.encoder import FaceEncoder
from idgen.faces.resolve import folder_of, recogniser, user_calibration
from idgen.ground import domain as domains
from idgen.ground import files, hub
from idgen.ground.errors import InputError
from idgen.ground.words import count, one_in, percent
from idgen.model import load_model
from idgen.scoring.calibration import CALIBRATION_NAME, Calibration, calibrations_of, from_dict, to_dict, with_domain


@dataclass(frozen=True)
class Calibrated:
    """What was measured, and where it went.

    Args:
        calibration: the new one.
        path: the file.
        readers: who reads it from there, in words.
    """

    calibration: Calibration
    path: Path
    readers: str

    def lines(self) -> list[str]:
        """For people."""
        known = self.calibration
        rates = known.rates("image-image")
        who = f"{count(known.people, 'person', 'people')}, " if known.people else ""
        pairs = f"{rates.genuine_pairs:,} pairs of one person, {rates.impostor_pairs:,} of different people"
        said = [f"{known.space} on {domains.pictures(known.domain)}: {who}{count(known.images, 'picture', 'pictures')}"]
        said += [pairs, f"Equal error rate {percent(rates.eer)}{_interval(rates.intervals.get('eer'))}"]
        for rate, threshold in rates.thresholds.items():
            if threshold is None or (tar := rates.tar[rate]) is None:
                said.append(f"At a false-match rate of {one_in(float(rate))}: too few comparisons to say")
                continue
            ends = _interval(rates.intervals.get(f"tar@{rate}"))
            where = f"At a false-match rate of {one_in(float(rate))}: threshold {threshold:.3f}"
            said.append(f"{where}, {percent(tar)}{ends} of the pairs of one person match")
        said.append(f"The intervals (95 %) are over {known.resampled}")
        return [*said, f"Written to {self.path}: {self.readers}"]


def _interval(ends: list[float] | None) -> str:
    return "" if ends is None else f" ({percent(ends[0])} to {percent(ends[1])})"


def calibrate(
    name: str,
    source: str | Path,
    *,
    domain: str | None = None,
    pairs: str | Path | None = None,
    out: str | Path | None = None,
    into: str | Path | None = None,
    data: str | None = None,
    aligned: bool = False,
    progress: bool = True,
) -> Calibrated:
    """Measure a recogniser on people that it never saw, and keep the calibration beside those of other domains.

    Args:
        name: of the recogniser, see `idgen.faces.resolve`.
        source: labelled pictures (a folder a person, Parquet, a folder by `idgen generate`), or insightface's `.bin`.
        domain: what kind of pictures they are; by default what their files say, and photographs.
        pairs: text file of the pairs to compare, instead of all; the people are then not used.
        out: file to write.
        into: folder of a model whose encoder or judge this recogniser is.
        data: where the pictures come from, in words; by default the set's name.
        aligned: they are face crops as the recogniser aligns them; else faces are found and aligned first.
        progress: show bars.

    Raises:
        InputError: something cannot be read, there are too few people or pairs, the model has no such recogniser, or a
            calibration that carries a false-match rate would be replaced by one that carries none.
    """
    encoder = recogniser(name)
    target, readers = _target(encoder, name, out, into)
    reader = Reader(None, aligned, progress, [name], "leave --aligned out")
    if Path(source).suffix == ".bin":
        listed = read_bin(source)
        rows, (vectors,) = reader.embed(listed.picture, len(listed.pictures), Path(source).name)
        place = np.full(len(listed.pictures), -1)
        place[rows] = np.arange(len(rows))
        both = (place[::2] >= 0) & (place[1::2] >= 0)
        if not both.any():
            raise InputError(f"No pair of {source} has a face in both pictures: are they pictures of faces?")
        cosines = (vectors[place[::2][both]] * vectors[place[1::2][both]]).sum(1).numpy()
        of = domains.PHOTOGRAPHS if domain is None else domains.check(domain)
        new = Calibration.of_pairs(encoder.space, cosines, listed.same[both], data or Path(source).name, of)
    else:
        set_ = reader.read(source)
        vectors, of = set_.by[0].vectors, set_.source.domain if domain is None else domains.check(domain)
        if pairs is not None:
            chosen = read_pairs(pairs, set_.source.names)
            cosines = (vectors[chosen.first] * vectors[chosen.second]).sum(1).numpy()
            seen = len(np.union1d(chosen.first, chosen.second))
            new = Calibration.of_pairs(encoder.space, cosines, chosen.same, data or set_.source.name, of, seen)
        else:
            new = Calibration.measure(encoder.space, vectors, set_.source.labels, data or set_.source.name, of)
    before = from_dict(files.read_json(target)) if target.is_file() else []
    if any(one.space != new.space for one in before):
        raise InputError(f"{target} is of the space {before[0].space!r}, not of {new.space!r}: give another --out.")
    if (
        out is None
        and not _carried(new)
        and any(_carried(one) for one in (*before, *calibrations_of(encoder)) if one.domain == of)
    ):
        raise InputError(
            f"{new.rates('image-image').impostor_pairs:,} comparisons of different people are too few for any "
            f"false-match rate, and would take the place of a calibration on {domains.pictures(of)} that carries one: "
            "give more people, or --out FILE."
        )
    files.write_json(target, to_dict(with_domain(before, new)))
    return Calibrated(new, target, readers)


def _carried(known: Calibration) -> bool:
    """Whether its comparisons are enough for a false-match rate."""
    return any(at is not None for rates in known.kinds.values() for at in rates.thresholds.values())


def _target(encoder: FaceEncoder, name: str, out: str | Path | None, into: str | Path | None) -> tuple[Path, str]:
    """The file to write, and who will read it."""
    if out is not None:
        files.check_writable_file(out)
        return Path(out), "whoever is given it; put it into the recogniser's folder as calibration.json"
    if into is not None:
        model = load_model(into)
        if model.folder.is_relative_to(hub.BUILTIN):
            raise InputError(f"{into} is inside the package: copy the folder, or give --out.")
        for part in ("judge", "encoder"):
            config = model.folder / part / "config.json"
            if config.is_file() and files.read_json(config).get("space") == encoder.space:
                return model.folder / part / CALIBRATION_NAME, f"the {part} of {model.name}, for every verdict"
        raise InputError(f"{model.name} has no encoder and no judge of the space {encoder.space!r}: give it one first.")
    if (folder := folder_of(name)) is not None:
        return folder / CALIBRATION_NAME, f"everybody who loads {folder}"
    return user_calibration(encoder.space), f"`idgen evaluate --by {name}` and verdicts on this machine"
