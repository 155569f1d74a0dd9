"""The encoder with tiny real networks: pixels in, unit vectors out, and its folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from tiny import encoded

from idgen.faces.align import align, align_ffhq
from idgen.faces.encoder import FaceEncoder
from idgen.faces.finder import FaceFinder
from idgen.ground.errors import InputError
from idgen.models.finder import FaceFinderNet
from idgen.models.recognizer import PlainRecognizer, ResNetRecognizer

WEIGHTS = "diffusion_pytorch_model.safetensors"


def build(flip: bool = True, finder_bias: float | None = 0.0) -> FaceEncoder:
    """A finder bias of 0 sees faces everywhere, −20 nowhere; None leaves the finder out."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        recognizer = ResNetRecognizer(channels=(8, 8), blocks=(1, 1), embedding_dim=16)
        finder = None
        if finder_bias is not None:
            net = FaceFinderNet(channels=(8, 8, 8, 8), image_size=64, threshold=0.4)
            with torch.no_grad():
                net.head.weight.mul_(20)
                net.head.bias.fill_(0.0)[0] = finder_bias
            finder = FaceFinder(net)
            finder.moved, finder.needed, finder.most = 0.0, -10.0, 3  # what sees nothing but noise is not steady
    return FaceEncoder(recognizer, finder, space="tiny-v1", flip=flip, calibration={"space": "tiny-v1"})


@pytest.fixture(scope="module")
def encoder() -> FaceEncoder:
    return build()


