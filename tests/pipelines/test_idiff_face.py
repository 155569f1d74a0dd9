from __future__ import annotations

import inspect
import itertools
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import painted
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from painted import agree, by_name, quiet
from PIL import Image
from safetensors.torch import load_file, save_file

from idgen.ground.errors import InputError
from idgen.ground.guidance import Guidance
from idgen.ground.identity import Identities, Identity, image_seed, key
from idgen.models import FaceAutoencoder, IdentityDiT
from idgen.pipelines import IDiffFacePipeline
from idgen.pipelines.schedulers import LINEAR, IDiffFaceScheduler

DIM = 64


@pytest.fixture(scope="module")
def pipeline(tiny_model: Path) -> IDiffFacePipeline:
    return quiet(IDiffFacePipeline.from_pretrained(tiny_model))


@pytest.fixture(scope="module")
def wide() -> IDiffFacePipeline:
    """Matrices large enough for the CPU's libraries to choose their kernels by batch and by threads."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        denoiser = IdentityDiT(depth=2, identity_dim=DIM)
        for parameter in denoiser.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.02)
        autoencoder = FaceAutoencoder()
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    return quiet(IDiffFacePipeline(denoiser.eval(), autoencoder.eval(), scheduler, space="wide"))


def with_scheduler(pipeline: IDiffFacePipeline, scheduler: Any) -> IDiffFacePipeline:
    return quiet(IDiffFacePipeline(pipeline.denoiser, pipeline.autoencoder, scheduler, space="tiny-encoder"))


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    return painted.unit_vectors(count, DIM, seed)


def people(count: int, space: str = "tiny-encoder") -> Identities:
    return painted.identities(vectors(count), space)


def pictures(*args: Any, **kwargs: Any) -> dict[tuple[bytes, int], np.ndarray]:
    return by_name(*args, **{"num_inference_steps": 2, **kwargs})


@pytest.mark.parametrize("output_type", ["latent", "pt"])
def test_a_picture_depends_on_identity_seed_and_number_only(wide: IDiffFacePipeline, output_type: str) -> None:
    who = vectors(3)
    how = {"seed": 5, "output_type": output_type}
    reference = pictures(wide, who, 2, batch_size=6, **how)
    assert len(reference) == 6
    others = {
        "one at a time": pictures(wide, who, 2, batch_size=1, **how),
        "batches that end early": pictures(wide, who, 2, batch_size=4, **how),
        "another order": pictures(wide, who.flip(0), 2, batch_size=5, **how),
        "more pictures": pictures(wide, who[1:], 3, batch_size=8, **how),
        "alone": pictures(wide, who[2:], 1, first=1, **how),
    }
    for count in (2, 3):  # three workers on a number of pictures they cannot share equally
        torch.set_num_threads(count)
        others[f"{count} threads"] = pictures(wide, who, 2, batch_size=5, **how)
        assert torch.get_num_threads() == count
    assert [name for name, other in others.items() if not agree(reference, other)] == []


def test_threads_made_later_have_the_number_of_threads_they_would_have_had(wide: IDiffFacePipeline) -> None:
    torch.set_num_threads(2)
    next(wide.iterate(vectors(2), num_inference_steps=2, output_type="latent"))
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [2] and torch.get_num_threads() == 2


def test_pictures_differ_between_identities_numbers_and_seeds(pipeline: IDiffFacePipeline) -> None:
    images = [np.asarray(image) for seed in (0, 1) for image in pipeline(people(2), 2, seed=seed).images]
    assert len(images) == 8
    for a, b in itertools.combinations(images, 2):
        assert (a != b).mean() > 0.5


def test_the_identity_reaches_the_picture(pipeline: IDiffFacePipeline) -> None:
    """With the same noise, so that nothing else can make the difference."""
    noise = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    a, b = (pipeline._denoise(noise, who[None], 3, (2.0, None, 0.5), [torch.Generator()], None) for who in vectors(2))
    assert not torch.allclose(a, b, atol=1e-3)


def test_items_say_what_made_them(pipeline: IDiffFacePipeline) -> None:
    who = people(2)
    items = list(pipeline.iterate(who, 2, seed=9, first=3, num_inference_steps=1))
    assert [(item.identity, item.k) for item in items] == [(0, 3), (0, 4), (1, 3), (1, 4)]
    for item in items:
        assert item.seed == image_seed(9, key(who.vectors[item.identity]), item.k)
        assert torch.equal(item.vector, who.vectors[item.identity])


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5, lambda done: 0.0 if done < 0.3 else 2.5])
def test_euler_steps_and_guidance_by_hand(pipeline: IDiffFacePipeline, guidance: Guidance) -> None:
    euler = with_scheduler(pipeline, FlowMatchEulerDiscreteScheduler(shift=1.0))
    who = vectors(1)
    item = next(euler.iterate(who, seed=4, num_inference_steps=3, guidance_scale=guidance, output_type="latent"))
    x = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(item.seed))
    sigmas = [1.0, (1 + 0.001) / 2, 0.001, 0.0]
    with torch.no_grad():
        for step, (sigma, following) in enumerate(itertools.pairwise(sigmas)):
            time = torch.tensor([1000 * sigma])
            wanted = pipeline.denoiser(x, time, who, torch.tensor([False]))
            nobody = pipeline.denoiser(x, time, who, torch.tensor([True]))
            scale = guidance(step / 3) if callable(guidance) else guidance
            x = x + (following - sigma) * (nobody + scale * (wanted - nobody))
    torch.testing.assert_close(item.image, x[0], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize(
    "scheduler",
    [
        DDIMScheduler(),
        DDPMScheduler(),
        UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
        DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"),
        IDiffFaceScheduler(**LINEAR, variance_type="fixed_large"),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_any_scheduler_of_diffusers_also_those_that_draw_noise(pipeline: IDiffFacePipeline, scheduler: Any) -> None:
    other, how = with_scheduler(pipeline, scheduler), {"output_type": "latent", "num_inference_steps": 3}
    together, alone = (pictures(other, vectors(2), 2, batch_size=size, **how) for size in (4, 1))
    assert agree(together, alone) and all(np.isfinite(latent).all() for latent in together.values())


def test_the_autoencoders_scale_and_shift(pipeline: IDiffFacePipeline) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        autoencoder = AutoencoderKL(
            latent_channels=4, block_out_channels=(8,), norm_num_groups=4, scaling_factor=0.5, shift_factor=0.25
        ).eval()
    other = IDiffFacePipeline(pipeline.denoiser, autoencoder, pipeline.scheduler, space="tiny-encoder")
    latent = other(vectors(1), output_type="latent").images
    with torch.no_grad():
        expected = (autoencoder.decode(latent / 0.5 + 0.25).sample / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(other(vectors(1), output_type="pt").images, expected)


def test_output_types_show_the_same_picture(pipeline: IDiffFacePipeline) -> None:
    who = people(2)
    pil, array, tensor = (pipeline(who, 2, output_type=kind).images for kind in ("pil", "np", "pt"))
    assert len(pil) == 4 and isinstance(pil[0], Image.Image) and pil[0].size == (32, 32)
    assert array.shape == (4, 32, 32, 3) and array.dtype == np.float32 and 0 <= array.min() <= array.max() <= 1
    assert tensor.shape == (4, 3, 32, 32) and not tensor.is_inference()
    np.testing.assert_array_equal(array, tensor.permute(0, 2, 3, 1).numpy())
    np.testing.assert_array_equal(np.stack([np.asarray(image) for image in pil]), (array * 255).round())
    assert pipeline(who, output_type="latent").images.shape == (2, 4, 4, 4)


def test_identities_in_every_form(pipeline: IDiffFacePipeline) -> None:
    who = people(2)
    expected = pictures(pipeline, who)
    assert agree(expected, pictures(pipeline, who.vectors))
    for one in (Identity(who.vectors[1], who.space, "1 photo", "somebody else"), who.vectors[1]):
        np.testing.assert_array_equal(pipeline(one, num_inference_steps=2).images[0], list(expected.values())[1])


def test_half_precision(tiny_model: Path) -> None:
    half = IDiffFacePipeline.from_pretrained(tiny_model, dtype=torch.bfloat16)
    assert half.denoiser.dtype == half.autoencoder.dtype == torch.bfloat16
    latent = half(vectors(1), output_type="latent").images
    assert latent.dtype == torch.float32 and latent.isfinite().all()
    assert half(vectors(1)).images[0].size == (32, 32)


def test_the_callback_sees_every_step_and_may_change_the_latents(pipeline: IDiffFacePipeline) -> None:
    seen: list[tuple[int, int]] = []

    def look(pipe: IDiffFacePipeline, step: int, timestep: torch.Tensor, state: dict[str, Any]) -> None:
        assert pipe is pipeline
        seen.append((step, len(state["latents"])))

    pipeline(people(3), num_inference_steps=2, batch_size=2, callback_on_step_end=look)
    assert seen == [(0, 2), (1, 2), (0, 1), (1, 1)]
    out = pipeline(
        people(1),
        output_type="latent",
        callback_on_step_end=lambda pipe, step, timestep, state: {"latents": torch.zeros_like(state["latents"])},
    )
    assert not out.images.any()


def test_closing_stops(pipeline: IDiffFacePipeline) -> None:
    steps: list[int] = []
    note = {"callback_on_step_end": lambda pipe, step, timestep, tensors: steps.append(step)}
    made = pipeline.iterate(people(4), num_inference_steps=2, batch_size=1, **note)
    next(made)
    made.close()
    assert steps == [0, 1] and list(made) == []


def test_calls_at_the_same_time_do_not_change_each_other(pipeline: IDiffFacePipeline) -> None:
    torch.set_num_threads(2)
    settings = [{"num_inference_steps": steps, "guidance_scale": steps / 2, "seed": steps} for steps in (2, 3, 5, 8)]
    alone = [pictures(pipeline, people(2), 2, **each) for each in settings]
    with ThreadPoolExecutor(len(settings)) as pool:
        beside = list(pool.map(lambda each: pictures(pipeline, people(2), 2, **each), settings))
    assert all(agree(a, b) for a, b in zip(alone, beside, strict=True))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"images_per_identity": 0}, "number of pictures"),
        ({"num_inference_steps": 1001}, "from 1 to 1,000"),
        ({"guidance_scale": -1}, "guidance"),
        ({"guidance_scale": lambda done: -1 if done > 0.5 else 1}, "guidance"),
        ({"seed": 1.5}, "seed"),
        ({"first": -1}, "first picture"),
        ({"variation_cosine": 0.9}, "no option 'variation_cosine'"),
        ({"first": [0, 1]}, "1 identities need as many first numbers"),
        ({"batch_size": 0}, "batch size"),
        ({"output_type": "jpeg"}, "output type"),
    ],
)
def test_bad_arguments_are_refused_at_once(pipeline: IDiffFacePipeline, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        pipeline.iterate(people(1), **arguments)


@pytest.mark.parametrize(
    ("identities", "words"),
    [
        (people(1, "another-space"), "another-space.*tiny-encoder"),
        (torch.nn.functional.normalize(torch.ones(1, 63)), "63.*64"),
        (vectors(1) * 2, "length 2"),
        ([1.0, 0.0], "list"),
    ],
)
def test_bad_identities_are_refused_at_once(pipeline: IDiffFacePipeline, identities: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        pipeline.iterate(identities)


def test_saved_and_loaded_again(pipeline: IDiffFacePipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["denoiser"] == ["idgen", "IdentityDiT"] and index["autoencoder"] == ["idgen", "FaceAutoencoder"]
    assert (index["space"], index["num_inference_steps"], index["guidance_scale"]) == ("tiny-encoder", 15, 2.0)
    expected = pipeline(people(1)).images[0]
    for loader in (IDiffFacePipeline, DiffusionPipeline):
        again = loader.from_pretrained(tmp_path)
        assert type(again) is IDiffFacePipeline
        np.testing.assert_array_equal(again(people(1)).images[0], expected)
    passed = IDiffFacePipeline.from_pretrained(tmp_path, denoiser=pipeline.denoiser, num_inference_steps=4)
    assert passed.denoiser is pipeline.denoiser and passed.config.num_inference_steps == 4


@pytest.mark.parametrize("part", ["denoiser", "autoencoder"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda weights, name: weights.pop(name), "are missing"),
        (lambda weights, name: weights.update(extra=torch.zeros(1)), "are unknown, such as extra"),
        (lambda weights, name: weights.update({name: torch.zeros(1)}), r"has the shape \(1,\)"),
    ],
)
def test_weights_that_do_not_fit_are_an_error(
    tiny_model: Path, tmp_path: Path, part: str, change: Any, words: str
) -> None:
    broken = shutil.copytree(tiny_model, tmp_path / "broken", ignore=shutil.ignore_patterns("encoder", "judge"))
    file = broken / part / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    change(weights, next(name for name in sorted(weights) if name.endswith("weight")))
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(InputError, match=words):
        IDiffFacePipeline.from_pretrained(broken)
    torch.save(weights, file.with_suffix(".bin"))  # a pickle is not read
    file.unlink()
    with pytest.raises(InputError, match=r"no .*diffusion_pytorch_model\.safetensors"):
        IDiffFacePipeline.from_pretrained(broken)


def test_a_call_shows_the_arguments_that_it_takes(pipeline: IDiffFacePipeline) -> None:
    assert inspect.signature(pipeline).parameters == inspect.signature(pipeline.iterate).parameters
    assert {"num_inference_steps", "seed", "batch_size"} <= inspect.signature(pipeline).parameters.keys()
    with pytest.raises(InputError, match="number of steps"):
        pipeline(vectors(1), num_inference_steps=0)


def test_a_pipeline_without_a_space_is_refused(pipeline: IDiffFacePipeline) -> None:
    with pytest.raises(ValueError, match="space"):
        IDiffFacePipeline(pipeline.denoiser, pipeline.autoencoder, pipeline.scheduler)


def test_noise_of_the_callers_own(pipeline: IDiffFacePipeline) -> None:
    who = people(2)
    shape = pipeline.latent_shape
    seeds = [image_seed(3, key(vector), k) for vector in who.vectors for k in range(2)]
    noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    own = pipeline(who, 2, seed=3, latents=noise, batch_size=3, output_type="pt").images
    assert torch.equal(own, pipeline(who, 2, seed=3, output_type="pt").images)
    other = pipeline(who, 2, seed=3, latents=-noise, output_type="pt").images
    assert not torch.equal(own, other)
    for wrong in (noise[:3], noise[0], noise * float("nan")):
        with pytest.raises(InputError, match="noise to start from is finite and has the shape"):
            pipeline(who, 2, latents=wrong)


def test_led_away_from_others_as_negfacediff_is(pipeline: IDiffFacePipeline) -> None:
    """One step is linear in what the network says, so the formula is seen in the result."""
    euler = with_scheduler(pipeline, FlowMatchEulerDiscreteScheduler())
    who, others = vectors(2), vectors(4)[2:]
    noise = torch.randn(2, *pipeline.latent_shape, generator=torch.Generator().manual_seed(0))

    def made(people: torch.Tensor, guidance: float = 1.0, **how: Any) -> torch.Tensor:
        options: dict[str, Any] = {"latents": noise, "output_type": "latent", "num_inference_steps": 1}
        return euler(people, guidance_scale=guidance, **options, **how).images

    plain, theirs, guided = made(who), made(others), made(who, 2.0)
    for weight in (0.5, lambda share: 0.5):
        away = made(who, negative=others, negative_weight=weight)
        assert torch.allclose(away, 1.5 * plain - 0.5 * theirs, atol=1e-5) and not torch.allclose(away, plain)
    assert torch.allclose(made(who, 2.0, negative=others), guided + 0.5 * (plain - theirs), atol=1e-5)
    assert torch.equal(made(who, negative=who, negative_weight=3.0), plain)
    assert torch.equal(made(who, 2.0, negative=others, negative_weight=0.0), guided)
    with pytest.raises(InputError, match=r"led away from is finite and has the shape \(2, 64\), got \(1, 64\)"):
        made(who, negative=others[:1])


def test_decoded_pictures_are_as_sharp_as_the_model_says(pipeline, tmp_path):
    plain = with_scheduler(pipeline, pipeline.scheduler)
    parts = pipeline.denoiser, pipeline.autoencoder, pipeline.scheduler
    quiet(IDiffFacePipeline(*parts, "tiny-encoder", sharpening=0.5)).save_pretrained(tmp_path)
    sharp, left = (quiet(IDiffFacePipeline.from_pretrained(tmp_path, **more)) for more in ({}, {"sharpening": 0}))
    vectors = torch.nn.functional.normalize(torch.randn(2, DIM, generator=torch.Generator().manual_seed(5)), dim=1)
    asked: dict[str, Any] = {"num_inference_steps": 2, "output_type": "np"}
    before, after = plain(vectors, 2, **asked).images, sharp(vectors, 2, **asked).images
    assert np.array_equal(left(vectors, 2, **asked).images, before)
    assert np.array_equal(sharp(vectors, 2, batch_size=3, **asked).images, after)  # each picture's bits are its own
    count, height, width, _ = before.shape
    wide = np.pad(before.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    binomial = np.outer([1, 2, 1], [1, 2, 1]) / 16  # blurs: what it takes away, half of it is added
    blurred = sum(binomial[y, x] * wide[:, y : y + height, x : x + width] for y in range(3) for x in range(3))
    assert np.allclose(after, np.clip(1.5 * before - 0.5 * blurred, 0, 1), atol=1e-6)
    assert count == 4 and np.abs(after - before).max() > 1e-3
    with pytest.raises(InputError, match="sharpening is a number from 0 to 2"):
        IDiffFacePipeline(*parts, "tiny-encoder", sharpening=3)
