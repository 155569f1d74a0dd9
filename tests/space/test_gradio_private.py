"""Gradio still has what `space.gradio_private` uses, in the shape that is used: these fail first on an upgrade."""

from __future__ import annotations

import pytest

gradio = pytest.importorskip("gradio")

from space import gradio_private  # noqa: E402


def test_this_is_a_version_that_everything_private_was_tried_with() -> None:
    assert gradio.__version__ in gradio_private.TRIED, "try what is in space/gradio_private.py, then add the version"
