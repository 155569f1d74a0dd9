"""Small sets of vectors with faults that are known, and a clean one: what sections have to find, or not to."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image, ImageFilter
from tiny import encoded, patterns
from torch.nn.functional import avg_pool2d, interpolate, normalize

from idgen.auditing.audit import SECTIONS
from idgen.auditing.labels import Label
from idgen.auditing.looking import Looked, Seen
from idgen.auditing.section import Audited, Section
from idgen.faces.encoder import FaceEncoder
from idgen.sets import Source


def crowd(people: int, pictures: int, seed: int = 0, dim: int = 32, noise: Any = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """(people · pictures, dim) unit vectors and who is on each; `noise` of each person."""
    generator = torch.Generator().manual_seed(seed)
    centres = normalize(torch.randn(people, dim, generator=generator))
    spread = torch.randn(people, pictures, dim, generator=generator) / dim**0.5
    scale = torch.as_tensor(np.broadcast_to(noise, (people,)).copy())[:, None, None]
    vectors = normalize((centres[:, None] + scale * spread).flatten(0, 1)).float()
    return vectors.numpy(), np.repeat(np.arange(people), pictures)


class Fine(FaceEncoder):
    """A recogniser that sees what is small in a face: a random map of its pixels less their surroundings, and always a
    little of the same, so that faces without anything small are all alike."""

    def __init__(self, dim: int = 32, seed: int = 0, space: str = "fine"):
        generator = torch.Generator().manual_seed(seed)
        self.weights = torch.randn(3 * 32 * 32, dim, generator=generator) / 50
        self.same = 0.3 * normalize(torch.randn(dim, generator=generator), dim=0)
        self.finder, self.space, self.flip, self.alignment, self.calibration = None, space, False, "arcface", None

    dim = property(lambda self: self.weights.shape[1])
    image_size = 32

    def _resize(self, pixels: torch.Tensor) -> torch.Tensor:
        return interpolate(pixels.float(), (32, 32), mode="bilinear", antialias=True)

    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        small = pixels - avg_pool2d(pixels, 5, 1, 2, count_include_pad=False)
        return small.flatten(1) @ self.weights + self.same


def fine_pictures(folder: Path, people: int, pictures: int, ruin: int = 0, seed: int = 0) -> Path:
    """A folder of pictures of people who differ in small things, every `ruin`-th of which shows nothing small."""
    rng = np.random.default_rng(seed)
    who = rng.integers(0, 256, (people, 32, 32, 3))
    for row in range(people * pictures):
        pixels = np.clip(who[row // pictures] + rng.normal(0, 25, (32, 32, 3)), 0, 255).astype(np.uint8)
        picture = Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST)
        if ruin and row % ruin == 0:
            picture = picture.resize((8, 8)).resize((64, 64)).filter(ImageFilter.GaussianBlur(4))
        (folder / f"p{row // pictures:03}").mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"p{row // pictures:03}" / f"{row}.png")
    return folder


def audited(*vectors: np.ndarray, labels: np.ndarray, said: dict[str, Any] | None = None, **more: Any) -> Audited:
    """What sections look at: a set by recognisers one, two, …, with labels by `name.origin`."""
    names = np.array([f"{who} #{row}" for row, who in enumerate(labels)])
    source = Source("planted", labels.astype(str), names, domain="rendered")
    by = [Seen(f"recogniser {number}", f"space {number}", v) for number, v in enumerate(vectors, 1)]
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
