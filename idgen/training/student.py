"""Train a student that does in a few steps what the guided denoiser does in many.

The denoiser's guided paths from noise to latent are computed once and kept at the student's few times; between two of
them the student learns the straight line, for any guidance scale (piecewise rectified flow, Yan et al. 2024, arXiv
2405.07510, on the teacher's own paths; the scale as an input: Meng et al. 2023, arXiv 2210.03142). No adversary, and
one noise still leads to one picture, so the variety is the denoiser's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor
from tqdm.auto import tqdm

from idgen.ground import arguments, files
from idgen.ground.errors import InputError
from idgen.models.dit import IdentityDiT
from idgen.training.data import Faces, load_faces
from idgen.training.embedding import content_key, digest_of_latents
from idgen.training.generator import GeneratorArgs, GeneratorTask
from idgen.training.loop import digest, frozen, step_seed, train

_BLOCK = 256  # paths in one file of the cache


@dataclass(kw_only=True)
class StudentArgs(GeneratorArgs):
    """Distil the denoiser into few steps, with its data, recogniser and autoencoder."""

    generator: Path
    """Folder of the trained denoiser."""
    student_steps: int = 4
    """Steps of the student."""
    teacher_steps: int = 16
    """Steps of the denoiser, a multiple of `student_steps`."""
    paths: int = 10_000
    """How many paths of the denoiser the student learns from; kept in the cache."""
    least_guidance: float = 1.0
    most_guidance: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        arguments.whole("number of student_steps", self.student_steps, 1, 16)
        arguments.whole("number of paths", self.paths, 2)
        if self.teacher_steps < self.student_steps or self.teacher_steps % self.student_steps:
            raise InputError(f"teacher_steps is a multiple of student_steps, {self.student_steps}.")
        if not 0 <= self.least_guidance < self.most_guidance:
            raise InputError("least_guidance is at least 0 and below most_guidance.")
        if self.model:
            raise InputError(f"A student is as large as its generator, so it takes no model, got {self.model}.")


@dataclass(frozen=True)
class Paths:
    """Guided paths of the denoiser.

    Args:
        points: (P, S + 1, C, h, w) from noise to latent, at S + 1 evenly spaced times.
        identity: (P, D).
        told: (P, A) attributes.
        guidance: (P,).
    """

    points: NDArray[np.float16]
    identity: NDArray[np.float32]
    told: NDArray[np.float32]
    guidance: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.guidance)


class StudentTask(GeneratorTask):
    """The student, the denoiser's paths, and those held out."""

    args: StudentArgs

    def __init__(self, args: StudentArgs, faces: Faces):
        super().__init__(args, faces)
        self.teacher = (frozen(args.generator, IdentityDiT),)
        scales = (args.least_guidance, args.most_guidance)
        options = {key: value for key, value in self.teacher[0].config.items() if not key.startswith("_")}
        self.network = IdentityDiT(**{**options, "context_dropout": 0.0, "guidance_range": scales})
        self.network.load_state_dict(self.teacher[0].state_dict(), strict=False)  # all but the scale's layer
        self.paths = self._paths(faces)
        self.kept_back = max(1, min(512, len(self.paths) // 10))

    def _paths(self, faces: Faces) -> Paths:
        args = self.args
        key = (
            f"{content_key(args.generator, faces)}-{digest(args.recognizer)}-{args.teacher_steps}-{args.student_steps}"
        )
        folder = files.cache("paths", f"{key}-{args.least_guidance:g}-{args.most_guidance:g}-{args.seed}")
        blocks = []
        for number in tqdm(range(-(-args.paths // _BLOCK)), desc="the denoiser's paths", mininterval=5):
            file = folder / f"{number:05d}.npz"
            if not file.is_file():
                made = self._make_paths(Generator().manual_seed(step_seed(args.seed, number, 1)))
                with files.aside(file) as beside, beside.open("wb") as opened:
                    np.savez(opened, *made)
            with np.load(file) as archive:
                blocks.append([archive[name] for name in archive.files])
        return Paths(*(np.concatenate(parts)[: args.paths] for parts in zip(*blocks, strict=True)))

    @torch.no_grad()
    def _make_paths(self, generator: Generator) -> tuple[NDArray[Any], ...]:
        args, teacher = self.args, self.teacher[0].to(self._device()).eval()
        rows = self.rows[torch.randint(len(self.rows), (_BLOCK,), generator=generator)]
        identity, told = self.references(rows, generator), self.told[rows]
        told = torch.where(torch.rand(_BLOCK, 1, generator=generator) < 0.2, self._left_open(told, generator), told)
        low, high = args.least_guidance, args.most_guidance
        guidance = low + (high - low) * torch.rand(_BLOCK, generator=generator)
        noise = torch.randn(_BLOCK, *self.latents.shape[2:], generator=generator)
        points = []
        with torch.autocast(self._device().type, torch.bfloat16, enabled=args.precision == "bf16"):
            for part in torch.arange(_BLOCK).split(64 if self._device().type == "cpu" else _BLOCK):
                who, how, scale = (values[part].to(self._device()) for values in (identity, told, guidance))
                points.append(self._path(teacher, noise[part].to(self._device()), who, how, scale).half().cpu())
        return torch.cat(points).numpy(), identity.numpy(), told.numpy(), guidance.numpy()

    def _device(self) -> torch.device:
        return torch.device(self.args.device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def _path(self, teacher: Any, x: Tensor, who: Tensor, told: Tensor, scale: Tensor) -> Tensor:
        """(B, S + 1, C, h, w): two-step Adams–Bashforth along the guided velocity."""
        steps, every = self.args.teacher_steps, self.args.teacher_steps // self.args.student_steps
        drop = torch.arange(2 * len(x), device=x.device) >= len(x)
        who, told = who.repeat(2, 1), told.repeat(2, 1)
        points, before = [x], None
        for step in range(steps):
            time = torch.full((2 * len(x),), 1000 * (1 - step / steps), device=x.device)
            wanted, without = teacher(x.repeat(2, 1, 1, 1), time, who, drop, told).float().chunk(2)
            velocity = without + scale[:, None, None, None] * (wanted - without)
            x = x - (velocity if before is None else 1.5 * velocity - 0.5 * before) / steps
            before = velocity
            if (step + 1) % every == 0:
                points.append(x)
        return torch.stack(points, 1)

    def _loss(self, network: Any, rows: Tensor, generator: Generator) -> Tensor:
        device, paths, steps = self.device, self.paths, self.args.student_steps
        window = torch.randint(steps, (len(rows),), generator=generator)
        # Mostly at the window's beginning, where it is asked; elsewhere the chord keeps the network a flow.
        along = torch.rand(len(rows), generator=generator)
        along[torch.rand(len(rows), generator=generator) < 0.7] = 0.0
        index = rows.numpy()
        start, end = (torch.from_numpy(paths.points[index, (window + more).numpy()]).float() for more in (0, 1))
        x = torch.lerp(start, end, along[:, None, None, None]).to(device)
        velocity = (start - end).to(device) * steps
        time = 1000 * (1 - (window + along) / steps).to(device)
        who, told, scale = (
            torch.from_numpy(values[index]).to(device) for values in (paths.identity, paths.told, paths.guidance)
        )
        miss = (network(x, time, who, None, told, scale).float() - velocity).square().flatten(1).mean(1)
        constant = 0.00054 * x[0].numel() ** 0.5  # pseudo-Huber (Song & Dhariwal 2024)
        return ((miss + constant**2).sqrt() - constant).mean()

    def forward(self, step: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.network.train()
        rows = self.kept_back + torch.randint(
            len(self.paths) - self.kept_back, (self.args.batch_size,), generator=generator
        )
        return self._loss(self.network, rows, generator), {}

    def validate(self, network: IdentityDiT, out: Path) -> dict[str, float]:
        """On paths kept back: the loss, and how far the student's latents are from the denoiser's, ÷ their spread."""
        rows, steps, device = torch.arange(self.kept_back), self.args.student_steps, self.device
        loss = self._loss(network, rows, Generator().manual_seed(0))
        some = slice(0, min(64, self.kept_back))
        x = torch.from_numpy(self.paths.points[some, 0]).float().to(device)
        who, told, scale = (
            torch.from_numpy(values[some]).to(device)
            for values in (self.paths.identity, self.paths.told, self.paths.guidance)
        )
        for step in range(steps):
            time = torch.full((len(x),), 1000 * (1 - step / steps), device=device)
            x = x - network(x, time, who, None, told, scale).float() / steps
        wanted = torch.from_numpy(self.paths.points[some, -1]).float().to(device)
        off = (x - wanted).square().mean() / wanted.var()
        cosine = (F.normalize(self.recognise(x)) * F.normalize(self.recognise(wanted))).sum(1).mean()
        return {"val_loss": float(loss), "off": float(off.sqrt()), "cosine_to_the_denoisers": float(cosine)}


def train_student(args: StudentArgs) -> dict[str, float]:
    """Train the student; the network is written to `args.out/model`."""
    faces = load_faces(args.data, args.size)
    origin = {"data": faces.content, "generator": digest(args.generator), "recognizer": digest(args.recognizer)}
    origin["autoencoder"] = digest_of_latents(args.autoencoder)
    return train(StudentTask(args, faces), args, origin)
