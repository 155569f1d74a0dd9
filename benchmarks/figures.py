"""Every figure of a model, by one command, as JSON and as a Markdown table.

    python benchmarks/figures.py --faces FACES --out figures.json [--model nobody-128] [--only encoder finder …]
                                 [--card idgen/builtin/nobody-128/README.md]

FACES holds `val/` (aligned faces of people that nobody trained on) and `photos/` (whole pictures with landmarks, of
which the last 500 are kept out of training). The stages (`--only`, see `STAGES`) can be run one by one: what `--out`
holds of the others is kept, and marked when the weights have changed since. Generated pictures are kept in the cache
folder (IDGEN_CACHE), by the weights that made them, so an interrupted run goes on where it stopped. With `--card` the
table replaces what stands between two `<!-- figures -->` marks. `--photos` is for the stage `photographs`.

What changes the figures: `--people` sampled people with `--images` pictures of each; `--val-people` of val's people
generated from their vectors, with `--val-images` of each; `--negatives`, pictures without a face; `--seed`, not one
that training used; `--limit`, so many of val's people and of the photos only, for a trial. `--device` is for everything
but speed and app, which are measured on the CPU. How each figure is taken is said in the function of its stage.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import hashlib
import json
import os
import platform
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import how
import numpy as np
import torch
import who
from common import ROOT, options, python, running_app
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from idgen.evaluation import no_face
from idgen.evaluation.distance import distances
from idgen.evaluation.diversity import genuine_distance
from idgen.evaluation.finder import finder_figures, landmark_errors
from idgen.faces.pose import yaw_from_landmarks
from idgen.ground import files
from idgen.ground.arguments import FMR
from idgen.ground.identity import centres
from idgen.model import load_model
from idgen.scoring.calibration import image_mean_scores
from idgen.scoring.verdict import judge_threshold
from idgen.scoring.verification import Verification, pair_scores
from idgen.training.data import Faces, load_faces
from space.models import defaults

Bound = float | tuple[float, float] | None
MARK = "<!-- figures -->"
PAINTER = ("denoiser", "student", "prior", "autoencoder", "scheduler", "model_index.json")
Figures = dict[str, Any]

# skimage.data.astronaut(), marked by hand on an enlargement: eye, eye, nose tip, mouth corner, mouth corner.
ASTRONAUT = np.array([[203.6, 101.1], [247.2, 103.4], [225.0, 126.3], [204.6, 140.6], [244.4, 141.4]])


class Bench:
    """The model, the faces, and what several stages need of them, each computed once."""

    painter = PAINTER

    def __init__(self, options: argparse.Namespace):
        self.options, self.model = options, load_model(options.model, options.device)

    def fingerprint(self, parts: Sequence[str]) -> str:
        """Names the weights and settings of some parts of the model, its files or folders."""
        digest, folder = hashlib.sha256(), Path(self.model.folder)
        found = {path for part in parts for path in (folder / part, *(folder / part).rglob("*"))}
        for path in sorted(path for path in found if path.suffix in (".safetensors", ".json")):
            digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
        return digest.hexdigest()[:16]

    @functools.cached_property
    def val(self) -> Faces:
        faces, limit = load_faces(self.options.faces / "val"), self.options.limit
        return faces.subset(np.flatnonzero(faces.labels < limit)) if limit else faces

    @functools.cached_property
    def photos(self) -> Faces:
        return load_faces(self.options.faces / "photos")

    @functools.cached_property
    def val_by_encoder(self) -> NDArray[np.float32]:
        return encode_all(self.val.images, self.model.encoder.encode, "val by encoder")

    @functools.cached_property
    def val_by_judge(self) -> NDArray[np.float32]:
        return encode_all(self.val.images, self.model.judge.encode, "val by judge")

    def landmarks(self, pictures: Iterable[Any], what: str) -> list[NDArray[Any] | None]:
        """Of the largest face that the finder sees in each picture; None where it sees nobody."""
        images = [picture if isinstance(picture, Image.Image) else Image.fromarray(picture) for picture in pictures]
        found = map(self.model.encoder.finder.find, tqdm(images, desc=what, unit="picture"))
        return [faces[0].landmarks if faces else None for faces in found]

    def few(self, count: int) -> NDArray[np.intp]:
        """Rows of val's first `count` pictures of everybody, person by person."""
        return np.concatenate([np.flatnonzero(self.val.labels == who)[:count] for who in range(self.val.people)])

    @functools.cached_property
    def sampled(self) -> torch.Tensor:
        """(people, D) vectors of people who do not exist."""
        return self.model.sampler.sample(self.options.people, seed=self.options.seed).vectors

    @functools.cached_property
    def generated(self) -> NDArray[np.uint8]:
        """(people · images, H, W, 3), person by person."""
        return self.generate(self.sampled, self.options.images, "sampled people")

    @functools.cached_property
    def val_read(self) -> NDArray[np.float32]:
        """(N, A) what the attribute reader reads of val."""
        return how.read(self, self.val.images, "val read")

    def encode(self, pictures: NDArray[np.uint8], by: Any) -> NDArray[np.float32]:
        """(N, D) of aligned faces, by the encoder or the judge."""
        return encode_all(pictures, by.encode, "encode")

    @functools.cached_property
    def generated_by_judge(self) -> NDArray[np.float32]:
        return encode_all(self.generated, self.model.judge.encode, "generated by judge")

    def generate(self, vectors: torch.Tensor, images: int, what: str) -> NDArray[np.uint8]:
        """(len(vectors) · images, H, W, 3) with the pipeline's own settings, through the cache."""
        pipeline, seed = self.model.pipeline, self.options.seed
        weights, out = self.fingerprint(PAINTER), []
        for vector in tqdm(vectors, desc=what, unit="person"):
            key = hashlib.sha256(f"{seed} {images} ".encode() + vector.numpy().tobytes()).hexdigest()[:24]
            path = files.cache("figures", f"generated-{weights}-{self.model.device}/{key}.npy")
            if not path.exists():
                made = pipeline.iterate(vector, images, seed=seed)
                with files.aside(path) as beside, beside.open("wb") as file:
                    np.save(file, np.stack([np.asarray(item.image) for item in made]))
            out.append(np.load(path))
        return np.concatenate(out)


