import pytest
import torch
from torch import Generator
from torch.nn.functional import normalize

from idgen.ground.errors import InputError
from idgen.ground.identity import SAMPLED, Identities
from idgen.sampling.packing import pack, packed


def crowd(n, dim, seed=0, spread=0.5):
    """Around one direction, as faces are."""
    generator = Generator().manual_seed(seed)
    return normalize(torch.ones(dim) / dim**0.5 + spread * torch.randn(n, dim, generator=generator))


def closest(vectors):
    products = vectors @ vectors.T
    return float(products.fill_diagonal_(-1).max())


def test_four_points_become_a_tetrahedron():
    # The best packing of 4 points on the ordinary sphere is known: all cosines are -1/3.
    points = pack(crowd(4, 3), steps=400, s=50)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(4))
    off = (points @ points.T)[~torch.eye(4, dtype=torch.bool)]
    torch.testing.assert_close(off, torch.full((12,), -1 / 3), atol=0.02, rtol=0)


def test_people_move_apart_and_stay_where_faces_live():
    start, faces = crowd(60, 16), crowd(400, 16, seed=1)
    to_faces = lambda vectors: float((vectors @ faces.T).amax(1).mean())  # noqa: E731
    free, held = pack(start, steps=150), pack(start, faces, steps=150, pull=2.0)
    assert closest(free) < closest(held) < closest(start) - 0.1
    assert to_faces(held) > to_faces(free) + 0.1
    # Drawn from the gallery's own kind, as the start was, they are about as near to it as before.
    assert to_faces(held) > to_faces(start) - 0.05


def test_more_people_than_move_at_once(monkeypatch):
    monkeypatch.setattr("idgen.sampling.packing._MOST_ROWS", 32)
    start = crowd(100, 16)
    one, two = (pack(start, steps=200, seed=5) for _ in range(2))
    assert torch.equal(one, two)
    assert closest(one) < closest(start) - 0.1


def test_identities_say_that_nobody_is_behind_them():
    start = Identities(crowd(5, 8), "space", [f"{SAMPLED}, seed 1"] * 5, [f"p{i}" for i in range(5)])
    out = packed(start, crowd(3, 8), seed=4)
    assert out.space == "space" and out.names[0] == "packed-4-0000"
    assert not any(person.from_photo for person in out)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: pack(crowd(1, 4)), "two people"),
        (lambda: pack(torch.ones(4)), "start holds an array of shape"),
        (lambda: pack(crowd(3, 4), crowd(3, 5)), r"a gallery of \(3, 5\)"),
        (lambda: pack(torch.zeros(3, 4)), "zero"),
        (lambda: pack(crowd(3, 4), torch.full((2, 4), torch.nan)), "NaN"),
    ],
)
def test_refuses(call, says):
    with pytest.raises(InputError, match=says):
        call()
