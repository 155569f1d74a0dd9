import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Generator
from torch.nn.functional import normalize

from idgen.ground.errors import InputError
from idgen.ground.identity import SAMPLED, Identities
from idgen.sampling.draw import draw, write_soft_labels
from idgen.sampling.interpolation import interpolate, mixup
from idgen.sampling.sampler import IdentitySampler


@pytest.fixture(scope="module")
def sampler():
    vectors = torch.ones(16) / 4 + 0.5 * torch.randn(50, 16, generator=Generator().manual_seed(0))
    return IdentitySampler.fit(vectors, "space")


@pytest.fixture
def file(sampler, tmp_path):
    return sampler.sample(6, 3).save(tmp_path / "people.safetensors")


def test_those_of_the_sampler_and_packed_ones_further_apart(sampler):
    assert torch.equal(draw(sampler, 3, 5, "sphere")[0].vectors, sampler.sample(3, 5, "sphere").vectors)
    closest = lambda v: float((v @ v.T).fill_diagonal_(-1).max())  # noqa: E731
    people, _ = draw(sampler, 20, 5, "packed")
    assert len(people) == 20 and closest(people.vectors) < closest(sampler.sample(20, 5).vectors) - 0.05
    assert torch.equal(people.vectors, draw(sampler, 20, 5, "packed")[0].vectors)


def test_of_a_file(sampler, file):
    people = Identities.load(file)
    assert torch.equal(draw(sampler, 6, 0, "file", file)[0].vectors, people.vectors)
    some, again = (draw(sampler, 3, 1, "file", file)[0] for _ in range(2))
    assert some.names == again.names and len(set(some.names)) == 3 and set(some.names) < set(people.names)
    middle = draw(sampler, 5, 0, "interpolate", file)[0]
    assert torch.equal(middle.vectors, interpolate(people[0], people[1], 5).vectors)
    mean = draw(sampler, 1, 0, "mean", file)[0]
    torch.testing.assert_close(mean.vectors[0], normalize(people.vectors.mean(0), dim=0))
    mixed, labels = draw(sampler, 4, 2, "mixup", file)
    assert labels == mixup(people, 4, 2)[1]
    content = json.loads(write_soft_labels(file, mixed, labels).read_text())
    assert content[mixed.names[0]] == labels[0].weights()


def test_vectors_from_elsewhere_may_be_of_a_photo(sampler, tmp_path):
    np.save(tmp_path / "theirs.npy", 3 * sampler.sample(4, 1).vectors.numpy())
    people, _ = draw(sampler, 4, 0, "file", tmp_path / "theirs.npy")
    torch.testing.assert_close(people.vectors, sampler.sample(4, 1).vectors)
    assert all(person.from_photo for person in people)


def test_refuses(sampler, file, tmp_path):
    people = sampler.sample(2, 0)
    other = Identities(people.vectors, "another", [SAMPLED] * 2, people.names).save(tmp_path / "other.safetensors")
    short = tmp_path / "short.safetensors"
    save_file({"vectors": torch.ones(2, 5)}, short)
    for n, method, origin, says in (
        (3, "packed", file, "takes no file"),
        (3, "mixup", None, "add --from"),
        (1, "packed", None, "at least two"),
        (2, "mean", file, "one person, not 2"),
        (7, "file", file, "holds 6 people, but 7"),
        (2, "file", other, "another"),
        (2, "file", short, "5 numbers"),
    ):
        with pytest.raises(InputError, match=says):
            draw(sampler, n, 0, method, origin)
