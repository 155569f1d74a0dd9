"""`idgen evaluate` on vectors, folders, Parquet and pairs; what it writes, and every wrong input in one sentence."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import patterns
from torch.nn.functional import normalize
from typer.testing import CliRunner

from idgen.cli import app
from idgen.evaluation.attributes import breakdown, groups
from idgen.evaluation.bins import write_bin
from idgen.evaluation.evaluate import evaluate
from idgen.evaluation.measures import read_pairs, worst_pairs
from idgen.ground import provenance
from idgen.ground.errors import InputError
from idgen.ground.vectors import save_vectors
from idgen.model import load_model
from idgen.scoring import verification

pytest.importorskip("torchmetrics")


def crowd(people, images, seed, dim=32, noise=0.8):
    generator = torch.Generator().manual_seed(seed)
    centres = normalize(torch.randn(people, dim, generator=generator))
    spread = torch.randn(people, images, dim, generator=generator) / dim**0.5
    return normalize((centres[:, None] + noise * spread).flatten(0, 1)), np.repeat(np.arange(people), images)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("vectors")
    return {
        name: save_vectors(folder / f"{name}.safetensors", *crowd(40, 5, seed), "tiny-judge")
        for seed, name in enumerate(("set", "training"))
    }


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_model(tiny_model)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A folder with one sub-folder a person."""
    folder = tmp_path_factory.mktemp("pictures") / "faces"
    images, labels = patterns(6, 3, size=64, seed=5)
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        (folder / f"p{label}").mkdir(parents=True, exist_ok=True)
        pixels = (image.permute(1, 2, 0) * 255).byte().numpy()
        Image.fromarray(pixels).save(folder / f"p{label}" / f"{row % 3}.png")
    return folder


