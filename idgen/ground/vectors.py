"""Files of labelled vectors: embeddings of pictures, with who is on them and the space that they live in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from idgen.ground import files
from idgen.ground.errors import InputError

FORMAT = "idgen.vectors"
SUFFIXES = (".safetensors", ".npz", ".npy")
_VECTORS, _LABELS = ("vectors", "embeddings", "features"), ("labels", "identity", "identities", "names")


@dataclass(frozen=True, eq=False)
class LabelledVectors:
    """Vectors and who they belong to.

    Args:
        vectors: (N, D) float32 as they were in the file; only their directions are meant.
        labels: (N,) texts, equal for one person.
        space: name of the embedding space, or None where the file does not say.
        labelled: whether the file said who is who; else every vector counts as a person of its own.
    """

    vectors: Tensor
    labels: NDArray[np.str_]
    space: str | None = None
    labelled: bool = True

    def __len__(self) -> int:
        return len(self.labels)


def check_same_space(first: str | None, second: str | None) -> None:
    """Raise InputError when two spaces are known and differ."""
    if first is not None and second is not None and first != second:
        raise InputError(
            f"One set of vectors lives in the embedding space {first!r}, the other in {second!r}: cosines between two "
            "spaces mean nothing, so embed both by one recogniser."
        )


def check_vectors(vectors: Tensor, what: str) -> Tensor:
    """(N, D) float32 unit vectors; InputError when one is zero, NaN or infinite."""
    if vectors.ndim != 2 or not vectors.numel():
        raise InputError(f"{what} holds an array of shape {tuple(vectors.shape)}: vectors (N, D) are needed.")
    lengths = vectors.float().norm(dim=1)
    broken = (~(lengths.isfinite() & (lengths > 0))).nonzero().flatten()
    if len(broken):
        raise InputError(
            f"{what} holds {len(broken):,} broken vectors (zero, NaN or infinite; the first is number "
            f"{int(broken[0])}): embed those pictures again or leave them out."
        )
    return torch.nn.functional.normalize(vectors.float())


def save_vectors(path: str | Path, vectors: Tensor, labels: ArrayLike, space: str | None = None) -> Path:
    """Write (N, D) vectors, whose they are (N,), which is kept as texts, and the name of their embedding space into a
    safetensors file, complete or not at all. InputError if the file cannot be written."""
    path, names = Path(path), [str(label) for label in np.asarray(labels)]
    people, numbers = np.unique(names, return_inverse=True)
    metadata = {"format": FORMAT, "people": json.dumps(people.tolist()), **({"space": space} if space else {})}
    tensors = {"vectors": vectors.detach().cpu().contiguous(), "labels": torch.from_numpy(numbers.astype(np.int64))}
    with files.aside(path) as beside:
        save_file(tensors, beside, metadata)
    return path


def load_vectors(path: str | Path) -> LabelledVectors:
    """Read vectors from a file. Nothing in it is executed.

    Read are: what `save_vectors` wrote; files of identities (a person a vector); other safetensors and .npz files with
    an array `vectors`, `embeddings` or `features` and maybe one called `labels`, `identity` or `names`; a plain .npy
    array. InputError if there is no such file, it cannot be read, holds no vectors, or a broken one."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} is no file of vectors: those end in {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise InputError(f"There is no file {path}: check the path.")
    try:
        arrays, metadata = _read(path)
    except InputError as error:
        raise InputError(f"{path} cannot be read as vectors. {error}.") from error
    except Exception as error:  # NumPy raises anything at all on damaged bytes
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:100]
        raise InputError(f"{path} cannot be read as vectors ({reason}): was it cut short?") from error
    found = next((arrays[name] for name in _VECTORS if name in arrays), None)
    if found is None or not isinstance(found, Tensor):
        raise InputError(f"{path} holds {', '.join(arrays) or 'nothing'}, but none of {', '.join(_VECTORS)}.")
    vectors = check_vectors(found, str(path))
    named = next((arrays[name] for name in _LABELS if name in arrays), None)
    labels = np.arange(len(vectors)) if named is None else np.asarray(named)
    try:
        if named is None and "names" in metadata:  # a file of identities
            labels = np.array(json.loads(metadata["names"]))
        if "people" in metadata:
            labels = np.array(json.loads(metadata["people"]))[labels]
    except (ValueError, IndexError, TypeError, RecursionError) as error:
        raise InputError(f"{path} has damaged names: make it again.") from error
    if labels.shape != (len(vectors),):
        raise InputError(f"{path} holds {len(vectors)} vectors, but labels of shape {labels.shape}.")
    labelled = named is not None or "names" in metadata
    return LabelledVectors(vectors, labels.astype(str), metadata.get("space"), labelled)


def _read(path: Path) -> tuple[dict[str, Tensor | NDArray[np.str_]], dict[str, str]]:
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    loaded = np.load(path, allow_pickle=False)
    arrays = {"vectors": loaded} if path.suffix == ".npy" else {name: _array(loaded, name) for name in loaded.files}
    space = {"space": str(arrays.pop("space"))} if "space" in arrays else {}
    native = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in arrays.items()}
    numbers = {name: torch.from_numpy(array) for name, array in native.items() if array.dtype.kind in "fiu"}
    return {**native, **numbers}, space


def _array(archive: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(archive[name])
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise InputError(
            f"The array {name!r} holds Python objects, which could run code: save it as texts, by np.array(names, str)"
        ) from error
