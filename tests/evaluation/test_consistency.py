import numpy as np
import pytest

from idgen.evaluation.consistency import leave_one_out, match_rate_between, others_mean, unit

RNG = np.random.default_rng(0)


def test_leave_one_out_by_hand():
    vectors, labels = RNG.normal(size=(9, 6)) + 0.5, np.array([4, 4, 4, 7, 7, 1, 1, 1, 1])
    cosines, means = leave_one_out(vectors, labels), others_mean(vectors, labels)
    for row in range(9):
        others = unit(vectors)[(labels == labels[row]) & (np.arange(9) != row)].mean(0, keepdims=True)
        np.testing.assert_allclose(means[row], unit(others)[0])
        assert cosines[row] == pytest.approx(unit(vectors)[row] @ unit(others)[0])


def test_a_single_picture_has_no_others():
    with pytest.raises(ValueError, match="7 has a single picture"):
        leave_one_out(np.eye(3), [1, 1, 7])
    with pytest.raises(ValueError, match="as many labels"):
        leave_one_out(np.eye(3), [1, 1])


def test_matches_between_people_count_only_other_people():
    references, labels = np.eye(4), np.array([0, 1, 2, 3, 3])
    assert match_rate_between(np.eye(4)[labels], labels, references, 0.5) == 0
    assert match_rate_between(np.eye(4)[[1, 1, 2, 3, 3]], labels, references, 0.5) == pytest.approx(1 / 15)
    assert match_rate_between(np.ones((5, 4)), labels, np.ones((4, 4)), 0.5) == 1  # everybody has one face
    with pytest.raises(ValueError, match="at least two"):
        match_rate_between(np.eye(4)[:1], [0], references[:1], 0.5)
