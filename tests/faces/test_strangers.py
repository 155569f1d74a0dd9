"""Photos of several people are not averaged in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from tiny import patterns
from typer.testing import CliRunner

from idgen.cli import app
from idgen.faces.strangers import seen_by
from idgen.model import load_model


@pytest.fixture
def photos(tmp_path: Path) -> list[list[str]]:
    """Four pictures of each of two people."""
    pictures, _ = patterns(2, 4)
    files = [tmp_path / "ab"[row // 4] / f"{row % 4}.png" for row in range(8)]
    for file, picture in zip(files, pictures, strict=True):
        file.parent.mkdir(exist_ok=True)
        Image.fromarray((picture.permute(1, 2, 0) * 255).byte().numpy()).save(file)
    return [[str(file) for file in files[start : start + 4]] for start in (0, 4)]


def test_two_people_are_named_and_one_person_is_not(tiny_model: Path, photos: list[list[str]], tmp_path: Path) -> None:
    (anna, other), arguments = (
        photos,
        ["--aligned", "--domain", "rendered", "--model", str(tiny_model), "--out", str(tmp_path / "me.safetensors")],
    )

    def said(*files: str) -> str:
        done = CliRunner().invoke(app, ["identify", *files, *arguments])
        assert done.exit_code == 0
        return done.stderr

    assert said(*anna) == said(*anna[:2]) == said(anna[0]) == ""
    assert f"Note: {anna[0]} and {other[0]} may show two people: the cosine to each other is" in said(anna[0], other[0])
    mixed = said(*anna, other[2])
    assert f"Note: {other[2]} may show somebody else than the others" in mixed
    assert "smooth random patterns" in mixed and "or more counts as one person" in mixed


def test_who_was_measured_on_such_pictures_says_whether_they_are_one_persons() -> None:
    renders, both = {"domain": "rendered"}, {"calibrations": [{"domain": "rendered"}, {"domain": "photographs"}]}
    assert seen_by([renders, None, both], ["photographs"] * 2) == 2
    assert seen_by([renders, None, both], ["rendered"]) == seen_by([renders, both], ["photographs", "rendered"]) == 0


def test_without_a_threshold_the_least_alike_is_named(tiny_model: Path, photos: list[list[str]]) -> None:
    encoder = load_model(tiny_model, device="cpu").encoder
    encoder.calibration = None
    with pytest.warns(
        UserWarning, match=r"b/1\.png is the least alike of the photos, with the cosine .* see for yourself"
    ):
        encoder.identify([*photos[0], photos[1][1]], aligned=True)
