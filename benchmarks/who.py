"""Does it look like a picture, of that person, and how many people are there? Stages of `figures.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from looks import autoencoder_figures, bands, early, frechet
from PIL import Image

from idgen.evaluation.separability import Separability
from idgen.faces.resolve import for_photographs
from idgen.ground.images import is_picture
from idgen.scoring import verification
from idgen.scoring.calibration import calibrations_of, meaning
from idgen.scoring.verdict import judge_threshold

Figures = dict[str, Any]
UNIQUE, AMONG = 500, 200


def autoencoder(bench: Any) -> Figures:
    """Val's pictures through the autoencoder: PSNR, that in boxes round eyes and mouth, energy in three bands of the
    face region ÷ the source's, and FD in the judge's first two stages ÷ that between two halves of val."""
    every = np.array(bench.val.images[:: max(1, len(bench.val) // 1500)])
    return autoencoder_figures(bench.model.pipeline.autoencoder, every, bench.model.judge.recognizer.network, None)


def looks(bench: Any) -> Figures:
    """Generated pictures beside val's: energy in three bands of the face region, median ÷ val's median; FD in the
    judge's first two stages and in its features, ÷ that of other people's renders."""
    made, few = bench.generated, bench.few(bench.options.images)
    half = few[: min(bench.options.people, bench.val.people // 2) * bench.options.images]
    rest = few[bench.val.labels[few] > bench.val.labels[half].max()]
    ratios = np.median(bands(made), 0) / np.median(bands(bench.val.images[few]), 0)
    out: Figures = {f"band_{number}": float(ratio) for number, ratio in enumerate(ratios, 1)}
    network = bench.model.judge.recognizer.network
    real = early(bench.val.images[rest], network)
    floor = frechet(real, early(bench.val.images[half], network))
    out["early_fd_ratio"] = frechet(real, early(made[: len(half)], network)) / floor
    judged = torch.from_numpy(bench.val_by_judge)
    floor = frechet(judged[rest], judged[half])
    out["fd_ratio"] = frechet(judged[rest], torch.from_numpy(bench.generated_by_judge)[: len(half)]) / floor
    return out


def apart(bench: Any) -> Figures:
    """How many people: unique ones among 500 sampled (renders: val's), and the EER among 200, ÷ the renders', by the
    judge, with as many pictures a person."""
    images, val, threshold = bench.options.images, bench.val, judge_threshold(bench.model.judge, "mean-mean")
    many = bench.model.sampler.sample(min(UNIQUE, val.people), seed=bench.options.seed + 1).vectors
    made = bench.encode(bench.generate(many, images, "people"), bench.model.judge)
    few = bench.few(images)
    out: Figures = {"people": len(many)}
    sides = (("", made, np.repeat(np.arange(len(many)), images)), ("_val", bench.val_by_judge[few], val.labels[few]))
    for name, vectors, labels in sides:
        out[f"unique{name}"] = Separability.measure(torch.from_numpy(vectors), labels, threshold).unique_share
        some = labels < AMONG
        out[f"eer{name}"] = verification.eer(*verification.pair_scores(vectors[some], labels[some]))
    return out | {f"{name}_ratio": _ratio(out[name], out[f"{name}_val"]) for name in ("unique", "eer")}


def _ratio(value: float, other: float) -> float | None:
    return value / other if other else None


def photographs(bench: Any) -> Figures:
    """Pictures made from photographs, by dlib's recogniser: which are accepted as the photograph's person, which pairs
    of one person's pictures match, and which pictures as another photograph's person.

    `--photos` is a folder of photographs, one a person. The thresholds are those of dlib's calibration on photographs,
    at a false-match rate of 1 in 1,000.
    """
    judge, photos = for_photographs(), bench.options.photos
    if judge is None or not photos:
        raise ValueError("it takes --photos, a folder of photographs of one person each, and the extra `photos`")
    at = meaning(calibrations_of(judge), "photographs", "image-image")
    assert at is not None
    of, made, sheet = [], [], []
    for path in sorted(p for p in Path(photos).iterdir() if is_picture(p)):
        with Image.open(path) as photo:
            aligned, *_ = judge.detect_and_align(photo.convert("RGB"))
            of.append(judge.identify([photo]).vector)
            person = bench.model.encoder.identify([photo])
        pictures = [item.image for item in bench.model.pipeline.iterate(person, 4, seed=bench.options.seed)]
        made.append(judge.encode(pictures))
        sheet.append(np.concatenate([np.asarray(one.resize((128, 128))) for one in (aligned, *pictures)], 1))
    Image.fromarray(np.concatenate(sheet)).save(bench.options.out.with_name("photographs.png"))
    vectors, painted = torch.stack(of), torch.stack(made)  # (P, D), (P, 4, D)
    scores = torch.einsum("pkd,qd->pkq", painted, vectors)
    own = torch.eye(len(vectors), dtype=torch.bool)[:, None].expand(scores.shape)
    pairs = torch.stack([(one @ one.T)[torch.triu(torch.ones(4, 4), 1) > 0] for one in painted])
    return {
        "pictures": own.sum().item(),
        "accepted": float((scores[own] >= at.threshold).float().mean()),
        "pairs": float((pairs >= at.threshold).float().mean()),
        "others": float((scores[~own] >= at.threshold).float().mean()),
    }
