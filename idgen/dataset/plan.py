"""What a dataset is to be, a plan file and the people drawn for it, and what lies where in its folder."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from safetensors.torch import load_file
from torch import Tensor

from idgen.ground import arguments, files
from idgen.ground.errors import InputError
from idgen.ground.guidance import parse_guidance, parse_schedule
from idgen.ground.identity import Identities
from idgen.ground.options import parse
from idgen.sampling.negatives import Away
from idgen.sampling.variation import check_variation
from idgen.sampling.who import Who

PLAN, PLANNED = "plan.yaml", "planned.json"
PEOPLE, LABELS, LIKE = "identities.safetensors", "soft-labels.json", "as-in.safetensors"
CARD, SHEET, REPORT = "README.md", "contact-sheet.png", "report"
DATA, REJECTED = "data", "rejected"
MADE, MAKING = "made", "making"
NO_FACE = "no face is found"
"""Why a picture was rejected."""
BEST_BY = ("similarity", "judge_similarity", "quality")
"""Columns by which a picture can be the best of several."""


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
    who: Any = None
    """What kind of people: {gender: female}, {gender: {female: 0.5, male: 0.5}, age: uniform}; or uniform, for gender,
    age, skin tone and ancestry together."""
    apart: int = 0
    """Picture every candidate so many times first, and keep only people whom the judge tells apart; 0: do not."""
    apart_fmr: float = 1e-3
    """False-match rate at which they have to be told apart: 0.01, 0.001 or 0.0001."""
    variation: str = "0"
    """0: exactly the person; up to 1: others around; or cone:0.7, gaussian:0.03, similarity:0.5; boundary:0.5: towards
    what is more like the person, boundary:-4: to the other side, a second person (ExFaceGAN)."""
    attributes: dict[str, Any] | None = None
    """How the pictures are to look: {yaw: 30, smile: [0.5, 1], pitch: {normal: [0, 8]}, glasses: {yes: 0.3}}; what is
    not asked for is drawn as the training pictures have it."""
    as_in: Path | None = None
    """A labelled set: poses, light and so on are drawn together as its pictures have them."""
    attribute_scale: float | None = None
    """How strongly beard, glasses, hat and sunglasses are told, 1 as the network learned; by default the model's."""
    sharpening: float | None = None
    """How many times pictures get what a slight blur takes away, 0 not at all; by default the model's."""
    steps: int | None = None
    """Denoising steps; by default the model's."""
    guidance: Any = None
    """Guidance scale; by default the model's; 0-3: evenly from 0 to 3; 0,2@0.3: 2 from 0.3 of the steps on;
    1.4/2.4: 1.4 for heads turned by up to 30°, growing to 2.4 at 45°."""
    away: str | None = None
    """Lead every person's pictures away from another one of the dataset: far, close, mid or random (NegFaceDiff)."""
    away_weight: Any = 0.5
    """How strongly, as `guidance`; each step takes one more pass of the network, two with guidance."""
    easiest: float | None = None
    """Drop pictures that the judge finds more similar to the person than this cosine, so that harder ones are left."""
    best_of: int = 1
    """Make so many pictures for each that is kept: the best of those that pass."""
    best_by: str = "judge_similarity"
    """The column by which it is the best: similarity, judge_similarity or quality; -judge_similarity: the hardest."""
    face: bool = True
    """Keep only pictures in which a face is found."""
    match: float | None = 1e-3
    """Keep only pictures that are the person, says the judge at this false-match rate; none: keep all."""
    other: bool = True
    """Drop pictures that are nearer to another person of the dataset, by the judge."""
    duplicate: float | None = 0.98
    """Drop near-duplicates: pictures of a person that correlate so strongly, 32 x 32 pixels in grey; none: keep all."""
    quality: float | None = None
    """Keep only pictures of at least this quality by CR-FIQA, from -1 to 1, such as 0.3; none: keep all."""
    tries: float = 4.0
    """Times `images`, and `best_of`: pictures made at most of a person to find enough that are kept."""
    shard: int | None = None
    """People a Parquet file; by default so many that it has about 500 pictures."""

    def __post_init__(self) -> None:
        for name in ("apart_fmr", "match", "duplicate", "quality", "tries", *arguments.SETTINGS):  # 3 is 3.0
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))
        arguments.whole("number of people", self.people, 1)
        arguments.images(self.images)
        arguments.seed(self.seed)
        if self.steps is not None:
            arguments.steps(self.steps)
        for name in arguments.SETTINGS:
            if (setting := getattr(self, name)) is not None:
                getattr(arguments, name)(setting, f"`{name}` of a plan")
        for name, parsed, most in (("guidance", parse_guidance, 100.0), ("away_weight", parse_schedule, 10.0)):
            if (asked := getattr(self, name)) is not None:
                found = parsed(asked, f"`{name}` of a plan", most)
                object.__setattr__(self, name, found if isinstance(found, float) else str(asked))
        check_variation(self.vary)
        if self.kind is not None and self.method not in (None, "flow", "gaussian", "sphere"):
            raise InputError(f"The method {self.method} takes people as they come: leave out `who`, or the method.")
        if self.away is not None and (self.away not in get_args(Away) or self.people < 2):
            choices = ", ".join(get_args(Away))
            raise InputError(f"`away` of a plan is one of {choices}, of at least 2 people, got {self.away!r}.")
        if self.shard is not None:
            arguments.whole("`shard` of a plan", self.shard, 1)
        self._check_filters()

    def _check_filters(self) -> None:
        arguments.whole("`apart` of a plan", self.apart, 0, 100)
        arguments.number("`tries` of a plan", self.tries, 1, 1000)
        arguments.whole("`best_of` of a plan", self.best_of, 1, 100)
        arguments.among("column for `best_by` of a plan", [self.best_by.removeprefix("-")], BEST_BY)
        if self.easiest is not None:
            arguments.number("`easiest` of a plan", self.easiest, -1, 1)
        if self.duplicate is not None:
            arguments.number("`duplicate` of a plan", self.duplicate, 1e-6, 1)
        if self.quality is not None:
            arguments.number("`quality` of a plan", self.quality, -1, 1)

    @property
    def vary(self) -> float | str:
        """The variation as `generate` takes it."""
        try:
            return float(self.variation)
        except ValueError:
            return self.variation

    @property
    def kind(self) -> Who | None:
        """What kind of people; None for any."""
        return Who(self.who) if self.who else None

    @property
    def people_a_shard(self) -> int:
        """How many people one file holds; the last one may hold fewer."""
        return self.shard or max(1, round(500 / self.images))

    @property
    def shards(self) -> int:
        """How many files there are."""
        return math.ceil(self.people / self.people_a_shard)

    @property
    def most(self) -> int:
        """Pictures made of a person at most."""
        return math.ceil(self.images * self.tries) * self.best_of

    def rows(self, shard: int) -> range:
        """The people of a shard."""
        first = shard * self.people_a_shard
        return range(first, min(first + self.people_a_shard, self.people))

    def text(self) -> str:
        """The plan file, whole: every option, so that later defaults do not change it."""
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
        like: (R, A) what the pictures of the set `as_in` look like; None without one.
    """

    folder: Path
    plan: Plan
    people: Identities
    labels: list[dict[str, float]] | None
    weights: str
    variation: float | str
    like: Tensor | None = None

    @classmethod
    def load(cls, folder: str | Path) -> Planned:
        """Read a planned folder.

        Raises:
            InputError: it is none, or its files do not belong together.
        """
        folder = Path(folder)
        settled = json_or_none(folder / PLANNED)
        if settled is None:
            how = f"`idgen dataset plan plan.yaml --out {folder}`"
            raise InputError(f"{folder} holds no finished plan: make one by {how}.")
        # A number has meant another variation before 0.2.
        known = {"plan", "people", "weights", "variation"} <= settled.keys()
        if not known or (settled["variation"] and not isinstance(settled["variation"], str)):
            raise InputError(
                f"{folder} was planned by another version of idgen, whose pictures are others: finish it with that "
                "version, or plan again, in a new folder."
            )
        plan, people = Plan.read(folder / PLAN), Identities.load(folder / PEOPLE)
        # The file's own bytes: an option that a later version adds changes nothing.
        text = (folder / PLAN).read_text(encoding="utf-8")
        like = load_file(folder / LIKE)["rows"] if (folder / LIKE).is_file() else None
        changed = settled.get("like") != (None if like is None else digest(like))
        if changed or settled["plan"] != digest(text) or settled["people"] != people.fingerprint():
            raise InputError(
                f"The plan or the people in {folder} were changed after it was planned: plan again, in a new folder."
            )
        labels = json.loads((folder / LABELS).read_text("utf-8")) if (folder / LABELS).is_file() else None
        return cls(folder, plan, people, labels, settled["weights"], settled["variation"], like)


def digest(content: str | Tensor) -> str:
    """Short name of a text, or of numbers."""
    data = content.encode() if isinstance(content, str) else content.numpy().tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


def data_name(shards: int, number: int) -> str:
    """The file name of a shard, as `datasets` writes them."""
    return f"train-{number:05d}-of-{shards:05d}.parquet"


def picture_path(row: int, k: int) -> str:
    """Where a picture lies in an export: by numbers, because programs take names for splits, endings and devices."""
    return f"{row:06d}/{k:03d}.png"


def json_or_none(path: Path) -> dict[str, Any] | None:
    """A file's JSON object, or None where there is none that can be read."""
    try:
        return files.read_json(path)
    except InputError:
        return None
