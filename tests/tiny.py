"""A complete model folder whose networks have seeded random weights: the parts are real, only what they know is not."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

ENCODER_SPACE, JUDGE_SPACE = "tiny-encoder", "tiny-judge"
PEOPLE, PICTURES = 120, 3  # 120 · 3 · 119 comparisons of different people support a threshold at 1 in 1,000

TINY: dict[str, dict[str, Any]] = {
    "denoiser": {
        "sample_size": 4,
        "in_channels": 4,
        "width": 32,
        "depth": 2,
        "heads": 2,
        "mlp_ratio": 2,
        "identity_dim": 64,
        "context_dim": 16,
        "identity_tokens": 2,
    },
    "autoencoder": {
        "latent_channels": 4,
        "encoder_channels": (8, 16),
        "decoder_channels": (8, 16),
        "encoder_blocks": (1, 1),
        "decoder_blocks": (1, 1),
    },
    "encoder": {"channels": (8, 16), "blocks": (1, 1), "embedding_dim": 64},
    "judge": {"channels": (8, 16, 32), "depths": (1, 1, 1), "embedding_dim": 48},
    "flow": {"components": 8, "width": 16, "depth": 1, "steps": 4},
    "finder": {"channels": (8, 8, 8, 8), "image_size": 64, "crop_channels": (8, 8, 8, 8)},
}


def patterns(people: int, pictures: int, size: int = 112, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Stand-ins for aligned faces, (people · pictures, 3, size, size) in [0, 1], and their labels: everybody a smooth
    pattern, every picture a variation of it."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(people, 1, 3, 6, 6, generator=generator).expand(-1, pictures, -1, -1, -1)
    coarse = coarse + 0.3 * torch.randn(coarse.shape, generator=generator)
    smooth = F.interpolate(coarse.flatten(0, 1), (size, size), mode="bicubic")
    return (0.5 + 0.2 * smooth).clamp(0, 1), torch.arange(people).repeat_interleave(pictures)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A picture as a file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise_png(width: int = 80, height: int = 64) -> bytes:
    """A picture of nothing, as a file's bytes."""
    return encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)))


def soft_set(path: Path, people: int = 5, pictures: int = 3, parts: tuple[str, ...] = ("ann", "bob", "cem")) -> Path:
    """Parquet of noise, in which everybody is a mixture of two of three; labelled softly."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for person in range(people):
        for _ in range(pictures):
            image = encoded(Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)))
            one, other, share = parts[person % 3], parts[(person + 1) % 3], person / 10
            told = [{"identity": one, "weight": share}, {"identity": other, "weight": 1 - share}]
            rows.append({"image": {"bytes": image, "path": "x"}, "identity": f"mixed-{person}", "soft_label": told})
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@torch.no_grad()
def build_tiny_model(folder: Path) -> Path:
    """Write a model folder as `idgen.model.Model` reads it, the same at every call."""
    from diffusers import DPMSolverMultistepScheduler

    from idgen import models
    from idgen.evaluation.completing import Seen, fit_parts
    from idgen.faces.encoder import FaceEncoder
    from idgen.faces.finder import FaceFinder
    from idgen.ground.identity import centres
    from idgen.pipelines import IDiffFacePipeline
    from idgen.sampling.axes import principal_axes

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pictures, labels = patterns(PEOPLE, PICTURES)
        pixels = pictures * 2 - 1

        denoiser = models.IdentityDiT(**TINY["denoiser"])
        for layer in denoiser.modules():  # some start at zero, so that nothing would depend on the identity
            if isinstance(layer, nn.Linear) and not layer.weight.any():
                nn.init.normal_(layer.weight, std=0.05)

        autoencoder = models.FaceAutoencoder(**TINY["autoencoder"])
        latents = torch.randn(16, *(denoiser.config.in_channels, *[denoiser.config.sample_size] * 2))
        _settle(autoencoder, lambda: (autoencoder.encode(pixels[:64, :, :96, :96]), autoencoder.decode(latents)))
        autoencoder.decoder[-2].weight.mul_(0.5 / autoencoder.decode(latents).sample.std())

        encoder, judge = models.ResNetRecognizer(**TINY["encoder"]), models.PlainRecognizer(**TINY["judge"])
        for recognizer in (encoder, judge):
            _settle(recognizer, lambda recognizer=recognizer: recognizer(pixels[::3]))

        finder = models.FaceFinderNet(**TINY["finder"])
        side = finder.config.image_size
        _settle(finder, lambda: finder(F.interpolate(pixels[::9], (side, side))))

    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=1.0)
    pipeline = IDiffFacePipeline(denoiser.eval(), autoencoder, scheduler, space=ENCODER_SPACE)
    pipeline.save_pretrained(folder)
    face_encoder = FaceEncoder(encoder, FaceFinder(finder), space=ENCODER_SPACE)
    face_judge = FaceEncoder(judge, space=JUDGE_SPACE)
    by_encoder, by_judge = face_encoder.encode(pictures), face_judge.encode(pictures)
    face_encoder.save_pretrained(folder / "encoder")
    face_judge.save_pretrained(folder / "judge")
    people = centres(by_encoder, labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        flow = models.IdentityFlow(people.shape[1], **TINY["flow"])
    for buffer, fitted in zip(flow.buffers(), principal_axes(people, len(flow.axes)), strict=True):
        buffer.copy_(fitted)
    seen = Seen(by_encoder, by_judge, labels.numpy())
    fit_parts((ENCODER_SPACE, JUDGE_SPACE), seen, seen, "smooth random patterns", crowd=seen, flow=flow).save(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\nRandom weights: nothing it shows is a face.\n")
    return folder


def pattern_folder(folder: Path, people: int, pictures: int) -> Path:
    """`patterns` as PNG files of 64×64 pixels, a folder a person."""
    images, labels = patterns(people, pictures, size=64, seed=3)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        place = folder / f"p{label:02d}"
        place.mkdir(exist_ok=True)
        pixels = (image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        (place / f"{number}.png").write_bytes(encoded(Image.fromarray(pixels)))
    return folder


ATTRIBUTES: dict[str, list[Any]] = {
    "yaw": [-60.0, 60.0],
    "pitch": [-25.0, 25.0],
    "environment": ["indoor", "sun"],
    "expression": ["laugh", "neutral", "talk"],
    "smile": [0.0, 1.0],
    "mouth_open": [0.0, 1.0],
    "hair": ["bald", "bob", "long"],
    "hat": ["no", "yes"],
    "beard": [0.0, 1.0],
    "glasses": ["no", "yes"],
}


def labelled(people: int, pictures: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Columns such as a labelled set has them: men have beards, women long hair, who smiles laughs, a tenth has a
    hat, half of the people wears glasses now and then."""
    rng = np.random.default_rng(seed)
    male, glasses = rng.random(people) < 0.5, rng.random(people) < 0.5
    each = np.repeat(np.arange(people), pictures)
    smile = np.round(rng.random(len(each)), 2)
    return {
        "yaw": rng.uniform(-60, 60, len(each)),
        "pitch": rng.uniform(-25, 25, len(each)),
        "environment": rng.choice(["indoor", "sun"], len(each)),
        "expression": np.where(smile > 0.6, "laugh", rng.choice(["neutral", "talk"], len(each))),
        "smile": smile,
        "mouth_open": np.where(smile > 0.6, 0.8, 0.0),
        "hair": np.where(male[each], rng.choice(["bald", "bob"], len(each)), "long"),
        "hat": (rng.random(len(each)) < 0.1) | (np.arange(len(each)) == 0),  # in the smallest set, too
        "beard": np.where(male[each], 0.7, 0.0),
        "glasses": glasses[each] & (rng.random(len(each)) < 0.5),
        "gender": np.where(male[each], 0.9, 0.1),
        "age": rng.random(people)[each],
        "skin_tone": rng.random(people)[each],
        "african": np.full(len(each), 0.2),
        "asian": np.full(len(each), 0.3),
        "caucasian": np.full(len(each), 0.5),
    }


