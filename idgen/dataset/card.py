"""The card of a dataset: what it is, how it was made, what was measured of it, and how to make it again."""

from __future__ import annotations

import io
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idgen import provenance
from idgen.dataset.drawing import model_of
from idgen.dataset.export import read_rows
from idgen.dataset.folder import CARD, DATA, PEOPLE, REPORT, SHEET, data_name
from idgen.dataset.plan import Planned
from idgen.dataset.shard import features
from idgen.dataset.status import Status, status
from idgen.errors import InputError

if TYPE_CHECKING:
    from idgen.evaluation.evaluate import Evaluation

MOST_PICTURES = 20_000
"""Pictures that a report looks at, unless told otherwise: all pairs of more take hours."""
_SHEET_ROWS, _SHEET_COLUMNS = 10, 10

_COLUMNS = {
    "image": "PNG; its XMP says `trainedAlgorithmicMedia`, with model, seed and number",
    "identity, label": "who, as a name and as a number from 0; the vectors are in `identities.safetensors`",
    "k, seed": "the picture's number and the run's seed: with the identity, they make this very picture again",
    "similarity": "cosine to the wanted vector by the encoder, whose vectors condition the generator",
    "judge_similarity, match": "cosine to the wanted person by an independent recogniser, and its verdict",
    "other_similarity, nearest_other": "the judge's highest cosine to anybody else of the dataset, and who that is",
    "quality": "length of the judge's vector before it is normalised, over √D: how recognisable, uncalibrated",
    "soft_label": "who the person is made of, with weights; one of weight 1 where nobody was mixed",
    "model, weights, source, digital_source_type": "where the picture comes from",
}


