"""From Arc2Face's official files to a folder, an identity from a photo, and pictures, by the commands."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import HubServer
from pages import blocks, lines, page
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_arc2face import build_official, lcm_lora
from typer.testing import CliRunner

pytest.importorskip("insightface")
from tiny_insight import build_pack, build_recognizer, red_face

from idgen.asking import portraits
from idgen.cli import app
from idgen.faces.align import align_ffhq
from idgen.faces.pose import pitch_from_landmarks, yaw_from_landmarks
from idgen.ground.errors import InputError
from idgen.ground.hub import REVISIONS
from idgen.ground.identity import Identities
from idgen.model import load_model
from idgen.painting import generate
from idgen.pipelines import Arc2FacePipeline
from idgen.pipelines.arc2face.normals import head_normals
from idgen.sets import read_manifest


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens as wide as the real vectors are long, so that these fit in."""
    folder = build_official(tmp_path_factory.mktemp("files") / "official", width=512)
    build_recognizer(folder / "arcface.onnx")
    return folder


def run(*arguments: object, code: int = 0) -> str:
    """What a command says that is to end with this code."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_from_files_to_pictures(official: Path, tmp_path: Path) -> None:
    model, me, out = tmp_path / "model", tmp_path / "me.safetensors", tmp_path / "out"
    build_pack(tmp_path / "antelopev2", "glintr100.onnx")
    run("convert", "arc2face", official, model, "--pack", tmp_path / "antelopev2", "--float32")
    assert {path.name for path in model.iterdir()} == {
        "README.md", "autoencoder", "denoiser", "encoder", "model_index.json", "scheduler", "text_encoder",
    }  # fmt: skip
    assert "non-commercial" in (model / "README.md").read_text()
    assert not list(model.rglob("*.bin")) and not list(model.rglob("glintr100.onnx"))

    red_face().save(tmp_path / "photo.png")
    said = run("identify", tmp_path / "photo.png", "--model", model, "--device", "cpu", "--out", me)
    assert "arcface.onnx on CPUExecutionProvider" in said and "non-commercial" in said
    assert Identities.load(me).space == "arcface-webface42m"

    options = ["--model", model, "--device", "cpu", "--images", 2, "--steps", 1, "--out", out]
    said = run("generate", me, *options)
    assert "no judge" in said and "literature" in said
    lines = read_manifest(out)
    assert len(lines) == 2 and all(line["match"] is None and line["judge_similarity"] is None for line in lines)
    loaded = load_model(model, device="cpu")
    assert isinstance(loaded.pipeline, Arc2FacePipeline)
    made = loaded.pipeline(Identities.load(me), 2, num_inference_steps=1).images
    assert Image.open(out / lines[1]["file"]).convert("RGB").tobytes() == made[1].tobytes()
    assert json.loads((out / "settings.json").read_text())["guidance"] == 3.0
    run("generate", me, *options)  # nothing is left to do

    other = Identities(Identities.load(me).vectors, "antelopev2", ["1 photo"], ["me"])
    other.save(tmp_path / "other.safetensors")
    said = run("generate", tmp_path / "other.safetensors", "--model", model, "--out", tmp_path / "no", code=2)
    assert "'antelopev2'" in said and not (tmp_path / "no").exists()
    assert "no sampler" in run("generate", "--sample", 2, "--model", model, "--out", tmp_path / "no", code=2)


def test_expression_and_pose_in_words_by_the_command(official: Path, tmp_path: Path) -> None:
    """What `--expression --controlnet` put into a folder is asked for as of every other model."""
    model, me = tmp_path / "model", tmp_path / "me.safetensors"
    run("convert", "arc2face", official, model, "--expression", "--controlnet", "--float32")
    Identities(torch.eye(512)[:1], "arcface-webface42m", ["1 photo"], ["me"]).save(me)
    how = ["generate", me, "--model", model, "--device", "cpu", "--images", 1, "--steps", 1]
    run(*how, "--out", tmp_path / "out", "--with", "expression=mouth open", "--with", "yaw=30")
    (line,) = read_manifest(tmp_path / "out")
    assert line["attributes"] == {"expression": "mouth open", "yaw": 30.0}
    pipeline = Arc2FacePipeline.from_pretrained(model)
    told = {"expression": "mouth open", "normals": head_normals(30, 0, pipeline.image_size)}
    assert told["normals"].size == (32, 32)
    (made,) = pipeline(Identities.load(me), num_inference_steps=1, **told).images
    assert Image.open(tmp_path / "out" / line["file"]).convert("RGB").tobytes() == made.tobytes()
    pipeline.register_modules(controlnet=None)
    pipeline._adapter = {}
    pipeline.save_pretrained(tmp_path / "bare")
    bare = [*how[:2], "--model", tmp_path / "bare", "--out", tmp_path / "no", "--with", "yaw=30"]
    assert "with --expression, for the pose with --controlnet" in run(*bare, code=2)
    assert "neutral or mouth open" in run(*how, "--out", tmp_path / "no", "--with", "expression=glad", code=2)


def test_a_photos_pose_and_a_photos_looks_by_the_command(official: Path, tiny_model: Path, tmp_path: Path) -> None:
    """The photo's largest face is cut out as FFHQ does, and its landmarks say where it points to."""
    folder, me, photo = tmp_path / "model", tmp_path / "me.safetensors", tmp_path / "photo.png"
    build_pack(tmp_path / "antelopev2", "glintr100.onnx")
    parts = ["--controlnet", "--expression", "--reference", "--pack", tmp_path / "antelopev2"]
    run("convert", "arc2face", official, folder, *parts, "--float32")
    assert "reference_adapter/pytorch_lora_weights.safetensors" in (folder / "README.md").read_text()
    red_face().save(photo)
    red_face(at=(40, 90)).save(tmp_path / "other.png")
    Identities(torch.eye(512)[:2], "arcface-webface42m", ["1 photo"] * 2, ["me", "you"]).save(me)
    asked = ["--with", f"pose={photo}", "--with", "expression=yawn", "--reference", photo]
    how = ["--model", folder, "--device", "cpu", "--images", 2, "--steps", 1]
    run("generate", me, *how, *asked, "--out", tmp_path / "asked")
    model, people = load_model(folder, device="cpu"), Identities.load(me)
    face = model.encoder.detect_and_align(photo)[1].landmarks
    pose = {"yaw": round(float(yaw_from_landmarks(face[None])[0]), 1)}
    pose["pitch"] = round(float(pitch_from_landmarks(face[None])[0]), 1)
    crop = align_ffhq(Image.open(photo).convert("RGB"), face, model.pipeline.image_size)
    told = {"expression": "yawn", "normals": head_normals(**pose, size=32)}
    made = model.pipeline(people, 2, num_inference_steps=1, reference=crop, **told).images
    for line, picture in zip(read_manifest(tmp_path / "asked"), made, strict=True):
        assert line["attributes"] == {**pose, "expression": "yawn"}
        assert Image.open(tmp_path / "asked" / line["file"]).convert("RGB").tobytes() == picture.tobytes()

    def kept(*references: Any, out: str = "kept", **more: Any) -> list[bytes]:
        paint = {"model": model, "steps": 1, "progress": False, **more}
        generate(people, tmp_path / out, 1, reference=[*references], **paint)
        return [(tmp_path / out / line["file"]).read_bytes() for line in read_manifest(tmp_path / out)]

    one, two = kept(photo), kept(photo, tmp_path / "other.png", out="two")
    assert one[0] == two[0] and one[1] != two[1] and kept(photo) == one
    for references, more, words in (
        ([tmp_path / "other.png"], {}, "pictures with reference"),
        ([photo] * 3, {"out": "no"}, "one for each of the 2 people"),
        ([photo], {"out": "no", "attributes": {"pose": photo, "yaw": 3}}, "leave these out"),
        ([photo], {"out": "no", "attributes": {"pose": "none.png"}}, r"no file none\.png"),
    ):
        with pytest.raises(InputError, match=words):
            kept(*references, **more)
    with pytest.raises(InputError, match="Give one reference for the one person, not 2"):
        portraits(model, [photo, photo], 1)
    own = ["generate", "--sample", 1, "--out", tmp_path / "no"]
    assert "keeps to no reference" in run(*own, "--reference", photo, code=2)
    assert "cannot be told" in run(*own, "--model", tiny_model, "--with", f"pose={photo}", code=2)
    assert not (tmp_path / "no").exists()


