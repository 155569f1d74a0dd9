"""Downloads of IDiff-Face and UIFace, in the official layout and with every official tensor, at small width."""

from __future__ import annotations

import shlex
import shutil
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, VQModel
from pages import blocks, lines, page
from painted import relative, unit_vectors
from PIL import Image
from reference import idiff_face as official
from safetensors.torch import load_file
from tiny import patterns
from typer.testing import CliRunner

from idgen.cli import app
from idgen.convert.idiff_face import ELASTICFACE, IDIFF_FACE, UIFACE, VQ_F4, Family, convert, read_contexts, vq_name
from idgen.faces.encoder import FaceEncoder
from idgen.ground.errors import InputError
from idgen.ground.identity import Identities
from idgen.model import load_model
from idgen.models import IResNetRecognizer
from idgen.models.recognizer import ResNetRecognizer
from idgen.pipelines import IDiffFacePipeline, UIFacePipeline
from idgen.pipelines.schedulers import IDiffFaceScheduler, UIFaceScheduler

UNET: dict[str, Any] = {"channels": (8, 16, 24, 32), "head_dim": 8, "norm_groups": 8, "context_dim": 16}
VQ: dict[str, Any] = {"block_out_channels": (32, 64, 96), "num_vq_embeddings": 64}
IRESNET: dict[str, Any] = {"channels": (8, 8), "blocks": (1, 2)}
SIZES: dict[str, Any] = {"unet": UNET, "vq": VQ}
MODEL = "trained_models/unet-cond-ca-bs512-150K-cpd25"
CHECKPOINT = f"{MODEL}/checkpoints/ema_averaged_model.ckpt"
DECODER = "models/autoencoder/first_stage_decoder_state_dict.pt"


def unet_weights(empty: bool) -> official.Weights:
    shapes = official.unet_shapes((8, 16, 24, 32), head=8, context=16, empty=empty)
    return official.random_weights(shapes, seed=1)


def vq_weights() -> tuple[official.Weights, official.Weights]:
    encoder, decoder = (official.random_weights(shapes, 2) for shapes in official.vq_shapes(32, (1, 2, 3), 64))
    return encoder, decoder


def same(ours: official.Weights, theirs: official.Weights) -> bool:
    """Whether two networks have the same weights, to the last bit."""
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], value) for name, value in theirs.items())


def contexts(count: int = 4) -> dict[str, np.ndarray]:
    return {f"id_{row}": vector for row, vector in enumerate(unit_vectors(count, 512, seed=4).numpy())}


def write(root: Path, empty: bool = False, wrapper: str = "") -> Path:
    """The files of a repository after everything was downloaded."""
    for folder in (f"{MODEL}/checkpoints", f"{MODEL}/.hydra", "models/autoencoder", "samples", "utils"):
        (root / folder).mkdir(parents=True)
    torch.save(official.checkpoint(unet_weights(empty), wrapper), root / CHECKPOINT)
    (root / MODEL / ".hydra" / "config.yaml").write_text(f"_target_: os.mkdir\npath: {root}/hydra-was-here\n")
    encoder, decoder = vq_weights()
    torch.save(encoder, root / "models" / "autoencoder" / "first_stage_encoder_state_dict.pt")
    torch.save(decoder, root / DECODER)
    torch.save(contexts(), root / "samples" / "random_synthetic_uniform_4.npy")
    return root


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write(tmp_path_factory.mktemp("official"))


@pytest.fixture
def copy(download: Path, tmp_path: Path) -> Path:
    return shutil.copytree(download, tmp_path / "download")


