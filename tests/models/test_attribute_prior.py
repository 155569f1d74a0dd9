import pytest
import torch

from idgen.models.attribute_prior import _smallest


@pytest.mark.parametrize("values", [2, 50, 10**6])
def test_the_nearest_rows_are_the_first_of_a_stable_sort(values):
    for count, rows in ((32, 700), (32, 32), (32, 5), (1, 9)):
        found = torch.randint(values, (rows,), generator=torch.Generator().manual_seed(rows)).float()
        assert torch.equal(_smallest(found, count), found.argsort(stable=True)[:count])
