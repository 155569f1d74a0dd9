"""IDiff-Face's network: how exact, how long a call takes, and 20, 10 and 6 fast steps beside the faithful 1000.

    python benchmarks/idiff_face.py [--threads 2] [--people 16] [--images 4] [--skip-full-width]
    python benchmarks/idiff_face.py --model FOLDER [--threads 2] [--images 4]

All weights are random, so the figures are of arithmetic and of time, not of how good the pictures are; time is the same
with any weights. Small widths are a part of the published one in every layer, on latents of the published size. Ways
that are compared take turns, so that all see the same load of the machine.

With `--model`, a folder by `idgen convert idiff-face --fast`: what 20, 10 and 6 steps cost of the weights in it, by
`idgen.generate`, and how much of its wall time the networks are at work.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from common import options, timed, use_cores
from diffusers import DPMSolverMultistepScheduler, VQModel
from overhead import NetworkClock
from PIL import Image
from reference import idiff_face as official
from torch import Tensor

from idgen.ground.identity import Identities
from idgen.model import load_model
from idgen.models import IdentityUNet
from idgen.painting import generate
from idgen.pipelines import IDiffFacePipeline
from idgen.pipelines.schedulers import LINEAR, IDiffFaceScheduler

FEW = (20, 10, 6)
FULL_CHANNELS, FULL_CONTEXT = (96, 192, 384, 768), 256


def fast() -> DPMSolverMultistepScheduler:
    """What our pipeline steps by where it is not to be faithful."""
    config = {name: value for name, value in LINEAR.items() if name != "clip_sample"}
    return DPMSolverMultistepScheduler(**config, timestep_spacing="trailing")


def person(count: int = 1) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(count, 512, generator=torch.Generator().manual_seed(0)))


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


@torch.no_grad()
def full_width() -> dict[str, Any]:
    """One call of the published size, 32×32 latent, batch 1, float32, against the reference in float64."""
    weights = official.random_weights(official.unet_shapes())
    network = IdentityUNet().eval()
    network.load_state_dict(weights)
    generator = torch.Generator().manual_seed(0)
    sample, identity = torch.randn(1, 3, 32, 32, generator=generator), torch.randn(1, 512, generator=generator)
    inputs = sample, torch.tensor([321]), torch.nn.functional.normalize(identity)
    calls = [timed(network, *inputs) for _ in range(6)][1:]  # the first is the warm-up
    reference_seconds, expected = timed(official.unet, weights, *inputs)
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "relative difference": relative(calls[0][1], expected),
        "seconds a call": statistics.median(seconds for seconds, _ in calls),
        "seconds of the reference": reference_seconds,
    }


def few_steps(folder: str, images: int) -> dict[str, Any]:
    """One person's pictures by `idgen.generate` in 20, 10 and 6 steps from the same noise: the networks' share of its
    wall time, and how far the latents and the pixels of fewer steps are from those of 20."""
    model = load_model(folder, device="cpu")
    who = Identities(person(), model.pipeline.config.space, ["sampled"], ["somebody"])
    autoencoder = model.pipeline.autoencoder
    networks, decode = {"denoiser": model.pipeline.denoiser, "autoencoder": autoencoder}, autoencoder.decode

    def run(steps: int, place: Path) -> tuple[dict[str, float], Tensor, Tensor]:
        clock, latents, since, cpu = NetworkClock(), [], time.perf_counter(), time.process_time()

        def noting(latent: Tensor) -> Any:
            latents.append(latent)
            return decode(latent)

        with clock.watch(networks), patch.object(autoencoder, "decode", noting):
            generate(who, place, images, model=model, steps=steps, progress=False)
        seconds, cpu = time.perf_counter() - since, time.process_time() - cpu
        files = sorted((place / "somebody").glob("*.png"))
        pixels = torch.from_numpy(np.stack([np.asarray(Image.open(file), np.float32) for file in files]))
        took = {"seconds a picture": seconds / images, "CPU seconds a picture": cpu / images}
        return took | {"networks ÷ wall": clock.total / seconds}, torch.cat(latents), pixels

    out: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        generate(who, Path(temporary) / "warm-up", 1, model=model, steps=1, progress=False)
        made = {steps: run(steps, Path(temporary) / str(steps)) for steps in FEW}
    _, latents, pixels = made[FEW[0]]
    for steps, (took, other, shown) in made.items():
        differences = {
            "latents, relative": relative(other, latents),
            "pixels, mean of 255": float((shown - pixels).abs().mean()),
            "pixels, another picture of the person": float((shown - pixels.roll(1, 0)).abs().mean()),
        }
        out[f"{steps} steps"] = {name: float(f"{value:.3g}") for name, value in {**took, **differences}.items()}
    return out


def small_pipeline(scheduler: Any, steps: int, part: int) -> IDiffFacePipeline:
    """The first stage at small width too, and a U-Net of 1/`part` of the published width."""
    channels, context = tuple(width // part for width in FULL_CHANNELS), FULL_CONTEXT // 8
    shapes = official.unet_shapes(channels, head=8, context=context)
    network = IdentityUNet(channels=channels, head_dim=8, norm_groups=8, context_dim=context).eval()
    network.load_state_dict(official.random_weights(shapes))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
        sizes = {"block_out_channels": (16, 16, 16), "num_vq_embeddings": 256, "norm_num_groups": 8}
        stage = VQModel(**blocks, **sizes, scaling_factor=1.0).eval()
    made = IDiffFacePipeline(network, stage, scheduler, space="s", num_inference_steps=steps)
    made.set_progress_bar_config(disable=True)
    return made


def fast_and_faithful() -> dict[str, Any]:
    """The same network, identity and first noise. The faithful steps add noise of their own, the fast ones none, so
    they lead to different pictures of one distribution; how exact the fast ones are, their own 1000 steps say."""
    faithful = small_pipeline(IDiffFaceScheduler(**LINEAR, variance_type="fixed_large"), 1000, 12)
    quickly, who = small_pipeline(fast(), 20, 12), person()

    def run(pipe: IDiffFacePipeline, seed: int = 1, steps: int | None = None) -> Tensor:
        return pipe(who, seed=seed, num_inference_steps=steps, output_type="latent").images

    run(quickly)  # the warm-up
    before = [timed(run, quickly) for _ in range(3)]
    seconds, released = timed(run, faithful)
    turns = [*before, *(timed(run, quickly) for _ in range(3))]
    fast_seconds, quick = statistics.median(turn[0] for turn in turns), turns[0][1]
    exact = run(quickly, steps=1000)
    fewer = {
        f"{steps} fast to 1000 steps of the same solver": relative(run(quickly, steps=steps), exact) for steps in FEW
    }
    return {
        "seconds, 1000 faithful steps": seconds,
        "seconds, 20 fast steps": fast_seconds,
        "faithful ÷ fast": seconds / fast_seconds,
        "fast to faithful": relative(quick, released),
        **fewer,
        "faithful to faithful, another seed": relative(run(faithful, 2), released),
    }


def batch_and_loop(people: int, images: int, repeats: int = 3) -> dict[str, Any]:
    """All people in one call beside one call a picture, 2 fast steps; the pictures are compared bit by bit."""
    pipe, who = small_pipeline(fast(), 2, 3), person(people)
    pipe(who[:2], output_type="pt")

    def batch() -> Tensor:
        return pipe(who, images, batch_size=16, output_type="pt").images

    def loop() -> Tensor:
        alone = (pipe.iterate(one, 1, first=k, batch_size=1, output_type="pt") for one in who for k in range(images))
        return torch.stack([next(made).image for made in alone])

    turns = [(timed(batch), timed(loop)) for _ in range(repeats)]
    seconds, apart_seconds = (statistics.median(turn[way][0] for turn in turns) for way in (0, 1))
    return {
        "seconds, batch": seconds,
        "seconds, loop": apart_seconds,
        "loop ÷ batch": apart_seconds / seconds,
        "same pictures": all(torch.equal(together[1], apart[1]) for together, apart in turns),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    args = options(__doc__, threads=2, people=16, images=4, skip_full_width=False, model=None)
    use_cores(args.threads)
    if args.model is not None:
        print(json.dumps(few_steps(args.model, args.images), indent=1, ensure_ascii=False))
        raise SystemExit
    print("random weights; relative differences are |a - b| / |b|")
    measures: dict[str, Callable[[], Any]] = {
        "full width, one call of the U-Net": full_width,
        "1/12 of the width, 20 steps beside 1000": fast_and_faithful,
        "1/3 of the width, batch beside loop": lambda: batch_and_loop(args.people, args.images),
    }
    for title, measure in list(measures.items())[args.skip_full_width :]:
        print(json.dumps({title: measure()}, indent=1, ensure_ascii=False), flush=True)
