"""Do the pictures of one person agree with each other, and do different people stay different?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idgen.errors import InputError
from idgen.scoring.verification import numbered, unit


def leave_one_out(embeddings: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """(N,) cosine of each picture with the mean of the *other* pictures of its person.

    Args:
        embeddings: (N, D), any length; normalised here.
        labels: (N,) whose equality means the same person; everybody needs two pictures.

    Raises:
        InputError: somebody has a single picture.
    """
    return (unit(embeddings) * others_mean(embeddings, labels)).sum(1)


def others_mean(embeddings: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """(N, D) mean of the other pictures of each picture's person, of unit length; arguments as `leave_one_out`."""
    vectors = unit(np.asarray(embeddings, np.float64))
    index = numbered(vectors, labels)
    if (single := np.bincount(index)[index] < 2).any():
        who = np.asarray(labels)[single][0]
        raise InputError(f"{who} has a single picture: there are no others to compare it with.")
    sums = np.zeros((index.max() + 1, vectors.shape[1]))
    np.add.at(sums, index, vectors)
    return unit(sums[index] - vectors)


def match_rate_between(embeddings: ArrayLike, labels: ArrayLike, references: ArrayLike, threshold: float) -> float:
    """Share of comparisons of a picture with *another* person's reference that match: the collapse check.

    Were all people alike it would be near 1; at a threshold for FMR x, real people give x.

    Args:
        embeddings: (N, D) of the pictures.
        labels: (N,) number of the person, an index into `references`.
        references: (P, D), one a person; P at least 2.
        threshold: a comparison matches at or above it.
    """
    vectors, people, numbers = unit(embeddings), unit(references), np.asarray(labels)
    if len(people) < 2:
        raise InputError("One person alone cannot match another: give at least two.")
    matches = vectors @ people.T >= threshold
    matches[np.arange(len(numbers)), numbers] = False
    return float(matches.sum() / (len(numbers) * (len(people) - 1)))
