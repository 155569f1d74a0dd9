"""Does a picture look as it was asked to? The stages of `figures.py` on attributes and habits.

What a picture looks like is read by the model's attribute reader, whose own error on val stands beside every figure.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from idgen import asking
from idgen.evaluation.attributes import reading_errors
from idgen.ground import attributes, files
from idgen.sampling.who import Who
from idgen.scoring.calibration import image_mean_scores
from idgen.scoring.verdict import judge_threshold

Figures = dict[str, Any]
BEARD = 0.2
"""Above which amount a beard is one: of 0.2 and less nothing is seen in the renders, of .21 all of it."""
READ = 0.22
"""From which amount read: where the reader separates the first 500 training people with and without a beard best, for
it reads amounts nearer to their mean than they are."""
YES_NO = {"no": 0.5, "yes": 0.5}


def asked(
    bench: Any, vectors: torch.Tensor, images: int, wishes: Mapping[str, Any], what: str
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Pictures (N, H, W, 3) of people who are asked to look so, and what each was told, (N, A); through the cache."""
    pipeline = bench.model.pipeline
    weights, pictures, rows = bench.fingerprint(bench.painter), [], []
    for number, vector in enumerate(tqdm(vectors, desc=what, unit="person")):
        key = hashlib.sha256(
            repr((bench.options.seed, images, sorted(wishes.items()))).encode() + vector.numpy().tobytes()
        )
        path = files.cache("figures", f"asked-{weights}-{bench.model.device}/{key.hexdigest()[:24]}.npz")
        if not path.exists():
            wanted = asking.asked(pipeline.vocabulary, wishes)
            made = list(pipeline.iterate(vector, images, seed=bench.options.seed + number, attributes=wanted))
            told = [
                pipeline.vocabulary.rows({k: np.array([v]) for k, v in item.attributes.items()})[0] for item in made
            ]
            with files.aside(path) as beside, beside.open("wb") as file:
                np.savez(file, pictures=np.stack([np.asarray(item.image) for item in made]), told=np.stack(told))
        with np.load(path) as kept:
            pictures.append(kept["pictures"])
            rows.append(kept["told"])
    return np.concatenate(pictures), np.concatenate(rows)


def read(bench: Any, pictures: NDArray[np.uint8], what: str) -> NDArray[np.float32]:
    """(N, A) what the reader reads, as its own vocabulary has it."""
    out = []
    for start in tqdm(range(0, len(pictures), 64), desc=what, unit="batch"):
        batch = torch.from_numpy(np.array(pictures[start : start + 64])).permute(0, 3, 1, 2)
        out.append(bench.model.attributes.read(batch.float() / 255).numpy())
    return np.concatenate(out)