def encode_all(
    images: NDArray[np.uint8], encode: Callable[[torch.Tensor], torch.Tensor], what: str
) -> NDArray[np.float32]:
    """(N, D) of (N, H, W, 3) uint8 aligned faces, batch by batch."""
    out = []
    for start in tqdm(range(0, len(images), 64), desc=what, unit="batch"):
        batch = torch.from_numpy(np.array(images[start : start + 64])).permute(0, 3, 1, 2)
        out.append(encode(batch.float() / 255).cpu().numpy())
    return np.concatenate(out)


def means(vectors: NDArray[Any], labels: NDArray[Any]) -> torch.Tensor:
    """(P, D) each person's mean, of unit length."""
    return centres(torch.from_numpy(vectors), labels)


def matches_between(vectors: NDArray[Any], labels: NDArray[Any], references: NDArray[Any], threshold: float) -> float:
    """Share of comparisons of a picture with *another* person's reference that match: the collapse check.

    Were all people alike it would be near 1; at a threshold for FMR x, real people give x. Unit vectors (N, D) of the
    pictures, (N,) whose each is, an index into (P, D) unit vectors, one a person.
    """
    matches = vectors @ references.T >= threshold
    matches[np.arange(len(labels)), labels] = False
    return float(matches.sum() / (len(labels) * (len(references) - 1)))


def with_ratios(figures: Figures, *names: str) -> Figures:
    """The figures, and some of them divided by val's."""
    pairs = {name: (figures[name], figures[f"{name}_val"]) for name in names}
    return figures | {f"{name}_ratio": ours / val if val else float("nan") for name, (ours, val) in pairs.items()}


# ------------------------------------------------------------------------------------------------------------ stages


def yaw(bench: Bench) -> Figures:
    """Fit the factor of `idgen.faces.pose` on all photos but the last 500, and test it on those."""
    landmarks, truth = bench.photos.columns["landmarks"], bench.photos.columns["yaw"].astype(float)
    factor = fit_yaw_factor(landmarks[:-500], truth[:-500])
    return {"factor": factor, **check_yaw(landmarks[-500:], truth[-500:], factor)}


