"""Error rates against counting one threshold at a time."""

import itertools

import numpy as np
import pytest

from idgen.ground.errors import InputError
from idgen.scoring.verification import (
    Verification,
    d_prime,
    det_curve,
    eer,
    fdr,
    fnmr,
    pair_scores,
    tar_at_fmr,
    threshold_at_fmr,
)


def scores(seed: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping genuine and impostor scores; few decimals make many ties."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.5, 0.2, 300).round(decimals), rng.normal(0.0, 0.2, 2000).round(decimals)


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


def test_float32_ties_at_the_threshold_do_not_match():
    impostor = np.array([0.1, 0.7, 0.7, 0.7], np.float32)
    threshold = threshold_at_fmr(impostor, 0.25)
    assert np.mean(impostor >= threshold) <= 0.25
    assert np.mean(impostor >= np.float32(threshold)) <= 0.25


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: eer([], [0.1]), "no genuine scores"),
        (lambda: tar_at_fmr([0.1], [], 0.1), "no impostor scores"),
        (lambda: eer([0.1, np.nan], [0.0]), "NaN or infinity"),
    ],
)
def test_missing_and_broken_scores_are_refused(call, says):
    with pytest.raises(InputError, match=says):
        call()


def test_pairs_are_all_pairs_once():
    rng = np.random.default_rng(3)
    vectors, labels = rng.normal(size=(1100, 4)), rng.integers(0, 30, 1100)  # more than one block
    genuine, impostor = pair_scores(vectors, labels)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = np.triu_indices(1100, 1)
    cosines, same = (unit[first] * unit[second]).sum(1), labels[first] == labels[second]
    np.testing.assert_allclose(np.sort(genuine), np.sort(cosines[same]), atol=1e-5)
    np.testing.assert_allclose(np.sort(impostor), np.sort(cosines[~same]), atol=1e-5)
    with pytest.raises(InputError, match="as many labels"):
        pair_scores(vectors, labels[:-1])


def adversarial() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(7)
    many, few = scores(4, 12), scores(5, 1)
    return {
        "random": many,
        "ties": few,
        "all equal": (np.full(7, 0.3), np.full(90, 0.3)),
        "separated": (np.array([0.8, 0.9]), rng.uniform(-1, 0.5, 500)),
        "reversed": (np.array([-0.5, -0.4]), rng.uniform(0, 1, 500)),
        "one each": (np.array([0.1]), np.array([0.2])),
        "constant against spread": (np.full(5, 0.4), rng.normal(0.4, 0.1, 333)),
        "float32": (many[0].astype(np.float32), many[1].astype(np.float32)),
        "two values": (rng.integers(0, 2, 50).astype(float), rng.integers(0, 2, 400).astype(float)),
        "huge and tiny": (np.array([1e100, 1e-300, 0.0]), np.array([-1e100, 1e-300, 5.0, 0.0])),
    }


def counted(genuine, impostor):
    """The definitions, one threshold at a time, in exact fractions."""
    from fractions import Fraction

    thresholds = sorted({*map(float, genuine), *map(float, impostor)})
    thresholds.append(float(np.nextafter(thresholds[-1], np.inf)))
    rates = [
        (
            Fraction(sum(float(s) >= t for s in impostor), len(impostor)),
            Fraction(sum(float(s) < t for s in genuine), len(genuine)),
        )
        for t in thresholds
    ]
    lowest = {target: min(miss for match, miss in rates if match <= target) for target in (0.1, 0.01, 0.001)}
    wins = sum((float(g) > float(i)) + Fraction(float(g) == float(i), 2) for g in genuine for i in impostor)
    for (match, miss), (next_match, next_miss) in itertools.pairwise(rates):  # they cross before the last, or on it
        if match <= miss or next_match < next_miss:
            break
    gap, next_gap = match - miss, next_miss - next_match
    crossing = match if gap <= 0 else match + gap / (gap + next_gap) * (next_match - match)
    return lowest, wins / (len(genuine) * len(impostor)), crossing


@pytest.mark.parametrize("name", adversarial())
def test_every_figure_is_what_the_definition_gives(name):
    genuine, impostor = adversarial()[name]
    result = Verification.measure(genuine, impostor)
    lowest, area, crossing = counted(genuine, impostor)
    for target, miss in lowest.items():
        assert result.fnmr[f"{target:g}"] == pytest.approx(float(miss), abs=1e-9)
        assert fnmr(genuine, result.thresholds[f"{target:g}"]) == result.fnmr[f"{target:g}"]
        assert result.tar[f"{target:g}"] == pytest.approx(1 - float(miss), abs=1e-9)
    assert result.auc == pytest.approx(float(area), abs=1e-9)
    assert result.eer == pytest.approx(float(crossing), abs=1e-9)
    assert result.to_dict()["fmr100"] == result.fnmr["0.01"]
    thresholds, matches, misses = det_curve(genuine, impostor)
    np.testing.assert_allclose(matches, [np.mean(impostor >= t) for t in thresholds], atol=1e-9)
    np.testing.assert_allclose(misses, [np.mean(genuine < t) for t in thresholds], atol=1e-9)
    assert (matches[0], misses[0], matches[-1], misses[-1]) == (1, 0, 0, 1)


def test_d_prime_and_fisher_ratio():
    genuine, impostor = scores(6, 12)
    gap = genuine.mean() - impostor.mean()
    assert d_prime(genuine, impostor) == pytest.approx(gap / np.sqrt((genuine.var() + impostor.var()) / 2), abs=1e-9)
    assert fdr(genuine, impostor) == pytest.approx(gap**2 / (genuine.var() + impostor.var()), abs=1e-9)
    assert fdr([0.1, 0.1], [0.1, 0.1]) == 0 and d_prime([0.3] * 9, [0.1] * 3) == np.inf


def test_few_impostors_are_not_certain():
    certain = Verification.measure(*scores(0, 12)).certain  # 2,000 impostor scores
    assert certain == {"0.1": True, "0.01": True, "0.001": False, "0.0001": False}
