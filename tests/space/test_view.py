"""What is drawn and said of results."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from idgen.ground.identity import Identity
from idgen.scoring import ErrorRates
from space import actions, plots, view
from space.actions import Result
from space.parts import grid, part, tile


def _histogram(scores: list[float], fmr: float) -> str:
    drawn = (np.random.default_rng(1).normal(middle, 0.1, 20_000).clip(-1, 1) for middle in (0.6, 0))
    return plots.score_histogram(list(enumerate(scores, 1)), ErrorRates.measure(*drawn), 0.4, fmr)


def test_the_histogram_shows_every_picture_on_its_side_of_the_threshold() -> None:
    scores = [0.1, 0.35, 0.4, 0.4, 0.4, 0.9]
    svg = _histogram(scores, 1e-3)
    assert svg.count('class="dot fail"') == 2 and svg.count('class="dot pass"') == 4 + 1  # and the legend's
    line = float(re.search(r'class="threshold" x1="([\d.]+)"', svg)[1])
    dots = re.findall(r'"dot (pass|fail)" cx="([\d.]+)" cy="([\d.]+)" r="[\d.]+"><title>Picture \d: ([\d.]+)', svg)
    assert len({(x, y) for _, x, y, _ in dots}) == len(scores), "equal scores are stacked, not hidden"
    for verdict, x, _, score in dots:
        assert (verdict == "pass") == (float(x) >= line - 1e-6) == (float(score) >= 0.4)
    assert "threshold 0.40: 1 in 1,000 strangers pass" in " ".join(re.findall(r">([^<>]+)<", svg))
    assert "4 at or above the threshold" in svg.split(">")[0], "a screen reader gets the sentence"


@pytest.mark.parametrize("scores", [[-1.0], [1.0], [0.0] * 16, [-1.0, 1.0]])
def test_the_histogram_keeps_everything_inside(scores: list[float]) -> None:
    inside(_histogram(scores, 1e-2))


@pytest.mark.parametrize("points", [[(0.0, 1.0)], [(0.1, 0.9), (0.9, -0.4), (1.4, -1.0)], [(2.0, 0.0)]])
@pytest.mark.parametrize("threshold", [None, 0.5])
def test_the_trade_off_keeps_everything_inside(points: list, threshold: float | None) -> None:
    curve = [(f"{number}", *point) for number, point in enumerate(points)]
    inside(plots.trade_off([("guidance 1", curve), ("guidance 2", curve)], threshold))
    inside(plots.crossing([y for _, y in points] * 2, [x - 1 for x, _ in points] * 2, threshold))


def inside(svg: str) -> None:
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
    dots = [(float(x), float(y)) for x, y in re.findall(r'cx="(-?[\d.]+)" cy="(-?[\d.]+)"', svg)]
    assert dots and all(0 <= x <= width and 0 <= y <= height for x, y in dots)
    assert "nan" not in svg


@pytest.mark.parametrize("count", [1, 2, 8, 16])
def test_the_matrix_has_a_cell_a_pair_that_can_be_read(count: int) -> None:
    matrix = np.full((count, count), 0.5)
    np.fill_diagonal(matrix, 1)
    svg = plots.similarity_matrix(matrix, threshold=0.6)
    assert svg.count("<title>") == count * count and svg.count('class="cell weak"') == count * count - count
    assert count == 1 or "Picture 1 against 2: 0.50" in svg
    matrix[0] = matrix[:, 0] = np.nan  # no face was found in the first
    assert "nan" not in plots.similarity_matrix(matrix, threshold=0.6)


def test_the_page_says_how_many_match_and_marks_those_that_do_not(result: Result) -> None:
    scores = [
        {"similarity": 0.9, "judge_similarity": similarity, "match": match}
        for similarity, match in ((0.7, True), (0.2, False), (None, False))
    ]
    shown = replace(result, scores=scores, sentence="1 of 3 <is> the same person.")
    text = part("summary", result=shown)
    assert "1<small>of 3" in text and "1 of 3 &lt;is&gt; the same person." in text
    table = view.evidence(shown)
    assert table.count("✓ same") == 1 and table.count("✗ no match") == 2 and "no face" in table
    marked = [tile(k, "data:,", line, "x") for k, line in enumerate(scores, 1)]
    assert [("pass" in tile, "fail" in tile) for tile in marked] == [(True, False), (False, True), (False, True)]


def test_only_what_was_measured_is_drawn_and_under_its_own_number(result: Result) -> None:
    def shown(*similarities: float | None) -> str:
        scores = [{"similarity": one, "judge_similarity": one, "match": False} for one in similarities]
        return view.evidence(replace(result, scores=scores, matrix=None))

    dots = re.findall(r"<title>(Picture \d: [\d.]+)</title></circle>", shown(None, 0.7, 0.2))
    assert dots == ["Picture 2: 0.70", "Picture 3: 0.20"]
    nothing = shown(None, None, None)
    assert "<circle" not in nothing and "No face was found in any of these pictures" in nothing
    one = replace(result, images=result.images[:1], scores=result.scores[:1], matrix=np.ones((1, 1)))
    assert "generate two or more" in view.evidence(one)


def test_nothing_jumps_every_picture_has_its_place_from_the_start() -> None:
    preview = Image.new("RGB", (8, 8))
    for done, previews in ((0, 0), (1, 2), (5, 4)):
        assert grid([Markup("<li></li>")] * done, 6, [preview] * previews).count("<li") == 6


def test_pictures_say_whose_they_are_whoever_is_chosen_by_then(result: Result, person: Identity) -> None:
    somebody = replace(person, source="1 photo", name="photo")
    progress = actions.Progress(3, [], [], [], 0.0)
    for page in (part("summary", result=result), view.working(progress, person)):
        assert "Person 7" in page and "does not exist" in page
    for page in (part("summary", result=replace(result, identity=somebody)), view.working(progress, somebody)):
        assert "From a photo" in page and "may be behind" in page and "does not exist" not in page
    for source in ("mean of 2 photos", "a vector from outside", "mixed from photos, 50% a and 50% b"):
        page = view.person(replace(person, source=source))
        assert "does not exist" not in page and "may be behind" in page


def test_nothing_is_said_of_who_is_not_chosen_yet_or_not_known(person: Identity) -> None:
    for tab in ("one", "morph", "compare", "explore"):
        page = part("empty", what=tab, count=7)
        assert "not exist" not in page and "invented" not in page
    assert "the 12 people the model learned from" in view.sampled(person, 0.3, 12)


def test_a_name_cannot_break_out_of_the_page(person: Identity) -> None:
    link = part("download", name='"><script>alert(1)</script>', source="")
    bad = replace(person, source="1 photo<script>", name="a'b")
    assert "<script>" not in link + view.person(bad) + view.outside(bad, 1)
