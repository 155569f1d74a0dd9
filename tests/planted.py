"""Small sets of vectors with faults that are known, and a clean one: what sections have to find, or not to."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from tiny import encoded, patterns
from torch.nn.functional import normalize

from idgen.auditing.audit import SECTIONS
from idgen.auditing.labels import Label
from idgen.auditing.looking import Looked, Seen
from idgen.auditing.section import Audited, Section
from idgen.sets import Source


def crowd(people: int, pictures: int, seed: int = 0, dim: int = 32, noise: Any = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """(people · pictures, dim) unit vectors and who is on each; `noise` of each person."""
    generator = torch.Generator().manual_seed(seed)
    centres = normalize(torch.randn(people, dim, generator=generator))
    spread = torch.randn(people, pictures, dim, generator=generator) / dim**0.5
    scale = torch.as_tensor(np.broadcast_to(noise, (people,)).copy())[:, None, None]
    vectors = normalize((centres[:, None] + scale * spread).flatten(0, 1)).float()
    return vectors.numpy(), np.repeat(np.arange(people), pictures)


def audited(*vectors: np.ndarray, labels: np.ndarray, said: dict[str, Any] | None = None, **more: Any) -> Audited:
    """What sections look at: a set by recognisers one, two, …, with labels by `name.origin`."""
    names = np.array([f"{who} #{row}" for row, who in enumerate(labels)])
    source = Source("planted", labels.astype(str), names, domain="rendered")
    by = [Seen(f"recogniser {number}", f"space {number}", v) for number, v in enumerate(vectors)]
    found = {key: Label(*key.rsplit(".", 1), np.asarray(values)) for key, values in (said or {}).items()}
    more = {"against": None, "against_labels": {}, "model": None, "fmr": 1e-2, **more}
    return Audited(Looked(source, by), labels=found, **more)


def run(key: str, what: Audited) -> tuple[Section, list[str]]:
    """A section, and what it warns of."""
    section = SECTIONS[key](what)
    return section, [text for level, text in section.findings if level == "bad"]


def value(section: Section, name: str, group: str = "", by: str = "") -> Any:
    return next(f for f in section.figures if (f.name, f.group) == (name, group) and by in ("", f.by))


def write_set(path: Path, people: int, pictures: int, seed: int = 0, **columns: Any) -> Path:
    """Parquet of smooth patterns for faces."""
    images, labels = patterns(people, pictures, size=64, seed=seed)
    pixels = (images.permute(0, 2, 3, 1) * 255).byte().numpy()
    rows = [
        {"image": {"bytes": encoded(Image.fromarray(each))}, "identity": f"p{who}"}
        | {name: values[row] for name, values in columns.items()}
        for row, (each, who) in enumerate(zip(pixels, labels.tolist(), strict=True))
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path
