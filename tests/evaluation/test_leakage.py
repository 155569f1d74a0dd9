"""Planted people are found, strangers are left alone."""

import numpy as np
import pytest
import torch
from torch import Generator
from torch.nn.functional import normalize

from idgen.evaluation.leakage import chance_limit, leakage, nearest
from idgen.ground.errors import InputError


def pictures(centres, each, seed, noise=0.6):
    """Pictures of people: two of one person are at a cosine of about 1 / (1 + noise²) = 0.74."""
    generator = Generator().manual_seed(seed)
    spread = torch.randn(len(centres), each, centres.shape[1], generator=generator) / centres.shape[1] ** 0.5
    vectors = normalize((centres[:, None] + noise * spread).flatten(0, 1))
    return vectors, np.repeat(np.arange(len(centres)), each)


def crowd(n, seed, dim=64):
    return normalize(torch.randn(n, dim, generator=Generator().manual_seed(seed)))


TRAINING = pictures(crowd(400, 1), 12, 2)


def test_one_percent_planted_are_all_found_and_hardly_anybody_else():
    # Other pictures of 5 training people among 500: what a generator that remembers them would make.
    people = crowd(500, 3)
    planted = np.arange(0, 500, 100)
    people[planted] = crowd(400, 1)[:5]
    vectors, labels = pictures(people, 8, 4)
    for search in leakage(vectors, labels, *TRAINING):
        who = labels[search.alarms] if search.kind != "person-to-person" else search.alarms
        assert set(planted) <= set(who), search.kind
        right = np.isin(who, planted)
        assert (~right).sum() <= search.plausible  # no more false alarms than chance
        assert search.leaks and len(search.alarms) > search.plausible
        matched = search.matched[search.alarms][right]
        owners = TRAINING[1][matched] if search.kind == "sample-to-sample" else matched
        assert (owners == np.searchsorted(planted, who[right])).mean() > 0.95


@pytest.mark.parametrize("seed", range(10, 15))
def test_strangers_raise_as_many_alarms_as_chance(seed):
    vectors, labels = pictures(crowd(500, seed), 8, seed + 100)
    searches = leakage(vectors, labels, *TRAINING)
    assert [search.kind for search in searches] == ["sample-to-sample", "sample-to-centre", "person-to-person"]
    for search in searches:
        assert not search.leaks, (search.kind, len(search.alarms), search.plausible)
        assert search.expected == pytest.approx(search.probes * search.rate)


@pytest.mark.parametrize("each", [1, 50])
def test_many_pictures_that_are_alike_are_no_leak(each):
    """They raise alarms together: once in a while many, which is chance all the same."""
    verdicts = []
    for seed in range(12):
        vectors, labels = pictures(crowd(100, 20 + seed), each, 200 + seed, noise=0.3)  # at a cosine of 0.92
        verdicts += [search.leaks for search in leakage(vectors, labels, *TRAINING)]
    assert not any(verdicts)
    if each > 1:
        people = torch.cat([crowd(99, 50), crowd(400, 1)[:1]])
        vectors, labels = pictures(people, each, 60, noise=0.3)
        found = leakage(vectors, labels, *TRAINING)
        assert all(99 in (labels[s.alarms] if s.probes > 100 else s.alarms) for s in found)


def test_copies_are_found_even_when_there_is_one():
    vectors, labels = pictures(crowd(50, 3), 4, 4)
    vectors[77] = TRAINING[0][1234]
    search = leakage(vectors, labels, *TRAINING)[0]
    assert search.alarms[0] == 77 and search.matched[77] == 1234 and search.copies == 1 and search.leaks
    assert float(search.nearest[77]) == pytest.approx(1, abs=1e-5)


def test_means_alone_allow_one_search():
    vectors, labels = pictures(crowd(50, 3), 4, 4)
    (search,) = leakage(vectors, labels, crowd(400, 1), np.arange(400))
    assert (search.kind, search.probes, search.strangers) == ("person-to-person", 50, 400)
    with pytest.raises(InputError, match="one person"):
        leakage(vectors, labels, crowd(5, 1), np.zeros(5))


def test_nearest_is_the_nearest(monkeypatch):
    monkeypatch.setattr("idgen.evaluation.leakage._ROWS", 7)
    monkeypatch.setattr("idgen.evaluation.leakage._COLUMNS", 11)
    probes, gallery = crowd(40, 5), crowd(60, 6)
    mine, theirs = np.arange(40) % 3, np.arange(60) % 3
    products = (probes.double() @ gallery.double().T).numpy()
    found, row = nearest(probes, gallery)
    np.testing.assert_allclose(found, products.max(1), atol=1e-6)
    assert (row == products.argmax(1)).all()
    products[mine[:, None] == theirs[None]] = -9
    found, row = nearest(probes, gallery, mine, theirs)
    assert (row == products.argmax(1)).all()


@pytest.mark.parametrize(("probes", "strangers", "allowed"), [(40, 100, 0), (200, 1000, 1), (30, 50, 3)])
def test_chance_limit_is_what_shuffling_gives(probes, strangers, allowed):
    rng = np.random.default_rng(0)
    draws = rng.random((20000, probes + strangers))
    threshold = np.sort(draws[:, :strangers], 1)[:, strangers - allowed - 1]
    alarms = (draws[:, strangers:] > threshold[:, None]).sum(1)
    limit = chance_limit(probes, strangers, allowed, 0.02)
    assert (alarms > limit).mean() <= 0.02 + 0.004
    assert (alarms > limit - 1).mean() > 0.02 - 0.004
    assert alarms.mean() == pytest.approx(probes * (allowed + 1) / (strangers + 1), rel=0.05)
