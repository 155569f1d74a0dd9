import numpy as np
import pytest
import torch
from torch import Generator

from idgen.ground.errors import InputError
from idgen.ground.identity import SAMPLED, Identities
from idgen.sampling.boundary import Boundary
from idgen.sampling.variation import (
    Cone,
    Gaussian,
    SimilarityCurve,
    check_variation,
    cone,
    isotonic,
    parse_variation,
    vary,
)

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


def test_at_cosine_one_nothing_is_drawn():
    generator = Generator().manual_seed(3)
    before = generator.get_state()
    torch.testing.assert_close(cone(VECTOR * 5, 1.0, generator), VECTOR)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(
    ("vector", "says"),
    [
        (torch.zeros(4), "no direction"),
        (torch.tensor([1.0, float("nan")]), "no direction"),
        (torch.ones(2, 2), "shape"),
        (torch.ones(1), "shape"),
    ],
)
def test_refuses(vector, says):
    with pytest.raises(InputError, match=says):
        cone(vector, 0.5, Generator())


def measured(variation, dim=512, draws=2000):
    generator = Generator().manual_seed(5)
    vector = torch.nn.functional.normalize(torch.randn(dim, generator=generator), dim=0)
    varied = torch.stack([variation(vector, generator) for _ in range(draws)])
    torch.testing.assert_close(varied.norm(dim=1), torch.ones(draws))
    return varied.double() @ vector.double()


@pytest.mark.parametrize(("lowest", "highest"), [(0.5, 1.0), (0.7, 1.0), (0.6, 0.8), (0.9, 0.9)])
def test_cone_is_uniform_between_its_bounds(lowest, highest):
    cosines = measured(Cone(lowest, highest))
    assert cosines.min() >= lowest - 1e-6 and cosines.max() <= highest + 1e-6
    # the standard error of the mean of 2,000 uniform draws is (high − low)/√12/√2000
    assert float(cosines.mean()) == pytest.approx((lowest + highest) / 2, abs=0.005 + (highest - lowest) * 0.015)
    ordered = cosines.sort().values
    if highest > lowest:  # Kolmogorov–Smirnov at 0.1 %
        uniform = (torch.arange(2000) + 0.5) / 2000
        assert ((ordered - lowest) / (highest - lowest) - uniform).abs().max() < 1.95 / 2000**0.5


@pytest.mark.parametrize("dim", [128, 512])
@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.7])
def test_gaussian_has_the_cosine_of_the_formula(sigma, dim):
    # Vec2Face's three, said for vectors of length √D there: .958, .894, .819.
    cosines = measured(Gaussian(sigma / dim**0.5), dim)
    assert float(cosines.mean()) == pytest.approx(1 / (1 + sigma**2) ** 0.5, abs=0.005)


def test_curve_out_of_reach_says_how_far_it_reaches():
    curve = SimilarityCurve.fit([0, 1], [[0.1, 0.1], [0.8, 0.8]])
    with pytest.raises(InputError, match=r"0\.10 to 0\.80"):
        curve.variation(0.9)
    assert curve.variation(0.1) == Cone(0, 0) and curve.variation(0.8) == Cone(1, 1)
    flat = SimilarityCurve.fit([0.0, 0.5, 0.8, 1.0], [[0.1], [0.3], [0.3], [0.6]])
    assert flat.variation(0.3).lowest == pytest.approx(0.8)  # of a flat piece, the vector nearest to the person


def test_isotonic_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.isotonic")
    values = np.random.default_rng(0).normal(size=200).cumsum()
    np.testing.assert_allclose(isotonic(values), sklearn.isotonic_regression(values), atol=1e-9)


def test_curve_is_saved_and_damage_is_noticed(tmp_path):
    curve = SimilarityCurve.fit([0.2, 1.0], [[0.1, 0.2], [0.7, 0.8]], model="m", weights="w", space="s")
    curve.save(tmp_path / "deep" / "curve.json")
    assert SimilarityCurve.load(tmp_path / "deep" / "curve.json") == curve
    whole = (tmp_path / "deep" / "curve.json").read_text()
    for damaged, says in ((whole[:40], "not valid JSON"), (whole.replace("curve", "x"), "no similarity curve")):
        (tmp_path / "cut.json").write_text(damaged)
        with pytest.raises(InputError, match=says):
            SimilarityCurve.load(tmp_path / "cut.json")


def people(n=3, dim=64):
    vectors = torch.nn.functional.normalize(torch.randn(n, dim, generator=Generator().manual_seed(8)))
    return Identities(vectors, "space", [SAMPLED] * n, [f"p{i}" for i in range(n)])


def test_vary_depends_on_person_and_number_only():
    crowd, variation = people(), Cone(0.5, 0.9)
    out = vary(crowd, variation, 4, seed=1)
    assert len(out) == 12 and out.names[5] == "p1 k01" and not out[0].from_photo
    assert torch.equal(vary(crowd[1:], variation, 2, seed=1, first=2).vectors, out.vectors[[6, 7, 10, 11]])
    assert not torch.equal(vary(crowd, variation, 4, seed=2).vectors, out.vectors)
    cosines = (out.vectors * crowd.vectors.repeat_interleave(4, 0)).sum(1)
    assert cosines.min() >= 0.5 - 1e-6 and cosines.max() <= 0.9 + 1e-6


def test_words():
    for text, variation in (
        ("cone:0.7", Cone(0.7)),
        ("cone:-0.2", Cone(-0.2)),
        ("cone:0.7-0.9", Cone(0.7, 0.9)),
        ("gaussian:0.03", Gaussian(0.03)),
        (0.3, Cone(0.7, 0.7)),
        (0, None),
    ):
        assert parse_variation(text) == variation
    boundary = Boundary(torch.eye(3)[0], 0.0, 1.0)
    for text, sign in (("boundary:0.5", 1), ("boundary:-0.5", -1)):
        along = parse_variation(text, boundary=lambda vector: boundary)(torch.eye(3)[1], Generator().manual_seed(0))
        assert sign * along[0] > 0 and along[2] == 0 and float(along.norm()) == pytest.approx(1)
        check_variation(text)
    curve = SimilarityCurve.fit([0, 1], [[0.0], [0.8]])
    assert parse_variation("similarity:0.4", lambda: curve) == Cone(0.5, 0.5)
    for text in ("cone", "cone:x", "cone:0.1-0.2-0.3", "gaussian:", "box:1", "similarity:0.4", "boundary:1"):
        with pytest.raises(InputError, match="There is no variation"):
            parse_variation(text)
    for text in ("cone:0.9-0.7", "cone:1.2", "gaussian:-1", "boundary:0", "boundary:20"):
        with pytest.raises(InputError):
            check_variation(text)
