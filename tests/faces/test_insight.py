"""insightface's packs, as tiny real ONNX networks that insightface itself loads; the detector finds red squares."""

import os
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hub_server import HubServer
from PIL import Image

pytest.importorskip("insightface")
import onnxruntime
from tiny_insight import build_pack, build_recognizer, red_face

from idgen.faces import FaceEncoder, InsightFaceEncoder
from idgen.faces.align import align_ffhq
from idgen.ground.errors import InputError
from idgen.models import ResNetRecognizer


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pack(tmp_path_factory.mktemp("packs") / "antelopev2")


@pytest.fixture(scope="module")
def encoder(pack: Path) -> InsightFaceEncoder:
    return InsightFaceEncoder.from_pack(pack)


@pytest.fixture(scope="module")
def judge() -> FaceEncoder:
    """A recogniser of another alignment."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FaceEncoder(ResNetRecognizer((8, 8), (1, 1), 16), space="judge", alignment="ffhq")


def test_the_vector_is_insightfaces_own(pack: Path, encoder: InsightFaceEncoder) -> None:
    """As Arc2Face's code reads it: the largest box, `face.embedding`, divided by its length."""
    from insightface.app import FaceAnalysis

    app = FaceAnalysis(name=str(pack), providers=["CPUExecutionProvider"])
    app.prepare(0, det_size=encoder.det_sizes)
    photo = red_face()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        faces = app.get(np.asarray(photo)[:, :, ::-1])
        largest = max(faces, key=lambda face: np.prod(face.bbox[2:4] - face.bbox[:2]))
        mine = encoder.identify([photo])
        _, found, _ = encoder.detect_and_align(photo)
    theirs = largest.embedding / np.linalg.norm(largest.embedding)
    np.testing.assert_allclose(mine.vector.numpy(), theirs, atol=1e-6)
    np.testing.assert_allclose(found.landmarks, largest.kps + 0.5, atol=1e-3)
    assert (mine.space, encoder.dim, len(mine.vector)) == ("arcface-webface42m", 512, 512)


def test_aligned_faces_pictures_and_tensors(encoder: InsightFaceEncoder) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    vectors = encoder.encode([Image.fromarray(face) for face in pixels])
    assert vectors.shape == (3, 512)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(encoder.encode(tensor), vectors)
    blob = torch.nn.functional.avg_pool2d(tensor * 2 - 1, 14).flatten(1)
    matrix = torch.from_numpy(np.random.default_rng(0).normal(size=(192, 512)).astype(np.float32))
    expected = torch.nn.functional.normalize(blob @ matrix)  # RGB in [-1, 1], by hand
    torch.testing.assert_close(vectors, expected, atol=1e-4, rtol=0)


def test_tight_crops_and_large_faces_are_found(pack: Path) -> None:
    """At 640 alone the detector misses a face that is large; a face without anything around it needs a border."""
    large, tight = red_face(320, (60, 60), 200), Image.new("RGB", (300, 300), (250, 5, 5))
    only = InsightFaceEncoder.from_pack(pack, det_sizes=[(640, 640)])
    both = InsightFaceEncoder.from_pack(pack)
    assert len(both.finder.find(large)) >= 1  # type: ignore[union-attr]
    assert not only._detector.detect(np.asarray(large)[:, :, ::-1])[0].size
    found = both.finder.find(tight)  # type: ignore[union-attr]
    centres = np.stack([face.centre for face in found])  # in pixels of the picture, without the border
    assert (np.abs(centres - 150).max(1) < 100).any()
    with pytest.raises(InputError, match="No face found"):
        both.identify([Image.new("RGB", (300, 300), (10, 10, 10))])


def test_a_folder_of_its_own(encoder: InsightFaceEncoder, judge: FaceEncoder, tmp_path: Path) -> None:
    judge.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="'FaceEncoder', which is no InsightFaceEncoder"):
        InsightFaceEncoder.from_pretrained(tmp_path)
    encoder.save_pretrained(tmp_path)
    again = FaceEncoder.from_pretrained(tmp_path)
    assert isinstance(again, InsightFaceEncoder) and again.det_sizes == encoder.det_sizes
    photo = red_face()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.equal(again.identify([photo]).vector, encoder.identify([photo]).vector)
    (tmp_path / "arcface.onnx").unlink()
    with pytest.raises(InputError, match="There is no file"):
        FaceEncoder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "InsightFaceEncoder", "space": "s"}')
    with pytest.raises(InputError, match="is incomplete"):
        FaceEncoder.from_pretrained(tmp_path)


def test_licence_and_providers_are_said_and_a_fallback_to_the_cpu(pack: Path, encoder: InsightFaceEncoder) -> None:
    assert encoder.providers == ("CPUExecutionProvider",)
    assert "arcface.onnx on CPUExecutionProvider" in encoder.notice and "non-commercial" in encoder.notice
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.warns(UserWarning, match=r"CPUExecutionProvider, not on CUDAExecutionProvider.*onnxruntime-gpu"):
            assert encoder.to("cuda").providers == ("CPUExecutionProvider",)


