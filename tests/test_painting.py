"""A folder of pictures: complete, resumable, never half-written, and the same however it was made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from idgen.ground import files, provenance
from idgen.ground.contact_sheet import MATCH, NO_MATCH
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, image_seed, key
from idgen.ground.weights import fingerprint
from idgen.model import Model, load_model
from idgen.painting import MANIFEST, SETTINGS, SHEET, generate, read_manifest
from idgen.pipelines.base import counting
from idgen.sets import read_source


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(str(tiny_model), device="cpu")


@pytest.fixture(scope="module")
def people(model: Model) -> Identities:
    return model.sampler.sample(3, seed=7)


def make(people: Identities, out: Path, model: Model, **options: Any) -> Path:
    return generate(people, out, model=model, **{"images": 2, "seed": 7, "steps": 2, "progress": False} | options)


def everything(folder: Path, pattern: str = "**/*") -> dict[str, bytes]:
    """Every file's bytes; of identities their vectors, because safetensors writes metadata in any order."""

    def content(path: Path) -> bytes:
        return Identities.load(path).vectors.numpy().tobytes() if path.suffix == ".safetensors" else path.read_bytes()

    return {path.relative_to(folder).as_posix(): content(path) for path in folder.glob(pattern) if path.is_file()}


def pictures(folder: Path) -> dict[str, bytes]:
    return everything(folder, "*/*.png")


def test_what_is_in_the_folder(tmp_path: Path, model: Model, people: Identities) -> None:
    out = make(people, tmp_path / "new" / "out", model)
    assert out == tmp_path / "new" / "out"
    images = {f"{name}/{k:02d}.png" for name in people.names for k in range(2)}
    assert everything(out).keys() == images | {"identities.safetensors", MANIFEST, SETTINGS, SHEET}
    assert torch.equal(Identities.load(out / "identities.safetensors").vectors, people.vectors)

    lines = [json.loads(text) for text in (out / MANIFEST).read_text().splitlines()]
    assert [(line["identity"], line["k"]) for line in lines] == [(name, k) for name in people.names for k in range(2)]
    for line in lines:
        assert {"file", "identity", "k", "seed", "similarity", "judge_similarity", "match", "model"} <= line.keys()
        assert isinstance(line["match"], bool) and line["seed"] == 7 and line["model"] == model.name
        picture = Image.open(out / line["file"])
        assert (line["domain"], line["fmr"], line["compared"]) == ("rendered", 1e-3, "rendered")
        (score,) = model.scorer.score([picture.convert("RGB")], people[people.names.index(line["identity"])])
        assert line["similarity"] == pytest.approx(score.similarity, abs=1e-3)
        assert line["judge_similarity"] == pytest.approx(score.judge_similarity, abs=1e-3)
        said = provenance.read(out / line["file"])
        assert said["digital_source_type"] == provenance.SOURCE_TYPE
        assert (said["identity"], said["k"], said["seed"]) == (line["identity"], line["k"], 7)
    sheet = provenance.read(out / SHEET)
    assert (sheet["digital_source_type"], sheet["model"], sheet["seed"]) == (provenance.SOURCE_TYPE, model.name, 7)
    colours = {colour for _, colour in Image.open(out / SHEET).convert("RGB").getcolors(1 << 24)}
    assert (MATCH in colours) == any(line["match"] for line in lines)
    assert (NO_MATCH in colours) == (not all(line["match"] for line in lines))
    for item in model.pipeline.iterate(people, 2, seed=7, num_inference_steps=2):
        kept = Image.open(out / people.names[item.identity] / f"{item.k:02d}.png").convert("RGB")
        assert kept.tobytes() == item.image.tobytes()
        assert item.seed == image_seed(7, key(people.vectors[item.identity]), item.k)


def test_a_second_run_makes_nothing_and_a_third_only_what_is_missing(
    tmp_path: Path, model: Model, people: Identities
) -> None:
    out = make(people, tmp_path, model)
    before = everything(out)
    changed = {path: path.stat().st_mtime_ns for path in out.glob("*/*.png")}
    make(people, tmp_path, model)
    assert everything(out) == before
    gone = out / people.names[1] / "00.png"
    gone.unlink()
    make(people, tmp_path, model)
    assert everything(out) == before
    assert [path for path, when in changed.items() if path.stat().st_mtime_ns != when] == [gone]


def test_names_that_mean_more_than_a_name_become_numbers_in_paths(
    tmp_path: Path, model: Model, people: Identities
) -> None:
    named = Identities(people.vectors, people.space, people.sources, ["Manifest.jsonl", "CON", "anna"])
    out = make(named, tmp_path, model, images=1)
    lines = read_manifest(out)
    assert [line["file"] for line in lines] == ["000000/00.png", "000001/00.png", "anna/00.png"]
    assert [line["identity"] for line in lines] == list(named.names)
    assert list(make(named, tmp_path, model, images=1).rglob("*.png")) and len(pictures(out)) == 3


