"""Files of weights that other people's programs wrote: tensors are taken out, and nothing in them is executed."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from idgen.ground.devices import pinned
from idgen.ground.errors import InputError
from idgen.ground.files import read_json, walk

Network = TypeVar("Network", bound=nn.Module)

_NAME = "diffusion_pytorch_model"
# Wrappers of Lightning Fabric, DataParallel and friends, which put their name before every key.
_WRAPPERS = re.compile(r"^(?:(?:module|_module|_forward_module|_original_module)\.)+")


def _array_globals() -> list[Any]:
    """What a pickled array of floats is made of, under the names of numpy 1 and of numpy 2."""
    reconstruct = np.zeros(1).__reduce__()[0]
    names = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
    return [*((reconstruct, name) for name in names), np.ndarray, np.dtype, *(type(np.dtype(f"f{n}")) for n in (4, 8))]


def read_pickle(path: Path, what: str, origin: str) -> Any:
    """Load what `torch.save` wrote, if it is nothing but tensors, arrays of floats, and plain containers; `what` it
    should be and its `origin`, where one gets it, are for messages. InputError if it is missing, cut short, not such a
    file, or holds what could run code; none of it was run."""
    if not path.is_file():
        raise InputError(f"There is no {what} {path}: get it from {origin}.")
    try:
        with torch.serialization.safe_globals(_array_globals()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)|got <class '([\w.]+)'>|Unsupported op\w* (\d+)", str(error))
        with path.open("rb") as file:
            is_pickle = file.read(1) in (b"\x80", b"P")  # of its own or in a zip; a page in HTML stumbles too
        if found and is_pickle:
            named = found[1] or found[2] or f"the instruction {found[3]}"
            raise InputError(
                f"{path} holds {named}, not only numbers, so it could run code: it is refused, and nothing of it was "
                f"run; get the {what} from {origin}."
            ) from error
        if is_pointer(path):
            raise cut_short(path, error, origin) from error
        raise InputError(f"{path} is not a file of weights: get it again from {origin}.") from error
    except Exception as error:  # damaged bytes raise anything at all
        raise cut_short(path, error, origin) from error


def read_tensors(path: Path, what: str, origin: str) -> dict[str, Tensor]:
    """Named tensors of a safetensors file or of what `torch.save` wrote, without the prefixes of wrappers.

    A dict in the dict is flattened: its names begin with its own and a dot. InputError as `read_pickle`, or it holds
    something else."""
    if path.suffix == ".safetensors" and path.is_file():
        try:
            content: Any = load_file(path)
        except (SafetensorError, OSError) as error:
            raise cut_short(path, error, origin) from error
    else:
        content = read_pickle(path, what, origin)
    flat: list[tuple[Any, Any]] = []
    for name, value in content.items() if isinstance(content, Mapping) else ():
        flat += [(f"{name}.{key}", item) for key, item in value.items()] if isinstance(value, dict) else [(name, value)]
    if not flat or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in flat):
        raise InputError(f"{path} does not hold named tensors, so it is not the {what}: get that from {origin}.")
    tensors = {_WRAPPERS.sub("", name): value for name, value in flat}
    if len(tensors) != len(flat):
        raise InputError(f"{path} names some tensors twice, so it is not the {what}: get that from {origin}.")
    return tensors


def check_fit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Raise InputError unless `tensors` have the names and shapes of a network's `own`, all of them and no others."""
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


@pinned()
def fill(build: Callable[[], Network], tensors: Mapping[str, Tensor], path: Path, what: str) -> Network:
    """A network in float32 with these weights, every one of them and no others; arguments and errors as `check_fit`.

    `build` makes it, called where tensors have no data, so all that it holds must be in its state dict.
    """
    with torch.device("meta"):
        network = build()
    own = network.state_dict()
    check_fit(own, tensors, path, what)
    kept = {name: torch.float32 if value.is_floating_point() else value.dtype for name, value in own.items()}
    state = {name: value.detach().to(kept[name]).contiguous() for name, value in tensors.items()}
    network.load_state_dict(state, assign=True)
    return network.eval()


_VARIANT = re.compile(r"model\.(?:safetensors\.index\.)?([\w-]+?)(?:-\d+-of-\d+)?\.(?:safetensors|json)")


def variant_in(folder: Path) -> str | None:
    """The variant, such as "fp16", that a `save_pretrained` wrote into a network's folder, where there is but that."""
    names = [path.name for path in folder.glob("*model*") if path.suffix in (".safetensors", ".json")]
    if any(re.search(r"model(-\d+-of-\d+)?\.safetensors$", name) for name in names):
        return None
    found = sorted({match[1] for match in map(_VARIANT.search, names) if match} - {"index"})
    if len(found) > 1:
        raise InputError(f"{folder} holds the variants {' and '.join(found)}: say which by `variant`.")
    return found[0] if found else None


def weight_files(folder: Path, variant: str | None = None, stem: str = _NAME) -> list[Path]:
    """The safetensors that a `save_pretrained` wrote: one file, or the shards that its index names; they are called by
    the `stem`, by default diffusers'. InputError if one is missing."""
    dot = f".{variant}" if variant else ""
    whole, index = folder / f"{stem}{dot}.safetensors", folder / f"{stem}.safetensors.index{dot}.json"
    if whole.is_file() or not index.is_file():
        shards = [whole]
    else:
        places = read_json(index).get("weight_map")
        names = sorted({Path(str(name)).name for name in places.values()}) if isinstance(places, dict) else []
        shards = [folder / name for name in names]
        if not shards:
            raise InputError(f"{index} names no file of weights: fetch the model again.")
    for file in shards:
        if not file.is_file():
            raise InputError(f"There is no {file}: fetch the model again.")
    return shards


