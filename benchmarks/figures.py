"""Every figure of a model, by one command, as JSON and as a Markdown table.

    python benchmarks/figures.py --faces FACES --out figures.json [--model nobody-128] [--only encoder finder …]
                                 [--card idgen/builtin/nobody-128/README.md]

FACES holds `val/` (aligned faces of people that nobody trained on) and `photos/` (whole pictures with landmarks, of
which the last 500 are kept out of training). The stages `yaw encoder finder astronaut generated val-people diversity
distance speed app` can be run one by one: what `--out` holds of the others is kept, and marked when the weights have
changed since. Generated pictures and embeddings are kept in the cache folder (IDGEN_CACHE), by the weights that made
them, so an interrupted run goes on where it stopped. With `--card` the table replaces what stands between two
`<!-- figures -->` marks.

How each figure is taken is said in the function of its stage.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import hashlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from idgen.evaluation import no_face
from idgen.evaluation.distance import distances
from idgen.evaluation.diversity import genuine_distance
from idgen.evaluation.finder import finder_figures, landmark_errors
from idgen.faces.finder import Detection
from idgen.faces.pose import yaw_from_landmarks
from idgen.ground import files
from idgen.ground.arguments import FMR
from idgen.ground.identity import centres
from idgen.model import load_model
from idgen.scoring import verification
from idgen.scoring.calibration import image_mean_scores
from idgen.scoring.scorer import judge_threshold
from idgen.training.data import Faces, load_faces

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT = 300.0  # seconds after which an app that does not answer is given up
MARK = "<!-- figures -->"
PAINTER = ("denoiser", "autoencoder", "scheduler", "model_index.json")
Figures = dict[str, Any]

# skimage.data.astronaut(), marked by hand on an enlargement: eye, eye, nose tip, mouth corner, mouth corner.
ASTRONAUT = np.array([[203.6, 101.1], [247.2, 103.4], [225.0, 126.3], [204.6, 140.6], [244.4, 141.4]])


@dataclass(frozen=True)
class Options:
    """What changes the figures.

    Attributes:
        people, images: how many sampled people, and pictures of each.
        val_people, val_images: how many of val's people are generated from their vectors, and pictures of each.
        negatives: pictures without a face.
        seed: of sampled people, pictures and negatives; not one that training used.
        limit: use only so many of val's people and of the photos, for a trial; 0 for all.
    """

    people: int = 200
    images: int = 8
    val_people: int = 100
    val_images: int = 4
    negatives: int = 500
    seed: int = 2026
    limit: int = 0


class Bench:
    """The model, the faces, and what several stages need of them, each computed once."""

    def __init__(self, model: str, faces: Path, options: Options, device: str | None, threads: int):
        self.name, self.faces, self.options, self.threads = model, faces, options, threads
        self.model = load_model(model, device)
        self.folder = Path(self.model.folder)

    def fingerprint(self, parts: Sequence[str]) -> str:
        """Names the weights and settings of some parts of the model, its files or folders."""
        digest = hashlib.sha256()
        roots = [self.folder / part for part in parts]
        found = {path for root in roots for path in (root.rglob("*") if root.is_dir() else [root])}
        for path in sorted(path for path in found if path.suffix in (".safetensors", ".json")):
            digest.update(f"{path.relative_to(self.folder)}\n".encode() + path.read_bytes())
        return digest.hexdigest()[:16]

    @functools.cached_property
    def val(self) -> Faces:
        faces = load_faces(self.faces / "val")
        return faces.subset(np.flatnonzero(faces.labels < self.options.limit)) if self.options.limit else faces

    @functools.cached_property
    def photos(self) -> Faces:
        faces = load_faces(self.faces / "photos")
        return faces.subset(np.arange(len(faces))[-(self.options.limit or 500) :])

    @functools.cached_property
    def val_by_encoder(self) -> NDArray[np.float32]:
        return self._embed("encoder", self.model.encoder.encode)

    @functools.cached_property
    def val_by_judge(self) -> NDArray[np.float32]:
        return self._embed("judge", self.model.judge.encode)

    def _embed(self, part: str, encode: Callable[[torch.Tensor], torch.Tensor]) -> NDArray[np.float32]:
        val = self.val
        key = hashlib.sha256(val.labels.tobytes() + val.images[0].tobytes() + val.images[-1].tobytes()).hexdigest()[:12]
        weights = self.fingerprint([f"{part}/recognizer", f"{part}/config.json"])
        return kept(f"val-{part}-{weights}-{key}.npy", lambda: encode_all(val.images, encode, f"val by {part}"))

    def find(self, picture: Image.Image) -> list[Detection]:
        """The faces in a picture, largest first."""
        return self.model.encoder.finder.find(picture)

    def threshold(self, kind: str) -> float:
        """The judge's calibrated threshold at a false-match rate of 0.001."""
        return judge_threshold(self.model.judge, kind, FMR)

    def few(self, count: int) -> NDArray[np.intp]:
        """Rows of val's first `count` pictures of everybody, person by person."""
        rows = [np.flatnonzero(self.val.labels == person)[:count] for person in range(self.val.people)]
        return np.concatenate(rows)

    @functools.cached_property
    def sampled(self) -> torch.Tensor:
        """(people, D) vectors of people who do not exist."""
        return self.model.sampler.sample(self.options.people, seed=self.options.seed).vectors

    @functools.cached_property
    def generated(self) -> NDArray[np.uint8]:
        """(people · images, H, W, 3), person by person."""
        return self.generate(self.sampled, self.options.images, "sampled people")

    @functools.cached_property
    def generated_by_judge(self) -> NDArray[np.float32]:
        return encode_all(self.generated, self.model.judge.encode, "generated by judge")

    def generate(self, vectors: torch.Tensor, images: int, what: str) -> NDArray[np.uint8]:
        """(len(vectors) · images, H, W, 3) with the pipeline's own settings, through the cache."""
        pipeline, seed = self.model.pipeline, self.options.seed
        weights, out = self.fingerprint(PAINTER), []
        for vector in tqdm(vectors, desc=what, unit="person"):
            key = hashlib.sha256(f"{seed} {images} ".encode() + vector.numpy().tobytes()).hexdigest()[:24]
            made = pipeline.iterate(vector, images, seed=seed)  # nothing is painted before it is asked for
            name = f"generated-{weights}-{self.model.device}/{key}.npy"
            out.append(kept(name, lambda made=made: np.stack([np.asarray(item.image) for item in made])))
        return np.concatenate(out)


