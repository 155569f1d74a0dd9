"""Two processes that train together, as `accelerate launch` starts them."""

import os
import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tiny import soft_set

from idgen.ground.errors import InputError
from idgen.training.losses import NAMES, make
from idgen.training.recognition import RecognizerArgs, train_recognizer

PEOPLE, SIZE, SCALE = 7, 6, 16.0
CASES = [(name, {}) for name in NAMES if not name.startswith(("elastic", "proxy"))] + [("cosface", {"sampled": 0.6})]
MODEL = {"channels": (16, 16, 16), "blocks": (1, 1, 1), "embedding_dim": 16}
QUICK = {"batch_size": 8, "precision": "no", "validate_every": 2, "warmup": 1, "held_out_people": 2, "size": 64}


def batch(count):
    generator = torch.Generator().manual_seed(0)
    embeddings = 3 * torch.randn(count, SIZE, generator=generator, dtype=torch.float64)
    return embeddings.requires_grad_(), torch.arange(count) % 3 + 2


def case(name, more):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return make(name, PEOPLE, SIZE, None, SCALE, **more).double()


def halves(rank):
    """The mean over both processes of the losses of each one's half of a batch, and of their gradients."""
    found = {}
    for name, more in CASES:
        loss, (embeddings, labels) = case(name, more), batch(12)
        half = slice(6 * rank, 6 * rank + 6)
        value = loss(embeddings[half], labels[half]).mean()
        value.backward()
        whole = [value.detach()[None], embeddings.grad, *(p.grad for p in loss.parameters())]
        for tensor in whole:
            dist.all_reduce(tensor)
            tensor /= 2
        found[f"{name}{more}"] = whole
    return found


def process(rank, port, folder, faces):
    torch.set_num_threads(1)
    meet = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in meet.items()}, ACCELERATE_USE_CPU="true")
    dist.init_process_group("gloo")
    found = {"halves": halves(rank)}
    options = {**QUICK, "model": MODEL, "sampled": 0.6, "steps": 2}
    train_recognizer(RecognizerArgs(out=folder / "run", data=faces, **options))
    train_recognizer(RecognizerArgs(out=folder / "views", data=faces, **{**options, "sampled": 1}, loss="usynthface"))
    try:
        train_recognizer(RecognizerArgs(out=folder / "other", data=faces, people=5 + rank, **options))
    except InputError as error:
        found["refused"] = str(error)
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    faces = soft_set(folder / "faces.parquet", people=6)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDGEN_CACHE", str(folder / "cache"))
        mp.spawn(process, (port, folder, faces), nprocs=2)
    return folder, [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize(("name", "more"), CASES)
def test_they_have_the_loss_of_one_with_both_batches(found, name, more):
    loss, (embeddings, labels) = case(name, more), batch(12)
    value = loss(embeddings, labels).mean()
    value.backward()
    whole = [value.detach()[None], embeddings.grad, *(p.grad for p in loss.parameters())]
    for one, two in zip(whole, found[1][0]["halves"][f"{name}{more}"], strict=True):
        assert torch.allclose(one, two, rtol=1e-5, atol=1e-9)


def test_they_train_one_network(found):
    for run in ("run", "views"):
        assert (found[0] / run / "model" / "config.json").is_file()
        assert torch.load(found[0] / run / "checkpoint" / "state.pt", weights_only=True)["step"] == 2
    entered = torch.load(found[0] / "views" / "checkpoint" / "state.pt", weights_only=True)["task"]["loss.place"]
    assert entered == 2 * 2 * 4, "the keys of both processes, in two steps"


def test_processes_that_see_different_data_are_refused(found):
    assert [one["refused"] for one in found[1]] == [
        "The processes of this training see different data: give all the same files and options."
    ] * 2
