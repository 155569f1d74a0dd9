"""What a recogniser learns from: sets mixed in every batch, told apart; soft labels; who has one picture; alignment."""

import os
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tiny import encoded, soft_set
from torch import Generator

from idgen.evaluation.bins import write_bin
from idgen.ground.errors import InputError
from idgen.models import ResNetRecognizer
from idgen.training import losses
from idgen.training.data import load_faces
from idgen.training.mixture import Asked, load_mixture
from idgen.training.recognition import RecognizerArgs, RecognizerTask, cost, train_recognizer
from idgen.training.teacher import Teacher
from idgen.training.trial import load_test

MODEL = {"channels": (16, 16, 16), "blocks": (1, 1, 1), "embedding_dim": 16}
QUICK = {"batch_size": 8, "precision": "no", "device": "cpu", "validate_every": 2, "warmup": 1, "held_out_people": 2}
QUICK |= {"model": MODEL, "steps": 2, "size": 64}


def seeded(seed=0):
    return Generator().manual_seed(seed)


def test_a_share_is_read_off_the_end(tmp_path):
    assert Asked.read("a/b:0.2") == Asked("a/b", 0.2)
    assert Asked.read("hub:set") == Asked("hub:set", None)
    (tmp_path / "x:1").mkdir()
    assert Asked.read(f"{tmp_path}/x:1") == Asked(f"{tmp_path}/x:1", None)
    with pytest.raises(InputError, match=r"share of a in a batch is a number above 0 and at most 1, got 1\.5"):
        Asked.read("a:1.5")


def test_sets_are_mixed_in_every_batch_and_their_people_told_apart(people, capsys):
    one, other = people("one", 5, 3, seed=0), people("other", 4, 2, seed=1)
    mixture, held_out, content = load_mixture([str(one), f"{other}:0.25"], 64, held_out=2)
    assert "4 names are in several sets (p0, p1, p2, …): they count as different people." in capsys.readouterr().err
    assert mixture.people == 3 + 2 and held_out.people == 4 and len(held_out) == 2 * 3 + 2 * 2
    assert mixture.counts(8) == [6, 2]
    for seed in range(3):
        rows = mixture.draw([6, 2], seeded(seed))
        whom = mixture.targets[rows][:, 0]
        assert (whom[:6] < 3).all() and (whom[6:] >= 3).all()
    first, second = load_faces(one, 64), load_faces(other, 64)
    rows = np.array([0, 9, 8, 10])  # the first set has 9 rows to learn from
    expected = torch.cat([first.pixels([0]), second.pixels([0]), first.pixels([8]), second.pixels([1])])
    assert torch.equal(mixture.pixels(rows), expected)
    assert content != load_mixture([str(one), f"{other}:0.5"], 64, held_out=2)[2]


def test_shares_that_cannot_be(people):
    one, other = people("one", 4, 2, seed=0), people("other", 4, 2, seed=1)
    for told in (f"{one}:0.6 {other}:0.6", f"{one}:0.3 {other}:0.3", f"{one} {other}:1"):
        with pytest.raises(InputError, match="shares of a batch are 1 together"):
            load_mixture(told.split(), 64, held_out=2)
    mixture, _, _ = load_mixture([str(one), f"{other}:0.01"], 64, held_out=2)
    with pytest.raises(InputError, match=r"share of 0\.01 of 8 pictures is none"):
        mixture.counts(8)


def test_a_budget_takes_the_first_people_and_pictures(folder):
    mixture, held_out, content = load_mixture([str(folder)], 64, people=4, pictures=3, held_out=2)
    assert (len(mixture), mixture.people, held_out.people) == (6, 2, 2)
    assert len({content, load_faces(folder, 64).content}) == 2
    assert load_mixture([str(folder)], 64, held_out=2)[2] == load_faces(folder, 64).content
    with pytest.raises(InputError, match="7 people are asked for, and a set has 6"):
        load_mixture([str(folder)], 64, people=7)


def test_soft_labels_are_those_of_the_dataset(tmp_path):
    mixture, held_out, _ = load_mixture([str(soft_set(tmp_path / "soft.parquet"))], 64, soft=True, held_out=2)
    assert mixture.people == 3 and held_out.people == 2 and len(mixture) == 9
    assert mixture.targets[[0, 3, 6]].tolist() == [[0, 1], [1, 2], [2, 0]]
    assert torch.allclose(mixture.weights[[0, 3, 6]], torch.tensor([[0, 1], [0.1, 0.9], [0.2, 0.8]]))


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ([], "The soft label of row 0 of .* names nobody"),
        ([{"identity": None, "weight": 1.0}], "names nobody"),
        ([{"identity": "ann", "weight": 0.4}], "names ann, with shares of 0.4 together"),
    ],
)
def test_soft_labels_that_name_nobody(tmp_path, told, why):
    kind = pa.list_(pa.struct([("identity", pa.string()), ("weight", pa.float32())]))
    image = {"bytes": encoded(Image.new("RGB", (64, 64))), "path": "x"}
    table = pa.table({"image": [image] * 4, "identity": list("aabb"), "soft_label": pa.array([told] * 4, kind)})
    pq.write_table(table, tmp_path / "soft.parquet")
    with pytest.raises(InputError, match=why):
        load_mixture([str(tmp_path / "soft.parquet")], 64, soft=True, held_out=1)


