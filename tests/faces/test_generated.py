"""Generated pictures shown to recognisers of different alignments, by a detector that really finds red squares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("insightface")
from tiny_insight import build_pack, red_face

from idgen.errors import InputError
from idgen.faces.align import align_ffhq
from idgen.faces.encoder import FaceEncoder
from idgen.faces.insight import InsightFaceEncoder
from idgen.models import ResNetRecognizer


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> InsightFaceEncoder:
    return InsightFaceEncoder.from_pack(build_pack(tmp_path_factory.mktemp("packs") / "antelopev2"))


@pytest.fixture(scope="module")
def judge() -> FaceEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FaceEncoder(ResNetRecognizer((8, 8), (1, 1), 16), space="judge", alignment="ffhq")


def portraits() -> list[Image.Image]:
    return [red_face(), Image.new("RGB", (320, 320), (10, 10, 10)), red_face(seed=1, at=(60, 90))]


def test_portraits_are_searched_and_who_shows_no_face_is_nan(encoder: InsightFaceEncoder, judge: FaceEncoder) -> None:
    first, none, third = portraits()
    own, judged = encoder.embed_by([first, none, third], [encoder, judge], aligned=False)
    assert (own.shape, judged.shape) == ((3, 512), (3, 16))
    assert own[1].isnan().all() and judged[1].isnan().all()
    assert torch.equal(own[[0, 2]], encoder.encode([first, third], aligned=False))
    _, face, _ = encoder.detect_and_align(first)
    torch.testing.assert_close(judged[:1], judge.encode([align_ffhq(first, face.landmarks)]), atol=1e-5, rtol=0)
    assert not torch.allclose(judged[:1], judge.encode([encoder.crop(first, face)]), atol=1e-3)  # what it is not
    assert encoder.embed_by([none], [judge], aligned=False)[0].isnan().all()


def test_aligned_faces_are_searched_only_for_another_alignment(encoder: InsightFaceEncoder, judge: FaceEncoder) -> None:
    pixels = torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    assert torch.equal(encoder.embed_by(pixels, [encoder])[0], encoder.encode(pixels))
    assert all(torch.equal(each[0], row) for each, row in zip(encoder.crops(pixels, [encoder]), pixels, strict=True))
    assert encoder.crops(pixels, [encoder, judge]) == [None] * 3  # noise shows no face
    seen = encoder.crops([red_face(224, (62, 62))], [encoder, judge])[0]
    assert seen is not None and [crop.size for crop in seen] == [(112, 112), (128, 128)]


def test_tensors_are_searched_too(encoder: InsightFaceEncoder) -> None:
    pixels = torch.from_numpy(np.stack([np.asarray(red_face())])).permute(0, 3, 1, 2) / 255
    found = encoder.embed_by(pixels, [encoder], aligned=False)[0]
    torch.testing.assert_close(found, encoder.encode([red_face()], aligned=False), atol=1e-5, rtol=0)


def test_a_photo_without_a_face_is_named(encoder: InsightFaceEncoder, judge: FaceEncoder, tmp_path: Path) -> None:
    portraits()[1].save(tmp_path / "wall.png")
    with pytest.raises(InputError, match=r"No face found in .*wall\.png"):
        encoder.views(tmp_path / "wall.png", [encoder, judge])
