"""Photographs: the built-in finder, and verdicts on people, with and without the extra `photos`.

    python benchmarks/photographs.py --boxes dlib/examples/faces --people PEOPLE --without FOLDER
    python benchmarks/photographs.py --people PEOPLE --others OTHERS --verdicts

`--boxes` has `training.xml` and `testing.xml` as dlib's imglab writes them, which say where the faces are; a face is
found where the middle of a find lies in its box. `--people` is a folder a person: of the first sixteen one portrait
each is turned three times, and the vector of its largest face has to be that of the picture before, at a cosine of 0.9;
it is wrong where it is not, and missing where no face is found. `--without` has pictures without a face. No extra is
used. Seconds are those of one core for one picture, decoded, of 480 pixels at least. `--verbose` names what went wrong,
`--finder` is the folder of another network than the built-in one.

`--verdicts`: without the extra, how many of twenty pairs of photographs get a verdict at all, which has to be 0. With
it, dlib is calibrated on `--others`, also a folder a person, and its thresholds are tried on `--people`: its equal
error rate there, the rate of false verdicts ÷ the stated one, and the share of true ones, at the strictest rate that
the others carry; and the same by the calibration that ships.
"""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from common import options, use_cores
from PIL import Image
from tqdm.auto import tqdm

from idgen import models
from idgen.evaluation.reading import Reader
from idgen.faces.encoder import FaceEncoder
from idgen.faces.finder import FaceFinder
from idgen.faces.resolve import recogniser
from idgen.ground import arguments
from idgen.ground.domain import PHOTOGRAPHS
from idgen.ground.hub import BUILTIN
from idgen.ground.images import is_picture, open_image
from idgen.model import load_model
from idgen.models.finder import FaceFinderNet
from idgen.scoring import Calibration, Scorer, calibrations_of, meaning
from idgen.scoring.verification import Verification, pair_scores

SIZES = (0.06, 0.08, 0.1, 0.13, 1.0)
"""Edges between sizes of faces: the box's side ÷ the picture's longer one."""
SIXTEEN, SAME = 16, 0.9


