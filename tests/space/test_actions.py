"""What the buttons do, without a browser and without Gradio."""

from __future__ import annotations

import io
import json
import re
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import noise_png

from idgen import provenance
from idgen.errors import InputError
from idgen.evaluation.diversity import genuine_distance
from idgen.identity import Identities, Identity
from idgen.model import Model
from idgen.scoring import BINS
from space import actions, again, plots, view
from space.actions import Recipe, last
from space.stream import stream


@pytest.fixture(scope="module")
def person(small: Model) -> Identity:
    return actions.sample(small, 7)[0]


@pytest.fixture(scope="module")
def result(small: Model, person: Identity) -> actions.Result:
    return last(actions.generate(small, person, Recipe.of(small, 3, 2, seed=1)))


# ---------------------------------------------------------------- what is asked for


def test_sampling_is_the_seed_and_nothing_else(small: Model) -> None:
    (first, near), (again, _), (other, _) = (actions.sample(small, seed) for seed in (7, 7.0, 8))
    assert torch.equal(first.vector, again.vector)
    assert not torch.equal(first.vector, other.vector)
    assert not first.from_photo and -1 <= near <= 1


@pytest.mark.parametrize("seed", [None, -1, 1.5, "seven", float("nan"), float("inf"), 2**53, True, [7], {}])
def test_a_seed_that_is_no_whole_number_is_refused_in_one_sentence(small: Model, seed: object) -> None:
    with pytest.raises(InputError, match=r"^The person's seed is a whole number from 0 .*try again\.$"):
        actions.sample(small, seed)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("images", 0),
        ("images", 10_000),
        ("images", None),
        ("images", "8"),
        ("steps", 0),
        ("steps", 2.5),
        ("variation", 1.1),
        ("variation", float("nan")),
        ("guidance", -1),
        ("guidance", 1e9),
        ("seed", -3),
    ],
)
def test_settings_out_of_range_are_refused(small: Model, setting: str, value: object) -> None:
    with pytest.raises(InputError, match=r"try again\.$"):
        Recipe.of(small, **{setting: value})


def test_what_is_not_said_is_the_models_own(small: Model) -> None:
    recipe = Recipe.of(small)
    assert (recipe.steps, recipe.guidance) == (
        small.pipeline.config.num_inference_steps,
        small.pipeline.config.guidance_scale,
    )