class Page(HTMLParser):
    """Collects the tags, and fails on what would need the network or run."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        assert tag not in ("script", "link", "iframe")
        for name, value in attributes:
            assert name not in ("href", "onclick") and not (name == "src" and not value.startswith("data:image/"))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_two_files_of_vectors(files, tmp_path, model):
    result = evaluate(files["set"], tmp_path, model=model, training=files["training"], progress=False)
    vectors, labels = crowd(40, 5, 0)
    genuine, impostor = verification.pair_scores(vectors, labels)
    assert result.main.result.eer == verification.eer(genuine, impostor)
    assert (result.main.result.genuine_pairs, result.main.result.impostor_pairs) == (400, 200 * 199 // 2 - 400)
    content = json.loads((tmp_path / "evaluation.json").read_text())
    threshold = verification.threshold_at_fmr(impostor, 0.01)
    assert content["verification"]["fmr100"] == verification.fnmr(genuine, threshold)
    assert sum(content["verification"]["histogram"]["impostor"]) == len(impostor)
    assert content["separability"]["people"] == 40
    assert {s["kind"] for s in content["leakage"]["searches"]} >= {"sample-to-sample", "sample-to-centre"}
    assert not any(s["leaks"] for s in content["leakage"]["searches"])
    said = next(text for _, text in result.summary if text.startswith("No leak was found"))
    assert re.search(r"beside their pictures: \d+ pictures? .*; beside their means: .*; mean beside mean: \d+ p", said)
    names = ["fd", "kid", "precision", "recall"]
    assert all(f"{name}_tiny-judge" in content["distances"] for name in names)
    page = Page((tmp_path / "report.html").read_text())
    assert page.tags.count("svg") == 2 and "img" not in page.tags


def marks(out: Path) -> list[dict[str, Any]]:
    """What each picture on a report says of how it was made."""
    found = []
    for data in re.findall(r"data:image/webp;base64,([\w+/=]+)", (out / "report.html").read_text()):
        (out / "picture.webp").write_bytes(base64.b64decode(data))
        found.append(provenance.read(out / "picture.webp"))
    assert found
    return found


def test_a_folder_of_pictures(pictures, tmp_path, model):
    result = evaluate(pictures, tmp_path, model=model, training=pictures, progress=False)
    assert (result.pictures, result.people) == (18, 6)
    assert [found.space for found in (result.main, *result.others)] == ["tiny-judge", "tiny-encoder"]
    judged = model.judge.encode([str(path) for path in sorted(pictures.glob("*/*.png"))])
    genuine, _ = verification.pair_scores(judged, np.repeat(np.arange(6), 3))
    assert result.main.result.genuine_mean == pytest.approx(float(genuine.mean()), abs=1e-5)
    page = Page((tmp_path / "report.html").read_text())
    # Contact sheet; worst pairs, one a person and eight of different ones; nearest neighbours in the training set.
    assert page.tags.count("img") == 18 + 2 * (6 + 8) + 2 * 12
    level, text = result.summary[-1]
    assert level == "bad" and "18 pictures of 6 people" in text and "18 of them are copies" in text
    assert not any("digital_source_type" in said for said in marks(tmp_path)), "nobody said that a model made them"
    # The vectors it leaves behind give the same figures without any network.
    again = evaluate(tmp_path / "vectors-judge.safetensors", tmp_path / "again", model=model, progress=False)
    assert again.main.result.fnmr == result.main.result.fnmr and again.main.result.eer == result.main.result.eer
    assert again.main.result.d_prime == pytest.approx(result.main.result.d_prime, abs=1e-5)


def test_attributes_are_read_where_the_reader_was_measured(pictures, tmp_path, reading_model):
    model = load_model(reading_model)
    assert not evaluate(pictures, tmp_path, model=model, progress=False).attributes, "nobody knows of photographs"
    result = evaluate(pictures, tmp_path, model=model, domain="rendered", progress=False)
    read = model.attributes.read([str(path) for path in sorted(pictures.glob("*/*.png"))])
    read = read[:, model.attributes.vocabulary.names.index("yaw")].double().numpy()
    low, high = np.quantile(read, [1 / 3, 2 / 3])
    sizes = [np.sum(read < low), np.sum((low <= read) & (read < high)), np.sum(read >= high)]
    shown = [group.pictures for group in result.attributes["yaw (as read)"]]
    assert len(shown) == 3 and np.abs(np.subtract(shown, sizes)).max() <= 1
    assert any("yaw 3 off" in note and "hat 95.0 % right" in note and "60 people" in note for note in result.notes)


def test_a_picture_on_a_report_is_marked_if_its_row_says_that_a_model_made_it(pictures, tmp_path, model):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for file in sorted(pictures.glob("*/*.png")):
        row = {"image": {"bytes": file.read_bytes()}, "identity": file.parent.name, "glasses": file.stem == "1"}
        kind = provenance.SOURCE_TYPE if file.stem == "0" else "digitalCapture"
        rows.append(row | {"model": "a camera", "digital_source_type": kind})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mixed.parquet")
    evaluate(tmp_path / "mixed.parquet", tmp_path / "out", model=model, progress=False)
    said = marks(tmp_path / "out")
    assert {"digital_source_type" in one for one in said} == {True, False}
    assert sum("digital_source_type" in one for one in said[-18:]) == 6, "on the contact sheet"
    assert "<b>glasses</b>" in (tmp_path / "out" / "report.html").read_text()


def test_a_generated_folder_by_the_commands(tmp_path, tiny_model):
    run = lambda *words: CliRunner().invoke(app, [*map(str, words), "--model", str(tiny_model)])  # noqa: E731
    words = ["--sample", 3, "--images", 2, "--steps", 1, "--seed", 1]
    assert run("generate", *words, "--out", tmp_path / "made", "--variation", "cone:0.5").exit_code == 0
    done = run("evaluate", tmp_path / "made", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "match the person who was asked for" in done.output and "report.html" in done.output
    said = marks(tmp_path / "out")
    made_by = {(one["digital_source_type"], one["model"], one["seed"]) for one in said}
    assert made_by == {(provenance.SOURCE_TYPE, "tiny", 1)}
    assert {one["k"] for one in said} == {0, 1} and not any("identity" in one for one in said)
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "made" / "manifest.jsonl").read_text().splitlines()]
    share = np.mean([line["match"] for line in lines])
    assert content["fidelity"]["template_inversion_success_rate"] == content["fidelity"]["fidelity"] == share
    mean = np.mean([line["judge_similarity"] for line in lines])
    assert content["fidelity"]["judge_similarity_mean"] == pytest.approx(mean, abs=1e-3)
    assert [s["kind"] for s in content["leakage"]["searches"]] == ["person-to-person"]
    assert content["leakage"]["searches"][0]["probes"] == 3


def test_pairs_of_insightface(pictures, tmp_path, model):
    data = [file.read_bytes() for file in sorted(pictures.glob("*/*.png"))]
    pairs = np.stack(np.triu_indices(18, 1), 1)
    same = pairs[:, 0] // 3 == pairs[:, 1] // 3
    chosen = np.random.default_rng(0).permutation([*np.flatnonzero(same), *np.flatnonzero(~same)[:18]])
    write_bin(tmp_path / "lfw.bin", [data[i] for i in pairs[chosen].ravel()], same[chosen])
    result = evaluate(tmp_path / "lfw.bin", tmp_path / "out", model=model, progress=False)
    assert result.main.result.genuine_pairs == 18 and result.main.result.impostor_pairs == 18
    assert 0.5 <= result.folds["the judge"].accuracy <= 1
    Page((tmp_path / "out" / "report.html").read_text())
    with pytest.raises(InputError, match="--real has no meaning"):
        evaluate(tmp_path / "lfw.bin", tmp_path / "out", model=model, real=pictures)


def test_a_pair_list(pictures, tmp_path, model):
    (tmp_path / "pairs.txt").write_text("# ours\np0/0.png p0/1.png 1\np1/0.png\tp1/2.png\t1\np0/0.png,p1/0.png,0\n\n")
    result = evaluate(pictures, tmp_path / "out", model=model, pairs=tmp_path / "pairs.txt", progress=False)
    assert (result.main.result.genuine_pairs, result.main.result.impostor_pairs) == (2, 1)
    for text, says in (
        ("p0/0.png p0/1.png", "Line 1"),
        ("p0/0.png p9/1.png 1", "no picture of the set"),
        ("p0/0.png p0/1.png 1", "lacks one kind"),
    ):
        (tmp_path / "bad.txt").write_text(text)
        with pytest.raises(InputError, match=says):
            read_pairs(tmp_path / "bad.txt", ["p0/0.png", "p0/1.png"])


def test_worst_pairs_are_the_worst():
    vectors, labels = crowd(30, 4, 3, dim=8)
    low, high = worst_pairs(vectors.numpy(), labels, 5)
    products = (vectors @ vectors.T).numpy()
    same = labels[:, None] == labels[None]
    off = ~np.eye(len(labels), dtype=bool)
    assert low[0].cosine == pytest.approx(products[same & off].min(), abs=1e-6)
    assert high[0].cosine == pytest.approx(products[~same].max(), abs=1e-6)
    people = [{int(labels[pair.first]), int(labels[pair.second])} for pair in high]
    assert len({frozenset(pair) for pair in people}) == 5 and all(len(pair) == 2 for pair in people)
    assert all(labels[pair.first] == labels[pair.second] for pair in low)


def test_large_sets_say_what_was_left_out(files, tmp_path, model, monkeypatch):
    monkeypatch.setattr("idgen.evaluation.measures.MOST_COMPARED", 60)
    result = evaluate(files["set"], tmp_path, model=model, progress=False)
    assert result.main.result.genuine_pairs == 400  # all of them
    assert result.main.compared == 60 and result.main.result.impostor_pairs == 60 * 59 // 2 - 120
    assert any("60 of the 200 pictures" in note for note in result.notes)


def test_groups_and_their_figures():
    vectors, labels = crowd(20, 4, 1)
    glasses = np.tile([True, False], 40)
    yaw = np.random.default_rng(0).normal(0, 20, 80)
    columns = {"glasses": glasses, "yaw": yaw, "note": np.array([f"n{i}" for i in range(80)]), "seed": glasses}
    found = breakdown(vectors.numpy(), labels, columns, 0.5)
    assert set(found) == {"glasses", "yaw"}  # free text and what idgen wrote itself are no attributes
    for group in found["glasses"]:
        rows = np.flatnonzero(glasses.astype(str) == group.value)
        genuine, impostor = verification.pair_scores(vectors[rows], labels[rows])
        assert group.pictures == 40 and len(genuine) < 30 and group.fnmr is None  # too few to say
        assert group.fmr == pytest.approx(np.mean(impostor >= 0.5))
    assert [group.pictures for group in found["yaw"]] == [27, 26, 27]
    assert found["yaw"][0].value.startswith("below")
    assert groups(np.zeros(5)) is None


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("one picture each", "single picture"),
        ("one person", "one person"),
        ("spaces", "'another'"),
        ("lengths", "7"),
        ("nothing", "no labelled pictures"),
        ("missing", "There is no file or folder"),
    ],
)
def test_wrong_input_is_one_sentence(what, says, tmp_path, tiny_model):
    vectors, labels = crowd(10, 2, 0)
    few = slice(None, None, 2 if what == "one picture each" else 1)
    source, other = tmp_path / "set.safetensors", tmp_path / "other.safetensors"
    save_vectors(source, vectors[few], ["me"] * 20 if what == "one person" else labels[few], "tiny-judge")
    dim, space = 7 if what == "lengths" else None, "another" if what == "spaces" else "tiny-judge"
    save_vectors(other, vectors[:, :dim], labels, space)
    (tmp_path / "nothing").mkdir()
    source = tmp_path / what if what in ("nothing", "missing") else source
    words = ["evaluate", source, *(["--training", other] if what in ("spaces", "lengths") else [])]
    done = CliRunner().invoke(app, list(map(str, [*words, "--out", tmp_path / "out", "--model", tiny_model])))
    assert done.exit_code == 2 and says in done.output
    assert len(re.findall(r"[.!?](?:\s|$)", done.output)) == 1, done.output
    assert not (tmp_path / "out").exists()


def test_what_is_left_out_is_said(pictures, tmp_path, tiny_model):
    folder = shutil.copytree(pictures, tmp_path / "set")
    someone = next(path for path in sorted(folder.iterdir()) if path.is_dir())
    (someone / "raw.cr2").write_bytes(b"no picture that is read")
    (someone / ".ipynb_checkpoints").mkdir()
    shutil.copy(next(someone.glob("*.png")), someone / ".ipynb_checkpoints" / "0-checkpoint.png")
    ran = CliRunner().invoke(app, ["evaluate", str(folder), "--out", str(tmp_path / "out"), "--model", str(tiny_model)])
    assert ran.exit_code == 0, ran.output
    assert "1 file of set was left out, being no pictures by their names (.cr2: 1)." in ran.stdout
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (report["pictures"], report["people"]) == (18, 6)
