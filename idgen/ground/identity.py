"""Who: unit vectors with the name of their embedding space, their files, and the seeds that follow from them.

A *seed* is that of a run. Everything drawn in the run has a seed of its own, derived from it here: `person_seed` who is
sampled, `vector_seed` how a person's vector is varied for a picture, `image_seed` the noise that the picture begins as.
"""

from __future__ import annotations

import hashlib
import json
import operator
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from idgen.ground import arguments, domain, files
from idgen.ground.errors import InputError

Vectors = Tensor | NDArray[Any] | Sequence[float] | Sequence[Sequence[float]]

FORMAT, VERSION, VERSION_OF_SEVERAL = "idgen.identities", 1, 2
"""A file of people who hold vectors of several spaces has another version, which idgen before 0.3 refuses."""
UNIT_TOLERANCE = 1e-3
SAMPLED = "sampled"
"""How the source of a person who does not exist begins."""
ONE_PHOTO, ONE_PICTURE = "1 photo", "1 picture"
"""How the source of a vector from a single photo begins, and from a single picture of another domain."""

# A name may become a folder, also on file systems that forbid more than a slash.
_FOLDER = re.compile("[A-Za-z0-9_-]{1,64}")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
_MAX_NAME = 100


def seen_in(domains: Sequence[str], count: int) -> str:
    """The source of a vector from so many pictures of these domains."""
    kinds = set(domains)
    if len(kinds) == 1 and domain.PHOTOGRAPHS not in kinds:
        return f"{f'mean of {count} pictures' if count > 1 else ONE_PICTURE} ({domains[0]})"
    return f"mean of {count} photos" if count > 1 else ONE_PHOTO


def safe_name(text: str) -> str:
    """The nearest text that may name an identity: what a folder name cannot hold becomes `_`."""
    return _FORBIDDEN.sub("_", text).strip(" .")[:_MAX_NAME].strip(" .") or "identity"


def folder_names(names: Sequence[str]) -> list[str]:
    """What the folders of people are called: by their names, where every file system and program takes such a name for
    nothing but that, else by their numbers. No two of them are the same."""
    plain = [bool(_FOLDER.fullmatch(name)) and name.casefold() not in _RESERVED for name in names]
    taken = {name.casefold() for name, is_plain in zip(names, plain, strict=True) if is_plain}
    out = []
    for row, (name, is_plain) in enumerate(zip(names, plain, strict=True)):
        number = f"{row:06d}"
        while not is_plain and number in taken:
            number = f"_{number}"
        out.append(name if is_plain else number)
    return out


def key(vector: Vectors) -> int:
    """64-bit name of a vector (D,): the first 8 bytes of the SHA-256 of its float32 little-endian bytes.

    Derived seeds follow the identity by it, not its position in a list.
    """
    # + 0 turns -0.0, which equals 0.0 but has other bytes, into 0.0.
    values = _as_tensor(vector).numpy().astype("<f4") + np.float32(0)
    return int.from_bytes(hashlib.sha256(values.astype("<f4").tobytes()).digest()[:8], "little")


def image_seed(seed: int, key: int, k: int) -> int:
    """63-bit seed of the noise of picture number `k` of the identity `key`, in a run seeded `seed`."""
    return _derive("image", arguments.seed(seed), key, arguments.whole("number of a picture", k, 0, 2**63 - 1))


def vector_seed(seed: int, key: int, k: int) -> int:
    """63-bit seed of the variation of the identity `key` for its picture number `k`, in a run seeded `seed`."""
    return _derive("vector", arguments.seed(seed), key, k)


def person_seed(seed: int, number: int) -> int:
    """63-bit seed of sampled person `number` in a run seeded `seed`."""
    return _derive("person", arguments.seed(seed), number)


def _derive(purpose: str, *numbers: int) -> int:
    # numpy's SeedSequence joins its numbers' 32-bit words and pads with zeros: equal widths keep different inputs
    # different, and the purpose keeps the seeds of people and of pictures apart.
    words = [half for number in numbers for half in (number & 0xFFFFFFFF, number >> 32)]
    words.insert(0, int.from_bytes(purpose.encode()[:4], "little"))
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1