def test_a_model_of_a_thousand_steps_may_take_them(tiny_model: Path, tmp_path: Path) -> None:
    index = json.loads((tiny_model / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps({**index, "num_inference_steps": 1000}))
    slow = Model(tmp_path)
    assert Recipe.of(slow).steps == Recipe.of(slow, steps=1000).steps == 1000
    with pytest.raises(InputError, match="from 1 to 1,000"):
        Recipe.of(slow, steps=1001)


# ---------------------------------------------------------------- painting


def test_pictures_scores_and_progress_belong_together(small: Model, person: Identity) -> None:
    seen = list(actions.generate(small, person, Recipe.of(small, 3, 2, 0.2, seed=5)))
    result = seen[-1]
    assert isinstance(result, actions.Result) and all(isinstance(one, actions.Progress) for one in seen[:-1])
    assert [image.k for image in result.images] == [0, 1, 2]
    assert len(result.scores) == 3 and result.matrix is not None and result.matrix.shape == (3, 3)
    assert np.allclose(np.diag(result.matrix), 1, atol=1e-4) and np.allclose(result.matrix, result.matrix.T, atol=1e-5)
    shares = [one.share for one in seen[:-1]]
    assert shares == sorted(shares) and shares[-1] <= 1
    assert result.reference is not None
    for line in result.scores:
        assert line["match"] == (line["judge_similarity"] >= round(result.reference.threshold, 4))
    # A variation of v paints vectors at cosine 1 − v, and still scores them against the person asked for.
    cosines = torch.stack([image.vector for image in result.images]) @ person.vector
    assert torch.allclose(cosines, torch.full((3,), 0.8), atol=1e-4)


def test_the_app_paints_what_the_pipeline_paints(small: Model, result: actions.Result) -> None:
    alone = list(small.pipeline.iterate(result.identity, 3, num_inference_steps=2, seed=1))
    for ours, theirs in zip(result.images, alone, strict=True):
        assert ours.seed == theirs.seed and ours.image.tobytes() == theirs.image.tobytes()


def test_pictures_come_while_others_are_painted_with_previews(
    small: Model, person: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "_PATIENCE", 0.0)
    monkeypatch.setattr(actions, "_OVERHEAD", 0)
    done, previewed = [], 0
    for progress in actions.generate(small, person, Recipe.of(small, 4, 12)):
        if isinstance(progress, actions.Progress):
            done.append(len(progress.images))
            previewed += len(progress.previews)
            time.sleep(0.01)
    assert done == sorted(done) and set(done) & {1, 2, 3}, "some are shown before all are done"
    assert previewed > 0


def test_closing_stops_the_work_and_frees_it(small: Model, person: Identity) -> None:
    snapshots = actions.generate(small, person, Recipe.of(small, 64, 50))
    next(snapshots)
    began = time.monotonic()
    snapshots.close()
    while any(thread.name == "idgen-work" for thread in threading.enumerate()):
        assert time.monotonic() - began < 5, "64 pictures of 50 steps are still being painted"
        time.sleep(0.01)


def test_what_the_work_raises_is_raised_and_what_was_overtaken_is_skipped() -> None:
    def broken(teller):
        teller.say(1)
        raise ZeroDivisionError

    seen = []
    with pytest.raises(ZeroDivisionError):
        for item in stream(broken):
            seen.append(item)
    assert seen == [1]

    gate = threading.Event()

    def fast(teller):
        for number in range(100):
            teller.say(number)
        gate.set()

    numbers = stream(fast)
    seen = [next(numbers)]
    gate.wait(5)
    seen += numbers
    assert seen[-1] == 99 and len(seen) <= 3


def test_nobody_to_paint_is_said(small: Model) -> None:
    recipe = Recipe.of(small, 1, 1)
    for refused in (
        lambda: actions.generate(small, None, recipe),
        lambda: actions.explore(small, None, recipe),
        lambda: actions.nearest(small, None, recipe),
        lambda: actions.morph(small, None, None, recipe),
    ):
        with pytest.raises(InputError, match=r"(sample a person or choose a photo|choose both) first\.$"):
            refused()


# ---------------------------------------------------------------- photos


@pytest.mark.parametrize("consent", [False, None, "yes", 1])
def test_no_photo_without_consent(small: Model, consent: object) -> None:
    with pytest.raises(InputError, match="consent"):
        actions.identify(small, [noise_png()], consent)
    with pytest.raises(InputError, match="consent"):
        actions.compare(small, noise_png(), noise_png(), consent)


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"<html>", noise_png()[:200], b"GIF89a"])
def test_what_is_no_picture_is_said(small: Model, content: bytes) -> None:
    with pytest.raises(InputError):
        actions.identify(small, [content], True)


def test_several_photos_are_averaged_and_too_many_refused(built_in: Model, portrait: bytes) -> None:
    one, three = (actions.identify(built_in, [portrait] * count, True) for count in (1, 3))
    assert (one.identity.source, three.identity.source) == ("1 photo", "mean of 3 photos")
    assert float(one.identity.vector @ three.identity.vector) == pytest.approx(1, abs=1e-4)
    assert one.identity.from_photo and len(three.faces) == 3
    page = view.found(three)
    assert page.count('class="found"') == 3 and "averaged" in page and "does not exist" not in page
    with pytest.raises(InputError, match="more than 2"):
        actions.identify(built_in, [portrait] * 3, True, most=2)


