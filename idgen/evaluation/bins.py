"""Verification sets in insightface's `.bin` files (LFW, CFP-FP, AgeDB-30, CALFW, CPLFW), and their 10-fold accuracy.

A `.bin` is a pickle of (list of encoded pictures, list of truth values); pictures 2i and 2i + 1 are pair i. A pickle
can hold code, so it is read by an unpickler that knows lists, tuples, bytes, numbers and NumPy's plain arrays, and
nothing else.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL.Image import Image

from idgen.ground import files
from idgen.ground.errors import InputError
from idgen.ground.images import open_image
from idgen.scoring.verification import unit

FOLDS = 10
Vectors = NDArray[np.floating]


class _Refused(pickle.UnpicklingError):
    """The file asks for something that a list of pictures does not need."""


def _bytes_of(text: str, encoding: str = "latin1") -> bytes:
    """What protocol 2 says in place of bytes: `_codecs.encode(text, 'latin1')`, for that encoding alone."""
    if encoding not in ("latin1", "latin-1"):
        raise _Refused(f"the encoding {encoding!r}")
    return text.encode("latin-1")


def _plain_dtype(*arguments: Any) -> np.dtype[Any]:
    kind = np.dtype(*arguments)
    if kind.hasobject:
        raise _Refused("an array of Python objects")
    return kind


def _scalar(kind: np.dtype[Any], data: bytes) -> Any:
    """What a NumPy scalar's pickle calls."""
    return np.frombuffer(data, kind, 1)[0]


class _Array:
    """A NumPy array's state, as its pickle sets it; read by `_pair_set`."""

    def __init__(self, *_: Any) -> None:
        self.value: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, data = state
        if not isinstance(kind, np.dtype) or kind.hasobject or not isinstance(data, bytes):
            raise _Refused("an array of Python objects")
        self.value = np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")


def _from_buffer(data: bytes, kind: np.dtype[Any], shape: tuple[int, ...], order: str) -> _Array:
    """What protocol 5 says in place of an array and its state."""
    array = _Array()
    array.__setstate__((1, shape, kind, order == "F", bytes(data)))
    return array


# What a `.bin` may name, and what it gets: never NumPy's own constructors, which take any class.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _bytes_of,
    ("numpy", "dtype"): _plain_dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy", "bool_"): np.bool_,
    ("numpy", "bool"): np.bool_,
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "scalar"] = _scalar
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _Array
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _from_buffer


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _Refused(f"{module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, _: Any) -> Any:
        raise _Refused("a reference outside the file")


@dataclass(frozen=True, eq=False)
class PairSet:
    """Pairs of pictures and whether each shows one person.

    Args:
        pictures: 2N encoded pictures (JPEG, PNG); 2i and 2i + 1 are pair i.
        same: (N,) truth.
    """

    pictures: list[bytes]
    same: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.same)

    def picture(self, index: int) -> Image:
        """Picture `index` as a PIL image; InputError when it cannot be decoded."""
        try:
            return open_image(self.pictures[index])
        except InputError as error:
            raise InputError(f"Picture {index} of the pair set cannot be decoded: {error}") from error


def read_bin(path: str | Path) -> PairSet:
    """Read a `.bin` without executing anything.

    Raises:
        InputError: there is no such file, it holds anything but pictures and truth values, or was cut short.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="bytes").load()
    except OSError as error:
        raise InputError(f"The pair set {path} cannot be read: {error.strerror}.") from error
    except _Refused as error:
        raise InputError(
            f"{path} is no plain pair set: it asks for {error}, which a list of pictures does not need. Nothing in it "
            "was run; get the file from a source you trust."
        ) from error
    except Exception as error:  # a damaged pickle fails in any way
        raise InputError(f"{path} cannot be read as a pair set ({type(error).__name__}): was it cut short?") from error
    return _pair_set(content, path)


def _pair_set(content: Any, path: Path) -> PairSet:
    shape = f"{path} is a pickle, but not of (pictures, truth values) with two pictures a pair"
    parts = content if isinstance(content, (tuple, list)) else ()
    lists = [part.value.tolist() if isinstance(part, _Array) else part for part in parts]
    if len(lists) != 2 or not all(isinstance(part, (list, tuple)) for part in lists):
        raise InputError(f"{shape}.")
    pictures, same = lists
    encoded = [
        part.value.tobytes() if isinstance(part, _Array) else bytes(part) if isinstance(part, bytearray) else part
        for part in pictures
    ]
    if not same or len(encoded) != 2 * len(same) or not all(isinstance(part, bytes) for part in encoded):
        raise InputError(f"{shape}: it has {len(encoded)} pictures and {len(same)} truth values.")
    if not all(isinstance(value, (bool, int, np.bool_, np.integer)) for value in same):
        raise InputError(f"{shape}: a truth value is a {type(same[0]).__name__}.")
    return PairSet(encoded, np.array(same, bool))


def write_bin(path: str | Path, pictures: Sequence[bytes], same: ArrayLike) -> None:
    """Write a `.bin` that insightface and `read_bin` read.

    Args:
        path: where.
        pictures: 2N encoded ones (JPEG, PNG), two a pair.
        same: (N,) whether each pair is one person.
    """
    files.write(path, pickle.dumps((list(pictures), np.asarray(same, bool).tolist()), protocol=4))


@dataclass(frozen=True)
class FoldAccuracy:
    """The LFW protocol's result: mean and standard deviation of the accuracy over the folds, and each fold's."""

    accuracy: float
    deviation: float
    folds: list[float]
    thresholds: list[float]


def ten_fold_accuracy(first: Vectors, second: Vectors, same: NDArray[np.bool_]) -> FoldAccuracy:
    """Accuracy as insightface's `verification.py` takes it (the LFW protocol).

    Squared Euclidean distance of unit vectors; thresholds 0, 0.01, … 3.99; folds are consecutive pairs, as
    scikit-learn's `KFold(10, shuffle=False)` makes them; the first threshold with the highest accuracy on nine folds
    decides on the tenth, where a pair is one person when its distance is *below* the threshold.

    Args:
        first, second: (N, D) unit vectors of the pairs' pictures; with flip, of f(x) + f(mirror of x).
        same: (N,) truth.

    Raises:
        InputError: fewer pairs than folds.
    """
    if len(same) < FOLDS:
        raise InputError(f"{len(same)} pairs are too few for {FOLDS} folds.")
    distance = np.square(unit(first.astype(np.float64)) - unit(second.astype(np.float64))).sum(1)
    candidates = np.arange(0, 4, 0.01)
    right = (distance[None] < candidates[:, None]) == same[None]  # (400, N)
    accuracies, chosen = [], []
    for held_out in np.array_split(np.arange(len(same)), FOLDS):
        others = right.sum(1) - right[:, held_out].sum(1)
        best = int(np.argmax(others))
        accuracies.append(float(right[best, held_out].mean()))
        chosen.append(float(candidates[best]))
    return FoldAccuracy(float(np.mean(accuracies)), float(np.std(accuracies)), accuracies, chosen)