@dataclass(frozen=True, eq=False)
class Identity:
    """One person: a unit vector in a named embedding space.

    Args:
        vector: (D,) unit length; kept as float32 on the CPU.
        space: name of the embedding space, that is of the encoder that made the vector.
        source: where it came from: "sampled, seed 7, number 2", "1 photo", "mean of 3 photos".
        name: what to call it; also the name of its folder, where `folder_names` says so.
        also: name of another embedding space → (D',) unit length: what that recogniser sees in the same photos, or, of
            a sampled person, in a model's own pictures.

    Raises:
        InputError: the vector holds NaN or infinity or is not of unit length, or the name cannot be a folder's.
    """

    vector: Tensor = field(repr=False)
    space: str
    source: str
    name: str
    also: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        vector = _as_tensor(self.vector)
        if vector.ndim != 1:
            raise InputError(f"An identity is one vector (D,), got the shape {tuple(vector.shape)}: use Identities.")
        _check_names([self.name])
        _check_vectors(vector[None], [self.name])
        also = {space: _as_tensor(other) for space, other in self.also.items()}
        for other in also.values():
            _check_vectors(other.reshape(1, -1), [self.name])
        object.__setattr__(self, "vector", vector)
        object.__setattr__(self, "also", also)

    @property
    def from_photo(self) -> bool:
        """Whether a photo may be behind it: everything that was not sampled counts, to be on the safe side."""
        return not self.source.startswith(SAMPLED)

    @property
    def domain(self) -> str:
        """What kind of pictures the vector is of, see `idgen.ground.domain`: "" for a sampled one, which is of none;
        photographs where nothing else is known."""
        if not self.from_photo:
            return ""
        said = re.fullmatch(rf"(?:{ONE_PICTURE}|mean of \d+ pictures) \((.+)\)", self.source)
        with suppress(InputError):
            return domain.check(said[1] if said else domain.PHOTOGRAPHS)
        return domain.PHOTOGRAPHS

    @property
    def from_one(self) -> bool:
        """Whether the vector is of a single picture."""
        return self.source.startswith((ONE_PHOTO, ONE_PICTURE))

    def require_space(self, space: str, dim: int | None = None) -> None:
        """Raise InputError unless the vector lives in `space` and, when given, has length `dim`."""
        _require_space(self.space, len(self.vector), space, dim)