@pytest.fixture(scope="module")
def converted(download: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "idiff-face"
    return convert(IDIFF_FACE, download, out, contexts=download / "samples" / "random_synthetic_uniform_4.npy", **SIZES)


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    tensors = torch.load(path, weights_only=True)
    edit(tensors)
    torch.save(tensors, path)


# ---------------------------------------------------------------- what comes out


def test_every_weight_arrives_to_the_last_bit(download: Path, converted: Path) -> None:
    keys = torch.load(download / CHECKPOINT, weights_only=True)
    assert len(keys) == 850 and sum(not key.startswith("eps_model.") for key in keys) == 8
    expected = unet_weights(False)
    assert expected.keys() == official.unet_shapes().keys()
    assert same(load_file(converted / "denoiser" / "diffusion_pytorch_model.safetensors"), expected)
    weights = load_file(converted / "autoencoder" / "diffusion_pytorch_model.safetensors")
    parts = {name: value for part in vq_weights() for name, value in part.items()}
    assert weights.keys() == {vq_name(name) for name in parts} and len(weights) == 90 + 115
    for name, value in parts.items():
        assert torch.equal(weights[vq_name(name)].flatten(), value.flatten()), name
    assert not [path for path in converted.rglob("*") if path.suffix in (".bin", ".pt", ".ckpt", ".pth")]
    assert not (download / "hydra-was-here").exists()  # what .hydra/config.yaml would do


def test_it_loads_in_one_line_and_paints_what_the_official_maths_paints(converted: Path) -> None:
    pipe = IDiffFacePipeline.from_pretrained(converted)
    assert type(pipe.scheduler) is IDiffFaceScheduler and pipe.scheduler.config.variance_type == "fixed_large"
    assert (pipe.config.num_inference_steps, pipe.config.guidance_scale) == (1000, 1.0)
    assert pipe.config.space == ELASTICFACE
    people = Identities.load(converted / "identities.safetensors")
    item = next(pipe.iterate(people, num_inference_steps=2, output_type="latent"))
    generator = torch.Generator().manual_seed(item.seed)
    x = torch.randn(1, 3, 32, 32, generator=generator)
    w, (_, decoder) = unet_weights(False), vq_weights()
    scheduler = IDiffFaceScheduler.from_config(pipe.scheduler.config)
    scheduler.set_timesteps(2)
    for t in scheduler.timesteps:
        noise = official.unet(w, x, t[None], people.vectors[:1], 8, 8).float()
        x = scheduler.step(noise, t, x, generator=generator, return_dict=False)[0]
    torch.testing.assert_close(item.image[None], x, rtol=1e-4, atol=1e-4)
    image = next(pipe.iterate(people, num_inference_steps=2, output_type="pt")).image
    expected = (official.vq_decode(decoder, item.image[None]) / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(image[None].double(), expected, rtol=0, atol=1e-3)
    again = DiffusionPipeline.from_pretrained(converted)
    assert type(again) is IDiffFacePipeline and type(again.scheduler) is IDiffFaceScheduler


def test_prefixes_of_wrappers(tmp_path: Path) -> None:
    root = write(tmp_path / "download", wrapper="_forward_module.module.")
    out = convert(IDIFF_FACE, root / MODEL, tmp_path / "out", **SIZES)
    assert same(load_file(out / "denoiser" / "diffusion_pytorch_model.safetensors"), unet_weights(False))


@pytest.mark.parametrize("prefix", ["eps_model.", ""])
def test_the_network_alone_is_of_the_published_schedule(copy: Path, tmp_path: Path, prefix: str) -> None:
    weights = unet_weights(False)
    torch.save({f"{prefix}{name}": value for name, value in weights.items()}, copy / CHECKPOINT)
    out = convert(IDIFF_FACE, copy, tmp_path / "out", **SIZES)
    assert same(load_file(out / "denoiser" / "diffusion_pytorch_model.safetensors"), weights)


@pytest.mark.parametrize(
    ("edit", "note"),
    [
        (lambda t: {name: t[name] for name in t if name.startswith("eps_model.")}, ""),
        (lambda t: {name.removeprefix("eps_model."): value for name, value in t.items()}, ""),
        (lambda t: {name.replace("eps_model.", "eps_model.module."): value for name, value in t.items()}, ""),
        (lambda t: {name: value for name, value in t.items() if name != "sigmas"}, ""),
        (lambda t: {**t, "ema.decay": torch.zeros(3)}, "ema.decay beside the U-Net: left out"),
        (lambda t: {**unet_weights(True), "step": torch.tensor(9)}, "step beside the U-Net: left out"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_uiface_as_other_programs_saved_it(tmp_path: Path, edit: Any, note: str, download: Path) -> None:
    (tmp_path / "uiface" / "weights").mkdir(parents=True)
    torch.save(edit(official.checkpoint(unet_weights(True), "")), tmp_path / "uiface" / "weights" / "any name.pt")
    stage = (download / DECODER).parent
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        out = convert(UIFACE, tmp_path / "uiface", tmp_path / "out", autoencoder=stage, **SIZES)
    assert [note in str(one.message) for one in said if one.category is UserWarning] == [True] * bool(note)
    assert same(load_file(out / "denoiser" / "diffusion_pytorch_model.safetensors"), unet_weights(True))


@pytest.mark.parametrize("bare", [False, True], ids=["with its schedule", "the network alone"])
def test_uiface(tmp_path: Path, bare: bool) -> None:
    root = write(tmp_path / "download", empty=True)
    folder = tmp_path / "uiface"
    folder.mkdir()
    weights = unet_weights(True)
    torch.save(weights if bare else official.checkpoint(weights, "module."), folder / "model_900000.ckpt")
    rows = np.random.default_rng(0).normal(size=(5, 512))
    np.save(folder / "contexts.npy", rows)
    out = convert(
        UIFACE, folder, tmp_path / "out", autoencoder=(root / DECODER).parent, contexts=folder / "contexts.npy", **SIZES
    )
    pipe = load_model(out).pipeline
    assert type(pipe) is UIFacePipeline and type(pipe.scheduler) is UIFaceScheduler
    assert (pipe.config.num_inference_steps, pipe.config.guidance_scale, pipe.config.space) == (50, 2.0, "uiface")
    assert torch.equal(pipe.denoiser.empty_context_embedding, weights["empty_context_embedding"])
    people = Identities.load(out / "identities.safetensors")
    assert people.names == ("0", "1", "2", "3", "4") and people[0].from_photo
    np.testing.assert_allclose(people.vectors.numpy(), rows / np.linalg.norm(rows, axis=1)[:, None], atol=1e-7)
    assert next(pipe.iterate(people, num_inference_steps=2)).image.size == (128, 128)
    plain = IDiffFacePipeline.from_pretrained(out)
    assert type(plain) is IDiffFacePipeline and plain.config.guidance_scale == 2.0


def test_pictures_of_the_size_that_uifaces_own_program_writes(download: Path, tmp_path: Path) -> None:
    """Bilinear, without smoothing, after they were brought to 0 … 1: `F.interpolate`, as there."""
    out = convert(IDIFF_FACE, download, tmp_path / "out", size=112, **SIZES)
    pipe, whole = IDiffFacePipeline.from_pretrained(out), IDiffFacePipeline.from_pretrained(out, picture_size=0)
    how: dict[str, Any] = {"num_inference_steps": 1, "output_type": "pt"}
    people = unit_vectors(2, 512, seed=4)
    expected = torch.nn.functional.interpolate(whole(people, **how).images, (112, 112), mode="bilinear")
    assert torch.equal(pipe(people, **how).images, expected)
    assert torch.equal(pipe(people, batch_size=1, **how).images, expected)
    refused(download, tmp_path / "no", "size of the pictures is a whole number from 16 to 1,024, got 0", size=0)


# ---------------------------------------------------------------- the first stage


@pytest.fixture(scope="module")
def first_stage(converted: Path) -> VQModel:
    return VQModel.from_pretrained(converted / "autoencoder")


@torch.no_grad()
def test_the_first_stage_computes_what_the_official_one_does(first_stage: VQModel) -> None:
    encoder, decoder = vq_weights()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1
    latents, expected = first_stage.encode(pixels).latents, official.vq_encode(encoder, pixels)
    assert relative(latents, expected) < 1e-5
    drawn = torch.randn(2, 3, 16, 16, generator=generator)
    decoded, expected = first_stage.decode(drawn).sample, official.vq_decode(decoder, drawn)
    assert relative(decoded, expected) < 1e-4
    assert first_stage.config.scaling_factor == 1.0


def test_the_published_sizes() -> None:
    with torch.device("meta"):
        own = {name: tuple(value.shape) for name, value in VQModel(**VQ_F4).state_dict().items()}
    shapes = {name: shape for part in official.vq_shapes() for name, shape in part.items()}
    linear = (1, 1)
    flat = {vq_name(n): s[:2] if ".attn_1." in n and s[2:] == linear else s for n, s in shapes.items()}
    assert own == flat and len(own) == 205


# ---------------------------------------------------------------- the encoder


def test_the_encoder(copy: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = IResNetRecognizer(**IRESNET)
    torch.save(network.state_dict(), copy / "utils" / "Elastic_R100_295672backbone.pth")
    out = convert(IDIFF_FACE, copy, tmp_path / "out", **SIZES, iresnet=IRESNET)
    encoder = FaceEncoder.from_pretrained(out / "encoder")
    assert (encoder.space, encoder.alignment, encoder.flip) == (ELASTICFACE, "ffhq", False)
    assert same(encoder.recognizer.state_dict(), network.state_dict())
    assert encoder.finder is not None and "ElasticFace" in (out / "README.md").read_text()


def test_uiface_gets_a_judge_by_the_recogniser_that_is_named(
    download: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its authors name none, so that it is the caller's to say; `idgen identify` then makes vectors for it."""
    monkeypatch.chdir(tmp_path)
    torch.save(unet_weights(True), tmp_path / "model.ckpt")
    out = convert(
        UIFACE, tmp_path / "model.ckpt", tmp_path / "uiface", autoencoder=(download / DECODER).parent, **SIZES
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = {"theirs": IResNetRecognizer(**IRESNET), "judge": ResNetRecognizer((8, 16), (1, 1), 48)}
    for name, network in networks.items():
        FaceEncoder(network, space=name).save_pretrained(tmp_path / name)
    pictures, labels = patterns(20, 2, seed=3)
    for number, (picture, label) in enumerate(zip(pictures, labels.tolist(), strict=True)):
        (tmp_path / "SET" / f"p{label}").mkdir(parents=True, exist_ok=True)
        pixels = (picture.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "SET" / f"p{label}" / f"{number}.png")
    add = "model add uiface --people SET --aligned --steps 2 --images 2 --judge"
    for command, code, words in (
        (f"{add} judge", 2, "has no encoder: name the recogniser whose vectors it takes with --encoder"),
        (f"{add} theirs --encoder theirs", 2, "both 'theirs': an encoder may not judge itself"),
        (f"{add} judge --encoder theirs", 0, "people from photographs, painted"),
        ("identify SET/p0/0.png --aligned --model uiface --out me.safetensors", 0, "me.safetensors"),
        ("generate me.safetensors --model uiface --images 2 --steps 2 --fmr 0.01 --out faces", 0, "independent judge"),
    ):
        result = CliRunner().invoke(app, shlex.split(command))
        assert result.exit_code == code and words in " ".join(result.output.split()), result.output
    model = load_model(out)
    assert model.encoder.space == UIFACE.space == Identities.load(tmp_path / "me.safetensors").space
    assert same(model.encoder.recognizer.state_dict(), networks["theirs"].state_dict())


# ---------------------------------------------------------------- the identities


@pytest.mark.parametrize("form", ["numpy 2", "numpy 1", "zip"])
def test_contexts_are_read_as_they_are(tmp_path: Path, form: str) -> None:
    path = tmp_path / "random_synthetic_uniform_4.npy"
    torch.save(contexts(), path, _use_new_zipfile_serialization=form == "zip")
    if form == "numpy 1":
        data = path.read_bytes()
        path.write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
        assert (path.read_bytes() != data) is (int(np.__version__.split(".")[0]) >= 2)
    people = read_contexts(path, IDIFF_FACE)
    expected = contexts()
    assert people.names == tuple(expected) and people.space == ELASTICFACE
    np.testing.assert_array_equal(people.vectors.numpy(), np.stack(list(expected.values())))
    assert not people[0].from_photo and people[0].source == "sampled, random_synthetic_uniform_4.npy"
    other = path.rename(tmp_path / "random_elasticface_ffhq_4.npy")
    assert read_contexts(other, IDIFF_FACE)[0].from_photo


@pytest.mark.parametrize(
    ("family", "content", "words"),
    [
        (IDIFF_FACE, {}, "does not hold a name and a vector"),
        (IDIFF_FACE, [1.0], "does not hold a name and a vector"),
        (IDIFF_FACE, {"a": np.ones(4, "f"), "b": np.ones(5, "f")}, "does not hold a name and a vector"),
        (IDIFF_FACE, {"a": np.full(4, 3, "f")}, "length 6"),
        (IDIFF_FACE, {"a": np.full(4, np.nan, "f")}, "NaN"),
        (IDIFF_FACE, {"a": np.array([None], object)}, "could run code"),
        (UIFACE, np.zeros((2, 4)), "length 0"),
        (UIFACE, np.ones(4), "not vectors"),
        (UIFACE, np.ones((2, 4), int), "not vectors"),
        (UIFACE, np.array([["a"]], object), "cannot be read"),
        (UIFACE, None, "cannot be read"),
    ],
)
def test_other_contexts_are_refused(tmp_path: Path, family: Family, content: Any, words: str) -> None:
    path = tmp_path / "contexts.npy"
    if family is IDIFF_FACE:
        torch.save(content, path)
    else:
        np.save(path, np.ones((2, 4)) if content is None else content, allow_pickle=True)
        if content is None:
            path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=words):
        read_contexts(path, family)


# ---------------------------------------------------------------- what is refused


def refused(copy: Path, out: Path, words: str, family: Family = IDIFF_FACE, **options: Any) -> None:
    with pytest.raises(InputError, match=words) as error:
        convert(family, copy, out, **{**SIZES, **options})
    assert "\n" not in str(error.value)
    assert not out.exists() and not list(out.parent.glob(f".{out.name}*"))


KEY = "eps_model.up.3.conv.weight"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: t.pop(KEY), "1 of its 842 weights are missing, such as up.3.conv.weight"),
        (lambda t: t.update({"eps_model.extra": torch.zeros(1)}), "1 of its 843 weights are unknown, such as extra"),
        (lambda t: t.update({KEY: torch.zeros(2, 2)}), r"up.3.conv.weight has the shape \(2, 2\)"),
        (lambda t: t.update({"betas": torch.linspace(1e-4, 0.03, 1000)}), "another noise schedule"),
        (lambda t: t.update({"betas": torch.zeros(2000)}), "another noise schedule"),
        (lambda t: [t.pop("betas"), t.update({"alpha_bars": t["alpha_bars"] ** 2})], "another noise schedule"),
        (lambda t: t.update({KEY.replace("model.", "model.module."): torch.zeros(1)}), "twice"),
        (lambda t: t.update({f"module.{KEY}": torch.zeros(1)}), "twice"),
        (lambda t: t.update({"epoch": 7}), "does not hold named tensors"),
        (lambda t: [t.pop(key) for key in list(t) if key.startswith("eps")], "842 of its 842 weights are missing"),
    ],
)
def test_one_key_less_or_more_or_another_model(copy: Path, tmp_path: Path, edit: Any, words: str) -> None:
    change(copy / CHECKPOINT, edit)
    refused(copy, tmp_path / "out", words)


def test_each_family_is_not_the_other(copy: Path, tmp_path: Path) -> None:
    checkpoint = copy / CHECKPOINT
    refused(copy, tmp_path / "out", "missing, such as empty_context_embedding", UIFACE, checkpoint=checkpoint)
    change(checkpoint, lambda t: t.update({"eps_model.empty_context_embedding": torch.zeros(16)}))
    refused(copy, tmp_path / "out", "unknown, such as empty_context_embedding")
    refused(copy, tmp_path / "out", "842 of its 842 weights are missing.*unknown", checkpoint=copy / DECODER)
    refused(copy, tmp_path / "out", "weights are missing.*unknown", UIFACE, checkpoint=copy / DECODER)


@pytest.mark.parametrize("file", [DECODER, "models/autoencoder/first_stage_encoder_state_dict.pt"])
def test_the_first_stage_must_be_whole(copy: Path, tmp_path: Path, file: str) -> None:
    change(copy / file, lambda t: t.pop(next(name for name in t if "mid" in name)))
    refused(copy, tmp_path / "out", "first stage VQ-f4: 1 of its 205 weights are missing")


def test_the_same_file_twice(copy: Path, tmp_path: Path) -> None:
    shutil.copy(copy / DECODER, copy / DECODER.replace("decoder", "encoder"))
    refused(copy, tmp_path / "out", "both hold")


@pytest.mark.parametrize(
    "keep", [0, 10, 3000, -100, b"<html>Google Drive: too many users have viewed this file</html>"]
)
def test_a_file_that_was_cut_short_or_is_a_page(copy: Path, tmp_path: Path, keep: int | bytes) -> None:
    path = copy / CHECKPOINT
    path.write_bytes(keep if isinstance(keep, bytes) else path.read_bytes()[:keep])
    words = "is not a file" if isinstance(keep, bytes) else "(cut short|not a file)"
    refused(copy, tmp_path / "out", f"ema_averaged_model.ckpt.*{words}.*github.com/fdbtrs")


class Trap:
    """What a pickle does that someone prepared."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("where", ["checkpoint", "first stage", "contexts", "encoder"])
def test_code_is_refused_and_not_run(copy: Path, tmp_path: Path, where: str) -> None:
    mark = tmp_path / "executed"
    path = copy / {"checkpoint": CHECKPOINT, "first stage": DECODER}.get(where, "other.pth")
    torch.save({"tensor": torch.zeros(1), "trap": Trap(mark)}, path)
    options = {where: path} if where in ("contexts", "encoder") else {}
    refused(copy, tmp_path / "out", "could run code: it is refused, and nothing of it was run", **options)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()  # the trap works


def test_what_is_missing_is_named_with_where_it_comes_from(copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(copy, out, "no contexts file", contexts=copy / "none.npy")
    refused(copy, out, "no ElasticFace .*fdbtrs/ElasticFace", encoder=copy / "none.pth")
    refused(copy, out, "not ElasticFace: leave", UIFACE, encoder=copy / "x", checkpoint=copy / CHECKPOINT)
    refused(copy / "nowhere", out, "no folder")
    torch.save({"a": np.eye(4, dtype=np.float32)[0]}, copy / "short.npy")
    refused(copy, out, "vector of 4 numbers.*needs 512", contexts=copy / "short.npy")
    (copy / DECODER).unlink()
    refused(copy, out, "no first stage .*first_stage_decoder_state_dict.pt: get it from .*Google Drive")
    (copy / CHECKPOINT).unlink()
    found = r"no checkpoint of .*, which holds models, samples, short.npy, trained_models, utils: "
    refused(copy, out, f"{found}.*ema_averaged_model.ckpt, .*--checkpoint.*fdbtrs/IDiff-Face")


def test_several_checkpoints(copy: Path, tmp_path: Path) -> None:
    shutil.copytree(copy / MODEL, copy / MODEL.replace("25", "50"))
    refused(copy, tmp_path / "out", "several checkpoints: name one with --checkpoint .*cpd25.*cpd50")
    assert convert(IDIFF_FACE, copy, tmp_path / "out", checkpoint=copy / CHECKPOINT, **SIZES).is_dir()


def test_averaged_weights_go_before_raw_ones_and_a_bare_file_will_do(copy: Path, tmp_path: Path) -> None:
    """A training folder of UIFace: what is averaged, what is not, and the optimiser's state."""
    folder = tmp_path / "uiface"
    (folder / "checkpoints").mkdir(parents=True)
    averaged, raw = unet_weights(True), {name: value + 1 for name, value in unet_weights(True).items()}
    torch.save(official.checkpoint(averaged, ""), folder / "checkpoints" / "ema_averaged_model_900000.ckpt")
    torch.save(official.checkpoint(raw, "module."), folder / "checkpoints" / "model_900000.ckpt")
    torch.save({"state": {}}, folder / "checkpoints" / "optimization.ckpt")
    how: dict[str, Any] = {"autoencoder": (copy / DECODER).parent, **SIZES}
    with pytest.warns(
        UserWarning, match=r"ema_averaged_model_900000.ckpt.* is taken, not .*/model_900000.ckpt; --check"
    ):
        out = convert(UIFACE, folder, tmp_path / "averaged", **how)
    assert same(load_file(out / "denoiser" / "diffusion_pytorch_model.safetensors"), averaged)
    assert "ema_averaged_model_900000.ckpt" in (out / "README.md").read_text()
    (folder / "checkpoints" / "ema_averaged_model_900000.ckpt").unlink()
    out = convert(UIFACE, folder, tmp_path / "raw", **how)
    assert same(load_file(out / "denoiser" / "diffusion_pytorch_model.safetensors"), raw)
    bare = shutil.copy(copy / CHECKPOINT, tmp_path)
    (tmp_path / "one").mkdir()
    moved = shutil.move(bare, tmp_path / "one" / "ema_averaged_model.ckpt")
    for number, source in enumerate((tmp_path / "one", moved)):
        assert convert(IDIFF_FACE, source, tmp_path / f"bare-{number}", **how).is_dir()


def test_a_pointer_of_git_lfs_is_called_one(copy: Path, tmp_path: Path) -> None:
    (copy / CHECKPOINT).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 865000000\n")
    refused(copy, tmp_path / "out", "is a git-lfs pointer, not the file itself: run `git lfs pull`")


def test_nothing_is_overwritten(download: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        convert(IDIFF_FACE, download, tmp_path, **SIZES)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


# ---------------------------------------------------------------- the command


def test_the_page(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python runs, in two steps, and its commands parse."""
    (code,) = [code for code in blocks(page("docs/published.md"), "py") if "IDiffFace" in code]
    (tmp_path / "idiff-face").symlink_to(converted)
    monkeypatch.chdir(tmp_path)
    load = 'from_pretrained("idiff-face"'
    assert load in code
    names: dict[str, Any] = {}
    exec(compile(code.replace(load, f"{load}, num_inference_steps=2"), "published.md", "exec"), names)
    assert len(names["pictures"]) == 4 and names["pictures"][0].size == (128, 128)
    console = lines(page("docs/published.md"), "console")
    commands = [line for line in console if "convert idiff-face" in line or "convert uiface" in line]
    assert len(commands) == 2
    for line in commands:
        result = CliRunner().invoke(app, shlex.split(line)[1:])
        assert result.exit_code == 2 and "There is no folder" in result.stderr, result.output


def test_the_commands_work(download: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idgen.convert.idiff_face.convert", partial(convert, **SIZES))
    contexts_file = str(download / "samples" / "random_synthetic_uniform_4.npy")
    arguments = ["convert", "idiff-face", str(download), str(tmp_path / "out"), "--contexts", contexts_file, "--fast"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "out") in result.stdout and "CC BY-NC-SA" in result.stdout
    people = Identities.load(tmp_path / "out" / "identities.safetensors")
    pipe = IDiffFacePipeline.from_pretrained(tmp_path / "out")
    assert type(pipe.scheduler) is DPMSolverMultistepScheduler and pipe.config.num_inference_steps == 20
    assert torch.equal(pipe.scheduler.betas, official.BETAS)
    assert "| 10 | 0.60 | 0.06 | 12 of 255 |" in (tmp_path / "out" / "README.md").read_text()
    assert [image.size for image in pipe(people, num_inference_steps=2).images] == [(128, 128)] * 4
