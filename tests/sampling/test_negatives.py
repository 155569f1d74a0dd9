"""Whom everybody is led away from."""

import pytest
import torch

from idgen.ground.errors import InputError
from idgen.sampling import negatives as room
from idgen.sampling.negatives import negatives


@pytest.mark.parametrize("which", ["far", "close", "mid", "random"])
def test_everybody_has_another_one(which, monkeypatch):
    monkeypatch.setattr(room, "_BLOCK", 4)
    people = torch.nn.functional.normalize(torch.randn(9, 5, generator=torch.Generator().manual_seed(0)))
    chosen = negatives(people, which, seed=3)
    for row, other in enumerate(chosen.tolist()):
        assert other != row
        others = sorted((float(people[row] @ people[k]), k) for k in range(9) if k != row)
        expected = {"far": others[0][1], "close": others[-1][1], "mid": others[3][1], "random": other}[which]
        assert other == expected
    assert torch.equal(chosen, negatives(people, which, seed=3))


def test_one_alone_has_nobody():
    with pytest.raises(InputError, match="nobody to be led away from"):
        negatives(torch.ones(1, 3), "far")
    with pytest.raises(InputError, match="no negative 'best'"):
        negatives(torch.ones(2, 3), "best")
