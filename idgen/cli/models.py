"""Models: what is added to one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from idgen.cli.shell import DEVICE, DOMAIN, argument, flag, group, integer, option, say

commands = group("Complete a model's folder.")


@commands.callback()
def _models() -> None:
    """Complete a model's folder."""


@commands.command("add")
def add(
    model: Path = argument("MODEL", "The model's folder."),
    judge: str = option(..., "Recogniser that judges: dlib, an insightface pack, an ONNX file, a folder, …"),
    people: Path = option(..., "Labelled pictures of people that neither recogniser has seen, at least 20."),
    encoder: str = option(None, "The recogniser that the model was trained on, where its folder has none."),
    data: str = option(None, "Where the pictures come from, in words."),
    domain: str = DOMAIN,
    images: int = integer(5, "Pictures that the model paints of each of the people."),
    steps: int = integer(None, "Denoising steps; by default the model's."),
    aligned: bool = flag("--aligned", "The pictures are aligned face crops already."),
    device: str = DEVICE,
) -> None:
    """Give a model a judge, calibrations and a sampler, measured on people."""
    from idgen.convert import complete

    how: dict[str, Any] = {"images": images, "steps": steps, "aligned": aligned, "device": device}
    say(*complete.add(model, judge, people, encoder=encoder, data=data, domain=domain, **how))
