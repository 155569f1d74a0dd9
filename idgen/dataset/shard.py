"""One shard: pictures of some people, filtered, refilled, and written so that there is all of it or nothing."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

import torch

from idgen import files, provenance
from idgen.dataset.drawing import model_of
from idgen.dataset.filters import DUPLICATE, Filters, Measured, is_duplicate
from idgen.dataset.folder import DATA, MADE, MAKING, REJECTED, data_name, note
from idgen.dataset.plan import Planned
from idgen.model import Model
from idgen.painting import paint
from idgen.sampling.variation import parse_variation

AT_ONCE = 16
"""Pictures measured together: always so many, whatever the batch, so that the numbers are the same to the last bit."""
_BEAT = 2.0  # seconds between two notes about a shard in the making


@dataclass
class _Person:
    """What there is of one person so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    thumbnails: list[Any] = field(default_factory=list)
    tried: int = 0


class ShardMaker:
    """Makes shards of one plan; loads the model once.

    Args:
        planned: what is to be made.
        batch_size: pictures that are denoised together; changes speed and memory, not the result.
        device: for the networks.
    """

    def __init__(self, planned: Planned, batch_size: int = 8, device: str | None = None):
        self.planned, self.batch_size = planned, batch_size
        self.model: Model = model_of(planned, device)
        planned.people.require_space(self.model.pipeline.config.space, self.model.pipeline.identity_dim)
        self.filters = Filters(planned.plan, self.model, planned.people)
        self.variation = parse_variation(planned.variation)

    def make(self, number: int) -> dict[str, Any]:
        """Make a shard and return what is noted of it; nothing of it is there until all of it is.

        Raises:
            InputError: it cannot be written.
        """
        planned, plan = self.planned, self.planned.plan
        began = beaten = time.monotonic()
        people = {row: _Person() for row in plan.rows(number)}
        rejected: list[dict[str, Any]] = []
        beat = planned.folder / MAKING / f"{number:05d}.json"
        tries = 0
        while jobs := self._missing(people):
            for chunk in _chunked(self._paint(jobs), AT_ONCE):
                measured = self.filters.measure([item.image for _, item in chunk], [row for row, _ in chunk])
                for (row, item), found in zip(chunk, measured, strict=True):
                    self._decide(people[row], row, item, found, rejected)
                tries += len(chunk)
                if time.monotonic() - beaten > _BEAT:
                    beaten = time.monotonic()
                    note(
                        beat,
                        {
                            "pictures": sum(len(person.rows) for person in people.values()),
                            "tries": tries,
                            "seconds": time.monotonic() - began,
                        },
                    )
        rows = [row for person in people.values() for row in sorted(person.rows, key=lambda row: row["k"])]
        data = parquet(rows)
        lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in rejected).encode()
        files.write(planned.folder / REJECTED / f"{number:05d}.jsonl", lines)
        files.write(planned.folder / DATA / data_name(plan.shards, number), data)
        made = {
            "shard": number,
            "people": len(people),
            "pictures": len(rows),
            "tries": tries,
            "short": {
                planned.people.names[row]: len(person.rows)
                for row, person in people.items()
                if len(person.rows) < plan.images
            },
            "rejected": {
                reason: len(list(group)) for reason, group in groupby(sorted(line["reason"] for line in rejected))
            },
            "sha256": hashlib.sha256(data).hexdigest(),
            "rejected_sha256": hashlib.sha256(lines).hexdigest(),
            "seconds": round(time.monotonic() - began, 1),
        }
        files.write(planned.folder / MADE / f"{number:05d}.json", (json.dumps(made) + "\n").encode())
        beat.unlink(missing_ok=True)
        return made

    def _missing(self, people: dict[int, _Person]) -> list[tuple[int, int, list[int]]]:
        """(first k, how many, of whom): exactly what is missing, so that nothing is made in vain."""
        plan = self.planned.plan
        wanted = []
        for row, person in people.items():
            count = min(plan.images - len(person.rows), plan.most - person.tried)
            if count > 0:
                wanted.append((person.tried, count, row))
        return [
            (first, count, [row for _, _, row in group])
            for (first, count), group in groupby(sorted(wanted), key=lambda job: job[:2])
        ]

    def _paint(self, jobs: list[tuple[int, int, list[int]]]) -> Iterator[tuple[int, Any]]:
        """(row of the person, picture), in an order that follows from the plan alone."""
        plan = self.planned.plan
        options = {"num_inference_steps": plan.steps, "guidance_scale": plan.guidance, "batch_size": self.batch_size}
        for first, count, rows in jobs:
            people = self.planned.people.take(rows)
            made = paint(self.model.pipeline, people, count, plan.seed, first, self.variation, options)
            with closing(made):
                for item in made:
                    yield rows[item.identity], item

    def _decide(self, person: _Person, row: int, item: Any, found: Measured, rejected: list[dict[str, Any]]) -> None:
        """Keep a picture, or note why not."""
        planned, plan = self.planned, self.planned.plan
        person.tried += 1
        name = planned.people.names[row]
        reason = found.reason
        if reason is None and is_duplicate(found.thumbnail, person.thumbnails, plan.duplicate):
            reason = DUPLICATE
        nearest = None if found.nearest_other is None else planned.people.names[found.nearest_other]
        about = {
            "identity": name,
            "k": item.k,
            "seed": plan.seed,
            "similarity": found.similarity,
            "judge_similarity": found.judge_similarity,
            "match": found.match,
            "other_similarity": found.other,
            "nearest_other": nearest,
            "quality": found.quality,
        }
        if reason is not None:
            rejected.append({**about, "reason": reason})
            return
        info = provenance.made_by(self.model.name, planned.people[row], plan.seed, item.k)
        person.thumbnails.append(found.thumbnail)
        made_of = {name: 1.0} if planned.labels is None else planned.labels[row]
        person.rows.append(
            {
                "image": {"bytes": provenance.png_bytes(item.image, info), "path": f"{name}/{item.k:03d}.png"},
                **about,
                "label": row,
                "soft_label": [{"identity": part, "weight": weight} for part, weight in made_of.items()],
                "model": self.model.name,
                "weights": planned.weights,
                "source": planned.people.sources[row],
                "digital_source_type": provenance.SOURCE_TYPE,
            }
        )


