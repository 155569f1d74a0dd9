"""The command line as a user meets it: what works, and every wrong input in one sentence."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from idgen.cli import app
from idgen.ground.identity import FORMAT, VERSION, Identities
from idgen.model import load_model
from idgen.models import FaceFinderNet
from idgen.sets import read_manifest

Run = Callable[..., Any]


def with_finder(model: Path, copy: Path, heat: float) -> Path:
    """A copy of a model whose face finder answers the same everywhere: no face at -20, faces all over at 20."""
    shutil.copytree(model, copy)
    net = FaceFinderNet.from_pretrained(copy / "encoder" / "finder")
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.zero_()
        net.head.bias[0], net.head.bias[1] = heat, 1.2  # the faces are large, so there are few
    net.save_pretrained(copy / "encoder" / "finder")
    return copy


@pytest.fixture(scope="module")
def blind(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_finder(tiny_model, tmp_path_factory.mktemp("blind") / "model", -20.0)


@pytest.fixture(scope="module")
def seeing(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_finder(tiny_model, tmp_path_factory.mktemp("seeing") / "model", 20.0)


@pytest.fixture
def run(tiny_model: Path) -> Run:
    """Runs a command on the tiny model, in this process."""

    def call(*arguments: Any, model: Path = tiny_model) -> Any:
        return CliRunner().invoke(app, [*map(str, arguments), "--model", str(model)])

    return call


def refused(result: Any, *words: str) -> None:
    """Exit code 2, and one sentence on stderr with these words in it."""
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("Note: ")]
    assert len(lines) == 1, result.stderr
    assert lines[0].endswith((".", "?")) and "Traceback" not in result.output
    for word in words:
        assert word in lines[0], lines[0]


def photo(path: Path, size: tuple[int, int] = (96, 80), seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def contents(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_sample_generate_compare(tmp_path: Path, run: Run) -> None:
    people, out = tmp_path / "people.safetensors", tmp_path / "out"
    result = run("sample", "-n", 2, "--seed", 7, "--out", people)
    assert result.exit_code == 0, result.output
    assert "2 people" in result.stdout and "nearest" in result.stdout
    assert Identities.load(people).names == ("person-7-0000", "person-7-0001")

    result = run("generate", people, "--images", 2, "--steps", 2, "--out", out)
    assert result.exit_code == 0, result.output
    assert "4 pictures of 2 people" in result.stdout and "of 4 are the wanted person" in result.stdout
    assert len(read_manifest(out)) == 4

    result = run("compare", f"{people}#person-7-0000", f"{people}#person-7-0001", "--fmr", 0.01)
    assert result.exit_code == 0, result.output
    assert "says the encoder" in result.stdout
    result = run("compare", f"{people}#person-7-0000", f"{people}#person-7-0000", "--fmr", 0.01, "--json")
    said = json.loads(result.stdout)
    assert said["cosine"] == pytest.approx(1, abs=1e-5) and said["verdict"] == "same person"
    assert {"kind", "threshold", "judge_cosine", "judge_threshold", "fmr"} <= said.keys()


def test_sample_flag_is_sample_and_generate(tmp_path: Path, run: Run) -> None:
    run("sample", "-n", 2, "--seed", 3, "--out", tmp_path / "people.safetensors")
    options = ("--images", 1, "--steps", 1, "--seed", 3)
    first = run("generate", tmp_path / "people.safetensors", *options, "--out", tmp_path / "a")
    second = run("generate", "--sample", 2, *options, "--out", tmp_path / "b")
    assert first.exit_code == second.exit_code == 0, (first.output, second.output)
    made = [path for path in (tmp_path / "a").rglob("*.*") if path.suffix != ".safetensors"]
    assert len(made) == 5
    for path in made:
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_the_sphere_is_another_choice(tmp_path: Path, run: Run) -> None:
    for method in ("gaussian", "sphere"):
        assert run("sample", "--method", method, "--out", tmp_path / method).exit_code == 0
    vectors = [Identities.load(tmp_path / method).vectors for method in ("gaussian", "sphere")]
    assert not torch.allclose(*vectors)


def test_photos_become_an_identity_that_can_be_generated(tmp_path: Path, run: Run, seeing: Path) -> None:
    me, photos = tmp_path / "me.safetensors", [photo(tmp_path / f"holiday {i}.png", seed=i) for i in range(2)]
    result = run("identify", *photos, "--out", me, model=seeing)
    assert result.exit_code == 0, result.output
    (person,) = Identities.load(me)
    assert (person.name, person.source, person.from_photo) == ("holiday 0", "mean of 2 photos", True)
    result = run("generate", me, "--images", 1, "--steps", 1, "--out", tmp_path / "out", model=seeing)
    assert result.exit_code == 0, result.output
    result = run("compare", me, photos[0], "--fmr", 0.01, model=seeing)
    assert result.exit_code == 0 and "says the judge" in result.stdout, result.output


def test_of_several_faces_the_largest_is_taken_and_it_says_so(tmp_path: Path, run: Run, seeing: Path) -> None:
    result = run("identify", photo(tmp_path / "group.png"), "--out", tmp_path / "me.safetensors", model=seeing)
    assert result.exit_code == 0, result.output
    (note,) = result.stderr.splitlines()
    assert note.startswith("Note: ") and "group.png" in note and "the largest is taken" in note


def truncated(path: Path) -> None:
    photo(path)
    path.write_bytes(path.read_bytes()[:2000])


def animated(path: Path) -> None:
    first, *others = [Image.new("RGB", (32, 32), (shade, 0, 0)) for shade in (0, 99, 200)]
    first.save(path, "GIF", save_all=True, append_images=others)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(b""), ["photo.png"]),
        (lambda path: path.write_text("this is not a picture"), ["photo.png"]),
        (truncated, ["photo.png"]),
        (lambda path: Image.new("1", (30_000, 64)).save(path), ["30", "000"]),
        (animated, ["several frames"]),
        (Path.mkdir, ["photo.png", "folder"]),
        (lambda path: None, ["photo.png"]),
    ],
    ids=["empty", "text", "truncated", "huge", "animated", "folder", "missing"],
)
def test_pictures_that_cannot_be_read(
    tmp_path: Path, run: Run, seeing: Path, spoil: Callable[[Path], None], words: Sequence[str]
) -> None:
    spoil(tmp_path / "photo.png")
    before = contents(tmp_path)
    refused(run("identify", tmp_path / "photo.png", "--out", tmp_path / "me.safetensors", model=seeing), *words)
    refused(run("compare", tmp_path / "photo.png", tmp_path / "photo.png", "--fmr", 0.01, model=seeing), *words)
    assert contents(tmp_path) == before


def test_no_face(tmp_path: Path, run: Run, blind: Path) -> None:
    path = photo(tmp_path / "wall.png")
    refused(run("identify", path, "--out", tmp_path / "me.safetensors", model=blind), "No face found", "wall.png")
    refused(run("compare", path, path, "--fmr", 0.01, model=blind), "No face found", "wall.png")
    assert contents(tmp_path) == ["wall.png"]


def write(path: Path, vectors: torch.Tensor, space: str) -> Path:
    """An identities file as nobody but an attacker, or another program, writes it: nothing is checked."""
    names = [f"person {i}" for i in range(len(vectors))]
    metadata = {"format": FORMAT, "version": str(VERSION), "space": space}
    save_file({"vectors": vectors}, path, metadata | {"names": json.dumps(names), "sources": json.dumps(names)})
    return path


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda v: (v * float("nan"), None), ["NaN"]),
        (lambda v: (torch.nn.functional.normalize(v[:, :-1]), None), ["numbers"]),
        (lambda v: (v * 2, None), ["length 2, not 1"]),
        (lambda v: (v[:0], None), ["no identities"]),
        (lambda v: (v, "another-space"), ["another-space"]),
    ],
    ids=["NaN", "one-number-short", "not-unit", "none", "another-space"],
)
def test_identity_files_that_cannot_be_used(
    tmp_path: Path, tiny_model: Path, run: Run, spoil: Callable[[torch.Tensor], Any], words: Sequence[str]
) -> None:
    good = load_model(str(tiny_model)).sampler.sample(1, 0)
    vectors, space = spoil(good.vectors)
    path = write(tmp_path / "people.safetensors", vectors, space or good.space)
    refused(run("generate", path, "--steps", 1, "--out", tmp_path / "out"), *words)
    good.save(tmp_path / "good.safetensors")
    refused(run("compare", path, tmp_path / "good.safetensors", "--fmr", 0.01), *words)
    assert contents(tmp_path) == ["good.safetensors", "people.safetensors"]


def test_other_files_are_no_identities(tmp_path: Path, run: Run) -> None:
    (tmp_path / "text.safetensors").write_text("no")
    for people in (tmp_path / "text.safetensors", tmp_path / "missing.safetensors", photo(tmp_path / "me.png")):
        refused(run("generate", people, "--out", tmp_path / "out"), people.name)
    assert not (tmp_path / "out").exists()


def test_one_of_several_people_must_be_named(tmp_path: Path, run: Run) -> None:
    people = tmp_path / "people.safetensors"
    run("sample", "-n", 2, "--out", people)
    refused(run("compare", people, people), "2 people", "people.safetensors#NAME")
    refused(run("compare", f"{people}#nobody", people), "nobody called 'nobody'")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--images", "0"], ["from 1 to 1,000, got 0"]),
        (["--images", "10000"], ["got 10,000"]),
        (["--images", "eight"], ["--images", "'eight' is not a whole number"]),
        (["--seed", "lucky"], ["--seed", "'lucky' is not a whole number"]),
        (["--seed", "-1"], ["seed", "got -1"]),
        (["--sample", "0"], ["from 1"]),
        (["--steps", "0"], ["steps"]),
        (["--variation", "2"], ["variation"]),
        (["--guidance", "nan"], ["guidance"]),
        (["--batch-size", "0"], ["batch size"]),
        (["--model", "no-such-model"], ["no-such-model"]),
        (["--colour", "red"], ["--colour"]),
    ],
)
def test_options_that_cannot_be_used(
    tmp_path: Path, tiny_model: Path, options: Sequence[str], words: Sequence[str]
) -> None:
    arguments = ["generate", "--out", str(tmp_path / "out"), "--steps", "1", "--model", str(tiny_model)]
    arguments += [] if "--sample" in options else ["--sample", "1"]
    refused(CliRunner().invoke(app, [*arguments, *options]), *words)
    assert contents(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], ["fly"]),
        (["generate"], ["--out"]),
        (["generate", "--out", "out"], ["--sample"]),
        (["generate", "p.safetensors", "--sample", "1", "--out", "out"], ["--sample"]),
        (["compare", "a.png"], ["B"]),
        (["compare", "a", "b", "--fmr", "x"], ["--fmr"]),
    ],
)
def test_commands_that_do_not_exist_or_lack_something(arguments: list[str], words: list[str]) -> None:
    refused(CliRunner().invoke(app, arguments), *words)


def test_an_unknown_false_match_rate(tmp_path: Path, run: Run) -> None:
    run("sample", "--out", tmp_path / "p.safetensors")
    refused(run("compare", tmp_path / "p.safetensors", tmp_path / "p.safetensors", "--fmr", 0.5), "0.5")


def test_places_that_cannot_be_written(tmp_path: Path, run: Run, seeing: Path) -> None:
    blocked = photo(tmp_path / "photo.png")
    for arguments in (
        ["sample", "--out", blocked / "p.safetensors"],
        ["sample", "--out", tmp_path],
        ["identify", blocked, "--out", blocked / "p.safetensors"],
        ["generate", "--sample", 1, "--steps", 1, "--out", blocked],
        ["generate", "--sample", 1, "--steps", 1, "--out", blocked / "out"],
    ):
        refused(run(*arguments, model=seeing), "Cannot write")
    assert contents(tmp_path) == ["photo.png"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path, run: Run) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(run("generate", "--sample", 1, "--out", tmp_path / "locked" / "out"), "Cannot write", "permission")
    refused(run("sample", "--out", tmp_path / "locked" / "p.safetensors"), "Cannot write", "permission")


def test_a_run_with_other_settings_is_refused_and_overwritten_on_demand(tmp_path: Path, run: Run) -> None:
    arguments = ["generate", "--sample", 1, "--images", 1, "--steps", 1, "--out", tmp_path / "out"]
    assert run(*arguments, "--seed", 1).exit_code == 0
    before = contents(tmp_path)
    refused(run(*arguments, "--seed", 2), "--overwrite")
    assert contents(tmp_path) == before
    assert run(*arguments, "--seed", 2, "--overwrite").exit_code == 0
    assert {line["identity"] for line in read_manifest(tmp_path / "out")} == {"person-2-0000"}


def test_control_c_leaves_a_folder_to_go_on_from(tmp_path: Path, tiny_model: Path) -> None:
    import signal
    import time

    out = tmp_path / "out"
    command = [sys.executable, "-m", "idgen.cli", "generate", "--sample", "2", "--images", "60", "--steps", "20"]
    command += ["--batch-size", "2", "--out", str(out), "--model", str(tiny_model)]
    root = Path(__file__).parents[1]
    process = subprocess.Popen(
        command,
        cwd=root,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    manifest, deadline = out / "manifest.jsonl", time.monotonic() + 60
    while not (manifest.exists() and manifest.read_text().count("\n") >= 2) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "the same command goes on from there" in stderr and "Traceback" not in stderr
    kept = len(read_manifest(out))
    assert 2 <= kept < 120
    assert f"Interrupted with {kept} of 120" in stderr
    assert not [path for path in out.rglob("*") if path.suffix == ".tmp"]


def test_train_lists_networks_and_their_options() -> None:
    result = CliRunner().invoke(app, ["train", "--help"])
    assert result.exit_code == 0 and "recognizer" in result.stdout and "generator" in result.stdout
    result = CliRunner().invoke(app, ["train", "recognizer", "--help"])
    assert result.exit_code == 0
    assert "--batch-size" in result.stdout and "Peak learning rate" in result.stdout


def test_train_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    def train(*arguments: Any) -> Any:
        return CliRunner().invoke(app, ["train", *map(str, arguments)])

    given = ("--data", tmp_path / "none", "--out", tmp_path / "out")
    refused(train("unicorn"), "unicorn", "recognizer")
    refused(train("recognizer", "--out", tmp_path / "out"), "--data")
    refused(train("recognizer", *given, "--steps", "many"), "--steps", "'many'")
    refused(train("recognizer", *given, "--steps", "0"), "steps")
    refused(train("recognizer", *given, "--wings", "2"), "--wings")
    refused(train("recognizer", *given, "--recipe", tmp_path / "none.yaml"), "none.yaml")
    assert contents(tmp_path) == []


def test_the_app_says_where_it_cannot_listen(run: Run) -> None:
    pytest.importorskip("gradio")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("demo", "--port", taken.getsockname()[1])
    assert result.exit_code == 2 and "choose another --host or --port" in result.output
    result = run("demo", "--host", "no such host")
    assert result.exit_code == 2 and "no such host" in result.output
