"""What is measured of a picture, and the reasons against keeping it."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from idgen.dataset.filters import (
    ANOTHER_PERSON,
    BROKEN,
    NO_FACE,
    NOT_THE_PERSON,
    TOO_EASY,
    Filters,
    is_duplicate,
    thumbnail,
)
from idgen.dataset.plan import Plan
from idgen.model import Model, load_model


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("nobody-128")


@pytest.fixture(scope="module")
def pictured(model: Model) -> tuple[Any, list[Image.Image]]:
    people = model.sampler.sample(3, 5)
    return people, model.pipeline(people, 1, seed=5, num_inference_steps=6).images


def test_the_numbers_are_those_of_encoder_and_judge(model: Model, pictured: tuple[Any, list[Image.Image]]) -> None:
    people, pictures = pictured
    filters = Filters(Plan(people=3), model, people)
    found = filters.measure(pictures, [0, 1, 2])
    encoder, judge = model.encoder.encode(pictures).double(), model.judge.encode(pictures).double()
    bridged = model.judge.bridge(people.vectors).double()
    quality = filters.rater.encode_with_quality(pictures)[1].tolist()
    for row, one in enumerate(found):
        cosines, names = (bridged @ judge[row]).tolist(), list(people.names)
        wanted = {"similarity": float(encoder[row] @ people.vectors[row].double()), "quality": quality[row]}
        wanted |= {"judge_similarity": cosines.pop(row), "other_similarity": max(cosines)}
        assert {key: one.columns[key] for key in wanted} == pytest.approx(wanted, abs=6e-5)
        del names[row]
        assert one.columns["nearest_other"] == names[cosines.index(max(cosines))]
        assert one.columns["match"] == (wanted["judge_similarity"] >= model.scorer.meaning().threshold)
    assert [one.reason for one in found] == [None] * 3


def test_every_reason(model: Model, pictured: tuple[Any, list[Image.Image]]) -> None:
    people, pictures = pictured
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8))
    shown = [noise, pictures[0], pictures[0]]
    for options, reasons in (
        ({}, [NO_FACE, NOT_THE_PERSON, None]),
        ({"match": None}, [NO_FACE, ANOTHER_PERSON, None]),
        ({"easiest": 0.2}, [NO_FACE, NOT_THE_PERSON, TOO_EASY]),
        ({"match": None, "other": False, "face": False}, [None, None, None]),
    ):
        found = Filters(Plan(people=3, **options), model, people).measure(shown, [0, 1, 0])
        assert [one.reason for one in found] == reasons


def test_one_person_alone_has_no_other(model: Model, pictured: tuple[Any, list[Image.Image]]) -> None:
    people, pictures = pictured
    one = Filters(Plan(people=1), model, people[:1]).measure(pictures[:1], [0])[0]
    assert one.columns["other_similarity"] is one.columns["nearest_other"] is one.reason is None


def test_a_broken_vector_is_a_reason(tiny_model: Path) -> None:
    model = load_model(tiny_model)
    people = model.sampler.sample(2, 1)
    with torch.no_grad():
        next(model.encoder.recognizer.parameters()).fill_(math.nan)
    plan = Plan(people=2, model=str(tiny_model), face=False, match=None, other=False)
    found = Filters(plan, model, people).measure([Image.new("RGB", (32, 32), (9, 99, 200))], [0])[0]
    assert found.reason == BROKEN and found.columns["similarity"] is None


def test_a_model_without_recognisers_measures_nothing(tiny_model: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(tiny_model, tmp_path / "bare")
    people = load_model(bare).sampler.sample(2, 1)
    for part in ("encoder", "judge"):
        shutil.rmtree(bare / part)
    plan = Plan(people=2, model=str(bare), face=False, match=None, other=False)
    found = Filters(plan, load_model(bare), people).measure([Image.new("RGB", (32, 32))], [0])[0]
    assert found.reason is None and set(found.columns.values()) == {None}


def test_near_duplicates_correlate() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 200, (64, 64, 3), dtype=np.uint8)
    same = thumbnail(Image.fromarray(pixels))
    brighter = thumbnail(Image.fromarray(pixels + 40))
    other = thumbnail(Image.fromarray(rng.integers(0, 200, (64, 64, 3), dtype=np.uint8)))
    assert float(same @ same) == pytest.approx(1, abs=1e-5)
    assert is_duplicate(brighter, [other, same], 0.98)
    assert not is_duplicate(other, [same], 0.98)
    assert not is_duplicate(same, [same], None) and not is_duplicate(same, [], 0.98)
    assert not thumbnail(Image.new("RGB", (8, 8), (5, 5, 5))).any()
