"""Arc2Face at small width with random weights in the official files' layout, against hand-written maths and diffusers.

All of it is to hold on two generations of transformers. `make test` runs one; for the other, with the newest diffusers
that can be installed beside it:

    pip install --target OTHER --no-deps transformers==4.57.6 huggingface_hub==0.36.2 tokenizers==0.22.2 \\
        diffusers==0.39.0
    PYTHONPATH=OTHER:. python -m pytest tests/pipelines/test_arc2face.py
"""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import painted
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from painted import agree, by_name, quiet, same
from PIL import Image, ImageOps
from reference.arc2face import IDS, prompt_embeds
from safetensors.torch import load_file, save_file
from tiny_arc2face import DIM, WIDTH, adapter, build_official, lcm_lora, text_encoder
from torch import Tensor

from idgen.ground.errors import InputError
from idgen.ground.identity import Identities
from idgen.model import Model
from idgen.pipelines import Arc2FacePipeline
from idgen.pipelines.arc2face import expression as expressions
from idgen.pipelines.arc2face import files as official
from idgen.pipelines.arc2face.files import SPACE
from idgen.pipelines.arc2face.normals import head_normals, read_normals
from idgen.pipelines.arc2face.text_encoder import PROMPT, encode_prompt, load_text_encoder
from space.models import vocabulary


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official files; not to be changed."""
    return build_official(tmp_path_factory.mktemp("arc2face") / "official")


@pytest.fixture(scope="module")
def pipeline(files: Path) -> Arc2FacePipeline:
    return quiet(Arc2FacePipeline.from_pretrained(files, identity_dim=DIM, controlnet=True, expression=True))


HEAD = head_normals(size=32)


def vectors(count: int) -> Tensor:
    return painted.unit_vectors(count, DIM)


def people(count: int, space: str = SPACE) -> Identities:
    return painted.identities(vectors(count), space)


def clip_weights(encoder: Any) -> dict[str, Tensor]:
    return {name.removeprefix("text_model."): weight for name, weight in encoder.state_dict().items()}


def plain_diffusers(
    pipeline: Arc2FacePipeline, kind: Any = StableDiffusionPipeline, weights: Any = None, **parts: Any
) -> Any:
    """The same networks in a pipeline of diffusers, with the official code's prompts and guidance.

    Returns:
        What takes an item of ours, its person's vector, and options, and gives the picture.
    """
    parts = {"unet": pipeline.denoiser, **parts}
    none = dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    plain = quiet(
        kind(vae=pipeline.autoencoder, scheduler=pipeline.scheduler, requires_safety_checker=False, **none, **parts)
    )
    weights = weights or clip_weights(pipeline.text_encoder)

    def paint(item: Any, vector: Tensor, **options: Any) -> Image.Image:
        return plain(
            **{
                "prompt_embeds": prompt_embeds(weights, vector[None], 4),
                "negative_prompt_embeds": prompt_embeds(weights, None, 4),
                "guidance_scale": 3.0,
                "generator": torch.Generator().manual_seed(item.seed),
                **options,
            }
        ).images[0]

    paint.pipeline = plain  # type: ignore[attr-defined]
    return paint


def test_prompt_embeddings_of_a_batch_of_16(pipeline: Arc2FacePipeline) -> None:
    """Difference 0 to the reference, identity by identity; the reference's own batch differs from that by a kernel."""
    who, weights = vectors(16), clip_weights(pipeline.text_encoder)
    made = pipeline.encode(who)
    assert made.prompts.shape == (16, 77, WIDTH) and made.nobody.shape == (1, 77, WIDTH)
    alone = torch.cat([prompt_embeds(weights, vector[None], 4) for vector in who])
    assert torch.equal(made.prompts, alone)
    assert torch.equal(made.nobody, prompt_embeds(weights, None, 4))
    assert float((made.prompts - prompt_embeds(weights, who, 4)).abs().max()) <= 1e-6
    unit = who / who.norm(dim=1, keepdim=True)
    with torch.no_grad():  # one call of the network for all 16, as a GPU does it
        together = encode_prompt(pipeline.text_encoder, PROMPT, torch.nn.functional.pad(unit, (0, WIDTH - DIM)))
    assert float((together - alone).abs().max()) <= 1e-6
    assert float((alone[0] - alone[1]).abs().max()) > 0.1  # the identity matters


