"""Vectors from outside: nothing is executed, nothing is believed."""

from __future__ import annotations

import io
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from painted import unit_vectors

from idgen.ground.errors import InputError
from idgen.ground.identity import Identity
from idgen.model import Model
from space import actions
from space.models import Models, defaults
from space.people import Seals, read_vector, verified


@pytest.fixture(scope="module")
def somebody(small: Model) -> Identity:
    return Identity(unit_vectors(1, 64)[0], small.encoder.space, "1 photo", "photo")


def npy(array: np.ndarray) -> bytes:
    np.save(file := io.BytesIO(), array, allow_pickle=True)
    return file.getvalue()


def test_what_was_handed_out_comes_back_as_it_was(small: Model, person: Identity, somebody: Identity) -> None:
    seals = Seals()
    several = replace(somebody, also={"tiny-judge": unit_vectors(1, 48)[0], "dlib": unit_vectors(1, 128)[0]})
    for identity in (person, somebody, several):
        back = seals.open(seals.describe(identity), small, vectors_allowed=False)
        assert torch.equal(back.vector, identity.vector) and back.also.keys() == identity.also.keys()
        assert all(torch.equal(back.also[space], vector) for space, vector in identity.also.items())
        assert (back.source, back.name, back.space) == (identity.source, identity.name, identity.space)
    unsealed = {**seals.describe(person), "seal": ""}
    assert not seals.open(unsealed, small, vectors_allowed=False).from_photo, "anybody can sample that person"


def test_a_changed_identity_is_not_known_again(small: Model, somebody: Identity) -> None:
    seals = Seals()
    described = seals.describe(somebody)
    described["also"] = {"tiny-judge": described["vector"]}
    with pytest.raises(InputError, match="switched off"):
        seals.open(described, small, vectors_allowed=False)
    described = seals.describe(somebody)
    lies = {"vector": [-value for value in described["vector"]], "source": "sampled, seed 7, number 0"}
    for changed in (*lies.items(), *(("seal", seal) for seal in (Seals().seal(somebody), None, "ü"))):
        with pytest.raises(InputError, match="switched off"):
            seals.open(described | dict([changed]), small, vectors_allowed=False)
        opened = seals.open(described | dict([changed]), small, vectors_allowed=True)
        assert opened.from_photo, "a claim is not believed"


_VECTORS = ("abc", [[1, 2], [3]], [], [0.0, 0.0], [float("nan"), 1], [1e39, 1], {"a": 1})
_WITH_THEM = [{"space": "s", "source": "x", "vector": vector} for vector in _VECTORS]


@pytest.mark.parametrize("content", [None, [], {}, {"space": 1, "source": "x", "vector": [1]}, *_WITH_THEM])
def test_what_is_no_identity_is_said(small: Model, content: object) -> None:
    with pytest.raises(InputError, match=r"\.$"):
        Seals().open(content, small, vectors_allowed=True)


def test_a_file_of_a_sampled_person_is_person_and_a_made_up_claim_is_not_believed(
    small: Model, person: Identity, somebody: Identity
) -> None:
    back, count = read_vector(actions.identity_file([person]), small)
    assert torch.equal(back.vector, person.vector) and count == 1 and not back.from_photo
    liar = Identity(somebody.vector, somebody.space, person.source, "liar")
    assert read_vector(actions.identity_file([liar]), small)[0].from_photo
    assert verified(liar, small).source == "a vector from outside, said to be: sampled, seed 7, number 0"
    first, count = read_vector(actions.identity_file([somebody, person]), small)
    assert count == 2 and torch.equal(first.vector, somebody.vector)
    with pytest.raises(InputError, match="switched off"):
        read_vector(actions.identity_file([person]), small, allowed=False)


def test_a_bare_array_needs_its_space(small: Model, somebody: Identity) -> None:
    content = npy(somebody.vector.numpy() * 3)
    with pytest.raises(InputError, match="name its embedding space"):
        read_vector(content, small)
    with pytest.raises(InputError, match="lives in the embedding space 'other'"):
        read_vector(content, small, "other")
    back, _ = read_vector(content, small, small.encoder.space)
    assert torch.allclose(back.vector, somebody.vector, atol=1e-6) and back.from_photo


class _Trap:
    def __reduce__(self):
        return Path.touch, (Path("trapped"),)


_ARRAYS = [np.zeros((2, 2, 2)), np.ones(64, int), np.zeros(64), np.ones(63), np.full(64, np.nan)]
_TRAPS = [npy(np.array([_Trap()], object)), pickle.dumps(_Trap())]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04", b"\xff" * 100, *map(npy, _ARRAYS), *_TRAPS])
def test_what_is_no_vector_is_said_without_where_it_was_and_not_executed(
    small: Model, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refused:
        read_vector(content, small, small.encoder.space)
    assert "/tmp" not in str(refused.value) and str(refused.value).endswith((".", "?"))
    assert not Path("trapped").exists()


def test_only_allowed_models_and_by_a_name_without_its_place(small: Model, tiny_model: Path) -> None:
    models = Models([str(tiny_model), "nobody-128"])
    assert models.names == [tiny_model.name, "nobody-128"]
    assert models.get() is models.get(tiny_model.name) and models.get("").folder == tiny_model
    for name in ("other/repo", str(tiny_model), "../nobody-128", 7, ["nobody-128"]):
        with pytest.raises(InputError, match=f"choose one of {tiny_model.name}, nobody-128"):
            models.get(name)


def test_defaults_are_read_without_loading_anything(tiny_model: Path) -> None:
    model = Model(tiny_model)
    steps, guidance = defaults(model)
    assert model._parts == {}
    assert (steps, guidance) == (model.pipeline.config.num_inference_steps, model.pipeline.config.guidance_scale)


def test_who_waits_for_one_model_does_not_stop_the_others(small: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answer = threading.Event(), threading.Event()

    def slowly(name: str) -> Model:
        asked.set()
        answer.wait(120)
        return Model(small.folder, name)

    monkeypatch.setattr("space.models.load_model", slowly)
    models = Models([small, "somebody/slow"])
    with ThreadPoolExecutor(3) as pool:
        try:
            slow = [pool.submit(models.get, "somebody/slow") for _ in range(2)]
            assert asked.wait(60)
            assert pool.submit(models.get).result(timeout=20) is small
            assert not any(one.done() for one in slow)
        finally:
            answer.set()
        assert slow[0].result().name == "somebody/slow"
        assert slow[0].result() is slow[1].result(), "loaded once"
