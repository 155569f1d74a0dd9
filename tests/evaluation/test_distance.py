import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

pytest.importorskip("torchmetrics")
from idgen.evaluation.distance import distances


def vectors(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(count, 8, generator=generator) + shift, dim=1)


def test_fd_is_the_formula_of_the_paper():
    linalg = pytest.importorskip("scipy.linalg")
    real, fake = vectors(400, 0), vectors(300, 1, 0.4)
    a, b = real.double().numpy() * np.sqrt(8), fake.double().numpy() * np.sqrt(8)
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a + cov_b - 2 * linalg.sqrtm(cov_a @ cov_b).real)
    assert distances(real, fake, "tiny", subsets=2)["fd_tiny"] == pytest.approx(expected, rel=1e-4)


def test_kid_over_one_subset_of_everything_is_the_unbiased_estimate():
    real, fake = vectors(60, 0), vectors(60, 1, 0.4)
    # x·y/D + 1, x times √D
    kernel = [[(a.double() @ b.double().T + 1) ** 3 for b in (real, fake)] for a in (real, fake)]
    within = [(k.sum() - k.diag().sum()) / (60 * 59) for k in (kernel[0][0], kernel[1][1])]
    expected = float(within[0] + within[1] - 2 * kernel[0][1].mean())
    out = distances(real, fake, "tiny", subset_size=60, subsets=1)
    assert out["kid_tiny"] == pytest.approx(expected, rel=1e-3)
    assert out["kid_tiny_std"] == 0


def test_same_people_are_near_and_others_far():
    near = distances(vectors(500, 0), vectors(500, 1), "tiny", subset_size=100)
    far = distances(vectors(500, 0), vectors(500, 1, 0.5), "tiny", subset_size=100)
    assert near["fd_tiny"] < 0.2 < 1 < far["fd_tiny"]
    assert abs(near["kid_tiny"]) < 0.05 < far["kid_tiny"]


def test_same_seed_same_figures_and_the_global_generator_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (
        distances(vectors(80, 0), vectors(80, 1), "tiny", subset_size=40, subsets=3, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert first == again != other and set(first) == {"fd_tiny", "kid_tiny", "kid_tiny_std"}
