"""What people are like, read off a recogniser's vectors while it learns."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tiny import encoded

from idgen.training.mixture import load_mixture
from idgen.training.person import PersonHead
from idgen.training.recognition import RecognizerArgs, RecognizerTask


@pytest.fixture
def told(tmp_path):
    """Ten people with three pictures each, as dark as their skin is said to be; of the last four nobody says it."""
    rng, rows = np.random.default_rng(0), []
    for person in range(10):
        tone = rng.random()
        for _ in range(3):
            pixels = np.clip(255 * (1 - tone) + rng.integers(-20, 20, (64, 64, 3)), 0, 255).astype(np.uint8)
            image = {"bytes": encoded(Image.fromarray(pixels)), "path": "x"}
            rows.append({"image": image, "identity": person, "skin_tone": tone if person < 6 else None})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "told.parquet")
    return tmp_path / "told.parquet"


def test_the_error_is_that_of_the_known_alone(told):
    mixture, _, _ = load_mixture([str(told)], 64, held_out=2)
    head = PersonHead(mixture, 5)
    assert head.told.shape == (24, 1)
    generator = torch.Generator().manual_seed(0)
    head.layer.weight.data = torch.randn(1, 5, generator=generator)
    vectors, rows = torch.randn(6, 5, generator=generator), torch.tensor([0, 23, 5, 9, 20, 17])
    tones = pq.read_table(told)["skin_tone"].to_pylist()
    known = [tone for tone in tones[:24] if tone is not None]
    errors = []
    for vector, row in zip(vectors.numpy(), rows.tolist(), strict=True):
        if tones[row] is not None:
            unit = vector / np.linalg.norm(vector) * np.sqrt(5)
            read = float(unit @ head.layer.weight.detach().numpy()[0]) + float(head.layer.bias.detach())
            errors.append((read - (tones[row] - np.mean(known)) / np.std(known)) ** 2)
    assert len(errors) == 4
    assert float(head.cost(vectors, rows).detach()) == pytest.approx(np.mean(errors), rel=1e-4)


def test_nobody_says_what_people_are_like(folder, tmp_path, capsys):
    """The recipe asks for it, of whatever set."""
    args = RecognizerArgs(out=tmp_path / "run", data=[str(folder)], person_weight=1.0, held_out_people=2, device="cpu")
    faces, held_out, _ = load_mixture(args.data, 64, held_out=2)
    assert RecognizerTask(args, faces, held_out).person is None
    assert "No set tells what its people are like (gender, age" in capsys.readouterr().err


def test_words_and_mixtures_of_people_are_left_alone(told, tmp_path, capsys):
    """The recipe asks for it, of whatever training."""
    table = pq.read_table(told).drop_columns("skin_tone")
    for number, name in enumerate("ab"):
        words = table.append_column("gender", pa.array(["female", "male"][number : number + 1] * len(table)))
        pq.write_table(words, tmp_path / f"{name}.parquet")
    for data, mixed in ((["a"], False), (["a", "b"], True)):
        sets = [str(tmp_path / f"{name}.parquet") for name in data]
        args = RecognizerArgs(
            out=tmp_path / "run", data=sets, person_weight=0.3, held_out_people=2, device="cpu", domain_mixup=mixed
        )
        faces, held_out, _ = load_mixture(args.data, 64, held_out=2)
        assert RecognizerTask(args, faces, held_out).person is None


def test_the_vectors_learn_it(told, tmp_path):
    options = {"channels": (16, 16, 16), "blocks": (1, 1, 1), "embedding_dim": 16}
    args = RecognizerArgs(
        out=tmp_path / "run", data=[str(told)], person_weight=1.0, held_out_people=2, device="cpu", precision="no",
        model=options, batch_size=16, steps=60, warmup=5, lr=3e-3, size=64, augment={"usual": 0},
    )  # fmt: skip
    faces, held_out, _ = load_mixture(args.data, 64, held_out=2)
    task = RecognizerTask(args, faces, held_out)
    (optimizer,) = task.optimizers()
    seen = []
    for step in range(60):
        loss, parts = task(step, torch.Generator().manual_seed(step))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(float(parts["person"].detach()))
    assert np.mean(seen[:3]) > 0.7 and np.mean(seen[-10:]) < 0.4