def test_a_set_without_soft_labels_says_so(folder):
    with pytest.raises(InputError, match="has no soft labels: they are the column soft_label"):
        load_mixture([str(folder)], 64, soft=True)


def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses():
    loss = losses.make("cosface", 4, 6, 0.3, 8.0)
    embeddings, targets = torch.randn(3, 6, generator=seeded()), torch.tensor([[0, 1], [2, 3], [3, 0]])
    weights = torch.tensor([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]])
    expected = [
        sum(float(w) * float(loss(e[None], t[None]).detach()) for t, w in zip(row, ws, strict=True))
        for e, row, ws in zip(embeddings, targets, weights, strict=True)
    ]
    assert cost(loss, embeddings, targets, weights).item() == pytest.approx(np.mean(expected), rel=1e-5)


def task(data, out, **options):
    args = RecognizerArgs(out=out, data=data, **{**QUICK, **options})
    faces, held_out, _ = load_mixture(args.data, 64, soft=args.soft_labels, held_out=2, several=args.several > 1)
    return RecognizerTask(args, faces, held_out)


def test_domain_mixup_mixes_a_picture_of_each_set(people, tmp_path):
    sets = [people("one", 4, 2, seed=0), people("other", 4, 2, seed=1)]
    mixing = task(sets, tmp_path, domain_mixup=True, augment={"usual": 0})
    _, pixels, targets, weights = mixing.batch(seeded(1))
    assert targets.shape == weights.shape == (8, 2)
    assert (targets[:, 0] < 2).all() and (targets[:, 1] >= 2).all()
    share = float(weights[0, 0])
    assert 0 < share < 1 and (weights == torch.tensor([share, 1 - share])).all()
    plain = task(sets, tmp_path, augment={"usual": 0})
    generator = seeded(1)
    torch.randint(21, (), generator=generator)
    one, other = plain._seen([8, 0], generator)[1], plain._seen([0, 8], generator)[1]
    assert torch.allclose(pixels, share * one + (1 - share) * other, atol=1e-6)


def test_a_batch_of_pairs_has_several_pictures_of_a_person(folder, tmp_path):
    pairs = task(folder, tmp_path, loss="triplet", a_person=4)
    _, _, targets, _ = pairs.batch(seeded())
    assert np.unique(targets[:, 0], return_counts=True)[1].tolist() == [4, 4]


def test_who_has_one_picture_is_left_out_of_pairs(folder, tmp_path, capsys):
    for k in (1, 2, 3):
        (folder / "p0" / f"{k}.png").unlink()
    assert task(folder, tmp_path, loss="triplet").faces.people == 3
    assert "1 person has one picture in" in capsys.readouterr().err
    for person in (1, 2):
        for k in (1, 2, 3):
            (folder / f"p{person}" / f"{k}.png").unlink()
    with pytest.raises(
        InputError, match=r"compares two pictures of a person, and of the people of .* 3 have one and 1"
    ):
        task(folder, tmp_path, loss="multibatch")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"loss": "triplet", "soft_labels": True}, "triplet knows nothing of soft labels"),
        ({"loss": "triplet", "a_person": 1}, "let a_person be 2 or more"),
        ({"domain_mixup": True}, "mixes the pictures of two sets, got 1"),
        ({"optimizer": "lion"}, "adamw or sgd"),
        ({"augment": {"rain": 1}}, "No augmentation 'rain'"),
        ({"pictures": 0}, "pictures"),
    ],
)
def test_arguments_that_do_not_go_together(tmp_path, wrong, why):
    with pytest.raises(InputError, match=why):
        RecognizerArgs(out=tmp_path, data=tmp_path, **wrong)


def test_tests_are_measured_while_it_learns_and_the_best_is_kept(folder, people, tmp_path):
    other = people("val", 6, 3, seed=5)
    images = [(other / f"p{p}" / f"{k}.png").read_bytes() for p in range(6) for k in (0, 1, 0, 2)]
    write_bin(tmp_path / "pairs.bin", images, [True, True] * 6)
    with pytest.raises(InputError, match="pairs of one kind only"):
        load_test(tmp_path / "pairs.bin", 64)
    same = [True, False] * 6
    images = [(other / f"p{p}" / f"{k}.png").read_bytes() for p in range(6) for k in (0, 1)]
    crossed = [picture for p in range(6) for picture in (*images[2 * p : 2 * p + 2], images[2 * p], images[2 * p - 2])]
    write_bin(tmp_path / "pairs.bin", crossed, same)
    options = {**QUICK, "test": [str(other), str(tmp_path / "pairs.bin")], "augment": {"usual": 0, "randaugment": 1}}
    found = train_recognizer(RecognizerArgs(out=tmp_path / "run", data=folder, optimizer="sgd", **options))
    assert {"val accuracy", "val eer", "pairs accuracy"} <= found.keys() and "pairs tar_1e-3" not in found
    best = tmp_path / "run" / "best"
    assert (best / "best.json").is_file() and ResNetRecognizer.from_pretrained(best).config.embedding_dim == 16
    curve = (tmp_path / "run" / "curve.svg").read_text()
    assert "val accuracy" in curve and curve.count("<polyline") == 8