def test_two_pictures_are_compared_with_a_verdict(built_in: Model, portrait: bytes, other_portrait: bytes) -> None:
    same = actions.compare(built_in, portrait, portrait, True)
    different = actions.compare(built_in, portrait, other_portrait, True)
    assert same.comparison is not None and same.comparison.match and "Same person" in view.compared(same)
    assert different.comparison is not None and not different.comparison.match
    assert "Different people" in view.compared(different) and view.compared(different).count("<img") == 2


@pytest.fixture(scope="module")
def built_in() -> Model:
    from idgen.model import load_model

    return load_model("nobody-128")


def _portrait(model: Model, seed: int) -> bytes:
    """A "photo" of somebody who does not exist: a generated face, off centre in a larger picture."""
    recipe = Recipe.of(model, 1, seed=2)
    image = last(actions.generate(model, actions.sample(model, seed)[0], recipe)).images[0].image
    canvas = Image.new("RGB", (480, 360), (176, 182, 190))
    canvas.paste(image.resize((224, 224), Image.Resampling.BICUBIC), (70, 60))
    file = io.BytesIO()
    canvas.save(file, "JPEG", quality=92)
    return file.getvalue()


@pytest.fixture(scope="module")
def portrait(built_in: Model) -> bytes:
    return _portrait(built_in, 3)


@pytest.fixture(scope="module")
def other_portrait(built_in: Model) -> bytes:
    return _portrait(built_in, 21)


def test_the_mark_stays_on_the_picture_and_leaves_the_photo_alone() -> None:
    photo = Image.new("RGB", (1600, 900), (90, 90, 90))
    shown = actions.mark(photo, np.array([[700, 400], [800, 400], [750, 460], [710, 510], [790, 510]], float))
    assert shown.size == (640, 360)
    assert photo.getcolors() == [(1600 * 900, (90, 90, 90))]
    assert len(shown.getcolors(100_000) or []) > 2
    tiny = actions.mark(Image.new("RGB", (5, 3)), np.zeros((5, 2)))
    assert tiny.size == (5, 3)


# ---------------------------------------------------------------- two people, explore


def test_a_strip_leads_from_one_person_to_the_other(small: Model, person: Identity) -> None:
    other = actions.sample(small, 8)[0]
    made = last(actions.morph(small, person, other, Recipe.of(small, 1, 3)))
    assert len(made.images) == actions.MORPH and all(len(side) == actions.MORPH for side in made.scores)
    assert torch.allclose(made.people.vectors[0], person.vector, atol=1e-6)
    assert torch.allclose(made.people.vectors[-1], other.vector, atol=1e-6)
    again_ = last(actions.morph(small, person, other, Recipe.of(small, 1, 3)))
    assert [a.image.tobytes() for a in made.images] == [b.image.tobytes() for b in again_.images]
    assert made.sentence.endswith("at a false-match rate of 1 in 1,000.")
    alone = last(actions.generate(small, person, Recipe.of(small, 1, 3))).images[0]
    assert made.images[0].image.tobytes() == alone.image.tobytes(), "the noise that is shared is the first picture's"
    tiles = [view.tile(k, "data:,", line, "x") for k, line in enumerate(made.scores[0])]
    page = view.morph(made, tiles)
    assert page.count('class="dot a"') == actions.MORPH + 1 and "similarity to B" in page


def test_a_point_is_what_evaluation_measures(small: Model, person: Identity) -> None:
    curves = list(actions.explore(small, person, Recipe.of(small, 4, 2), (0.0, 0.6)))
    assert (
        curves[-1].finished and not curves[0].finished and [p.recipe.variation for p in curves[-1].points] == [0, 0.6]
    )
    point = curves[-1].points[1]
    pictures = [one.image for one in point.images]
    assert point.diversity == pytest.approx(genuine_distance(small.judge.encode(pictures), [0] * 4), abs=1e-5)
    scores = small.scorer.score(pictures, person)
    assert point.similarity == pytest.approx(np.mean([score.judge_similarity for score in scores]), abs=1e-3)
    assert point.matches == sum(score.match for score in scores)
    page = view.curve(curves[-1], [], [["<li></li>"] * 4] * 2)
    assert page.count("variation 0.60") >= 2, "on the plot, and for a screen reader"


