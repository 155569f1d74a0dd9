"""Augmentation: shapes, range, reproducibility, and the maths of two of the parts."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Generator

from idgen.training import augment, views
from idgen.training.randaugment import OPERATIONS, randaugment


@pytest.fixture
def images():
    coarse = torch.rand(16, 3, 9, 9, generator=Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (128, 128), mode="bicubic").clamp(0, 1)


def rng(seed=0):
    return augment.Random(Generator().manual_seed(seed), torch.device("cpu"))


def test_recognition_is_seeded_and_in_range(images):
    first, again, other = (views.view(images, Generator().manual_seed(seed)) for seed in (1, 1, 2))
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


def test_the_usual_view_is_that_of_the_shipped_weights(images):
    """Every draw in its order: a training that is resumed sees what it would have seen."""
    generator, colour = Generator().manual_seed(4), 0.7
    told = {**views.strengths({}), "colour": colour}
    seen = views.view(images, generator, 112, told, often=0.4)
    r = rng(4)
    out = augment.affine(images, r, 112, scale=0.12, rotate=12, shift=0.04)
    changes = [(0.85, lambda some, rng: augment.colour(some, rng, colour)), (0.2, augment.replace_background)]
    changes += [(0.2, augment.occlude), (0.15, augment.rescale), (0.15, augment.blur), (0.2, augment.noise)]
    augment.sometimes(out, r, [*changes, (0.3, augment.jpeg)], 0.4)
    assert torch.equal(seen, out.clamp_(0, 1))


@pytest.mark.parametrize("name", [*views.USUAL, *views.MORE])
def test_every_augmentation_can_be_there_alone(images, name):
    alone = views.view(images, Generator().manual_seed(0), 128, views.strengths({"usual": 0, name: 1}))
    none = views.view(images, Generator().manual_seed(0), 128, views.strengths({"usual": 0}))
    without = views.view(images, Generator().manual_seed(0), 128, views.strengths({name: 0}))
    assert torch.allclose(none, images, atol=1e-4)
    changed = ((alone - images).abs().amax((1, 2, 3)) > 1e-3).float().mean()
    assert changed > 0 and alone.min() >= 0 and alone.max() <= 1
    assert not torch.equal(without, views.view(images, Generator().manual_seed(0), 128, views.strengths({name: 1})))


def test_augmentations_that_are_not_there():
    with pytest.raises(ValueError, match="No augmentation 'rain': choose among flip, affine"):
        views.strengths({"rain": 1})
    with pytest.raises(ValueError, match="strength of jpeg is a number from 0 to 3"):
        views.strengths({"jpeg": "much"})


def test_a_crop_shows_a_piece_and_erasing_hides_one(images):
    ramp = torch.linspace(0, 1, 128).expand(400, 3, 128, 128)
    seen = augment.crop(ramp, rng(), 0.81)
    span = seen[:, 0, 0, -1] - seen[:, 0, 0, 0]
    assert span.min() > 0.89 and span.max() < 1 and seen.min() >= 0
    share = (augment.erase(ramp, rng(), 0.1) != ramp).any(1).float().mean((1, 2))
    assert share.min() > 0.015 and 0.09 < share.max() < 0.11


def by_pillow(name, picture, strength, sign):
    picture = Image.fromarray((picture.permute(1, 2, 0) * 255).round().byte().numpy())
    side, factor = picture.width, 1 + 0.9 * strength * sign
    matrices = {"shear": (1, 0.3 * strength * sign, 0, 0, 1, 0)}
    matrices["shift"] = (1, 0, round(150 / 331 * side * strength) * sign, 0, 1, 0)
    enhancers = {"brightness": "Brightness", "colour": "Color", "contrast": "Contrast", "sharpness": "Sharpness"}
    if name in matrices:
        out = picture.transform(picture.size, Image.AFFINE, matrices[name], resample=0)
    elif name == "rotate":
        out = picture.rotate(30 * strength * sign)
    elif name in enhancers:
        out = getattr(ImageEnhance, enhancers[name])(picture).enhance(factor)
    elif name == "posterize":
        out = ImageOps.posterize(picture, 8 - round(4 * strength))
    elif name == "solarize":
        out = ImageOps.solarize(picture, 255 * (1 - strength))
    elif name == "grey":
        out = ImageOps.grayscale(picture).convert("RGB")
    else:
        out = getattr(ImageOps, name)(picture)
    return torch.from_numpy(np.asarray(out).copy()).permute(2, 0, 1) / 255


@pytest.mark.parametrize("name", [name for name, change in OPERATIONS.items() if change is not None])
def test_the_operations_are_pillows(images, name):
    images = (images[:6] * 255).round() / 255
    strength, signs = torch.arange(1, 7) / 12 + 0.01, torch.tensor([1.0, -1] * 3)
    ours = OPERATIONS[name](images, strength, signs)
    for one, picture, how, sign in zip(ours, images, strength.tolist(), signs.tolist(), strict=True):
        off = (one - by_pillow(name, picture, how, sign)).abs()
        assert off.mean() < 0.004 and off.quantile(0.99) < (0.05 if name == "rotate" else 0.012), float(off.mean())


def test_randaugment_is_seeded_and_draws_every_picture_for_itself(images):
    one, again = (randaugment(images, rng(3)) for _ in range(2))
    assert torch.equal(one, again) and one.min() >= 0 and one.max() <= 1
    same = images[:1].expand(16, -1, -1, -1)
    assert len({float(picture.sum()) for picture in randaugment(same, rng())}) > 12
