"""Files that other people's programs pickled: tensors are taken out of them, and nothing in them is executed."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from idgen.errors import InputError

Network = TypeVar("Network", bound=nn.Module)

# Wrappers of Lightning Fabric, DataParallel and friends, which put their name before every key.
_WRAPPERS = re.compile(r"^(?:(?:module|_module|_forward_module|_original_module)\.)+")


def _array_globals() -> list[Any]:
    """What a pickled array of floats is made of, under the names of numpy 1 and of numpy 2."""
    reconstruct = np.zeros(1).__reduce__()[0]
    names = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
    return [*((reconstruct, name) for name in names), np.ndarray, np.dtype, *(type(np.dtype(f"f{n}")) for n in (4, 8))]


def read_pickle(path: Path, what: str, origin: str) -> Any:
    """Load what `torch.save` wrote, if it is nothing but tensors, arrays of floats, and plain containers.

    Args:
        path: the file.
        what: what it should be, for messages.
        origin: where one gets it, for messages.

    Raises:
        InputError: it is missing, cut short, not such a file, or holds what could run code; none of it was run.
    """
    if not path.is_file():
        raise InputError(f"There is no {what} {path}: get it from {origin}.")
    try:
        with torch.serialization.safe_globals(_array_globals()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)|got <class '([\w.]+)'>", str(error))
        if named:
            raise InputError(
                f"{path} holds {named[1] or named[2]}, not only numbers, so it could run code: it is refused, "
                f"and nothing of it was run; get the {what} from {origin}."
            ) from error
        raise InputError(f"{path} is not a file of weights: get it again from {origin}.") from error
    except Exception as error:  # damaged bytes raise anything at all
        raise InputError(
            f"{path} cannot be read ({_first_line(error)}): was it cut short? Get it again from {origin}."
        ) from error


def read_tensors(path: Path, what: str, origin: str) -> dict[str, Tensor]:
    """A state dict, without the prefixes of wrappers.

    Raises:
        InputError: as `read_pickle`, or it is not a dict of tensors.
    """
    content = read_pickle(path, what, origin)
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise InputError(f"{path} does not hold named tensors, so it is not the {what}: get that from {origin}.")
    tensors = {_WRAPPERS.sub("", name): value for name, value in content.items()}
    if len(tensors) != len(content):
        raise InputError(f"{path} names some tensors twice, so it is not the {what}: get that from {origin}.")
    return tensors


def fill(build: Callable[[], Network], tensors: Mapping[str, Tensor], path: Path, what: str) -> Network:
    """A network in float32 with these weights, every one of them and no others.

    Args:
        build: makes the network; called where tensors have no data, so all it holds must be in its state dict.
        tensors: by the network's names.
        path: where they are from, for messages.
        what: what they should be, for messages.

    Raises:
        InputError: a weight is missing, left over, or of another shape.
    """
    with torch.device("meta"):
        network = build()
    own = network.state_dict()
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if missing or extra:
        wrong = [
            f"{len(names):,} of its {len(all_names):,} weights {problem}, such as {names[0]}"
            for names, all_names, problem in ((missing, own, "are missing"), (extra, tensors, "are unknown"))
            if names
        ]
        raise InputError(f"{path} is not the {what}: {' and '.join(wrong)}.")
    for name, value in tensors.items():
        if value.shape != own[name].shape:
            have, want = tuple(value.shape), tuple(own[name].shape)
            raise InputError(f"{path} is not the {what}: {name} has the shape {have}, not {want}.")
    state = {name: value.detach().to(own[name].dtype).contiguous() for name, value in tensors.items()}
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


def first_existing(folders: Sequence[Path], name: str) -> Path:
    """The first of `folders` with a file `name` in it; where none has it, its path in the first."""
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".")[:200] if lines else type(error).__name__
