import numpy as np
import pytest

from idgen.evaluation.finder import finder_figures, landmark_errors

FACE = np.array([[40.0, 50], [60, 50], [50, 62], [42, 72], [58, 72]])  # 22 pixels from eyes to mouth, eyes 20 apart


def moved(x: float, y: float, face: np.ndarray = FACE) -> np.ndarray:
    return face + np.array([x, y])


def test_error_is_in_face_sizes_and_free_of_scale():
    five = moved(3, 4)  # every point by 5 pixels
    one = FACE.copy()
    one[2] += [0, 10]
    errors = landmark_errors([five, five * 7, one], [FACE, FACE * 7, FACE])
    assert errors == pytest.approx([5 / 22, 5 / 22, 10 / 5 / 22])
    wide = FACE + np.array([[-10, 0], [10, 0], [0, 0], [0, 0], [0, 0]])  # eyes 40 apart
    assert landmark_errors([moved(3, 4, wide)], [wide]) == pytest.approx([5 / 40])


def test_figures_count_misses_and_finds_elsewhere():
    found = [FACE, moved(1, 0), moved(2, 0), None, moved(300, 0)]
    figures = finder_figures(found, [FACE] * 5)
    assert figures["misses"] == pytest.approx(2 / 5) and figures["elsewhere"] == pytest.approx(1 / 5)
    assert figures["landmark_error"] == pytest.approx((0 + 1 + 2) / 3 / 22)  # a find elsewhere is a miss
    assert figures["median_error"] == pytest.approx(1 / 22) and figures["pictures"] == 5
    figures = finder_figures([None, None], [FACE, FACE])
    assert figures["misses"] == 1 and np.isnan(figures["landmark_error"])


def test_face_in_profile_is_not_called_elsewhere_for_its_close_eyes():
    profile = FACE.copy()
    profile[:2] = [[49, 50], [51, 50]]  # eyes 2 apart, face 22 tall
    figures = finder_figures([moved(4, 0, profile)], [profile])
    assert figures["misses"] == 0 and figures["landmark_error"] == pytest.approx(4 / 22)
