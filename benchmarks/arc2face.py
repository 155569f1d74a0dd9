"""Sixteen people × four pictures by `Arc2FacePipeline`, beside the same pictures made by a loop of single calls.

    python benchmarks/arc2face.py [--width 64] [--steps 4] [--repeats 3] [--threads 2] [--full] [--device cuda]
    python benchmarks/arc2face.py --memory
    python benchmarks/arc2face.py --unet [--threads 1] [--repeats 3]

Three ways, side by side and interleaved so that all see the same load of the machine, with random weights:

- `ours`: one call for everybody;
- `single`: our pipeline, one call a picture; the pictures are checked to be the same to the last bit;
- `official`: what the official code makes one write, a `StableDiffusionPipeline` call for each person with
  `num_images_per_prompt=4`, which encodes the empty prompt at every call.

`--full` has the published widths (U-Net 860M, text encoder 123M), for a GPU. Prints JSON: seconds, images/s, ratios,
the U-Net's share of the time, and the peak of memory. `--memory` counts the tensors that are alive at once at the
published widths, in float16 and with fused attention, without computing them: a lower bound on what a GPU needs.
`--unet` is of the U-Net alone at published width, for a CPU, by CPU time: four pictures in calls of two rows, as ours
makes them, and in one call of eight rows, as the official loop does.
"""

from __future__ import annotations

import json
import statistics
import time
import weakref
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from common import options, peak_gb, timed, use_cores
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from overhead import NetworkClock
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import CLIPTextConfig, CLIPTextModel

from idgen.pipelines import Arc2FacePipeline, shells
from idgen.pipelines.arc2face.text_encoder import NOBODY, PROMPT, encode_prompt
from idgen.pipelines.shells import packed

IMAGES = 4  # a person


def networks(width: int, full: bool) -> tuple[Any, Any, Any]:
    """U-Net, autoencoder and text encoder of the published widths, or a U-Net of `width` channels at 16×16 latents."""
    torch.manual_seed(0)
    token, layers, heads = (768, 12, 12) if full else (512, 4, 8)
    small = {"block_out_channels": (width, 2 * width), "layers_per_block": 1, "attention_head_dim": 8}
    small |= {f"{way.lower()}_block_types": (f"CrossAttn{way}Block2D",) * 2 for way in ("Down", "Up")}
    unet = UNet2DConditionModel(sample_size=64 if full else 16, cross_attention_dim=token, **({} if full else small))
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512) if full else (16, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2 if full else 1,
        norm_num_groups=32 if full else 8,
    )
    sizes = {"hidden_size": token, "intermediate_size": 4 * token, "num_hidden_layers": layers}
    text = CLIPTextModel(CLIPTextConfig(vocab_size=49408, num_attention_heads=heads, **sizes))
    return unet.eval(), vae.eval(), text.eval()


def build(width: int, full: bool, device: str) -> Any:
    """A pipeline with random weights."""
    unet, vae, text = networks(width, full)
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = DPMSolverMultistepScheduler(**schedule, timestep_spacing="linspace")
    pipeline = Arc2FacePipeline(unet, vae, scheduler, text)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device, torch.float16 if device != "cpu" else torch.float32)


def official(pipeline: Any, vectors: torch.Tensor, steps: int) -> list[Any]:
    """A call a person, both prompts encoded each time."""
    parts = {"vae": pipeline.autoencoder, "unet": pipeline.denoiser, "scheduler": pipeline.scheduler}
    absent = dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
    plain = StableDiffusionPipeline(**parts, **absent, requires_safety_checker=False)
    plain.set_progress_bar_config(disable=True)
    encoder, out = pipeline.text_encoder, []
    with torch.inference_mode():
        for vector in vectors:
            token = torch.nn.functional.pad(vector[None], (0, encoder.config.hidden_size - len(vector)))
            out += plain(
                prompt_embeds=encode_prompt(encoder, PROMPT, token.to(encoder.device, encoder.dtype)),
                negative_prompt_embeds=encode_prompt(encoder, NOBODY),
                num_inference_steps=steps,
                guidance_scale=3.0,
                num_images_per_prompt=IMAGES,
            ).images
    return out