def test_half_precision_and_no_pack(official: Path, tmp_path: Path) -> None:
    assert "reads no photos" in run("convert", "arc2face", official, tmp_path / "half")
    half = Arc2FacePipeline.from_pretrained(tmp_path / "half", dtype=torch.float16)
    assert half.denoiser.dtype == half.text_encoder.dtype == torch.float16
    assert "no encoder" in run(
        "identify", "photo.jpg", "--model", tmp_path / "half", "--out", tmp_path / "me.safetensors", code=2
    )


def test_the_commit_that_was_fetched_is_in_the_card(official: Path, tmp_path: Path, hub: HubServer) -> None:
    """What idgen names is fetched at the commit it names; another one has to be asked for."""
    hub.repos["FoivosPar/Arc2Face"] = hub.repos["someone/base"] = official
    assert f"no revision '{REVISIONS['FoivosPar/Arc2Face']}'" in run(
        "convert", "arc2face", "FoivosPar/Arc2Face", tmp_path / "out", "--base", "someone/base", code=2
    )
    assert "newest is fetched with --revision main." in run(
        "convert", "arc2face", "FoivosPar/Arc2Face", tmp_path / "out", "--base", official, code=2
    )
    options = ["--base", "someone/base", "--revision", "main", "--float32"]
    run("convert", "arc2face", "FoivosPar/Arc2Face", tmp_path / "out", *options)
    said = run("convert", "arc2face", "FoivosPar/Arc2Face", tmp_path / "again", "--base", "someone/base", code=2)
    assert "what was fetched of main before is used with --revision main --base-revision main" in said
    card = (tmp_path / "out" / "README.md").read_text()
    for repository in ("FoivosPar/Arc2Face", "someone/base"):
        assert f"{repository} at {hashlib.sha1(repository.encode()).hexdigest()}" in card
    fetched = {name for _, name in hub.fetched}
    assert "encoder/pytorch_model.bin" in fetched and not any("controlnet" in name for name in fetched)


