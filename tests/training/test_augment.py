"""Augmentation: shapes, range, reproducibility, and the maths of two of the parts."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator

from idgen.training import augment


@pytest.fixture
def images():
    coarse = torch.rand(16, 3, 9, 9, generator=Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (128, 128), mode="bicubic").clamp(0, 1)


def rng(seed=0):
    return augment.Random(Generator().manual_seed(seed), torch.device("cpu"))


def test_recognition_is_seeded_and_in_range(images):
    first, again, other = (augment.recognition(images, Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.shape == (16, 3, 112, 112)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.min() >= 0 and first.max() <= 1


def test_affine_without_change_mirrors_half(images):
    out = augment.affine(images, rng(), 128, scale=0, rotate=0, shift=0)
    mirrored = (out - images.flip(3)).abs().amax((1, 2, 3)) < 1e-4
    kept = (out - images).abs().amax((1, 2, 3)) < 1e-4
    assert (mirrored | kept).all() and mirrored.any() and kept.any()


def test_jpeg_is_close_to_a_real_encoder(images):
    grey = images[:1].mean(1, keepdim=True).expand(-1, 3, -1, -1)
    ours = augment.jpeg(grey, rng(), worst=30, best=30)
    real = io.BytesIO()
    Image.fromarray((grey[0, 0] * 255).round().byte().numpy()).save(real, "JPEG", quality=30)
    theirs = torch.from_numpy(np.asarray(Image.open(real)).copy()) / 255
    assert (ours[0, 0] - theirs).abs().mean() < 0.004
    assert (ours[0, 0] - theirs).abs().mean() < 0.7 * (grey[0, 0] - theirs).abs().mean()


def test_blur_keeps_the_mean_and_lowers_the_contrast(images):
    noise = torch.rand(2, 3, 64, 64, generator=Generator().manual_seed(3))
    out = augment.blur(noise, rng())
    assert torch.allclose(out.mean(), noise.mean(), atol=0.01)
    assert out.std() < noise.std()


def test_occlusion_covers_at_most_a_quarter(images):
    changed = (augment.occlude(images, rng()) != images).any(1).float().mean((1, 2))
    assert changed.max() <= 0.27 and changed.max() > 0