@torch.no_grad()
def build_attributed_model(tiny: Path, folder: Path) -> Path:
    """The tiny model with a denoiser that can be told attributes, a prior that draws them, a student of 2 steps, and
    guidance by the turn of the head."""
    from idgen.ground.attributes import PERSON, Vocabulary, labels
    from idgen.models import AttributePrior, IdentityDiT
    from idgen.pipelines import IDiffFacePipeline

    shutil.copytree(tiny, folder)
    pipeline = IDiffFacePipeline.from_pretrained(tiny)
    columns = labels(labelled(60, 4))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        networks = [
            IdentityDiT(**TINY["denoiser"], attributes=ATTRIBUTES, attribute_tokens=1, guidance_range=scales).eval()
            for scales in (None, (1.0, 4.0))
        ]
        for network in networks:
            for layer in network.modules():
                if isinstance(layer, nn.Linear) and not layer.weight.any():
                    nn.init.normal_(layer.weight, std=0.05)
        person = torch.from_numpy(np.stack([columns[name][::4] for name in PERSON], 1)).float()
        # Vectors from which the person can be read.
        vectors = F.normalize(torch.randn(60, 64) * 0.3 + person @ torch.randn(6, 64), dim=1)
    rows = torch.from_numpy(Vocabulary(ATTRIBUTES).rows(columns))
    who = torch.arange(60).repeat_interleave(4)
    prior = AttributePrior.fit(ATTRIBUTES, vectors, person, rows, who, torch.Generator().manual_seed(0))
    IDiffFacePipeline(
        networks[0],
        pipeline.autoencoder,
        pipeline.scheduler,
        space=ENCODER_SPACE,
        num_inference_steps=2,
        guidance_scale="1.4/2.4",
        prior=prior,
        student=networks[1],
        few_steps=2,
    ).save_pretrained(folder)
    return folder


@torch.no_grad()
def build_reading_model(attributed: Path, folder: Path) -> Path:
    """That model with a network of random weights that reads attributes, said to be right about renders."""
    from idgen.faces.reader import AttributeReader
    from idgen.models.attribute_net import AttributeNet

    shutil.copytree(attributed, folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = AttributeNet(ATTRIBUTES, channels=(16, 16), blocks=(1, 1), width=16, image_size=32)
        _settle(network, lambda: network(torch.rand(8, 3, 32, 32) * 2 - 1))
    errors = {"yaw": {"error": 3.0, "correlation": 0.9}, "hat": {"accuracy": 0.97, "balanced": 0.95}}
    AttributeReader(network, errors, "60 people").save_pretrained(folder / "attributes")
    return folder


def _settle(network: nn.Module, run: Callable[[], Any]) -> None:
    """Set batch norms to what goes through them, then switch to evaluation."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    run()
    network.eval()
    for norm in norms:
        norm.momentum = 0.1
