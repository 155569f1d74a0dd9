"""Models handed on, and what pictures tell about themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from idgen.cli.shell import DEVICE, JSON, argument, flag, group, option, say
from idgen.ground.errors import InputError
from idgen.ground.words import count

commands = group("Write a model's parts in other programs' formats.")


def push(
    source: str = argument("DIR|NAME", "The model: its folder or name."),
    repo: str = argument("user/repo", "Where to on the Hugging Face Hub; made if need be."),
    private: bool = option(None, "When it is made; by default as the Hub does.", "--private/--public"),
    revision: str = option("main", "Branch to commit to; made if need be."),
    message: str = option(None, "Of the commit."),
    licence: str = option(None, "Such as apache-2.0; not needed where README.md says it.", "--licence", "--license"),
    data: str = option(None, "What it was trained on, a sentence for a card that is made."),
    evaluation: Path = option(None, "Result of `idgen evaluate`, whose figures go into the card."),
    measure: bool = option(True, "For a card that is made, without --evaluation: picture and measure 12 people."),
    device: str = DEVICE,
) -> None:
    """Upload a model to the Hugging Face Hub, with a card and with code for people without idgen."""
    from idgen.sharing import push as room

    where: dict[str, Any] = {"private": private, "revision": revision, "message": message}
    card: dict[str, Any] = {"licence": licence, "data": data, "evaluation": evaluation, "measure": measure}
    done = room.push(source, repo, **where, **card, device=device)
    say(f"{count(len(done.files), 'file', 'files')}: {done.url}")
    if done.left_out:
        say(f"Not uploaded: {', '.join(done.left_out)}.")
    people = "--sample 4" if "people.safetensors" in done.files else "people.safetensors"
    command = f"idgen generate {people} --images 8 --out pictures --model {done.name}"
    say(*done.notes, "Others load exactly this by one of:", *(f"    {line}" for line in (command, *done.lines())))


@commands.command("onnx")
def export_onnx(
    model: str = argument("MODEL", "Model or face encoder: name, folder or Hub repository."),
    out: Path = argument("OUT", "recognizer.onnx, or a folder for an insightface pack."),
    judge: bool = flag("--judge", "The judge's recogniser, not the encoder's."),
) -> None:
    """A recogniser as ONNX, for insightface's `model_zoo.get_model`."""
    from idgen.sharing.onnx import export_recognizer

    say(*export_recognizer(model, out, judge=judge))


def provenance(
    files: list[Path] = argument("FILE...", "PNG, JPEG or WebP files."),
    trust: Path = option(None, "PEM file of the authorities to trust in signatures."),
    as_json: bool = JSON,
) -> None:
    """Say what pictures tell about how they were made."""
    from idgen.ground.provenance import report, sentence

    try:
        anchors = None if trust is None else trust.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        wrong = f"The file {trust} of authorities to trust cannot be read: give certificates as PEM."
        raise InputError(wrong) from error
    reports = [report(file, anchors) for file in files]
    say(*([json.dumps(reports, indent=1)] if as_json else map(sentence, reports)))
