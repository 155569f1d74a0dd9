"""One shard: pictures of some people, filtered, refilled, and written so that there is all of it or nothing."""

from __future__ import annotations

import hashlib
import io
import json
import math
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from PIL import Image

from idgen.asking import asked
from idgen.dataset.drawing import model_of
from idgen.dataset.filters import ANOTHER_BETTER, DUPLICATE, Filters, Measured, is_duplicate
from idgen.dataset.plan import DATA, MADE, MAKING, REJECTED, Planned, data_name, picture_path
from idgen.dataset.status import note
from idgen.ground import files, provenance
from idgen.ground.attributes import Vocabulary
from idgen.ground.errors import require_package
from idgen.painting import Place, paint
from idgen.pipelines.base import GeneratedImage, counting
from idgen.sampling.negatives import negatives
from idgen.sampling.variation import parse_variation
from idgen.similarity import batched, boundaries

AT_ONCE = 16
"""Pictures measured together: always so many, whatever the batch, so that the numbers are the same to the last bit."""
_BEAT = 2.0  # seconds between two notes about a shard in the making


@dataclass
class _Person:
    """What there is of one person so far; `among` those that pass, of which the best is to be kept."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    thumbnails: list[Any] = field(default_factory=list)
    tried: int = 0
    among: list[tuple[GeneratedImage, Measured]] = field(default_factory=list)


@dataclass
class _Shard:
    """What there is of a shard so far: of its people, by row, and of the pictures that were not kept; `ahead` is how
    far those are that are not finished, in pictures."""

    people: dict[int, _Person]
    rejected: list[dict[str, Any]] = field(default_factory=list)
    ahead: float = 0.0
    began: float = field(default_factory=time.monotonic)
    noted: float = field(default_factory=time.monotonic)

    def counts(self) -> dict[str, int]:
        """How many pictures are kept, and how many were made."""
        people = self.people.values()
        return {"pictures": sum(len(one.rows) for one in people), "tries": sum(one.tried for one in people)}

    def note(self, beat: Path) -> None:
        """Tell `status` from time to time."""
        if (now := time.monotonic()) - self.noted > _BEAT:
            self.noted = now
            note(beat, {**self.counts(), "ahead": self.ahead, "seconds": now - self.began})


class ShardMaker:
    """Makes shards of one plan; loads the model once.

    Args:
        planned: what is to be made.
        batch_size: pictures that are denoised together; changes speed and memory, not the result.
        device: for the networks.
    """

    def __init__(self, planned: Planned, batch_size: int = 8, device: str | None = None):
        self.planned = planned
        self.model = model_of(planned, device)
        self.filters = Filters(planned.plan, self.model, planned.people)
        steps, guidance = planned.plan.steps, planned.plan.guidance
        self.variation = parse_variation(planned.variation, boundary=boundaries(self.model, steps, guidance))
        self.options: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance}
        self.options["batch_size"] = batch_size
        if (away := cast(Any, planned.plan.away)) is not None:
            vectors = planned.people.vectors
            self.options["negative"] = vectors[negatives(vectors, away, planned.plan.seed)]
            self.options["negative_weight"] = planned.plan.away_weight
        self.vocabulary = self.model.pipeline.vocabulary
        if asking := asked(self.vocabulary, planned.plan.attributes, planned.like):
            self.options["attributes"] = asking

    def make(self, number: int) -> dict[str, Any]:
        """Make a shard and return what is noted of it; nothing of it is there until all of it is.

        Raises:
            InputError: it cannot be written.
        """
        planned, plan = self.planned, self.planned.plan
        shard = _Shard({row: _Person() for row in plan.rows(number)})
        beat = planned.folder / MAKING / f"{number:05d}.json"
        while missing := self._missing(shard):
            self._try(shard, missing, beat)
        people = shard.people.items()
        rows = [row for _, one in people for row in sorted(one.rows, key=lambda row: row["k"])]
        data = parquet(rows, self.vocabulary)
        lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in shard.rejected).encode()
        files.write(planned.folder / REJECTED / f"{number:05d}.jsonl", lines)
        files.write(planned.folder / DATA / data_name(plan.shards, number), data)
        made = {
            "shard": number,
            "people": len(people),
            **shard.counts(),
            "short": {planned.people.names[row]: len(one.rows) for row, one in people if len(one.rows) < plan.images},
            "rejected": dict(sorted(Counter(line["reason"] for line in shard.rejected).items())),
            "sha256": hashlib.sha256(data).hexdigest(),
            "rejected_sha256": hashlib.sha256(lines).hexdigest(),
            "seconds": round(time.monotonic() - shard.began, 1),
        }
        files.write(planned.folder / MADE / f"{number:05d}.json", json.dumps(made) + "\n")
        beat.unlink(missing_ok=True)
        return made

    def _missing(self, shard: _Shard) -> list[Place]:
        """Exactly what is missing, so that nothing is made in vain."""
        plan, people = self.planned.plan, shard.people.items()
        ends = {row: min(one.tried + (plan.images - len(one.rows)) * plan.best_of, plan.most) for row, one in people}
        return [(row, k) for row, one in people for k in range(one.tried, ends[row])]

    def _try(self, shard: _Shard, missing: list[Place], beat: Path) -> None:
        """Make pictures and keep those that pass; the order follows from the plan alone."""
        seed, pipeline = self.planned.plan.seed, self.model.pipeline
        own = pipeline.usual_steps(self.options["guidance_scale"], "negative" in self.options)
        steps = self.planned.plan.steps or own

        def moved(pictures: int) -> None:
            shard.ahead += pictures / steps
            shard.note(beat)

        options = {**self.options, "callback_on_step_end": counting(moved, steps)}
        made = paint(pipeline, self.planned.people, missing, seed, self.variation, options)
        with closing(made):
            for chunk in batched(made, AT_ONCE):
                measured = self.filters.measure([item.image for item in chunk], [item.identity for item in chunk])
                for item, found in zip(chunk, measured, strict=True):
                    self._decide(shard, item, found)
                    shard.ahead = max(0.0, shard.ahead - 1)
                shard.note(beat)

    def _decide(self, shard: _Shard, item: GeneratedImage, found: Measured) -> None:
        """Keep a picture, or note why not; of `best_of` that follow one another, the best is kept."""
        plan, row = self.planned.plan, item.identity
        person = shard.people[row]
        person.tried += 1
        reason = found.reason
        if reason is None and is_duplicate(found.thumbnail, person.thumbnails, plan.duplicate):
            reason = DUPLICATE
        if reason is None:
            person.among.append((item, found))
        else:
            self._reject(shard, item, found, reason)
        if person.tried % plan.best_of == 0 and person.among:
            best = max(person.among, key=lambda one: self._goodness(one[1]))
            for one in person.among:
                if one is not best:
                    self._reject(shard, *one, ANOTHER_BETTER)
            person.among.clear()
            self._keep(person, *best)

    def _goodness(self, found: Measured) -> float:
        column = self.planned.plan.best_by
        value = found.columns[column.removeprefix("-")]
        return -math.inf if value is None else -value if column.startswith("-") else value

    def _about(self, item: GeneratedImage, found: Measured) -> dict[str, Any]:
        name = self.planned.people.names[item.identity]
        return {"identity": name, "k": item.k, "seed": self.planned.plan.seed, **found.columns}

    def _reject(self, shard: _Shard, item: GeneratedImage, found: Measured, reason: str) -> None:
        shard.rejected.append({**self._about(item, found), "reason": reason})

    def _keep(self, person: _Person, item: GeneratedImage, found: Measured) -> None:
        planned, row = self.planned, item.identity
        person.thumbnails.append(found.thumbnail)
        info = provenance.made_by(self.model.name, planned.people[row], planned.plan.seed, item.k)
        assert isinstance(item.image, Image.Image)
        made_of = {planned.people.names[row]: 1.0} if planned.labels is None else planned.labels[row]
        person.rows.append(
            {
                "image": {"bytes": provenance.encode(item.image, info), "path": picture_path(row, item.k)},
                **self._about(item, found),
                "label": row,
                "soft_label": [{"identity": part, "weight": weight} for part, weight in made_of.items()],
                "model": self.model.name,
                "weights": planned.weights,
                "source": planned.people.sources[row],
                "digital_source_type": provenance.SOURCE_TYPE,
                **item.attributes,
            }
        )


def features(vocabulary: Vocabulary) -> Any:
    """The columns, as `datasets` knows them; of a model that can be told, one for each attribute."""
    datasets = require_package("datasets", "dataset", "A dataset")
    text, real, whole = datasets.Value("string"), datasets.Value("float32"), datasets.Value("int32")
    return datasets.Features(
        {
            "image": datasets.Image(),
            "identity": text,
            "label": whole,
            "k": whole,
            "seed": datasets.Value("int64"),
            "similarity": real,
            "judge_similarity": real,
            "match": datasets.Value("bool"),
            "domain": text,
            "against": text,
            "other_similarity": real,
            "nearest_other": text,
            "quality": real,
            "soft_label": datasets.List({"identity": text, "weight": real}),
            "model": text,
            "weights": text,
            "source": text,
            "digital_source_type": text,
            **{name: text if vocabulary.named(name) else real for name in vocabulary.askable},
        }
    )


def parquet(rows: list[dict[str, Any]], vocabulary: Vocabulary) -> bytes:
    """Rows as a Parquet file that `datasets` and the Hub's viewer open with pictures; equal rows give equal bytes."""
    schema = features(vocabulary).arrow_schema  # `datasets` brings pyarrow
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, file = pa.Table.from_pylist(rows, schema=schema), io.BytesIO()
    # Pages of pictures do not shrink; small row groups let the viewer read a page of them at a time.
    pq.write_table(table, file, row_group_size=100, compression=dict.fromkeys(table.column_names[1:], "snappy"))
    return file.getvalue()
