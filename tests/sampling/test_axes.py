"""In which directions people differ."""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator
from torch.nn.functional import normalize

from idgen.models import IdentityFlow
from idgen.sampling.axes import axes_needed, completed, flat_directions, principal_axes, telling_directions
from idgen.sampling.fitting import fit_flow, flow_coordinates
from idgen.sampling.sampler import IdentitySampler
from idgen.sampling.separation import nearest_other

COUNT, DIM = 3_000, 12


def camps() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit vectors (P, D) that come in two camps along one hidden direction (D,), of little variance, and lie evenly
    along another."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    raw = rng.normal(size=(COUNT, DIM)) * np.geomspace(1, 0.2, DIM)
    raw[:, 7] = 0.3 * (rng.choice([-1.0, 1.0], COUNT) + 0.1 * rng.normal(size=COUNT))
    raw[:, 3] = rng.uniform(-1, 1, COUNT)
    raw[:, 0] = 9  # what all have in common: to unit length without bending the rest
    vectors = raw @ turn
    return normalize(torch.from_numpy(vectors)).float(), torch.from_numpy(turn[7]), torch.from_numpy(turn[3])


def test_axes_are_as_many_as_tell_people_apart() -> None:
    """What lies beyond the axes tells people apart, too: without it, samples are more alike than people are."""
    spectrum = np.array([4.0, 3.0, 2.0, 1.0, 0.5, 0.003, 0.003])
    crowd = np.random.default_rng(0).normal(size=(20_000, 7)) * np.sqrt(spectrum)
    variances = np.sort(np.linalg.eigvalsh(np.cov(crowd.T)))[::-1]
    enough = 1 + int(np.argmax(np.cumsum(variances) >= 0.999 * variances.sum()))
    assert enough == axes_needed(torch.from_numpy(crowd), 7) == 5
    assert axes_needed(torch.from_numpy(crowd), 3) == 3
    wide = normalize(torch.randn(400, 100, generator=Generator().manual_seed(0)))
    enough, few = (
        nearest_other(IdentitySampler.fit(wide, "a", count).sample(400, 1).vectors)[0].mean() for count in (98, 40)
    )
    assert axes_needed(wide, 100) > 90
    assert abs(enough - nearest_other(wide)[0].mean()) < 0.05 < few - enough


def test_camps_are_found_and_a_gaussian_has_none() -> None:
    people, between, even = camps()
    mean, axes, deviations = principal_axes(people, DIM - 1)
    rows = flat_directions((people.double() - mean) @ axes.T / deviations, 5)
    assert len(rows) == 2
    torch.testing.assert_close(rows @ rows.T, torch.eye(2, dtype=torch.float64), atol=1e-6, rtol=0)
    for row, hidden in zip(rows, (between, even), strict=True):
        along = (people.double() - mean) @ axes.T / deviations @ row
        truth = (people.double() - mean) @ hidden
        assert abs(np.corrcoef(along, truth)[0, 1]) > 0.97
    gaussian = torch.randn(COUNT, DIM, generator=Generator().manual_seed(3), dtype=torch.float64)
    assert flat_directions(gaussian, 5).shape == (0, DIM)


def test_what_is_known_of_people_has_its_directions() -> None:
    """By numpy's least squares, each at right angles to those before; what nobody differs in has none."""
    rng = np.random.default_rng(0)
    coordinates = rng.normal(size=(COUNT, DIM))
    glasses = (coordinates[:, 4] + 0.5 * rng.normal(size=COUNT) > 1).astype(float)
    beard = coordinates[:, 4] + coordinates[:, 7]
    some = np.where(rng.random(COUNT) < 0.3, np.nan, beard)
    told = torch.from_numpy(np.stack([glasses, np.ones(COUNT), some, 2 * glasses - 1], 1))
    rows = telling_directions(torch.from_numpy(coordinates), told).numpy()
    assert rows.shape == (2, DIM)
    np.testing.assert_allclose(rows @ rows.T, np.eye(2), atol=1e-9)
    first = np.linalg.lstsq(coordinates, glasses - glasses.mean(), rcond=None)[0]
    assert rows[0] @ first / np.linalg.norm(first) > 0.9999
    assert abs(rows[1] @ np.eye(DIM)[7]) > 0.99 and abs(rows[0] @ np.eye(DIM)[4]) > 0.99
    flat = flat_directions(torch.from_numpy(coordinates), 5, torch.from_numpy(rows))
    np.testing.assert_array_equal(flat[:2].numpy(), rows)