def fit_yaw_factor(landmarks: NDArray[Any], truth: NDArray[np.float64]) -> float:
    """The factor with the least squared error in degrees, to three decimals, for faces whose yaw is known."""
    candidates = np.arange(500, 5000) / 1000
    errors = [np.square(yaw_from_landmarks(landmarks, factor) - truth).mean() for factor in candidates]
    return float(candidates[int(np.argmin(errors))])


def check_yaw(landmarks: NDArray[Any], truth: NDArray[np.float64], factor: float) -> Figures:
    """The estimate of yaw against the truth, in degrees."""
    estimate = yaw_from_landmarks(landmarks, factor)
    return {
        "r2": float(1 - np.square(estimate - truth).mean() / truth.var()),
        "median_error": float(np.median(np.abs(estimate - truth))),
        "spread_ratio": float(estimate.std() / truth.std()),
    }


def encoder(bench: Bench) -> Figures:
    """Encoder and judge on all pairs of val's pictures, and the judge against bridged means of the encoder."""
    out: Figures = {"people": bench.val.people, "pictures": len(bench.val)}
    for name, vectors in (("encoder", bench.val_by_encoder), ("judge", bench.val_by_judge)):
        found = Verification.measure(*pair_scores(vectors, bench.val.labels))
        out |= {f"{name}_eer": found.eer, f"{name}_tar": found.tar[f"{FMR:g}"]}
        out |= {"genuine_pairs": found.genuine_pairs, "impostor_pairs": found.impostor_pairs}
    return out


def finder(bench: Bench) -> Figures:
    """Landmarks of the largest find in the last 500 photos, and finds in pictures without a face.

    The photographs among those come from scikit-image and the covered photos from the last 500: neither was ever
    trained on. Procedural pictures of other seeds were.
    """
    last = -(bench.options.limit or 500)
    pictures, landmarks = bench.photos.images[last:], bench.photos.columns["landmarks"][last:]
    out: Figures = finder_figures(bench.landmarks(pictures, "photos"), landmarks)
    sets = no_face.no_face_sets(bench.options.negatives, bench.options.seed, (pictures, landmarks))
    finds = {kind: [one is not None for one in bench.landmarks(sets[kind], kind)] for kind in sets}
    out["negatives"] = sum(map(len, finds.values()))
    out["false_finds"] = float(np.mean(np.concatenate(list(finds.values()))))
    return out | {f"false_finds_{kind}": float(np.mean(found)) for kind, found in finds.items()}


def astronaut(bench: Bench) -> Figures:
    """A real photograph: the face found, against landmarks marked by hand; its identity; four pictures of it.

    Writes `astronaut.png` beside the JSON: the aligned face, then the pictures.
    """
    import skimage.data

    photo, model = Image.fromarray(skimage.data.astronaut()), bench.model
    if not (faces := model.encoder.finder.find(photo)):
        return {"found": 0}
    aligned, detection, _ = model.encoder.detect_and_align(photo)
    identity = model.encoder.identify([photo])
    made = [item.image for item in model.pipeline.iterate(identity, 4, seed=bench.options.seed)]
    strip = [np.asarray(picture.resize((128, 128))) for picture in (aligned, *made)]
    Image.fromarray(np.concatenate(strip, 1)).save(bench.options.out.with_name("astronaut.png"))
    scores = model.scorer.score(made, identity)
    judged = model.judge.encode([aligned, *made]).numpy()
    return {
        "found": len(faces),
        "landmark_error": float(landmark_errors([detection.landmarks], [ASTRONAUT])[0]),
        "images": len(made),
        "judge_similarity": float(np.mean([score.judge_similarity for score in scores])),
        "judge_to_photo": float((judged[1:] @ judged[0]).mean()),
    }


