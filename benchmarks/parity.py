"""The converted models beside the authors' own programs: the same random weights, in the official files' layout.

    git clone https://github.com/foivospar/Arc2Face && git clone https://github.com/fdbtrs/IDiff-Face
    git clone https://github.com/Tencent/TFace && pip install einops omegaconf
    python benchmarks/parity.py --arc2face Arc2Face --idiff-face IDiff-Face --uiface TFace/generation/uiface [--full]

That runs the code in these folders. Arc2Face's is diffusers' pipelines, of which no folder is needed, but for the
reference adapter; its own text encoder does not run with today's transformers, so prompts are compared with the maths
written down by hand. The others' networks, samplers and first stage are run as they are, on the CPU.

Prints a line a comparison: |a − b| / |b| of what comes out of the network or of the chain, and by how much the most
different 8-bit value of a picture differs. `--full` has the published widths (Arc2Face: minutes, 16 GB).
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import diffusers
import numpy as np
import torch
import transformers
from common import options
from diffusers import LCMScheduler, StableDiffusionControlNetPipeline, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from reference.arc2face import prompt_embeds
from tiny_arc2face import DIM, build_official, lcm_lora
from torch import Tensor

from idgen.convert.idiff_face import IDIFF_FACE, UIFACE, convert
from idgen.pipelines import Arc2FacePipeline
from idgen.pipelines.arc2face import expression as expressions
from idgen.pipelines.arc2face.normals import head_normals

WIDE: dict[str, Any] = {"channels": (96, 192, 384, 768), "head_dim": 32, "norm_groups": 32, "context_dim": 256}
FACE = expressions.expression("yawn")[None, None]
TOLD = {"ip_adapter_image_embeds": [torch.cat([torch.zeros_like(FACE), FACE])]}
NARROW = {**WIDE, "channels": (32, 64, 64, 64), "context_dim": 64}


def say(what: str, ours: Tensor | Image.Image, theirs: Tensor | Image.Image) -> None:
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        difference = float((ours.double() - theirs.double()).norm() / theirs.double().norm())
        print(json.dumps({what: {"relative": float(f"{difference:.2g}")}}), flush=True)
    else:
        most = int(np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max())
        print(json.dumps({what: {"of 255": most}}), flush=True)


def in_place_of(name: str, **content: Any) -> None:
    """A module that an official program imports for what is not run here, where it is not installed."""
    top = name.partition(".")[0]
    if top not in sys.modules and importlib.util.find_spec(top) is None:
        for part in (top, name):
            sys.modules.setdefault(part, types.ModuleType(part)).__dict__.update(content)


@contextmanager
def program(folder: str, *names: str) -> Iterator[list[Any]]:
    """Modules of an official program, whose folder is on the path meanwhile; what it puts on a GPU stays here."""
    in_place_of("pytorch_lightning.utilities", rank_zero_only=lambda call: call)
    root, before = str(Path(folder).resolve()), set(sys.modules)
    with patch.object(sys, "path", [root, *sys.path]), patch.object(Tensor, "cuda", lambda tensor, *_, **__: tensor):
        yield [importlib.import_module(name) for name in names]
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(root):
            del sys.modules[name]


# ---------------------------------------------------------------- IDiff-Face and UIFace


def randomly(network: Any) -> Any:
    """Weights that keep activations at about unit size; also of layers that begin at zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            drawn = torch.randn(weight.shape, generator=generator)
            scaled = drawn / weight[0].numel() ** 0.5 if weight.ndim > 1 else 0.1 * drawn
            weight.copy_(scaled + 1 if weight.ndim == 1 and name.endswith("weight") else scaled)
        if hasattr(network, "final"):  # like a trained one: a chain stays bounded
            network.final.weight *= 0.2
    return network.eval()


