"""The command that takes every figure, on a model with random weights and on patterns in the place of faces."""

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import encoded
from torch import nn

pytest.importorskip("torchmetrics")
pytest.importorskip("skimage")
import figures
from overhead import NetworkClock


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    """val/ with 6 people × 3 pictures and photos/ with 4, as Parquet."""
    import pyarrow
    import pyarrow.parquet
    from PIL import Image

    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("faces")
    face = np.array([[20.0, 20], [40, 20], [30, 30], [22, 40], [38, 40]])
    for name, people, pictures in (("val", 6, 3), ("photos", 4, 1)):
        rows = []
        for number in range(people * pictures):
            picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((64, 64))
            row = {"image": {"bytes": encoded(picture), "path": None}, "identity": number // pictures}
            rows.append(row | {"yaw": float(number), "landmarks": (face + number).tolist()})
        (folder / name).mkdir()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / name / f"{name}-0.parquet")
    return folder


def test_stages_are_measured_kept_and_put_into_the_card(monkeypatch, tmp_path, tiny_model, faces):
    monkeypatch.setenv("IDGEN_CACHE", str(tmp_path / "cache"))
    few = ["--people=3", "--images=2", "--val-people=2", "--val-images=1", "--negatives=3", "--threads=1"]
    out = tmp_path / "figures.json"

    def run(*stages: str) -> dict:
        given = ["figures.py", "--faces", faces, "--model", tiny_model, "--out", out, *few, "--only", *stages]
        monkeypatch.setattr(sys, "argv", list(map(str, given)))
        assert figures.main() == 0
        return json.loads(out.read_text())["stages"]

    first = run("encoder", "finder", "generated")
    encoder, finder, generated = (first[name]["figures"] for name in ("encoder", "finder", "generated"))
    assert (encoder["genuine_pairs"], encoder["impostor_pairs"]) == (6 * 3, 18 * 17 // 2 - 18)
    assert finder["negatives"] == 3 and finder["pictures"] == 4 and 0 <= generated["wanted"] <= 1

    cached = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    card = tmp_path / "README.md"
    card.write_text(f"before\n{figures.MARK}\nan older table\n{figures.MARK}\nafter\n")
    both = run("distance", "val-people", "--card", str(card))
    assert {name: both[name] for name in first} == first
    assert {"fd_judge", "kid_judge", "fd_judge_floor"} <= both["distance"]["figures"].keys()
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in cached.items())  # nothing was made twice
    text = card.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "an older table" not in text
    assert text.count(figures.MARK) == 2 and "| face finder: misses |" in text


def report(**values) -> dict:
    stage = {"figures": values, "weights": "a", "date": "2026-01-02", "machine": "a laptop", "options": {"limit": 0}}
    return {"model": "m", "stages": {"finder": stage}}


def test_table_says_what_was_reached():
    text = figures.table(report(landmark_error=0.04, misses=0.05, false_finds=0.005, median_error=None))
    assert "| face finder: landmark error ÷ face size | 4 % | ≤ 4.5 % | ≤ 3 % | must |" in text
    assert "| face finder: misses | 5 % | ≤ 1 % | ≤ 0.5 % | **no** |" in text
    assert "| face finder: false finds in pictures with no face | 0.5 % | ≤ 1 % | ≤ 0.5 % | aim |" in text
    assert "| face finder: the same, median | – |" in text
    assert "| encoder on val, all pairs: EER | – | ≤ 1 % | ≤ 0.5 % | not measured |" in text
    assert "a laptop" in text and "†" not in text


def test_figures_of_other_weights_are_marked():
    given = report(misses=0.005)
    assert "0.5 % † |" in figures.table(given, {"finder": "b"}) and "earlier weights" in figures.table(given, {})
    assert "†" not in figures.table(given, {"finder": "a"})


def test_card_without_marks_is_left_alone(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("no marks")
    with pytest.raises(ValueError, match="two lines"):
        figures.write_card(card, "table")
    assert card.read_text() == "no marks"


def test_yaw_is_fitted_and_checked():
    yaws = np.array([-60.0, -20, -5, 0, 10, 35, 66])
    c, s, flat = np.cos(np.radians(yaws)), np.sin(np.radians(yaws)), np.ones(len(yaws))
    points = [(-c, 0 * c), (c, 0 * c), (2 / 1.789 * s, 0.5 * flat), (-0.7 * c, flat), (0.7 * c, flat)]
    faces = np.stack([np.stack(point, 1) for point in points], 1)
    assert figures.fit_yaw_factor(faces, yaws) == pytest.approx(1.789, abs=1e-3)
    assert figures.check_yaw(faces, yaws, 1.789)["r2"] == pytest.approx(1)
    wrong = figures.check_yaw(faces, yaws, 1.789 / 2)
    assert wrong["r2"] < 0.9 and wrong["spread_ratio"] < 0.9 and wrong["median_error"] > 3


def test_matches_between_people_count_only_other_people():
    references, labels = np.eye(4), np.array([0, 1, 2, 3, 3])
    assert figures.matches_between(np.eye(4)[labels], labels, references, 0.5) == 0
    assert figures.matches_between(np.eye(4)[[1, 1, 2, 3, 3]], labels, references, 0.5) == pytest.approx(1 / 15)
    assert figures.matches_between(np.ones((5, 4)), labels, np.ones((4, 4)), 0.5) == 1  # everybody has one face


class Slow(nn.Module):
    """Takes its time; `inner` is called within."""

    def __init__(self, seconds: float, inner: nn.Module | None = None):
        super().__init__()
        self.seconds, self.inner = seconds, inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        return x if self.inner is None else self.inner(x)


def test_network_clock_counts_overlapping_and_nested_calls_once():
    clock = NetworkClock()
    outer, other, x = Slow(0.1, Slow(0.1)), Slow(0.2), torch.zeros(1)
    with clock.watch({"outer": outer, "other": other}):
        since = time.perf_counter()
        threads = [threading.Thread(target=module, args=(x,)) for module in (outer, outer, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(0.1)  # outside
        outer.inner(x)  # as `decode` calls an autoencoder's decoder
    assert 0.3 <= clock.total <= time.perf_counter() - since - 0.1
    assert clock.seconds["outer"] >= 0.3 and 0.2 <= clock.seconds["other"] <= clock.total
    before = clock.total
    outer(x)
    assert clock.total == before  # no hook stays behind