def pixels(count: int = 5, size: int = 112, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def photo(seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((300, 200), Image.Resampling.BICUBIC)


def test_vectors_are_unit_and_depend_on_the_face_alone(encoder: FaceEncoder) -> None:
    faces = pixels(7)
    vectors = encoder.encode(faces)
    assert vectors.shape == (7, encoder.dim) == (7, 16) and vectors.dtype == torch.float32
    assert not vectors.requires_grad and not encoder.recognizer.training
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(7))
    torch.testing.assert_close(encoder.encode(faces, batch_size=3), vectors, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.encode(faces.flip(0)).flip(0), vectors, atol=1e-5, rtol=0)
    assert encoder.encode([]).shape == (0, 16)
    assert encoder.encode(faces[:0]).shape == (0, 16)


def test_the_network_sees_rgb_in_minus_one_to_one_and_with_flip_its_mirror_image() -> None:
    plain, both, faces = build(flip=False), build(flip=True), pixels(3)
    with torch.no_grad():
        direct, mirrored = (plain.recognizer(x * 2 - 1) for x in (faces, faces.flip(3)))
    torch.testing.assert_close(plain.encode(faces), F.normalize(direct), atol=1e-5, rtol=0)
    torch.testing.assert_close(both.encode(faces), F.normalize(direct + mirrored), atol=1e-5, rtol=0)
    assert (plain.encode(faces) * plain.encode(faces.flip(3))).sum(1).max() < 0.99999


@pytest.mark.parametrize("size", [112, 128, 50])
def test_pictures_and_tensors_agree(encoder: FaceEncoder, size: int) -> None:
    faces = (pixels(3, size) * 255).round() / 255
    arrays = [(face.permute(1, 2, 0) * 255).round().byte().numpy() for face in faces]
    images = [Image.fromarray(array) for array in arrays]
    for same in (images, arrays, [encoded(image) for image in images]):
        torch.testing.assert_close(encoder.encode(same), encoder.encode(faces), atol=1e-5, rtol=0)
    assert encoder.encode([images[0], images[1].resize((60, 60))]).shape == (2, 16)  # each of its own size
    # Shrinking is averaging: a fine checkerboard is to the network what its mean is.
    board = (torch.arange(448)[:, None] + torch.arange(448)).remainder(2).expand(1, 3, -1, -1) * 0.4 + 0.5
    grey = torch.full((1, 3, 112, 112), 0.7)
    torch.testing.assert_close(encoder.encode(board), encoder.encode(grey), atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    "images, message",
    [
        (pixels(2) * 255, r"\[0, 1\]"),
        (pixels(2) * 2 - 1, r"\[0, 1\]"),
        (pixels(2).fill_(float("nan")), r"\[0, 1\]"),
        ((pixels(2) * 255).byte(), "uint8"),
        (pixels(2)[:, :1], "shape"),
        (pixels(2)[0], "shape"),
        (pixels(2)[:, :, :50], "shape"),
        ([photo()], "300 × 200 .*aligned=False"),
        ([b"nothing"], "not a picture"),
    ],
)
def test_refuses_what_is_no_aligned_face(encoder: FaceEncoder, images: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encoder.encode(images)  # type: ignore[arg-type]


def test_the_largest_face_is_cut_out_and_the_others_are_mentioned(encoder: FaceEncoder, tmp_path: Path) -> None:
    photo().save(tmp_path / "party.png")
    with pytest.warns(UserWarning, match=r"faces found in party\.png: the largest is taken"):
        crop, face, everybody = encoder.detect_and_align(tmp_path / "party.png")
    assert crop.size == (112, 112) and crop.mode == "RGB"
    assert face is everybody[0] and face.size == max(d.size for d in everybody)
    np.testing.assert_array_equal(np.asarray(crop), np.asarray(align(photo(), face.landmarks)))
    _, second, _ = encoder.detect_and_align(photo(), which=2)
    assert second.landmarks.tolist() == everybody[1].landmarks.tolist()
    for number, says in ((99, "no face 99 in party.png"), (0, "number of the face")):
        with pytest.raises(InputError, match=says):
            encoder.identify([tmp_path / "party.png"], face=number)
    with pytest.warns(UserWarning):
        vectors = encoder.encode([tmp_path / "party.png"], aligned=False)
    torch.testing.assert_close(vectors, encoder.encode([crop]))
    whole = torch.from_numpy(np.asarray(photo()).copy()).permute(2, 0, 1)[None] / 255
    with pytest.warns(UserWarning):
        torch.testing.assert_close(encoder.encode(whole, aligned=False), vectors)


def test_no_face_and_no_finder(tmp_path: Path) -> None:
    photo().save(tmp_path / "wall.png")
    for bias, source, says in (
        (-20, tmp_path / "wall.png", r"No face found in wall\.png"),
        (-20, encoded(photo()), "No face found in the picture"),
        (None, photo(), "cannot find faces"),
    ):
        with pytest.raises(InputError, match=says):
            build(finder_bias=bias).encode([source], aligned=False)


def test_identify_one_and_several(encoder: FaceEncoder, tmp_path: Path) -> None:
    files = []
    for seed in range(3):
        files.append(tmp_path / f"anna: {seed}.png")
        photo(seed).crop((0, 0, 150, 150)).save(files[-1])
    one = encoder.identify(files[:1], aligned=True)
    assert (one.space, one.source, one.name, one.from_photo) == ("tiny-v1", "1 photo", "anna_ 0", True)
    vectors = encoder.encode(files, aligned=True)
    torch.testing.assert_close(one.vector, vectors[0], atol=1e-5, rtol=0)
    with pytest.warns(UserWarning, match=r"anna: \d\.png is the least alike .* not measured for 'tiny-v1'"):
        three = encoder.identify(files, aligned=True, name="anna")
    assert (three.source, three.name) == ("mean of 3 photos", "anna")
    mean = F.normalize(vectors.mean(0), dim=0)
    torch.testing.assert_close(three.vector, mean, atol=1e-5, rtol=0)
    assert encoder.identify([files[0].read_bytes()], aligned=True).name == "me"
    picture = Image.open(files[0])
    for single in (str(files[0]), files[0], files[0].read_bytes(), picture, np.asarray(picture)):
        assert torch.equal(encoder.identify(single, aligned=True).vector, one.vector)
        assert torch.equal(encoder.encode(single)[0], one.vector)
    with pytest.raises(InputError, match="no photos"):
        encoder.identify([])


@pytest.fixture(scope="module")
def saved(encoder: FaceEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder.save_pretrained(tmp_path_factory.mktemp("encoder") / "folder")


def test_a_folder_gives_the_same_encoder(encoder: FaceEncoder, saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    assert config == {"space": "tiny-v1", "flip": True, "alignment": "arcface"}
    again = FaceEncoder.from_pretrained(saved)
    assert isinstance(again.recognizer, ResNetRecognizer) and not again.recognizer.training
    assert (again.space, again.flip, again.calibration) == ("tiny-v1", True, {"space": "tiny-v1"})
    torch.testing.assert_close(again.encode(pixels()), encoder.encode(pixels()), atol=1e-6, rtol=0)
    assert again.finder is not None and encoder.finder is not None
    assert again.finder.threshold == encoder.finder.threshold
    for name in ("moved", "needed", "most"):
        setattr(again.finder, name, getattr(encoder.finder, name))
    ours, theirs = again.finder.find(photo()), encoder.finder.find(photo())
    assert [d.landmarks.tolist() for d in ours] == [d.landmarks.tolist() for d in theirs]
    judge = PlainRecognizer((8, 8, 8), (1, 1, 1), 12)  # another class, and no finder
    FaceEncoder(judge, space="judge", flip=False).save_pretrained(saved / "judge")
    other = FaceEncoder.from_pretrained(saved, subfolder="judge")
    assert isinstance(other.recognizer, PlainRecognizer) and other.dim == 12
    assert other.finder is None and other.calibration is None and not other.flip


def test_half_precision_weights_are_computed_in_float32(encoder: FaceEncoder, tmp_path: Path) -> None:
    half = build()
    half.recognizer.half()
    half = FaceEncoder.from_pretrained(half.save_pretrained(tmp_path))
    assert half.recognizer.dtype == torch.float32
    torch.testing.assert_close(half.encode(pixels()), encoder.encode(pixels()), atol=1e-2, rtol=0)


def config(file: str, **values: object) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | values))


@pytest.mark.parametrize(
    "damage, message",
    [
        (
            lambda f: save_file({"extra": torch.ones(1)}, f / "recognizer" / WEIGHTS),
            "missing, .*unknown, such as extra",
        ),
        (lambda f: (f / "recognizer" / WEIGHTS).write_bytes(b"junk"), "cut short"),
        (lambda f: (f / "recognizer" / WEIGHTS).rename(f / "recognizer" / "model.bin"), "There is no .*safetensors"),
        (config("recognizer/config.json", _class_name="UNet2DModel"), "'UNet2DModel'"),
        (config("recognizer/config.json", _class_name="__name__"), "'__name__'"),
        (config("recognizer/config.json", _class_name=["os", "system"]), "no ModelMixin"),
        (config("config.json", _class_name="OpenCVEncoder"), "asks for 'OpenCVEncoder', which is no FaceEncoder here"),
        (config("config.json", _class_name=["os"]), "which is no FaceEncoder"),
        (config("config.json", space=None), "does not name an embedding space"),
        (config("config.json", alignment="square"), "no alignment 'square', only arcface and ffhq"),
        (lambda f: (f / "recognizer" / "config.json").unlink(), "Cannot read"),
        (lambda f: (f / "config.json").write_text("[]"), "JSON object"),
        (lambda f: (f / "calibration.json").write_text(""), "not valid JSON"),
        (lambda f: shutil.copytree(f / "recognizer", f / "finder", dirs_exist_ok=True), "no FaceFinderNet"),
    ],
)
def test_refuses_a_damaged_folder(saved: Path, tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    folder = shutil.copytree(saved, tmp_path / "damaged")
    damage(folder)
    with pytest.raises(InputError, match=message):
        FaceEncoder.from_pretrained(folder)


def test_ffhq_alignment(encoder: FaceEncoder, tmp_path: Path) -> None:
    """Cut as FFHQ's pictures at 128 pixels, then brought to 112 by bilinear interpolation without averaging."""
    ffhq = FaceEncoder(encoder.recognizer, encoder.finder, space="ffhq-v1", flip=False, alignment="ffhq")
    with pytest.warns(UserWarning):
        crop, face, _ = ffhq.detect_and_align(photo())
        vector = ffhq.encode([photo()], aligned=False)
    assert np.array_equal(np.asarray(crop), np.asarray(align_ffhq(photo(), face.landmarks, 128)))
    tensor = torch.from_numpy(np.asarray(crop).copy()).permute(2, 0, 1)[None] / 255
    small = F.interpolate(tensor, (112, 112), mode="bilinear", antialias=False)
    with torch.no_grad():
        expected = F.normalize(ffhq.recognizer(small * 2 - 1))
    torch.testing.assert_close(vector, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(ffhq.encode(tensor), expected, atol=1e-4, rtol=0)
    fine = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(0))  # averaging takes most of it away
    arcface = FaceEncoder(encoder.recognizer, None, space="x", flip=False).encode(fine)
    assert not torch.allclose(arcface, ffhq.encode(fine), atol=1e-4)
    large = F.interpolate(tensor, scale_factor=4, mode="bilinear")
    assert float(ffhq.encode(large)[0] @ expected[0]) > 0.99
    again = FaceEncoder.from_pretrained(ffhq.save_pretrained(tmp_path))
    assert again.alignment == "ffhq" and torch.equal(again.encode(tensor), ffhq.encode(tensor))