def test_the_page(official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python runs, in one step and at small width, and its commands parse."""
    (code,) = [code for code in blocks(page("docs/published.md"), "py") if "Arc2Face" in code]
    monkeypatch.chdir(tmp_path)
    pipeline = Arc2FacePipeline.from_pretrained(official, controlnet=True, expression=True, reference=True)
    pipeline.register_to_config(num_inference_steps=1)
    pipeline.save_pretrained("arc2face-told")
    lcm_lora(pipeline.denoiser, tmp_path / "lora.safetensors")
    Identities(torch.eye(512)[:1], "arcface-webface42m", ["1 photo"], ["me"]).save("me.safetensors")
    head_normals(size=pipeline.image_size).save("pose.png")
    Image.new("RGB", (pipeline.image_size,) * 2, "teal").save("crop.png")
    assert "few_step()" in code
    code = code.replace("few_step()", "few_step('lora.safetensors')")
    names: dict[str, Any] = {}
    exec(compile(code, "published.md", "exec"), names)
    assert len(names["pictures"]) == 4 and names["fast"].config.num_inference_steps == 3
    shutil.rmtree("arc2face-told")
    line, _ = [line for line in lines(page("docs/published.md"), "console") if "convert arc2face" in line]
    arguments = shlex.split(line)[1:]
    assert arguments[:3] == ["convert", "arc2face", "FoivosPar/Arc2Face"]
    said = run(*arguments, code=2)
    assert "arc2face/config.json" in said  # nothing can be fetched


def renamed(file: Path, ending: str) -> None:
    """A network's weights under another ending, as a pickle where that is what it says."""
    to = file.with_name(file.name.replace("safetensors", ending))
    torch.save(load_file(file), to) if ending.endswith("bin") else shutil.copy(file, to)
    file.unlink()


def test_what_people_have_on_disk(official: Path, tmp_path: Path) -> None:
    """The official program's folder as its README has it be filled, and other people's endings; the same weights."""
    run("convert", "arc2face", official, tmp_path / "plain", "--float32")
    models = shutil.copytree(official, tmp_path / "Arc2Face" / "models")
    build_pack(models / "antelopev2", "glintr100.onnx")
    (models / "antelopev2" / "glintr100.onnx").unlink()
    shutil.move(models / "arcface.onnx", models / "antelopev2")
    pickled = models / "encoder" / "pytorch_model.bin"
    save_file(torch.load(pickled, weights_only=True), models / "encoder" / "model.safetensors")
    pickled.unlink()
    renamed(models / "vae" / "diffusion_pytorch_model.safetensors", "bin")
    renamed(models / "arc2face" / "diffusion_pytorch_model.safetensors", "fp16.safetensors")
    for number, (source, pack) in enumerate([(models.parent, "antelopev2"), (models, models / "antelopev2")]):
        out = tmp_path / f"out-{number}"
        run("convert", "arc2face", source, out, "--float32", "--pack", pack)
        assert (out / "encoder" / "arcface.onnx").is_file()
        for part in ("denoiser", "autoencoder", "text_encoder"):
            (file,) = out.glob(f"{part}/*.safetensors")
            want = load_file(tmp_path / "plain" / part / file.name)
            assert all(torch.equal(want[name], value) for name, value in load_file(file).items())
    for wrong, right in ((tmp_path, models), (models / "arc2face", models)):
        said = run("convert", "arc2face", wrong, tmp_path / "no", code=2)
        assert said.endswith(f"but {right} has it: give that folder.")
    assert "pytorch_model.bin (nor encoder/model.safetensors nor" in run(
        "convert", "arc2face", _without_encoder(models), "no", code=2
    )


def _without_encoder(models: Path) -> Path:
    (models / "encoder" / "model.safetensors").unlink()
    return models


def test_more_is_fetched_of_a_commit_that_was_fetched_in_part(official: Path, tmp_path: Path, hub: HubServer) -> None:
    hub.repos["someone/arc2face"] = official
    commit = hashlib.sha1(b"someone/arc2face").hexdigest()
    for options in ([], ["--controlnet"]):
        how = ["--base", official, "--revision", commit, *options]
        run("convert", "arc2face", "someone/arc2face", tmp_path / f"out{len(options)}", *how)
    assert (tmp_path / "out1" / "controlnet").is_dir()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


FINDER = "PACK/scrfd_10g_bnkps.onnx"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
NET = "arc2face/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    ("damage", "options", "words"),
    [
        (lambda f: (f / NET).unlink(), [], f"no {NET} .*FoivosPar/Arc2Face"),
        (lambda f: shutil.copy(f / "vae" / Path(NET).name, f / NET), [], "weights of .*arc2face are missing"),
        (lambda f: cut(f / "arc2face" / "config.json"), [], "arc2face are of no such .*not a valid JSON"),
        (lambda f: cut(f / "scheduler" / "scheduler_config.json"), [], "schedule in .* cannot be read"),
        (lambda f: shutil.rmtree(f / "vae"), [], r"vae/config\.json.*of stable-diffusion-v1-5/\S+; .* by --base"),
        (lambda f: (f / "controlnet" / "config.json").unlink(), ["--controlnet"], r"no controlnet/config\.json"),
        (lambda f: cut(f / "exp_adapter" / "exp_adapter.bin"), ["--expression"], r"exp_adapter\.bin .*cut short"),
        (lambda f: None, ["--few-step"], r"pytorch_lora_weights\.safetensors of latent-consistency/lcm-lora-sdv1-5"),
        (lambda f: None, ["--lora", "none.safetensors"], r"no file none\.safetensors"),
        (lambda f: (f / "arcface.onnx").unlink(), ["--pack", "PACK"], r"no arcface\.onnx .*FoivosPar/Arc2Face"),
        (lambda f: cut(f / "arcface.onnx"), ["--pack", "PACK"], r"arcface\.onnx is damaged or was cut short"),
        (lambda f: shutil.copy(f.parent / FINDER, f / "arcface.onnx"), ["--pack", "PACK"], "no recognition network"),
        (lambda f: (f / NET).write_text(POINTER), [], f"{NET} is a git-lfs pointer.*git lfs pull"),
        (lambda f: (f / "arcface.onnx").write_text(POINTER), ["--pack", "PACK"], "git-lfs pointer"),
        (lambda f: cut(f.parent / FINDER), ["--pack", "PACK"], "scrfd.* cut short"),
        (lambda f: (f.parent / FINDER).unlink(), ["--pack", "PACK"], "no face detector"),
        (lambda f: shutil.copytree("PACK", "deep/antelopev2"), ["--pack", "deep"], r"too deep, in .*deep.antelopev2"),
    ],
)
def test_what_a_user_got_wrong_is_said_in_a_sentence(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any, options: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    build_pack(tmp_path / "PACK", "glintr100.onnx")
    files = shutil.copytree(official, tmp_path / "files")
    damage(files)
    result = CliRunner().invoke(app, ["convert", "arc2face", str(files), "out", *options])
    assert result.exit_code == 2 and not result.stdout, (result.output, result.exception)
    assert len(result.stderr.splitlines()) == 1 and re.search(words, result.stderr), result.stderr
    assert result.stderr.count(". ") == 0, result.stderr  # one sentence
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_what_is_missing_of_a_converted_folder(official: Path, tmp_path: Path) -> None:
    run("convert", "arc2face", official, tmp_path / "model", "--float32")
    for part, words in (("scheduler", "scheduler_config.json"), ("autoencoder", "config.json"), ("text_encoder", "")):
        broken = shutil.copytree(tmp_path / "model", tmp_path / part)
        shutil.rmtree(broken / part)
        with pytest.raises(InputError, match=f"{part}.*{words}"):
            Arc2FacePipeline.from_pretrained(broken)
    with pytest.raises(InputError, match="idgen convert arc2face FoivosPar/Arc2Face OUT"):
        load_model("FoivosPar/Arc2Face")


def test_what_is_there_stays(official: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no .onnx file" in run(
        "convert", "arc2face", official, tmp_path / "out", "--pack", tmp_path / "empty", code=2
    )
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert "exists already" in run("convert", "arc2face", official, tmp_path / "empty", code=2)
    assert "idgen convert arc2face" in run(
        "generate", "--sample", 1, "--model", official, "--out", tmp_path / "out", code=2
    )