def test_prompt_ids_are_the_clip_tokens_of_the_words() -> None:
    """The reference has them from the facts, the code from its own constants."""
    assert [*PROMPT, *[49407] * 71] == IDS and IDS.index(1014) == 4


def test_prompts_depend_on_their_identity_alone_also_in_threads(pipeline: Arc2FacePipeline) -> None:
    who = vectors(6)
    expected = pipeline.encode(who).prompts
    hooks = sum(len(module._forward_hooks) for module in pipeline.text_encoder.modules())
    torch.set_num_threads(3)
    assert torch.equal(pipeline.encode(who.flip(0)).prompts.flip(0), expected)
    with ThreadPoolExecutor(6) as pool:
        beside = list(pool.map(lambda one: pipeline.encode(one).prompts[0], who))
    assert torch.equal(torch.stack(beside), expected)
    assert sum(len(module._forward_hooks) for module in pipeline.text_encoder.modules()) == hooks


def test_prompt_of_nobody_is_made_once_and_the_text_encoder_can_go(pipeline: Arc2FacePipeline, files: Path) -> None:
    calls: list[int] = []
    hook = pipeline.text_encoder.register_forward_hook(lambda *_: calls.append(1))
    try:
        pipeline._nobody.clear()
        expected = pipeline(people(2), 3, num_inference_steps=1, batch_size=4).images
        pipeline(people(2), 1, num_inference_steps=1)
    finally:
        hook.remove()
    assert len(calls) == 1 + 2 + 2
    known = pipeline.encode(people(2))
    bare = quiet(Arc2FacePipeline(pipeline.denoiser, pipeline.autoencoder, pipeline.scheduler, identity_dim=DIM))
    assert same(bare(known, 3, num_inference_steps=1).images, expected)
    with pytest.raises(InputError, match="no text encoder"):
        bare(people(2))


def test_pictures_are_those_of_plain_diffusers(pipeline: Arc2FacePipeline) -> None:
    """`StableDiffusionPipeline` with the official settings, the reference's embeddings and the same seeds."""
    who, plain = people(2), plain_diffusers(pipeline)
    ours = pipeline(who, seed=3)
    assert same(ours.images, [plain(item, who.vectors[item.identity], num_inference_steps=25) for item in ours.items])
    assert ours.images[0].size == (pipeline.image_size,) * 2 == (32, 32)


def test_guidance_may_change_on_the_way(pipeline: Arc2FacePipeline) -> None:
    """Against `StableDiffusionPipeline`, whose guidance a callback changes, or which is asked for nobody alone."""
    who, plain = people(1), plain_diffusers(pipeline)

    def rise(pipe: Any, step: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        pipe._guidance_scale = 5.0 if step >= 1 else 3.0
        return {}

    nobody = prompt_embeds(clip_weights(pipeline.text_encoder), None, 4)
    for guidance, options in (
        (lambda done: 3.0 if done < 0.5 else 5.0, {"callback_on_step_end": rise}),
        (0, {"prompt_embeds": nobody, "guidance_scale": 1.0}),
    ):
        ours = pipeline(who, seed=3, num_inference_steps=4, guidance_scale=guidance).items[0]
        assert same([ours.image], [plain(ours, who.vectors[0], num_inference_steps=4, **options)])
    with pytest.raises(InputError, match="guidance"):
        pipeline(who, guidance_scale=lambda done: 101 if done > 0.5 else 1)


def test_the_schedule_is_the_official_one(pipeline: Arc2FacePipeline, files: Path, tmp_path: Path) -> None:
    scheduler = pipeline.scheduler
    assert isinstance(scheduler, DPMSolverMultistepScheduler)
    assert scheduler.config.timestep_spacing == "linspace" and scheduler.config.algorithm_type == "dpmsolver++"
    assert (scheduler.config.beta_start, scheduler.config.beta_end) == (0.00085, 0.012)
    fresh = type(scheduler).from_config(scheduler.config)
    fresh.set_timesteps(25)
    assert fresh.timesteps.tolist() == np.linspace(0, 999, 26).round()[::-1][:-1].tolist()
    assert fresh.timesteps.tolist()[:3] == [999, 959, 919] and fresh.timesteps.tolist()[-2:] == [80, 40]
    file = shutil.copytree(files / "scheduler", tmp_path / "scheduler") / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "timestep_spacing": "leading"}))  # saved again once
    assert official.scheduler(tmp_path / "scheduler").config.timestep_spacing == "linspace"


