import pytest
import torch
from torch import Generator
from torch.nn.functional import normalize

from idgen.ground.errors import InputError
from idgen.sampling.boundary import Boundary

TRUTH = normalize(torch.randn(24, generator=Generator().manual_seed(9)), dim=0)


def pool(noise=0.05):
    """Draws whose similarity rises along TRUTH."""
    generator = Generator().manual_seed(1)
    draws = torch.randn(600, 24, generator=generator)
    return draws, torch.tanh(draws @ TRUTH) + noise * torch.randn(600, generator=generator)


def test_finds_the_direction():
    draws, similarity = pool()
    boundary = Boundary.fit(draws, similarity)
    assert float(boundary.normal.norm()) == pytest.approx(1, abs=1e-6)
    assert float(boundary.normal @ TRUTH) > 0.98
    assert boundary.accuracy > 0.95
    sides = draws @ boundary.normal + boundary.offset > 0
    own = float((sides == (similarity > similarity.median())).float().mean())
    assert boundary.accuracy < own < boundary.accuracy + 0.05, "judged by draws that it was not fitted on"


def test_is_that_of_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    draws, similarity = pool(noise=0.5)
    scaled = draws / (draws - draws.mean(0)).double().std()
    model = linear.LogisticRegression(C=1.0, tol=1e-8, max_iter=500)
    model.fit(scaled.numpy(), (similarity > similarity.median()).numpy())
    theirs = normalize(torch.from_numpy(model.coef_[0]), dim=0)
    assert float(theirs.double() @ Boundary.fit(draws, similarity).normal.double()) > 1 - 1e-6


def test_does_not_depend_on_units_and_shape():
    draws, similarity = pool()
    small = Boundary.fit((0.01 * draws + 3).view(-1, 2, 3, 4), similarity)  # as noises are shaped
    assert small.normal.shape == (2, 3, 4)
    torch.testing.assert_close(small.normal.flatten(), Boundary.fit(draws, similarity).normal, atol=1e-3, rtol=0)


def test_samples_on_the_side_and_keeps_the_length():
    boundary = Boundary.fit(*pool())
    start = normalize(torch.randn(24, generator=Generator().manual_seed(2)), dim=0) * 5
    for side, sign in (("similar", 1), ("dissimilar", -1)):
        out = boundary.sample(start, 50, Generator().manual_seed(0), reach=0.8, side=side)
        torch.testing.assert_close(out.norm(dim=1), torch.full((50,), 5.0))
        assert (sign * (out - start) @ boundary.normal >= -1e-5).all()
    both = boundary.sample(start, 50, Generator().manual_seed(0), reach=0.8, side="both")
    up = (both - start) @ boundary.normal > 0
    assert up[::2].all() and not up[1::2].any()
    still = boundary.sample(start, 2, Generator().manual_seed(0), reach=0)
    torch.testing.assert_close(still, start.expand(2, -1))


def test_a_pool_without_a_direction_says_so():
    """Though 512 numbers fit 64 coin flips wholly."""
    generator = Generator().manual_seed(3)
    draws, similarity = torch.randn(64, 512, generator=generator), torch.rand(64, generator=generator)
    chance = Boundary.fit(draws, similarity)
    sides = draws @ chance.normal + chance.offset > 0
    assert (sides == (similarity > similarity.median())).all() and abs(chance.accuracy - 0.5) < 0.2


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Boundary.fit(torch.randn(4, 3), torch.rand(4)), "at least 8"),
        (lambda: Boundary.fit(torch.randn(9, 3), torch.ones(9)), "equally similar"),
        (lambda: Boundary.fit(torch.full((9, 3), torch.nan), torch.rand(9)), "NaN"),
        (lambda: Boundary(TRUTH, 0.0, 1.0).sample(torch.ones(3), 1, Generator()), "shape"),
    ],
)
def test_refuses(call, says):
    with pytest.raises(InputError, match=says):
        call()