def test_few_who_wear_glasses_are_few_and_are_sampled() -> None:
    """What tells them lies where people hardly differ, and is no Gaussian's: neither may be lost."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(COUNT, DIM)) * np.geomspace(1, 0.05, DIM)
    wear = rng.random(COUNT) < 0.15
    raw[:, 9] = 0.2 * (wear + 0.05 * rng.normal(size=COUNT))
    raw[:, 0] = 9
    people = normalize(torch.from_numpy(raw)).float()
    told = torch.from_numpy(wear.astype(np.float32))[:, None]
    shares = []
    for known in (None, told):
        fitted, shaped = flow_coordinates(people, DIM, known)
        flow = IdentityFlow(DIM, DIM, width=8, depth=1, shaped=shaped, temperature=1.0).double()
        flow.fit(people, *fitted)
        torch.nn.init.zeros_(flow.outputs.bias)  # untrained, it bends nothing
        drawn = flow.sample(torch.randn(4000, DIM, generator=Generator().manual_seed(1), dtype=torch.float64))
        along = drawn[:, 9] / drawn[:, 0] * 9
        shares.append((float((along > 0.15).double().mean()), float(((along > 0.05) & (along < 0.15)).double().mean())))
    assert shares[0][0] < 0.1 or shares[0][1] > 0.2  # a Gaussian of that spread
    assert abs(shares[1][0] - 0.15) < 0.03 and shares[1][1] < 0.04


def test_rows_are_completed_to_principal_axes_of_the_rest() -> None:
    lengths = torch.tensor([3.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    first = normalize(torch.tensor([[1.0, 1.0, 0.0, 0.0]], dtype=torch.float64))
    turn = completed(first, lengths)
    torch.testing.assert_close(turn @ turn.T, torch.eye(4, dtype=torch.float64))
    spread = turn[1:] * lengths
    rest = spread @ spread.T
    torch.testing.assert_close(rest, torch.diag(rest.diag()))
    assert (rest.diag().diff() < 0).all()


def test_coordinates_along_camps_are_normal_and_lead_back() -> None:
    people, *_ = camps()
    fitted, shaped = flow_coordinates(people, DIM)
    flow = IdentityFlow(DIM, DIM, width=8, depth=1, shaped=shaped).double()
    flow.fit(people, *fitted)
    coordinates = flow.to_coordinates(people.double())
    torch.testing.assert_close(flow.to_vectors(coordinates), people.double(), atol=1e-5, rtol=0)
    # Derived again: a rank among people, and the normal distribution's quantile there.
    mean, axes, deviations, turn = fitted
    along = ((people.double() - mean) @ axes.T / deviations @ turn.T)[:, 0]
    share = (along.argsort().argsort().double() + 0.5) / len(along)
    middle = (share > 0.02) & (share < 0.98)
    wanted = torch.special.ndtri(share)
    assert float((coordinates[:, 0] - wanted).abs()[middle].max()) < 0.05
    weights = (turn * deviations).square().sum(1)
    weights = weights / weights.mean()
    weights[:shaped] = weights[:shaped].clamp_min(1)
    torch.testing.assert_close(flow.importance, weights, atol=1e-6, rtol=0)


def test_what_is_not_bent_is_drawn_from_a_gaussian() -> None:
    torch.manual_seed(0)
    people, *_ = camps()
    fitted, shaped = flow_coordinates(people, DIM)
    flow = IdentityFlow(DIM, DIM, width=8, depth=1, shaped=shaped, bent=5).double()
    flow.fit(people, *fitted)
    torch.nn.init.normal_(flow.outputs.weight, std=0.1)
    noise, time = torch.randn(64, DIM, dtype=torch.float64), torch.rand(64, dtype=torch.float64)
    other = torch.cat([noise[:, :5], torch.randn(64, DIM - 5, dtype=torch.float64)], 1)
    velocity = flow(noise, time)
    assert velocity[:, :5].abs().min() > 0 and not velocity[:, 5:].any()
    torch.testing.assert_close(flow(other, time), velocity)
    drawn = flow.to_coordinates(flow.sample(noise))
    assert float((drawn[:, 5:-1] - noise[:, 5:-1] * 0.9).abs().mean()) < 0.06  # unit length bends a little
    wanted = flow.forward(0.3 * noise + 0.7 * flow.to_coordinates(people[:64].double()), time * 0 + 0.3)
    error = (wanted - (noise - flow.to_coordinates(people[:64].double()))).square() * flow.importance
    loss = flow.loss(people[:64].double(), noise, time * 0 + 0.3)
    torch.testing.assert_close(loss, error[:, :5].mean())
    assert fit_flow(people, steps=1).config.bent == axes_needed(people, DIM, 0.98) < DIM


def test_samples_fall_between_camps_as_rarely_as_people() -> None:
    people, between, _ = camps()
    sampler = IdentitySampler.fit(people, "a", flow=fit_flow(people, steps=60))
    plain = IdentitySampler.fit(people, "a")

    def inside(vectors: torch.Tensor) -> float:
        along = (vectors.double() - people.double().mean(0)) @ between
        return float(
            (along.abs() < 0.5 * float(((people.double() - people.double().mean(0)) @ between).std())).double().mean()
        )

    drawn, gaussian = (inside(one.sample(500, 1).vectors) for one in (sampler, plain))
    assert inside(people) < 0.01 and drawn < 0.06 and gaussian > 0.25
