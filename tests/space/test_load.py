"""Visitors at once get what each would get alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from served import serve

from benchmarks.space_load import measure


def test_everybody_gets_what_it_would_get_alone(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    with serve(tiny_model, tmp_path / "app") as app:
        said = measure(app, visitors=6, requests=2, images=2, steps=3, folder=tmp_path)
    assert said["requests"] == 12 and said["different"] == []
    assert said["refused"] < 6
    assert said["memory"]["after_together"] < 1.05 * said["memory"]["after_alone"]