def generated(bench: Bench) -> Figures:
    """Do pictures of sampled people match the wanted identity, agree with each other, and differ between people?

    - wanted: the judge's vector of a picture against the bridged wanted vector; for val, against the bridged mean of
      the encoder's vectors of the person's other pictures.
    - each other: the judge's vector against the judge's mean of the person's other pictures, for val with as many.
    - between people: a picture against another person's wanted vector, bridged; and person against person, by the
      judge's means over all pictures. Real people do so at the false-match rate, 0.001.
    """
    options, bridge, val = bench.options, bench.model.judge.bridge, bench.val
    at = {kind: judge_threshold(bench.model.judge, kind) for kind in ("image-bridge", "image-mean", "mean-mean")}
    wanted, labels = bridge(bench.sampled).numpy(), np.repeat(np.arange(options.people), options.images)
    few = bench.few(options.images)
    sets = {
        "": (bench.generated_by_judge, labels, wanted),
        "_val": (bench.val_by_judge[few], val.labels[few], bridge(means(bench.val_by_encoder, val.labels)).numpy()),
    }
    bridged = lambda vectors: bridge(torch.from_numpy(vectors)).numpy()  # noqa: E731
    cosines, _ = image_mean_scores(bench.val_by_judge, bench.val_by_encoder, val.labels, bridged)
    out: Figures = {"people": options.people, "images": options.images}
    out["wanted"] = float(((bench.generated_by_judge * wanted[labels]).sum(1) >= at["image-bridge"]).mean())
    out["wanted_val"] = float((cosines >= at["image-bridge"]).mean())
    for name, (probes, people, references) in sets.items():
        out[f"others{name}"] = float((image_mean_scores(probes, probes, people)[0] >= at["image-mean"]).mean())
        out[f"confused{name}"] = matches_between(probes, people, references, at["image-bridge"])
        middles = means(probes, people).numpy()
        out[f"alike{name}"] = matches_between(middles, np.arange(len(middles)), middles, at["mean-mean"])
    nearest = bench.model.sampler.nearest(bench.sampled)[0].numpy()
    out |= {"nearest_training_median": float(np.median(nearest)), "nearest_training_max": float(nearest.max())}
    return with_ratios(out, "wanted", "others")


def val_people(bench: Bench) -> Figures:
    """Condition on the encoder's mean of a val person's pictures; judge against the judge's mean of those pictures.

    No bridge takes part. Divided by val's own share: a picture against the judge's mean of the person's others.
    """
    val, images, threshold = bench.val, bench.options.val_images, judge_threshold(bench.model.judge, "image-mean")
    people = min(bench.options.val_people, val.people)
    painted = bench.generate(means(bench.val_by_encoder, val.labels)[:people], images, "val people")
    made = encode_all(painted, bench.model.judge.encode, "val people by judge")
    references, labels = means(bench.val_by_judge, val.labels).numpy(), np.repeat(np.arange(people), images)
    own, _ = image_mean_scores(bench.val_by_judge, bench.val_by_judge, val.labels)
    out: Figures = {"people": people, "images": images}
    out["match"] = float(((made * references[labels]).sum(1) >= threshold).mean())
    out["match_val"] = float((own >= threshold).mean())
    out["confused"] = matches_between(made, labels, references, threshold)
    return with_ratios(out, "match")


def diversity(bench: Bench) -> Figures:
    """Spread of yaw, and distance between pictures of one person by the judge, ÷ the same of as many of val's pictures.

    Yaw comes from the landmarks that our finder sees in the pictures; pictures in which it sees no face are left out
    and counted. The true spread of val's yaw stands beside it.
    """
    options = bench.options
    few = bench.few(options.images)[: options.people * options.images]
    out: Figures = {"pictures": len(bench.generated), "val_pictures": len(few)}
    for name, pictures in (("", bench.generated), ("_val", bench.val.images[few])):
        found = bench.landmarks(pictures, f"yaw{name}")
        landmarks = [points for points in found if points is not None]
        out[f"no_face{name}"] = 1 - len(landmarks) / len(found)
        out[f"yaw{name}"] = float(yaw_from_landmarks(np.stack(landmarks)).std()) if landmarks else float("nan")
    out["yaw_val_true"] = float(np.std(bench.val.columns["yaw"][few]))
    labels = np.repeat(np.arange(options.people), options.images)
    out["distance"] = genuine_distance(bench.generated_by_judge, labels)
    out["distance_val"] = genuine_distance(bench.val_by_judge[few], bench.val.labels[few])
    return with_ratios(out, "yaw", "distance")


