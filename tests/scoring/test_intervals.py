"""Intervals by people against their definitions, pair by pair."""

import numpy as np
import pytest

from idgen.scoring import intervals, verification
from idgen.scoring.intervals import Errors, fmr_influence, fmr_rate, fnmr_influence, fnmr_rate, interval


def crowd(people, pictures, seed=0, dim=8):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(people, 1, dim)) + 0.7 * rng.normal(size=(people, pictures, dim))
    return vectors.reshape(-1, dim), np.repeat(np.arange(people), pictures)


def dense(vectors, labels, threshold, chosen):
    """e_ij and m_ij of all people, by a loop."""
    unit = verification.unit(np.float32(vectors))
    errors, comparisons = np.zeros((2, labels.max() + 1, labels.max() + 1))
    for i in np.flatnonzero(chosen):
        for j in np.flatnonzero(chosen):
            if i != j:
                a, b, match = labels[i], labels[j], unit[i] @ unit[j] >= threshold
                comparisons[a, b] += 1 if a != b else 0.5
                errors[a, b] += match if a != b else (not match) / 2
    return errors, comparisons


@pytest.mark.parametrize("some", [False, True])
def test_rates_and_influences_are_the_sums_over_all_pairs(some):
    vectors, labels = crowd(32, 4)
    chosen = np.random.default_rng(1).random(len(labels)) < 0.7 if some else np.ones(len(labels), bool)
    found = Errors.find(vectors, labels, 0.5)
    e, m = dense(vectors, labels, 0.5, chosen)
    own_e, own_m = np.diag(e), np.diag(m)
    off = ~np.eye(32, dtype=bool)
    rate = own_e.sum() / own_m.sum()
    a = (own_e - rate * own_m) / own_m.sum()
    assert found.own(chosen)[0] == pytest.approx(own_e, abs=1e-9)
    assert fnmr_influence(*found.own(chosen)) == pytest.approx(a, abs=1e-9)
    fnmr = found.fnmr(chosen)
    assert (fnmr.errors, fnmr.comparisons) == (own_e.sum(), own_m.sum())
    other = e[off].sum() / m[off].sum()
    d = (e - other * m) * off
    pairs = found.between(chosen)
    assert fmr_influence(*pairs) == pytest.approx(2 * d.sum(1) / m[off].sum(), abs=1e-9)
    twice = intervals.counted_twice(*pairs)
    assert twice == pytest.approx(2 * (d**2).sum() / m[off].sum() ** 2, abs=1e-9)
    # The published variance of the false-match rate, by loops over pairs that share one person.
    shared = sum(d[i, j] * d[i, k] for i in range(32) for j in range(32) for k in range(32) if j != k)
    published = (2 * (d**2).sum() + 4 * shared) / m[off].sum() ** 2
    assert (fmr_influence(*pairs) ** 2).sum() - twice == pytest.approx(published, abs=1e-12)
    assert found.fmr(chosen).value == pytest.approx(other, abs=1e-9)


def test_an_interval_is_students_on_the_log_odds():
    from scipy import stats

    moves = np.random.default_rng(0).normal(size=50) ** 3 / 2000
    low, high = interval(0.1, moves, 30, 50, doubt=1 / 7.5)
    half = stats.t.ppf(0.975, 7.5) * (moves @ moves * 50 / 49) ** 0.5 / 0.09
    odds = np.log(np.array([low, high]) / (1 - np.array([low, high])))
    assert odds == pytest.approx(np.log(1 / 9) + np.array([-half, half]), abs=2e-3)


def test_the_degrees_of_freedom_are_those_of_unequal_people():
    """By everybody's influence, or by how unequal those who err are: as if their squares were drawn again."""
    moves = np.random.default_rng(0).normal(size=50) ** 3 / 2000
    assert 1 / intervals.doubt_of_all(moves) == pytest.approx((moves**2).sum() ** 2 / (moves**4).sum())
    assert 1 / intervals.doubt_of_all(np.full(9, 1e-90)) == pytest.approx(9)
    most = sorted(moves**2)[-30:]
    assert 1 / intervals.doubt_of_erring(moves, 30) == pytest.approx(2 * np.mean(most) ** 2 / (np.var(most) / 30))
    assert intervals.doubt_of_all(np.zeros(5)) == intervals.doubt_of_erring(np.zeros(5), 3) == 0
    assert intervals.doubt_of_erring(np.full(9, 0.1), 9) == pytest.approx(0, abs=1e-12)


