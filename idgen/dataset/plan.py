"""What a dataset is to be: a plan file, and the people drawn for it."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from idgen import provenance
from idgen.dataset.folder import CARD, DATA, LABELS, PEOPLE, PLAN, PLANNED, read_json
from idgen.errors import InputError
from idgen.options import parse

if TYPE_CHECKING:
    from torch import Tensor

    from idgen.hub import Model
    from idgen.identity import Identities
    from idgen.sampling.interpolation import SoftLabel

PICTURES_A_SHARD = 500
MOST_CANDIDATES = 10
"""Times `people`: candidates that are drawn at most to find people who are told apart."""
_PEOPLE_A_BLOCK = 50  # pictured between two saves of a plan that keeps people apart

# Methods of `idgen.sampling.draw` that can go on drawing.
_ENDLESS = (None, "flow", "gaussian", "sphere")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A dataset of people: who, how varied, by which model, which pictures are kept, and how many."""

    people: int
    """How many people."""
    images: int = 10
    """Pictures a person."""
    seed: int = 0
    """The same plan gives the same dataset."""
    model: str = "nobody-128"
    """Named model, folder, or Hub repository."""
    method: str | None = None
    """Who: flow, gaussian, sphere, packed, or of a file: file, interpolate, mean, mixup; by default the model's own."""
    file: Path | None = None
    """File of people or vectors, for file, interpolate, mean and mixup."""
    apart: int = 0
    """Picture every candidate so many times first, and keep only people whom the judge tells apart; 0: do not."""
    apart_fmr: float = 1e-3
    """False-match rate at which they have to be told apart: 0.01, 0.001 or 0.0001."""
    variation: str = "0"
    """0: exactly the person; up to 1: others around; or cone:0.7, gaussian:0.03, similarity:0.5."""
    steps: int | None = None
    """Denoising steps; by default the model's."""
    guidance: float | None = None
    """Guidance scale; by default the model's."""
    face: bool = True
    """Keep only pictures in which a face is found."""
    match: float | None = 1e-3
    """Keep only pictures that are the person, says the judge at this false-match rate; none: keep all."""
    other: bool = True
    """Drop pictures that are nearer to another person of the dataset, by the judge."""
    duplicate: float | None = 0.98
    """Drop near-duplicates: pictures of a person that correlate so strongly, 32 x 32 pixels in grey; none: keep all."""
    tries: float = 4.0
    """Times `images`: pictures made at most of a person to find enough that are kept."""
    shard: int | None = None
    """People a Parquet file; by default so many that it has about 500 pictures."""

    def __post_init__(self) -> None:
        from idgen.generate import check
        from idgen.identity import check_seed

        for name in ("apart_fmr", "guidance", "match", "duplicate", "tries"):  # 3 and 3.0 are the same plan
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))
        if self.people < 1:
            raise InputError(f"The number of people is at least 1, got {self.people}.")
        check(self.images, self.steps, self.guidance, self.vary, 1)
        check_seed(self.seed)
        for name, low, high in (("apart", 0, 100), ("tries", 1, 1000), ("shard", 1, math.inf)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InputError(f"`{name}` of a plan lies between {low} and {high:g}, got {value:g}.")
        if self.duplicate is not None and not 0 < self.duplicate <= 1:
            raise InputError(f"`duplicate` of a plan is a correlation above 0, at most 1, got {self.duplicate:g}.")

    @property
    def vary(self) -> float | str:
        """The variation as `generate` takes it."""
        try:
            return float(self.variation)
        except ValueError:
            return self.variation

    @property
    def people_a_shard(self) -> int:
        """How many people one file holds; the last one may hold fewer."""
        return self.shard or max(1, round(PICTURES_A_SHARD / self.images))

    @property
    def shards(self) -> int:
        """How many files there are."""
        return math.ceil(self.people / self.people_a_shard)

    @property
    def most(self) -> int:
        """Pictures made of a person at most."""
        return math.ceil(self.images * self.tries)

    def rows(self, shard: int) -> range:
        """The people of a shard."""
        first = shard * self.people_a_shard
        return range(first, min(first + self.people_a_shard, self.people))

    def text(self) -> str:
        """The plan file, whole: every option, so that later defaults do not change it."""
        import yaml

        values = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
        return yaml.safe_dump(values, sort_keys=False)

    @classmethod
    def read(cls, path: str | Path) -> Plan:
        """Read a plan file; InputError where it is none."""
        return parse(cls, ["--recipe", str(path)], "A dataset plan")


@dataclass(frozen=True)
class Planned:
    """A folder whose plan is settled.

    Args:
        folder: of the dataset.
        plan: what is to be made.
        people: of whom.
        labels: what each is made of (name → weight), where they are mixed; else None.
        weights: fingerprint of the model that it was planned for.
        variation: as `paint` takes it; a similarity is the cone that was measured for it when this was planned.
    """

    folder: Path
    plan: Plan
    people: Identities
    labels: list[dict[str, float]] | None
    weights: str
    variation: float | str

    @classmethod
    def load(cls, folder: str | Path) -> Planned:
        """Read a planned folder.

        Raises:
            InputError: it is none, or its files do not belong together.
        """
        from idgen.identity import Identities

        folder = Path(folder)
        settled = read_json(folder / PLANNED)
        if settled is None:
            raise InputError(
                f"{folder} holds no finished plan: make one by `idgen dataset plan plan.yaml --out {folder}`."
            )
        if not {"plan", "people", "weights", "variation"} <= settled.keys():
            raise InputError(f"{folder / PLANNED} is not by this version of idgen: plan again, in a new folder.")
        plan, people = Plan.read(folder / PLAN), Identities.load(folder / PEOPLE)
        # The file's own bytes: an option that a later version adds changes nothing.
        text = (folder / PLAN).read_text(encoding="utf-8")
        if settled["plan"] != _digest(text) or settled["people"] != people.fingerprint():
            raise InputError(
                f"The plan or the people in {folder} were changed after it was planned: plan again, in a new folder."
            )
        labels = None
        if (folder / LABELS).is_file():
            labels = json.loads((folder / LABELS).read_text(encoding="utf-8"))
        return cls(folder, plan, people, labels, settled["weights"], settled["variation"])

    def model(self, device: str | None = None) -> Model:
        """The model, as it was when this was planned.

        Raises:
            InputError: it is not there, or its weights are others now.
        """
        from idgen.generate import weights_fingerprint
        from idgen.hub import load_model

        model = load_model(self.plan.model, device)
        if weights_fingerprint(model.folder) != self.weights:
            raise InputError(
                f"The weights of {self.plan.model} are not those that {self.folder} was planned for: pictures of both "
                "would be mixed; plan again, in a new folder."
            )
        return model


def make_plan(plan: Plan, folder: str | Path, device: str | None = None, progress: bool = True) -> Planned:
    """Draw the people of a plan and write plan, people and what else the workers need into a folder.

    Called again with the same plan it changes nothing; where it was interrupted, it goes on.

    Raises:
        InputError: the folder holds another dataset or cannot be written, the model is not there or lacks what the
            plan's filters need, or so many people cannot be kept apart.
    """
    from idgen.choosing import similarity_curve
    from idgen.generate import check_writable, weights_fingerprint
    from idgen.hub import load_model
    from idgen.sampling.draw import GALLERY
    from idgen.sampling.variation import parse_variation

    folder = Path(folder)
    check_writable(folder)
    if (folder / PLANNED).is_file():
        before = Planned.load(folder)
        if before.plan != plan:
            changed = [
                item.name for item in fields(plan) if getattr(plan, item.name) != getattr(before.plan, item.name)
            ]
            raise InputError(
                f"{folder} holds a dataset of another plan (its `{changed[0]}` is "
                f"{getattr(before.plan, changed[0])}): choose another folder."
            )
        before.model(device)
        return before
    if (folder / CARD).exists() or (folder / DATA).exists():
        raise InputError(f"{folder} holds other files already: choose another folder.")
    model = load_model(plan.model, device)
    check_model(plan, model)
    if plan.people > GALLERY and plan.method == "packed":
        raise InputError(f"At most {GALLERY:,} people can be packed, got {plan.people:,}: use another `method`.")
    variation = plan.vary
    if isinstance(variation, str) and variation.startswith("similarity:"):
        # Measured once, here: workers that measured for themselves could find another cone.
        cosine = parse_variation(variation, lambda: similarity_curve(model)).highest  # type: ignore[attr-defined]
        variation = f"cone:{cosine:.6f}-{cosine:.6f}"
    people, labels = _people(plan, model, folder, progress)
    _write_plan(folder, plan, people, labels, weights_fingerprint(model.folder), variation)
    shutil.rmtree(folder / "apart", ignore_errors=True)
    return Planned.load(folder)


def check_model(plan: Plan, model: Model) -> None:
    """Raise InputError where the model lacks what the plan's filters need; loads nothing but what it looks at."""
    needed = {"match": plan.match is not None, "other": plan.other, "apart": plan.apart > 0}
    without = {"match": "match: none", "other": "other: false", "apart": "apart: 0"}
    if (unmet := [name for name, wanted in needed.items() if wanted]) and not model.has("judge"):
        raise InputError(
            f"The model {model.name!r} has no judge, which `{unmet[0]}` of the plan needs: set "
            f"{' and '.join(without[name] for name in unmet)}."
        )
    if plan.face and (not model.has("encoder") or model.encoder.finder is None):
        raise InputError(f"The model {model.name!r} cannot find faces, which the plan asks for: set face: false.")
    if plan.match is not None:
        calibration = model.judge.calibration
        if calibration is None:
            raise InputError(f"The judge of {model.name!r} has no calibration: set match: none.")
        calibration.threshold("image-bridge", plan.match)  # says which rates there are


def _people(plan: Plan, model: Model, folder: Path, progress: bool) -> tuple[Identities, list[SoftLabel]]:
    from idgen.sampling.draw import draw, sampler_of

    sampler = sampler_of(model)
    if not plan.apart:
        return draw(sampler, plan.people, plan.seed, plan.method, plan.file)
    if plan.method not in _ENDLESS:
        people, labels = draw(sampler, plan.people, plan.seed, plan.method, plan.file)
        kept = _told_apart(plan, model, people, folder, progress)
        if len(kept) < plan.people:
            raise _too_many(plan, len(people), len(kept))
        return people, labels
    most, candidates = MOST_CANDIDATES * plan.people, plan.people
    before = (0, 0)  # candidates and kept, the time before
    while True:
        people, _ = draw(sampler, candidates, plan.seed, plan.method)
        kept = _told_apart(plan, model, people, folder, progress)
        if len(kept) >= plan.people:
            return people.take(kept[: plan.people].tolist()), []
        # The fuller it is, the fewer of the next are apart from everybody: as many as of the last ones at most.
        rate = (len(kept) - before[1]) / (candidates - before[0])
        if len(kept) + rate * (most - candidates) < plan.people:
            raise _too_many(plan, candidates, len(kept))
        before = candidates, len(kept)
        candidates = min(most, candidates + math.ceil(1.1 * (plan.people - len(kept)) / rate), 2 * candidates)


def _too_many(plan: Plan, candidates: int, kept: int) -> InputError:
    return InputError(
        f"Of {candidates:,} candidates the judge tells only {kept:,} people apart at a false-match rate of "
        f"{plan.apart_fmr:g}, not {plan.people:,}: plan fewer people, or a smaller apart_fmr."
    )


def _told_apart(plan: Plan, model: Model, people: Identities, folder: Path, progress: bool) -> Tensor:
    """Rows of the people whom the judge tells apart. What was pictured is kept beside the plan till it is done."""
    import torch
    from safetensors.torch import load_file, save
    from tqdm.auto import tqdm

    from idgen.choosing import picture_means, told_apart
    from idgen.generate import weights_fingerprint

    calibration = model.judge.calibration
    if calibration is None:
        raise InputError(f"The judge of {model.name!r} has no calibration: set apart: 0.")
    threshold = calibration.threshold("mean-mean", plan.apart_fmr)
    means, weights = [], weights_fingerprint(model.folder)
    starts = range(0, len(people), _PEOPLE_A_BLOCK)
    for start in tqdm(starts, desc="kept apart", unit="block", disable=not progress):
        block = people[start : start + _PEOPLE_A_BLOCK]
        name = _digest(f"{block.fingerprint()} {plan.text()} {weights}")
        path = folder / "apart" / f"{name}.safetensors"
        if not path.is_file():
            pictured = picture_means(block, model, plan.apart, plan.seed, steps=plan.steps, guidance=plan.guidance)
            provenance.write(path, save({"means": pictured}))
        means.append(load_file(path)["means"])
    return told_apart(torch.cat(means), threshold)


def _write_plan(
    folder: Path, plan: Plan, people: Identities, labels: list[SoftLabel], weights: str, variation: float | str
) -> None:
    from idgen import __version__

    folder.mkdir(parents=True, exist_ok=True)
    people.save(folder / PEOPLE)
    if labels:
        provenance.write(folder / LABELS, json.dumps([label.weights() for label in labels], indent=1).encode())
    text = plan.text()
    provenance.write(folder / PLAN, text.encode())
    settled = {
        "plan": _digest(text),
        "people": people.fingerprint(),
        "weights": weights,
        "variation": variation,
        "idgen": __version__,
    }
    provenance.write(folder / PLANNED, (json.dumps(settled, indent=1) + "\n").encode())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
