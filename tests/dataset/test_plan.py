"""What a plan says, and what planning refuses."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from idgen.choosing import picture_means
from idgen.dataset.drawing import make_plan, model_of
from idgen.dataset.plan import LABELS, PEOPLE, PLAN, PLANNED, Plan, Planned, digest
from idgen.ground.errors import InputError
from idgen.ground.weights import fingerprint
from idgen.model import load_model
from idgen.sampling.separation import nearest_other
from idgen.sampling.variation import SimilarityCurve
from idgen.scoring.verdict import judge_threshold
from idgen.similarity import CURVE


def test_shards_hold_everybody_once(plan: dict[str, Any]) -> None:
    for people, shard, images in ((1, None, 3), (7, 3, 3), (12, 4, 1), (1000, None, 50), (3, None, 1000)):
        made = Plan(**{**plan, "people": people, "shard": shard, "images": images})
        rows = [row for number in range(made.shards) for row in made.rows(number)]
        assert rows == list(range(people))


def test_a_plan_file_keeps_every_option(plan: dict[str, Any], tmp_path: Path) -> None:
    made = Plan(**{**plan, "variation": "cone:0.7", "file": Path("x.safetensors"), "guidance": 1.5})
    (tmp_path / "plan.yaml").write_text(made.text())
    assert Plan.read(tmp_path / "plan.yaml") == made


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"people": 0}, "at least 1, got 0"),
        ({"images": 0}, "from 1 to 1,000, got 0"),
        ({"variation": "cone:x"}, "There is no variation"),
        ({"tries": 0.5}, "`tries` of a plan is a number from 1 to 1000"),
        ({"duplicate": 2.0}, "`duplicate`"),
        ({"shard": 0}, "`shard`"),
        ({"seed": -1}, "seed"),
        ({"guidance": "1/2/3"}, "1.4/2.4 for 1.4 up to a turn of the head"),
        ({"away_weight": "1/2"}, "The `away_weight` of a plan is a number, 0-3"),
    ],
)
def test_what_cannot_be_planned(plan: dict[str, Any], wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=re.escape(why)):
        Plan(**{**plan, **wrong})


def test_planning_again_changes_nothing_and_another_plan_is_refused(planned: Planned, plan: dict[str, Any]) -> None:
    before = {path.name: path.read_bytes() for path in planned.folder.iterdir()}
    make_plan(Plan(**plan), planned.folder)
    assert {path.name: path.read_bytes() for path in planned.folder.iterdir()} == before
    with pytest.raises(InputError, match=r"another plan \(its `images` is 3\)"):
        make_plan(Plan(**{**plan, "images": 4}), planned.folder)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"steps": 1001}, "from 1 to 1,000"),
        ({"guidance": "1/2"}, "cannot be told how far a head is turned"),
        ({"attribute_scale": 1.5}, "has no `attribute_scale`: leave it out of the plan"),
    ],
)
def test_what_the_model_cannot_paint_is_not_planned(
    plan: dict[str, Any], tmp_path: Path, wrong: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        make_plan(Plan(**{**plan, **wrong}), tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_people_or_plan_changed_by_hand_are_noticed(planned: Planned) -> None:
    text = (planned.folder / PLAN).read_text()
    (planned.folder / PLAN).write_text(text.replace("seed: 5", "seed: 6"))
    for _ in range(2):
        with pytest.raises(InputError, match="changed after it was planned"):
            Planned.load(planned.folder)
        (planned.folder / PLAN).write_text(text)
        planned.people.take([1, 0, 2, 3, 4, 5]).save(planned.folder / PEOPLE)


def test_a_folder_of_another_version(planned: Planned) -> None:
    # An option that this version does not write is as good as one that a later version would add.
    text = (planned.folder / PLAN).read_text().replace("apart: 0\n", "")
    (planned.folder / PLAN).write_text(text)
    settled = json.loads((planned.folder / PLANNED).read_text())
    (planned.folder / PLANNED).write_text(json.dumps({**settled, "plan": digest(text)}))
    assert Planned.load(planned.folder).plan == planned.plan
    del settled["variation"]
    for other in (settled, {**settled, "variation": 0.3}):
        (planned.folder / PLANNED).write_text(json.dumps(other))
        with pytest.raises(InputError, match="was planned by another version of idgen"):
            Planned.load(planned.folder)


def test_a_model_that_is_not_there_or_has_changed(planned: Planned, plan: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no model"):
        make_plan(Plan(**{**plan, "model": "nowhere-1"}), tmp_path / "b")
    assert not (tmp_path / "b").exists()
    with pytest.raises(InputError, match="are not those that"):
        model_of(dataclasses.replace(planned, weights="0" * 16))


def test_filters_that_the_model_cannot_serve(plan: dict[str, Any], tiny_model: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(tiny_model, tmp_path / "bare")
    shutil.rmtree(bare / "judge")
    with pytest.raises(InputError, match=r"no judge, which `match` .* set match: none and other: false"):
        make_plan(Plan(**{**plan, "model": str(bare), "match": 1e-3, "other": True}), tmp_path / "d")
    shutil.rmtree(bare / "encoder" / "finder")
    with pytest.raises(InputError, match="cannot find faces"):
        make_plan(Plan(**{**plan, "model": str(bare), "face": True}), tmp_path / "d")
    shutil.rmtree(bare / "sampler")
    with pytest.raises(InputError, match="no sampler"):
        make_plan(Plan(**{**plan, "model": str(bare)}), tmp_path / "d")
    load_model(tiny_model).sampler.sample(6, 1).save(tmp_path / "six.safetensors")
    of_file = {"model": str(bare), "method": "file", "file": tmp_path / "six.safetensors"}
    assert len(make_plan(Plan(**{**plan, **of_file}), tmp_path / "d").people) == 6
    anywhere = make_plan(Plan(**{**plan, "model": str(bare), "method": "sphere"}), tmp_path / "e").people
    assert torch.equal(anywhere.vectors, load_model(tiny_model).sampler.sample(6, 5, "sphere").vectors)


def test_people_are_kept_apart_on_their_pictures(plan: dict[str, Any], tmp_path: Path) -> None:
    # The tiny model's people all look alike to its judge, so this takes the real one.
    model, apart = load_model("nobody-128"), {"model": "nobody-128", "apart": 1, "apart_fmr": 1e-2, "steps": 6}
    kept = make_plan(Plan(**{**plan, **apart, "people": 3}), tmp_path / "a").people
    assert len(kept) == 3 and not (tmp_path / "a" / "apart").exists()
    means = picture_means(kept, model, 1, plan["seed"], steps=6)
    assert nearest_other(means)[0].max() < judge_threshold(model.judge, "mean-mean", 1e-2)


def test_more_people_than_can_be_kept_apart(
    plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idgen.dataset.drawing.MOST_CANDIDATES", 1)
    with pytest.raises(InputError, match=r"Of \d+ candidates the judge tells only \d+ people apart .* not 25"):
        make_plan(Plan(**{**plan, "people": 25, "apart": 1, "steps": 1}), tmp_path / "a")
    assert not (tmp_path / "a" / PLAN).exists()


def test_a_similarity_becomes_a_cone_when_it_is_planned(plan: dict[str, Any], tiny_model: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "measured")
    weights = fingerprint(model)
    SimilarityCurve([0.2, 1.0], [0.1, 0.9], [0.1, 0.1], "tiny", weights, "tiny-encoder", 8).save(model / CURVE)
    similar = {**plan, "model": str(model), "variation": "similarity:0.5"}
    assert make_plan(Plan(**similar), tmp_path / "s").variation == "cone:0.600000-0.600000"
    with pytest.raises(InputError, match=r"reach mean similarities from 0.10 to 0.90, not 0.95"):
        make_plan(Plan(**{**similar, "variation": "similarity:0.95"}), tmp_path / "t")


def test_mixed_people_bring_their_soft_labels(plan: dict[str, Any], tiny_model: Path, tmp_path: Path) -> None:
    load_model(tiny_model).sampler.sample(4, 1).save(tmp_path / "four.safetensors")
    mixed = {**plan, "method": "mixup", "file": tmp_path / "four.safetensors"}
    planned = make_plan(Plan(**mixed), tmp_path / "m")
    assert (tmp_path / "m" / LABELS).exists() and planned.labels is not None
    assert all(abs(sum(label.values()) - 1) < 1e-6 and len(label) == 2 for label in planned.labels)
