"""The people of a dataset's plan, drawn and written down."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm.auto import tqdm

from idgen.asking import asked
from idgen.choosing import picture_means, told_apart
from idgen.dataset.filters import Filters
from idgen.dataset.plan import CARD, DATA, LABELS, LIKE, PEOPLE, PLAN, PLANNED, Plan, Planned, digest
from idgen.ground import arguments, files
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, Identity
from idgen.ground.version import __version__
from idgen.model import Model, load_model, sampler_of
from idgen.sampling.draw import GALLERY, draw
from idgen.sampling.interpolation import SoftLabel
from idgen.sampling.variation import settled
from idgen.scoring import meaning
from idgen.scoring.verdict import judge_threshold
from idgen.similarity import similarity_curve, with_own_pictures

MOST_CANDIDATES = 10
"""Times `people`: candidates that are drawn at most to find people who are told apart."""
_PEOPLE_A_BLOCK = 50  # pictured between two saves of a plan
_SAMPLED = "image-bridge", "image-mean"
"""What pictures of a sampled person are judged by: the bridge, else the model's own pictures of them."""
_ENDLESS = (None, "flow", "gaussian", "sphere")  # methods of `idgen.sampling.draw` that can go on drawing


def model_of(planned: Planned, device: str | None = None) -> Model:
    """The model, as it was when a dataset was planned.

    Raises:
        InputError: it is not there, or its weights or settings are others now.
    """
    model = _loaded(planned.plan, device)
    if model.fingerprint != planned.weights:
        raise InputError(
            f"The weights or settings of {planned.plan.model} are not those that {planned.folder} was planned for: "
            "pictures of both would be mixed; plan again, in a new folder."
        )
    return model


def _loaded(plan: Plan, device: str | None) -> Model:
    """The model with the plan's settings, in all that it paints.

    Raises:
        InputError: it is not there, or has no such setting.
    """
    model = load_model(plan.model, device)
    wanted = {name: value for name in arguments.SETTINGS if (value := getattr(plan, name)) is not None}
    for name in wanted:
        if name not in model.pipeline.config or (name == "attribute_scale" and not model.pipeline.vocabulary):
            raise InputError(f"The model {plan.model!r} has no `{name}`: leave it out of the plan.")
    model.pipeline.register_to_config(**wanted)
    return model


def make_plan(plan: Plan, folder: str | Path, device: str | None = None) -> Planned:
    """Draw the people of a plan and write plan, people and what else the workers need into a folder.

    Called again with the same plan it changes nothing; where it was interrupted, it goes on.

    Raises:
        InputError: the folder holds another dataset or cannot be written, the model is not there or lacks what the
            plan's filters need, or so many people cannot be kept apart.
    """
    folder = Path(folder)
    files.check_writable(folder)
    if (folder / PLANNED).is_file():
        before = Planned.load(folder)
        if before.plan != plan:
            new, old = asdict(plan), asdict(before.plan)
            name = next(name for name in new if new[name] != old[name])
            other = f"a dataset of another plan (its `{name}` is {old[name]})"
            raise InputError(f"{folder} holds {other}: choose another folder.")
        model_of(before, device)
        return before
    if (folder / CARD).exists() or (folder / DATA).exists():
        raise InputError(f"{folder} holds other files already: choose another folder.")
    model = _loaded(plan, device)
    _check_model(plan, model)
    _check_painting(plan, model)
    if plan.people > GALLERY and plan.method == "packed":
        raise InputError(f"At most {GALLERY:,} people can be packed, got {plan.people:,}: use another `method`.")
    # A similarity is measured once, here: workers that measured for themselves could find another cone.
    variation = settled(plan.vary, lambda: similarity_curve(model, plan.guidance))
    asking = asked(model.pipeline.vocabulary, plan.attributes, plan.as_in) if plan.attributes or plan.as_in else None
    like = None if asking is None else asking.like
    people, labels = _people(plan, model, folder)
    people = _looked_at(plan, model, people, folder)
    Filters(plan, model, people)  # refuses people whose pictures it cannot judge
    people.save(folder / PEOPLE)
    if labels:
        files.write(folder / LABELS, json.dumps([label.weights() for label in labels], indent=1))
    files.write(folder / PLAN, plan.text())
    if like is not None:
        files.write(folder / LIKE, save({"rows": like}))
    prints = {"plan": digest(plan.text()), "people": people.fingerprint(), "weights": model.fingerprint}
    more: dict[str, Any] = {} if like is None else {"like": digest(like)}
    if (kind := plan.kind) is not None:
        more["who"] = kind.reached(model.traits(people.vectors))
    files.write_json(folder / PLANNED, {**prints, "variation": variation, "idgen": __version__, **more})
    shutil.rmtree(folder / "apart", ignore_errors=True)
    return Planned.load(folder)