def first_stage(folder: Path, vqgan: Any, config: Path) -> Any:
    """The official first stage with random weights, written where its files belong; its decoder."""
    folder.mkdir(parents=True)
    made = []
    for kind, half in ((vqgan.VQEncoderInterface, "encoder"), (vqgan.VQDecoderInterface, "decoder")):
        file = folder / f"first_stage_{half}_state_dict.pt"
        with patch.object(kind, "load_state_dict"), patch.object(torch, "load"):
            network = randomly(kind(str(config), str(file)))
        torch.save(network.state_dict(), file)
        made.append(network)
    return made[1]


def latent_family(name: str, place: str, full: bool, out: Path) -> None:
    family, empty = (IDIFF_FACE, False) if name == "IDiff-Face" else (UIFACE, True)
    sizes = WIDE if full else NARROW
    modules = "models.diffusion.unet", "diffusion.ddpm", "models.autoencoder.vqgan"
    with program(place, *modules) as (unet, ddpm, vqgan), torch.no_grad():
        channels = sizes["channels"]
        network = randomly(
            unet.ConditionalUNet(
                initial_channels=channels[0],
                channel_multipliers=[b // a for a, b in zip((channels[0], *channels), channels, strict=False)],
                is_attention=[False, True, True, True],
                attention_heads=-1,
                attention_head_channels=32,
                condition_type="CA",
                is_context_conditional=True,
                context_channels=sizes["context_dim"],
                context_dropout_probability=0.25,
                learn_empty_context=empty,
            )
        )
        chain = ddpm.DenoisingDiffusionProbabilisticModel(network, 1000)
        decoder = first_stage(
            out / "models" / "autoencoder", vqgan, Path(place) / "models/autoencoder/first_stage_config.yaml"
        )
        torch.save(chain.state_dict(), out / "model.ckpt")
        convert(family, out, out / "converted", unet=sizes)
        pipeline = family.pipeline.from_pretrained(out / "converted")
        pipeline.set_progress_bar_config(disable=True)
        who = torch.nn.functional.normalize(torch.randn(1, 512, generator=torch.Generator().manual_seed(1)))
        x, t = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2)), torch.tensor([321])
        theirs = network(x, t, who)
        say(f"{name}, the U-Net", pipeline.denoiser(x, t, who), theirs[0] if empty else theirs)
        steps = family.steps if not full or empty else 0
        if not steps:
            return
        item = pipeline(who, seed=3, output_type="latent").items[0]
        torch.manual_seed(item.seed)  # from which all of its noise comes, here as there
        if empty:
            latents = chain.sample_ddim_2stage(1, (3, 32, 32), context=who, step_th=500)[0]
        else:
            latents = chain.sample(1, (3, 32, 32), context=who)
        say(f"{name}, {steps} steps", item.image[None], latents)
        pixels = ((decoder(latents) + 1) / 2).clamp(0, 1)[0].permute(1, 2, 0)
        say(
            f"{name}, the picture",
            pipeline(who, seed=3).images[0],
            Image.fromarray((pixels * 255).round().byte().numpy()),
        )


# ---------------------------------------------------------------- Arc2Face


