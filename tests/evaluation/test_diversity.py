import numpy as np
import pytest

from idgen.evaluation.diversity import genuine_distance, spread_within
from idgen.faces.pose import YAW_FACTOR, yaw_from_landmarks
from idgen.ground.errors import InputError

# A head in 3-D: eyes, nose tip, mouth corners. The nose stands out so far that the factor in the code is the right one.
HEAD = np.array([[-1, -1, 0], [1, -1, 0], [0, 0.2, 2 / YAW_FACTOR], [-0.7, 1, 0], [0.7, 1, 0]])


def pictures(yaws: np.ndarray, roll: float = 0.0, scale: float = 20.0) -> np.ndarray:
    """(N, 5, 2) landmarks of HEAD turned by yaw in degrees, then rolled, scaled and moved."""
    yaw, tilt = np.radians(yaws), np.radians(roll)
    x = HEAD[:, 0] * np.cos(yaw)[:, None] + HEAD[:, 2] * np.sin(yaw)[:, None]
    y = np.broadcast_to(HEAD[:, 1], x.shape)
    return scale * np.stack([x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)], -1) + [90, 70]


YAWS = np.array([-60.0, -20, -5, 0, 10, 35, 66])


@pytest.mark.parametrize(("roll", "scale"), [(0, 20), (25, 20), (-80, 3), (0, 400)])
def test_yaw_of_a_turned_head_whatever_its_roll_and_size(roll, scale):
    faces = pictures(YAWS, roll, scale)
    np.testing.assert_allclose(yaw_from_landmarks(faces), YAWS, atol=1e-6)
    mirrored = faces[:, [1, 0, 2, 4, 3]] * [-1, 1] + [180, 0]  # looks the other way
    np.testing.assert_allclose(yaw_from_landmarks(mirrored), -YAWS, atol=1e-6)


@pytest.mark.parametrize("broken", [np.zeros((2, 5, 2)), np.full((2, 5, 2), np.nan), np.zeros((5, 2))])
def test_landmarks_that_are_no_face_are_refused(broken):
    with pytest.raises(ValueError):
        yaw_from_landmarks(broken)


def test_genuine_distance_is_the_mean_over_pairs_then_people():
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(12, 5)) + 1, np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 9])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    means = []
    for person in (0, 1, 2):  # 9 has one picture, so no pair
        rows = np.flatnonzero(labels == person)
        means.append(np.mean([unit[a] @ unit[b] for a in rows for b in rows if a < b]))
    assert genuine_distance(vectors, labels) == pytest.approx(1 - np.mean(means))
    assert genuine_distance(np.ones((4, 3)), [0, 0, 1, 1]) == pytest.approx(0)
    with pytest.raises(InputError, match="two pictures"):
        genuine_distance(np.eye(3), [0, 1, 2])


def test_spread_is_the_root_of_the_mean_variance_within_people():
    values, labels = np.array([1.0, 3, 10, 10, 16, 50]), np.array(list("aabbbc"))  # c has one picture
    assert spread_within(values, labels) == pytest.approx(np.sqrt((2 + 12) / 2))
    assert np.isnan(spread_within(values[:2], ["a", "b"]))