def balanced(said: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    """Mean of the shares that are right among those that were to be so and those that were not."""
    return float(np.mean([said[wanted].mean(), (~said[~wanted]).mean()]))


def control(bench: Any) -> Figures:
    """Yaw, pitch and smile as they are drawn; glasses, hat and (on men) beard asked half yes and half no.

    `_own` is the reader's error on val. `kept` is how far what was not asked for moves when one attribute is changed
    from the same noise, ÷ the reader's error on val, the mean over numbers.
    """
    few, words = bench.sampled, bench.model.pipeline.vocabulary
    reader = bench.model.attributes.vocabulary
    traits = bench.model.traits(few).numpy()
    man = np.repeat(traits[:, attributes.PERSON.index("gender")] > 0.5, 4)
    own = val_errors(bench)
    out: Figures = {"people": len(few)}
    pictures, told = asked(bench, few, 4, {}, "as they come")
    got = reading_errors(_shared(bench, read(bench, pictures, "read")), told, words)
    for name, key in (("yaw", "error"), ("pitch", "error"), ("smile", "correlation")):
        out |= {f"{name}_{key}": got[name][key], f"{name}_{key}_own": own[name][key]}
    for name, wish in (("glasses", YES_NO), ("hat", YES_NO), ("beard", {"0": 0.5, "0.8": 0.5})):
        rows = man if name == "beard" else np.ones(4 * len(few), bool)
        pictures, told = asked(bench, few, 4, {name: wish}, name)
        level = READ if name == "beard" else 0.5
        found = read(bench, pictures[rows], "read")[:, reader.names.index(name)]
        out[name] = balanced(found > level, told[rows, words.names.index(name)] > 0.5)
        out[f"{name}_own"] = own[name].get("balanced", own[name].get("error"))
    changes = {"yaw": (-25.0, 25.0), "smile": (0.0, 1.0), "glasses": ("no", "yes")}
    moved: list[float] = []
    for name, ends in changes.items():
        pair = [read(bench, asked(bench, few[:40], 1, {name: end}, name)[0], "read") for end in ends]
        group = next(each for each in (*attributes.PICTURE, *attributes.HABITS) if name in each)
        for place, other in enumerate(reader.names):
            if not reader.named(other) and other not in group and other in own:
                moved.append(float(np.abs(pair[0] - pair[1])[:, place].mean()) / own[other]["error"])
    return out | {"kept": float(np.mean(moved)), "kept_worst": float(np.max(moved))}


def kinds(bench: Any) -> Figures:
    """1,000 people asked for evenly over gender, age and skin tone: the greatest difference between a kind's share and
    what was asked for, as the probe reads the vectors by which they were chosen, and as the reader reads a picture of
    each."""
    asked_for = Who(dict.fromkeys(("gender", "age", "skin_tone"), "uniform"))
    number = min(1000, 10 * len(bench.sampled))
    people = asked_for.choose(bench.model.sampler, bench.model.traits, number, bench.options.seed)
    seen = read(bench, asked(bench, people.vectors, 1, {}, "kinds")[0], "read")
    names = bench.model.attributes.vocabulary.names
    by_reader = torch.from_numpy(seen[:, [names.index(name) for name in attributes.PERSON]])

    def off(traits: torch.Tensor) -> float:
        got = asked_for.reached(traits)
        return max(abs(share - asked_for.shares[name][kind]) for name in got for kind, share in got[name].items())

    return {"people": number, "by_probe": off(bench.model.traits(people.vectors)), "by_reader": off(by_reader)}


def throughput(bench: Any) -> Figures:
    """Pictures a second where they are told how to look ÷ where nobody asks: eight at once, warm, by turns of who is
    first; the median of 30 turns, since one turn is off by some percent."""
    person, pipeline = bench.sampled[0], bench.model.pipeline
    told, ratios = {"yaw": 20, "smile": 0.8, "glasses": "yes"}, []
    for turn in range(32):
        seconds = {}
        for wish in (told, None) if turn % 2 else (None, told):
            since = time.perf_counter()
            list(pipeline.iterate(person, 8, seed=turn, attributes=wish))
            seconds[wish is None] = time.perf_counter() - since
        ratios.append(seconds[True] / seconds[False])
    return {"ratio": float(np.median(ratios[2:]))}


def val_errors(bench: Any) -> dict[str, dict[str, float]]:
    """How well the reader reads val."""
    reader = bench.model.attributes.vocabulary
    return reading_errors(bench.val_read, reader.rows(attributes.labels(bench.val.columns)), reader)


def _shared(bench: Any, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What was read (N, A'), in the places of the pipeline's vocabulary (N, A)."""
    names = bench.model.attributes.vocabulary.names
    return rows[:, [names.index(name) for name in bench.model.pipeline.vocabulary.names]]


def profile(bench: Any) -> Figures:
    """Likeness where the head is turned by 40° to 50°: share that match at FMR 1e-3, ÷ the renders' own there."""
    few, bridge = bench.sampled, bench.model.judge.bridge
    threshold = judge_threshold(bench.model.judge, "image-bridge")
    pictures, _ = asked(bench, few, 4, {"yaw": {"40..50": 0.5, "-50..-40": 0.5}}, "in profile")
    made, labels = bench.encode(pictures, bench.model.judge), np.repeat(np.arange(len(few)), 4)
    share = float(((made * bridge(few).numpy()[labels]).sum(1) >= threshold).mean())
    turn = np.abs(bench.val.columns["yaw"].astype(float))
    bridged = lambda vectors: bridge(torch.from_numpy(vectors)).numpy()  # noqa: E731
    cosines, _ = image_mean_scores(bench.val_by_judge, bench.val_by_encoder, bench.val.labels, bridged)
    own = float((cosines[(turn >= 40) & (turn <= 50)] >= threshold).mean())
    return {"match": share, "match_val": own, "match_ratio": share / own if own else None}


def habits(bench: Any) -> Figures:
    """Of pictures as they come: yaw's spread, beards on people read as women, hair styles a person; and of val."""
    reader, images = bench.model.attributes.vocabulary, bench.options.images
    few = bench.few(images)
    out: Figures = {}
    sides = (("", read(bench, bench.generated, "read")), ("_val", bench.val_read[few]))
    for name, rows in sides:
        column = dict(zip(reader.names, rows.T, strict=True))
        people = rows.reshape(-1, images, len(reader))
        women = np.repeat(people[..., reader.names.index("gender")].mean(1) < 0.35, images)
        out[f"yaw{name}"] = float(column["yaw"].std())
        out[f"beards{name}"] = float((column["beard"][women] > READ).mean())
        styles = people[..., reader.names.index("hair")]
        out[f"styles{name}"] = float(np.mean([len(np.unique(one)) for one in styles]))
        out[f"glasses{name}"] = float(column["glasses"].mean())
    out |= {"beards_more": out["beards"] - out["beards_val"]}
    return out | {f"{name}_ratio": out[name] / out[f"{name}_val"] for name in ("yaw", "styles")}


def reader(bench: Any) -> Figures:
    """The attribute reader on val: mean error of numbers, balanced accuracy of names."""
    own, names = val_errors(bench), bench.model.attributes.vocabulary.names
    truth = attributes.labels(bench.val.columns)
    out = {name: each.get("error", each.get("balanced")) for name, each in own.items()}
    beard = bench.val_read[:, names.index("beard")] > READ
    out["beard"] = balanced(beard, np.asarray(truth["beard"], float) > BEARD)
    out["gender"] = balanced(bench.val_read[:, names.index("gender")] > 0.5, np.asarray(truth["gender"], float) > 0.5)
    return out
