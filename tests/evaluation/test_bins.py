"""insightface's pair files: read without running anything, and the 10-fold accuracy against scikit-learn's KFold."""

import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import encoded, patterns

from idgen.evaluation.bins import read_bin, ten_fold_accuracy, write_bin
from idgen.ground.errors import InputError
from idgen.scoring.verification import unit

PICTURES = [encoded(Image.new("RGB", (8, 8), (10 * number,) * 3)) for number in range(6)]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("truth", [[True, False, True], np.array([True, False, True]), [np.bool_(1), 0, 1]])
def test_reads_what_insightface_writes(tmp_path, protocol, truth):
    path = tmp_path / "lfw.bin"
    path.write_bytes(pickle.dumps((PICTURES, truth), protocol))
    pairs = read_bin(path)
    assert pairs.pictures == PICTURES and pairs.same.tolist() == [True, False, True] and len(pairs) == 3
    assert np.asarray(pairs.picture(3))[0, 0, 0] == 30


def test_reads_arrays_of_bytes_and_its_own_files(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(pickle.dumps([[np.frombuffer(one, np.uint8) for one in PICTURES], [True, False, False]], 2))
    assert read_bin(path).pictures == PICTURES
    write_bin(path, PICTURES, np.array([1, 0, 1]))
    assert read_bin(path).same.tolist() == [True, False, True]
    assert pickle.loads(path.read_bytes()) == (PICTURES, [True, False, True])  # as insightface does


class Runs:
    """A pickle of it calls `function(*arguments)` when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [os.system, subprocess.check_call, exec, eval, __import__, getattr, open])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, protocol, function):
    proof = tmp_path / "proof"
    arguments = (f"touch {proof}",) if function in (os.system, exec, eval) else (str(proof), "w")
    path = tmp_path / "evil.bin"
    path.write_bytes(pickle.dumps(([Runs(function, *arguments), *PICTURES[1:]], [True] * 3), protocol))
    with pytest.raises(InputError, match="Nothing in it was run"):
        read_bin(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    "stream",
    [
        b"cnumpy\nload\n.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O'\ntRS'x'\ntR.",  # an array of Python objects
        b"c_codecs\nencode\n(Vx\nS'rot13'\ntR.",
        b"cbuiltins\nsetattr\n.",
        b"cnumpy\nndarray.__class__\n.",
        b"P1\n.",
        b"cantigravity\nanything\n.",
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",
    ],
)
def test_other_ways_in_are_closed(tmp_path, stream):
    path = tmp_path / "evil.bin"
    path.write_bytes(stream)
    with pytest.raises(InputError):
        read_bin(path)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ((PICTURES, [True]), "6 pictures and 1 truth"),
        ((PICTURES, []), "truth values"),
        ((PICTURES[:2], ["yes"]), "truth value"),
        ([1, 2, 3], "not of"),
        (({}, 5), "not of"),
        (([1, 2], [True]), "2 pictures"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, says):
    (tmp_path / "x.bin").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=says):
        read_bin(tmp_path / "x.bin")


def test_cut_short_or_missing(tmp_path):
    data = pickle.dumps((PICTURES, [True] * 3))
    for length in (0, 1, 20, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.bin").write_bytes(data[:length])
        with pytest.raises(InputError, match="cut short"):
            read_bin(tmp_path / "cut.bin")
    with pytest.raises(InputError, match="cannot be read"):
        read_bin(tmp_path / "none.bin")


def pairs(n, seed=0, dim=16):
    rng = np.random.default_rng(seed)
    first, same = rng.normal(size=(n, dim)), rng.random(n) < 0.5
    second = np.where(same[:, None], first + 0.8 * rng.normal(size=(n, dim)), rng.normal(size=(n, dim)))
    return unit(first), unit(second), same


@pytest.mark.parametrize("n", [10, 57, 600])
def test_accuracy_is_the_protocol_step_by_step(n):
    selection = pytest.importorskip("sklearn.model_selection")
    first, second, same = pairs(n)
    distance = ((first - second) ** 2).sum(1)
    thresholds, accuracies = np.arange(0, 4, 0.01), []
    for rest, held_out in selection.KFold(10, shuffle=False).split(distance):
        training = [np.mean((distance[rest] < t) == same[rest]) for t in thresholds]
        best = thresholds[int(np.argmax(training))]
        accuracies.append(np.mean((distance[held_out] < best) == same[held_out]))
    result = ten_fold_accuracy(first, second, same)
    np.testing.assert_allclose(result.folds, accuracies, atol=1e-9)
    assert result.accuracy == pytest.approx(np.mean(accuracies), abs=1e-9)
    assert result.deviation == pytest.approx(np.std(accuracies), abs=1e-9)


def test_perfect_and_refused():
    first, _, same = pairs(100)
    second = np.where(same[:, None], first, -first)
    assert ten_fold_accuracy(first, second, same).accuracy == 1
    with pytest.raises(InputError, match="too few"):
        ten_fold_accuracy(first[:9], second[:9], same[:9])


def test_evaluate_gives_the_accuracy_of_the_protocol(tiny_model, tmp_path):
    """From the file's pictures to the figure, derived anew: plain pickle, the bare network, scikit-learn's folds."""
    selection = pytest.importorskip("sklearn.model_selection")
    pytest.importorskip("matplotlib")
    from idgen.evaluation.evaluate import evaluate
    from idgen.models import PlainRecognizer

    crops, _ = patterns(30, 2, seed=4)
    files = [encoded(Image.fromarray((crop.permute(1, 2, 0).numpy() * 255).astype(np.uint8))) for crop in crops]
    same = np.arange(30) % 2 == 0
    second = [2 * row + 1 if yes else (2 * row + 3) % 60 for row, yes in enumerate(same)]
    listed = [file for row, other in enumerate(second) for file in (files[2 * row], files[other])]
    (tmp_path / "lfw-like.bin").write_bytes(pickle.dumps((listed, same.tolist())))
    result = evaluate(tmp_path / "lfw-like.bin", tmp_path / "out", by=[str(tiny_model / "judge")], progress=False)
    (found,) = result.folds.values()

    content, truth = pickle.loads((tmp_path / "lfw-like.bin").read_bytes())
    network = PlainRecognizer.from_pretrained(tiny_model / "judge" / "recognizer").eval()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in content]).transpose(0, 3, 1, 2)
    x = torch.from_numpy(pixels / 127.5 - 1).float()
    with torch.no_grad():
        raw = (network(x) + network(x.flip(3))).double().numpy()
    vectors = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    distance = np.square(vectors[::2] - vectors[1::2]).sum(1)
    thresholds, accuracies = np.arange(0, 4, 0.01), []
    for rest, held_out in selection.KFold(10, shuffle=False).split(distance):
        training = [np.mean((distance[rest] < t) == np.array(truth)[rest]) for t in thresholds]
        best = thresholds[int(np.argmax(training))]
        accuracies.append(np.mean((distance[held_out] < best) == np.array(truth)[held_out]))
    assert 0.5 < np.mean(accuracies) <= 1
    np.testing.assert_allclose(found.folds, accuracies, atol=1e-9)
    assert found.accuracy == pytest.approx(np.mean(accuracies), abs=1e-9)