def test_the_nearest_sampled_people_are_the_nearest(small: Model, person: Identity) -> None:
    found = last(actions.nearest(small, person, Recipe.of(small, 1, 1), count=3))
    crowd = small.sampler.sample(actions.CROWD, 0)
    best = (crowd.vectors @ person.vector).topk(3)
    assert [one.identity.name for one in found] == [crowd.names[row] for row in best.indices]
    assert [one.cosine for one in found] == pytest.approx(best.values.tolist())


# ---------------------------------------------------------------- a model without a judge


def test_without_a_judge_there_are_pictures_and_a_plain_statement(unjudged: Model, person: Identity) -> None:
    result = last(actions.generate(unjudged, person, Recipe.of(unjudged, 2, 2)))
    assert result.reference is None and all(line["match"] is None for line in result.scores)
    page = view.summary(result) + view.evidence(result)
    assert "no independent judge" in page and "the same person, says" not in page and "✓" not in page
    assert all(f"{line['similarity']:.2f}" in page for line in result.scores)
    json.dumps(actions.report(result))
    strip = last(actions.morph(unjudged, person, person, Recipe.of(unjudged, 1, 1)))
    assert "has no judge" in strip.sentence and "threshold" not in view.morph(strip, [])
    points = last(actions.explore(unjudged, person, Recipe.of(unjudged, 2, 1), (0.5,)))
    assert points.threshold is None and "has no judge" in view.curve(points, [], [[]])
    with pytest.raises(InputError, match="cannot invent people"):
        actions.sample(unjudged, 7)


# ---------------------------------------------------------------- what leaves


def test_every_picture_and_the_zip_say_how_they_were_made(result: actions.Result, tmp_path: Path) -> None:
    files, archive, sheet = actions.write(result, tmp_path)
    with zipfile.ZipFile(archive) as zipped:
        names = zipped.namelist()
        assert names == [file.name for file in files] + ["manifest.jsonl"]
        for name in names[:-1]:
            (tmp_path / "out.png").write_bytes(zipped.read(name))
            said = provenance.read(tmp_path / "out.png")
            assert "trainedAlgorithmicMedia" in said["digital_source_type"]
            assert said["seed"] == result.recipe.seed
        lines = [json.loads(line) for line in zipped.read("manifest.jsonl").decode().splitlines()]
    wanted = {"file", "identity", "k", "seed", "similarity", "judge_similarity", "match"}
    assert all(wanted <= set(line) for line in lines) and [line["file"] for line in lines] == names[:-1]
    assert "trainedAlgorithmicMedia" in provenance.read(sheet)["digital_source_type"]
    assert Image.open(sheet).width > 3 * result.images[0].image.width


def test_a_picture_in_the_page_says_so_too_at_any_size(result: actions.Result, tmp_path: Path) -> None:
    for side in (None, 16):
        content = actions.png(result.images[0], "tiny", result.identity, result.recipe, side)
        (tmp_path / "page.png").write_bytes(content)
        assert "trainedAlgorithmicMedia" in provenance.read(tmp_path / "page.png")["digital_source_type"]
    assert Image.open(tmp_path / "page.png").width == 16


def test_a_picture_of_somebody_from_a_photo_says_nothing_of_them(
    result: actions.Result, person: Identity, tmp_path: Path
) -> None:
    """Neither a name nor the picture's own seed, which is made of the vector and so the same for the same face."""
    import dataclasses

    somebody = Identity(person.vector, person.space, "1 photo", "zaphod")
    files, archive, sheet = actions.write(dataclasses.replace(result, identity=somebody), tmp_path)
    own = [str(image.seed).encode() for image in result.images]
    for path in (*files, sheet):
        assert b"zaphod" not in path.read_bytes() and not any(seed in path.read_bytes() for seed in own)
    assert not any(seed in archive.read_bytes() for seed in own)


