import pytest
import torch
from torch import Generator
from torch.nn.functional import normalize

from idgen.ground.errors import InputError
from idgen.sampling import separation as module
from idgen.sampling.separation import nearest_other, separate


def crowd(n=300, dim=6):
    return torch.randn(n, dim, generator=Generator().manual_seed(0))


def one_by_one(vectors, cosine):
    """The definition, in double precision."""
    kept = []
    unit = normalize(vectors.double())
    for row, vector in enumerate(unit):
        if all(float(unit[other] @ vector) < cosine for other in kept):
            kept.append(row)
    return kept


@pytest.mark.parametrize("cosine", [-0.5, 0.3, 0.8, 0.97])
@pytest.mark.parametrize("rows", [7, 64, 4096])
@pytest.mark.parametrize("engine", ["torch", "faiss"])
def test_keeps_whom_the_definition_keeps(monkeypatch, engine, cosine, rows):
    if engine == "faiss":
        pytest.importorskip("faiss")
    monkeypatch.setattr(module, "_ROWS", rows)
    monkeypatch.setattr(module, "_COLUMNS", 2 * rows)
    vectors = normalize(crowd()).half()
    assert separate(vectors, cosine, engine).tolist() == one_by_one(vectors.float(), cosine)
    again = crowd(5).repeat(3, 1) * torch.arange(1.0, 16)[:, None]  # lengths do not count
    assert separate(again, 0.9999, engine).tolist() == [0, 1, 2, 3, 4]


def test_nearest_other(monkeypatch):
    monkeypatch.setattr(module, "_ROWS", 32)
    monkeypatch.setattr(module, "_COLUMNS", 50)
    vectors = crowd()
    unit = normalize(vectors.double())
    cosine, row = (unit @ unit.T).fill_diagonal_(-2).max(1)
    found, where = nearest_other(vectors)
    torch.testing.assert_close(found.double(), cosine, atol=1e-6, rtol=0)
    assert torch.equal(where, row)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: separate(torch.zeros(3, 4), 0.5), "zero"),
        (lambda: separate(torch.full((3, 4), torch.nan), 0.5), "NaN"),
        (lambda: separate(crowd(), 1.5), "between -1 and 1"),
        (lambda: separate(crowd(), 0.5, engine="annoy"), "engine"),
    ],
)
def test_refuses(call, says):
    with pytest.raises(InputError, match=says):
        call()