def read_shards(paths: Sequence[Path], what: str, origin: str) -> dict[str, Tensor]:
    """The tensors of a file, or of several that hold different ones; arguments and errors as `read_tensors`."""
    tensors: dict[str, Tensor] = {}
    for path in paths:
        part = read_tensors(path, what, origin)
        if twice := tensors.keys() & part.keys():
            raise InputError(f"{path} holds {min(twice)}, which another file holds, too: get the {what} from {origin}.")
        tensors |= part
    return tensors


@pinned()
def load_network(kind: type[Any], folder: Path, dtype: torch.dtype | None = None, variant: str | None = None) -> Any:
    """A network, of a class of ours or of diffusers, from the folder that its `save_pretrained` wrote, in one file or
    several: all of its weights and no others; in float32 unless another `dtype` is given, of the only `variant` unless
    one is named. InputError if a file is missing or damaged, or weights are missing, left over or of another shape."""
    variant, origin = variant or variant_in(folder), "where the model came from"
    if not (folder / "config.json").is_file():
        raise InputError(f"There is no {folder / 'config.json'}: fetch the model again.")
    paths = weight_files(folder, variant)
    if kind.__module__.startswith("idgen."):
        network = kind.from_config(read_json(folder / "config.json")).eval()
        tensors = read_shards(paths, kind.__name__, origin)
        check_fit(network.state_dict(), tensors, paths[0] if len(paths) == 1 else folder, kind.__name__)
        network.load_state_dict(tensors)
        return nn.Module.to(network, dtype or torch.float32)  # `ModelMixin.to` imports peft: seconds
    options = {"use_safetensors": True, "variant": variant, "torch_dtype": dtype or torch.float32}
    try:  # diffusers renames what its older versions saved
        network, info = kind.from_pretrained(folder, output_loading_info=True, **options)
    except (OSError, ValueError, RuntimeError) as error:
        read_shards(paths, kind.__name__, origin)  # is a file damaged?
        raise InputError(f"The weights in {folder} are of no such {kind.__name__}: {first_sentence(error)}.") from error
    for what, names in (("missing", info["missing_keys"]), ("left over", info["unexpected_keys"])):
        if names:
            raise InputError(f"{len(names)} weights of {folder} are {what}, such as {sorted(names)[0]}.")
    return network


def load_published(kind: type[Any], folder: Path, dtype: torch.dtype | None = None) -> Any:
    """As `load_network`, of a folder whose weights may be a pickle: `diffusion_pytorch_model.bin`, or of a variant.

    It is read without executing anything, and loaded as what it would be in safetensors."""
    pickles = sorted(folder.glob(f"{_NAME}*.bin"), key=lambda path: len(path.name))
    if not pickles or any(folder.glob(f"{_NAME}*.safetensors*")):
        return load_network(kind, folder, dtype)
    tensors = read_tensors(pickles[0], kind.__name__, "where the model came from")
    own = {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as beside:
        save_file(own, Path(beside) / f"{_NAME}.safetensors", {"format": "pt"})
        shutil.copy(folder / "config.json", beside)
        return load_network(kind, Path(beside), dtype)


def fingerprint(folder: str | Path) -> str:
    """Short name of a model's weights: path, size, first and last mebibyte of each file of weights and the configs, and
    the pipeline's own settings, by which it paints where nobody says otherwise.

    Those of the encoder and the judge are among them, as their scores stand beside the pictures and choose among them,
    and of Arc2Face's expression adapter, which model_index.json does not name.
    """
    folder, digest, index = Path(folder), hashlib.sha256(), {}
    with suppress(InputError):  # a folder without a pipeline
        index = read_json(folder / "model_index.json")
    parts = {name for name, value in index.items() if isinstance(value, list) and value[0] is not None}
    settings = {name: value for name, value in index.items() if not (name.startswith("_") or isinstance(value, list))}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for part in sorted(parts | {"encoder", "judge", "expression_adapter"}):
        for path in sorted(walk(folder / part)) if (folder / part).is_dir() else ():
            if path.suffix not in (".safetensors", ".onnx", ".json"):
                continue
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder).as_posix()}:{size}\n".encode())
            with path.open("rb") as file:
                digest.update(file.read(1 << 20))
                file.seek(max(0, size - (1 << 20)))
                digest.update(file.read())
    return digest.hexdigest()[:16]


def first_existing(folders: Sequence[Path], name: str) -> Path:
    """The first of `folders` with a file `name` in it; where none has it, its path in the first."""
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[0] / name)


def is_pointer(path: Path) -> bool:
    """Whether a file is git-lfs's note of where its content is."""
    with path.open("rb") as file:
        return file.read(24) == b"version https://git-lfs."


def cut_short(path: Path, error: Exception, origin: str) -> InputError:
    """What to say of a file that cannot be read."""
    if is_pointer(path):
        return InputError(f"{path} is a git-lfs pointer, not the file itself: run `git lfs pull` in its repository.")
    return InputError(
        f"{path} ({path.stat().st_size:,} bytes) cannot be read ({first_sentence(error)}), so it was probably cut "
        f"short: get it again from {origin}."
    )


def first_sentence(error: Exception) -> str:
    """What an error of another library says first, without a full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].split(". ")[0].strip().rstrip(".")[:200] if lines else type(error).__name__
