"""Error rates against scikit-learn and against counting one threshold at a time."""

import numpy as np
import pytest

from idgen.evaluation.verification import eer, fmr, fnmr, pair_scores, tar_at_fmr, threshold_at_fmr


def scores(seed: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping genuine and impostor scores; few decimals make many ties."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.5, 0.2, 300).round(decimals), rng.normal(0.0, 0.2, 2000).round(decimals)


@pytest.mark.parametrize("decimals", [1, 2, 12])
def test_rates_are_what_counting_gives(decimals):
    genuine, impostor = scores(0, decimals)
    for threshold in np.unique(np.concatenate([genuine, impostor])):
        assert fmr(impostor, threshold) == pytest.approx(np.mean(impostor >= threshold))
        assert fnmr(genuine, threshold) == pytest.approx(np.mean(genuine < threshold))


@pytest.mark.parametrize("decimals", [1, 2, 12])
@pytest.mark.parametrize("target", [0.0, 1e-3, 0.01, 0.25, 1.0])
def test_threshold_is_the_lowest_that_keeps_the_rate(decimals, target):
    genuine, impostor = scores(1, decimals)
    threshold = threshold_at_fmr(impostor, target)
    assert np.mean(impostor >= threshold) <= target
    lower = impostor[impostor < threshold]  # the next lower threshold that decides differently lets too many through
    if lower.size and target < 1:
        assert np.mean(impostor >= lower.max()) > target
    assert tar_at_fmr(genuine, impostor, target) == pytest.approx(np.mean(genuine >= threshold))


@pytest.mark.parametrize("decimals", [1, 2, 12])
def test_curves_are_those_of_scikit_learn(decimals):
    metrics = pytest.importorskip("sklearn.metrics")
    genuine, impostor = scores(2, decimals)
    truth = np.r_[np.ones(len(genuine)), np.zeros(len(impostor))]
    false_match, true_match, thresholds = metrics.roc_curve(truth, np.r_[genuine, impostor], drop_intermediate=False)
    ours = [float(fmr(impostor, t)) for t in thresholds]
    np.testing.assert_allclose(ours, false_match, atol=1e-12)
    np.testing.assert_allclose([1 - float(fnmr(genuine, t)) for t in thresholds], true_match, atol=1e-12)
    for target in (1e-3, 1e-2, 0.1):
        assert tar_at_fmr(genuine, impostor, target) == pytest.approx(true_match[false_match <= target].max())
    # The curves cross between two neighbouring thresholds, so the EER lies between the two rates there.
    gap = false_match - (1 - true_match)
    after = int(np.argmax(gap >= 0))
    around = [*false_match[after - 1 : after + 1], *(1 - true_match[after - 1 : after + 1])]
    assert min(around) <= eer(genuine, impostor) <= max(around)


def test_eer_of_known_normals():
    # Two normals of one width, d' apart, have an EER of Φ(−d'/2); here d' = 2: 0.158655.
    from statistics import NormalDist

    at = (np.arange(20000) + 0.5) / 20000
    quantiles = np.array([NormalDist().inv_cdf(p) for p in at])
    assert eer(quantiles + 2, quantiles) == pytest.approx(NormalDist().cdf(-1), abs=1e-4)


def test_perfect_and_reversed_separation():
    assert eer([0.8, 0.9], [0.1, 0.2]) == 0
    assert tar_at_fmr([0.8, 0.9], [0.1, 0.2], 0.0) == 1
    assert eer([0.1, 0.2], [0.8, 0.9]) == 1
    assert tar_at_fmr([0.1, 0.2], [0.8, 0.9], 0.0) == 0


def test_all_scores_equal_are_no_better_than_chance():
    genuine, impostor = np.full(10, 0.3), np.full(50, 0.3)
    assert eer(genuine, impostor) == pytest.approx(0.5)
    assert tar_at_fmr(genuine, impostor, 0.5) == 0  # ties never flatter: they all match or none does
    assert tar_at_fmr(genuine, impostor, 1.0) == 1


def test_float32_ties_at_the_threshold_do_not_match():
    impostor = np.array([0.1, 0.7, 0.7, 0.7], np.float32)
    threshold = threshold_at_fmr(impostor, 0.25)
    assert np.mean(impostor >= threshold) <= 0.25
    assert np.mean(impostor >= np.float32(threshold)) <= 0.25


@pytest.mark.parametrize("call", [lambda: eer([], [0.1]), lambda: tar_at_fmr([0.1], [], 0.1), lambda: fnmr([], 0.0)])
def test_no_scores_is_an_error_that_says_so(call):
    with pytest.raises(ValueError, match=r"no (genuine|impostor) scores"):
        call()


def test_broken_scores_and_rates_are_refused():
    with pytest.raises(ValueError, match="NaN or infinity"):
        eer([0.1, np.nan], [0.0])
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold_at_fmr([0.0], 1.5)


def test_pairs_are_all_pairs_once():
    rng = np.random.default_rng(3)
    vectors, labels = rng.normal(size=(1100, 4)), rng.integers(0, 30, 1100)  # more than one block
    genuine, impostor = pair_scores(vectors, labels)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = np.triu_indices(1100, 1)
    cosines, same = (unit[first] * unit[second]).sum(1), labels[first] == labels[second]
    np.testing.assert_allclose(np.sort(genuine), np.sort(cosines[same]), atol=1e-5)
    np.testing.assert_allclose(np.sort(impostor), np.sort(cosines[~same]), atol=1e-5)
    with pytest.raises(ValueError, match="as many labels"):
        pair_scores(vectors, labels[:-1])
