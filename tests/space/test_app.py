"""The app without a browser: what its buttons do, the plots, and the named endpoints."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from idgen import provenance
from idgen.errors import InputError
from idgen.hub import Model
from idgen.identity import Identities, Identity
from idgen.scoring import BINS, Score
from space import actions, plots, view

_PATIENT = {"timeout": 120}  # seconds; a shared machine is slow, and waiting costs nothing when it is not


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    from idgen.hub import load_model

    return load_model(str(tiny_model))


@pytest.fixture(scope="module")
def result(model: Model) -> actions.Result:
    return actions.generate(model, actions.sample(model, 7)[0], images=3, steps=2, seed=1)


def _photo(**save: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **save)
    return file.getvalue()


# ---------------------------------------------------------------- the buttons


def test_sampling_is_the_seed_and_nothing_else(model: Model) -> None:
    (first, near), (again, _), (other, _) = (actions.sample(model, seed) for seed in (7, 7.0, 8))
    assert torch.equal(first.vector, again.vector)
    assert not torch.equal(first.vector, other.vector)
    assert not first.from_photo and -1 <= near <= 1


@pytest.mark.parametrize("seed", [None, -1, 1.5, "seven", float("nan"), float("inf"), 2**53, True, [7]])
def test_a_seed_that_is_no_whole_number_is_refused_in_one_sentence(model: Model, seed: object) -> None:
    with pytest.raises(InputError, match=r"^The person's seed is a whole number from 0 .*try again\.$"):
        actions.sample(model, seed)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("images", 0),
        ("images", 10_000),
        ("images", None),
        ("steps", 0),
        ("steps", 2.5),
        ("variation", 1.1),
        ("seed", -3),
    ],
)
def test_settings_out_of_range_are_refused(model: Model, setting: str, value: object) -> None:
    with pytest.raises(InputError, match=r"try again\.$"):
        actions.generate(model, actions.sample(model, 7)[0], **{setting: value})


def test_nobody_to_paint_is_said(model: Model) -> None:
    with pytest.raises(InputError, match="sample a person or choose a photo"):
        actions.generate(model, None)


def test_pictures_scores_and_progress_belong_together(model: Model) -> None:
    seen: list[tuple[float, str]] = []
    identity, _ = actions.sample(model, 7)
    result = actions.generate(model, identity, 3, 2, 0.2, 5, progress=lambda share, what: seen.append((share, what)))
    assert [image.k for image in result.images] == [0, 1, 2]
    assert len(result.scores) == 3 and result.matrix.shape == (3, 3)
    assert np.allclose(np.diag(result.matrix), 1, atol=1e-4) and np.allclose(result.matrix, result.matrix.T, atol=1e-5)
    shares = [share for share, _ in seen]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] <= 1
    assert all(score.match == (score.judge_similarity >= result.reference.threshold) for score in result.scores)
    # A variation of v paints vectors at cosine 1 − v, and still scores them against the person asked for.
    cosines = torch.stack([image.vector for image in result.images]) @ identity.vector
    assert torch.allclose(cosines, torch.full((3,), 0.8), atol=1e-4)


def test_the_app_paints_what_the_pipeline_paints(model: Model, result: actions.Result) -> None:
    alone = list(model.pipeline.iterate(result.identity, 3, num_inference_steps=2, seed=1))
    for ours, theirs in zip(result.images, alone, strict=True):
        assert ours.seed == theirs.seed and ours.image.tobytes() == theirs.image.tobytes()


@pytest.mark.parametrize("consent", [False, None, "yes", 1])
def test_no_photo_without_consent(model: Model, consent: object) -> None:
    with pytest.raises(InputError, match="consent"):
        actions.identify(model, _photo(), consent)


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"<html>", _photo()[:200], b"GIF89a"])
def test_what_is_no_picture_is_said(model: Model, content: bytes) -> None:
    with pytest.raises(InputError):
        actions.identify(model, content, True)


def test_the_mark_stays_on_the_picture_and_leaves_the_photo_alone() -> None:
    photo = Image.new("RGB", (1600, 900), (90, 90, 90))
    shown = actions.mark(photo, np.array([[700, 400], [800, 400], [750, 460], [710, 510], [790, 510]], float))
    assert shown.size == (640, 360)
    assert photo.getcolors() == [(1600 * 900, (90, 90, 90))]
    assert len(shown.getcolors(100_000) or []) > 2
    tiny = actions.mark(Image.new("RGB", (5, 3)), np.zeros((5, 2)))
    assert tiny.size == (5, 3)


# ---------------------------------------------------------------- what leaves


def test_every_picture_and_the_zip_say_how_they_were_made(result: actions.Result, tmp_path: Path) -> None:
    files, archive = actions.write(result, tmp_path)
    with zipfile.ZipFile(archive) as zipped:
        names = zipped.namelist()
        assert names == [file.name for file in files] + ["manifest.jsonl"]
        for name in names[:-1]:
            (tmp_path / "out.png").write_bytes(zipped.read(name))
            said = provenance.read(tmp_path / "out.png")
            assert "trainedAlgorithmicMedia" in said["digital_source_type"]
            assert said["seed"] in {image.seed for image in result.images}
        lines = [json.loads(line) for line in zipped.read("manifest.jsonl").decode().splitlines()]
    wanted = {"file", "identity", "k", "seed", "similarity", "judge_similarity", "match"}
    assert all(wanted <= set(line) for line in lines) and [line["file"] for line in lines] == names[:-1]


def test_the_identity_leaves_as_a_file_that_idgen_reads(model: Model, tmp_path: Path) -> None:
    identity, _ = actions.sample(model, 3)
    (tmp_path / "who.safetensors").write_bytes(actions.identity_file(identity))
    back = Identities.load(tmp_path / "who.safetensors")
    assert torch.equal(back.vectors[0], identity.vector)
    assert (back.space, back.names) == (identity.space, (identity.name,))


def test_the_report_is_json_and_keeps_every_digit_of_the_vector(model: Model, result: actions.Result) -> None:
    report = json.loads(json.dumps(actions.report(result)))
    assert len(report["pictures"]) == 3 and report["sentence"].endswith(".")
    vector = json.loads(json.dumps(actions.describe(result.identity)))["vector"]
    assert torch.equal(torch.tensor(vector), result.identity.vector)


# ---------------------------------------------------------------- what is drawn


def _counts(middle: float, spread: float) -> np.ndarray:
    scores = np.random.default_rng(1).normal(middle, spread, 20_000).clip(-1, 1)
    return np.histogram(scores, np.linspace(-1, 1, BINS + 1))[0]


def _texts(svg: str) -> str:
    return " ".join(re.findall(r">([^<>]+)<", svg))


def test_the_histogram_shows_every_picture_on_its_side_of_the_threshold() -> None:
    scores = [0.1, 0.35, 0.4, 0.4, 0.4, 0.9]
    svg = plots.score_histogram(scores, _counts(0.6, 0.1), _counts(0, 0.1), 0.4, 1e-3)
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
    svg = plots.score_histogram(scores, _counts(0.6, 0.1), _counts(0, 0.1), 0.4, 1e-2)
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
    dots = [(float(x), float(y)) for x, y in re.findall(r'cx="(-?[\d.]+)" cy="(-?[\d.]+)"', svg)]
    assert all(0 <= x <= width and 0 <= y <= height for x, y in dots)
    assert "nan" not in svg


@pytest.mark.parametrize("count", [1, 2, 8, 16])
def test_the_matrix_has_a_cell_a_pair_that_can_be_read(count: int) -> None:
    matrix = np.full((count, count), 0.5)
    np.fill_diagonal(matrix, 1)
    svg = plots.similarity_matrix(matrix, threshold=0.6)
    assert svg.count("<title>") == count * count and svg.count('class="cell weak"') == count * count - count
    if count > 1:
        assert "Picture 1 against 2: 0.50" in svg


def test_a_matrix_that_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match="square"):
        plots.similarity_matrix(np.zeros((2, 3)))


def test_the_page_says_how_many_match_and_marks_those_that_do_not(result: actions.Result) -> None:
    scores = [Score(0.9, similarity, match, 0.4, 0.4) for similarity, match in ((0.7, True), (0.2, False), (0.5, True))]
    shown = actions.Result(**{**vars(result), "scores": scores, "sentence": "2 of 3 <are> the same person."})
    text = view.summary(shown)
    assert "2<small>of 3" in text and "2 of 3 &lt;are&gt; the same person." in text
    assert ":nth-child(2)" in text and ":nth-child(1)" not in text and ":nth-child(3)" not in text
    table = view.evidence(shown)
    assert table.count("✓ same") == 2 and table.count("✗ no match") == 1


def test_one_picture_needs_no_matrix(result: actions.Result) -> None:
    alone = {"images": result.images[:1], "scores": result.scores[:1], "matrix": np.ones((1, 1))}
    one = actions.Result(**{**vars(result), **alone})
    assert "generate two or more" in view.evidence(one)


def test_a_name_cannot_break_out_of_the_page() -> None:
    link = view.download('"><script>alert(1)</script>', b"content")
    assert "<script>" not in link


# ---------------------------------------------------------------- the endpoints


@pytest.fixture(scope="module")
def served(serving, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of the running app, and the folder in which Gradio keeps files."""
    cache = tmp_path_factory.mktemp("gradio")
    with serving(model, cache) as address:
        yield address, cache


