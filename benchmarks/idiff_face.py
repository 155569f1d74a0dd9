"""IDiff-Face's network: how exact, how long a call takes, and 20 fast steps beside the faithful 1000.

    python benchmarks/idiff_face.py [--threads 2] [--people 16] [--images 4] [--skip-full-width]

All weights are random, so the figures are of arithmetic and of time, not of how good the pictures are; time is the same
with any weights. Small widths are a part of the published one in every layer, on latents of the published size. Ways
that are compared take turns, so that all see the same load of the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, VQModel
from overhead import use_cores
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from reference import idiff_face as official

from idgen.models import IdentityUNet
from idgen.pipelines import IDiffFacePipeline
from idgen.pipelines.schedulers import LINEAR, IDiffFaceScheduler

FULL_CHANNELS, FULL_CONTEXT = (96, 192, 384, 768), 256


def timed(call: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Median seconds, and the last result."""
    seconds = []
    for _ in range(repeats):
        since = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - since)
    return statistics.median(seconds), result


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
    identity, when = torch.nn.functional.normalize(identity), torch.tensor([321])
    network(sample, when, identity)
    seconds, output = timed(lambda: network(sample, when, identity), 5)
    reference_seconds, expected = timed(lambda: official.unet(weights, sample, when, identity))
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "relative difference": relative(output, expected),
        "seconds a call": seconds,
        "seconds of the reference": reference_seconds,
    }


def small_pipeline(scheduler: Any, steps: int, part: int) -> IDiffFacePipeline:
    """The first stage at small width too, and a U-Net of 1/`part` of the published width."""
    channels, context = tuple(width // part for width in FULL_CHANNELS), FULL_CONTEXT // 8
    shapes = official.unet_shapes(channels, head=8, context=context)
    network = IdentityUNet(channels=channels, head_dim=8, norm_groups=8, context_dim=context).eval()
    network.load_state_dict(official.random_weights(shapes))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stage = VQModel(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(16, 16, 16),
            num_vq_embeddings=256,
            norm_num_groups=8,
            scaling_factor=1.0,
        ).eval()
    made = IDiffFacePipeline(network, stage, scheduler, space="s", num_inference_steps=steps)
    made.set_progress_bar_config(disable=True)
    return made


def fast_and_faithful() -> dict[str, Any]:
    """The same network, identity and first noise. The faithful steps add noise of their own, the fast ones none, so
    they lead to different pictures of one distribution; how exact the fast ones are, their own 1000 steps say."""
    config = {name: value for name, value in LINEAR.items() if name != "clip_sample"}
    faithful = small_pipeline(IDiffFaceScheduler(**LINEAR, variance_type="fixed_large"), 1000, 12)
    fast = small_pipeline(DPMSolverMultistepScheduler(**config, timestep_spacing="trailing"), 20, 12)
    exact = small_pipeline(DPMSolverMultistepScheduler(**config, timestep_spacing="trailing"), 1000, 12)
    who = torch.nn.functional.normalize(torch.randn(1, 512, generator=torch.Generator().manual_seed(0)))

    def run(pipe: IDiffFacePipeline, seed: int = 1) -> Tensor:
        return pipe(who, seed=seed, output_type="latent").images

    run(fast)  # the warm-up
    before = [timed(lambda: run(fast)) for _ in range(3)]
    seconds, released = timed(lambda: run(faithful))
    turns = [*before, *(timed(lambda: run(fast)) for _ in range(3))]
    fast_seconds, quick = statistics.median(turn[0] for turn in turns), turns[0][1]
    return {
        "seconds, 1000 faithful steps": seconds,
        "seconds, 20 fast steps": fast_seconds,
        "faithful ÷ fast": seconds / fast_seconds,
        "fast to faithful": relative(quick, released),
        "fast to 1000 steps of the same solver": relative(quick, run(exact)),
        "faithful to faithful, another seed": relative(run(faithful, 2), released),
    }


def batch_and_loop(people: int, images: int, repeats: int = 3) -> dict[str, Any]:
    """All people in one call beside one call a picture, 2 fast steps; the pictures are compared bit by bit."""
    config = {name: value for name, value in LINEAR.items() if name != "clip_sample"}
    pipe = small_pipeline(DPMSolverMultistepScheduler(**config, timestep_spacing="trailing"), 2, 3)
    who = torch.nn.functional.normalize(torch.randn(people, 512, generator=torch.Generator().manual_seed(0)))
    pipe(who[:2], output_type="pt")

    def batch() -> Tensor:
        return pipe(who, images, batch_size=16, output_type="pt").images

    def loop() -> Tensor:
        return torch.cat(
            [
                next(pipe.iterate(who[row], 1, first=k, batch_size=1, output_type="pt")).image[None]
                for row in range(people)
                for k in range(images)
            ]
        )

    turns = [(timed(batch), timed(loop)) for _ in range(repeats)]
    seconds, apart_seconds = (statistics.median(turn[way][0] for turn in turns) for way in (0, 1))
    return {
        "seconds, batch": seconds,
        "seconds, loop": apart_seconds,
        "loop ÷ batch": apart_seconds / seconds,
        "same pictures": all(torch.equal(together[1], apart[1]) for together, apart in turns),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--skip-full-width", action="store_true")
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--images", type=int, default=4)
    args = parser.parse_args()
    use_cores(args.threads)
    print("random weights; relative differences are |a - b| / |b|")
    measures: list[tuple[str, Callable[[], Any]]] = [
        ("full width, one call of the U-Net", full_width),
        ("1/12 of the width, 20 steps beside 1000", fast_and_faithful),
        ("1/3 of the width, batch beside loop", lambda: batch_and_loop(args.people, args.images)),
    ]
    for title, measure in measures[args.skip_full_width :]:
        print(json.dumps({title: measure()}, indent=1, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
