"""The page of a shared model: made where there is none, completed where there is one, as the Hub's classes read it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hub_server import HubServer
from huggingface_hub import ModelCard
from PIL import Image
from typer.testing import CliRunner

from idgen.cli import app
from idgen.ground import provenance
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities
from idgen.model import Model
from idgen.sharing.card import completed, figures, read_evaluation, risk
from idgen.sharing.push import push

BUILTIN = Path(__file__).parents[2] / "idgen" / "builtin" / "nobody-128" / "README.md"
EVALUATION = {
    "format": "idgen.evaluation",
    "version": 1,
    "set": "/home/somebody/secret",
    "pictures": 1200,
    "people": 200,
    "summary": ["The worst picture is /home/somebody/secret/1.png."],
    "fidelity": {"fidelity": 0.875, "false_match_rate": 0.001, "same_rate_of_real_pictures": None},
    "verification": {
        "by": "the judge",
        "eer": 0.0213,
        "tar": {"0.01": 0.98, "0.001": 0.91},
        "certain": {"0.01": True, "0.001": False},
    },
    "separability": {"unique_share": 0.995},
    "diversity": {"distance": 0.2449, "yaw": None},
    "distances": {"fd_tiny-judge": 12.34},
    "leakage": {"searches": [{"kind": "person-to-person", "alarms": 2, "expected_by_chance": 1.5}]},
}


@pytest.fixture
def bare(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model without a card."""
    return shutil.copytree(tiny_model, tmp_path / "bare", ignore=shutil.ignore_patterns("README.md"))


def pushed(hub: HubServer, name: str) -> Path:
    return hub.at(name, "main")[0]  # type: ignore[index]


def test_a_card_is_made_with_a_sheet_and_figures(bare: Path, hub: HubServer) -> None:
    pytest.importorskip("torchmetrics")
    options = ["--licence", "cc0-1.0", "--data", "Rendered people who do not exist."]
    result = CliRunner().invoke(app, ["push", str(bare), "user/made", *options])
    assert result.exit_code == 0, result.output
    folder = pushed(hub, "user/made")
    card = ModelCard.load(folder / "README.md")
    assert (card.data.license, card.data.library_name, card.data.model_name) == ("cc0-1.0", "idgen", "made")
    measured = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert 0 <= measured["fidelity@0.001"] <= 1 and not {"pictures", "leaks"} & measured.keys()
    assert "| pictures measured | 72 |" in card.text and "| … of so many people | 12 |" in card.text
    assert "12 people × 6 pictures, made for this page: few." in card.text
    assert "Rendered people who do not exist." in card.text and "smooth random patterns" in card.text
    assert 'load_model("user/made")' in card.text and "trust_remote_code=True" in card.text
    with Image.open(folder / "people.png") as sheet:
        assert sheet.width > 6 * 128 and "trainedAlgorithmicMedia" in str(sheet.info)
    assert provenance.read(folder / "people.png")["seed"] == 0
    assert not any(person.from_photo for person in Identities.load(folder / "people.safetensors"))


def test_the_figures_of_an_evaluation(bare: Path, hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps(EVALUATION))
    push(bare, "user/evaluated", licence="mit", evaluation=tmp_path)
    card = ModelCard.load(pushed(hub, "user/evaluated") / "README.md")
    for line in (
        "| pictures measured | 1,200 |",
        "| pictures that match the wanted person, judge at FMR 0.001 | 87.5 % |",
        "| pairs of pictures, the judge: equal error rate | 2.1 % |",
        "| … true-accept rate at FMR 0.01 | 98.0 % |",
        "| diversity: 1 − mean cosine of one person's pictures | 0.245 |",
        "| FD in the features of tiny-judge | 12.3 |",
        "| leaks, person-to-person: alarms | 2 |",
    ):
        assert line in card.text
    assert {result.metric_type: result.metric_value for result in card.data.eval_results}["eer"] == 0.0213
    assert "somebody" not in card.content and "FMR 0.001 | 91" not in card.content and "few" not in card.text


def test_a_model_that_cannot_be_measured_says_so(bare: Path, hub: HubServer) -> None:
    for part in ("judge", "encoder", "sampler"):
        shutil.rmtree(bare / part)
    push(bare, "user/plain", licence="mit")
    folder = pushed(hub, "user/plain")
    card = ModelCard.load(folder / "README.md")
    assert "None were measured." in card.text and "There is no judge in it" in card.text
    assert "did not say what it was trained on" in card.text and card.data.eval_results is None
    assert not (folder / "people.png").exists() and not (folder / "people.safetensors").exists()


def test_a_card_that_lacks_nothing_stays_as_it_is(bare: Path, hub: HubServer) -> None:
    shutil.copy(BUILTIN, bare)
    (bare / "people.png").write_bytes(b"a picture")
    done = push(bare, "user/kept")
    folder = pushed(hub, "user/kept")
    assert (folder / "README.md").read_bytes() == BUILTIN.read_bytes()
    assert (folder / "people.png").read_bytes() == b"a picture" and not done.left_out


def test_what_a_card_lacks_is_added_and_what_it_says_is_kept() -> None:
    assert completed("Mine.\n", "mit", name="x").endswith("---\nMine.\n")
    mine = "---\ntags: [a]\nbase_model: b\n---\n# Mine\n"
    card = ModelCard(completed(mine, "mit", name="x", rows=figures(EVALUATION)))
    data = card.data
    assert (data.license, data.library_name, data.tags, data.base_model) == ("mit", "idgen", ["a"], "b")
    assert data.model_name == "x" and data.eval_results[0].metric_value == 0.875
    assert card.text == "# Mine\n"


def test_the_licence_is_said_once(bare: Path) -> None:
    with pytest.raises(InputError, match="Nobody says under which licence"):
        push(Model(bare, device="cpu"), "user/x")
    with pytest.raises(InputError, match="says the licence is mit, you say"):
        completed("---\nlicense: mit\n---\n", "apache-2.0", name="x")
    with pytest.raises(InputError, match="cannot be read"):
        completed("---\nlicense: [mit\n---\n", None, name="x")


def test_what_is_no_evaluation(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no result of `idgen evaluate`"):
        read_evaluation(tmp_path)
    for content in ("{", "[]", '{"format": "else"}'):
        (tmp_path / "evaluation.json").write_text(content)
        with pytest.raises(InputError, match=r"is not valid JSON|does not hold a JSON object|is not what"):
            read_evaluation(tmp_path)


def test_a_card_says_what_a_stolen_vector_gives_away(tmp_path: Path) -> None:
    assert "was not measured" in risk(None) and "was not measured" in risk(tmp_path / "evaluation.json")
    said = {"key": "inversion", "details": {"sentence": "Whoever has a vector gets a picture."}}
    (tmp_path / "audit.json").write_text(json.dumps({"sections": [{"key": "groups", "details": {}}, said]}))
    assert risk(tmp_path) == risk(tmp_path / "evaluation.json") == "Whoever has a vector gets a picture."
