import numpy as np
import pytest
import torch
from torch import Generator
from torch.nn.functional import normalize

from idgen.evaluation.separability import Separability, precision_recall


def cloud(n, dim=8, seed=0):
    return normalize(torch.randn(n, dim, generator=Generator().manual_seed(seed)))


def test_doubled_people_are_counted():
    people = cloud(40, 128)
    people[30:] = normalize(people[:10] + 0.05 * cloud(10, 128, 1))
    vectors = people.repeat_interleave(3, 0)
    labels = np.repeat([f"p{i:02d}" for i in range(40)], 3)
    result = Separability.measure(vectors, labels, 0.8)
    assert (result.people, result.unique, result.unique_share) == (40, 30, 0.75)
    products = (people @ people.T).fill_diagonal_(-1)
    assert result.nearest_max == pytest.approx(float(products.max()), abs=1e-5)
    assert result.nearest_mean == pytest.approx(float(products.amax(1).mean()), abs=1e-5)
    first, second = (int(name[1:]) for name in result.closest)
    assert abs(first - second) == 30


def test_precision_and_recall_are_the_definition():
    real, fake = cloud(60), normalize(cloud(45, seed=1) + torch.tensor([0.4] + [0] * 7))

    def covered(probes, vectors, k=3):
        hits = 0
        for probe in probes:
            for row, vector in enumerate(vectors):
                others = sorted(float((vector - other).norm()) for i, other in enumerate(vectors) if i != row)
                if float((probe - vector).norm()) <= others[k - 1]:
                    hits += 1
                    break
        return hits / len(probes)

    precision, recall = precision_recall(real, fake, block=16)
    assert precision == pytest.approx(covered(fake, real))
    assert recall == pytest.approx(covered(real, fake))


def test_collapse_costs_recall_and_noise_costs_precision():
    real = cloud(400)
    assert precision_recall(real, cloud(400, seed=5))[0] > 0.8
    precision, recall = precision_recall(real, normalize(real[:1] + 0.02 * cloud(400, seed=2)))
    assert precision > 0.9 and recall < 0.1