def test_portraits_are_searched_and_who_shows_no_face_is_nan(encoder: InsightFaceEncoder, judge: FaceEncoder) -> None:
    first, third, none = red_face(), red_face(seed=1, at=(60, 90)), Image.new("RGB", (320, 320), (10, 10, 10))
    own, judged = encoder.embed_by([first, none, third], [encoder, judge], aligned=False)
    assert (own.shape, judged.shape) == ((3, 512), (3, 16))
    assert own[1].isnan().all() and judged[1].isnan().all()
    assert torch.equal(own[[0, 2]], encoder.encode([first, third], aligned=False))
    _, face, _ = encoder.detect_and_align(first)
    torch.testing.assert_close(judged[:1], judge.encode([align_ffhq(first, face.landmarks)]), atol=1e-5, rtol=0)
    assert not torch.allclose(judged[:1], judge.encode([encoder.crop(first, face)]), atol=1e-3)  # what it is not
    assert encoder.embed_by([none], [judge], aligned=False)[0].isnan().all()
    pixels = torch.from_numpy(np.asarray(first).copy())[None].permute(0, 3, 1, 2) / 255
    assert torch.equal(encoder.embed_by(pixels, [encoder], aligned=False)[0], own[:1])


def test_aligned_faces_are_searched_only_for_another_alignment(encoder: InsightFaceEncoder, judge: FaceEncoder) -> None:
    pixels = torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    assert torch.equal(encoder.embed_by(pixels, [encoder])[0], encoder.encode(pixels))
    assert all(torch.equal(each[0], row) for each, row in zip(encoder.crops(pixels, [encoder]), pixels, strict=True))
    assert encoder.crops(pixels, [encoder, judge]) == [None] * 3  # noise shows no face
    seen = encoder.crops([red_face(224, (62, 62))], [encoder, judge])[0]
    assert seen is not None and [crop.size for crop in seen] == [(112, 112), (128, 128)]


def test_the_wrong_recognizer(tmp_path: Path) -> None:
    folder = build_pack(tmp_path / "antelopev2", "glintr100.onnx")
    encoder = InsightFaceEncoder.from_pack(folder)
    assert encoder.space == "antelopev2"
    with pytest.raises(
        InputError, match=r"no arcface\.onnx: its recogniser is glintr100.onnx, of another embedding space"
    ):
        InsightFaceEncoder.from_pack(folder, "arcface.onnx")
    elsewhere = build_recognizer(tmp_path / "arcface.onnx", seed=7)
    assert InsightFaceEncoder.from_pack(folder, elsewhere).space == "arcface-webface42m"
    build_recognizer(folder / "arcface.onnx")
    with pytest.raises(InputError, match=r"several recognisers, arcface.onnx and glintr100.onnx"):
        InsightFaceEncoder.from_pack(folder)
    assert InsightFaceEncoder.from_pack(folder, "arcface.onnx").space == "arcface-webface42m"


def nest(folder: Path) -> None:
    (folder / folder.name).mkdir()
    for file in folder.glob("*.onnx"):
        file.rename(folder / folder.name / file.name)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (nest, r"one level too deep, in .*antelopev2/antelopev2 .*move them up"),
        (lambda f: os.truncate(f / "arcface.onnx", 20_000), r"is damaged .*\(20,000 bytes.*fetch it again"),
        (lambda f: [file.unlink() for file in f.glob("*.onnx")], "no .onnx file, as when its download was stopped"),
        (lambda f: (f / "scrfd_10g_bnkps.onnx").unlink(), "no face detector among arcface.onnx"),
        (lambda f: (f / "arcface.onnx").unlink(), "no recogniser: add one"),
    ],
)
def test_broken_packs_are_explained(pack: Path, tmp_path: Path, damage: Any, words: str) -> None:
    folder = shutil.copytree(pack, tmp_path / "antelopev2")
    damage(folder)
    with pytest.raises(InputError, match=words):
        InsightFaceEncoder.from_pack(folder)


def test_a_pack_by_name_is_fetched_whole_or_not_at_all(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """insightface's own download, pointed at a zip on this machine that is nested as antelopev2's is."""
    from insightface.utils import storage

    archive = tmp_path / "served.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        for file in pack.glob("*.onnx"):
            zipped.write(file, f"antelopev2/{file.name}")
    whole, root = archive.read_bytes(), tmp_path / "models"

    def serve(data: bytes) -> None:
        def download_file(url: str, path: str, overwrite: bool) -> None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(data)

        monkeypatch.setattr(storage, "download_file", download_file)

    serve(whole[:9000])
    with pytest.raises(InputError, match=r"could not be fetched from https://github.com/deepinsight/.*antelopev2.zip"):
        InsightFaceEncoder.from_pack("antelopev2", root=root)
    assert not list(root.iterdir())
    serve(whole)
    assert InsightFaceEncoder.from_pack("antelopev2", root=root).space == "arcface-webface42m"
    assert sorted(path.name for path in (root / "antelopev2").iterdir()) == ["arcface.onnx", "scrfd_10g_bnkps.onnx"]


def test_a_pack_on_the_hub(pack: Path, hub: HubServer) -> None:
    hub.repos["someone/antelopev2"] = pack
    assert InsightFaceEncoder.from_pack("someone/antelopev2").space == "arcface-webface42m"
    for name, says in (("someone/nothing", "no model 'someone/nothing'"), ("./nothing", "no insightface pack")):
        with pytest.raises(InputError, match=says):
            InsightFaceEncoder.from_pack(name)
