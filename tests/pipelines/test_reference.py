"""The reference adapter at small width, against the same computed by attention processors within diffusers' pipeline.

The official program was run beside ours, too (`benchmarks/parity.py`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import painted
import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from painted import agree, by_name, quiet, same
from PIL import Image
from tiny_arc2face import DIM, build_official, reference_lora
from torch import Tensor

from idgen.ground.errors import InputError
from idgen.pipelines import Arc2FacePipeline
from idgen.pipelines.arc2face.text_encoder import encode_prompt

LAYERS = ["attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "attn2.to_q", "ff.net.2"]
FILE = "ref_adapter/pytorch_lora_weights.safetensors"
FACES = [
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)) for seed in range(4)
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_official(tmp_path_factory.mktemp("arc2face") / "official")


@pytest.fixture(scope="module")
def pipeline(files: Path) -> Arc2FacePipeline:
    parts = {"controlnet": True, "expression": True, "reference": True}
    return quiet(Arc2FacePipeline.from_pretrained(files, identity_dim=DIM, **parts))


def people(count: int) -> Tensor:
    return painted.unit_vectors(count, DIM)


class Bank(AttnProcessor2_0):
    """A self-attention's tokens, noted in one network and read in the other, in the second half of its rows."""

    def __init__(self, tokens: dict[str, Tensor], name: str, reads: bool):
        self.tokens, self.name, self.reads = tokens, name, reads

    def __call__(self, attention: Any, hidden: Tensor, *_: Any, **__: Any) -> Tensor:  # type: ignore[override]
        attend = super().__call__
        if not self.reads:
            self.tokens[self.name] = hidden
            return attend(attention, hidden)
        without, with_it = hidden.chunk(2)
        seen = torch.cat([with_it, self.tokens[self.name]], 1)
        return torch.cat([attend(attention, without), attend(attention, with_it, seen)])


def official(files: Path, ours: Arc2FacePipeline, item: Any, vector: Tensor, face: Image.Image, strength: float) -> Any:
    """What the official program computes for one picture, from the same noise."""
    networks = [UNet2DConditionModel.from_pretrained(files / "arc2face") for _ in range(2)]
    none = dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    parts = {"vae": ours.autoencoder, "scheduler": ours.scheduler, "unet": networks[1]}
    plain = quiet(StableDiffusionPipeline(**parts, **none, requires_safety_checker=False))
    plain.load_lora_weights(str(files / "ref_adapter"), weight_name=Path(FILE).name, adapter_name="ref")
    plain.set_adapters("ref", strength)
    tokens: dict[str, Tensor] = {}
    for reads, network in enumerate(networks):
        for name, module in network.named_modules():
            if name.endswith("attn1"):
                module.set_processor(Bank(tokens, name, bool(reads)))
    generator = torch.Generator().manual_seed(item.seed + 1)
    pixels = torch.from_numpy(np.asarray(face, np.float32) / 255 * 2 - 1).permute(2, 0, 1)[None]
    who = ours.encode(vector)
    with torch.no_grad():
        spread = ours.autoencoder.encode(pixels).latent_dist
        latents = spread.mean + spread.std * torch.randn(1, 4, 8, 8, generator=generator)
        networks[0](latents * ours.autoencoder.config.scaling_factor, torch.zeros(1).long(), who.prompts)
    return plain(
        prompt_embeds=who.prompts,
        negative_prompt_embeds=who.nobody,
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(item.seed),
        output_type="pt",
    ).images[0]


@pytest.mark.parametrize("strength", [0.8, 0.3])
def test_a_reference_is_what_the_official_program_makes_of_it(
    pipeline: Arc2FacePipeline, files: Path, strength: float
) -> None:
    how = {"num_inference_steps": 3, "output_type": "pt", "seed": 2}
    item = pipeline(people(1), reference=FACES[0], reference_strength=strength, **how).items[0]
    theirs = official(files, pipeline, item, people(1)[0], FACES[0], strength)
    assert float((item.image - theirs).abs().max()) < 1e-5
    without = pipeline(people(1), **how).images[0]
    assert float((item.image - without).abs().max()) > 0.01


def test_without_guidance_only_the_row_with_the_identity_is_computed(pipeline: Arc2FacePipeline) -> None:
    made = [
        pipeline(people(1), reference=FACES[0], num_inference_steps=2, guidance_scale=scale, output_type="pt").images
        for scale in (1.0, lambda done: 1.0 + 1e-9, 0)
    ]
    torch.testing.assert_close(made[0], made[1], atol=1e-5, rtol=0)
    bare = pipeline(people(1), num_inference_steps=2, guidance_scale=0, output_type="pt").images
    assert not torch.equal(made[2], bare)  # nobody sees no reference, but the LoRA is there


def test_a_picture_depends_on_its_identity_number_and_reference_alone(pipeline: Arc2FacePipeline) -> None:
    who, how = people(2), {"num_inference_steps": 1, "expression": "random"}
    together = by_name(pipeline, who, 2, reference=FACES[:2], batch_size=4, **how)
    for number in (0, 1):
        alone = by_name(pipeline, who[number:][:1], 2, reference=FACES[number], batch_size=1, **how)
        assert agree(together, alone)
    each = pipeline(who, 2, reference=FACES, **how).images
    assert same(each[:1], list(together.values())[:1]) and not same(each[1:2], list(together.values())[1:2])


