"""Every trainer, small: it runs, writes a network that loads, resumes to the bit, and its loss falls where that is
quick to see."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from planted import Fine, fine_pictures
from tiny import encoded, labelled
from torch import Generator

from idgen import models
from idgen.evaluation.no_face import procedural
from idgen.faces.align import template
from idgen.faces.encoder import FaceEncoder
from idgen.ground.attributes import Vocabulary
from idgen.ground.errors import InputError
from idgen.models import FaceAutoencoder, IdentityFlow, PlainRecognizer, ResNetRecognizer
from idgen.models.finder import face_size
from idgen.training.attributes import AttributesArgs, train_attributes
from idgen.training.augment import shuffle
from idgen.training.autoencoder import AutoencoderArgs, AutoencoderTask, haar_details, train_autoencoder
from idgen.training.critic import Critic, texture
from idgen.training.data import Faces, load_faces
from idgen.training.embedding import digest_of_latents
from idgen.training.finder import FinderArgs, FinderTask, train_finder
from idgen.training.generator import GeneratorArgs, GeneratorTask, _rare, train_generator
from idgen.training.loop import digest, train
from idgen.training.mixture import load_mixture
from idgen.training.quality import QualityArgs, train_quality
from idgen.training.recognition import RecognizerArgs, RecognizerTask, certainty_ratio, train_recognizer
from idgen.training.sampler import SamplerArgs, SamplerTask, train_sampler
from idgen.training.student import StudentArgs, StudentTask, train_student
from idgen.training.warping import carry, similarities

# At least 16 channels: torch 2.13's backward of a float32 channels-last convolution with 8 crashes on some CPUs.
QUICK = {"batch_size": 8, "precision": "no", "device": "cpu", "validate_every": 2, "warmup": 1, "held_out_people": 2}
RECOGNIZERS = {
    "resnet": (ResNetRecognizer, {"channels": (16, 16, 16), "blocks": (1, 1, 2), "embedding_dim": 16}),
    "plain": (PlainRecognizer, {"channels": (16, 16, 16), "depths": (1, 1, 1), "embedding_dim": 16}),
}
AUTOENCODER = {"latent_channels": 4, "encoder_channels": (16, 16), "decoder_channels": (16, 16)}
FINDER = {"channels": (16, 16, 16, 16), "image_size": 64}
FEW = {"model": FINDER, "backgrounds": 4, "held_out_photos": 2, "validation_photos": 2}
GENERATOR = {"width": 32, "depth": 1, "heads": 2, "context_dim": 16, "identity_tokens": 2}


@pytest.fixture
def recognizer(tmp_path):
    """Written before recognisers could have a quality head."""
    torch.manual_seed(0)
    ResNetRecognizer(**RECOGNIZERS["resnet"][1]).save_pretrained(tmp_path / "recognizer")
    config = tmp_path / "recognizer" / "config.json"
    config.write_text(config.read_text().replace('"quality": false', '"other": 0'))
    return tmp_path / "recognizer"


@pytest.fixture
def autoencoder(tmp_path):
    torch.manual_seed(0)
    FaceAutoencoder(**AUTOENCODER).save_pretrained(tmp_path / "autoencoder")
    return tmp_path / "autoencoder"


@pytest.fixture
def photos(tmp_path):
    rows = []
    for index, picture in enumerate(procedural(8, 224, seed=5)):
        points = (template(112) + 40 + index).tolist()
        image = {"bytes": encoded(Image.fromarray(picture)), "path": "x.png"}
        rows.append({"image": image, "identity": index, "landmarks": points})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "photos.parquet")
    return tmp_path / "photos.parquet"


def resumes(folder, network, train, args_class, **options):
    """Two steps at once, and one step then the other, give the same network, which is returned."""
    for run, minutes in (("whole", None), ("parts", 0.0), ("parts", None)):
        train(args_class(out=folder / run, steps=2, max_minutes=minutes, **{**QUICK, **options}))
    whole, parts = (models.load(folder / run / "model", network) for run in ("whole", "parts"))
    assert all(torch.equal(value, parts.state_dict()[name]) for name, value in whole.state_dict().items())
    return whole


@pytest.mark.parametrize(
    ("architecture", "loss"),
    [("resnet", "cosface"), ("resnet", "arcface"), ("plain", "proxy_anchor"), ("resnet", "usynthface")],
)
def test_recognizer(folder, tmp_path, architecture, loss):
    network, model = RECOGNIZERS[architecture]
    options = {"data": folder, "architecture": architecture, "model": model, "loss": loss, "margin": 0.1}
    trained = resumes(tmp_path, network, train_recognizer, RecognizerArgs, **options)
    assert trained(torch.zeros(2, 3, 112, 112)).shape == (2, 16)


def recognizer_task(folder, out, **options):
    args = RecognizerArgs(out=out, data=folder, **{**QUICK, "model": RECOGNIZERS["resnet"][1], **options})
    faces, held_out, _ = load_mixture([str(folder)], 128, held_out=2)
    return RecognizerTask(args, faces, held_out)


def test_the_class_vectors_stay_float32_and_learn(folder, tmp_path):
    task = recognizer_task(folder, tmp_path, precision="bf16")
    before = task.loss.W.detach().clone()
    (optimizer,) = task.optimizers()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = task(0, Generator().manual_seed(0))
    loss.backward()
    optimizer.step()
    assert task.loss.W.dtype == torch.float32
    assert not torch.equal(task.loss.W, before)


def test_two_views_are_enough(folder, tmp_path):
    """People with one picture, too; nobody is in the queue against themself, and the copy follows slowly."""
    task = recognizer_task(folder, tmp_path, loss="usynthface", batch_size=8, queue=10)
    before = [p.detach().clone() for p in task.views.copy.parameters()]
    (optimizer,) = task.optimizers()
    for step in range(3):
        loss, _ = task(step, Generator().manual_seed(step))
        loss.backward()
        optimizer.step()
    assert int(task.loss.place) == 2 and (task.loss.whose >= 0).all()
    assert all(p.grad is None for p in task.views.copy.parameters())
    for old, copy, own in zip(before, task.views.copy.parameters(), task.network.parameters(), strict=True):
        assert (copy - old).abs().max() <= 0.01 * (own - old).abs().max() + 1e-9
    assert any((copy != old).any() for old, copy in zip(before, task.views.copy.parameters(), strict=True))
    with pytest.raises(InputError, match="sees two pictures of a person"):
        recognizer_task(folder, tmp_path, loss="usynthface", a_person=3)


def test_unknown_losses_and_architectures_are_refused(folder, tmp_path):
    for wrong, why in (("loss", "No loss"), ("architecture", "No architecture")):
        with pytest.raises(ValueError, match=why):
            train_recognizer(RecognizerArgs(out=tmp_path, data=folder, **{**QUICK, wrong: "softmax"}))


def test_one_person_to_learn_from_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="has but 1 to learn from, beside 5 held out"):
        train_recognizer(RecognizerArgs(data=folder, out=tmp_path, steps=1, **{**QUICK, "held_out_people": 5}))


def test_the_certainty_ratio_is_that_of_its_definition():
    generator = Generator().manual_seed(0)
    embeddings, vectors = torch.randn(5, 8, generator=generator), torch.randn(4, 8, generator=generator)
    labels = torch.tensor([0, 3, 1, 1, 2])
    for embedding, label, ratio in zip(embeddings, labels, certainty_ratio(embeddings, vectors, labels), strict=True):
        cosines = [float(F.cosine_similarity(embedding, vector, dim=0)) for vector in vectors]
        own = cosines.pop(label)
        assert float(ratio) == pytest.approx(own / (max(cosines) + 1), abs=1e-5)


@pytest.mark.parametrize("loss", ["cosface", "proxy_anchor"])
def test_the_quality_head_learns_the_certainty_and_teaches_nobody_else(folder, tmp_path, loss):
    task = recognizer_task(folder, tmp_path, model={**RECOGNIZERS["resnet"][1], "quality": True}, loss=loss)
    without = recognizer_task(folder, tmp_path, loss=loss)
    without.load_state_dict(task.state_dict(), strict=False)
    for each in (task, without):
        each(0, Generator().manual_seed(0))[0].backward()
    shared = dict(task.named_parameters())
    for name, parameter in without.named_parameters():
        assert torch.equal(parameter.grad, shared.pop(name).grad), name
    assert sorted(shared) == ["network.quality_head.1.bias", "network.quality_head.1.weight"]
    assert all(parameter.grad.any() for parameter in shared.values())
    # Its batch norms have seen the batch once, as those of the network without it.
    statistics = dict(task.named_buffers())
    assert all(torch.equal(value, statistics[name]) for name, value in without.named_buffers())

    optimizer = torch.optim.AdamW(shared.values(), lr=0.01)
    misses = []
    for _ in range(40):
        value, logs = task(0, Generator().manual_seed(0))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        misses.append(float(logs["quality"].detach()))
    assert misses[-1] < 0.2 * misses[0]


@pytest.mark.parametrize("kind", ["autoencoder", "generator", "sampler", "finder"])
def test_the_others(folder, photos, tmp_path, recognizer, autoencoder, kind):
    flow = {"components": 3, "width": 16, "depth": 1, "steps": 2}
    painter = generator_options(folder, recognizer, autoencoder)
    network, train, args_class, options = {
        "autoencoder": (FaceAutoencoder, train_autoencoder, AutoencoderArgs, {"model": AUTOENCODER}),
        "generator": (models.IdentityDiT, train_generator, GeneratorArgs, painter),
        "sampler": (IdentityFlow, train_sampler, SamplerArgs, {"model": flow}),
        "finder": (models.FaceFinderNet, train_finder, FinderArgs, {"photos": photos, **FEW}),
    }[kind]
    needed = {} if kind == "finder" else {"recognizer": recognizer}
    resumes(tmp_path, network, train, args_class, **{"data": folder, **needed, **options})


def generator_options(folder, recognizer, autoencoder, **changes):
    given = {"data": folder, "recognizer": recognizer, "autoencoder": autoencoder, "model": GENERATOR}
    return {**QUICK, **given, "identity_weight": 0.1, "identity_images": 4, **changes}


def test_conditions_are_means_of_the_persons_own_pictures(folder, tmp_path, recognizer, autoencoder):
    options = generator_options(folder, recognizer, autoencoder, most_references=3)
    task = GeneratorTask(GeneratorArgs(out=tmp_path, **options), load_faces(folder))
    task.embeddings = F.one_hot(task.labels, 6).float()  # a person's vector names the person
    assert torch.allclose(task.references(torch.arange(24), Generator().manual_seed(0)), task.embeddings)


@pytest.fixture
def told(tmp_path):
    """Six people with four pictures each and what they look like, as Parquet; the first picture has a hat."""
    rng, columns = np.random.default_rng(0), labelled(6, 4)
    columns["hat"] = np.arange(24) == 0
    rows = {name: values.tolist() for name, values in columns.items()}
    rows["identity"] = np.repeat(np.arange(6), 4).tolist()
    pictures = [Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)) for _ in range(24)]
    rows["image"] = [{"bytes": encoded(picture.resize((128, 128))), "path": "x.png"} for picture in pictures]
    pq.write_table(pa.table(rows), tmp_path / "told.parquet")
    return tmp_path / "told.parquet"


def test_a_generator_of_a_labelled_set_is_told_the_labels(told, tmp_path, recognizer, autoencoder):
    options = generator_options(told, recognizer, autoencoder, direction_weight=0.5)
    network = resumes(tmp_path, models.IdentityDiT, train_generator, GeneratorArgs, **options)
    assert network.config.attributes["hat"] == ["no", "yes"]
    assert not {"gender", "african"} & set(network.config.attributes)

    task = GeneratorTask(GeneratorArgs(out=tmp_path, **options), load_faces(told))
    vocabulary = Vocabulary(network.config.attributes)
    yaw, smile = vocabulary.names.index("yaw"), vocabulary.names.index("smile")
    rows = torch.arange(16).repeat(8)
    _, _, seen = task._noised(rows, Generator().manual_seed(0), torch.full((len(rows),), 0.5))
    assert torch.equal(seen[:, smile], task.told[rows, smile])
    mirrored = seen[:, yaw] == -task.told[rows, yaw]
    assert torch.equal(seen[~mirrored, yaw], task.told[rows[~mirrored], yaw])
    assert 0.3 < float(mirrored.float().mean()) < 0.7
    assert (task.rows == 0).sum() == 2  # the only hat of 16 pictures twice, towards a tenth of them

    left = (
        task._left_open(task.told[torch.arange(16).repeat(40)], Generator().manual_seed(0)).isfinite().float().mean(1)
    )
    assert float((left > 0.95).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert float((left < 0.5).float().mean()) == pytest.approx(0.25, abs=0.08)


def test_the_generator_learns_the_velocity(folder, tmp_path, recognizer, autoencoder):
    options = generator_options(folder, recognizer, autoencoder, identity_weight=0.0, validate_every=60)
    first = train_generator(GeneratorArgs(out=tmp_path / "first", **{**options, "steps": 1, "lr": 1e-9}))
    args = GeneratorArgs(out=tmp_path / "run", **{**options, "steps": 60, "batch_size": 16, "lr": 5e-3})
    assert train_generator(args)["val_mse"] < 0.8 * first["val_mse"]


def test_a_flow_learns_where_people_are(tmp_path):
    """People on a circle: what the flow draws lies far nearer to it than what the Gaussian of the same axes draws."""
    generator = Generator().manual_seed(0)
    angle = 2 * np.pi * torch.rand(600, generator=generator)
    people = torch.stack([angle.cos(), angle.sin(), torch.ones(600), 0.01 * torch.randn(600, generator=generator)], 1)
    people = F.normalize(people)
    flow = {"components": 2, "width": 64, "depth": 2, "temperature": 1.0, "steps": 8}
    options = {**QUICK, "batch_size": 256, "held_out_people": 100, "warmup": 20, "validate_every": 300}
    args = SamplerArgs(
        out=tmp_path, data=tmp_path, recognizer=tmp_path, references=1, model=flow, steps=300, lr=3e-3, ema=0.98,
        **options,
    )  # fmt: skip
    train(SamplerTask(args, people, np.arange(600)), args)
    trained = IdentityFlow.from_pretrained(tmp_path / "model").eval()
    noise = torch.randn(400, 2, generator=generator)

    def off(vectors):
        return float((vectors[:, :2].norm(dim=1) - 0.5**0.5).abs().mean())

    assert off(trained.sample(noise)) < 0.25 * off(trained.to_vectors(noise))


def finder_task(folder, photos, *sets):
    task = FinderTask(FinderArgs(out=folder, photos=photos, data=folder, **FEW, **QUICK), *sets)
    task.backgrounds[:] = 0
    return task


def test_a_finder_learns_what_is_no_face(folder, photos):
    """The landmarks of a hidden head are kept, and nothing of the head is left around them."""
    white = load_faces(photos)
    white = Faces(np.full_like(white.images, 255), white.labels, white.columns)
    task = finder_task(folder, photos, white, load_faces(folder))
    hidden, points = task.headless(24, Generator().manual_seed(0))
    x, y = points.mean(1).long().T
    covered = hidden[torch.arange(24), :, y, x].mean(1)
    assert (covered < 0.05).any()  # something procedural, which is black here; else another part, which is white
    assert ((covered < 0.05) | (covered > 0.95)).all()
    crops, landmarks, exact = task.crop_batch(Generator().manual_seed(1))
    assert len(crops) == 64 and exact == 24 and len(landmarks) == 40
    assert task.faceless_crops(13, Generator().manual_seed(2)).shape == (13, 3, 96, 96)
    assert task.empty(7, Generator().manual_seed(3)).shape == (7, 3, 64, 64)


def test_pasted_landmarks_move_with_the_pixels(folder, photos):
    """A white dot drawn at a landmark is found again where the batch says that the landmark is."""
    images = np.zeros((4, 128, 128, 3), np.uint8)
    x, y = template(128)[2]
    images[:, round(y - 0.5) - 1 : round(y - 0.5) + 2, round(x - 0.5) - 1 : round(x - 0.5) + 2] = 255
    task = finder_task(folder, photos, load_faces(photos), Faces(images, np.arange(4)))
    pictures, points = task.pasted(16, Generator().manual_seed(0), smallest=0.6)
    rows, columns = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    inside = ((points[:, 2] > 2) & (points[:, 2] < 62)).all(1)
    assert inside.any()
    for picture, nose in zip(pictures[inside].mean(1), points[inside, 2], strict=True):
        place = torch.stack([(picture * columns).sum(), (picture * rows).sum()]) / picture.sum()
        assert (place - nose).norm() < 0.6


def test_shuffled_pieces_are_all_there_but_elsewhere():
    pictures = torch.rand(6, 3, 24, 24, generator=Generator().manual_seed(0))
    for before, after in zip(pictures, shuffle(pictures, Generator().manual_seed(0)), strict=True):
        assert not torch.equal(before, after)
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)


def test_similarities_are_inverse_to_each_other():
    generator = Generator().manual_seed(0)
    scale, angle = torch.rand(5, generator=generator) + 0.5, torch.randn(5, generator=generator)
    source, target = torch.rand(5, 2, generator=generator) * 50, torch.rand(5, 2, generator=generator) * 50
    ahead, back = similarities(scale, angle, source, target)
    points = torch.rand(5, 5, 2, generator=generator) * 60
    assert torch.allclose(carry(carry(points, ahead), back), points, atol=1e-3)
    assert torch.allclose(carry(source[:, None], ahead)[:, 0], target, atol=1e-3)
    assert torch.allclose(face_size(carry(points, ahead)), face_size(points) * scale, rtol=1e-4)


def test_haar_details_are_those_of_the_transform():
    pixels = torch.randn(2, 3, 16, 16, generator=Generator().manual_seed(0))
    total, level = 0.0, pixels.numpy()
    for _ in range(3):
        blocks = level.reshape(2, 3, level.shape[2] // 2, 2, level.shape[3] // 2, 2)
        for signs in ([[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]]):
            total += np.abs(np.einsum("nchiwj,ij->nchw", blocks, np.array(signs))).mean() / 6
        level = blocks.mean((3, 5))
    assert float(haar_details(pixels)) == pytest.approx(total, rel=1e-5)
    assert float(haar_details(torch.ones(1, 1, 8, 8))) == 0


def test_a_decoder_without_norms_starts_without_a_grid():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = FaceAutoencoder(4, (16, 16), (16, 16, 16), (1, 1), (1, 1, 1))
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.decoder.modules())
    made = network.decode(torch.ones(1, 4, 8, 8)).sample[0, :, 24:40, 24:40]  # far from the borders
    assert made.shape == (3, 16, 16)
    assert torch.allclose(made, made[:, :1, :1].expand_as(made), atol=1e-5)


def test_grain_begins_as_nothing_and_is_the_same_every_time():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = FaceAutoencoder(4, (16, 16), (16, 16, 16), (1, 1), (1, 1, 1))
        grainy = FaceAutoencoder(4, (16, 16), (16, 16, 16), (1, 1), (1, 1, 1), grain=True)
    latents = torch.randn(1, 4, 20, 8, generator=torch.Generator().manual_seed(1))  # taller than the noise at its scale
    left = grainy.load_state_dict(plain.state_dict(), strict=False)
    assert not left.unexpected_keys and all("gain" in key or "noise" in key for key in left.missing_keys)
    assert torch.equal(plain.decode(latents).sample, grainy.decode(latents).sample)
    torch.nn.init.constant_(grainy.decoder[-3].gain.bias, 0.5)
    made = grainy.decode(latents).sample
    assert (made - plain.decode(latents).sample).std() > 0.01 and torch.equal(made, grainy.decode(latents).sample)


def test_the_reader_learns_what_a_picture_shows(tmp_path):
    """Brightness is the smile, a dark upper half is a hat, and what is brighter on the right has turned there."""
    rng = np.random.default_rng(0)
    smile, hat, yaw = rng.random(240), rng.random(240) < 0.3, rng.uniform(-60, 60, 240)
    across = np.linspace(-1, 1, 32)[None, None, :, None]
    pixels = (
        np.full((240, 32, 32, 3), 0.3)
        + 0.4 * smile[:, None, None, None]
        + 0.2 * (yaw / 60)[:, None, None, None] * across
    )
    pixels[:, :16] *= np.where(hat, 0.2, 1.0)[:, None, None, None]
    images = [
        {"bytes": encoded(Image.fromarray((one * 255).clip(0, 255).astype(np.uint8))), "path": "x"} for one in pixels
    ]
    who = {"identity": np.repeat(np.arange(60), 4), "image": images, "smile": smile, "hat": hat, "yaw": yaw}
    pq.write_table(pa.table({name: list(values) for name, values in who.items()}), tmp_path / "told.parquet")
    model = {"channels": (16, 16), "blocks": (1, 1), "width": 16, "image_size": 32}
    options = {
        **QUICK,
        "data": tmp_path / "told.parquet",
        "size": 32,
        "model": model,
        "held_out_people": 15,
        "often": 0.0,
    }
    args = AttributesArgs(
        out=tmp_path / "run", **{**options, "batch_size": 32, "steps": 120, "validate_every": 120}, lr=3e-3, ema=0.9
    )
    found = train_attributes(args)
    assert found["smile"] < 0.12  # chance is 0.25
    assert found["hat"] > 0.9
    assert found["yaw"] < 22  # chance is 30
    resumes(tmp_path / "again", models.AttributeNet, train_attributes, AttributesArgs, **options)


def test_a_measure_of_quality_is_learned_for_any_recogniser(tmp_path, monkeypatch):
    monkeypatch.setenv("IDGEN_CACHE", str(tmp_path / "cache"))
    FaceEncoder(ResNetRecognizer(**RECOGNIZERS["resnet"][1]), space="some").save_pretrained(tmp_path / "encoder")
    data = fine_pictures(tmp_path / "set", 30, 4, ruin=3)
    options = {**QUICK, "data": data, "recogniser": str(tmp_path / "encoder"), "size": 64, "model": {"width": 16}}
    options["held_out_people"] = 10
    resumes(tmp_path / "none", models.QualityNet, train_quality, QualityArgs, **options, put=False)
    assert FaceEncoder.from_pretrained(tmp_path / "encoder").rated == ("norm",)
    monkeypatch.setattr("idgen.training.quality.recogniser", lambda name: Fine())
    learned = {**options, "batch_size": 32, "steps": 60, "validate_every": 60, "often": 0.0}
    found = train_quality(QualityArgs(out=tmp_path / "run", **learned, lr=1e-2, ema=0.9))
    assert found["rank_correlation"] > 0.3  # chance is 0
    assert (tmp_path / "encoder" / "quality" / "config.json").exists()


def test_a_head_is_fitted_to_who_is_matched(tmp_path, monkeypatch):
    """Derived again in numpy: how many of a person's others each picture matches, and the ridge's normal equations."""
    monkeypatch.setenv("IDGEN_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    model = {**RECOGNIZERS["resnet"][1], "quality": True}
    FaceEncoder(ResNetRecognizer(**model), space="some").save_pretrained(tmp_path / "encoder")
    data = fine_pictures(tmp_path / "set", 30, 4, ruin=3)
    args = QualityArgs(
        out=tmp_path / "run", data=data, recogniser=str(tmp_path / "encoder"), size=64, held_out_people=10, often=0.0
    )
    before = FaceEncoder.from_pretrained(tmp_path / "encoder")
    found = train_quality(args)
    after = FaceEncoder.from_pretrained(tmp_path / "encoder")
    assert after.rated == ("norm", "cr-fiqa") and found["rank_correlation"] > 0.3  # chance is 0
    pixels = load_faces(data).pixels(np.arange(80))
    vectors, maps = before.encode(pixels).double().numpy(), before.maps(pixels).double().numpy()
    torch.testing.assert_close(after.encode(pixels), before.encode(pixels))
    who, scores = np.arange(80) // 4, vectors @ vectors.T
    threshold = np.quantile(scores[who[:, None] != who], 1 - 1e-3)
    own = (who[:, None] == who) & ~np.eye(80, dtype=bool)
    wanted = ((1 / (1 + np.exp(-(scores - threshold) / 0.1))) * own).sum(1) / 3
    least = found["ridge"] * maps.var(0).mean() * 80 * np.eye(maps.shape[1])
    centred = maps - maps.mean(0)
    weights = np.linalg.solve(centred.T @ centred + least, centred.T @ (wanted - wanted.mean()))
    rated = after.rate(pixels)[1][:, 1].numpy()
    assert np.corrcoef(rated, centred @ weights)[0, 1] > 0.999  # the threshold is that of some of the pairs
    np.testing.assert_allclose(rated, wanted.mean() + centred @ weights, atol=0.02)
    saved = models.load(tmp_path / "run" / "model", ResNetRecognizer)
    torch.testing.assert_close(saved.quality_head[1].weight, after.recognizer.quality_head[1].weight)


def test_the_student_learns_the_denoisers_guided_paths(told, tmp_path, recognizer, autoencoder):
    options = generator_options(told, recognizer, autoencoder, identity_weight=0.0)
    train_generator(GeneratorArgs(out=tmp_path / "teacher", steps=30, lr=5e-3, **options))
    few = {"generator": tmp_path / "teacher" / "model", "paths": 40, "teacher_steps": 4, "student_steps": 2}
    options = {**options, **few, "model": {}}
    network = resumes(tmp_path, models.IdentityDiT, train_student, StudentArgs, **options)
    assert tuple(network.config.guidance_range) == (1.0, 4.0)

    task = StudentTask(StudentArgs(out=tmp_path, **options), load_faces(told))
    paths, teacher = task.paths, task.teacher[0]
    assert paths.points.shape[:2] == (40, 3)
    x = torch.from_numpy(paths.points[:3, 0]).float()
    who, how, scale = (torch.from_numpy(v[:3]) for v in (paths.identity, paths.told, paths.guidance))
    before = None
    with torch.no_grad():
        for step in range(4):
            time = torch.full((3,), 1000 * (1 - step / 4))
            with_, without = (teacher(x, time, who, torch.full((3,), drop), how) for drop in (False, True))
            velocity = without + scale[:, None, None, None] * (with_ - without)
            x = x - (velocity if before is None else 1.5 * velocity - 0.5 * before) / 4
            before = velocity
    assert torch.allclose(x, torch.from_numpy(paths.points[:3, 2]).float(), atol=5e-3)

    args = StudentArgs(
        out=tmp_path / "long",
        **{**options, "steps": 80, "batch_size": 32, "validate_every": 80, "lr": 3e-3, "ema": 0.9},
    )
    first = StudentArgs(out=tmp_path / "short", **{**options, "steps": 1, "validate_every": 1, "lr": 1e-9})
    assert train_student(args)["val_loss"] < 0.8 * train_student(first)["val_loss"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"teacher_steps": 5}, "a multiple of student_steps"),
        ({"least_guidance": 5.0}, "below most_guidance"),
        ({"model": {"width": 8}}, "takes no model"),
    ],
)
def test_students_that_cannot_be(tmp_path, wrong, why):
    folders = dict.fromkeys(("data", "recognizer", "autoencoder", "generator"), tmp_path)
    with pytest.raises(InputError, match=why):
        StudentArgs(out=tmp_path, **folders, **wrong)


def test_a_decoder_is_finished_against_a_critic_and_its_encoder_stays(folder, tmp_path, recognizer, autoencoder):
    options = {"data": folder, "recognizer": recognizer, "start": autoencoder, "model": AUTOENCODER}
    finish = {"decoder_only": True, "adversarial": 0.1, "texture": 0.1}
    trained = resumes(tmp_path, FaceAutoencoder, train_autoencoder, AutoencoderArgs, **options, **finish)
    before = models.load(autoencoder, FaceAutoencoder).state_dict()
    for name, value in trained.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name
    finished = next(path.parent for path in tmp_path.rglob("model/config.json"))
    assert digest(finished) != digest(autoencoder)  # but its latents are the same
    assert digest_of_latents(finished) == digest_of_latents(autoencoder)
    trained.encoder[1].bias.data += 1
    trained.save_pretrained(tmp_path / "another")
    assert digest_of_latents(tmp_path / "another") != digest_of_latents(autoencoder)


def test_a_decoder_is_finished_on_latents_as_smooth_as_the_denoisers(folder, tmp_path, recognizer, autoencoder):
    torch.manual_seed(0)
    noise = models.IdentityDiT(sample_size=16, in_channels=4, identity_dim=16, **GENERATOR)
    noise.save_pretrained(tmp_path / "generator")  # it says nothing yet, so that estimates are the noised latents
    options = {"data": folder, "recognizer": recognizer, "start": autoencoder, "model": AUTOENCODER}
    finish = {"decoder_only": True, "generator": tmp_path / "generator", "most_smoothing": 0.5}
    resumes(tmp_path, FaceAutoencoder, train_autoencoder, AutoencoderArgs, **options, **finish)

    for wrong, why in (
        ({"decoder_only": False}, "the encoder stays"),
        ({"most_smoothing": 1.0}, "between 0 and 1, got 1.0"),
        ({"model": {**AUTOENCODER, "latent_channels": 8}, "start": None}, "is of other latents"),
    ):
        with pytest.raises(InputError, match=why):
            train_autoencoder(AutoencoderArgs(out=tmp_path / "wrong", **QUICK, **{**options, **finish, **wrong}))
    args = AutoencoderArgs(out=tmp_path, **QUICK, **options, **finish)
    faces = load_faces(folder)
    task = AutoencoderTask(args, faces, faces, models.load(recognizer, ResNetRecognizer))
    latents = torch.zeros(64, 4, 16, 16)
    smoothed = task._smoothed(torch.zeros(64, 3, 128, 128), latents)
    assert len(smoothed) == 32
    sigmas = smoothed.flatten(1).std(1)  # nothing but noise, of σ's strength
    assert 0.0 < sigmas.min() < 0.1 and 0.4 < sigmas.max() < 0.55


def test_the_critics_two_losses_move_one_side_each():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        critic, real, made = Critic(4, 16), torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32, requires_grad=True)
        fooled, own = critic.losses(real, made, torch.randn(2, 4, 4, 4))
    fooled.backward(retain_graph=True)
    assert made.grad.any() and all(parameter.grad is None for parameter in critic.parameters())
    made.grad = None
    own.backward()
    assert made.grad is None and all(weight.grad.any() for weight in critic.parameters() if weight.ndim > 1)


def test_texture_counts_how_much_not_where():
    generator = Generator().manual_seed(0)
    grain, other = (0.1 * torch.randn(1, 3, 64, 64, generator=generator) for _ in range(2))
    flat = torch.zeros(1, 3, 64, 64)
    assert float(texture(grain, grain)) == 0
    assert float(texture(grain, other)) < 0.2 * float(texture(grain, flat))
    assert float(texture(2 * grain, grain)) == pytest.approx(np.log(4), rel=0.02)
    chequers = 0.1 * (-1.0) ** (torch.arange(64)[:, None] + torch.arange(64)).expand(1, 3, 64, 64)
    assert float(texture(chequers, grain)) > 1  # as much in all, but none of it across or down


def test_heads_turned_far_are_shown_again():
    vocabulary = Vocabulary({"yaw": [-60.0, 60.0], "hat": ["no", "yes"], "smile": [0.0, 1.0]})
    told = torch.zeros(100, 3)
    told[:5, vocabulary.names.index("yaw")] = torch.tensor([-41.0, 50.0, 60.0, -60.0, 45.0])
    told[7:10, vocabulary.names.index("hat")] = 1
    again = torch.cat(_rare(told, vocabulary, torch.arange(100)))
    assert again.sort().values.tolist() == [*range(5), *sorted([7, 8, 9] * 2)]
