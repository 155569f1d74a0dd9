"""`idgen audit` from a set to its files: what it writes, how it goes on, and every wrong input in one sentence."""

import csv
import json

import numpy as np
import pytest
from planted import write_set
from tiny import labelled
from typer.testing import CliRunner

from idgen.auditing import looking
from idgen.auditing.audit import SECTIONS, audit
from idgen.auditing.labels import told
from idgen.cli import app
from idgen.evaluation.attributes import groups as groups_of
from idgen.ground.errors import InputError
from idgen.model import load_model
from idgen.sets import read_source


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    columns = {name: values for name, values in labelled(32, 3).items() if name in ("glasses", "yaw", "gender")}
    return {
        "set": write_set(folder / "set.parquet", 32, 3, **columns),
        "other": write_set(folder / "other.parquet", 32, 3, seed=1, **columns),
    }


@pytest.fixture(scope="module")
def done(files, tiny_model, tmp_path_factory):
    out = tmp_path_factory.mktemp("audit") / "out"
    words = ["audit", files["set"], "--against", files["other"], "--out", out, "--model", tiny_model]
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output
    return out, result.output


def test_what_is_written(done):
    out, said = done
    content = json.loads((out / "audit.json").read_text())
    assert [one["key"] for one in content["sections"]] == list(SECTIONS)
    assert content["about"] == "96 photographs of 32 people"
    rows = list(csv.DictReader((out / "audit.csv").open()))
    assert len(rows) == sum(len(one["figures"]) for one in content["sections"])
    for one in content["sections"]:
        assert one["findings"] and all(found["text"] in " ".join(said.split("\n")) for found in one["findings"])
    page = (out / "audit.html").read_text()
    assert "<script" not in page and "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert all(one["title"] in page for one in content["sections"])


def test_a_second_call_takes_what_is_done_and_a_changed_one_does_not(done, files, tiny_model, monkeypatch):
    out, _ = done
    before = (out / "audit.csv").read_text()
    monkeypatch.setattr(looking, "_batch", lambda *_: pytest.fail("looked again"))
    monkeypatch.setattr("idgen.auditing.audit._do", lambda name, *_: pytest.fail(f"did {name} again"))
    audit(files["set"], out, against=files["other"], model=tiny_model, progress=False)
    assert (out / "audit.csv").read_text() == before
    with pytest.raises(pytest.fail.Exception, match="did groups again"):
        audit(files["set"], out, against=files["other"], model=tiny_model, fmr=1e-2, progress=False)


def test_a_pass_that_was_stopped_goes_on(files, tiny_model, tmp_path, monkeypatch):
    """And sees the same."""
    monkeypatch.setattr(looking, "AT_ONCE", 16)
    monkeypatch.setattr(looking, "_TOGETHER", 1)
    model, batch, seen = load_model(tiny_model), looking._batch, []

    def stopped(*arguments):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(arguments[1])
        return batch(*arguments)

    monkeypatch.setattr(looking, "_batch", stopped)
    with pytest.raises(KeyboardInterrupt):
        audit(files["set"], tmp_path / "a", model=model, sections=["groups"], progress=False)
    monkeypatch.setattr(looking, "_batch", lambda *arguments: seen.append(arguments[1]) or batch(*arguments))
    audit(files["set"], tmp_path / "a", model=model, sections=["groups"], progress=False)
    assert seen == [0, 16, 32, 48, 64, 80]
    audit(files["set"], tmp_path / "b", model=model, sections=["groups"], progress=False)
    for name in ("vectors-0", "quality-1", "thumbnails"):
        one, other = (np.load(tmp_path / place / "seen" / "set" / f"{name}.npy") for place in "ab")
        assert np.array_equal(one, other)


def test_labels_say_where_they_come_from(files, tmp_path):
    source = read_source(files["set"])
    text = "identity,age.self,tone.annotated\n" + "".join(f"p{who},{20 + who},t{who % 2}\n" for who in range(31))
    (tmp_path / "labels.csv").write_text(text)
    found = told(source, tmp_path / "labels.csv")
    assert set(found) == {"glasses.set", "yaw.set", "gender.set", "age.self", "tone.annotated"}
    age = found["age.self"]
    assert age.values[0] == 20 and np.isnan(age.values[-1]) and age.words[-1] == "" and not age.known[-1]
    assert np.array_equal(age.words[:-3], groups_of(age.values[:-3]))
    for text, says in (
        ("file,age\nx,1\n", "does not say where it comes from: call it age.self"),
        ("name,age.self\nx,1\n", "need a column `file` or `identity`"),
        ("identity,age.self\nnobody,1\n", "No identity in"),
    ):
        (tmp_path / "labels.csv").write_text(text)
        with pytest.raises(InputError, match=says):
            told(source, tmp_path / "labels.csv")


def test_wrong_input_is_one_sentence(files, tiny_model, tmp_path):
    for words, says in (
        (["--section", "beauty"], "There is no section 'beauty'"),
        (["--labels", tmp_path / "none.csv"], "cannot be read"),
        (["--by", "nobody-128/none"], "none"),
    ):
        words = ["audit", files["set"], "--out", tmp_path / "out", "--model", tiny_model, *words]
        result = CliRunner().invoke(app, list(map(str, words)))
        assert result.exit_code == 2 and says in result.output, result.output
