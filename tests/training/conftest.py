"""Small labelled image sets on disk, as a user would have them."""

import numpy as np
import pytest
from PIL import Image

from idgen.training import data


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))


@pytest.fixture
def folder(tmp_path):
    """Six people with four 128×128 pictures each, in one folder a person."""
    rng = np.random.default_rng(0)
    for person in range(6):
        face = rng.integers(0, 255, (8, 8, 3))
        (tmp_path / "faces" / f"p{person}").mkdir(parents=True)
        for k in range(4):
            pixels = np.clip(face + rng.integers(-20, 20, face.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((128, 128)).save(tmp_path / "faces" / f"p{person}" / f"{k}.png")
    return tmp_path / "faces"
