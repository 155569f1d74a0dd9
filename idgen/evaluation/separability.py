"""Do different people stay different, by their pictures?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import normalize

from idgen.ground.identity import centres
from idgen.sampling.separation import nearest_other, separate


@dataclass(frozen=True)
class Separability:
    """People against people, by the means of their pictures' vectors.

    Args:
        people: how many.
        threshold: from here on two means count as one person.
        unique: how many people are left when, in order, each too close to an earlier one goes (Vec2Face's count).
        unique_share: of all people.
        nearest_mean, nearest_max: cosine of a person to the nearest other one, on average and at most.
        closest: the two closest people.
    """

    people: int
    threshold: float
    unique: int
    unique_share: float
    nearest_mean: float
    nearest_max: float
    closest: tuple[str, str]

    @classmethod
    def measure(cls, embeddings: Tensor, labels: ArrayLike, threshold: float) -> Separability:
        """From pictures.

        Args:
            embeddings: (N, D), normalised here.
            labels: (N,) whose equality means the same person; at least two people.
            threshold: see above; `mean-mean` of a recogniser's calibration.
        """
        names, means = np.unique(np.asarray(labels)), centres(embeddings, labels)
        cosine, row = nearest_other(means)
        unique = len(separate(means, float(np.clip(threshold, -1, 1))))
        first = int(cosine.argmax())
        closest = str(names[first]), str(names[int(row[first])])
        nearest = float(cosine.mean()), float(cosine.max())
        return cls(len(names), float(threshold), unique, unique / len(names), *nearest, closest)


def precision_recall(real: Tensor, fake: Tensor, k: int = 3, block: int = 2048) -> tuple[float, float]:
    """Precision and recall of one set of pictures against another (Kynkäänniemi et al. 2019, eq. 2), in any features.

    A picture counts as covered by the other set when it lies within the distance of some picture there to its k-th
    nearest neighbour in its own set. Precision: share of the fake ones covered by the real set; recall: the other way.

    Args:
        real, fake: (N, D) and (M, D) unit vectors; the distance is the angle's, so any growing function of it is the
            same.
        k: which neighbour; each set has more than k vectors.
        block: rows at a time.
    """

    def reach(vectors: Tensor) -> Tensor:
        """(N,) cosine to the k-th nearest other vector."""
        parts = []
        for start in range(0, len(vectors), block):
            products = vectors[start : start + block] @ vectors.T
            products[torch.arange(len(products)), torch.arange(start, start + len(products))] = -torch.inf
            parts.append(products.topk(k, 1).values[:, -1])
        return torch.cat(parts)

    def covered(probes: Tensor, vectors: Tensor, reaches: Tensor) -> float:
        hits = [(probes[start : start + block] @ vectors.T >= reaches).any(1) for start in range(0, len(probes), block)]
        return float(torch.cat(hits).double().mean())

    real, fake = (normalize(vectors.detach().cpu().float()) for vectors in (real, fake))
    return covered(fake, real, reach(real)), covered(real, fake, reach(fake))