@pytest.fixture
def client(served, tmp_path: Path):
    from gradio_client import Client

    return Client(served[0], verbose=False, download_files=str(tmp_path), httpx_kwargs=_PATIENT)


def test_the_endpoints_are_the_three_that_are_promised(client) -> None:
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/sample", "/identify", "/generate"}


def test_sample_then_generate_through_the_client(client, model: Model, tmp_path: Path) -> None:
    person, *_ = client.predict(11, api_name="/sample")
    assert torch.equal(torch.tensor(person["vector"]), actions.sample(model, 11)[0].vector)
    report, gallery, _, _, archive = client.predict(2, 2, 0, 5, api_name="/generate")[:5]
    expected = list(model.pipeline.iterate(actions.sample(model, 11)[0], 2, num_inference_steps=2, seed=5))
    assert [line["seed"] for line in report["pictures"]] == [image.seed for image in expected]
    for shown, image in zip(gallery, expected, strict=True):
        path = shown["image"] if isinstance(shown["image"], str) else shown["image"]["path"]
        assert Image.open(path).tobytes() == image.image.tobytes(), "the gallery shows the very pixels"
        assert "trainedAlgorithmicMedia" in provenance.read(path)["digital_source_type"]
    assert zipfile.is_zipfile(archive)


def test_two_visitors_do_not_see_each_other(served, tmp_path: Path) -> None:
    from gradio_client import Client

    first, second = (
        Client(served[0], verbose=False, download_files=str(tmp_path), httpx_kwargs=_PATIENT) for _ in range(2)
    )
    first.predict(1, api_name="/sample")
    second.predict(2, api_name="/sample")
    assert first.predict(1, 1, 0, 0, api_name="/generate")[0]["source"] == "sampled, seed 1, number 0"
    assert second.predict(1, 1, 0, 0, api_name="/generate")[0]["source"] == "sampled, seed 2, number 0"


