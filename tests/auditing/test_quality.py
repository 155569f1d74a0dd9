"""Quality: curves by their definition, measures that know and do not, pictures that cannot be recognised."""

import numpy as np
import pytest
import torch
from PIL import Image
from planted import Fine, audited, crowd, fine_pictures, run, value
from tiny import patterns

from idgen.auditing.audit import audit
from idgen.auditing.quality import error_versus_discard, ideal_area, pair_quality, recognisability
from idgen.dataset.filters import LOW_QUALITY, Filters
from idgen.dataset.plan import Plan
from idgen.faces.encoder import FaceEncoder
from idgen.ground.errors import InputError
from idgen.model import load_model
from idgen.models import QualityNet, ResNetRecognizer


def test_error_versus_discard_is_what_is_left_at_every_share():
    rng = np.random.default_rng(0)
    misses, quality = rng.random(200) < 0.3, rng.integers(0, 12, 200)  # ties
    curve = error_versus_discard(misses, quality)
    for share, fnmr, least in zip(*curve, np.unique(quality), strict=True):
        left = quality >= least
        assert share == pytest.approx(1 - left.mean(), abs=1e-9) and fnmr == pytest.approx(
            misses[left].mean(), abs=1e-9
        )
    fine = (np.arange(300_000) + 0.5) / 1e6
    steps = curve.fnmr[np.searchsorted(curve.shares, fine, side="right") - 1]
    assert curve.area() == pytest.approx(steps.mean() * 0.3, abs=1e-6)
    ideal = np.maximum(0, (0.2 - fine) / (1 - fine))
    assert ideal_area(0.2) == pytest.approx(ideal.mean() * 0.3, abs=1e-9)
    assert error_versus_discard(misses, np.zeros(200)).area() == pytest.approx(0.3 * misses.mean(), abs=1e-9)
    twice = error_versus_discard(np.repeat(misses, 2), np.repeat(quality, 2))
    weighted = error_versus_discard(misses, quality, np.full(200, 2.0))
    assert weighted.fnmr == pytest.approx(twice.fnmr, abs=1e-9)
    pairs, lower = pair_quality(np.array([1, 0, 1, 1, 2]), np.array([5, 9, 3, 4, 1]))
    assert sorted(zip(*pairs.T.tolist(), lower, strict=True)) == [(0, 2, 3), (0, 3, 4), (2, 3, 3)]
    far = recognisability(np.eye(3), np.array([-1.0, 1, 0]))
    assert far == pytest.approx([1, 0, 1])


def noisy(people=80, pictures=6):
    rng = np.random.default_rng(0)
    noise = rng.uniform(0.3, 3, people * pictures)
    vectors, who = crowd(people, pictures, noise=0)
    vectors = vectors + noise[:, None] * rng.standard_normal(vectors.shape) / vectors.shape[1] ** 0.5
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), who, noise


def test_a_measure_that_is_the_wrong_way_round_is_found_and_a_right_one_is_not_accused():
    vectors, who, noise = noisy()
    for quality, warned in ((-noise, False), (noise, True)):
        what = audited(vectors, labels=who)
        what.looked.by[0].quality = {"norm": np.float32(quality)}
        section, warnings = run("quality", what)
        area = value(section, "area", "length of the vector by recogniser 1")
        assert (len(warnings) == 1 and "worse than discarding at random" in warnings[0]) if warned else not warnings
        assert area.low < area.value < area.high and (area.value > 1) == warned
    ideal = value(section, "area", "ideal").value
    assert 0 <= ideal < 1 and value(section, "area over the norm's", "length of the vector by recogniser 1").value == 1


def test_one_picture_a_person_and_vectors_alone_say_so():
    vectors, who = crowd(20, 1)
    what = audited(vectors, labels=who)
    assert any("vectors says nothing" in text for _, text in run("quality", what)[0].findings)
    what.looked.by[0].quality = {"norm": np.arange(20, dtype=np.float32)}
    assert any("Nobody has two pictures" in text for _, text in run("quality", what)[0].findings)


@pytest.fixture(scope="module")
def smooth():
    """A recogniser that sees nothing but how a face differs from grey, so that ruined faces are alike."""
    network = ResNetRecognizer(channels=(8, 8), blocks=(1, 1), embedding_dim=16, quality=True)
    return FaceEncoder(network, space="smooth")


def test_pictures_that_cannot_be_recognised_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr("idgen.faces.resolve.recogniser", lambda name: Fine(space=name))
    bad = {}
    for name, ruin in (("clean", 0), ("ruined", 8)):
        folder = fine_pictures(tmp_path / name, 24, 4, ruin)
        result = audit(folder, tmp_path / "out" / name, by=["fine"], sections=["quality"], progress=False)
        bad[name] = [text for level, text in result.summary if level == "bad"]
    assert not bad["clean"] and len(bad["ruined"]) == 1 and "8 × 8 pixels" in bad["ruined"][0], bad
    assert result.figure("quality", "unrecognisable").value == pytest.approx(12 / 96, abs=0.07)


def test_a_recogniser_with_a_head_rates_in_one_pass_and_one_with_a_trained_measure_by_it(smooth, tmp_path):
    faces, _ = patterns(4, 2)
    assert smooth.rated == ("norm", "cr-fiqa")
    vectors, rated = smooth.rate(faces)
    with torch.no_grad():
        raw, certain = smooth.recognizer.embed_and_rate(faces * 2 - 1)
        both = raw + smooth.recognizer((faces * 2 - 1).flip(3))
    assert torch.allclose(vectors, torch.nn.functional.normalize(both), atol=1e-6)
    assert torch.equal(vectors, smooth.encode(faces)) and torch.allclose(rated[:, 1], certain, atol=1e-6)
    assert torch.allclose(rated[:, 0], both.norm(dim=1) / 4, atol=1e-5)
    other = FaceEncoder(ResNetRecognizer(channels=(8, 8), blocks=(1, 1), embedding_dim=16), space="other")
    assert other.rated == ("norm",) and other.rate(faces)[1].shape == (8, 1)
    other.quality_net = QualityNet(16).eval()
    other.save_pretrained(tmp_path)
    again = FaceEncoder.from_pretrained(tmp_path)
    assert again.rated == ("norm", "cr-fiqa") and torch.allclose(again.rate(faces)[1], other.rate(faces)[1], atol=1e-6)
    assert torch.allclose(again.rate(faces)[1][:, 1], again.quality_net(again.embed_raw(faces)), atol=1e-6)
    assert again.rate(faces[:0])[1].shape == (0, 2)


def test_a_plan_keeps_pictures_by_quality(tiny_model):
    model = load_model(tiny_model)
    people = model.sampler.sample(2, 0)
    with pytest.raises(InputError, match="idgen train quality"):
        Filters(Plan(people=2, quality=0.3), model, people)
    model.encoder.quality_net = QualityNet(64).eval()
    pictures = [Image.new("RGB", (32, 32), (0, 0, 0)), Image.new("RGB", (32, 32), (200, 90, 0))]
    found = model.encoder.encode_with_quality(pictures)[1]
    plan = Plan(people=2, quality=float(found.mean()), face=False, match=None, other=False)
    measured = Filters(plan, model, people).measure(pictures, [0, 1])
    worse = int(found.argmin())
    assert [one.reason for one in measured] == [LOW_QUALITY if row == worse else None for row in (0, 1)]
    assert [one.columns["quality"] for one in measured] == pytest.approx(found.tolist(), abs=6e-5)
