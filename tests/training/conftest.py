"""Small labelled image sets on disk, as a user would have them."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IDGEN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def people(tmp_path):
    """Makes a folder with 128×128 pictures of people, one folder a person."""

    def make(name, count, pictures, seed):
        rng = np.random.default_rng(seed)
        for person in range(count):
            face = rng.integers(0, 255, (8, 8, 3))
            (tmp_path / name / f"p{person}").mkdir(parents=True)
            for k in range(pictures):
                pixels = np.clip(face + rng.integers(-20, 20, face.shape), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).resize((128, 128)).save(tmp_path / name / f"p{person}" / f"{k}.png")
        return tmp_path / name

    return make


@pytest.fixture
def folder(people):
    """Six people with four pictures each."""
    return people("faces", 6, 4, seed=0)