def features() -> Any:
    """The columns, as `datasets` knows them."""
    from datasets import Features, Image, List, Value

    return Features(
        {
            "image": Image(),
            "identity": Value("string"),
            "label": Value("int32"),
            "k": Value("int32"),
            "seed": Value("int64"),
            "similarity": Value("float32"),
            "judge_similarity": Value("float32"),
            "match": Value("bool"),
            "other_similarity": Value("float32"),
            "nearest_other": Value("string"),
            "quality": Value("float32"),
            "soft_label": List({"identity": Value("string"), "weight": Value("float32")}),
            "model": Value("string"),
            "weights": Value("string"),
            "source": Value("string"),
            "digital_source_type": Value("string"),
        }
    )


def parquet(rows: list[dict[str, Any]]) -> bytes:
    """Rows as a Parquet file that `datasets` and the Hub's viewer open with pictures; equal rows give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(rows, schema=features().arrow_schema)
    file = io.BytesIO()
    # Pages of pictures do not shrink; small row groups let the viewer read a page of them at a time.
    pq.write_table(table, file, row_group_size=100, compression=dict.fromkeys(table.column_names[1:], "snappy"))
    return file.getvalue()


def _chunked(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while chunk := list(islice(items, size)):
        yield chunk


class one_thread:
    """Within it torch uses one thread: a worker is one core, and its numbers do not follow the machine's."""

    def __enter__(self) -> None:
        self.before = torch.get_num_threads()
        torch.set_num_threads(1)

    def __exit__(self, *_: Callable[..., Any]) -> None:
        torch.set_num_threads(self.before)