def test_a_mistake_comes_back_as_its_sentence(client) -> None:
    with pytest.raises(Exception, match="whole number"):
        client.predict(1.5, api_name="/sample")


@pytest.mark.parametrize(("consent", "content"), [(False, _photo()), (True, b"not a picture"), (True, _photo())])
def test_an_upload_is_gone_when_the_answer_comes(served, client, tmp_path: Path, consent: bool, content: bytes) -> None:
    from gradio_client import handle_file

    upload = tmp_path / "visitor.png"
    upload.write_bytes(content)
    try:
        client.predict(handle_file(str(upload)), consent, api_name="/identify")
    except Exception as error:
        assert "Traceback" not in str(error) and str(error).rstrip().endswith((".", "!"))
    left = [path for path in served[1].rglob("*") if path.is_file() and path.read_bytes() == content]
    assert not left, f"the upload is still at {left}"
    assert not list(served[1].rglob("*visitor*.png"))


def test_only_uploads_can_be_named(client, tmp_path: Path) -> None:
    """A path made up by a caller is neither read nor deleted."""
    mine = tmp_path / "mine.png"
    mine.write_bytes(_photo())
    with pytest.raises(Exception):  # noqa: B017 - Gradio's own, whatever it is called
        client.predict({"path": str(mine), "meta": {"_type": "gradio.FileData"}}, True, api_name="/identify")
    assert mine.exists()


def test_identity_of_a_photo_is_never_called_sampled(model: Model) -> None:
    vector = torch.nn.functional.normalize(torch.randn(512, generator=torch.Generator().manual_seed(0)), dim=0)
    assert Identity(vector, model.encoder.space, "1 photo", "photo").from_photo