def test_where_nobody_errs_there_is_a_bound_and_by_few_people_nothing():
    assert fnmr_rate(np.zeros(29), np.ones(29)).value is None
    none = fnmr_rate(np.zeros(100), np.ones(100))
    assert none.value == none.low == 0 and none.high == pytest.approx(1.96**2 / (100 + 1.96**2), abs=1e-4)
    none = fmr_rate(np.zeros((0, 2), int), np.zeros(0), np.ones(100))
    assert none.value == 0 and none.high == pytest.approx(1.96**2 / (50 + 1.96**2), abs=1e-4)
    one = np.zeros(100)
    one[:7] = [90, 1, 1, 1, 1, 1, 1]
    assert fnmr_rate(one, np.full(100, 100.0)).value is None, "one person makes all of it"
    assert fnmr_rate(np.zeros(0), np.zeros(0)).value is None
    errors = Errors.find(np.eye(40), np.arange(40), 0.5)  # a picture a person
    assert errors.fnmr().value is None and errors.fmr().value == 0


def test_ties_count_as_matches():
    errors = Errors.find(np.ones((60, 2)), np.repeat(np.arange(30), 2), float(np.float32(1)) - 1e-6)
    assert len(errors.missed) == 0 and errors.fmr().errors == errors.fmr().comparisons == 60 * 59 // 2 - 30


def test_figures_of_all_comparisons_hold_their_interval():
    vectors, labels = crowd(60, 4, 3)
    genuine, impostor = verification.pair_scores(vectors, labels)
    eer, tar = intervals.equal_error_rate(vectors, labels), intervals.tar_at_fmr(vectors, labels, 1e-2)
    assert eer.value == verification.eer(genuine, impostor) and eer.low < eer.value < eer.high
    assert tar.value == verification.tar_at_fmr(genuine, impostor, 1e-2) and tar.low < tar.value < tar.high
    # Other people move the threshold, too: that is less sure than at a threshold that is given.
    fixed = Errors.find(vectors, labels, verification.threshold_at_fmr(impostor, 1e-2)).fnmr()
    assert tar.high - tar.low > fixed.high - fixed.low


def test_what_both_rates_move_is_moved_by_people_on_both_sides():
    from scipy import stats

    vectors, labels = crowd(60, 4, 3)
    e, m = dense(vectors, labels, 0.5, np.ones(len(labels), bool))
    off = ~np.eye(60, dtype=bool)
    a = (np.diag(e) - np.diag(e).sum() / np.diag(m).sum() * np.diag(m)) / np.diag(m).sum()
    d = (e - e[off].sum() / m[off].sum() * m) * off
    b = 2 * d.sum(1) / m[off].sum()
    slope, share, rate = 0.7, 1 / 1.7, 0.2
    twice = 2 * (d**2).sum() / m[off].sum() ** 2
    variance = share**2 * (((a + slope * b) ** 2).sum() - slope**2 * twice) * 60 / 59
    both = a + slope * b
    erring = sorted(both**2)[-int((np.diag(e) > 0).sum()) :]
    of_all = (both**2).sum() ** 2 / (both**4).sum()
    of_erring = 2 * np.mean(erring) ** 2 / (np.var(erring) / len(erring))
    freedom = 1 / np.mean([1 / of_all, 1 / of_erring])
    half = stats.t.ppf(0.975, freedom) * variance**0.5 / (rate * (1 - rate))
    odds = np.log(rate / (1 - rate)) + np.array([-half, half])
    found = intervals._joint(Errors.find(vectors, labels, 0.5), rate, slope, share)
    assert found == pytest.approx(tuple(1 / (1 + np.exp(-odds))), abs=1e-3)
