"""Tests of a recogniser: a labelled set, all of whose pictures are compared, or a `.bin` of pairs; people on neither
side of them are learned from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from idgen.evaluation.bins import read_bin, ten_fold_accuracy
from idgen.ground.errors import InputError
from idgen.scoring import verification
from idgen.training.data import Album, Faces, load_faces
from idgen.training.embedding import embed

PAIRS = 6000
"""Pairs that are drawn of a labelled set for the ten-fold accuracy, half of them of one person, as LFW has."""
MOST_COMPARED = 12_000
"""Pictures of a labelled set that are all compared."""
_RATES = (1e-3, 1e-4)


@dataclass(frozen=True)
class Test:
    """Pictures and the pairs of them for the ten-fold accuracy.

    Args:
        name: what to call it.
        faces: the pictures; of a `.bin`, 2i and 2i + 1 are pair i, and nobody has a name.
        first, second, same: (P,) rows of the pairs and whether they are of one person.
        labelled: whether who is on each is known, so that all pairs can be compared.
        content: names pictures and pairs.
    """

    __test__ = False  # nothing for pytest

    name: str
    faces: Faces
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    same: NDArray[np.bool_]
    labelled: bool
    content: str


def load_test(path: str | Path, size: int, name: str | None = None) -> Test:
    """A test of a labelled set of any kind, or of a `.bin`.

    Raises:
        InputError: it cannot be read, or has no two pictures of one person, or not of two.
    """
    path = Path(path)
    name = name or path.stem
    if path.suffix == ".bin":
        pairs = read_bin(path)
        if pairs.same.all() or not pairs.same.any():
            raise InputError(f"{path} has pairs of one kind only, and a test needs some of one person and some of two.")
        images = np.empty((2 * len(pairs), size, size, 3), np.uint8)
        for number in tqdm(range(len(images)), desc=f"decoding {path.name}", unit="image"):
            images[number] = np.asarray(pairs.picture(number).resize((size, size), resample=3))
        content = hashlib.sha256(images.tobytes() + pairs.same.tobytes()).hexdigest()
        first = np.arange(0, len(images), 2)
        return Test(name, Faces(images, np.arange(len(images))), first, first + 1, pairs.same, False, content)
    faces = load_faces(path, size)
    if len(faces) > MOST_COMPARED:
        faces = faces.subset(Album(faces.labels).first(max(2, MOST_COMPARED // faces.people))[:MOST_COMPARED])
    if faces.people < 2 or len(faces) == faces.people:
        raise InputError(f"{path} tests nothing: two pictures of one person are needed, and a second person.")
    return Test(name, faces, *_pairs(faces.labels), True, load_faces(path, size).content)


def _pairs(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Random pairs, of one person and of two in turn, always the same ones."""
    rng, album = np.random.default_rng(0), Album(labels)
    order, starts, counts = (each.numpy() for each in (album.order, album.starts, album.counts))
    several, half = np.flatnonzero(counts > 1), PAIRS // 2
    who = rng.choice(several, half)
    one = rng.integers(counts[who])
    other = (one + rng.integers(1, counts[who])) % counts[who]
    a = rng.integers(len(labels), size=half)
    b = rng.integers(len(labels), size=half)
    while (clash := labels[a] == labels[b]).any():
        b[clash] = rng.integers(len(labels), size=int(clash.sum()))
    first = np.stack([order[starts[who] + one], a], 1).ravel()
    second = np.stack([order[starts[who] + other], b], 1).ravel()
    return first, second, np.tile([True, False], half)


@torch.no_grad()
def measure(network: Any, test: Test) -> dict[str, float]:
    """Accuracy over ten folds, EER, and TAR at false-match rates of 1e-3 and 1e-4; a rate that no ten comparisons of
    different people stand behind is left out."""
    vectors = embed(network, test.faces, flip=True).numpy()
    folds = ten_fold_accuracy(vectors[test.first], vectors[test.second], test.same)
    if test.labelled:
        genuine, impostor = verification.pair_scores(vectors, test.faces.labels)
    else:
        cosines = (vectors[test.first] * vectors[test.second]).sum(1)
        genuine, impostor = cosines[test.same], cosines[~test.same]
    found = {"accuracy": folds.accuracy, "eer": verification.eer(genuine, impostor)}
    for rate in _RATES:
        if rate * len(impostor) >= verification.FEWEST_FALSE_MATCHES:
            found[f"tar_{rate:.0e}".replace("e-0", "e-")] = verification.tar_at_fmr(genuine, impostor, rate)
    return found
