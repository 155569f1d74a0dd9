"""A vector that came from a photo says so, whatever becomes of it, and is never called a person who does not exist."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from idgen.ground import provenance
from idgen.ground.identity import Identities, Identity, mean
from idgen.model import Model, load_model
from idgen.sampling.draw import draw
from idgen.sampling.interpolation import interpolate, mixup
from idgen.sampling.packing import packed
from idgen.sampling.variation import Cone, vary


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(str(tiny_model))


@pytest.fixture(scope="module")
def anna(model: Model) -> Identity:
    """Read from a photo."""
    crop = Image.fromarray(np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8))
    return model.encoder.identify([crop], aligned=True, name="Anna")


Way = Callable[[Model, Identity, Identity, Path], Identities]
WAYS: dict[str, Way] = {
    "itself": lambda model, anna, other, folder: Identities.of([anna]),
    "mean": lambda model, anna, other, folder: Identities.of([mean([other, anna])]),
    "interpolate": lambda model, anna, other, folder: interpolate(other, anna, 3),
    "mixup": lambda model, anna, other, folder: mixup(Identities.of([other, anna]), 3, 0)[0],
    "varied": lambda model, anna, other, folder: vary(Identities.of([anna]), Cone(0.8), 2, 0, 0),
    "packed": lambda model, anna, other, folder: Identities.of(
        [packed(Identities.of([other, anna]), model.sampler.sample(8, 1).vectors)[1]]
    ),
    "drawn from a file": lambda model, anna, other, folder: draw(model.sampler, 1, 0, "file", folder / "anna")[0],
    "mixed from a file": lambda model, anna, other, folder: draw(model.sampler, 2, 0, "mixup", folder / "both")[0],
    "a bare array": lambda model, anna, other, folder: draw(model.sampler, 1, 0, "file", folder / "anna.npy")[0],
}


@pytest.mark.parametrize("way", WAYS)
def test_it_says_so(model: Model, anna: Identity, tmp_path: Path, way: str) -> None:
    other = model.sampler.sample(1, 5)[0]
    assert anna.from_photo and not other.from_photo
    Identities.of([anna]).save(tmp_path / "anna")
    Identities.of([anna, other]).save(tmp_path / "both")
    np.save(tmp_path / "anna.npy", anna.vector.numpy()[None])
    people = WAYS[way](model, anna, other, tmp_path)
    for person in Identities.load(people.save(tmp_path / "people.safetensors")):
        assert person.from_photo and not person.source.startswith("sampled")
        info = provenance.made_by(model.name, person, 1, 0)
        assert "identity" not in info


def test_and_nobody_else_does(model: Model, tmp_path: Path) -> None:
    people = model.sampler.sample(2, 5)
    made = [mean(people), *interpolate(people[0], people[1], 3), *mixup(people, 2, 0)[0]]
    assert not any(person.from_photo for person in made)
    assert torch.equal(Identities.load(people.save(tmp_path / "x.safetensors")).vectors, people.vectors)


def test_only_a_mean_keeps_what_the_judge_sees(model: Model, anna: Identity, tmp_path: Path) -> None:
    """What another recogniser would see of a mixed or varied vector, nobody has seen; of a person as they are, and of
    the mean of photos, it is known."""
    crop = Image.fromarray(np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8))
    seen = model.identify([crop], aligned=True, name="Anna")
    assert torch.equal(seen.vector, anna.vector) and set(seen.also) == {"tiny-judge"}
    assert torch.allclose(seen.also["tiny-judge"], model.judge.encode([crop])[0], atol=1e-6)
    other = model.sampler.sample(1, 5)[0]
    Identities.of([seen]).save(tmp_path / "anna")
    Identities.of([seen, other]).save(tmp_path / "both")
    np.save(tmp_path / "anna.npy", anna.vector.numpy()[None])
    kept = {way for way in WAYS if any(WAYS[way](model, seen, other, tmp_path).also)}
    assert kept == {"itself", "drawn from a file"}
    assert mean([seen, seen]).also.keys() == {"tiny-judge"}