def test_together_with_a_pose(pipeline: Arc2FacePipeline) -> None:
    how = {"num_inference_steps": 1, "reference": FACES[0]}
    made = [pipeline(people(1), **how, **more).images for more in ({}, {"attributes": {"yaw": 30}})]
    assert not same(*made)


def test_saved_loaded_and_shared(pipeline: Arc2FacePipeline, tmp_path: Path) -> None:
    expected = pipeline(people(1), num_inference_steps=1, reference=FACES[0]).images
    pipeline.save_pretrained(tmp_path)
    again = quiet(Arc2FacePipeline.from_pretrained(tmp_path))
    other = quiet(Arc2FacePipeline.from_pipe(pipeline))
    for one in (again, other):
        assert same(one(people(1), num_inference_steps=1, reference=FACES[0]).images, expected)
    half = quiet(Arc2FacePipeline.from_pretrained(tmp_path, dtype=torch.bfloat16))
    assert {weight.dtype for weight in half._reference.parameters()} == {torch.bfloat16}
    assert half(people(1), num_inference_steps=1, reference=FACES[0]).images[0].size == (32, 32)


def test_what_its_file_says_of_its_strength_counts(files: Path, pipeline: Arc2FacePipeline, tmp_path: Path) -> None:
    """Older files name their layers otherwise, and newer ones say alpha in the header."""
    reference_lora(pipeline.denoiser, tmp_path / "newer.safetensors", ("lora_A", "lora_B"))
    about = {"unet.r": 3, "unet.lora_alpha": 6, "unet.target_modules": LAYERS}
    reference_lora(pipeline.denoiser, tmp_path / "alpha.safetensors", lora_adapter_metadata=json.dumps(about))
    scales = [
        set(pipeline.with_reference(file)._reference.scales.values())
        for file in (files / FILE, tmp_path / "newer.safetensors", tmp_path / "alpha.safetensors")
    ]
    assert scales == [{1.0}, {1.0}, {2.0}]


def test_a_call_changes_no_component(pipeline: Arc2FacePipeline) -> None:
    def state() -> Any:
        weights = [float(weight.sum()) for weight in pipeline.denoiser.state_dict().values()]
        return weights, [repr(module) for module in (pipeline.denoiser, pipeline._expressive, pipeline._reference)]

    before = state()
    pipeline(people(1), num_inference_steps=1, reference=FACES[0], expression="yawn")
    assert state() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reference": FACES[:3]}, "for each of the 1 people or 2 pictures, not 3"),
        ({"reference": Image.new("RGB", (32, 40))}, "32 × 40 pixels: cut the face out as FFHQ does"),
        ({"reference": "none.png"}, "no file none.png"),
        ({"reference": FACES[0], "reference_strength": 1.5}, "strength of the reference is a number from 0 to 1"),
    ],
)
def test_bad_references_are_refused(pipeline: Arc2FacePipeline, options: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        pipeline.iterate(people(1), 2, **options)


def test_an_adapter_that_does_not_fit_is_refused(pipeline: Arc2FacePipeline, files: Path, tmp_path: Path) -> None:
    bare = Arc2FacePipeline.from_pretrained(files, identity_dim=DIM)
    with pytest.raises(InputError, match="no reference adapter: load it with reference=True"):
        bare(people(1), reference=FACES[0])
    other = UNet2DConditionModel.from_config(bare.denoiser.config, block_out_channels=(16, 64))
    reference_lora(other, tmp_path / "other.safetensors")
    for file, words in (("other.safetensors", "does not fit the denoiser"), ("none.safetensors", "none.safetensors")):
        with pytest.raises(InputError, match=words):
            bare.with_reference(tmp_path / file)


def test_hooks_of_accelerate_see_what_is_replaced(pipeline: Arc2FacePipeline, files: Path) -> None:
    """As of `enable_model_cpu_offload`: they run what they are bound to, which was the network without the identity."""
    expected = pipeline(people(1), num_inference_steps=1, reference=FACES[0]).images
    hooked = quiet(Arc2FacePipeline.from_pretrained(files, identity_dim=DIM, reference=True))
    token, runs = torch.nn.functional.pad(people(1), (0, 8)), []

    class Counting(ModelHook):
        def pre_forward(self, module: Any, *args: Any, **kwargs: Any) -> Any:
            runs.append(1)
            return args, kwargs

    for part in (hooked.text_encoder, hooked.denoiser):
        add_hook_to_module(part, Counting())
    with torch.no_grad():
        assert not torch.equal(*(encode_prompt(hooked.text_encoder, range(5), token * sign) for sign in (1, -1)))
    assert same(hooked(people(1), num_inference_steps=1, reference=FACES[0]).images, expected)
    assert len(runs) == 2 + 2 + 1 + 1  # and the prompts of somebody and nobody, the note, the step
