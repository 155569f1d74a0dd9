"""Every trainer, small: it runs, writes a network that loads, resumes to the bit, and its loss falls where that is
quick to see."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from idgen.evaluation.no_face import procedural
from idgen.faces.align import template
from idgen.models import (
    FaceAutoencoder,
    FaceFinderNet,
    IdentityDiT,
    IdentityFlow,
    PlainRecognizer,
    ResNetRecognizer,
)
from idgen.models.finder import face_size
from idgen.training.autoencoder import AutoencoderArgs, train_autoencoder
from idgen.training.finder import (
    FinderArgs,
    FinderTask,
    carry,
    shuffle,
    similarities,
    similarity_grid,
    train_finder,
    warp,
)
from idgen.training.generator import GeneratorArgs, GeneratorTask, train_generator
from idgen.training.loop import train
from idgen.training.recognition import RecognizerArgs, RecognizerTask, train_recognizer
from idgen.training.sampler import SamplerArgs, SamplerTask, train_sampler

# At least 16 channels: torch 2.13's backward of a float32 channels-last convolution with 8 crashes on some CPUs.
QUICK = {"batch_size": 8, "precision": "no", "device": "cpu", "validate_every": 2, "warmup": 1}
RECOGNIZERS = {
    "resnet": (ResNetRecognizer, {"channels": (16, 16), "blocks": (1, 1), "embedding_dim": 16}),
    "plain": (PlainRecognizer, {"channels": (16, 16, 16), "depths": (1, 1, 1), "embedding_dim": 16}),
}
AUTOENCODER = {"latent_channels": 4, "encoder_channels": (16, 16), "decoder_channels": (16, 16)}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IDGEN_CACHE", str(tmp_path / "cache"))


def same(first, second):
    a, b = first.state_dict(), second.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


def resumes(train, network, folder, make):
    """Two steps at once, and one step then the other, give the same network."""
    train(make(folder / "whole", 2, None))
    train(make(folder / "parts", 2, 0.0))
    train(make(folder / "parts", 2, None))
    return same(network.from_pretrained(folder / "whole/model"), network.from_pretrained(folder / "parts/model"))


@pytest.mark.parametrize("architecture", RECOGNIZERS)
@pytest.mark.parametrize("loss", ["cosface", "arcface", "proxy_anchor"])
def test_recognizer(folder, tmp_path, architecture, loss):
    network, model = RECOGNIZERS[architecture]

    def make(out, steps, minutes):
        return RecognizerArgs(
            out=out, data=folder, held_out_people=2, architecture=architecture, model=model, loss=loss, margin=0.1,
            steps=steps, max_minutes=minutes, **QUICK,
        )  # fmt: skip

    assert resumes(train_recognizer, network, tmp_path, make)
    vectors = network.from_pretrained(tmp_path / "whole/model").eval()(torch.zeros(2, 3, 112, 112))
    assert vectors.shape == (2, 16)


def test_the_class_vectors_stay_float32_and_learn(folder, tmp_path):
    from idgen.training.data import load_faces

    args = RecognizerArgs(out=tmp_path, data=folder, model=RECOGNIZERS["resnet"][1], **{**QUICK, "precision": "bf16"})
    faces = load_faces(folder)
    task = RecognizerTask(args, faces, faces)
    before = task.loss.W.detach().clone()
    (optimizer,) = task.optimizers()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = task(0, torch.Generator().manual_seed(0))
    loss.backward()
    optimizer.step()
    assert task.loss.W.dtype == torch.float32
    assert not torch.equal(task.loss.W, before)


def test_unknown_loss_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="No loss"):
        train_recognizer(RecognizerArgs(out=tmp_path, data=folder, held_out_people=2, loss="softmax", **QUICK))


@pytest.fixture
def recognizer(tmp_path):
    torch.manual_seed(0)
    ResNetRecognizer(channels=(16, 16, 16), blocks=(1, 1, 2), embedding_dim=16).save_pretrained(tmp_path / "recognizer")
    return tmp_path / "recognizer"


@pytest.fixture
def autoencoder(tmp_path):
    torch.manual_seed(0)
    FaceAutoencoder(**AUTOENCODER).save_pretrained(tmp_path / "autoencoder")
    return tmp_path / "autoencoder"


def test_autoencoder(folder, tmp_path, recognizer):
    def make(out, steps, minutes):
        return AutoencoderArgs(
            out=out, data=folder, recognizer=recognizer, held_out_people=2, model=AUTOENCODER,
            steps=steps, max_minutes=minutes, **QUICK,
        )  # fmt: skip

    assert resumes(train_autoencoder, FaceAutoencoder, tmp_path, make)


def generator_args(out, folder, recognizer, autoencoder, **changes):
    model = {"width": 32, "depth": 1, "heads": 2, "context_dim": 16, "identity_tokens": 2}
    given = {"model": model, "held_out_people": 2, "identity_weight": 0.1, "identity_images": 4, **QUICK, **changes}
    return GeneratorArgs(out=out, data=folder, recognizer=recognizer, autoencoder=autoencoder, **given)


def test_generator(folder, tmp_path, cache, recognizer, autoencoder):
    def make(out, steps, minutes):
        return generator_args(out, folder, recognizer, autoencoder, steps=steps, max_minutes=minutes)

    assert resumes(train_generator, IdentityDiT, tmp_path, make)


def test_conditions_are_means_of_the_persons_own_pictures(folder, tmp_path, cache, recognizer, autoencoder):
    from idgen.training.data import load_faces

    task = GeneratorTask(
        generator_args(tmp_path, folder, recognizer, autoencoder, most_references=3), load_faces(folder)
    )
    labels = torch.from_numpy(load_faces(folder).labels)
    task.embeddings = torch.nn.functional.one_hot(labels, 6).float()  # a person's vector names the person
    rows = torch.arange(24)
    assert torch.allclose(task.references(rows, torch.Generator().manual_seed(0)), task.embeddings)


def test_the_generator_learns_the_velocity(folder, tmp_path, cache, recognizer, autoencoder):
    args = generator_args(
        tmp_path / "run", folder, recognizer, autoencoder, steps=60, identity_weight=0.0, validate_every=60,
        **{"batch_size": 16, "lr": 5e-3},
    )  # fmt: skip
    first = generator_args(tmp_path / "first", folder, recognizer, autoencoder, steps=1, validate_every=1, lr=1e-9)
    assert train_generator(args)["val_mse"] < 0.8 * train_generator(first)["val_mse"]


@pytest.fixture
def photos(tmp_path):
    rows = []
    for index, picture in enumerate(procedural(8, 224, seed=5)):
        import io

        from PIL import Image

        data = io.BytesIO()
        Image.fromarray(picture).save(data, "PNG")
        points = (template(112) + 40 + index).tolist()
        rows.append({"image": {"bytes": data.getvalue(), "path": "x.png"}, "identity": index, "landmarks": points})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "photos.parquet")
    return tmp_path / "photos.parquet"


def finder_args(out, folder, photos, **changes):
    model = {"channels": (16, 16, 16, 16), "image_size": 64}
    given = {"model": model, "backgrounds": 4, "held_out_photos": 2, "validation_photos": 2, **QUICK, **changes}
    return FinderArgs(out=out, photos=photos, data=folder, held_out_people=2, **given)


def test_finder(folder, photos, tmp_path):
    def make(out, steps, minutes):
        return finder_args(out, folder, photos, steps=steps, max_minutes=minutes)

    assert resumes(train_finder, FaceFinderNet, tmp_path, make)


def test_a_finder_learns_what_is_no_face(folder, photos, tmp_path):
    """The landmarks of a hidden head are kept, and nothing of the head is left around them."""
    from idgen.training.data import Faces, load_faces

    white = load_faces(photos)
    white = Faces(np.full_like(white.images, 255), white.labels, white.columns)
    task = FinderTask(finder_args(tmp_path / "run", folder, photos), white, load_faces(folder))
    task.backgrounds[:] = 0
    hidden, points = task.headless(24, torch.Generator().manual_seed(0))
    x, y = points.mean(1).long().T
    covered = hidden[torch.arange(24), :, y, x].mean(1)
    assert (covered < 0.05).any()  # something procedural, which is black here; else another part, which is white
    assert ((covered < 0.05) | (covered > 0.95)).all()
    crops, landmarks, exact = task.crop_batch(torch.Generator().manual_seed(1))
    assert len(crops) == 64 and exact == 24 and len(landmarks) == 40
    assert task.faceless_crops(13, torch.Generator().manual_seed(2)).shape == (13, 3, 96, 96)
    assert task.empty(7, torch.Generator().manual_seed(3)).shape == (7, 3, 64, 64)


def test_shuffled_pieces_are_all_there_but_elsewhere():
    pictures = torch.rand(6, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    mixed = shuffle(pictures, torch.Generator().manual_seed(0))
    for before, after in zip(pictures, mixed, strict=True):
        assert not torch.equal(before, after)
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)


def test_sampler(cache, folder, tmp_path):
    recognizer = tmp_path / "recognizer"
    network, model = RECOGNIZERS["resnet"]
    network(**model).save_pretrained(recognizer)

    def make(out, steps, minutes):
        flow = {"components": 3, "width": 16, "depth": 1, "steps": 2}
        return SamplerArgs(
            out=out, data=folder, recognizer=recognizer, held_out_people=2, model=flow, steps=steps,
            max_minutes=minutes, **QUICK,
        )  # fmt: skip

    assert resumes(train_sampler, IdentityFlow, tmp_path, make)


def test_a_flow_learns_where_people_are(tmp_path):
    """People on a circle: what the flow draws lies far nearer to it than what the Gaussian of the same axes draws."""
    generator = torch.Generator().manual_seed(0)
    angle = 2 * np.pi * torch.rand(600, generator=generator)
    people = torch.stack([angle.cos(), angle.sin(), torch.ones(600), 0.01 * torch.randn(600, generator=generator)], 1)
    people = torch.nn.functional.normalize(people)
    flow = {"components": 2, "width": 64, "depth": 2, "temperature": 1.0, "steps": 8}
    args = SamplerArgs(
        out=tmp_path, data=tmp_path, recognizer=tmp_path, held_out_people=100, references=1, model=flow, steps=300,
        lr=3e-3, warmup=20, batch_size=256, precision="no", device="cpu", validate_every=300, ema=0.98,
    )  # fmt: skip
    train(SamplerTask(args, people, torch.arange(600)), args)
    trained = IdentityFlow.from_pretrained(tmp_path / "model").eval()
    noise = torch.randn(400, 2, generator=generator)

    def off(vectors):
        return float((vectors[:, :2].norm(dim=1) - 0.5**0.5).abs().mean())

    assert off(trained.sample(noise)) < 0.25 * off(trained.to_vectors(noise))


def test_pasted_landmarks_move_with_the_pixels(folder, photos, tmp_path):
    """A white dot drawn at a landmark is found again where the batch says that the landmark is."""
    from idgen.training.data import Faces

    images = np.zeros((4, 128, 128, 3), np.uint8)
    x, y = template(128)[2]
    images[:, round(y - 0.5) - 1 : round(y - 0.5) + 2, round(x - 0.5) - 1 : round(x - 0.5) + 2] = 255
    faces = Faces(images, np.arange(4))
    from idgen.training.data import load_faces

    task = FinderTask(finder_args(tmp_path / "run", folder, photos), load_faces(photos), faces)
    task.backgrounds[:] = 0
    pictures, points = task.pasted(16, torch.Generator().manual_seed(0), smallest=0.6)
    for picture, landmarks in zip(pictures.mean(1), points, strict=True):
        if not (landmarks[2] > 2).all() or not (landmarks[2] < 62).all():
            continue
        rows, columns = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
        place = torch.stack([(picture * columns).sum(), (picture * rows).sum()]) / picture.sum()
        assert (place - landmarks[2]).norm() < 0.6


def test_similarities_are_inverse_to_each_other():
    generator = torch.Generator().manual_seed(0)
    scale, angle = torch.rand(5, generator=generator) + 0.5, torch.randn(5, generator=generator)
    source, target = torch.rand(5, 2, generator=generator) * 50, torch.rand(5, 2, generator=generator) * 50
    ahead, back = similarities(scale, angle, source, target)
    points = torch.rand(5, 5, 2, generator=generator) * 60
    assert torch.allclose(carry(carry(points, ahead), back), points, atol=1e-3)
    assert torch.allclose(carry(source[:, None], ahead)[:, 0], target, atol=1e-3)
    assert torch.allclose(face_size(carry(points, ahead)), face_size(points) * scale, rtol=1e-4)


def test_warp_by_the_identity_changes_nothing():
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(2, 2, 3)
    assert torch.allclose(warp(images, similarity_grid(identity, 16)), images, atol=1e-5)