USABLE = [kind for kind in DPMSolverMultistepScheduler().compatibles if not kind.__name__.startswith("EDM")]
USABLE = [kind for kind in USABLE if kind.__name__ != "DPMSolverSDEScheduler"]


def test_every_other_scheduler_is_the_official_one_too(
    pipeline: Arc2FacePipeline, files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Made of a converted folder's configuration, each is what it is made of Stable Diffusion 1.5's file."""
    assert len(USABLE) >= 13
    base, who = PNDMScheduler.load_config(files / "scheduler"), people(1)
    pipeline.save_pretrained(tmp_path)
    converted = quiet(Arc2FacePipeline.from_pretrained(tmp_path))
    nobody = dict.fromkeys(("controlnet", "text_encoder"))
    known = pipeline.encode(who)
    for kind in (*USABLE, LCMScheduler):
        ours = quiet(Arc2FacePipeline.from_pipe(converted, scheduler=kind.from_config(converted.scheduler.config)))
        official_one = Arc2FacePipeline.from_pipe(converted, scheduler=kind.from_config(base), **nobody)
        plain = plain_diffusers(official_one, weights=clip_weights(pipeline.text_encoder))
        made = ours(known, num_inference_steps=4).items[0]
        assert same([made.image], [plain(made, who.vectors[0], num_inference_steps=4)]), kind.__name__
    assert "config attributes" not in caplog.text
    edm = Arc2FacePipeline.from_pipe(converted, scheduler=EDMEulerScheduler())
    with pytest.raises(InputError, match="EDMEulerScheduler is for networks with the preconditioning"):
        edm.iterate(known)


@pytest.mark.parametrize("options", [{}, {"expression": "random"}])
def test_a_picture_depends_on_identity_seed_and_number_only(pipeline: Arc2FacePipeline, options: Any) -> None:
    who = vectors(3)
    options = {"num_inference_steps": 1, "seed": 5, **options}
    reference = by_name(pipeline, who, 2, batch_size=6, **options)
    others = [
        by_name(pipeline, who, 2, batch_size=1, **options),
        by_name(pipeline, who.flip(0), 2, batch_size=4, **options),
        by_name(pipeline, who[1:], 3, batch_size=5, **options),
    ]
    torch.set_num_threads(3)
    others += [
        by_name(pipeline, who, 2, batch_size=5, **options),
        by_name(pipeline, who[2:], 1, first=1, **options),
    ]
    assert all(agree(reference, other) for other in others)
    assert len({picture.tobytes() for picture in reference.values()}) == 6


def test_memory_that_runs_out_is_said_in_a_sentence(pipeline: Arc2FacePipeline) -> None:
    def full(*_: Any) -> dict[str, Any]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")

    with pytest.raises(InputError, match=r"for 4 pictures at a time \(CUDA out of memory\): lower .*`at_once`"):
        pipeline(people(2), num_inference_steps=1, callback_on_step_end=full)


def test_a_call_changes_no_component(pipeline: Arc2FacePipeline) -> None:
    def state() -> list[Any]:
        networks = (pipeline.denoiser, pipeline.autoencoder, pipeline.text_encoder, pipeline.controlnet)
        weights = [float(weight.sum()) for network in networks for weight in network.state_dict().values()]
        scheduler = {name: value for name, value in vars(pipeline.scheduler).items() if "_internal" not in name}
        processors = sorted(map(repr, pipeline.denoiser.attn_processors))
        return [repr(weights), repr(scheduler), processors, repr(pipeline.config)]

    before = state()
    pipeline(people(1), num_inference_steps=2, expression="yawn", normals=HEAD)
    assert state() == before


def test_few_step_adds_the_lora_to_a_copy(pipeline: Arc2FacePipeline, tmp_path: Path) -> None:
    added = lcm_lora(pipeline.denoiser, tmp_path / "pytorch_lora_weights.safetensors")
    before = {name: weight.clone() for name, weight in pipeline.denoiser.state_dict().items()}
    fast = quiet(pipeline.few_step(tmp_path))
    after = fast.denoiser.state_dict()
    assert after.keys() == before.keys() and len(added) > 10
    for name, weight in before.items():
        assert torch.equal(pipeline.denoiser.state_dict()[name], weight)
        more = added.get(name.removesuffix(".weight"), torch.zeros(()))
        torch.testing.assert_close(after[name], weight + more, atol=1e-5, rtol=1e-5)
    assert fast.autoencoder is pipeline.autoencoder and fast.text_encoder is pipeline.text_encoder
    assert (fast.config.num_inference_steps, fast.config.guidance_scale) == (3, 1.0)
    own = type(fast.scheduler).from_config(fast.scheduler.config)
    own.set_timesteps(3)
    assert own.timesteps.tolist() == [999, 679, 339]
    together = fast(people(2), batch_size=2).images
    assert same(together, fast(people(2), batch_size=1).images)  # its noise between steps too
    fast.save_pretrained(tmp_path / "fast")
    assert same(quiet(Arc2FacePipeline.from_pretrained(tmp_path / "fast"))(people(2)).images, together)
    assert not same(fast(people(1), expression="yawn").images, together[:1])


def test_a_lora_of_another_model_is_refused(pipeline: Arc2FacePipeline, tmp_path: Path) -> None:
    lcm_lora(pipeline.denoiser, tmp_path / "lora.safetensors")
    weights = load_file(tmp_path / "lora.safetensors")
    renamed = {name.replace("lora_unet_mid", "lora_unet_muddle"): weight for name, weight in weights.items()}
    save_file(renamed, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"LoRA .*other\.safetensors"):
        pipeline.few_step(tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "lora.safetensors").read_bytes()[:-100])
    with pytest.raises(InputError, match="cut short"):
        pipeline.few_step(tmp_path / "cut.safetensors")


def test_an_expression_is_what_diffusers_ip_adapter_makes_of_it(pipeline: Arc2FacePipeline, files: Path) -> None:
    """Zeros first, then the 55 values, as the official code passes them to `StableDiffusionPipeline`."""
    plain = plain_diffusers(pipeline, unet=UNet2DConditionModel.from_pretrained(files / "arc2face"))
    plain.pipeline.load_ip_adapter(
        str(files), subfolder="exp_adapter", weight_name="exp_adapter.bin", image_encoder_folder=None
    )
    values = expressions.draw(torch.Generator().manual_seed(1))
    item = pipeline(people(1), expression=values, num_inference_steps=4).items[0]
    given = [torch.stack([torch.zeros(1, 55), values[None]])]
    theirs = plain(item, people(1).vectors[0], ip_adapter_image_embeds=given, num_inference_steps=4)
    assert same([item.image], [theirs])


def test_expressions_in_every_form(pipeline: Arc2FacePipeline) -> None:
    def made(expression: Any) -> list[Image.Image]:
        return pipeline(people(2), 2, num_inference_steps=1, expression=expression).images

    without, yawn = made(None), made("yawn")
    assert not same(without, yawn)
    assert same(yawn, made(dict(expressions.PRESETS["yawn"]))) and same(yawn, made(expressions.expression("yawn")))
    table = torch.zeros(2, 2, 55)
    table[1, 1] = expressions.expression("yawn")
    mixed = made(table)
    assert same([mixed[3], mixed[0]], [yawn[3], made("neutral")[0]])
    assert len({picture.tobytes() for picture in made("random")}) == 4


def test_expression_sliders_and_draws() -> None:
    assert len(expressions.SLIDERS) == expressions.SIZE == 55
    assert float(expressions.expression({"jaw_open": 0.25})[52]) == 0.25
    for name in expressions.PRESETS:
        expressions.expression(name)
    draws = torch.stack([expressions.draw(torch.Generator().manual_seed(seed)) for seed in range(200)])
    assert torch.equal(draws, expressions.check(draws)) and 0.9 < float(draws[:, :50].std()) < 1.1
    assert torch.equal(draws[3], expressions.draw(torch.Generator().manual_seed(3)))
    assert not expressions.draw(torch.Generator().manual_seed(3), 0).any()


def test_an_extractors_vector_beyond_the_sliders_is_used_and_warned_of(pipeline: Arc2FacePipeline) -> None:
    """A coefficient of 3.4 and a jaw of 0.62, as SMIRK and EMOCA give them."""
    vector = torch.zeros(55)
    vector[7], vector[52] = 3.4, 0.62
    with pytest.warns(UserWarning, match=r"expression_7 is 3.4, beyond -3 to 3 \(2 such values\): used as it is"):
        far = expressions.expression(vector)
    assert torch.equal(far, vector)
    with pytest.warns(UserWarning, match="beyond"):
        made = pipeline(people(1), num_inference_steps=1, expression=vector[None, None]).images
    assert not same(made, pipeline(people(1), num_inference_steps=1, expression=vector.clamp(-3, 0.5)).images)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"expression": "smirk"}, "no expression 'smirk'.*neutral"),
        ({"expression": {"smile": 1.0}}, "no expression slider 'smile'"),
        ({"expression": {"eyelid_a": 2.0}}, "eyelid_a lies between 0 and 1, got 2"),
        ({"expression": torch.zeros(54)}, "55 values"),
        ({"expression": torch.full((55,), float("nan"))}, "expression_0 is not a finite number"),
        ({"expression": {"jaw_open": float("nan")}}, "jaw_open lies between"),
        ({"expression": torch.zeros(2, 1, 55)}, r"shape \(1, 1, 55\)"),
        ({"expression": "random", "expression_strength": 3.0}, "strength"),
    ],
)
def test_bad_expressions_are_refused(pipeline: Arc2FacePipeline, options: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        pipeline.iterate(people(1), **options)


def test_an_adapter_is_checked_and_changes_only_its_own_pipeline(pipeline: Arc2FacePipeline, tmp_path: Path) -> None:
    parts = (pipeline.denoiser, pipeline.autoencoder, pipeline.scheduler, pipeline.text_encoder)
    plain = quiet(Arc2FacePipeline(*parts, identity_dim=DIM))
    with pytest.raises(InputError, match="no expression adapter"):
        plain(people(1), expression="yawn")
    good = adapter(pipeline.denoiser)
    torch.save(good, tmp_path / "good.bin")
    weak = quiet(plain.with_expression(tmp_path / "good.bin", scale=0.0))
    with_it = weak(people(1), expression="yawn", num_inference_steps=2).images
    assert same(with_it, plain(people(1), num_inference_steps=2).images)
    assert plain._expressive is None and plain.config.expression_scale == 1.0
    for bad, words in (
        (adapter(pipeline.denoiser, values=512), "are 512, not 55"),
        ({**good, "ip_adapter": dict(list(good["ip_adapter"].items())[2:])}, "attention weights, the denoiser needs"),
    ):
        torch.save(bad, tmp_path / "bad.bin")
        with pytest.raises(InputError, match=words):
            plain.with_expression(tmp_path / "bad.bin")


def test_a_normal_map_is_what_diffusers_controlnet_makes_of_it(pipeline: Arc2FacePipeline) -> None:
    plain = plain_diffusers(pipeline, StableDiffusionControlNetPipeline, controlnet=pipeline.controlnet)
    item = pipeline(people(1), normals=HEAD, num_inference_steps=4).items[0]
    theirs = plain(item, people(1).vectors[0], image=HEAD, num_inference_steps=4)
    difference = np.abs(np.asarray(item.image, int) - np.asarray(theirs, int))
    assert difference.max() <= 1  # its map comes out of its own resizing
    assert not same([item.image], pipeline(people(1), num_inference_steps=4).images)


def test_a_normal_map_for_each_picture(pipeline: Arc2FacePipeline) -> None:
    maps = [HEAD, head_normals(40, size=32)]
    both = pipeline(people(2), 2, normals=maps, num_inference_steps=2).images
    for number, normals in enumerate(maps):
        alone = pipeline(people(2), 2, normals=normals, num_inference_steps=2).images
        assert same(both[number::2], alone[number::2]) and not same(both[1 - number :: 2], alone[1 - number :: 2])


def test_a_drawn_head_keeps_the_convention() -> None:
    poses = [(0, 0), (40, 0), (-40, 0), (0, 25), (60, -30)]
    drawn = [np.asarray(head_normals(yaw, pitch, 96), float) / 127.5 - 1 for yaw, pitch in poses]
    for normals, (yaw, pitch) in zip(drawn, poses, strict=True):
        read_normals(head_normals(yaw, pitch, 96), 96)
        on_head = np.abs(normals).max(2) > 0.05
        assert 0.3 < on_head.mean() < 0.9 and on_head[48, 48]
        np.testing.assert_allclose(np.linalg.norm(normals[on_head], axis=1), 1, atol=0.02)
    mirrored = drawn[2][:, ::-1] * [-1, 1, 1]
    assert np.abs(drawn[1] - mirrored).mean() < 0.01 and np.abs(drawn[1] - drawn[2]).mean() > 0.1
    # FFHQ's frame leaves more room on the side that the nose points to; a lowered face's normals point down.
    columns = [np.abs(normals).max(2).mean(0) > 0.05 for normals in drawn]
    assert columns[1][:20].sum() > columns[1][-20:].sum() and columns[2][:20].sum() < columns[2][-20:].sum()
    assert drawn[3][20:60, 30:66, 1].mean() < drawn[0][20:60, 30:66, 1].mean() - 0.2
    with pytest.raises(InputError, match=r"yaw of a head in degrees .* -60 to 60, got 90"):
        head_normals(90)


def test_bad_normal_maps_are_refused(pipeline: Arc2FacePipeline, files: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    red, green, blue = HEAD.split()
    for normals, words in (
        (head_normals(size=64), "64 × 64 pixels.*32 × 32"),
        (tmp_path / "photo.png", "photo.png is no normal map"),
        (Image.merge("RGB", (red, green, ImageOps.invert(blue))), "faces away"),
        (Image.new("RGB", (32, 32), (128, 128, 128)), "no head"),
        ([HEAD] * 3, "not 3"),
    ):
        with pytest.raises(InputError, match=words):
            pipeline.iterate(people(1), 2, normals=normals)
    bare = Arc2FacePipeline.from_pretrained(files, identity_dim=DIM)
    assert bare.controlnet is None
    with pytest.raises(InputError, match="controlnet=True"):
        bare.iterate(people(1), normals=HEAD)


def test_saved_and_loaded_in_one_line(pipeline: Arc2FacePipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".py", ".pt")]
    config = json.loads((tmp_path / "scheduler" / "scheduler_config.json").read_text())
    assert config["_class_name"] == "DPMSolverMultistepScheduler" and config["clip_sample"] is False
    assert "timestep_spacing" not in config  # each scheduler's own
    again = quiet(Arc2FacePipeline.from_pretrained(tmp_path))
    for options in ({}, {"expression": "yawn"}, {"normals": HEAD}):
        expected = pipeline(people(1), num_inference_steps=2, **options).images
        assert same(again(people(1), num_inference_steps=2, **options).images, expected)
    half = quiet(Arc2FacePipeline.from_pretrained(tmp_path, dtype=torch.bfloat16))
    assert half.denoiser.dtype == half.text_encoder.dtype == half._expressive.dtype == torch.bfloat16
    assert half(people(1), num_inference_steps=2, expression="yawn").images[0].size == (32, 32)


def test_a_folder_by_an_earlier_version_says_what_to_convert_again(pipeline: Arc2FacePipeline, tmp_path: Path) -> None:
    """Its scheduler's file named a spacing and lost what Stable Diffusion's says of others."""
    pipeline.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Arc2FacePipeline.from_pretrained(tmp_path)
    file = tmp_path / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text())
    lost = {name: value for name, value in config.items() if name not in ("skip_prk_steps", "clip_sample")}
    file.write_text(json.dumps({**lost, "timestep_spacing": "linspace"}))
    with pytest.warns(UserWarning, match="convert the same files again, with the same options"):
        Arc2FacePipeline.from_pretrained(tmp_path)


def change(path: Path, edit: Any) -> None:
    weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    edit(weights)
    (save_file if path.suffix == ".safetensors" else torch.save)(weights, path)


BIN, NET = "encoder/pytorch_model.bin", "arc2face/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        (BIN, lambda w: w.pop("text_model.final_layer_norm.bias"), "of Arc2Face: 1 of its .* weights are missing"),
        (NET, lambda w: w.pop("conv_in.bias"), "missing, such as conv_in.bias"),
        (NET, lambda w: w.update(extra=torch.ones(1)), "left over, such as extra"),
        (BIN, 5000, "5,000 bytes.*cut short.*FoivosPar/Arc2Face"),
        (NET, 5000, "5,000 bytes.*cut short"),
        (BIN, pickle.dumps(print), "could run code.*nothing of it was run.*FoivosPar/Arc2Face"),
        (BIN, None, "no encoder/pytorch_model.bin .*FoivosPar/Arc2Face"),
        ("encoder/config.json", b"{", "configuration"),
    ],
)
def test_damaged_files_are_refused(files: Path, tmp_path: Path, file: str, damage: Any, words: str) -> None:
    path = shutil.copytree(files, tmp_path / "damaged") / file
    if damage is None:
        path.unlink()
    elif callable(damage):
        change(path, damage)
    else:
        path.write_bytes(path.read_bytes()[:damage] if isinstance(damage, int) else damage)
    with pytest.raises(InputError, match=words):
        Arc2FacePipeline.from_pretrained(tmp_path / "damaged", identity_dim=DIM)


def test_parts_of_different_models_are_refused(pipeline: Arc2FacePipeline) -> None:
    parts = (pipeline.denoiser, pipeline.autoencoder, pipeline.scheduler, text_encoder(hidden_size=40))
    with pytest.raises(InputError, match="different models"):
        Arc2FacePipeline(*parts, identity_dim=DIM)


def test_text_encoders_of_both_generations_names(files: Path, tmp_path: Path) -> None:
    """`text_model.` before every name, or not; as safetensors or as a pickle."""
    expected = clip_weights(load_text_encoder(files / "encoder"))
    shutil.copy(files / "encoder" / "config.json", tmp_path)
    save_file({name: weight.clone() for name, weight in expected.items()}, tmp_path / "model.safetensors")
    again = clip_weights(load_text_encoder(tmp_path))
    assert again.keys() == expected.keys() and all(torch.equal(again[name], expected[name]) for name in again)


def test_converted_folder_on_the_hub(pipeline: Arc2FacePipeline, hub: Any, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path / "saved")
    hub.repos["someone/converted"] = tmp_path / "saved"
    again = quiet(Arc2FacePipeline.from_pretrained("someone/converted"))
    expected = pipeline(people(1), num_inference_steps=1, expression="yawn").images
    assert same(again(people(1), num_inference_steps=1, expression="yawn").images, expected)


def test_pose_and_expression_answer_to_the_words_of_every_model(pipeline: Arc2FacePipeline) -> None:
    how = {"num_inference_steps": 1, "seed": 3}
    wishes = {"expression": "mouth open", "eyes_shut": 1.0, "yaw": 30.0}
    (told,) = pipeline(people(1), attributes=wishes, **how).items
    assert told.attributes == wishes == pipeline.told(vectors(1)[0], 3, 0, wishes)
    sliders = {"jaw_open": 0.3, "eyelid_a": 1.0, "eyelid_b": 1.0}
    by_hand = pipeline(people(1), expression=sliders, normals=head_normals(30, 0, 32), **how).images
    assert same([told.image], by_hand)
    (posed,) = pipeline(people(1), attributes={"yaw": 30}, **how).items
    assert same([posed.image], pipeline(people(1), normals=head_normals(30, 0, 32), **how).images)
    parts = (pipeline.denoiser, pipeline.autoencoder, pipeline.scheduler, pipeline.text_encoder)
    bare = quiet(Arc2FacePipeline(*parts, identity_dim=DIM))
    with pytest.raises(InputError, match="cannot be told how a picture is to look"):
        bare(people(1), attributes={"yaw": 30}, **how)
    with pytest.raises(InputError, match="not both"):
        pipeline(people(1), attributes={"yaw": 30}, expression="yawn", **how)
    with pytest.raises(InputError, match="from -60 to 60"):
        pipeline(people(1), attributes={"yaw": 70}, **how)


def test_what_it_can_be_told_is_read_off_its_folder(files: Path, tmp_path: Path) -> None:
    """As the app does, which shows the panel before anything is loaded."""
    for name, more in {
        "plain": {},
        "posed": {"controlnet": True},
        "both": {"controlnet": True, "expression": True},
    }.items():
        made = Arc2FacePipeline.from_pretrained(files, identity_dim=DIM, **more)
        made.save_pretrained(tmp_path / name)
        model = Model(tmp_path / name)
        assert model.vocabulary.values == made.vocabulary.values == vocabulary(model).values
        assert set(model.vocabulary.names) >= {"plain": set(), "posed": {"yaw"}, "both": {"yaw", "expression"}}[name]
        assert not model._parts
