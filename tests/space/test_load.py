"""Visitors at once get what each would get alone."""

from __future__ import annotations

from pathlib import Path

from served import Served
from space_load import measure, plan


def test_everybody_gets_what_it_would_get_alone(served: Served, tmp_path: Path) -> None:
    said = measure(served, visitors=4, requests=2, images=2, steps=3, folder=tmp_path)
    assert said["requests"] == 8 and said["different"] == []
    assert said["refused"] < 4
    assert said["memory"]["after_together"] < 1.05 * said["memory"]["after_alone"]


def test_the_mix_has_everything_in_it() -> None:
    mix = [plan(visitor, number, 4, 15) for visitor in range(32) for number in range(2)]
    assert {one["api_name"] for one in mix} == {"/sample", "/identify", "/compare", "/generate"}
    assert {one.get("guidance", 0) for one in mix} >= {None, 1.0, 2.0}
