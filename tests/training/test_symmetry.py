"""Left and right of frontal faces; and adapters beside a network that stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator
from torch.nn.functional import conv2d, cosine_similarity, interpolate

from idgen import models
from idgen.faces.align import template
from idgen.ground.errors import InputError
from idgen.model import load_model
from idgen.models import ResNetRecognizer
from idgen.models.adapted import _SHARE, AdaptedConv, adapted, detail
from idgen.training.mixture import load_mixture
from idgen.training.recognition import RecognizerArgs, RecognizerTask, train_recognizer
from idgen.training.symmetry import completed, frontness

MODEL = {"channels": (16, 16, 16), "blocks": (1, 1, 1), "embedding_dim": 16}
QUICK = {"batch_size": 8, "precision": "no", "validate_every": 2, "warmup": 1, "held_out_people": 2, "size": 64}


class Looking(torch.nn.Module):
    """Sees the landmarks of the template, the nose moved to the right by 0, 1, 2, ... tenths of the eye distance."""

    config = type("Config", (), {"crop_size": 48})

    def correct(self, crops: torch.Tensor) -> tuple[torch.Tensor, None]:
        assert crops.shape[1:] == (3, 48, 48) and crops.abs().max() <= 1
        points = torch.from_numpy(template(48)).float().expand(len(crops), -1, -1).clone()
        eyes = points[:, 1, 0] - points[:, 0, 0]
        points[:, 2, 0] = points[:, :2, 0].mean(1) + eyes * 0.1 * torch.arange(len(crops))
        return points, None


def test_frontness_is_how_far_the_nose_is_from_the_middle() -> None:
    assert frontness(Looking(), torch.rand(7, 3, 64, 64)) == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0, 0], abs=1e-5)


def test_the_small_network_sees_the_nose_where_the_finder_does() -> None:
    """On pictures by the built-in model; the landmarks of the finder's first look are the others."""
    model = load_model("nobody-128")
    made = model.pipeline.iterate(model.sampler.sample(2, seed=1), 1, num_inference_steps=4)
    pictures = [item.image for item in made]
    pixels = torch.stack([torch.from_numpy(np.array(one)).permute(2, 0, 1) / 255 for one in pictures])
    found = frontness(model.encoder.finder.net, pixels)
    for one, seen in zip(pictures, found, strict=True):
        points = model.encoder.finder.upright(one)[0].landmarks[:, 0]
        assert seen == pytest.approx(1 - 2 * abs(points[2] - points[:2].mean()) / (points[1] - points[0]), abs=0.2)


def test_halves_are_completed_by_their_mirror_image() -> None:
    pixels = torch.rand(2, 3, 4, 6)
    one, other = completed(pixels)
    for half in (one, other):
        assert torch.equal(half, half.flip(3))
    assert torch.equal(one[..., :3], pixels[..., :3]) and torch.equal(other[..., 3:], pixels[..., 3:])


def test_symmetry_is_learned_beside(folder, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("idgen.training.symmetry.frontness", lambda net, pixels: np.arange(len(pixels)) % 2 / 1.0)
    args = RecognizerArgs(out=tmp_path / "run", data=folder, model=MODEL, symmetry=0.5, **QUICK)
    faces, held_out, _ = load_mixture([str(folder)], 64, held_out=2)
    task = RecognizerTask(args, faces, held_out)
    (halves,) = task.symmetry
    assert halves.rows.tolist() == list(range(1, len(faces), 2))
    before = {name: value.clone() for name, value in task.network.state_dict().items() if "running" in name}
    task.network.train()
    found = halves.cost(task.network, 3, Generator().manual_seed(0))
    assert task.network.training and all(
        torch.equal(value, task.network.state_dict()[name]) for name, value in before.items()
    ), "half faces are not in the statistics"
    rows = halves.rows[torch.randint(len(halves.rows), (3,), generator=Generator().manual_seed(0)).numpy()]
    pixels = interpolate(faces.pixels(rows) * 2 - 1, size=(112, 112), mode="bilinear", antialias=True)
    one, other = (task.network.eval()(half) for half in completed(pixels))
    assert torch.allclose(found, 1 - cosine_similarity(one, other).mean(), atol=1e-6)
    found.backward()
    assert task.network.stem[0].weight.grad.any()
    with_, seen = task(0, Generator().manual_seed(0))
    task.symmetry = ()
    without, _ = task(0, Generator().manual_seed(0))
    assert torch.allclose(with_, without + 0.5 * seen["symmetry"])

    monkeypatch.setattr("idgen.training.symmetry.frontness", lambda net, pixels: np.zeros(len(pixels)))
    with pytest.raises(InputError, match="No face to learn from is frontal"):
        RecognizerTask(args, faces, held_out)


def test_an_adapter_is_its_formula() -> None:
    torch.manual_seed(0)
    layer = AdaptedConv(torch.nn.Conv2d(3, 5, 3, 2, 1, bias=False), 2, 0.0).double()
    for part in (layer.low, layer.high):
        torch.nn.init.normal_(part[1].weight)
    x, a = torch.randn(4, 3, 8, 8).double(), torch.rand(4, 1, 1, 1).double()
    token = _SHARE.set(a)
    found = layer(x)
    _SHARE.reset(token)
    expected = conv2d(x, layer.weight, None, 2, 1)
    for part, share in ((layer.low, 1 - a), (layer.high, a)):
        both = torch.einsum("orij,rcxy->ocxy", part[1].weight, part[0].weight)  # U and D are one convolution
        expected = expected + share * conv2d(x, both, None, 2, 1)
    assert torch.allclose(found, expected)


def test_low_resolution_has_less_detail() -> None:
    sharp = torch.rand(3, 3, 32, 32) * 2 - 1
    small = interpolate(sharp, size=(8, 8), mode="bilinear", antialias=True)
    blurred = interpolate(small, size=(32, 32), mode="bilinear")
    assert (detail(blurred) < 0.5 * detail(sharp)).all() and float(detail(torch.ones(1, 3, 8, 8))) < 1e-6


def test_only_the_adapters_learn(folder, tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    base = ResNetRecognizer(**MODEL).eval()
    base.save_pretrained(tmp_path / "base")
    new, pixels = adapted(base, 4, 0.1).eval(), torch.rand(2, 3, 112, 112) * 2 - 1
    assert torch.allclose(new(pixels), base(pixels), atol=1e-6), "adapters begin as nothing"
    args = RecognizerArgs(out=tmp_path / "run", data=folder, adapt=tmp_path / "base", rank=4, steps=2, ema=0, **QUICK)
    train_recognizer(args)
    trained = models.load(tmp_path / "run" / "model", models.AdaptedRecognizer).eval()
    state = trained.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in base.state_dict().items())
    assert trained.config.usual > 0 and any(layer.high[1].weight.any() for layer in trained.adapters())
    assert not torch.allclose(trained(pixels), base(pixels), atol=1e-5)
    assert sum(p.numel() for p in trained.parameters() if p.requires_grad) == sum(
        p.numel() for layer in trained.adapters() for part in (layer.low, layer.high) for p in part.parameters()
    )
    with pytest.raises(InputError, match="There is no trained network in"):
        train_recognizer(RecognizerArgs(out=tmp_path / "none", data=folder, adapt=tmp_path, **QUICK))