def test_more_pictures_are_added(tmp_path: Path, model: Model, people: Identities) -> None:
    few = pictures(make(people, tmp_path / "grown", model, images=1))
    grown = pictures(make(people, tmp_path / "grown", model, images=3))
    assert few.items() <= grown.items()
    assert grown == pictures(make(people, tmp_path / "whole", model, images=3, batch_size=2))
    assert len(read_manifest(tmp_path / "grown")) == 9


@pytest.mark.parametrize("after", [0, 1, 4])
def test_an_interrupted_run_goes_on(
    tmp_path: Path, model: Model, people: Identities, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    whole = everything(make(people, tmp_path / "whole", model, batch_size=2))
    saved, write = [], files.write

    def interrupted(path: Path, data: Any) -> Path:
        if path.suffix == ".png":
            if len(saved) == after:
                raise KeyboardInterrupt
            saved.append(path)
        return write(path, data)

    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(files, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make(people, out, model, batch_size=2)
    assert len(read_manifest(out)) == len(pictures(out)) == after
    assert not [path for path in out.rglob("*") if path.suffix == ".tmp"]
    with (out / MANIFEST).open("a") as manifest:
        manifest.write('{"file": "half a li')  # what a power cut leaves
    assert everything(make(people, out, model, batch_size=2)) == whole


def test_other_settings_are_refused(tmp_path: Path, model: Model, people: Identities) -> None:
    out = make(people, tmp_path / "out", model)
    before = everything(out)
    for options, why in (
        ({"seed": 8}, "seed 7, not 8"),
        ({"steps": 3}, "steps 2, not 3"),
        ({"guidance": 1.5}, "guidance"),
        ({"variation": 0.2}, r"variation 0, not cone:0\.8"),
    ):
        with pytest.raises(InputError, match=why):
            make(people, out, model, **options)
    with pytest.raises(InputError, match="other people"):
        make(people[:2], out, model)
    assert everything(out) == before


def test_overwriting_replaces_only_what_idgen_wrote(tmp_path: Path, model: Model, people: Identities) -> None:
    out = make(people, tmp_path / "out", model)
    (out / "notes.txt").write_text("mine")
    (out / people.names[0] / "notes.txt").write_text("mine")
    (tmp_path / "outside.png").write_text("mine")
    with (out / MANIFEST).open("a") as manifest:
        manifest.write(json.dumps({"file": "../outside.png", "identity": people.names[0], "k": 9}) + "\n")
    fresh = everything(make(people[:1], tmp_path / "fresh", model, seed=8))
    again = everything(make(people[:1], out, model, seed=8, overwrite=True))
    mine = {"notes.txt": b"mine", f"{people.names[0]}/notes.txt": b"mine"}
    assert again == {**fresh, **mine}
    assert (tmp_path / "outside.png").read_text() == "mine"


def test_files_of_others_are_not_touched(tmp_path: Path, model: Model, people: Identities) -> None:
    (tmp_path / MANIFEST).write_text("something else\n")
    with pytest.raises(InputError, match="another program"):
        make(people, tmp_path, model)
    assert everything(tmp_path) == {MANIFEST: b"something else\n"}


def test_variation_changes_the_person(tmp_path: Path, model: Model, people: Identities) -> None:
    same = pictures(make(people, tmp_path / "same", model))
    varied = pictures(make(people, tmp_path / "varied", model, variation=0.5))
    assert same.keys() == varied.keys() and not set(same.values()) & set(varied.values())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"images": 0}, "from 1 to 1,000, got 0"),
        ({"images": 10_000}, "from 1 to 1,000, got 10,000"),
        ({"images": 2.5}, "pictures a person is a whole number .* got 2.5"),
        ({"seed": "seven"}, "seed is a whole number .* got 'seven'"),
        ({"seed": -1}, "seed is .* got -1"),
        ({"steps": 0}, "steps"),
        ({"steps": 5000}, "steps"),
        ({"guidance": float("nan")}, "guidance"),
        ({"guidance": "1.4/2.4"}, "cannot be told how far a head is turned"),
        ({"variation": 1.5}, "variation"),
        ({"batch_size": 0}, "batch size"),
    ],
)
def test_arguments_that_cannot_be_used(
    tmp_path: Path, model: Model, people: Identities, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        make(people, tmp_path / "out", model, **options)
    assert not (tmp_path / "out").exists()


def test_identities_and_places_that_cannot_be_used(tmp_path: Path, model: Model, people: Identities) -> None:
    (tmp_path / "file").write_text("mine")
    other = Identities(people.vectors, "another-space", people.sources, people.names)
    short = torch.nn.functional.normalize(people.vectors[:, :-1])
    shorter = Identities(short, people.space, people.sources, people.names)
    for identities, out, why in (
        (other, "out", "another-space"),
        (shorter, "out", "numbers"),
        (people, "file", "Cannot write"),
        (people, "file/below", "Cannot write"),
    ):
        with pytest.raises(InputError, match=why):
            make(identities, tmp_path / out, model)
    assert everything(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize("variation", ["cone:1", "gaussian:0", 0.0])
def test_no_variation_still_means_other_pictures(
    tmp_path: Path, model: Model, people: Identities, variation: float | str
) -> None:
    out = make(people, tmp_path / "a", model, images=4, variation=variation)
    assert len(set(pictures(out).values())) == 12
    fewer = make(people[1:2], tmp_path / "b", model, images=2, variation=variation)
    assert set(pictures(fewer).items()) <= set(pictures(out).items())


@pytest.mark.parametrize("part", ["judge", "encoder", "denoiser"])
def test_another_judge_or_encoder_is_another_model(tmp_path: Path, tiny_model: Path, part: str) -> None:
    """Their scores stand beside the pictures."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    before = fingerprint(folder)
    path = next(path for path in sorted((folder / part).rglob("*.safetensors")))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert fingerprint(folder) != before


def test_what_it_paints_by_when_nobody_says_otherwise_is_part_of_a_model(tmp_path: Path, tiny_model: Path) -> None:
    """So nothing that was measured or begun with one guidance scale goes on with another."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    before, file = fingerprint(folder), folder / "model_index.json"
    index = json.loads(file.read_text())
    file.write_text(json.dumps(index | {"_diffusers_version": "0.1", "guidance_scale": index["guidance_scale"]}))
    assert fingerprint(folder) == before
    file.write_text(json.dumps(index | {"guidance_scale": index["guidance_scale"] + 0.5}))
    assert fingerprint(folder) != before


def test_what_was_asked_and_drawn_is_in_the_manifest(attributed_model: Path, tmp_path: Path) -> None:
    model = load_model(attributed_model)
    people = model.sampler.sample(2, 1)
    wishes = {"yaw": [10, 20], "glasses": True}
    folder = make(people, tmp_path / "a", model, attributes=wishes)
    lines = read_manifest(folder)
    for line in lines:
        assert 10 <= line["attributes"]["yaw"] <= 20
        assert line["attributes"]["glasses"] == "yes"
        assert {"smile", "expression", "beard"} <= line["attributes"].keys()
    source = read_source(folder)
    assert source.columns["yaw"].tolist() == [line["attributes"]["yaw"] for line in lines]

    # What it is guided by of its own, said.
    said = make(people, tmp_path / "said", model, attributes=wishes, guidance="1.4/2.4")
    assert [line["judge_similarity"] for line in read_manifest(said)] == [line["judge_similarity"] for line in lines]
    other = make(people, tmp_path / "other", model, attributes=wishes, guidance=2)
    assert [line["judge_similarity"] for line in read_manifest(other)] != [line["judge_similarity"] for line in lines]

    # A varied vector keeps its person's habits; asking again for other attributes is refused, for the same goes on.
    varied = make(people, tmp_path / "b", model, variation=0.5)
    for one, other in zip(lines, read_manifest(varied), strict=True):
        assert one["attributes"].get("beard") == other["attributes"].get("beard")
    make(people, folder, model, images=3, attributes=wishes)
    with pytest.raises(InputError, match=r"pictures with attributes .*yaw.*, not left open"):
        make(people, folder, model, images=3)

    alike = make(people, tmp_path / "c", model, as_in=folder, attributes={"yaw": None})
    smiles = {line["attributes"]["smile"] for line in read_manifest(folder)}
    assert all(line["attributes"]["smile"] in smiles for line in read_manifest(alike))
    with pytest.raises(InputError, match="does not say what its pictures look like"):
        make(people, tmp_path / "d", model, as_in=_unlabelled(tmp_path))


def _unlabelled(folder: Path) -> Path:
    place = folder / "plain" / "somebody"
    place.mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(place / "0.png")
    return folder / "plain"


def test_a_model_that_cannot_be_told_says_so(model: Model, people: Identities, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be told how a picture is to look"):
        make(people, tmp_path / "a", model, attributes={"yaw": 1})


def test_progress_counts_the_steps_inside_a_batch(
    tmp_path: Path, model: Model, people: Identities, capsys: pytest.CaptureFixture[str]
) -> None:
    moved: list[int] = []
    how: dict[str, Any] = {"num_inference_steps": 3, "callback_on_step_end": counting(moved.append, 3)}
    list(model.pipeline.iterate(people, 1, batch_size=2, **how))
    assert moved == [2, 2, 2, 1, 1, 1]
    make(people, tmp_path / "out", model, progress=True, images=1)
    said = capsys.readouterr().err
    assert "6/6" in said and "3 of 3 images" in said and "step/s" in said
    make(people, tmp_path / "out", model, progress=True)
    assert "12/12" in capsys.readouterr().err


def test_a_model_of_very_many_steps_is_said_to_be_slow(
    tmp_path: Path, model: Model, people: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idgen.painting.MANY_STEPS", model.pipeline.config.num_inference_steps)
    with pytest.warns(UserWarning, match=r"takes 15 steps, as the model was released: .*--fast"):
        make(people.take([0]), tmp_path / "out", model, steps=None, images=1)