def kept(name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """An array from the cache, or made now and kept there."""
    path = files.cache("figures", name)
    if not path.exists():
        with files.aside(path) as beside, beside.open("wb") as file:
            np.save(file, make())
    return np.load(path)


def encode_all(
    images: NDArray[np.uint8], encode: Callable[[torch.Tensor], torch.Tensor], what: str
) -> NDArray[np.float32]:
    """(N, D) of (N, H, W, 3) uint8 aligned faces, batch by batch."""
    out = []
    for start in tqdm(range(0, len(images), 64), desc=what, unit="batch"):
        batch = torch.from_numpy(np.array(images[start : start + 64])).permute(0, 3, 1, 2)
        out.append(encode(batch.float() / 255).cpu().numpy())
    return np.concatenate(out)


def share(condition: NDArray[Any] | list[bool]) -> float:
    return float(np.mean(condition))


def matches_between(vectors: NDArray[Any], labels: NDArray[Any], references: NDArray[Any], threshold: float) -> float:
    """Share of comparisons of a picture with *another* person's reference that match: the collapse check.

    Were all people alike it would be near 1; at a threshold for FMR x, real people give x.

    Args:
        vectors: (N, D) unit vectors of the pictures.
        labels: (N,) number of the person, an index into `references`.
        references: (P, D) unit vectors, one a person; P at least 2.
        threshold: a comparison matches at or above it.
    """
    matches = vectors @ references.T >= threshold
    matches[np.arange(len(labels)), labels] = False
    return float(matches.sum() / (len(labels) * (len(references) - 1)))


def ratio(value: float, reference: float) -> float:
    return value / reference if reference else float("nan")


# ------------------------------------------------------------------------------------------------------------ stages


def yaw(bench: Bench) -> Figures:
    """Fit the factor of `idgen.faces.pose` on all photos but the last 500, and test it on those."""
    photos = load_faces(bench.faces / "photos")
    landmarks, truth = photos.columns["landmarks"], photos.columns["yaw"].astype(float)
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
    labels = bench.val.labels
    out: Figures = {"people": bench.val.people, "pictures": len(bench.val)}
    for name, vectors in (("encoder", bench.val_by_encoder), ("judge", bench.val_by_judge)):
        genuine, impostor = verification.pair_scores(vectors, labels)
        out[f"{name}_eer"] = verification.eer(genuine, impostor)
        out[f"{name}_tar"] = verification.tar_at_fmr(genuine, impostor, FMR)
        out["genuine_pairs"], out["impostor_pairs"] = len(genuine), len(impostor)
    return out


def finder(bench: Bench) -> Figures:
    """Landmarks of the largest find in the last 500 photos, and finds in pictures without a face.

    The photographs among those come from scikit-image and the covered photos from the last 500: neither was ever
    trained on. Procedural pictures of other seeds were.
    """
    found: list[Any] = []
    for picture in tqdm(bench.photos.images, desc="photos", unit="picture"):
        faces = bench.find(Image.fromarray(picture))
        found.append(faces[0].landmarks if faces else None)
    landmarks = bench.photos.columns["landmarks"]
    out: Figures = finder_figures(found, landmarks)
    sets = no_face.no_face_sets(bench.options.negatives, bench.options.seed, (bench.photos.images, landmarks))
    finds = {kind: [bool(bench.find(one)) for one in tqdm(sets[kind], desc=kind, unit="picture")] for kind in sets}
    out["negatives"] = sum(map(len, finds.values()))
    out["false_finds"] = share([found for kind in finds.values() for found in kind])
    return out | {f"false_finds_{kind}": share(found) for kind, found in finds.items()}


def astronaut(bench: Bench) -> Figures:
    """A real photograph: the face found, against landmarks marked by hand; its identity; four pictures of it.

    Writes `astronaut.png` beside the JSON: the aligned face, then the pictures.
    """
    import skimage.data

    photo = Image.fromarray(skimage.data.astronaut())
    faces = bench.find(photo)
    if not faces:
        return {"found": 0}
    aligned, detection, _ = bench.model.encoder.detect_and_align(photo)
    identity = bench.model.encoder.identify([photo])
    made = [item.image for item in bench.model.pipeline.iterate(identity, 4, seed=bench.options.seed)]
    scores = bench.model.scorer.score(made, identity.vector.expand(4, -1))
    judged = bench.model.judge.encode([aligned, *made]).numpy()
    return {
        "found": len(faces),
        "landmark_error": float(landmark_errors([detection.landmarks], [ASTRONAUT])[0]),
        "images": len(made),
        "matching": sum(score.match for score in scores),
        "judge_similarity": float(np.mean([score.judge_similarity for score in scores])),
        "judge_to_photo": float((judged[1:] @ judged[0]).mean()),
        "strip": [np.asarray(picture.resize((128, 128))).tolist() for picture in (aligned, *made)],
    }


def generated(bench: Bench) -> Figures:
    """Do pictures of sampled people match the wanted identity, agree with each other, and differ between people?

    - wanted: the judge's vector of a picture against the bridged wanted vector; for val, against the bridged mean of
      the encoder's vectors of the person's other pictures.
    - each other: the judge's vector against the judge's mean of the person's other pictures, for val with as many.
    - between people: a picture against another person's wanted vector, bridged; and person against person, by the
      judge's means over all pictures. Real people do so at the false-match rate, 0.001.
    """
    options, judge = bench.options, bench.model.judge
    labels, vectors = np.repeat(np.arange(options.people), options.images), bench.generated_by_judge
    wanted = judge.bridge(bench.sampled).numpy()
    few = bench.few(options.images)
    val_vectors, val_labels = bench.val_by_judge[few], bench.val.labels[few]
    bridged = lambda means: judge.bridge(torch.from_numpy(means)).numpy()  # noqa: E731
    val_wanted, _ = image_mean_scores(bench.val_by_judge, bench.val_by_encoder, bench.val.labels, bridged)
    at = {kind: bench.threshold(kind) for kind in ("image-bridge", "image-mean", "mean-mean")}

    out: Figures = {"people": options.people, "images": options.images}
    out["wanted"] = share((vectors * wanted[labels]).sum(1) >= at["image-bridge"])
    out["wanted_val"] = share(val_wanted >= at["image-bridge"])
    out["others"] = share(image_mean_scores(vectors, vectors, labels)[0] >= at["image-mean"])
    out["others_val"] = share(image_mean_scores(val_vectors, val_vectors, val_labels)[0] >= at["image-mean"])
    val_references = judge.bridge(centres(torch.from_numpy(bench.val_by_encoder), bench.val.labels)).numpy()
    for name, probes, people, references in (
        ("", vectors, labels, wanted),
        ("_val", val_vectors, val_labels, val_references),
    ):
        out[f"confused{name}"] = matches_between(probes, people, references, at["image-bridge"])
        means = centres(torch.from_numpy(probes), people).numpy()
        out[f"alike{name}"] = matches_between(means, np.arange(len(means)), means, at["mean-mean"])
    for name in ("wanted", "others"):
        out[f"{name}_ratio"] = ratio(out[name], out[f"{name}_val"])
    nearest = bench.model.sampler.nearest(bench.sampled)[0].numpy()
    return out | {"nearest_training_median": float(np.median(nearest)), "nearest_training_max": float(nearest.max())}


def val_people(bench: Bench) -> Figures:
    """Condition on the encoder's mean of a val person's pictures; judge against the judge's mean of those pictures.

    No bridge takes part. Divided by val's own share: a picture against the judge's mean of the person's others.
    """
    options, judge = bench.options, bench.model.judge
    people = min(options.val_people, bench.val.people)
    wanted = centres(torch.from_numpy(bench.val_by_encoder), bench.val.labels)[:people]
    made = encode_all(bench.generate(wanted, options.val_images, "val people"), judge.encode, "val people by judge")
    references = centres(torch.from_numpy(bench.val_by_judge), bench.val.labels).numpy()
    labels = np.repeat(np.arange(people), options.val_images)
    threshold = bench.threshold("image-mean")
    out: Figures = {"people": people, "images": options.val_images}
    out["match"] = share((made * references[labels]).sum(1) >= threshold)
    out["match_val"] = share(
        image_mean_scores(bench.val_by_judge, bench.val_by_judge, bench.val.labels)[0] >= threshold
    )
    out["confused"] = matches_between(made, labels, references, threshold)
    return out | {"match_ratio": ratio(out["match"], out["match_val"])}


def spread(bench: Bench) -> Figures:
    """Spread of yaw, and distance between pictures of one person by the judge, ÷ the same of as many of val's pictures.

    Yaw comes from the landmarks that our finder sees in the pictures; pictures in which it sees no face are left out
    and counted. The true spread of val's yaw stands beside it.
    """
    options = bench.options
    few = bench.few(options.images)[: options.people * options.images]
    out: Figures = {"pictures": len(bench.generated), "val_pictures": len(few)}
    for name, pictures in (("", bench.generated), ("_val", bench.val.images[few])):
        looked = [bench.find(Image.fromarray(picture)) for picture in tqdm(pictures, desc=f"yaw{name}", unit="picture")]
        landmarks = [faces[0].landmarks for faces in looked if faces]
        out[f"no_face{name}"] = 1 - len(landmarks) / len(looked)
        out[f"yaw{name}"] = float(yaw_from_landmarks(np.stack(landmarks)).std()) if landmarks else float("nan")
    out["yaw_val_true"] = float(np.std(bench.val.columns["yaw"][few]))
    out["yaw_ratio"] = ratio(out["yaw"], out["yaw_val"])
    labels = np.repeat(np.arange(options.people), options.images)
    out["distance"] = genuine_distance(bench.generated_by_judge, labels)
    out["distance_val"] = genuine_distance(bench.val_by_judge[few], bench.val.labels[few])
    return out | {"distance_ratio": ratio(out["distance"], out["distance_val"])}


def distance(bench: Bench) -> Figures:
    """FD and KID in the judge's features between generated pictures and val's last people; `floor`: val's first people
    in the place of the generated ones, as many pictures of each where there are."""
    few = bench.few(bench.options.images)
    first = few[: min(bench.options.people, bench.val.people // 2) * bench.options.images]
    rest = bench.val.labels > bench.val.labels[first].max()
    real, space = torch.from_numpy(bench.val_by_judge[rest]), bench.model.judge.space
    out: Figures = {"pictures": len(bench.generated), "val_pictures": len(real), "floor_pictures": len(first)}
    out |= distances(real, torch.from_numpy(bench.generated_by_judge), "judge")
    floor = distances(real, torch.from_numpy(bench.val_by_judge[first]), "judge")
    return out | {f"{name}_floor": value for name, value in floor.items()} | {"space": space}


def speed(bench: Bench) -> Figures:
    """`benchmarks/overhead.py` in a fresh process: generate 8 images, warm; share inside the networks; peak memory."""
    command = [sys.executable, str(ROOT / "benchmarks" / "overhead.py"), "--model", bench.name]
    run = subprocess.run([*command, "--threads", str(bench.threads)], capture_output=True, text=True, env=own_path())
    if run.returncode:
        raise RuntimeError(run.stderr.strip()[-2000:])
    return dict(json.loads(run.stdout.splitlines()[-1])) | {"threads": bench.threads}


def app(bench: Bench) -> Figures:
    """A fresh process of `python app.py`: seconds to the page, to a sampled person, to 8 pictures; peak memory (Linux).

    The default model is asked for through the app's own API, `/sample` and `/generate`.
    """
    from gradio_client import Client

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    environment = own_path() | {"GRADIO_SERVER_PORT": str(port), "OMP_NUM_THREADS": str(bench.threads)}
    out: Figures = {}
    with tempfile.TemporaryFile() as log:
        since = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            while True:
                if process.poll() is not None or time.perf_counter() - since > START_LIMIT:
                    log.seek(0)
                    raise RuntimeError("The app does not answer: " + log.read().decode(errors="replace")[-2000:])
                try:
                    with urllib.request.urlopen(address, timeout=5) as answer:
                        answer.read()
                    break
                except OSError:
                    time.sleep(0.05)
            out["page_seconds"] = time.perf_counter() - since
            client = Client(address, verbose=False)
            client.predict(7, api_name="/sample")
            out["sample_seconds"] = time.perf_counter() - since
            client.predict(8, 15, 0, 0, api_name="/generate")
            out["pictures_seconds"] = time.perf_counter() - since
            out["peak_gb"] = peak_of(process.pid)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)
    return out


def own_path() -> dict[str, str]:
    """The environment, with this checkout first on Python's path."""
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def peak_of(pid: int) -> float | None:
    """Peak resident memory of another process in GB; None where the system does not say."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM")), None)


STAGES: dict[str, tuple[Callable[[Bench], Figures], tuple[str, ...]]] = {
    # name → (what measures it, the parts of the model whose weights it depends on)
    "yaw": (yaw, ()),
    "encoder": (encoder, ("encoder/recognizer", "judge/recognizer")),
    "finder": (finder, ("encoder/finder",)),
    "astronaut": (astronaut, ("encoder", "judge", *PAINTER)),
    "generated": (generated, ("encoder/recognizer", "judge", "sampler", *PAINTER)),
    "val-people": (val_people, ("encoder/recognizer", "judge", *PAINTER)),
    "diversity": (spread, ("encoder/finder", "judge", "sampler", *PAINTER)),
    "distance": (distance, ("judge", "sampler", *PAINTER)),
    "speed": (speed, ("",)),
    "app": (app, ("",)),
}


# ------------------------------------------------------------------------------------------------------------- table


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: the figure in words.
        stage, key: where its number is.
        form: how to print it: "%", or digits after the point with a unit ("2 s").
        must, aim: bounds, or None where the figure is only reported.
        low: whether lower is better.
    """

    what: str
    stage: str
    key: str
    form: str = "%"
    must: float | None = None
    aim: float | None = None
    low: bool = False

    def show(self, value: Any) -> str:
        if value is None:
            return "–"
        if self.form == "%":
            return f"{100 * value:.3g} %"
        digits, _, unit = self.form.partition(" ")
        return f"{value:.{digits}f} {unit}".rstrip()

    def bound(self, value: float | None) -> str:
        if value is None:
            return ""
        number = self.show(value) if self.form == "%" else f"{value:g} {self.form.partition(' ')[2]}".rstrip()
        return f"{'≤' if self.low else '≥'} {number}"

    def reached(self, value: Any) -> str:
        if self.must is None:
            return ""
        met = [value is not None and (value <= b if self.low else value >= b) for b in (self.must, self.aim)]
        return "aim" if all(met) else "must" if met[0] else "**no**"


ROWS = (
    Row("encoder on val, all pairs: EER", "encoder", "encoder_eer", "%", 0.03, 0.015, True),
    Row("encoder on val, all pairs: TAR at FMR 1e-3", "encoder", "encoder_tar", "%", 0.85, 0.94),
    Row("judge on val, all pairs: EER", "encoder", "judge_eer"),
    Row("judge on val, all pairs: TAR at FMR 1e-3", "encoder", "judge_tar"),
    Row("face finder: landmark error ÷ eye distance", "finder", "landmark_error", "%", 0.08, 0.04, True),
    Row("face finder: the same, median", "finder", "median_error"),
    Row("face finder: misses", "finder", "misses", "%", 0.03, 0.01, True),
    Row("face finder: false finds in pictures with no face", "finder", "false_finds", "%", 0.03, 0.01, True),
    Row("… in procedural pictures", "finder", "false_finds_procedural"),
    Row("… in scikit-image's photographs (never trained on)", "finder", "false_finds_photographs"),
    Row("… in photos with the head covered", "finder", "false_finds_covered"),
    Row("astronaut: faces found", "astronaut", "found", "0", 1, 1),
    Row("astronaut: landmark error ÷ eye distance", "astronaut", "landmark_error", "%", 0.15, 0.08, True),
    Row("astronaut: images generated", "astronaut", "images", "0", 1, 1),
    Row("astronaut: of these match, says the judge", "astronaut", "matching", "0"),
    Row("generated match the wanted identity at FMR 1e-3, judge", "generated", "wanted"),
    Row("… val's real pictures", "generated", "wanted_val"),
    Row("… ratio", "generated", "wanted_ratio", "2", 0.8, 1.0),
    Row("generated match their person's other pictures, judge", "generated", "others"),
    Row("… val's real pictures", "generated", "others_val"),
    Row("… ratio", "generated", "others_ratio", "2", 0.8, 1.0),
    Row("generated from val's people match their real pictures, judge", "val-people", "match"),
    Row("… val's real pictures", "val-people", "match_val"),
    Row("… ratio", "val-people", "match_ratio", "2", 0.8, 1.0),
    Row("two different sampled people match: picture against vector", "generated", "confused"),
    Row("… val's real people", "generated", "confused_val"),
    Row("two different sampled people match: mean against mean", "generated", "alike"),
    Row("… val's real people", "generated", "alike_val"),
    Row(
        "cosine of a sampled person to the nearest training person: median", "generated", "nearest_training_median", "2"
    ),
    Row("… highest", "generated", "nearest_training_max", "2"),
    Row("diversity: standard deviation of yaw", "diversity", "yaw", "1 °"),
    Row("… val's real pictures, measured the same way", "diversity", "yaw_val", "1 °"),
    Row("… ratio", "diversity", "yaw_ratio", "2", 0.6, 0.9),
    Row("diversity: 1 − mean genuine cosine, judge", "diversity", "distance", "3"),
    Row("… val's real pictures", "diversity", "distance_val", "3"),
    Row("… ratio", "diversity", "distance_ratio", "2", 0.6, 0.9),
    Row("FD in the judge's features against val (`fd_judge`)", "distance", "fd_judge", "1"),
    Row("… of other real people", "distance", "fd_judge_floor", "1"),
    Row("KID in the judge's features against val (`kid_judge`)", "distance", "kid_judge", "3"),
    Row("… of other real people", "distance", "kid_judge_floor", "3"),
    Row("`generate` of 8 images, warm", "speed", "seconds", "2 s", 6, 2, True),
    Row("… share of its wall time inside the networks", "speed", "network_share", "%", 0.85, 0.95),
    Row("… peak memory", "speed", "peak_gb", "2 GB", 2, 1.5, True),
    Row("app: start to the page", "app", "page_seconds", "1 s"),
    Row("app: start to its first answer, a sampled person", "app", "sample_seconds", "1 s", 20, 10, True),
    Row("app: peak memory after 8 pictures", "app", "peak_gb", "2 GB", 2, 1.5, True),
)


def table(report: Figures, current: dict[str, str] | None = None) -> str:
    """The report as Markdown.

    Args:
        report: what the JSON holds.
        current: stage → fingerprint of today's weights; figures of other weights are marked.
    """
    lines = ["| figure | measured | must | aim | reached |", "|---|---|---|---|---|"]
    old = False
    for row in ROWS:
        stage = report["stages"].get(row.stage)
        if stage is None:
            value, mark = None, ""
        else:
            value = stage["figures"].get(row.key)
            mark = " †" if current is not None and current.get(row.stage) != stage["weights"] else ""
        old = old or bool(mark)
        reached = row.reached(value) if stage is not None else "not measured" if row.must is not None else ""
        cells = (row.what, row.show(value) + mark, row.bound(row.must), row.bound(row.aim), reached)
        lines.append("| " + " | ".join(cells) + " |")
    stages = report["stages"].values()
    first, last = min(s["date"] for s in stages), max(s["date"] for s in stages)
    when = f"on {first}" if first == last else f"between {first} and {last}"
    machines = sorted({s["machine"].removesuffix(", cpu") for s in stages})
    notes = [f"Measured by `python benchmarks/figures.py --faces FACES` {when} on {'; '.join(machines)}."]
    if old:
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


def machine() -> str:
    """The processor and how many of its cores may be used."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"


def read_report(path: Path, model: str) -> Figures:
    """What an earlier run wrote for this model, or an empty report."""
    report = files.read_json(path) if path.exists() else {}
    return report if report.get("model") == model else {"model": model, "stages": {}}


def main() -> int:
    defaults = Options()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder with val/ and photos/")
    parser.add_argument("--model", default="nobody-128")
    parser.add_argument("--out", type=Path, default=Path("figures.json"))
    parser.add_argument("--only", nargs="+", choices=STAGES, metavar="STAGE", help=" ".join(STAGES))
    parser.add_argument("--card", type=Path, help="a Markdown file with two figures marks")
    parser.add_argument("--device", help="for everything but speed and app, which are measured on the CPU")
    parser.add_argument("--threads", type=int, default=2)
    for name, value in asdict(defaults).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    options = Options(**{name: getattr(args, name) for name in asdict(defaults)})

    bench = Bench(args.model, args.faces, options, args.device, args.threads)
    report = read_report(args.out, args.model)
    failed = []
    for name in args.only or STAGES:
        measure, parts = STAGES[name]
        since = time.perf_counter()
        try:
            figures = measure(bench)
        except Exception:  # the other stages are still worth having
            failed.append(name)
            print(f"\n{name}: failed\n{traceback.format_exc()}", file=sys.stderr)
            continue
        if strip := figures.pop("strip", None):
            Image.fromarray(np.concatenate(np.array(strip, np.uint8), 1)).save(args.out.with_name("astronaut.png"))
        report["stages"][name] = {
            # JSON knows no NaN: what could not be measured is null
            "figures": {key: None if value != value else value for key, value in figures.items()},
            "options": asdict(options),
            "weights": bench.fingerprint(parts),
            "date": datetime.date.today().isoformat(),
            "machine": machine() if name in ("speed", "app") else f"{machine()}, {bench.model.device}",
            "seconds": round(time.perf_counter() - since, 1),
        }
        print(f"\n{name} ({report['stages'][name]['seconds']} s)", json.dumps(figures, indent=2), sep="\n", flush=True)
        files.write_json(args.out, report)
    if report["stages"]:
        text = table(report, {name: bench.fingerprint(parts) for name, (_, parts) in STAGES.items()})
        args.out.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
        print(f"\n{text}\n\nWritten to {args.out} and {args.out.with_suffix('.md')}.")
        if args.card:
            write_card(args.card, text)
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
