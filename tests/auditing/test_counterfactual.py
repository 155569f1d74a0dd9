"""Counterfactual curves: by hand, and of a small generator that is told one thing at a time."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from PIL import Image
from planted import audited
from tiny import ATTRIBUTES

from idgen.auditing.counterfactual import at_level, curve, levels, real_curve, section
from idgen.auditing.labels import Label
from idgen.auditing.looking import Looked, Seen
from idgen.auditing.section import Threshold
from idgen.faces.encoder import FaceEncoder
from idgen.ground.attributes import Vocabulary
from idgen.model import load_model
from idgen.sets import Source


def test_a_curve_is_means_with_a_band_over_people():
    rng = np.random.default_rng(0)
    values = rng.normal([0.9, 0.5, 0.2], 0.1, (200, 3))
    values[3, 1] = np.nan
    found = curve(values, 0.3)
    assert found.mean == pytest.approx(np.nanmean(values, 0), abs=1e-9)
    seen = np.isfinite(values[:, 1])
    below = [0, (values[seen, 1] < 0.3).mean(), (values[:, 2] < 0.3).mean()]
    assert found.below == pytest.approx(below, abs=1e-9)
    width = (found.high - found.mean) / (np.nanstd(values, 0, ddof=1) / np.sqrt([200, 199, 200]))
    assert width == pytest.approx(np.full(3, width[0])) and 2.1 < width[0] < 2.8, "three levels at once"


def test_levels_have_a_usual_one():
    known = Vocabulary(ATTRIBUTES)
    assert levels("yaw", known) == ([-60, -30, 0, 30, 60], 2)
    assert levels("smile", known) == ([0, 0.25, 0.5, 0.75, 1], 0)
    assert levels("glasses", known) == (["no", "yes"], 0)


def test_real_pictures_stand_beside():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(12, 4))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    people, said = np.repeat(np.arange(4), 3), np.tile(["no", "yes", "yes"], 4)
    said[9:] = "yes"  # the last one never without
    found = real_curve(vectors, people, Label("glasses", "set", said), ["no", "yes"], 0)
    want = np.mean([[vectors[3 * who] @ vectors[3 * who + k] for k in (1, 2)] for who in range(3)])
    assert np.isnan(found[0]) and found[1] == pytest.approx(want, abs=1e-6)
    yaw = Label("yaw", "set", np.tile([0.0, 28.0, -60.0], 4))
    found = real_curve(vectors, people, yaw, [-60, -30, 0, 30, 60], 2)
    assert np.isnan(found[[1, 2, 4]]).all() and np.isfinite(found[[0, 3]]).all()


class Brightness(FaceEncoder):
    """A recogniser that sees only how bright a face is, as an angle."""

    dim, image_size = 2, 32

    def __init__(self, turn):
        self.turn, self.finder, self.space, self.flip = turn, None, "brightness", False
        self.alignment, self.calibration = "arcface", None

    def _resize(self, pixels):
        return pixels.float()

    def _embed(self, pixels):
        angle = self.turn * pixels.mean((1, 2, 3))
        return torch.stack([angle.cos(), angle.sin()], 1)


def what_of(model, turn):
    """A small set, and a recogniser that minds how bright a face is."""
    vectors = Brightness(turn).encode([grey(0.3), grey(0.6)]).numpy()
    what = audited(vectors, labels=np.arange(2), model=model, paint=40, fmr=1e-2)
    what.looked.by = [Seen("brightness", "brightness", vectors, recogniser=Brightness(turn))]
    what.kept["threshold of brightness"] = Threshold(0.9, 1e-2, "as planted")
    return what


def grey(brightness):
    return Image.new("RGB", (32, 32), (round(255 * brightness),) * 3)


@pytest.mark.parametrize(("turn", "found"), [(0.1, False), (4.0, True)])
def test_a_recogniser_that_minds_one_thing_is_found(attributed_model, turn, found, monkeypatch):
    def paints(model, people, told, audited, k, each=1):
        """A hat makes a face brighter, another noise hardly does, and where it looks does not."""
        return [grey(0.3 + 0.01 * k + 0.4 * (one["hat"] == "yes") + 0.002 * row) for row, one in enumerate(told)]

    monkeypatch.setattr("idgen.auditing.counterfactual.CURVES", ("hat", "yaw"))
    monkeypatch.setattr("idgen.auditing.counterfactual._paint", paints)
    model = load_model(attributed_model)
    told = model.pipeline.told
    monkeypatch.setattr(model.pipeline, "told", lambda *given: {**told(*given), "hat": "no", **given[3]})
    out = section(what_of(model, turn))
    bad = [text for level, text in out.findings if level == "bad"]
    assert len(bad) == found and all("hat alone makes strangers of 100 % of the people at yes" in text for text in bad)


def test_the_generator_is_told_one_thing_at_a_time(attributed_model, monkeypatch):
    monkeypatch.setattr("idgen.auditing.counterfactual.CURVES", ("hat", "yaw"))
    what = what_of(load_model(attributed_model), 1.0)
    what.paint = 3
    out = section(what)
    page = "".join(out.html)
    assert page.count("<img") == 2 + 5 and page.count("<svg") == 2, "a strip and a curve each"
    usual = [f for f in out.figures if f.name == "similarity" and f.group in ("hat = no", "yaw = 0.0")]
    assert [f.value for f in usual] == pytest.approx([1, 1], abs=1e-6)


def test_with_a_name_goes_what_the_model_draws_beside_it(attributed_model, monkeypatch):
    """A prior of people whose hair style no label says under a hat, as the renders' do not."""
    model = load_model(attributed_model)
    prior = deepcopy(model.pipeline.prior)
    hair, hats = (model.pipeline.vocabulary.names.index(name) for name in ("hair", "hat"))
    prior.habits[..., hair][prior.habits[..., hats] == 1] = torch.nan
    monkeypatch.setattr(model.pipeline, "prior", prior)
    for vector in model.sampler.sample(8, 3).vectors:
        base = {name: value for name, value in model.pipeline.told(vector, 5, 0, {"hat": "no"}).items() if value}
        assert base["hair"] and at_level(model, vector, 5, base, "hat", "no") == base
        hat = at_level(model, vector, 5, base, "hat", "yes")
        assert hat["hat"] == "yes" and "hair" not in hat
        assert at_level(model, vector, 5, base, "yaw", 30.0) == {**base, "yaw": 30.0}
        assert at_level(model, vector, 5, hat, "hat", "yes") == hat


def test_without_a_generator_that_can_be_told_it_says_so(tiny_model):
    vectors = np.eye(4, dtype=np.float32)
    for model, paint, says in ((None, 0, "--paint 50"), (load_model(tiny_model), 3, "cannot be told")):
        what = audited(vectors, labels=np.arange(4), model=model, paint=paint)
        what.looked = Looked(Source("s", np.arange(4).astype(str), np.arange(4).astype(str)), [])
        assert says in section(what).findings[0][1]