def test_pairs_of_a_labelled_test_are_what_they_say(folder):
    test = load_test(folder, 64)
    labels = test.faces.labels
    assert (test.first[test.same] != test.second[test.same]).all()
    assert ((labels[test.first] == labels[test.second]) == test.same).all() and len(test.same) == 6000


def test_pre_training_and_what_follows_are_as_many_steps_together(folder, people, tmp_path):
    options = {**QUICK, "pretrain": [str(people("made", 5, 2, seed=3))], "steps": 4}
    for minutes in (0.0, None):
        train_recognizer(RecognizerArgs(out=tmp_path / "run", data=folder, people=4, max_minutes=minutes, **options))
    first = torch.load(tmp_path / "run" / "pretrained" / "checkpoint" / "state.pt", weights_only=True)
    then = torch.load(tmp_path / "run" / "checkpoint" / "state.pt", weights_only=True)
    assert (first["step"], then["step"]) == (2, 2)
    assert first["task"]["loss.W"].shape[1] == 3 and then["task"]["loss.W"].shape[1] == 2
    rate = [state["optimizers"][0]["param_groups"][0]["initial_lr"] for state in (first, then)]
    assert rate[1] == pytest.approx(0.3 * rate[0])


@pytest.mark.parametrize("loss", ["adaface", "elastic_arc", "triplet", "multibatch", "sampled"])
def test_every_loss_trains(folder, tmp_path, loss):
    more = {"loss": "cosface", "sampled": 0.6} if loss == "sampled" else {"loss": loss}
    args = RecognizerArgs(out=tmp_path / "run", data=folder, **{**QUICK, **more})
    train_recognizer(args)
    args.steps = 3
    assert "eer" in train_recognizer(args)  # its optimisers' states are read again


def test_a_teacher_is_as_far_as_its_student(folder, tmp_path):
    options = {**QUICK, "steps": 6, "validate_every": 6}
    train_recognizer(RecognizerArgs(out=tmp_path / "teacher", data=folder, snapshots=3, **options))
    kept = sorted((tmp_path / "teacher" / "snapshots").iterdir())
    assert [one.name for one in kept] == ["1", "2", "3"]
    last, final = (ResNetRecognizer.from_pretrained(one).state_dict() for one in (kept[-1], tmp_path / "teacher/model"))
    assert all(torch.equal(value, final[name]) for name, value in last.items())
    multi, plain = (Teacher(one, 16) for one in (tmp_path / "teacher" / "snapshots", kept[1]))
    pixels, student = torch.rand(4, 3, 96, 96) * 2 - 1, torch.randn(4, 16, requires_grad=True)
    for share in (0.34, 0.66):
        assert torch.equal(multi.cost(share, pixels, student), plain.cost(0.0, pixels, student))
    assert not torch.equal(multi.cost(0.7, pixels, student), plain.cost(0.7, pixels, student))
    network = ResNetRecognizer.from_pretrained(kept[1]).eval()
    with torch.no_grad():
        theirs = network(torch.nn.functional.interpolate(pixels, (112, 112), mode="bilinear", antialias=True))
    expected = 1 - torch.nn.functional.cosine_similarity(student, theirs).mean()
    assert torch.allclose(multi.cost(0.5, pixels, student), expected, atol=1e-5)

    learns = {**options, "teacher": tmp_path / "teacher" / "snapshots", "teacher_weight": 5.0}
    assert "eer" in train_recognizer(RecognizerArgs(out=tmp_path / "student", data=folder, **learns))
    assert "teacher" in (tmp_path / "student" / "curve.svg").read_text()
    with pytest.raises(InputError, match=r"The vectors of the teacher .* have 16 numbers, the student's 8"):
        task(folder, tmp_path, teacher=kept[0], model={**MODEL, "embedding_dim": 8})
    with pytest.raises(InputError, match="There is no trained network in"):
        task(folder, tmp_path, teacher=tmp_path)


def test_a_broken_network_is_said_when_it_is_validated(folder, tmp_path):
    wild = {**QUICK, "lr": 1e12, "clip": 1e12, "steps": 4}
    with pytest.raises(FloatingPointError, match=r"became (NaN|nan|inf).* at step \d: .*; lower --lr"):
        train_recognizer(RecognizerArgs(out=tmp_path / "run", data=folder, **wild))


def test_code_in_a_bin_is_refused(tmp_path):
    (tmp_path / "evil.bin").write_bytes(pickle.dumps(os.system))
    with pytest.raises(InputError, match=r"Nothing in it was run"):
        load_test(tmp_path / "evil.bin", 64)
