"""The command line as a user meets it: what works, and every wrong input in one sentence."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from idgen.cli import app
from idgen.cli.shell import group
from idgen.ground.identity import Identities
from idgen.model import load_model
from idgen.models import FaceFinderNet
from idgen.sets import read_manifest
from idgen.training import recipe

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def with_finder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """A copy of the model whose face finder answers the same everywhere: no face at -20, faces all over at 20."""

    def copy(heat: float) -> Path:
        model = shutil.copytree(tiny_model, tmp_path_factory.mktemp("finder") / "model")
        net = FaceFinderNet.from_pretrained(model / "encoder" / "finder")
        with torch.no_grad():
            net.head.weight.zero_()
            net.head.bias.zero_()
            net.head.bias[0], net.head.bias[1] = heat, 0.8  # faces so large that a photo holds but four
        net.save_pretrained(model / "encoder" / "finder")
        return model

    return copy


@pytest.fixture(scope="module")
def seeing(with_finder: Callable[[float], Path]) -> Path:
    return with_finder(20.0)


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


def done(result: Any) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def photo(path: Path, seed: int = 0) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (80, 96, 3), np.uint8)).save(path)
    return path


def contents(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_sample_generate_compare(tmp_path: Path, run: Run) -> None:
    people, out = tmp_path / "people.safetensors", tmp_path / "out"
    said = done(run("sample", "-n", 2, "--seed", 7, "--out", people))
    assert "2 people" in said and "nearest" in said
    assert Identities.load(people).names == ("person-7-0000", "person-7-0001")

    said = done(run("generate", people, "--images", 2, "--steps", 2, "--out", out))
    assert "4 pictures of 2 people" in said and "of 4 are the wanted person" in said
    assert len(read_manifest(out)) == 4

    one, other = (f"{people}#{name}" for name in Identities.load(people).names)
    assert "says the encoder" in done(run("compare", one, other, "--fmr", 0.01))
    said = json.loads(done(run("compare", one, one, "--fmr", 0.01, "--json")))
    assert said["cosine"] == pytest.approx(1, abs=1e-5) and said["verdict"] == "same person"
    assert {"kind", "threshold", "judge_cosine", "judge_threshold", "fmr"} <= said.keys()


def test_without_a_judge_it_says_what_the_encoders_cosines_mean(tmp_path: Path, run: Run, tiny_model: Path) -> None:
    bare = Path(shutil.copytree(tiny_model, tmp_path / "bare", ignore=shutil.ignore_patterns("judge")))
    command = ("generate", "--sample", 1, "--images", 1, "--steps", 1, "--out", tmp_path / "out")
    said = done(run(*command, model=bare))
    assert "no judge" in said and "or more counts as the same person" in said and "not measured here" not in said
    (bare / "encoder" / "calibration.json").unlink()
    assert "was not measured here" in done(run(*command, "--overwrite", model=bare))


def test_sample_flag_is_sample_and_generate(tmp_path: Path, run: Run) -> None:
    people, options = tmp_path / "people.safetensors", ("--images", 1, "--steps", 1, "--seed", 3, "--out")
    done(run("sample", "-n", 2, "--seed", 3, "--out", people))
    done(run("generate", people, *options, tmp_path / "a"))
    done(run("generate", "--sample", 2, *options, tmp_path / "b"))
    made = [path for path in (tmp_path / "a").rglob("*.*") if path.suffix != ".safetensors"]
    assert len(made) == 5
    for path in made:
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_the_sphere_is_another_choice(tmp_path: Path, run: Run) -> None:
    for method in ("gaussian", "sphere"):
        done(run("sample", "--method", method, "--out", tmp_path / method))
    assert not torch.allclose(*(Identities.load(tmp_path / method).vectors for method in ("gaussian", "sphere")))


def test_photos_become_an_identity_that_can_be_generated(tmp_path: Path, run: Run, seeing: Path) -> None:
    me, photos = tmp_path / "me.safetensors", [photo(tmp_path / f"holiday {i}.png", seed=i) for i in range(2)]
    result = run("identify", *photos, "--out", me, model=seeing)
    assert done(result)
    notes = result.stderr.splitlines()
    assert all(note.startswith("Note: ") for note in notes) and "the largest is taken" in notes[0]
    assert "holiday 0.png" in notes[0] and "see for yourself" in notes[-1]  # whether noise is one person
    (person,) = Identities.load(me)
    assert (person.name, person.source, person.from_photo) == ("holiday 0", "mean of 2 photos", True)
    done(run("generate", me, "--images", 1, "--steps", 1, "--out", tmp_path / "out", model=seeing))
    said = done(run("compare", me, photos[0], "--fmr", 0.01, model=seeing))
    assert "No verdict" in said and "was not measured on photographs" in said and "threshold" not in said
    said = done(run("compare", me, photos[0], "--fmr", 0.01, "--domain", "rendered", model=seeing))
    assert "says the judge" in said and "measured on rendered pictures" in said
    (line,) = read_manifest(tmp_path / "out")
    assert (line["match"], line["domain"], line["compared"]) == (None, None, "rendered against photographs")


def test_no_face(tmp_path: Path, run: Run, with_finder: Callable[[float], Path]) -> None:
    path, blind = photo(tmp_path / "wall.png"), with_finder(-20.0)
    refused(run("identify", path, "--out", tmp_path / "me.safetensors", model=blind), "No face found", "wall.png")
    refused(run("compare", path, path, "--fmr", 0.01, model=blind), "No face found", "wall.png")
    assert contents(tmp_path) == ["wall.png"]


@pytest.fixture(scope="module")
def files(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two people, the same of another space, a photo, and texts that call themselves something else."""
    folder = tmp_path_factory.mktemp("files")
    people = load_model(tiny_model).sampler.sample(2, 0)
    people.save(folder / "people.safetensors")
    Identities(people.vectors, "another-space", people.sources, people.names).save(folder / "other.safetensors")
    photo(folder / "photo.png")
    for name in ("text.png", "text.safetensors"):
        (folder / name).write_text("no")
    return folder


