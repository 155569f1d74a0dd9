import pytest
import torch
from torch import Generator

from idgen.errors import InputError
from idgen.sampling import cone

VECTOR = torch.nn.functional.normalize(torch.randn(64, generator=Generator().manual_seed(0)), dim=0)


@pytest.mark.parametrize("cosine", [-1.0, -0.3, 0.0, 0.5, 0.9, 0.999])
def test_cosine_is_exact_and_length_one(cosine):
    for seed in range(5):
        varied = cone(VECTOR, cosine, Generator().manual_seed(seed))
        assert varied.dtype == torch.float32
        assert float(varied.double().norm()) == pytest.approx(1, abs=1e-6)
        assert float(varied.double() @ VECTOR.double()) == pytest.approx(cosine, abs=1e-6)


def test_direction_is_uniform_around_the_vector():
    generator = Generator().manual_seed(1)
    vector = torch.tensor([0.0, 0.0, 1.0])
    varied = torch.stack([cone(vector, 0.6, generator) for _ in range(4000)])
    angles = torch.atan2(varied[:, 1], varied[:, 0])
    counts = torch.histc(angles, 8, -torch.pi, torch.pi)
    chi_square = ((counts - 500) ** 2 / 500).sum()
    assert chi_square < 24.3  # 99.9 % of a χ² with 7 degrees of freedom


def test_depends_on_the_generator_only():
    one, two = (cone(VECTOR, 0.7, Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, cone(VECTOR, 0.7, Generator().manual_seed(4)))
    generator = Generator().manual_seed(3)
    before = generator.get_state()
    torch.testing.assert_close(cone(VECTOR * 5, 1.0, generator), VECTOR)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("cosine", [1.01, -1.5, float("nan")])
def test_refuses_a_cosine_out_of_range(cosine):
    with pytest.raises(InputError, match="between -1 and 1"):
        cone(VECTOR, cosine, Generator())


@pytest.mark.parametrize(
    ("vector", "says"),
    [
        (torch.zeros(4), "no direction"),
        (torch.tensor([1.0, float("nan")]), "no direction"),
        (torch.ones(2, 2), "shape"),
        (torch.ones(1), "shape"),
    ],
)
def test_refuses_a_vector_without_direction(vector, says):
    with pytest.raises(InputError, match=says):
        cone(vector, 0.5, Generator())