def test_the_identity_leaves_as_a_file_that_idgen_reads(person: Identity, tmp_path: Path) -> None:
    (tmp_path / "who.safetensors").write_bytes(actions.identity_file([person]))
    back = Identities.load(tmp_path / "who.safetensors")
    assert torch.equal(back.vectors[0], person.vector)
    assert (back.space, back.names) == (person.space, (person.name,))


def _run(code: str, model: Model, monkeypatch: pytest.MonkeyPatch) -> list[Image.Image]:
    """Run what the page shows; the name of a model in a test's folder is no name that `load_model` knows."""
    from idgen import hub

    load = hub.load_model
    monkeypatch.setattr(hub, "load_model", lambda name: load(str(model.folder)) if name == model.name else load(name))
    names: dict = {}
    exec(compile(code, "again.py", "exec"), names)
    return names["pictures"]


@pytest.mark.parametrize("variation", [0.0, 0.3])
def test_the_code_on_the_page_gives_the_same_pixels(
    small: Model, person: Identity, variation: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe.of(small, 3, 2, variation, 1.5, 9)
    result = last(actions.generate(small, person, recipe))
    code = again.pictures(person, recipe, small.name).python
    for ours, theirs in zip(result.images, _run(code, small, monkeypatch), strict=True):
        assert ours.image.tobytes() == theirs.tobytes()


def test_the_code_for_a_strip_gives_the_same_pixels(
    small: Model, person: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, recipe = actions.sample(small, 8)[0], Recipe.of(small, 1, 3, seed=4)
    made = last(actions.morph(small, person, other, recipe))
    pictures = _run(again.strip(person, other, recipe, small.name).python, small, monkeypatch)
    assert [one.image.tobytes() for one in made.images] == [one.tobytes() for one in pictures]


def test_the_code_for_the_nearest_gives_the_same_pixels(
    small: Model, person: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe.of(small, 1, 2, seed=4)
    found = last(actions.nearest(small, person, recipe))
    once = again.nearest(person, recipe, small.name)
    pictures = _run(once.python, small, monkeypatch)
    assert [one.image.image.tobytes() for one in found] == [one.tobytes() for one in pictures]
    assert "tab=near" in once.query and "person=7" in once.query


def test_the_code_for_a_photo_reads_the_downloaded_vector(
    small: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vector = torch.nn.functional.normalize(torch.randn(64, generator=torch.Generator().manual_seed(0)), dim=0)
    photo = Identity(vector, small.encoder.space, "1 photo", "photo")
    recipe = Recipe.of(small, 1, 2)
    result, once = last(actions.generate(small, photo, recipe)), again.pictures(photo, recipe, small.name)
    assert once.query == "", "a link would have to hold the face"
    (tmp_path / "photo.safetensors").write_bytes(actions.identity_file([photo]))
    monkeypatch.chdir(tmp_path)
    assert _run(once.python, small, monkeypatch)[0].tobytes() == result.images[0].image.tobytes()


def test_the_commands_on_the_page_give_the_same_pixels(
    small: Model, person: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    from typer.testing import CliRunner

    from idgen.cli import app

    monkeypatch.chdir(tmp_path)
    recipe = Recipe.of(small, 2, 2, 0.3, 1.5, 9)
    result = last(actions.generate(small, person, recipe))
    commands = again.pictures(person, recipe, str(small.folder)).commands.splitlines()
    for command in commands:
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, done.output
    for image in result.images:
        made = Image.open(tmp_path / "pictures" / person.name / f"{image.k:02d}.png")
        assert made.tobytes() == image.image.tobytes()


def test_the_report_is_json(result: actions.Result) -> None:
    report = json.loads(json.dumps(actions.report(result)))
    assert len(report["pictures"]) == 3 and report["sentence"].endswith(".") and report["images"] == 3


# ---------------------------------------------------------------- what is drawn


def _counts(middle: float, spread: float) -> np.ndarray:
    scores = np.random.default_rng(1).normal(middle, spread, 20_000).clip(-1, 1)
    return np.histogram(scores, np.linspace(-1, 1, BINS + 1))[0]


def _texts(svg: str) -> str:
    return " ".join(re.findall(r">([^<>]+)<", svg))


def test_the_histogram_shows_every_picture_on_its_side_of_the_threshold() -> None:
    scores = [0.1, 0.35, 0.4, 0.4, 0.4, 0.9]
    svg = plots.score_histogram(list(enumerate(scores, 1)), _counts(0.6, 0.1), _counts(0, 0.1), 0.4, 1e-3)
    assert svg.count('class="dot fail"') == 2 and svg.count('class="dot pass"') == 4 + 1  # and the legend's
    line = float(re.search(r'class="threshold" x1="([\d.]+)"', svg)[1])
    dots = re.findall(r'"dot (pass|fail)" cx="([\d.]+)" cy="([\d.]+)" r="[\d.]+"><title>Picture \d: ([\d.]+)', svg)
    assert len({(x, y) for _, x, y, _ in dots}) == len(scores), "equal scores are stacked, not hidden"
    for verdict, x, _, score in dots:
        assert (verdict == "pass") == (float(x) >= line - 1e-6) == (float(score) >= 0.4)
    assert "threshold 0.40: 1 in 1,000 strangers pass" in _texts(svg)
    assert "4 at or above the threshold" in svg.split(">")[0], "a screen reader gets the sentence"


@pytest.mark.parametrize("scores", [[-1.0], [1.0], [0.0] * 16, [-1.0, 1.0]])
def test_the_histogram_keeps_everything_inside(scores: list[float]) -> None:
    svg = plots.score_histogram(list(enumerate(scores, 1)), _counts(0.6, 0.1), _counts(0, 0.1), 0.4, 1e-2)
    inside(svg)


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
    if count > 1:
        assert "Picture 1 against 2: 0.50" in svg
    matrix[0] = matrix[:, 0] = np.nan  # no face was found in the first
    assert "nan" not in plots.similarity_matrix(matrix, threshold=0.6)


def test_a_matrix_that_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match="square"):
        plots.similarity_matrix(np.zeros((2, 3)))


def test_the_page_says_how_many_match_and_marks_those_that_do_not(result: actions.Result) -> None:
    scores = [
        {"similarity": 0.9, "judge_similarity": similarity, "match": match}
        for similarity, match in ((0.7, True), (0.2, False), (None, False))
    ]
    shown = actions.Result(**{**vars(result), "scores": scores, "sentence": "1 of 3 <is> the same person."})
    text = view.summary(shown)
    assert "1<small>of 3" in text and "1 of 3 &lt;is&gt; the same person." in text
    table = view.evidence(shown)
    assert table.count("✓ same") == 1 and table.count("✗ no match") == 2 and "no face" in table
    tiles = [view.tile(k, "data:,", line, "x") for k, line in enumerate(scores, 1)]
    assert [("pass" in tile, "fail" in tile) for tile in tiles] == [(True, False), (False, True), (False, True)]


def test_only_what_was_measured_is_drawn_and_under_its_own_number(result: actions.Result) -> None:
    def shown(*similarities: float | None) -> str:
        scores = [{"similarity": one, "judge_similarity": one, "match": False} for one in similarities]
        return view.evidence(actions.Result(**{**vars(result), "scores": scores, "matrix": None}))

    dots = re.findall(r"<title>(Picture \d: [\d.]+)</title></circle>", shown(None, 0.7, 0.2))
    assert dots == ["Picture 2: 0.70", "Picture 3: 0.20"]
    nothing = shown(None, None, None)
    assert "<circle" not in nothing and "No face was found in any of these pictures" in nothing


def test_pictures_say_whose_they_are_whoever_is_chosen_by_then(result: actions.Result, person: Identity) -> None:
    somebody = Identity(person.vector, person.space, "1 photo", "photo")
    progress = actions.Progress(3, [], [], [], 0.0)
    for page in (view.summary(result), view.working(progress, person)):
        assert "Person 7" in page and "does not exist" in page
    for page in (
        view.summary(actions.Result(**{**vars(result), "identity": somebody})),
        view.working(progress, somebody),
    ):
        assert "From a photo" in page and "may exist" in page and "does not exist" not in page


def test_nothing_is_said_of_who_is_not_chosen_yet() -> None:
    for page in (view.EMPTY, view.EMPTY_MORPH, view.EMPTY_COMPARE, view.EMPTY_EXPLORE):
        assert "not exist" not in page and "invented" not in page


def test_who_a_model_learned_from_is_not_said_to_be_invented(person: Identity) -> None:
    assert "the 12 people the model learned from" in view.sampled(person, 0.3, 12)


def test_scores_say_on_whom_they_were_measured(built_in: Model, portrait: bytes) -> None:
    known = actions.reference(built_in)
    assert known is not None and "500 people" in known.scope and "rendered people who do not exist" in known.scope
    assert known.explanation.endswith(known.scope)
    same = actions.compare(built_in, portrait, portrait, True)
    assert same.sentence.endswith(known.scope) and known.scope in view.compared(same)
    assert known.scope in view.found(actions.identify(built_in, [portrait], True))


def test_points_join_when_all_but_variation_and_guidance_is_the_same(small: Model, person: Identity) -> None:
    recipe = Recipe.of(small, 2, 1, 0.5, seed=3)
    point = last(actions.explore(small, person, recipe, (0.5,))).points[0]
    other = actions.sample(small, 8)[0]
    assert point.joins(person, small.name, Recipe.of(small, 2, 1, 0.1, 4.0, seed=3))
    assert not point.joins(other, small.name, recipe) and not point.joins(person, "another", recipe)
    for changed in (Recipe.of(small, 2, 1, 0.5, seed=4), Recipe.of(small, 2, 2, 0.5, seed=3)):
        assert not point.joins(person, small.name, changed)


def test_a_model_that_only_this_app_has_is_not_said_to_be_found_by_its_name(small: Model, person: Identity) -> None:
    recipe = Recipe.of(small, 1, 1)
    ours = again.pictures(person, recipe, small.name)
    assert "give the path of its folder" in ours.python and ours.commands.startswith(f"# {small.name} is a model of")
    for name in ("nobody-128", "user/repo", str(small.folder)):
        once = again.pictures(person, recipe, name)
        assert "#" not in once.commands and "folder" not in once.python


def test_nothing_jumps_every_picture_has_its_place_from_the_start() -> None:
    preview = Image.new("RGB", (8, 8))
    for tiles, previews in (([], []), (["<li></li>"], [preview] * 2), (["<li></li>"] * 5, [preview] * 4)):
        assert view.grid(tiles, 6, previews).count("<li") == 6


def test_one_picture_needs_no_matrix(result: actions.Result) -> None:
    alone = {"images": result.images[:1], "scores": result.scores[:1], "matrix": np.ones((1, 1))}
    one = actions.Result(**{**vars(result), **alone})
    assert "generate two or more" in view.evidence(one)


def test_a_name_cannot_break_out_of_the_page(small: Model) -> None:
    link = view.download('"><script>alert(1)</script>', b"content")
    bad = Identity(actions.sample(small, 1)[0].vector, "s", "1 photo<script>", "a'b")
    assert "<script>" not in link + view.person(bad) + view.outside(bad, 1)


def test_who_may_exist_is_never_called_nobody(small: Model) -> None:
    vector = actions.sample(small, 1)[0].vector
    for source in ("1 photo", "mean of 2 photos", "a vector from outside", "mixed from photos, 50% a and 50% b"):
        page = view.person(Identity(vector, "s", source, "person-1-0000"))
        assert "does not exist" not in page and "may exist" in page
    assert "does not exist" in view.person(Identity(vector, "s", "sampled, seed 1, number 0", "person-1-0000"))