def measure(pipeline: Any, steps: int, repeats: int, people: int) -> dict[str, Any]:
    """Seconds of each way: medians of interleaved runs."""
    vectors = torch.nn.functional.normalize(torch.randn(people, 512, generator=torch.Generator().manual_seed(0)))
    settings: dict[str, Any] = {"num_inference_steps": steps, "seed": 1}
    ways: dict[str, Callable[[], list[Any]]] = {
        "ours": lambda: pipeline(vectors, IMAGES, batch_size=16, **settings).images,
        "single": lambda: [pipeline(one, 1, first=k, **settings).images[0] for one in vectors for k in range(IMAGES)],
        "official": lambda: official(pipeline, vectors, steps),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    pictures: dict[str, list[Any]] = {}
    clock = NetworkClock()
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            with clock.watch({"denoiser": pipeline.denoiser} if name == "ours" and repeat else {}):
                took, pictures[name] = timed(way)
            if repeat:  # the first is the warm-up
                seconds[name].append(took)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    cuda = pipeline.denoiser.device.type == "cuda"
    return {
        "seconds": {name: [round(value, 2) for value in times] for name, times in seconds.items()},
        "images_per_second": {name: round(people * IMAGES / value, 2) for name, value in medians.items()},
        "single_over_ours": round(medians["single"] / medians["ours"], 2),
        "official_over_ours": round(medians["official"] / medians["ours"], 2),
        "same_pictures_as_single": bool(np.array_equal(pictures["ours"], pictures["single"])),
        "denoiser_share": round(clock.total / sum(seconds["ours"]), 2),
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9 if cuda else peak_gb(), 2),
    }


@torch.inference_mode()
def unet(repeats: int) -> dict[str, Any]:
    """CPU seconds of a denoising step of four pictures at 512×512, and how much faster ours is, run by run."""
    network = networks(0, True)[0]
    ready, rows = packed(network), torch.randn(2 * IMAGES, 4, 64, 64)
    prompts = torch.randn(2 * IMAGES, 77, 768)
    pairs = [[picture, IMAGES + picture] for picture in range(IMAGES)]
    ways: dict[str, Callable[[], list[Any]]] = {
        "official": lambda: [network(rows, 500, prompts)],
        "ours": lambda: [ready(rows[pair], 500, prompts[pair]) for pair in pairs],
    }
    ready(rows[pairs[0]], 500, prompts[pairs[0]])  # puts the weights in order, which a batch does once for all steps
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            since = time.process_time()
            way()
            seconds[name].append(time.process_time() - since)
    ratios = [round(one / other, 2) for one, other in zip(seconds["official"], seconds["ours"], strict=True)]
    twice = sum(w.weight.nbytes for w in network.modules() if shells.is_heavy(w))
    return {"official_over_ours": ratios, "seconds": seconds, "weights_twice_gb": round(twice / 1e9, 2)}


class Alive(TorchDispatchMode):
    """Bytes of the tensors that operations made and that are alive, and their peak."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.known = {weight.untyped_storage()._cdata for weight in network.parameters()}  # whose views are not new
        self.sizes: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.known and storage._cdata not in self.sizes:
                    self.sizes[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.sizes.pop, storage._cdata, None)
        self.peak = max(self.peak, sum(self.sizes.values()))
        return out


@torch.no_grad()
def memory() -> dict[str, float]:
    """Gigabytes of one 512×512 picture; tensors on the device "meta" have a size and no content."""
    empty = lambda *shape: torch.empty(shape, device="meta", dtype=torch.float16)  # noqa: E731
    with torch.device("meta"):
        unet, vae, text = (network.half() for network in networks(0, True))
    latents, prompts = empty(2, 4, 64, 64), empty(2, 77, 768)  # with and without the identity
    runs: dict[str, tuple[Any, Callable[[], Any]]] = {
        "denoising": (unet, lambda: unet(latents, torch.zeros(2, device="meta"), prompts)),
        "decoding": (vae, lambda: vae.decode(latents[:1])),
    }
    out = {}
    with patch("torch.nn.functional.scaled_dot_product_attention", lambda q, *_, **__: torch.empty_like(q)):
        for name, (network, run) in runs.items():
            with Alive(network) as alive:
                run()
            out[f"{name}, GB a picture"] = round(alive.peak / 1e9, 3)
    out["weights, GB"] = round(sum(w.nbytes for network in (unet, vae, text) for w in network.parameters()) / 1e9, 2)
    return out


if __name__ == "__main__":
    settings = {"full": False, "memory": False, "unet": False, "device": "cpu"}
    args = options(__doc__, width=64, steps=4, repeats=3, threads=2, people=16, **settings)
    if args.memory:
        print(json.dumps(memory()))
    elif args.unet:
        use_cores(args.threads)
        print(json.dumps(unet(args.repeats)))
    else:
        use_cores(args.threads)
        print(json.dumps(measure(build(args.width, args.full, args.device), args.steps, args.repeats, args.people)))
