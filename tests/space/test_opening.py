"""The person with whom the page opens is what the model paints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from idgen.ground import provenance
from idgen.model import Model
from space import opening


def test_the_model_paints_the_opening_again(built_in: Model, tmp_path: Path) -> None:
    opening.paint(built_in, tmp_path / "again")
    kept, again = (json.loads((folder / "opening.json").read_text()) for folder in (opening.FOLDER, tmp_path / "again"))
    assert kept["sentence"] == again["sentence"] and len(kept["pictures"]) == 8
    for one, other in zip(kept["pictures"], again["pictures"], strict=True):
        assert one["judge_similarity"] == pytest.approx(other["judge_similarity"], abs=1e-3)
        pictures = [np.int16(Image.open(folder / one["file"])) for folder in (opening.FOLDER, tmp_path / "again")]
        away = np.abs(np.subtract(*pictures))
        # To the bit; but where there is no AVX-512, one value in ten thousand is rounded to the next.
        least = torch.backends.cpu.get_cpu_capability() in ("AVX2", "DEFAULT")
        assert away.max() <= least and (away > 0).mean() < 1e-3, "paint it again: python -m space.opening"
        assert provenance.read(opening.FOLDER / one["file"])["model"] == built_in.name


def test_the_page_opens_with_the_models_own_person_or_with_nobody(small: Model) -> None:
    page = opening.opening("nobody-128")
    assert page.count("data:image/png") == 8 and "This person does not exist" in page and "wanted person" in page
    assert "Nobody here yet" in opening.opening(small.name) and "data:" not in opening.opening(small.name)
