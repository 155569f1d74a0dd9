"""Whom a test shares with what was learned from: then it tests memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from idgen.ground.words import count
from idgen.sets import read_source
from idgen.training.data import load_faces
from idgen.training.trial import Test


def pictures_of(path: str, size: int) -> set[bytes]:
    """What names each picture of a labelled set."""
    return {_print(image) for image in load_faces(path, size).images}


def _print(image: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()


def shared(test: Test, path: str, known: set[bytes], learned: str) -> str:
    """A sentence where a test has people of a set that is learned from: people one of whose pictures is in both, byte
    for byte, or whose names are, where these are no numbers; "" where it has none.

    Args:
        test, path: the test, and where it lies.
        known: `pictures_of` the set.
        learned: where that lies.
    """
    same = np.array([_print(image) in known for image in test.faces.images])
    people = len(np.unique(test.faces.labels[same]))
    if people:
        were = count(people, "person of it has", "people of it have") if test.labelled else f"{people:,} of it are"
        return f"{test.name} tests on people of {learned}: {were} pictures in both."
    if not test.labelled or Path(path).suffix == ".bin":
        return ""
    names = {name for name in set(read_source(path).labels) & set(read_source(learned).labels) if not name.isdigit()}
    if not names:
        return ""
    some = ", ".join(sorted(names)[:3])
    return f"{test.name} may test on people of {learned}: {count(len(names), 'name is', 'names are')} in both ({some})."
