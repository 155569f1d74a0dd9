import numpy as np
import pytest

from idgen.evaluation.finder import finder_figures, landmark_errors
from idgen.ground.errors import InputError

FACE = np.array([[40.0, 50], [60, 50], [50, 62], [42, 72], [58, 72]])  # eyes 20 pixels apart


def moved(x: float, y: float, face: np.ndarray = FACE) -> np.ndarray:
    return face + np.array([x, y])


def test_error_is_in_eye_distances_and_free_of_scale():
    five = moved(3, 4)  # every point by 5 pixels
    assert landmark_errors([five], [FACE]) == pytest.approx([0.25])
    assert landmark_errors([five * 7], [FACE * 7]) == pytest.approx([0.25])
    one = FACE.copy()
    one[2] += [0, 10]
    assert landmark_errors([one], [FACE]) == pytest.approx([0.1])


def test_figures_count_misses_and_finds_elsewhere():
    found = [FACE, moved(1, 0), moved(2, 0), None, moved(300, 0)]
    figures = finder_figures(found, [FACE] * 5)
    assert figures["misses"] == pytest.approx(2 / 5)
    assert figures["elsewhere"] == pytest.approx(1 / 5)
    assert figures["landmark_error"] == pytest.approx(
        (0 + 1 + 2) / 3 / 20
    )  # not diluted, not hidden: elsewhere is a miss
    assert figures["median_error"] == pytest.approx(1 / 20)
    assert figures["pictures"] == 5


def test_face_in_profile_is_not_called_elsewhere_for_its_close_eyes():
    profile = FACE.copy()
    profile[:2] = [[49, 50], [51, 50]]  # eyes 2 apart, face 22 tall
    figures = finder_figures([moved(4, 0, profile)], [profile])
    assert figures["misses"] == 0 and figures["landmark_error"] == pytest.approx(2)


def test_everything_missed():
    figures = finder_figures([None, None], [FACE, FACE])
    assert figures["misses"] == 1 and np.isnan(figures["landmark_error"])


def test_counts_must_fit():
    with pytest.raises(InputError, match="got 1 for 2"):
        finder_figures([FACE], [FACE, FACE])
    with pytest.raises(InputError, match="got 0 for 0"):
        finder_figures([], np.zeros((0, 5, 2)))