class Beside:
    """Pictures by ours and by diffusers' pipelines as the official program uses them, of one person, on the same noise.

    Args:
        files: the official files.
        full: at the published widths.
        steps: of denoising.
    """

    def __init__(self, files: Path, full: bool, steps: int):
        self.files, self.steps = build_official(files, full=full), steps
        parts = {"controlnet": True, "expression": True, "reference": True}
        self.ours = Arc2FacePipeline.from_pretrained(files, identity_dim=512 if full else DIM, **parts)
        self.ours.set_progress_bar_config(disable=True)
        drawn = torch.randn(1, self.ours.identity_dim, generator=torch.Generator().manual_seed(1))
        self.who, encoder = torch.nn.functional.normalize(drawn), self.ours.text_encoder
        heads = encoder.config.num_attention_heads
        weights = {name.removeprefix("text_model."): weight for name, weight in encoder.state_dict().items()}
        self.prompt, self.nobody = (prompt_embeds(weights, who, heads) for who in (self.who, None))

    def network(self) -> Any:
        return UNet2DConditionModel.from_pretrained(self.files / "arc2face")

    def plain(self, kind: Any, **parts: Any) -> Any:
        none = dict.fromkeys(("text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
        parts = {"unet": self.network(), "vae": self.ours.autoencoder, "scheduler": self.ours.scheduler, **parts}
        made = kind(**parts, **none, requires_safety_checker=False)
        made.set_progress_bar_config(disable=True)
        return made

    def say(self, what: str, item: Any, plain: Any, **call: Any) -> None:
        own = {"num_inference_steps": self.steps, "guidance_scale": 3.0, **call}
        generator = torch.Generator().manual_seed(item.seed)
        prompts = {"prompt_embeds": self.prompt, "negative_prompt_embeds": self.nobody}
        say(f"Arc2Face, {what}", item.image, plain(**prompts, **own, generator=generator).images[0])

    def made(self, **how: Any) -> Any:
        return self.ours(self.who, seed=3, num_inference_steps=self.steps, **how).items[0]

    def compare(self) -> None:
        """All but the reference adapter."""
        say("Arc2Face, the prompt (by hand)", self.ours.encode(self.who).prompts, self.prompt)
        self.say("the picture", self.made(), self.plain(StableDiffusionPipeline))
        file = self.files / "lora.safetensors"
        lcm_lora(self.ours.denoiser, file)
        plain = self.plain(StableDiffusionPipeline)
        plain.load_lora_weights(str(self.files), weight_name=file.name)
        plain.scheduler = LCMScheduler.from_config(plain.scheduler.config)
        item = self.ours.few_step(file)(self.who, seed=3).items[0]
        self.say("LCM-LoRA, 3 steps", item, plain, num_inference_steps=3, guidance_scale=1.0)
        head = head_normals(20, 5, self.ours.image_size)
        plain = self.plain(StableDiffusionControlNetPipeline, controlnet=self.ours.controlnet)
        self.say("ControlNet", self.made(normals=head), plain, image=head)
        self.say("expression adapter", self.made(expression=FACE), self.expressive(), **TOLD)

    def expressive(self) -> Any:
        plain = self.plain(StableDiffusionPipeline)
        where = {"subfolder": "exp_adapter", "weight_name": "exp_adapter.bin", "image_encoder_folder": None}
        plain.load_ip_adapter(str(self.files), **where)
        return plain

    @torch.no_grad()
    def reference(self, module: Any) -> None:
        """By the official program's `ReferenceAdapter`."""
        size, plain, network = self.ours.image_size, self.expressive(), self.network()
        picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8))
        item = self.made(expression=FACE, reference=picture)
        plain.load_lora_weights(str(self.files / "ref_adapter"), adapter_name="ref")
        plain.set_adapters("ref", 0.8)
        writes = module.ReferenceAdapter(network, mode="write")
        reads = module.ReferenceAdapter(plain.unet, mode="read", cfg=True)
        pixels = torch.from_numpy(np.asarray(picture, np.float32) / 255 * 2 - 1).permute(2, 0, 1)[None]
        noise = torch.Generator().manual_seed(item.seed + 1)  # the official program's is nobody's in particular
        latents = self.ours.autoencoder.encode(pixels).latent_dist.sample(noise)
        latents = (latents * self.ours.autoencoder.config.scaling_factor).repeat(2, 1, 1, 1)
        network(latents, torch.zeros(2).long(), self.prompt.repeat(2, 1, 1), return_dict=False)
        reads.update(writes)
        self.say("reference and expression adapter", item, plain, **TOLD)


if __name__ == "__main__":
    args = options(__doc__, arc2face=None, idiff_face=None, uiface=None, full=False, steps=25, threads=2)
    torch.set_num_threads(args.threads)
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        for name, place in (("IDiff-Face", args.idiff_face), ("UIFace", args.uiface)):
            if place is not None:
                latent_family(name, place, args.full, Path(folder) / name)
        beside = Beside(Path(folder) / "Arc2Face", args.full, args.steps)
        beside.compare()
        if args.arc2face is not None:
            with program(str(Path(args.arc2face) / "arc2face"), "ref_adapter") as (module,):
                beside.reference(module)
