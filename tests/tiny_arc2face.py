"""Arc2Face's official files at small width with seeded random weights: the same names, layout and formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

WIDTH, DIM = 32, 24  # of a token and of an identity's vector: officially 768 and 512


def unet_config(width: int = WIDTH) -> dict[str, Any]:
    return {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "cross_attention_dim": width,
        "attention_head_dim": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }


def text_encoder(**changes: Any) -> Any:
    """Random, but with weights large enough that the identity's token matters."""
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        encoder = CLIPTextModel(CLIPTextConfig(vocab_size=49408, max_position_embeddings=77, **sizes)).eval()
        with torch.no_grad():
            for name, weight in encoder.named_parameters():
                if weight.ndim > 1:
                    weight.normal_(std=0.3 if "embedding" not in name else 0.1)
    return encoder


def adapter(denoiser: Any, tokens: int = 4, values: int = 55) -> dict[str, dict[str, Tensor]]:
    """An expression adapter in IP-Adapter's format; the published one's sizes were never seen."""
    generator = torch.Generator().manual_seed(5)
    width = denoiser.config.cross_attention_dim
    crossing = {}
    for number, name in enumerate(denoiser.attn_processors):
        if name.endswith("attn2.processor"):
            block = denoiser.get_submodule(name.removesuffix(".processor"))
            for part in ("to_k_ip", "to_v_ip"):
                shape = block.to_k.weight.shape
                crossing[f"{number}.{part}.weight"] = torch.randn(shape, generator=generator) * 0.3
    project = {
        "proj.weight": torch.randn(tokens * width, values, generator=generator) * 0.5,
        "proj.bias": torch.randn(tokens * width, generator=generator) * 0.1,
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    return {"image_proj": project, "ip_adapter": crossing}


def build_official(folder: Path, width: int = WIDTH, full: bool = False) -> Path:
    """arc2face/, encoder/ (a pickle), controlnet/, exp_adapter/, ref_adapter/, and the base's vae/ and scheduler/; with
    `full` at the published widths."""
    from diffusers import AutoencoderKL, ControlNetModel, PNDMScheduler, UNet2DConditionModel

    width = 768 if full else width
    sides = (128, 256, 512, 512) if full else (8, 8, 16)
    own = {"cross_attention_dim": width, "sample_size": 64} if full else unet_config(width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(**own).eval()
        vae = AutoencoderKL(
            block_out_channels=sides,
            down_block_types=("DownEncoderBlock2D",) * len(sides),
            up_block_types=("UpDecoderBlock2D",) * len(sides),
            layers_per_block=2 if full else 1,
            norm_num_groups=32 if full else 4,
            latent_channels=4,
            sample_size=32,
        ).eval()
        more = {} if full else {"conditioning_embedding_out_channels": (4, 8, 8)}
        controlnet = ControlNetModel.from_unet(unet, **more)
        for weight in controlnet.parameters():  # some start at zero, so that the map would do nothing
            if not weight.any() and weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.1)
    unet.save_pretrained(folder / "arc2face")
    vae.save_pretrained(folder / "vae")
    controlnet.save_pretrained(folder / "controlnet")
    # Stable Diffusion 1.5's file, which says nothing of timestep_spacing.
    PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        set_alpha_to_one=False,
        skip_prk_steps=True,
    ).save_pretrained(folder / "scheduler")
    file = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text())
    del config["timestep_spacing"]
    file.write_text(json.dumps({**config, "clip_sample": False}))
    sizes = {"num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072} if full else {}
    encoder = text_encoder(hidden_size=width, **sizes)
    encoder.config.architectures = ["CLIPTextModelWrapper"]
    encoder.config.save_pretrained(folder / "encoder")
    # As transformers 4.2x–4.5x saved them, whatever generation is installed.
    weights = {f"text_model.{name.removeprefix('text_model.')}": w.clone() for name, w in encoder.state_dict().items()}
    weights["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    torch.save(weights, folder / "encoder" / "pytorch_model.bin")
    (folder / "exp_adapter").mkdir()
    torch.save(adapter(unet), folder / "exp_adapter" / "exp_adapter.bin")
    (folder / "ref_adapter").mkdir()
    reference_lora(unet, folder / "ref_adapter" / "pytorch_lora_weights.safetensors")
    return folder


def paint(folder: Path, picture: Image.Image, steps: int = 80) -> None:
    """Teach the autoencoder in these files to decode all latents to this picture, which they only tint."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(folder / "vae")
    small = picture.resize((vae.config.sample_size,) * 2, Image.Resampling.BOX)
    wanted = torch.from_numpy(np.asarray(small, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with torch.no_grad():
            vae.post_quant_conv.weight.mul_(0.01)
        optimizer = torch.optim.Adam([*vae.decoder.parameters(), vae.post_quant_conv.bias], lr=2e-2)
        for _ in range(steps):
            loss = (vae.decode(5 * torch.randn(2, 4, 8, 8)).sample - wanted).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    vae.save_pretrained(folder / "vae")


def reference_lora(denoiser: Any, file: Path, names: tuple[str, str] = ("lora.down", "lora.up"), **about: str) -> None:
    """A LoRA on the attentions, as diffusers saves one; which layers the published one is on was never seen."""
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(11)
    weights = {}
    for name, module in denoiser.named_modules():
        if name.endswith(("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "attn2.to_q", "ff.net.2")):
            out, into = module.weight.shape
            weights[f"unet.{name}.{names[0]}.weight"] = torch.randn(3, into, generator=generator) * 0.3
            weights[f"unet.{name}.{names[1]}.weight"] = torch.randn(out, 3, generator=generator) * 0.3
    save_file(weights, file, about or None)


def lcm_lora(denoiser: Any, file: Path, rank: int = 4) -> dict[str, Tensor]:
    """A LoRA on some layers in the LCM-LoRA's format (kohya's names); returns what it adds to each weight."""
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(9)
    weights, added = {}, {}
    for name, module in denoiser.named_modules():
        if name.endswith(("attn1.to_q", "attn2.to_v", "ff.net.2", "conv1")):
            stem = "lora_unet_" + name.replace(".", "_")
            shape = module.weight.shape
            down = torch.randn(rank, *shape[1:], generator=generator) * 0.2
            up = torch.randn(shape[0], rank, *[1] * (len(shape) - 2), generator=generator) * 0.2
            alpha = torch.tensor(float(rank) / 2)
            weights |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": alpha}
            added[name] = (up.flatten(1) @ down.flatten(1)).reshape(shape) * alpha / rank
    save_file(weights, file)
    return added