ONE = "generate --sample 1 --steps 1 --out out"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fly", ["fly"]),
        ("generate", ["--out"]),
        ("generate --out out", ["--sample"]),
        ("generate people.safetensors --sample 1 --out out", ["--sample"]),
        ("generate --sample 0 --out out", ["from 1"]),
        (f"{ONE} --images 0", ["from 1 to 1,000, got 0"]),
        (f"{ONE} --images eight", ["--images", "'eight' is not a whole number"]),
        (f"{ONE} --seed lucky", ["--seed", "'lucky' is not a whole number"]),
        (f"{ONE} --variation 2", ["variation"]),
        (f"{ONE} --model no-such-model", ["no-such-model"]),
        (f"{ONE} --colour red", ["--colour"]),
        ("generate text.safetensors --out out", ["text.safetensors"]),
        ("generate missing.safetensors --out out", ["missing.safetensors"]),
        ("generate photo.png --out out", ["photo.png"]),
        ("generate other.safetensors --out out", ["another-space"]),
        ("identify text.png --out me.safetensors", ["text.png"]),
        ("identify missing.png --out me.safetensors", ["missing.png"]),
        ("identify . --out me.safetensors", ["folder"]),
        ("compare text.png photo.png --fmr 0.01", ["text.png"]),
        ("compare photo.png", ["B"]),
        ("compare a b --fmr x", ["--fmr"]),
        ("compare people.safetensors#person-0-0000 people.safetensors#person-0-0001 --fmr 0.5", ["0.5"]),
        ("compare people.safetensors people.safetensors", ["2 people", "people.safetensors#NAME"]),
        ("compare people.safetensors#nobody photo.png", ["nobody called 'nobody'"]),
        ("sample --out photo.png/p.safetensors", ["Cannot write"]),
        ("sample --out .", ["Cannot write"]),
        ("identify photo.png --out photo.png/p.safetensors", ["Cannot write"]),
        (f"{ONE} --out photo.png", ["Cannot write"]),
        (f"{ONE} --out photo.png/out", ["Cannot write"]),
        ("train unicorn", ["unicorn", "recognizer"]),
        ("train recognizer --out out", ["--data"]),
        ("train recognizer --data none --out out --steps 0", ["steps"]),
        ("train recognizer --data none --out out --wings 2", ["--wings"]),
    ],
)
def test_what_cannot_be_used(
    line: str, words: list[str], files: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    model = [] if "--model" in line or line.startswith("train") else ["--model", str(tiny_model)]
    before = contents(files)
    refused(CliRunner().invoke(app, [*line.split(), *model]), *words)
    assert contents(files) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path, run: Run) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    refused(run("generate", "--sample", 1, "--out", tmp_path / "locked" / "out"), "Cannot write", "permission")
    refused(run("sample", "--out", tmp_path / "locked" / "p.safetensors"), "Cannot write", "permission")


def test_a_run_with_other_settings_is_refused_and_overwritten_on_demand(tmp_path: Path, run: Run) -> None:
    arguments = ["generate", "--sample", 1, "--images", 1, "--steps", 1, "--out", tmp_path / "out"]
    done(run(*arguments, "--seed", 1))
    before = contents(tmp_path)
    refused(run(*arguments, "--seed", 2), "--overwrite")
    assert contents(tmp_path) == before
    done(run(*arguments, "--seed", 2, "--overwrite"))
    assert {line["identity"] for line in read_manifest(tmp_path / "out")} == {"person-2-0000"}