def pictures(folder: Path) -> list[Path]:
    """All pictures in a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and is_picture(path))


class Bench:
    """Finds faces by the built-in encoder, and notes how long it takes."""

    def __init__(self, verbose: bool, finder: str | None = None):
        self.encoder = FaceEncoder.from_pretrained(BUILTIN / "nobody-128" / "encoder")
        if finder is not None:
            self.encoder.finder = FaceFinder(models.load(Path(finder), FaceFinderNet))
        self.encoder.finder.find(Image.new("RGB", (480, 480)))  # the first call takes longer than any other
        self.seconds: list[float] = []
        self.say = print if verbose else lambda *_: None

    def find(self, picture: Image.Image) -> Any:
        """All faces in it, largest first."""
        before = time.process_time()
        found = self.encoder.finder.find(picture)
        if max(picture.size) >= 480:
            self.seconds.append(time.process_time() - before)
        return found

    def boxes(self, folder: Path) -> dict[str, Any]:
        """How many of the faces in labelled boxes are found, by size."""
        shares, hits, elsewhere = [], [], 0
        for file in ("training.xml", "testing.xml"):
            for image in tqdm(ElementTree.parse(folder / file).getroot().iter("image"), desc=file):
                picture = open_image(folder / image.attrib["file"])
                finds = [face.centre for face in self.find(picture)]
                inside = np.zeros(len(finds), bool)
                for box in image.iter("box"):
                    left, top, width, height = (float(box.attrib[key]) for key in ("left", "top", "width", "height"))
                    here = [left <= x <= left + width and top <= y <= top + height for x, y in finds]
                    inside |= np.array(here, bool)
                    shares.append(max(width, height) / max(picture.size))
                    hits.append(any(here))
                    if not hits[-1]:
                        self.say("missed", image.attrib["file"], left, top, width, f"{shares[-1]:.3f}")
                elsewhere += int((~inside).sum())
        share, hit = np.array(shares), np.array(hits)
        sizes = {
            f"{low:.0%} to {high:.0%}": [int(hit[(share >= low) & (share < high)].sum()), int(n)]
            for low, high in pairwise(SIZES)
            if (n := ((share >= low) & (share < high)).sum())
        }
        large = share >= 0.08
        of = {"faces_of_8_percent": int(large.sum()), "found": int(hit[large].sum()), "share": float(hit[large].mean())}
        return {**of, "by_size": sizes, "finds_outside_of_boxes": elsewhere}

    def without(self, folder: Path) -> dict[str, Any]:
        """How many pictures without a face show one."""
        false = []
        for path in tqdm(pictures(folder), desc=folder.name):
            if found := self.find(open_image(path)):
                false.append(path.name)
                self.say("false", path.name, [(face.centre.round().tolist(), face.confidence) for face in found])
        return {"without_a_face": len(pictures(folder)), "false_finds": len(false)}

    def turned(self, folder: Path) -> dict[str, Any]:
        """What becomes of portraits that lie on their side or stand on their head."""
        people = [some[0] for person in sorted(folder.iterdir()) if (some := pictures(person))][:SIXTEEN]
        counts = {"right": 0, "wrong": 0, "missing": 0}
        for path in tqdm(people, desc="turned"):
            picture = open_image(path)
            before = self._vector(picture)
            for quarters in (1, 2, 3):
                vector = self._vector(Image.fromarray(np.rot90(np.asarray(picture), quarters)))
                cosine = None if vector is None or before is None else float(vector @ before)
                became = "missing" if vector is None else "right" if (cosine or 0) >= SAME else "wrong"
                counts[became] += 1
                self.say("turned", path.name, quarters, became, cosine)
        return {"turned": sum(counts.values()), **counts}

    def _vector(self, picture: Image.Image) -> Any:
        found = self.find(picture)
        return self.encoder.encode([self.encoder.crop(picture, found[0])])[0] if found else None


def unmeasured(people: Path, pairs: int = 20) -> dict[str, int]:
    """Verdicts that are given without the extra on photographs of pairs of neighbours, by a model as it ships."""
    model, every = load_model("nobody-128", "cpu"), pictures(people)
    scorer = Scorer(model.encoder, model.judge, paints=model.paints, name=model.name)
    rows = np.linspace(0, len(every) - 2, pairs).astype(int)
    given = [scorer.compare(every[row], every[row + 1], PHOTOGRAPHS).match is not None for row in tqdm(rows)]
    return {"pairs": pairs, "verdicts_without_the_extra": sum(given)}


def measured(people: Path, others: Path) -> dict[str, Any]:
    """How dlib does on some people by thresholds from others."""
    reader, dlib = Reader(None, False, True, ["dlib"]), recogniser("dlib")
    seen, known = reader.read(people), reader.read(others)
    genuine, impostor = pair_scores(seen.by[0].vectors.numpy(), seen.source.labels)
    out: dict[str, Any] = {"pairs_of_one": len(genuine), "pairs_of_others": len(impostor)}
    out["eer"] = Verification.measure(genuine, impostor).eer
    own = Calibration.measure("dlib", known.by[0].vectors, known.source.labels, "others", PHOTOGRAPHS)
    for name, calibrations in (("others", [own]), ("shipped", calibrations_of(dlib))):
        at = meaning(calibrations, PHOTOGRAPHS, "image-image", min(arguments.FMRS))
        assert at is not None
        false, true = float((impostor >= at.threshold).mean()), float((genuine >= at.threshold).mean())
        out[name] = {"stated": at.fmr, "false": false, "false_to_stated": false / at.fmr, "true": true}
    return out


if __name__ == "__main__":
    folders = dict.fromkeys(("boxes", "people", "without", "others", "finder"))
    args = options(__doc__, **folders, threads=1, verdicts=False, verbose=False)
    use_cores(args.threads)
    if args.verdicts:
        print(json.dumps(unmeasured(Path(args.people)) | measured(Path(args.people), Path(args.others))))
        raise SystemExit
    bench, figures = Bench(args.verbose, args.finder), {}
    if args.boxes:
        figures |= bench.boxes(Path(args.boxes))
    if args.without:
        figures |= bench.without(Path(args.without))
    if args.people:
        figures |= bench.turned(Path(args.people))
    times = {
        f"seconds_{name}": round(float(of(bench.seconds)), 2) for name, of in (("mean", np.mean), ("most", np.max))
    }
    print(json.dumps(figures | times))
