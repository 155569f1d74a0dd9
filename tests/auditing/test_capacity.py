"""Capacity: caps of the sphere, collisions and their growth by other ways; people who are there twice."""

import math

import numpy as np
import pytest
import torch
from planted import audited, crowd, run, value
from scipy import special

from idgen.auditing.capacity import (
    CROWDED,
    cap,
    collisions,
    expected_shares,
    growth,
    means_of,
    sphere_ratio,
    spread_angle,
    within_angle,
)
from idgen.sampling.separation import separate


def test_caps_are_the_incomplete_beta_function():
    for dim in (3, 16, 128, 512):
        for degrees in (20, 54, 80, 90, 100, 130):
            angle = math.radians(degrees)
            half = 0.5 * special.betainc((dim - 1) / 2, 0.5, math.sin(angle) ** 2)
            want = half if angle <= math.pi / 2 else 1 - half
            assert math.exp(cap(angle, dim)) == pytest.approx(want, rel=1e-9, abs=1e-300)
    assert math.exp(cap(math.pi / 3, 3)) == pytest.approx((1 - math.cos(math.pi / 3)) / 2, abs=1e-9)
    # The published code jumps at the equator: 54° and a margin of 38.9°, of 512 dimensions, gave 6.4e5.
    margin = 0.5 * math.acos(0.2125)
    ratio = sphere_ratio(math.radians(54), math.radians(10), margin, 512)
    assert ratio == pytest.approx(math.exp(cap(math.radians(54) + margin, 512) - cap(math.radians(10) + margin, 512)))
    strict = sphere_ratio(math.radians(54), math.radians(10), 0.9 * margin, 512)
    assert strict > ratio and sphere_ratio(0.1, 0.5, 0.2, 64) == 1


def test_angles_are_those_of_all_pairs():
    vectors, people = crowd(40, 3)
    products = vectors @ vectors.T
    assert spread_angle(vectors) == pytest.approx(0.5 * math.acos(np.quantile(products.min(1), 0.05)), abs=1e-6)
    least = [products[np.ix_(people == p, people == p)].min() for p in range(40)]
    assert within_angle(vectors, people) == pytest.approx(0.5 * np.median(np.arccos(least)), abs=1e-6)
    assert within_angle(vectors[::3], people[::3]) == 0


def test_the_expected_share_is_that_of_all_draws():
    vectors, _ = crowd(60, 1, dim=6)
    pairs = collisions(vectors, 0.6)
    assert {tuple(p) for p in pairs} == {
        (i, j) for i in range(60) for j in range(i + 1, 60) if vectors[i] @ vectors[j] >= 0.6
    }
    degrees = np.bincount(pairs.ravel(), minlength=60)
    sizes = np.array([2, 3, 60])
    shares = expected_shares(degrees, 60, sizes)
    close = np.zeros((60, 60), bool)
    close[tuple(pairs.T)] = close[tuple(pairs.T[::-1])] = True
    assert shares[0] == pytest.approx(close.sum() / (60 * 59), abs=1e-9)
    triples = [close[i, j] or close[i, k] for i in range(60) for j in range(60) for k in range(j) if i not in (j, k)]
    assert shares[1] == pytest.approx(np.mean(triples), abs=1e-9)
    assert shares[2] == pytest.approx((degrees > 0).mean(), abs=1e-9)


def test_growth_is_foreseen():
    """Fitted on some people, it holds the share among more."""
    vectors, _ = crowd(3000, 1, dim=16)
    found = growth(collisions(vectors[:800], 0.75), 800)
    more = collisions(vectors, 0.75)
    share = len(np.unique(more)) / 3000
    assert found.at(3000) == pytest.approx(share, rel=0.25)
    assert found.low < found.half < found.high and found.at(found.half) == pytest.approx(CROWDED)
    all_ = growth(np.array([[0, 1]]), 2)
    assert all_.shares.tolist() == [1] and all_.half == 2 and all_.at(2) == 1 and all_.low is None
    none = growth(np.zeros((0, 2), int), 100)
    assert none.half == math.inf and none.low > 1 and none.high is None


def test_people_who_are_there_twice_are_found():
    vectors, people = crowd(200, 4, dim=48)
    section, warnings = run("capacity", audited(vectors, labels=people, fmr=1e-3))
    assert not warnings
    again = vectors.copy()
    noise = np.random.default_rng(0).normal(0, 0.02, (160, 48))
    again[:160] = vectors[160:320] + noise
    again /= np.linalg.norm(again, axis=1, keepdims=True)
    section, warnings = run("capacity", audited(again.astype(np.float32), labels=people, fmr=1e-3))
    assert len(warnings) == 1 and "80 people have somebody as near" in warnings[0]
    at = value(section, "threshold of means").value
    means = torch.from_numpy(means_of(again.astype(np.float32), people))
    assert value(section, "unique people").value == len(separate(means, at))
    assert value(section, "ratio of hyperspheres").value >= 1
    assert "Not measured" in run("capacity", audited(vectors[:4], labels=people[:4]))[0].findings[0][1]
