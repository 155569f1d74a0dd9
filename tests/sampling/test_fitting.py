"""A sampler of people who are not ours to hand on."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from idgen.sampling import fitting
from idgen.sampling.fitting import fit_sampler, neighbourhood


def crowd(count: int, dim: int = 24) -> torch.Tensor:
    """People along a bent line, in between which there is nobody, as a Gaussian cannot have it."""
    generator = torch.Generator().manual_seed(0)
    angle = torch.rand(count, generator=generator) * 4.5
    rings = torch.zeros(count, dim)
    rings[:, 0], rings[:, 1], rings[:, 2] = angle.cos(), angle.sin(), 0.5
    return normalize(rings + 0.1 * torch.randn(count, dim, generator=generator), dim=1)


def test_few_people_give_a_gaussian_and_many_what_fits_better(monkeypatch: pytest.MonkeyPatch) -> None:
    people = crowd(400)
    few = fit_sampler(people, "a", keep=False)
    assert few.nearest["method"] == few.sampler.method == "gaussian" and len(few.nearest["others"]) == 400
    monkeypatch.setattr(fitting, "FLOW_FROM", 300)
    monkeypatch.setattr(fitting, "_DRAWN", 200)
    many = fit_sampler(people, "a", keep=False, steps=150)
    assert many.nearest["method"] == many.sampler.method == "flow"
    assert len(many.nearest["others"]) == 40 and len(many.nearest["samples"]) == 200
    real, drawn, plain = (
        neighbourhood(some, people)[1]
        for some in (crowd(700)[400:], many.sampler.sample(200, 1).vectors, few.sampler.sample(200, 1).vectors)
    )
    assert abs(drawn - real) < abs(plain - real)
    monkeypatch.setattr(fitting, "CLOSER", -1.0)  # as if its samples were people that it has learned by heart
    assert fit_sampler(people, "a", keep=False, steps=5).sampler.flow is None


def test_people_are_kept_only_where_that_is_asked(tmp_path: object) -> None:
    people = crowd(40)
    assert len(fit_sampler(people, "a", keep=True).sampler.people) == 40
    fitted = fit_sampler(people, "a", keep=False)
    assert len(fitted.sampler.people) == 0 and len(fitted.sampler.sample(3, 0)) == 3
    nearest = (people @ people.T).fill_diagonal_(-1).amax(1).sort().values
    assert torch.allclose(torch.tensor(fitted.nearest["others"]), nearest, atol=1e-4)