class Identities(Sequence[Identity]):
    """Some people of one embedding space, in order.

    Args:
        vectors: (N, D), each of unit length; kept as float32 on the CPU.
        space: name of the embedding space.
        sources: N texts, see `Identity`.
        names: N different names.
        also: N mappings, see `Identity`.

    Raises:
        InputError: no vectors, NaN or infinity, not of unit length, or names that are missing, repeated or unusable.
    """

    def __init__(
        self,
        vectors: Vectors,
        space: str,
        sources: Sequence[str],
        names: Sequence[str],
        also: Sequence[Mapping[str, Tensor]] = (),
    ):
        tensor = _as_tensor(vectors)
        if tensor.ndim != 2 or not tensor.numel():
            shape = tuple(tensor.shape)
            raise InputError(f"There are no identities in vectors of shape {shape}: give (N, D) with N of at least 1.")
        if not len(sources) == len(names) == len(tensor):
            raise InputError(
                f"{len(tensor)} identities need as many names and sources, got {len(names)} and {len(sources)}."
            )
        _check_names(names)
        _check_vectors(tensor, names)
        self.vectors, self.space = tensor, space
        self.sources, self.names = tuple(sources), tuple(names)
        self.also = tuple(also) or ({},) * len(tensor)

    @classmethod
    def of(cls, identities: Iterable[Identity]) -> Identities:
        """Put single identities of one space together."""
        people = list(identities)
        told = [who.source for who in people], [who.name for who in people], [who.also for who in people]
        return cls(_stacked(people), people[0].space, *told)

    def __len__(self) -> int:
        return len(self.vectors)

    @overload
    def __getitem__(self, index: int) -> Identity: ...
    @overload
    def __getitem__(self, index: slice) -> Identities: ...
    def __getitem__(self, index: int | slice) -> Identity | Identities:
        if isinstance(index, slice):
            told = self.sources[index], self.names[index], self.also[index]
            return Identities(self.vectors[index], self.space, *told)
        index = operator.index(index)
        vector = self.vectors[range(len(self))[index]]
        return Identity(vector, self.space, self.sources[index], self.names[index], self.also[index])

    def __repr__(self) -> str:
        return f"Identities({len(self)} × {self.vectors.shape[1]}, space={self.space!r}, names={list(self.names)!r})"

    def require_space(self, space: str, dim: int | None = None) -> None:
        """Raise InputError unless the vectors live in `space` and, when given, have length `dim`."""
        _require_space(self.space, self.vectors.shape[1], space, dim)

    def take(self, rows: Iterable[int]) -> Identities:
        """The people of these rows, in their order."""
        return Identities.of(self[row] for row in rows)

    def fingerprint(self) -> str:
        """Short name of the space, the names and the vectors together."""
        digest = hashlib.sha256(json.dumps([self.space, *self.names]).encode())
        digest.update(self.vectors.numpy().astype("<f4").tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file, complete or not at all; missing parent folders are made. InputError if the file
        cannot be written there."""
        texts = {"space": self.space, "names": json.dumps(self.names), "sources": json.dumps(self.sources)}
        spaces = sorted(set().union(*self.also))
        metadata = {"format": FORMAT, "version": str(VERSION_OF_SEVERAL if spaces else VERSION), **texts}
        metadata |= {"also": json.dumps(spaces)} if spaces else {}
        others = {f"also.{number}": self._in(space) for number, space in enumerate(spaces)}
        with files.aside(path) as beside:
            save_file({"vectors": self.vectors, **others}, beside, metadata)
        return Path(path)

    def _in(self, space: str) -> Tensor:
        """(N, D') in another space; a row of NaN for who has none there."""
        dim = next(len(one[space]) for one in self.also if space in one)
        nothing = torch.full((dim,), torch.nan, dtype=torch.float32)
        return torch.stack([one.get(space, nothing) for one in self.also])

    @classmethod
    def load(cls, path: str | Path) -> Identities:
        """Read a file that `save` wrote. InputError if there is no such file, it is no identities file or a newer one,
        or what it holds is invalid."""
        path = Path(path)
        if not path.is_file():
            what = f"{path} is a folder" if path.is_dir() else f"There is no file {path}"
            raise InputError(f"{what}: give a file of identities, made by `idgen sample` or `identify`.")
        try:
            with safe_open(path, "pt") as file:
                held = file.keys()
                metadata, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in held}
        except (SafetensorError, OSError) as error:
            why = "was it cut short, or is it a photo, which idgen identify has to read first?"
            raise InputError(f"{path} is not a readable safetensors file ({error}): {why}") from error
        vectors = tensors.pop("vectors", None)
        strange = any(not name.startswith("also.") for name in tensors)
        if metadata.get("format") != FORMAT or vectors is None or not vectors.is_floating_point() or strange:
            raise InputError(f"{path} is a safetensors file, but not of identities: give one made by `idgen sample`.")
        if metadata.get("version") not in (str(VERSION), str(VERSION_OF_SEVERAL)):
            raise InputError(
                f"{path} has version {metadata.get('version')} of the format, this idgen reads {VERSION_OF_SEVERAL}: "
                "update idgen."
            )
        try:
            space, names, sources = metadata["space"], json.loads(metadata["names"]), json.loads(metadata["sources"])
            spaces = json.loads(metadata.get("also", "[]"))
            if not all(isinstance(text, str) for text in [*names, *sources, *spaces]):
                raise TypeError("names and sources must be lists of texts")
            others = {space: tensors.pop(f"also.{number}") for number, space in enumerate(spaces)}
            if tensors or any(len(rows) != len(vectors) or rows.ndim != 2 for rows in others.values()):
                raise ValueError("other tensors than its spaces")
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise InputError(f"{path} has damaged names, sources or space: make it again.") from error
        try:
            also = [
                {name: rows[row] for name, rows in others.items() if not rows[row].isnan().all()}
                for row in range(len(vectors))
            ]
            people = cls(vectors, space, sources, names, also)
            return people if not others else cls.of(people)  # which checks each
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def mean(identities: Iterable[Identity], name: str | None = None) -> Identity:
    """The normalised mean of one person's vectors; called `name`, or as the first of them. InputError if there are
    none, they live in different spaces, or they cancel out. Of other spaces, too, where all of them have a vector."""
    people = list(identities)
    total = _mean(_stacked(people))
    spaces = set(people[0].also).intersection(*(person.also for person in people))
    also = {space: _mean(torch.stack([person.also[space] for person in people])) for space in sorted(spaces)}
    seen = [person.domain for person in people if person.from_photo]
    source = f"{SAMPLED}, mean of {len(people)}" if not seen else seen_in(seen, len(people))
    source = people[0].source if len(people) == 1 else source
    return Identity(total, people[0].space, source, people[0].name if name is None else name, also)


def _mean(vectors: Tensor) -> Tensor:
    """The normalised mean (D,) of (N, D)."""
    total = vectors.double().mean(0)
    if total.norm() < 1e-6:
        raise InputError("The identities cancel out, so they have no mean: they cannot be of one person.")
    return (total / total.norm()).float()


def centres(embeddings: Tensor, labels: ArrayLike) -> Tensor:
    """People's centre vectors (P, D) in float32: the normalised mean of each one's embeddings (N, D), normalised here.
    The labels (N,) say whose each is; the order is that of `numpy.unique(labels)`."""
    people = torch.from_numpy(np.unique(np.asarray(labels), return_inverse=True)[1])
    if len(people) != len(embeddings) or not len(people):
        raise InputError(f"{len(embeddings)} embeddings need as many labels, and at least one, got {len(people)}.")
    embeddings = torch.nn.functional.normalize(embeddings.detach().cpu().double())
    sums = torch.zeros(int(people.max()) + 1, embeddings.shape[1], dtype=torch.float64)
    return torch.nn.functional.normalize(sums.index_add_(0, people, embeddings)).float()


def _as_tensor(vectors: Vectors) -> Tensor:
    """A float32 copy on the CPU: nobody else can change it."""
    try:
        if isinstance(vectors, Tensor):
            return vectors.detach().to("cpu", torch.float32, copy=True).contiguous()
        return torch.from_numpy(np.array(vectors, np.float32, order="C"))
    except (TypeError, ValueError) as error:
        raise InputError(f"The vectors are not an array of numbers ({error}).") from error


def _check_names(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not name or len(name) > _MAX_NAME or name != name.strip(" .") or _FORBIDDEN.search(name):
            raise InputError(
                f"{name[: _MAX_NAME + 1]!r} cannot name an identity, because files are called so: use at most "
                f'{_MAX_NAME} characters, none of / \\ : * ? " < > |, and no dot or space at either end.'
            )
        same = unicodedata.normalize("NFC", name).casefold()
        if same in seen:  # two such folders are one on macOS and Windows
            raise InputError(
                f"Two identities are called {name!r} (capitals and how accents are coded do not count): give each its "
                "own name."
            )
        seen.add(same)


def _check_vectors(vectors: Tensor, names: Sequence[str]) -> None:
    broken = (~vectors.isfinite().all(1)).nonzero().flatten().tolist()
    if broken:
        raise InputError(f"The vector of {names[broken[0]]!r} holds NaN or infinity: make it again from its source.")
    lengths = vectors.double().norm(dim=1)
    wrong = ((lengths - 1).abs() > UNIT_TOLERANCE).nonzero().flatten().tolist()
    if wrong:
        raise InputError(
            f"The vector of {names[wrong[0]]!r} has length {float(lengths[wrong[0]]):.4g}, not 1: "
            "divide it by its length, if it is a face embedding at all."
        )


def _stacked(people: Sequence[Identity]) -> Tensor:
    """(N, D) of people of one space."""
    if not people:
        raise InputError("There are no identities: give at least one.")
    for person in people[1:]:
        person.require_space(people[0].space, len(people[0].vector))
    return torch.stack([person.vector for person in people])


_GONE = {"nobody-128-encoder": "nobody-128 of idgen 0.2", "nobody-128-2-encoder": "nobody-128 of idgen 0.3"}
"""Spaces of built-in weights that went, and where they are."""


def _require_space(have: str, have_dim: int, space: str, dim: int | None) -> None:
    if have != space:
        wrong = f"lives in the embedding space {have!r}, but {space!r} is needed"
    elif dim is not None and have_dim != dim:
        wrong = f"is a vector of {have_dim} numbers, but the embedding space {space!r} needs {dim}"
    else:
        return
    old = f" {_GONE[have]} paints it as it was." if have in _GONE else ""
    raise InputError(f"The identity {wrong}: make it with the encoder of the model that you use.{old}")
