"""Identities from outside: files of vectors, and what a program hands back. Nothing is executed, nothing believed."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
import secrets
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from idgen.ground.errors import InputError
from idgen.ground.identity import Identities, Identity, safe_name
from idgen.model import Model

_MOST_SPACES = 4  # that an identity from outside may hold vectors of
_SAMPLED = re.compile(r"sampled, seed (\d{1,19}), number (\d{1,6})")
OFF = (
    "Face vectors from outside are switched off here, because this model turns them back into faces: "
    "sample a person or use a photo, or run the app on your own machine."
)


class Seals:
    """Marks on identities that this app handed out, so that it knows them again without keeping them.

    A mark covers the vector, its space, its name and where it came from; it is of no use to another process.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def seal(self, identity: Identity) -> str:
        """The mark of an identity."""
        spaces = sorted(identity.also)
        head = json.dumps([identity.space, identity.source, identity.name, *spaces]).encode()
        vectors = [identity.vector, *(identity.also[space] for space in spaces)]
        content = b"".join(vector.numpy().astype("<f4").tobytes() for vector in vectors)
        return hmac.new(self._secret, head + b"\0" + content, hashlib.sha256).hexdigest()

    def describe(self, identity: Identity) -> dict[str, Any]:
        """An identity for a program: name, source, space, vector (D numbers), what other recognisers see (`also`: a
        vector a space), and its mark."""
        said: dict[str, Any] = {"name": identity.name, "source": identity.source, "space": identity.space}
        if identity.also:
            said["also"] = {space: vector.tolist() for space, vector in identity.also.items()}
        return {**said, "vector": identity.vector.tolist(), "seal": self.seal(identity)}

    def open(self, content: Any, model: Model, vectors_allowed: bool) -> Identity:
        """The identity that `describe` described, or any other where vectors from outside are allowed.

        Raises:
            InputError: it is something else, or was not made here and vectors from outside are switched off.
        """
        if not isinstance(content, dict) or not all(isinstance(content.get(key), str) for key in ("space", "source")):
            raise InputError("An identity is what /sample or /identify answered: hand that on as it is.")
        name, seal = content.get("name"), content.get("seal")
        name = name if isinstance(name, str) else "identity"
        also = content.get("also")
        given = _identity(content.get("vector"), content["space"], content["source"], name)
        for space, values in list(also.items())[:_MOST_SPACES] if isinstance(also, dict) else ():
            other = _identity(values, str(space), "", name)
            given = replace(given, also={**given.also, other.space: other.vector})
        if isinstance(seal, str) and seal.isascii() and hmac.compare_digest(seal, self.seal(given)):
            return given
        person = verified(given, model)
        if not vectors_allowed and person.from_photo:
            raise InputError(OFF)
        return person


def verified(identity: Identity, model: Model) -> Identity:
    """The identity with a source that is true: "sampled" only if the model's sampler gives this very vector for it.

    Any other is called "vector": the name may be that of a person, and pictures carry it.
    """
    said = _SAMPLED.fullmatch(identity.source)
    if said and int(said[1]) < 2**63 and model.has("sampler") and identity.space == model.sampler.space:
        drawn = model.sampler.sample(1, int(said[1]), first=int(said[2]))[0]
        if torch.equal(drawn.vector, identity.vector):
            return drawn
    claim = " ".join(identity.source.split())[:80]
    source = claim if claim.startswith("a vector from outside") else f"a vector from outside, said to be: {claim}"
    return Identity(identity.vector, identity.space, source, "vector", identity.also)


def read_vector(content: bytes, model: Model, space: str = "", allowed: bool = True) -> tuple[Identity, int]:
    """The first person of a file of vectors, and how many it holds. Nothing in it is executed.

    Args:
        content: a safetensors file by idgen, or a bare .npy array (D,) or (N, D).
        model, allowed: whose space it must be of, and whether the operator lets visitors bring vectors.
        space: the embedding space of a bare array, which cannot say it itself.

    Raises:
        InputError: it is not allowed, not such a file, of another space or length, or holds no usable vector.
    """
    if not allowed:
        raise InputError(OFF)
    if content.startswith(b"\x93NUMPY"):
        person, count = _bare(content, space)
    else:
        with tempfile.TemporaryDirectory(prefix="idgen-") as folder:
            path = Path(folder) / "people.safetensors"
            path.write_bytes(content)
            try:
                people = Identities.load(path)
                person, count = people[0], len(people)
            except InputError as error:
                raise InputError(str(error).replace(str(path), "The file")) from None
    person.require_space(model.pipeline.config.space, model.pipeline.identity_dim)
    return verified(person, model), count


def _bare(content: bytes, space: str) -> tuple[Identity, int]:
    if not isinstance(space, str) or not space.strip():
        raise InputError("A bare .npy does not say which recogniser made it: name its embedding space and try again.")
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # NumPy raises anything at all on damaged bytes
        raise InputError("The .npy file is damaged, or holds objects instead of numbers: save plain floats.") from error
    rows = array[None] if array.ndim == 1 else array
    if rows.ndim != 2 or rows.dtype.kind != "f" or not rows.size:
        raise InputError(f"A .npy file holds float vectors (D,) or (N, D), got {array.dtype} {array.shape}.")
    return _identity(rows[0], space.strip(), "a vector from outside", "vector"), len(rows)


def _identity(values: Any, space: str, source: str, name: str) -> Identity:
    """From numbers of any length that is not zero."""
    try:
        with np.errstate(all="ignore"):  # infinity is refused below
            vector = np.asarray(values, np.float32)
    except (TypeError, ValueError, OverflowError):
        vector = np.zeros(1, np.float32)
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if vector.ndim != 1 or not 0 < length < float("inf"):
        raise InputError("A face vector is a list of numbers that are not all zero: hand on the one you were given.")
    if abs(length - 1) > 1e-5:
        vector = (vector / length).astype(np.float32)
    return Identity(vector, space[:100], source[:200], safe_name(name))  # type: ignore[arg-type]
