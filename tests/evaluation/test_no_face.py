import importlib
import sys

import numpy as np
import pytest
from PIL import Image

from idgen.evaluation import no_face
from idgen.evaluation.no_face import PHOTOGRAPHS, covered, no_face_sets, photographs, procedural


def same(first: list[Image.Image], second: list[Image.Image]) -> bool:
    return all(a.size == b.size and a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


def test_procedural_pictures_follow_seed_and_number_alone():
    ten = procedural(10, 64, seed=5)
    assert ten.shape == (10, 64, 64, 3) and ten.dtype == np.uint8
    assert (procedural(3, 64, seed=5) == ten[:3]).all()
    assert not (procedural(10, 64, seed=6) == ten).all((1, 2, 3)).any()


@pytest.mark.parametrize("size", [24, 225])
def test_procedural_pictures_of_any_size_are_varied(size):
    pictures = procedural(60, size, seed=0)
    assert len(np.unique(pictures.reshape(60, -1), axis=0)) == 60
    assert pictures.reshape(60, -1).mean(1).std() > 20


def test_procedural_needs_no_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    importlib.reload(no_face).procedural(1, 32, 0)


def test_photographs_are_whole_first_then_crops():
    pytest.importorskip("skimage")
    pictures = photographs(len(PHOTOGRAPHS) + 4, seed=1)
    assert same(pictures, photographs(len(PHOTOGRAPHS) + 4, seed=1))
    assert same(pictures[:5], photographs(5, seed=2))  # whole: no chance in them
    assert all(picture.mode == "RGB" and min(picture.size) >= 64 for picture in pictures)
    assert max(pictures[len(PHOTOGRAPHS)].size) < max(pictures[0].size)
    assert not {"astronaut.png", "camera.png", "coins.png", "phantom.png"} & set(PHOTOGRAPHS)


def scene(face_size: float) -> tuple[np.ndarray, np.ndarray]:
    """A green picture with red landmarks of a face, and the landmarks."""
    points = np.array([[-0.5, -0.5], [0.5, -0.5], [0, 0.1], [-0.4, 0.5], [0.4, 0.5]]) * face_size + [60, 55]
    picture = np.full((120, 120, 3), (0, 200, 0), np.uint8)
    for x, y in points.round().astype(int):
        picture[y - 1 : y + 2, x - 1 : x + 2] = (255, 0, 0)
    return picture, points


@pytest.mark.parametrize("face_size", [10, 70])  # with room for background beside it, and without
def test_covered_pictures_show_no_landmark_any_more(face_size):
    picture, points = scene(face_size)
    out = covered([picture] * 2, [points] * 2, 5, seed=0)
    assert len(out) == 5 and same(out, covered([picture] * 2, [points] * 2, 5, seed=0))
    for result in out:
        pixels = np.asarray(result)
        assert pixels.shape == picture.shape
        assert not ((pixels == (255, 0, 0)).all(-1) & (picture == (255, 0, 0)).all(-1)).any()
        if face_size == 10:
            assert (pixels[-5:] == picture[-5:]).all()  # the rest of the scene stays
    assert (picture == scene(face_size)[0]).all()  # and the original too


def test_sets_share_the_number_out():
    pytest.importorskip("skimage")
    picture, points = scene(10)
    sets = no_face_sets(7, 0, ([picture], [points]))
    assert {kind: len(pictures) for kind, pictures in sets.items()} == {"procedural": 3, "photographs": 2, "covered": 2}