def _check_model(plan: Plan, model: Model) -> None:
    """Raise InputError where the model lacks what the plan's filters need; loads nothing but what it looks at."""
    needed = {"match: none": plan.match is not None, "other: false": plan.other, "apart: 0": plan.apart > 0}
    needed["easiest: none"] = plan.easiest is not None
    needed["best_of: 1"] = plan.best_of > 1 and plan.best_by.endswith("judge_similarity")
    if (unmet := [without for without, wanted in needed.items() if wanted]) and not model.has("judge"):
        lacks = f"The model {model.name!r} has no judge, which `{unmet[0].split(':')[0]}` of the plan needs"
        raise InputError(f"{lacks}: set {' and '.join(unmet)}.")
    if plan.face and (not model.has("encoder") or model.encoder.finder is None):
        raise InputError(f"The model {model.name!r} cannot find faces, which the plan asks for: set face: false.")
    if plan.match is not None:
        known = [kind for kind in _SAMPLED if meaning(model.judge.calibrations, model.paints, kind, plan.match)]
        judge_threshold(model.judge, [*known, *_SAMPLED][0], plan.match, model.paints)  # says which rates there are
    if plan.apart:
        judge_threshold(model.judge, "mean-mean", plan.apart_fmr, model.paints)


def _check_painting(plan: Plan, model: Model) -> None:
    """Raise InputError where the model cannot paint so: in so many steps, guided so, away from somebody."""
    somebody = torch.nn.functional.one_hot(torch.zeros(1, dtype=torch.long), model.pipeline.identity_dim).float()
    away = {} if plan.away is None else {"negative": somebody, "negative_weight": plan.away_weight}
    options: dict[str, Any] = {"num_inference_steps": plan.steps, "guidance_scale": plan.guidance, **away}
    model.pipeline.iterate(somebody, 1, **options)


def _people(plan: Plan, model: Model, folder: Path) -> tuple[Identities, list[SoftLabel]]:
    sampler = sampler_of(model)
    candidates, before = plan.people, (0, 0)  # candidates and kept, the time before
    most = plan.people * (MOST_CANDIDATES if plan.method in _ENDLESS else 1)
    while True:
        people, labels = draw(sampler, candidates, plan.seed, plan.method, plan.file, plan.kind, model.traits)
        if not plan.apart:
            return people, labels
        kept = _told_apart(plan, model, people, folder)
        if len(kept) >= plan.people:
            return people.take(kept[: plan.people].tolist()), labels
        # The fuller it is, the fewer of the next are apart from everybody: as many as of the last ones at most.
        rate = (len(kept) - before[1]) / (candidates - before[0])
        if len(kept) + rate * (most - candidates) < plan.people:
            raise InputError(
                f"Of {candidates:,} candidates the judge tells only {len(kept):,} people apart at a false-match rate "
                f"of {plan.apart_fmr:g}, not {plan.people:,}: plan fewer people, or a smaller apart_fmr."
            )
        before = candidates, len(kept)
        candidates = min(most, candidates + math.ceil(1.1 * (plan.people - len(kept)) / rate), 2 * candidates)


def _looked_at(plan: Plan, model: Model, people: Identities, folder: Path) -> Identities:
    """The people with what the judge sees in the model's own pictures of them, where pictures can be judged by nothing
    else and the plan asks the judge. What was pictured is kept beside the plan till it is done."""
    if plan.match is None and plan.easiest is None and not plan.other:
        return people
    fmr = arguments.FMR if plan.match is None else plan.match
    scorer, options = model.scorer_at(fmr), {"num_inference_steps": plan.steps, "guidance_scale": plan.guidance}
    if not any(scorer.wants_own_pictures(person) for person in people):
        return people
    looked: list[Identity] = []
    for start in tqdm(range(0, len(people), _PEOPLE_A_BLOCK), desc="own pictures", unit="block"):
        block = people[start : start + _PEOPLE_A_BLOCK]
        name = digest(f"own {block.fingerprint()} {plan.text()} {model.fingerprint}")
        path = folder / "apart" / f"{name}.safetensors"
        if not path.is_file():
            with_own_pictures(model, block, fmr, options, progress=False).save(path)
        looked += Identities.load(path)
    return Identities.of(looked)


def _told_apart(plan: Plan, model: Model, people: Identities, folder: Path) -> Tensor:
    """Rows of the people whom the judge tells apart. What was pictured is kept beside the plan till it is done."""
    means, weights = [], model.fingerprint
    starts = range(0, len(people), _PEOPLE_A_BLOCK)
    for start in tqdm(starts, desc="kept apart", unit="block"):
        block = people[start : start + _PEOPLE_A_BLOCK]
        name = digest(f"{block.fingerprint()} {plan.text()} {weights}")
        path = folder / "apart" / f"{name}.safetensors"
        if not path.is_file():
            pictured = picture_means(block, model, plan.apart, plan.seed, steps=plan.steps, guidance=plan.guidance)
            files.write(path, save({"means": pictured}))
        means.append(load_file(path)["means"])
    return told_apart(torch.cat(means), judge_threshold(model.judge, "mean-mean", plan.apart_fmr, model.paints))
