import math

import pytest
import torch
from torch import Generator
from torch.nn.functional import normalize

from idgen.ground.errors import InputError
from idgen.ground.identity import SAMPLED, Identities, Identity, mean
from idgen.sampling.interpolation import interpolate, mixup, slerp


def people(n=5, dim=32, source=f"{SAMPLED}, seed 0"):
    vectors = normalize(torch.randn(n, dim, generator=Generator().manual_seed(0)))
    return Identities(vectors, "space", [source] * n, [f"p{i}" for i in range(n)])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_slerp_divides_the_angle(share):
    a, b = people(2).vectors.double()
    whole = math.acos(float(a @ b))
    point = slerp(a, b, share).double()
    assert float(point.norm()) == pytest.approx(1, abs=1e-6)
    assert math.acos(min(1, float(point @ a))) == pytest.approx(share * whole, abs=5e-4)
    assert math.acos(min(1, float(point @ b))) == pytest.approx((1 - share) * whole, abs=5e-4)


def test_slerp_of_almost_equal_and_of_almost_opposite_vectors():
    a = people(1).vectors[0]
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    near = normalize(a + 1e-9 * torch.ones_like(a), dim=0)
    torch.testing.assert_close(slerp(a, near, 0.5), a, atol=1e-6, rtol=0)
    torch.testing.assert_close(slerp(3 * a, 7 * a, 0.5), a)  # only the direction counts
    middle = slerp(torch.tensor([1.0, 0, 0]), torch.tensor([-1.0, 1e-4, 0]), 0.5)
    assert float(middle[1]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ([1.0, 0], [-1.0, 0], "opposite"),
        ([0.0, 0], [1.0, 0], "no direction"),
        ([float("nan"), 0], [1.0, 0], "no direction"),
    ],
)
def test_slerp_refuses(a, b, says):
    with pytest.raises(InputError, match=says):
        slerp(torch.tensor(a), torch.tensor(b), 0.5)


def test_interpolation_runs_from_one_to_the_other_in_equal_steps():
    a, b = list(people(2))
    way = interpolate(a, b, 5)
    torch.testing.assert_close(way.vectors[0], a.vector)
    torch.testing.assert_close(way.vectors[-1], b.vector)
    torch.testing.assert_close(way.vectors[2], mean([a, b]).vector)  # half-way is the average
    steps = (way.vectors[1:] * way.vectors[:-1]).sum(1)
    torch.testing.assert_close(steps, steps[:1].expand(4))
    assert not any(person.from_photo for person in way)
    with pytest.raises(InputError, match="at least 2"):
        interpolate(a, b, 1)
    with pytest.raises(InputError, match="space"):
        interpolate(a, Identity(b.vector, "another", b.source, b.name), 3)


def test_between_a_photo_and_a_sampled_person_still_counts_as_a_photo():
    a, b = people(2)[0], people(2, source="1 photo")[1]
    assert all(person.from_photo for person in interpolate(a, b, 3))
    both = Identities.of([a, b])
    assert all(person.from_photo for person in mixup(both, 4, seed=0)[0])


def test_mixed_people_are_what_their_labels_say():
    crowd = people()
    mixed, labels = mixup(crowd, 200, seed=3)
    assert len({(x.first, x.second) for x in labels}) == 20  # every ordered pair turns up
    assert {round(x.share, 2) for x in labels} <= {round(i / 20, 2) for i in range(21)}
    for person, label in zip(mixed, labels, strict=True):
        assert label.first != label.second
        assert sum(label.weights().values()) == pytest.approx(1)
        first, second = (crowd[crowd.names.index(name)].vector for name in (label.first, label.second))
        torch.testing.assert_close(person.vector, slerp(second, first, label.share))


def test_each_mixed_person_depends_on_its_number_only():
    crowd = people()
    (many, labels), (few, some) = mixup(crowd, 6, seed=1), mixup(crowd, 3, seed=1)
    assert torch.equal(many.vectors[:3], few.vectors) and labels[:3] == some
    assert mixup(crowd, 6, seed=2)[1] != labels
    with pytest.raises(InputError, match="at least two"):
        mixup(people(1), 3, seed=0)
