"""What the host program has set for its own tensors changes no bit of a person, a picture or a score."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from idgen.choosing import picture_means
from idgen.ground.identity import Identities
from idgen.model import Model, load_model
from idgen.sampling.draw import draw
from idgen.sampling.separation import nearest_other
from idgen.sampling.variation import Gaussian, vary


@contextmanager
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def elsewhere() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


def half() -> AbstractContextManager[None]:
    return torch.autocast("cpu", torch.bfloat16)  # type: ignore[return-value]


def everything(model: Model, people: Identities) -> list[np.ndarray]:
    pictures = model.pipeline(people, 1, seed=7, num_inference_steps=2).images
    scores = model.scorer.score(pictures, people.vectors)
    return [
        model.sampler.sample(2, 7).vectors.numpy(),
        *map(np.asarray, pictures),
        model.encoder.encode(pictures).numpy(),
        model.judge.encode(pictures).numpy(),
        np.array([(one.similarity, one.judge_similarity) for one in scores]),
        np.array([len(model.encoder.finder.find(picture)) for picture in pictures]),
        vary(people, Gaussian(0.03), 2, 1).vectors.numpy(),
        draw(model.sampler, 4, 1, "packed")[0].vectors.numpy(),
        nearest_other(people.vectors)[0].numpy(),
        picture_means(people, model, 1, 3, steps=1).numpy(),
    ]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return load_model(tiny_model, device="cpu")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("host", [double, elsewhere, half])
def test_nothing_of_it_reaches_a_picture(
    model: Model, tiny_model: Path, threads: int, host: Callable[[], AbstractContextManager[None]]
) -> None:
    before = torch.get_num_threads()
    people = model.sampler.sample(2, 7)
    wanted = everything(model, people)
    torch.set_num_threads(threads)
    try:
        with host():
            loaded_before, loaded_within = everything(model, people), everything(load_model(tiny_model), people)
    finally:
        torch.set_num_threads(before)
    for found in (loaded_before, loaded_within):
        assert [each.dtype for each in found] == [each.dtype for each in wanted]
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
