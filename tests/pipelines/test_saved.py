"""What `save_pretrained` writes is read, in whatever files; a second pipeline over the parts of a first; other
processes."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import VQModel
from painted import quiet, same, unit_vectors
from safetensors.torch import load_file, save_file
from tiny import patterns

from idgen import FaceEncoder, IDiffFacePipeline, UIFacePipeline, load_model
from idgen.convert.idiff_face import FAST, UIFACE
from idgen.ground.errors import InputError
from idgen.model import Model
from idgen.models import IdentityUNet


def published(kind: type[IDiffFacePipeline], scheduler: Any) -> IDiffFacePipeline:
    """A pipeline over the networks of UIFace, small."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = IdentityUNet(8, 3, (8, 16), (False, True), 2, 8, 8, 16, 8, learn_empty_context=True)
        stage = VQModel(block_out_channels=(8,), num_vq_embeddings=16, norm_num_groups=4, scaling_factor=1.0)
    network.half().float()  # which loses nothing when it is halved again
    return quiet(kind(network.eval(), stage.eval(), scheduler, space="s", num_inference_steps=4))


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model, device="cpu")


@pytest.mark.parametrize(
    "saved", [{"variant": "fp16"}, {"max_shard_size": "40KB"}, {"variant": "a", "max_shard_size": "9KB"}]
)
def test_variants_and_shards(model: Model, tmp_path: Path, saved: dict[str, Any]) -> None:
    model.pipeline.save_pretrained(tmp_path / "saved", **saved)
    assert not (tmp_path / "saved" / "denoiser" / "diffusion_pytorch_model.safetensors").exists()
    people = model.sampler.sample(1, 0)
    wanted = model.pipeline(people, num_inference_steps=1).images
    named = {"variant": saved["variant"]} if "variant" in saved else {}
    for pipeline in (
        IDiffFacePipeline.from_pretrained(tmp_path / "saved", **named),
        IDiffFacePipeline.from_pretrained(tmp_path / "saved"),
        load_model(tmp_path / "saved", device="cpu").pipeline,
    ):
        assert same(quiet(pipeline)(people, num_inference_steps=1).images, wanted)
    shards = sorted((tmp_path / "saved" / "denoiser").glob("*.safetensors"))
    tensors = load_file(shards[0])
    name = min(tensors)
    save_file({**tensors, "extra": tensors[name].clone()}, shards[0])
    with pytest.raises(InputError, match=r"1 of its .* weights are unknown, such as extra"):
        load_model(tmp_path / "saved").pipeline  # noqa: B018
    del tensors[name]
    save_file(tensors or {"extra": torch.zeros(1)}, shards[0])
    with pytest.raises(InputError, match=f"are missing, such as {name}"):
        load_model(tmp_path / "saved").pipeline  # noqa: B018
    shards[0].unlink()
    with pytest.raises(InputError, match=r"There is no .*: fetch the model again"):
        load_model(tmp_path / "saved").pipeline  # noqa: B018


def test_networks_of_diffusers_in_shards(tmp_path: Path) -> None:
    made = published(UIFacePipeline, UIFACE.scheduler)
    made.save_pretrained(tmp_path, max_shard_size="9KB")
    assert len(list((tmp_path / "autoencoder").glob("*.safetensors"))) > 1
    again = UIFacePipeline.from_pretrained(tmp_path)
    for part in ("denoiser", "autoencoder"):
        ours, theirs = getattr(again, part).state_dict(), getattr(made, part).state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    next((tmp_path / "autoencoder").glob("*00001-of*")).unlink()
    with pytest.raises(InputError, match=r"There is no .*00001-of"):
        UIFacePipeline.from_pretrained(tmp_path)


def test_two_pipelines_over_the_same_parts() -> None:
    two_stages = published(UIFacePipeline, UIFACE.scheduler)
    two_stages.denoiser.half()  # as on a GPU
    plain = quiet(IDiffFacePipeline.from_pipe(two_stages, num_inference_steps=2))
    assert plain.denoiser is two_stages.denoiser and plain.autoencoder is two_stages.autoencoder
    assert plain.denoiser.dtype == torch.float16, "sharing changes nothing"
    assert (plain.config.space, plain.config.num_inference_steps, plain.config.guidance_scale) == ("s", 2, 2.0)
    back = UIFacePipeline.from_pipe(plain, scheduler=FAST)
    assert type(back) is UIFacePipeline and back.scheduler is FAST
    two_stages.denoiser.float()
    who = unit_vectors(1, plain.identity_dim)
    wanted = published(IDiffFacePipeline, UIFACE.scheduler)(who, num_inference_steps=2, output_type="np").images
    assert same(plain(who, output_type="np").images, wanted)
    with pytest.raises(InputError, match="has no 'torch_dtype': leave it out"):
        IDiffFacePipeline.from_pipe(two_stages, torch_dtype=torch.float16)


def test_a_model_is_pickled_as_its_folder(model: Model) -> None:
    again = pickle.loads(pickle.dumps(model))
    assert (again.folder, again.name, again.device) == (model.folder, model.name, model.device)
    pictures, _ = patterns(1, 2)
    assert torch.equal(again.encoder.encode(pictures), model.encoder.encode(pictures))


def _encode(encoder: FaceEncoder, pictures: torch.Tensor, out: Any) -> None:
    out.put(encoder.encode(pictures).numpy())


def test_a_forked_child_works_after_its_parent_did(model: Model) -> None:
    pictures, _ = patterns(4, 2)
    torch.set_num_threads(2)
    wanted, fork = model.encoder.encode(pictures), multiprocessing.get_context("fork")
    out: Any = fork.Queue()
    child = fork.Process(target=_encode, args=(model.encoder, pictures, out))
    child.start()
    try:
        np.testing.assert_allclose(out.get(timeout=30), wanted.numpy(), atol=1e-5)
    finally:
        child.kill()


def test_names_of_other_pipelines_are_answered_with_ours(model: Model) -> None:
    who = model.sampler.sample(1, 0)
    for given, ours in (
        ({"generator": torch.Generator()}, "`seed`"),
        ({"num_images_per_prompt": 2}, "`images_per_identity`"),
    ):
        with pytest.raises(InputError, match=f"no option '{next(iter(given))}': give {ours}"):
            model.pipeline.iterate(who, **given)


def test_one_picture_scores_as_a_list_of_it(model: Model) -> None:
    who = model.sampler.sample(1, 0)
    picture = model.pipeline(who, num_inference_steps=1).images[0]
    assert model.scorer.score(picture, who) == model.scorer.score([picture], who)
    same_face = model.scorer.compare(*[(picture, picture)] * 2)
    assert same_face.cosine <= 1 and same_face.judge_cosine <= 1
