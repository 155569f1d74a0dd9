"""Do the pictures of one person agree with each other, and do different people stay different?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def leave_one_out(embeddings: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """(N,) cosine of each picture with the mean of the *other* pictures of its person.

    Args:
        embeddings: (N, D), any length; normalised here.
        labels: (N,) whose equality means the same person; everybody needs two pictures.

    Raises:
        ValueError: somebody has a single picture.
    """
    vectors = unit(embeddings)
    return (vectors * others_mean(vectors, labels)).sum(1)


def others_mean(embeddings: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """(N, D) mean of the other pictures of each picture's person, of unit length; arguments as `leave_one_out`."""
    vectors = unit(embeddings)
    people, index, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    if len(index) != len(vectors):
        raise ValueError(f"{len(vectors)} embeddings need as many labels, got {len(index)}.")
    if (counts < 2).any():
        raise ValueError(f"{people[counts < 2][0]} has a single picture: there are no others to compare it with.")
    sums = np.zeros((len(people), vectors.shape[1]))
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
        raise ValueError("One person alone cannot match another: give at least two.")
    matches = vectors @ people.T >= threshold
    matches[np.arange(len(numbers)), numbers] = False
    return float(matches.sum() / (len(numbers) * (len(people) - 1)))


def unit(vectors: ArrayLike) -> NDArray[np.float64]:
    """(N, D) with every row divided by its length."""
    array = np.asarray(vectors, np.float64)
    return array / np.linalg.norm(array, axis=1, keepdims=True)