def distance(bench: Bench) -> Figures:
    """FD and KID in the judge's features between generated pictures and val's last people; `floor`: val's first people
    in the place of the generated ones, as many pictures of each where there are."""
    few = bench.few(bench.options.images)
    first = few[: min(bench.options.people, bench.val.people // 2) * bench.options.images]
    rest = bench.val.labels > bench.val.labels[first].max()
    real = torch.from_numpy(bench.val_by_judge[rest])
    out: Figures = {"pictures": len(bench.generated), "val_pictures": len(real), "floor_pictures": len(first)}
    out |= distances(real, torch.from_numpy(bench.generated_by_judge), "judge")
    floor = distances(real, torch.from_numpy(bench.val_by_judge[first]), "judge")
    return out | {f"{name}_floor": value for name, value in floor.items()} | {"space": bench.model.judge.space}


def speed(bench: Bench) -> Figures:
    """`benchmarks/overhead.py` in a fresh process: generate 8 images, warm; share inside the networks; peak memory."""
    model, threads = bench.options.model, bench.options.threads
    printed = python(ROOT, [ROOT / "benchmarks" / "overhead.py", "--model", model, "--threads", str(threads)])
    return json.loads(printed.splitlines()[-1]) | {"threads": threads}


def app(bench: Bench) -> Figures:
    """A fresh process of `python app.py`: seconds to the page, to a sampled person, to 8 pictures; peak memory (Linux).

    The default model is asked for through the app's own API, `/sample` and `/generate`.
    """
    from gradio_client import Client

    out: Figures = {}
    since = time.perf_counter()
    with running_app(OMP_NUM_THREADS=str(bench.options.threads)) as (process, address):
        out["page_seconds"] = time.perf_counter() - since
        client = Client(address, verbose=False)
        client.predict(7, api_name="/sample")
        out["sample_seconds"] = time.perf_counter() - since
        steps, _ = defaults(bench.model)
        client.predict(8, steps, 0, 0, api_name="/generate")
        out["pictures_seconds"] = time.perf_counter() - since
        again = time.perf_counter()
        next(iter(client.submit(1, steps, 0, 0, api_name="/generate")))
        out["first_seconds"] = time.perf_counter() - again
        peak = said(f"/proc/{process}/status", r"VmHWM:\s*(\d+)")
        out["peak_gb"] = None if peak is None else int(peak) * 1024 / 1e9
    return out


def said(file: str, pattern: str) -> str | None:
    """What the system says in a file of /proc, if it has it."""
    path = Path(file)
    found = re.search(pattern, path.read_text()) if path.exists() else None
    return found and found[1]


STAGES: dict[str, tuple[Callable[[Bench], Figures], tuple[str, ...]]] = {
    # name → (what measures it, the parts of the model whose weights it depends on)
    "yaw": (yaw, ()),
    "encoder": (encoder, ("encoder/recognizer", "judge/recognizer")),
    "finder": (finder, ("encoder/finder",)),
    "astronaut": (astronaut, ("encoder", "judge", *PAINTER)),
    "generated": (generated, ("encoder/recognizer", "judge", "sampler", *PAINTER)),
    "val-people": (val_people, ("encoder/recognizer", "judge", *PAINTER)),
    "diversity": (diversity, ("encoder/finder", "judge", "sampler", *PAINTER)),
    "distance": (distance, ("judge", "sampler", *PAINTER)),
    "autoencoder": (who.autoencoder, ("autoencoder", "judge")),
    "looks": (who.looks, ("judge", "sampler", *PAINTER)),
    "apart": (who.apart, ("judge", "sampler", *PAINTER)),
    "reader": (how.reader, ("attributes",)),
    "control": (how.control, ("attributes", "sampler", *PAINTER)),
    "profile": (how.profile, ("encoder/recognizer", "judge", "sampler", *PAINTER)),
    "habits": (how.habits, ("attributes", "sampler", *PAINTER)),
    "kinds": (how.kinds, ("attributes", "sampler", *PAINTER)),
    "throughput": (how.throughput, ("sampler", *PAINTER)),
    "photographs": (who.photographs, ("encoder", *PAINTER)),
    "speed": (speed, ("",)),
    "app": (app, ("",)),
}


# ------------------------------------------------------------------------------------------------------------- table


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    stage: str
    key: str  # of its number, in the stage
    form: str = "%"  # or digits after the point with a unit ("2 s")
    must: Bound = None  # where the figure is not only reported: from or up to there, or from there to there
    aim: Bound = None
    low: bool = False  # lower is better

    def show(self, value: float | None) -> str:
        if value is None:
            return "–"
        if self.form == "%":
            return f"{100 * value:.3g} %"
        digits, _, unit = self.form.partition(" ")
        return f"{value:.{digits}f} {unit}".rstrip()

    def bound(self, bound: Bound) -> str:
        if bound is None:
            return ""
        if isinstance(bound, tuple):
            return f"{bound[0]:g} to {bound[1]:g}"
        number = self.show(bound) if self.form == "%" else f"{bound:g} {self.form.partition(' ')[2]}".rstrip()
        return f"{'≤' if self.low else '≥'} {number}"

    def _meets(self, value: float | None, bound: Bound) -> bool:
        if value is None or bound is None:
            return False
        if isinstance(bound, tuple):
            return bound[0] <= value <= bound[1]
        return value <= bound if self.low else value >= bound

    def reached(self, value: float | None) -> str:
        if self.must is None:
            return ""
        return "**no**" if not self._meets(value, self.must) else "aim" if self._meets(value, self.aim) else "must"


_BANDS = ("1/16 to 1/8", "1/8 to 1/4", "1/4 to 1/2")


def _bands(stage: str, what: str, aim: Bound = None) -> tuple[Row, ...]:
    rows = enumerate(_BANDS, 1)
    return tuple(
        Row(f"{what}: energy at {band} cycles a pixel ÷ the renders'", stage, f"band_{n}", "2", (0.85, 1.15), aim)
        for n, band in rows
    )


ROWS = (
    Row("encoder on val, all pairs: EER", "encoder", "encoder_eer", "%", 0.01, 0.005, True),
    Row("encoder on val, all pairs: TAR at FMR 1e-3", "encoder", "encoder_tar", "%", 0.965, 0.99),
    Row("judge on val, all pairs: EER", "encoder", "judge_eer", "%", 0.015, 0.008, True),
    Row("judge on val, all pairs: TAR at FMR 1e-3", "encoder", "judge_tar", "%", 0.94, 0.975),
    Row("autoencoder on val: PSNR", "autoencoder", "psnr", "1 dB", 30, 32),
    Row("… in boxes round eyes and mouth", "autoencoder", "boxes_psnr", "1 dB", 28, 30),
    *_bands("autoencoder", "autoencoder on val", (0.95, 1.05)),
    Row("… FD in the judge's first stages ÷ two halves of val", "autoencoder", "early_fd_ratio", "2", 1.5, 1.2, True),
    Row("attribute reader on val: mean error of yaw", "reader", "yaw", "1 °", 4, None, True),
    Row("… of pitch", "reader", "pitch", "1 °", 4, None, True),
    Row("… glasses, balanced accuracy", "reader", "glasses", "%", 0.97),
    Row("… hat", "reader", "hat", "%", 0.97),
    Row("… beard", "reader", "beard", "%", 0.97),
    Row("… gender", "reader", "gender", "%", 0.97),
    Row("… mean error of age", "reader", "age", "2", 0.1, None, True),
    Row("… of skin tone", "reader", "skin_tone", "2", 0.1, None, True),
    Row("face finder: landmark error ÷ face size", "finder", "landmark_error", "%", 0.045, 0.03, True),
    Row("face finder: the same, median", "finder", "median_error"),
    Row("face finder: misses", "finder", "misses", "%", 0.01, 0.005, True),
    Row("face finder: false finds in pictures with no face", "finder", "false_finds", "%", 0.01, 0.005, True),
    Row("… in procedural pictures", "finder", "false_finds_procedural"),
    Row("… in scikit-image's photographs (never trained on)", "finder", "false_finds_photographs"),
    Row("… in photos with the head covered", "finder", "false_finds_covered"),
    Row("astronaut (a photograph): landmark error ÷ face size", "astronaut", "landmark_error", "%"),
    Row("generated match the wanted identity at FMR 1e-3, judge", "generated", "wanted"),
    Row("… val's real pictures", "generated", "wanted_val"),
    Row("… ratio", "generated", "wanted_ratio", "2", 0.97, 1.0),
    Row("generated match their person's other pictures, judge", "generated", "others"),
    Row("… val's real pictures", "generated", "others_val"),
    Row("… ratio", "generated", "others_ratio", "2", 0.97, 1.0),
    Row("1 − mean genuine cosine, judge", "diversity", "distance", "3"),
    Row("… val's real pictures", "diversity", "distance_val", "3"),
    Row("… ratio", "diversity", "distance_ratio", "2", (0.9, 1.05)),
    Row("generated from val's people match their real pictures, judge", "val-people", "match"),
    Row("… val's real pictures", "val-people", "match_val"),
    Row("… ratio", "val-people", "match_ratio", "2", 0.97, 1.0),
    Row("likeness with the head turned by 40° to 50° ÷ the renders' own there", "profile", "match_ratio", "2", 0.95, 1),
    Row("two different sampled people match: picture against vector", "generated", "confused"),
    Row("… val's real people", "generated", "confused_val"),
    Row("two different sampled people match: mean against mean", "generated", "alike"),
    Row("… val's real people", "generated", "alike_val"),
    Row("unique people of 500 ÷ the renders'", "apart", "unique_ratio", "2", 0.95, 1.0),
    Row("EER among 200 sampled people ÷ among 200 of val", "apart", "eer_ratio", "2", (0.85, 1.15)),
    Row(
        "cosine of a sampled person to the nearest training person: median", "generated", "nearest_training_median", "2"
    ),
    Row("… highest", "generated", "nearest_training_max", "2"),
    *_bands("looks", "generated"),
    Row("FD in the judge's features ÷ that of other rendered people", "looks", "fd_ratio", "2", 1.3, 1.1, True),
    Row("… in its first two stages", "looks", "early_fd_ratio", "2"),
    Row("yaw: standard deviation, by the reader", "habits", "yaw", "1 °"),
    Row("… ÷ val's", "habits", "yaw_ratio", "2", (0.95, 1.05)),
    Row("beards on people read as women − val's", "habits", "beards_more", "%", 0.01, None, True),
    Row("hair styles a person ÷ val's", "habits", "styles_ratio", "2", (0.8, 1.2)),
    Row("control: mean error of yaw", "control", "yaw_error", "1 °", 6, 4, True),
    Row("… the reader's own", "control", "yaw_error_own", "1 °"),
    Row("control: mean error of pitch", "control", "pitch_error", "1 °", 6, 4, True),
    Row("… the reader's own", "control", "pitch_error_own", "1 °"),
    Row("control: correlation of the smile", "control", "smile_correlation", "2", 0.85, 0.9),
    Row("control: glasses, asked half and half, balanced accuracy", "control", "glasses", "%", 0.95, 0.98),
    Row("control: beards of men", "control", "beard", "%", 0.95, 0.98),
    Row("control: hats", "control", "hat", "%", 0.85, 0.95),
    Row("one attribute changed: the others' change ÷ the reader's error", "control", "kept", "2", 1.2, 1.0, True),
    Row(
        "people asked for evenly by gender, age, skin tone: a kind's share − asked, by the probe",
        "kinds",
        "by_probe",
        "%",
        0.03,
        0.01,
        True,
    ),
    Row("… as the reader reads a picture of each", "kinds", "by_reader", "%"),
    Row("pictures a second where they are told how to look ÷ where nobody asks", "throughput", "ratio", "2", 0.98),
    Row("from photographs, by dlib: accepted as the photo's person", "photographs", "accepted", "%", 0.5, 0.75),
    Row("… pairs of one photo person's pictures that match", "photographs", "pairs", "%", 0.9),
    Row("… other people accepted", "photographs", "others", "%", 0.01, None, True),
    Row("`generate` of 8 images, warm", "speed", "seconds", "2 s", 1, 0.5, True),
    Row("… share of its wall time inside the networks", "speed", "network_share", "%", 0.85, 0.95),
    Row("… peak memory", "speed", "peak_gb", "2 GB", 2, 1.5, True),
    Row("app: start to the page", "app", "page_seconds", "1 s"),
    Row("app: start to its first answer, a sampled person", "app", "sample_seconds", "1 s", 20, 10, True),
    Row("app: first picture, warm", "app", "first_seconds", "2 s", 0.6, 0.4, True),
    Row("app: peak memory after 8 pictures", "app", "peak_gb", "2 GB", 2, 1.5, True),
)


def table(report: Figures, current: dict[str, str] | None = None) -> str:
    """The report as Markdown.

    Args:
        report: what the JSON holds.
        current: stage → fingerprint of today's weights; figures of other weights are marked.
    """
    lines, marks = ["| figure | measured | must | aim | reached |", "|---|---|---|---|---|"], set()
    for row in ROWS:
        value, mark, reached = None, "", "not measured" if row.must is not None else ""
        if stage := report["stages"].get(row.stage):
            value = stage["figures"].get(row.key)
            mark = " †" if current is not None and current.get(row.stage) != stage["weights"] else ""
            reached = row.reached(value)
        marks.add(mark)
        cells = (row.what, row.show(value) + mark, row.bound(row.must), row.bound(row.aim), reached)
        lines.append("| " + " | ".join(cells) + " |")
    stages = report["stages"].values()
    first, last = min(s["date"] for s in stages), max(s["date"] for s in stages)
    when = f"on {first}" if first == last else f"between {first} and {last}"
    machines = sorted({s["machine"].removesuffix(", cpu") for s in stages})
    notes = [f"Measured by `python benchmarks/figures.py --faces FACES` {when} on {'; '.join(machines)}."]
    if " †" in marks:
        notes.append("† measured with earlier weights.")
    if any(stage["options"]["limit"] for stage in stages):
        notes.append("**A trial: only a part of the faces was used.**")
    return "\n".join([*lines, "", *notes])


def write_card(card: Path, text: str) -> None:
    """Put the table between the card's two marks.

    Raises:
        ValueError: the card does not have exactly two.
    """
    parts = card.read_text(encoding="utf-8").split(MARK)
    if len(parts) != 3:
        raise ValueError(f"{card} needs two lines {MARK}, between which the table goes; it has {len(parts) - 1}.")
    card.write_text(f"{parts[0]}{MARK}\n{text}\n{MARK}{parts[2]}", encoding="utf-8")


def take(name: str, bench: Bench) -> Figures:
    """The figures of a stage, and what they depend on, for the JSON."""
    measure, parts = STAGES[name]
    since = time.perf_counter()
    figures = measure(bench)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{said('/proc/cpuinfo', r'model name.*: (.*)') or platform.machine()}, {cores} cores"
    chosen = ("people", "images", "val_people", "val_images", "negatives", "seed", "limit")
    return {
        # JSON knows no NaN: what could not be measured is null
        "figures": {key: None if value != value else value for key, value in figures.items()},
        "options": {key: getattr(bench.options, key) for key in chosen},
        "weights": bench.fingerprint(parts),
        "date": datetime.date.today().isoformat(),
        "machine": machine if name in ("speed", "app") else f"{machine}, {bench.model.device}",
        "seconds": round(time.perf_counter() - since, 1),
    }


def main() -> int:
    chosen = {"model": "nobody-128", "out": Path("figures.json"), "only": list(STAGES), "card": None, "device": None}
    counts = {"people": 200, "images": 8, "val_people": 100, "val_images": 4, "negatives": 500}
    args = options(__doc__, faces=Path, **chosen, **counts, photos=None, seed=2026, limit=0, threads=2)
    torch.set_num_threads(args.threads)
    bench, out = Bench(args), args.out
    report = files.read_json(out) if out.exists() else {}
    if report.get("model") != args.model:
        report = {"model": args.model, "stages": {}}
    failed = []
    for name in args.only:
        try:
            report["stages"][name] = stage = take(name, bench)
        except Exception:  # the other stages are still worth having
            failed.append(name)
            print(f"\n{name}: failed\n{traceback.format_exc()}", file=sys.stderr)
            continue
        print(f"\n{name} ({stage['seconds']} s)", json.dumps(stage["figures"], indent=2), sep="\n", flush=True)
        files.write_json(out, report)
    if report["stages"]:
        text = table(report, {name: bench.fingerprint(parts) for name, (_, parts) in STAGES.items()})
        out.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
        print(f"\n{text}\n\nWritten to {out} and {out.with_suffix('.md')}.")
        if args.card:
            write_card(Path(args.card), text)
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
