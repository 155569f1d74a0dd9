"""Told apart, and by what: a tint and a grid are found, two halves of one set are not."""

import numpy as np
import pytest
from PIL import Image
from planted import Fine, fine_pictures
from sklearn.linear_model import Ridge

from idgen.auditing.audit import audit
from idgen.auditing.realness import colour, cross_validated, plane, spectrum


def test_the_classifier_is_ridge_regression_on_other_people():
    rng = np.random.default_rng(0)
    people, real = np.repeat(np.arange(60), 3), np.repeat(np.arange(60) % 2 == 0, 3)
    features = rng.normal(size=(180, 5)) + 0.6 * real[:, None]
    fold = (np.random.default_rng(4).permutation(60) % 5)[people]
    wrong = np.zeros(180)
    for number in range(5):
        out = fold == number
        x, y = features[~out], np.where(real[~out], 1.0, -1.0)
        middle, scale = x.mean(0), x.std(0) + 1e-9
        weight = 0.5 / np.where(real[~out], real[~out].mean(), 1 - real[~out].mean())
        fit = Ridge(alpha=len(y) / 100).fit((x - middle) / scale, y, sample_weight=weight)
        scores = fit.predict((features[out] - middle) / scale) - (weight @ y) / weight.sum()
        wrong[out] = (scores > 0) != real[out]
    found = cross_validated(features, real, people, seed=4)
    assert found.errors == wrong.sum() and found.comparisons == 180 and found.low < found.value < found.high


def test_cues_are_what_they_say():
    flat = Image.new("RGB", (64, 64), (255, 0, 128))
    assert colour(flat)[:6] == pytest.approx([1, 0, 128 / 255, 0, 0, 0], abs=1e-9)
    assert colour(flat)[6:].reshape(3, 8).argmax(1).tolist() == [7, 0, 4]
    rows = np.sin(2 * np.pi * 8 * np.arange(64) / 64) * 100 + 128
    waves = Image.fromarray(np.tile(rows, (64, 1)).astype(np.uint8))
    assert spectrum(waves).argmax() == int(8 / 32 * 24)
    grey = np.asarray(waves, float) / 255
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    rings: dict[int, list[float]] = {}
    for i in range(-32, 32):
        for j in range(-32, 32):
            rings.setdefault(int(np.hypot(i, j) * 24 / 32), []).append(power[i % 64, j % 64])
    logs = np.log([np.mean(rings[ring]) + 1e-9 for ring in range(24)])
    assert spectrum(waves) == pytest.approx(logs - logs.mean(), abs=1e-9)
    places = plane(np.random.default_rng(0).normal(size=(50, 4)) * [9, 1, 5, 1])
    assert places.var(0)[0] > places.var(0)[1] > 10


def test_a_tint_is_found_and_two_halves_of_a_set_are_not_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("idgen.faces.resolve.recogniser", lambda name: Fine(space=name))
    fine_pictures(tmp_path / "real", 40, 2, seed=1)
    fine_pictures(tmp_path / "clean", 40, 2, seed=2)
    for file in sorted((tmp_path / "clean").glob("*/*.png")):
        pixels = np.asarray(Image.open(file), float) * [0.85, 1, 1]
        (tmp_path / "red" / file.parent.name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "red" / file.parent.name / file.name)
    for name, cues in (("clean", []), ("red", ["colour"])):
        how = {"by": ["fine"], "against": tmp_path / "real", "sections": ["realness"], "progress": False}
        result = audit(tmp_path / name, tmp_path / "out" / name, **how)
        bad = [text for level, text in result.summary if level == "bad"]
        assert len(bad) == len(cues) and all(f"by its {cue}" in text for cue, text in zip(cues, bad, strict=True)), bad
        page = (tmp_path / "out" / name / "audit.html").read_text()
        assert page.count("<circle") == 80
    alone = audit(tmp_path / "clean", tmp_path / "alone", by=["fine"], sections=["realness"], progress=False)
    assert "--against SET" in alone.summary[0][1]
