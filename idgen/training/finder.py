"""Train the face finder on whole pictures, and on aligned faces pasted anywhere.

An aligned face can be scaled, turned and pasted into any background: data without end. What is known of its landmarks
is the similarity that carried them to the template, not each point (a turned head's points do not lie on the
template): there, only the part of an error that a similarity can express counts. Pictures without a face are
procedural, faces cut up and shuffled (parts alone are not a face), or whole pictures with the head hidden.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from idgen.evaluation.no_face import procedural
from idgen.faces.align import template
from idgen.ground.errors import InputError
from idgen.models.finder import FaceFinderNet, face_size
from idgen.training import augment
from idgen.training.augment import Random
from idgen.training.data import Faces, hold_out, load_faces
from idgen.training.loop import FacesArgs, Task, build, train
from idgen.training.warping import carry, fit_similarity, mirrored, similarities, similarity_grid, similarity_part, warp


@dataclass(kw_only=True)
class FinderArgs(FacesArgs):
    """Train the face finder; the aligned faces of `data`, but for the people held out, are pasted."""

    photos: Path
    """Parquet of whole pictures with a column `landmarks` (five points in pixels)."""
    crops: int = 64
    """Roughly aligned crops a step, for the second network: 3/8 of photos, 1/4 of aligned faces, 3/8 of no face."""
    held_out_photos: int | None = None
    """The last pictures of `photos`, kept for measuring; by default a tenth of them, at most 500."""
    validation_photos: int | None = None
    """The pictures before those, which validate; by default a tenth of the rest, at most 250. So many procedural ones
    check for false finds."""
    backgrounds: int = 3000
    """Procedural pictures without a face, drawn before training."""


class FinderTask(Task):
    """The finder's network and its endless data."""

    args: FinderArgs

    def __init__(self, args: FinderArgs, photos: Faces, faces: Faces):
        super().__init__()
        torch.manual_seed(args.seed)
        self.args, self.faces = args, faces
        network: Any = build(FaceFinderNet, args.model)
        self.network = network.to(memory_format=torch.channels_last)
        if photos.columns.get("landmarks", np.empty(0)).shape[1:] != (5, 2):
            raise InputError(f"{args.photos} has no column `landmarks`: five points (x, y) in pixels for each picture.")
        points = np.asarray(photos.columns["landmarks"], np.float32)
        last = len(photos) - hold_out(len(photos), args.held_out_photos, 500, "photos")
        first = last - hold_out(last, args.validation_photos, 250, "photos")
        self.photos, self.points = photos.images[:first], torch.from_numpy(points[:first])
        self.held_out, self.held_out_points = photos.images[first:last], points[first:last]
        size = self.network.config.image_size
        self.backgrounds = procedural(args.backgrounds, size, seed=args.seed + 1000)
        self.background_check = procedural(last - first, size, seed=args.seed + 2000)
        self.template = torch.from_numpy(template(faces.images.shape[1])).float()

    def _pixels(self, images: Any, rows: Tensor) -> Tensor:
        chosen = torch.from_numpy(np.ascontiguousarray(images[rows.numpy()]))
        return chosen.to(self.device).permute(0, 3, 1, 2).float().div_(255)

    def _photos(self, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(self.photos), (n,), generator=generator)
        return self._pixels(self.photos, rows), self.points[rows].to(self.device)

    def _background(self, n: int, generator: Generator) -> Tensor:
        rows = torch.randint(len(self.backgrounds), (n,), generator=generator)
        return self._pixels(self.backgrounds, rows)

    def _zoomed(self, images: Tensor, points: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Whole pictures, zoomed, turned and moved so that the face has any size and place."""
        n, size = len(images), self.network.config.image_size
        wanted = size * torch.exp(Random(generator, images.device).uniform((n,), math.log(0.08), math.log(0.9)))
        scale = (wanted / face_size(points)).clamp(0.6, 3.0)
        return self._place(images, points, scale, generator, self._background(n, generator))

    def pasted(self, n: int, generator: Generator, smallest: float = 0.12) -> tuple[Tensor, Tensor]:
        """Aligned faces, pasted as a square or a soft oval on a background; a third of them fill the picture."""
        size = self.network.config.image_size
        rows = torch.randint(len(self.faces), (n,), generator=generator)
        images = self._pixels(self.faces.images, rows)
        rng = Random(generator, images.device)
        points = self.template.to(images.device).expand(n, 5, 2)
        wanted = size * torch.exp(rng.uniform((n,), math.log(smallest), math.log(1.0)))
        wanted = torch.where(rng.uniform((n,)) < 0.3, size * rng.uniform((n,), 0.7, 1.4), wanted)
        return self._place(images, points, wanted / face_size(points), generator, self._background(n, generator), True)

    def _place(
        self, images: Tensor, points: Tensor, scale: Tensor, generator: Generator, behind: Tensor, oval: bool = False
    ) -> tuple[Tensor, Tensor]:
        n, size, side = len(images), behind.shape[-1], images.shape[-1]
        rng = Random(generator, images.device)
        mirror = rng.uniform((n,)) < 0.5
        images = torch.where(mirror[:, None, None, None], images.flip(3), images)
        points = torch.where(mirror[:, None, None], mirrored(points, side), points)
        angle = rng.normal((n,)) * math.radians(18)
        room = (scale * face_size(points) * 0.4).clamp(max=size / 2)[:, None]
        target = room + rng.uniform((n, 2)) * (size - 2 * room)
        ahead, back = similarities(scale, angle, points.mean(1), target)
        grid = similarity_grid(back, size)
        mask = torch.ones(n, 1, side, side, device=images.device)
        if oval:
            y = torch.linspace(-1, 1, side, device=images.device)
            distance = (y[None, :] / 0.85) ** 2 + ((y[:, None] - 0.08) / 1.0) ** 2
            soft = torch.sigmoid((1 - distance) * 8)
            mask = torch.where((rng.uniform((n,)) < 0.5)[:, None, None, None], soft, mask)
        small = scale < 0.7  # smooth before shrinking
        if small.any():
            factor = float(1 / scale[small].mean())
            images[small] = augment.blur(images[small], rng, max(0.41, 0.5 * factor))
        # Whole pictures continue at their edge half of the time, else something else lies beyond it.
        mask = warp(mask, grid)
        if not oval:
            mask = torch.maximum(mask, (rng.uniform((n,)) < 0.5).float()[:, None, None, None])
        return behind * (1 - mask) + warp(images, grid, "border") * mask, carry(points, ahead)

    def headless(self, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Whole pictures (n, 3, H, W) whose head lies under another part of the picture or something procedural, and
        the landmarks (n, 5, 2) that were there."""
        images, points = self._photos(n, generator)
        rng = Random(generator, images.device)
        size, side = face_size(points), images.shape[-1]
        line = torch.arange(side, device=images.device) + 0.5
        y, x = torch.meshgrid(line, line, indexing="ij")
        pixels = torch.stack([x, y], -1)
        away = torch.where(points[..., 0].mean(1) < side / 2, 1.7, -1.7) * size
        elsewhere = pixels + torch.stack([away, torch.zeros_like(away)], 1)[:, None, None]
        cover = F.interpolate(self._background(n, generator), (side, side), mode="bilinear")
        cover = torch.where((rng.uniform((n,)) < 0.6)[:, None, None, None], warp(images, elsewhere, "border"), cover)
        radius = size[:, None, None, None] * rng.uniform((n, 1, 1, 2), 0.75, 1.1)
        middle = points.mean(1) - torch.stack([torch.zeros_like(size), 0.15 * size], 1)
        distance = ((pixels - middle[:, None, None]) / radius).square().sum(-1)
        hidden = torch.sigmoid((1 - distance) * rng.uniform((n, 1, 1), 4, 40))[:, None]
        return images * (1 - hidden) + cover * hidden, points

    def empty(self, n: int, generator: Generator) -> Tensor:
        """Pictures without a face: a third procedural, a third the shuffled pieces of one, a third whole pictures with
        the head hidden."""
        third = n // 3
        images = self._background(n - 2 * third, generator)
        shuffled = augment.shuffle(self.pasted(third, generator, smallest=0.7)[0], generator)
        hidden, _ = self._zoomed(*self.headless(third, generator), generator)
        return torch.cat([images, shuffled, hidden])

    def crops(self, images: Tensor, points: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Crops as the second network gets them, aligned by landmarks that are off, and the landmarks there."""
        n, size = len(images), self.network.config.crop_size
        rng = Random(generator, images.device)
        points = points.to(images.device)
        canonical = self.network.crop_template.to(images.device)
        scale, angle = fit_similarity(points, canonical)
        scale = scale * torch.exp(rng.normal((n,)) * 0.13)
        angle = angle + rng.normal((n,)) * math.radians(11)
        target = canonical.mean(0) + rng.normal((n, 2)) * (0.05 * size)
        ahead, back = similarities(scale, angle, points.mean(1), target)
        return warp(images, similarity_grid(back, size), "border"), carry(points, ahead)

    def faceless_crops(self, n: int, generator: Generator) -> Tensor:
        """Crops without an aligned face: where a head was hidden, anywhere beside it, of something procedural, of
        shuffled faces, and of faces that are far from aligned."""
        size, part = self.network.config.crop_size, n // 5
        hidden, points = self.headless(part, generator)
        there, _ = self.crops(hidden, points, generator)
        rng = Random(generator, hidden.device)
        anywhere = []
        for images in (self.headless(part, generator)[0], self._background(part, generator)):
            side = images.shape[-1]
            scale = size / (side * torch.exp(rng.uniform((part,), math.log(0.15), 0.0)))
            middle = torch.full((part, 2), size / 2, device=images.device)
            _, back = similarities(scale, rng.normal((part,)), rng.uniform((part, 2)) * side, middle)
            anywhere.append(warp(images, similarity_grid(back, size), "border"))
        images, points = self._photos(n - 3 * part, generator)
        shuffled = augment.shuffle(self.crops(images[:part], points[:part], generator)[0], generator)
        images, points = images[part:], points[part:]
        # Far from aligned in one of three ways: moved, of another size, or turned.
        far = (len(images),)
        way, sign = rng.uniform(far), torch.where(rng.uniform(far) < 0.5, -1.0, 1.0)
        amount = rng.uniform(far)
        scale = torch.where((way > 0.5) & (way < 0.75), torch.exp(sign * (0.7 + 0.5 * amount)), 1.0)
        angle = torch.where(way > 0.75, sign * (1.3 + 1.8 * amount), 0.0)
        moved, direction = torch.where(way < 0.5, 0.45 + 0.5 * amount, 0.0), rng.uniform((len(way),), 0, 2 * math.pi)
        step = (moved * face_size(points))[:, None] * torch.stack([direction.cos(), direction.sin()], 1)
        ahead, _ = similarities(scale, angle, points.mean(1), points.mean(1) + step)
        return torch.cat([there, *anywhere, shuffled, self.crops(images, carry(points, ahead), generator)[0]])

    def crop_batch(self, generator: Generator) -> tuple[Tensor, Tensor, int]:
        """(crops in [-1, 1], of which the first `len(landmarks)` hold a face; their landmarks in their pixels; how many
        of the first are of photos, whose landmarks are exact)."""
        exact, pasted = self.args.crops * 3 // 8, self.args.crops // 4
        whole = self.crops(*self._photos(exact, generator), generator)
        aligned_rows = torch.randint(len(self.faces), (pasted,), generator=generator)
        aligned = self._pixels(self.faces.images, aligned_rows)
        images, points = (
            torch.cat(pair)
            for pair in zip(whole, self.crops(aligned, self.template.expand(pasted, 5, 2), generator), strict=True)
        )
        rng = Random(generator, images.device)
        rows = rng.choose(len(images), 0.5)
        images[rows], points[rows] = images[rows].flip(3), mirrored(points[rows], images.shape[-1])
        images = torch.cat([images, self.faceless_crops(self.args.crops - exact - pasted, generator)])
        changes: list[tuple[float, augment.Change]] = [(0.8, augment.colour), (0.2, augment.rescale)]
        changes += [(0.15, augment.jpeg), (0.1, augment.occlude)]
        augment.sometimes(images, rng, changes)
        return images.clamp(0, 1) * 2 - 1, points, exact

    def batch(self, generator: Generator) -> tuple[Tensor, Tensor, int]:
        """(pixels in [-1, 1] of which the first `faces` hold a face, their landmarks, faces)."""
        n = self.args.batch_size
        counts = (n * 2 // 5, n * 2 // 5)
        whole = self._zoomed(*self._photos(counts[0], generator), generator)
        pictures, points = zip(whole, self.pasted(counts[1], generator), strict=True)
        images = torch.cat([*pictures, self.empty(n - sum(counts), generator)])
        changes: list[tuple[float, augment.Change]] = [(0.8, augment.colour), (0.15, augment.blur)]
        changes += [(0.15, augment.jpeg), (0.1, augment.rescale)]
        changes += [(0.2, lambda some, rng: some + rng.normal(tuple(some.shape)) * 0.04)]
        augment.sometimes(images, Random(generator, images.device), changes)
        return images.clamp(0, 1) * 2 - 1, torch.cat(points), sum(counts)

    def forward(self, step: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.network.train()
        with torch.autocast(self.device.type, enabled=False):
            pixels, points, faces = self.batch(generator)
            crops, crop_points, exact = self.crop_batch(generator)
        parts = self._correction_losses(crops, crop_points, exact) | self._finding_losses(pixels, points, faces)
        weights = {"heat": 1, "points": 20, "size": 1, "correction": 40, "verdict": 1}
        return sum(parts[name] * weight for name, weight in weights.items()), parts  # type: ignore[return-value]

    def _correction_losses(self, crops: Tensor, points: Tensor, exact: int) -> dict[str, Tensor]:
        """Of the second network, see `crop_batch`."""
        corrected, sure = self.network.correct(crops.contiguous(memory_format=torch.channels_last))
        error = (corrected[: len(points)] - points) / self.network.config.crop_size
        error = torch.cat([error[:exact], similarity_part(error[exact:], self.network.crop_template.to(self.device))])
        is_face = (torch.arange(len(crops), device=self.device) < len(points)).float()
        return {
            "correction": F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.01),
            "verdict": F.binary_cross_entropy_with_logits(sure, is_face),
        }

    def _finding_losses(self, pixels: Tensor, points: Tensor, faces: int) -> dict[str, Tensor]:
        """Of the first network, see `batch`."""
        logits, sizes, landmarks = self.network(pixels.contiguous(memory_format=torch.channels_last))
        height, width = logits.shape[1:]
        stride, device = pixels.shape[-1] / width, self.device
        wanted_size = face_size(points)
        y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
        cells = (torch.stack([x, y], -1) + 0.5) * stride
        distance = (cells - points.mean(1)[:, None, None]).norm(dim=-1)
        spread = torch.maximum(wanted_size * 0.08, torch.tensor(0.5 * stride))[:, None, None]
        heat = torch.zeros_like(logits)
        heat[:faces] = torch.exp(-((distance / spread) ** 2) / 2)
        # Penalty-reduced focal loss (Law & Deng 2018, Eq. 1), with the cell at the face's centre as its one positive.
        nearest = torch.zeros_like(heat, dtype=torch.bool)
        nearest.flatten(1)[torch.arange(faces), distance.flatten(1).argmin(1)] = True
        p = logits.sigmoid().clamp(1e-5, 1 - 1e-5)
        positive = -((1 - p[nearest]) ** 2 * p[nearest].log()).sum()
        negative = -((1 - heat) ** 4 * p**2 * (1 - p).log())[~nearest].sum()
        # Size and landmarks count where the face is, weighed by the heat.
        weight = torch.where(nearest[:faces], 1.0, heat[:faces] * (heat[:faces] > 0.5))
        error = (landmarks[:faces] - points[:, None, None]) / wanted_size[:, None, None, None, None]
        whole = self.args.batch_size * 2 // 5
        template = self.network.crop_template.to(device)
        error = torch.cat([error[:whole], similarity_part(error[whole:], template)])
        per_cell = F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=0.02).mean((3, 4))
        size_error = (sizes[:faces].log() - wanted_size.log()[:, None, None]).abs()
        return {
            "heat": (positive + negative) / faces,
            "points": (per_cell * weight).sum() / weight.sum(),
            "size": (size_error * weight).sum() / weight.sum(),
        }

    def validate(self, network: FaceFinderNet, out: Path) -> dict[str, float]:
        """On held-out pictures, one pass: landmark error over eye distance, misses; on procedural ones, false finds;
        of the correction of landmarks that are off, the error over eye distance."""
        side, size = self.held_out.shape[1], self.network.config.image_size
        errors, missed, false = [], 0, 0
        for start in range(0, len(self.held_out), 50):
            rows = torch.arange(start, min(start + 50, len(self.held_out)))
            pixels = F.interpolate(self._pixels(self.held_out, rows), (size, size), mode="bilinear", antialias=True)
            for row, faces in zip(rows.tolist(), network.detect(pixels * 2 - 1), strict=True):
                if not faces:
                    missed += 1
                    continue
                points = faces[0][1].numpy() * side / size
                truth = self.held_out_points[row]
                eyes = np.linalg.norm(truth[1] - truth[0]).clip(4)
                errors.append(float(np.linalg.norm(points - truth, axis=1).mean() / eyes))
            empty = self._pixels(self.background_check, rows)
            false += sum(bool(faces) for faces in network.detect(empty * 2 - 1))
        count = len(self.held_out)
        truth = torch.from_numpy(self.held_out_points)
        crops, wanted = self.crops(self._pixels(self.held_out, torch.arange(count)), truth, Generator().manual_seed(0))
        points, sure = network.correct(crops * 2 - 1)
        off = (points - wanted).norm(dim=2).mean(1) / (wanted[:, 1] - wanted[:, 0]).norm(dim=1)
        background = F.interpolate(self._pixels(self.background_check, torch.arange(count)), crops.shape[-2:])
        return {
            "corrected_missed": float((sure < 0).float().mean()),
            "corrected_false": float((network.correct(background * 2 - 1)[1] > 0).float().mean()),
            "corrected_error": float(off.mean()),
            "corrected_error_median": float(off.median()),
            "landmark_error": float(np.mean(errors)) if errors else 1.0,
            "landmark_error_median": float(np.median(errors)) if errors else 1.0,
            "missed": missed / count,
            "false": false / count,
        }


def train_finder(args: FinderArgs) -> dict[str, float]:
    """Train the face finder; the network is written to `args.out/model`."""
    photos, everybody = load_faces(args.photos, labelled=False), load_faces(args.data, args.size)
    origin = {"data": everybody.content, "photos": photos.content}
    return train(FinderTask(args, photos, everybody.split_people(args.held_out_people)[0]), args, origin)