def test_control_c_leaves_a_folder_to_go_on_from(tmp_path: Path, tiny_model: Path) -> None:
    out = tmp_path / "out"
    command = f"-m idgen generate --sample 2 --images 60 --steps 20 --batch-size 2 --out {out} --model {tiny_model}"
    process = subprocess.Popen(
        [sys.executable, *command.split()],
        cwd=Path(__file__).parents[1],
        stderr=subprocess.PIPE,
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


def test_options_of_a_training_are_listed_without_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And what needs it says so, before anything is read."""
    for name in ("datasets", "pytorch_metric_learning", "pytorch_metric_learning.losses"):
        monkeypatch.setitem(sys.modules, name, None)
    for name, module in [*sys.modules.items()]:
        if name.startswith("idgen.training."):
            package, _, place = name.rpartition(".")
            if package in sys.modules:  # so that it stands there again afterwards
                monkeypatch.setattr(sys.modules[package], place, module)
            monkeypatch.delitem(sys.modules, name)
    for network in recipe.TRAINERS:
        assert "--out" in done(CliRunner().invoke(app, ["train", network, "--help"])), network
    result = CliRunner().invoke(app, ["train", "judge", "--data", "none", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2 and "pytorch_metric_learning" in result.output and "[train]" in result.output


def test_train_lists_networks_and_their_options() -> None:
    said = done(CliRunner().invoke(app, ["train", "--help"]))
    assert "recognizer" in said and "generator" in said
    said = done(CliRunner().invoke(app, ["train", "recognizer", "--help"]))
    assert "--batch-size" in said and "Peak learning rate" in said


def test_the_app_says_where_it_cannot_listen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("demo", "--port", taken.getsockname()[1])
    assert result.exit_code == 2 and "choose another --host or --port" in result.output
    for port in (0, 65536):
        result = run("demo", "--port", port)
        assert result.exit_code == 2 and f"The port is a whole number from 1 to 65,535, got {port:,}." in result.output
    monkeypatch.setenv("GRADIO_SERVER_PORT", "http")
    result = run("demo")
    assert result.exit_code == 2 and "The port in GRADIO_SERVER_PORT is a whole number" in result.output
    monkeypatch.delenv("GRADIO_SERVER_PORT")
    result = run("demo", "--host", "no such host")
    assert result.exit_code == 2 and "no such host" in result.output


def test_how_and_who_are_asked_for(run: Run, attributed_model: Path, tiny_model: Path, tmp_path: Path) -> None:
    people = tmp_path / "people.safetensors"
    done(run("sample", "-n", 4, "--who", "gender=female", "--out", people, model=attributed_model))
    traits = load_model(attributed_model).traits(Identities.load(people).vectors)
    assert (traits[:, 0] < 0.5).all()
    asked = ["--with", "yaw=30", "--with", "expression=laugh", "--with", "glasses=yes", "--images", 1]
    done(run("generate", people, "--out", tmp_path / "a", *asked, model=attributed_model))
    for line in read_manifest(tmp_path / "a"):
        told = line["attributes"]
        assert (told["yaw"], told["expression"], told["glasses"]) == (30, "laugh", "yes")
    for words, said in {
        ("yaw=200",): "yaw is a number from -60 to 60 degrees, got 200",
        ("yaw=left",): "got 'left'",
        ("yaw=1", "yaw=2"): "yaw is asked for twice",
        ("smle=1",): "There is no attribute 'smle': this model knows beard",
        ("smile",): "NAME=VALUE",
        ("yaw=[1,",): "YAML such as",
        ("glasses={yes: 0.7, no: 0.6}",): "sum to at most 1",
    }.items():
        wishes = [part for word in words for part in ("--with", word)]
        refused(run("generate", people, "--out", tmp_path / "b", *wishes, model=attributed_model), said)
        assert not (tmp_path / "b").exists()
    refused(run("sample", "--who", "age=old", "--out", tmp_path / "x.safetensors"), "leave out `who`")
    refused(run("sample", "--who", "age=9", "--out", tmp_path / "x.safetensors"), "young or middle or old")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_console_that_lacks_letters(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    console = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(console, encoding))
    with pytest.raises(SystemExit) as ended:
        app(["sample", "--seed", "3", "--out", str(tmp_path / "名.safetensors"), "--model", str(tiny_model)])
    sys.stdout.flush()
    assert ended.value.code == 0 and (tmp_path / "名.safetensors").is_file()
    assert b"\\u540d.safetensors" in console.getvalue() or "名".encode() in console.getvalue()


def test_a_package_that_refuses_another_ones_version_is_said() -> None:
    """As transformers 4 does with huggingface_hub 1."""
    commands = group("Packages.")

    @commands.command("one")
    def one() -> None:
        raise ImportError("huggingface-hub<1.0 is required, but found 1.33.\nTry: this")

    @commands.command("ours")
    def ours() -> None:
        raise ImportError("cannot import name", name="idgen.model")

    result = CliRunner().invoke(commands, ["one"])
    assert result.exit_code == 2 and "(huggingface-hub<1.0 is required, but found 1.33)" in result.stderr
    assert isinstance(CliRunner().invoke(commands, ["ours"]).exception, ImportError)