def report(
    folder: str | Path,
    *,
    training: str | Path | None = None,
    most: int = MOST_PICTURES,
    device: str | None = None,
    progress: bool = True,
) -> Evaluation | None:
    """Measure what is finished of a dataset, and write its report, contact sheet and card.

    Args:
        folder: of the dataset.
        training: what the generator was trained on, to look for leaks; see `evaluate`.
        most: pictures to look at, at least 1; of more, whole shards are taken, evenly spread, and the card says so.
        device: for the networks.
        progress: show bars.

    Returns:
        What was measured; None where the model has nothing to measure by.

    Raises:
        InputError: there is no plan, or nothing is finished yet.
    """
    from idgen.evaluation.evaluate import evaluate

    if most < 1:
        raise InputError(f"The most pictures that a report looks at is a number of at least 1, got {most}.")
    planned = Planned.load(folder)
    now = status(planned, whole=True)
    if not now.done:
        raise InputError(f"Nothing in {folder} is finished yet: `idgen dataset run {folder}` makes it.")
    model = model_of(planned, device)
    finished = [number for number in range(now.shards) if number not in set(now.missing)]
    taken = finished[:: max(1, -(-now.pictures // most))] if now.pictures > most else finished
    files = [planned.folder / DATA / data_name(now.shards, number) for number in taken]
    result = None
    if model.has("judge"):
        with tempfile.TemporaryDirectory(prefix="idgen-") as aside:
            some = Path(aside) / planned.folder.resolve().name
            some.mkdir()
            for file in (*files, planned.folder / PEOPLE):
                os.symlink(file.resolve(), some / file.name)
            result = evaluate(
                some, planned.folder / REPORT, model=model, training=training, device=device, progress=progress
            )
    _sheet(planned, finished)
    files.write(planned.folder / CARD, card(planned, now, result).encode())
    return result


def card(planned: Planned, now: Status, result: Evaluation | None) -> str:
    """The card as Markdown with the Hub's front matter, checked by huggingface_hub."""
    from huggingface_hub import DatasetCard, DatasetCardData

    from idgen.version import __version__

    plan = planned.plan
    size = next((name for bound, name in _SIZES if now.pictures < bound), "1M<n<10M")
    data = DatasetCardData(
        license=_licence(planned),
        pretty_name=planned.folder.resolve().name,
        tags=["face-recognition", "synthetic", "identity-conditioned-generation", "idgen"],
        task_categories=["image-classification", "image-feature-extraction"],
        size_categories=[size],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": f"{DATA}/train-*.parquet"}]}],
        dataset_info={"features": _features_for_card()},
    )
    people = len(planned.people)
    sampled = not any(person.from_photo for person in planned.people)
    who = (
        "people who do not exist" if sampled else "people, some of whom come from a file: whether they exist, who knows"
    )
    lines = [
        "---",
        data.to_yaml(),
        "---",
        "",
        f"# {people:,} people × {plan.images}",
        "",
        f"{now.pictures:,} pictures of {people:,} {who}, generated by `{plan.model}`"
        f" with idgen {__version__}. Every picture was scored; those that failed a filter are not in it.",
        "",
        f"![The first people, one a row, each picture with the judge's score]({SHEET})",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        'people = load_dataset("THIS_REPOSITORY_OR_FOLDER", split="train")',
        "```",
        "",
        "## What was measured",
        "",
    ]
    if result is None:
        lines += ["Nothing: the model has no independent recogniser to measure by.", ""]
    else:
        if result.pictures < now.pictures:
            lines += [f"Of {result.pictures:,} of the pictures, whole shards, evenly spread:", ""]
        lines += [f"- {text}" for _, text in result.summary]
        if plan.match is not None or plan.other:
            lines += [
                "",
                "The judge also chose which pictures are in the dataset, so its own figures flatter them: judge them "
                "with another recogniser, too.",
            ]
        lines += [
            "",
            f"`idgen dataset report` measured this; the whole report: [{REPORT}/report.html]({REPORT}/report.html).",
            "",
        ]
    lines += ["## What was rejected", "", f"{now.tries:,} pictures were made for it."]
    lines += ["", "| reason | pictures |", "|---|---|"] if now.rejected else [" None was rejected."]
    lines += [f"| {reason} | {count:,} |" for reason, count in sorted(now.rejected.items())]
    lines += ["", *(f"{text}" for text in now.lines()[-1:] if now.short), ""]
    if now.missing:
        lines += [f"{len(now.missing):,} of {now.shards:,} shards are not made yet.", ""]
    lines += ["## Columns", "", "| column | |", "|---|---|"]
    lines += [f"| {name} | {what} |" for name, what in _COLUMNS.items()]
    lines += [
        "",
        "## Make it again",
        "",
        "The same plan, weights and machine give the same bytes, by any number of workers:",
        "",
        "```bash",
        "idgen dataset run plan.yaml --out people",
        "```",
        "",
        "```yaml",
        plan.text().strip(),
        "```",
        "",
        "## Use and limits",
        "",
        "For training and testing face recognition without pictures of real people. Which pictures are good ones was"
        " decided by the recognisers that made and judged them: their errors and their biases are in it. Not for"
        " deciding anything about a real person.",
        "",
    ]
    text = "\n".join(lines)
    DatasetCard(text)  # front matter that the Hub cannot read is an error here, not after an upload
    return text


_SIZES = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]


def _licence(planned: Planned) -> str:
    from huggingface_hub import ModelCard

    from idgen.hub import resolve

    try:
        return str(ModelCard.load(resolve(planned.plan.model) / CARD).data.license or "other")
    except (OSError, ValueError):
        return "other"


def _features_for_card() -> Any:
    import yaml

    return yaml.safe_load(json.dumps(features()._to_yaml_list()))


def _sheet(planned: Planned, finished: list[int]) -> None:
    from PIL import Image

    from idgen.contact_sheet import Cell, contact_sheet

    rows: dict[str, list[Cell]] = {}
    for number in finished:
        file = planned.folder / DATA / data_name(planned.plan.shards, number)
        for row in read_rows(file, ["image", "identity", "judge_similarity", "match"]):
            cells = rows.setdefault(row["identity"], [])
            if len(cells) < _SHEET_COLUMNS:
                picture = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
                cells.append(Cell(picture, row["judge_similarity"], row["match"]))
            if len(rows) > _SHEET_ROWS:
                break
        if len(rows) > _SHEET_ROWS:
            break
    if rows:
        sheet = contact_sheet(list(rows.items())[:_SHEET_ROWS], planned.folder.resolve().name)
        provenance.save_image(sheet, planned.folder / SHEET, {"model": planned.plan.model, "seed": planned.plan.seed})
