"""What a picture is like where nobody asks: attributes drawn as the training pictures have them, given the person.

No network, but tables and a linear probe. What changes from picture to picture comes from one labelled picture; hair,
glasses and other habits from one labelled person who is like this one, by what the probe reads from the vector. So a
combination is one that occurs, and the variety that of the pictures. No vector of a person is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Generator, Tensor

from idgen.ground.attributes import HABITS, PERSON, PICTURE, Vocabulary

_NEAR = 32
"""Labelled pictures among which is drawn what goes with an attribute that was asked for."""


class AttributePrior(ModelMixin, ConfigMixin):
    """Draws what was left open.

    Args:
        attributes: those of the denoiser, in its order.
        identity_dim: length D of an identity's vector.
        people: labelled people P.
        pictures: of each, H of which the habits are kept.
        rows: labelled pictures R whose pose, light, expression and scene are kept.
    """

    probe: Tensor
    bias: Tensor
    spread: Tensor
    usual: Tensor
    person: Tensor
    habits: Tensor
    looks: Tensor

    @register_to_config
    def __init__(
        self,
        attributes: dict[str, list[Any]],
        identity_dim: int = 512,
        people: int = 1,
        pictures: int = 1,
        rows: int = 1,
    ):
        super().__init__()
        self.vocabulary = Vocabulary(attributes)
        count, traits = len(self.vocabulary), len(PERSON) + len(_habitual(self.vocabulary))
        self.register_buffer("probe", torch.zeros(traits, identity_dim))
        self.register_buffer("bias", torch.zeros(traits))
        self.register_buffer("spread", torch.ones(traits))
        self.register_buffer("usual", torch.zeros(2, traits))
        self.register_buffer("person", torch.zeros(people, traits))
        self.register_buffer("habits", torch.full((people, pictures, count), math.nan))
        self.register_buffer("looks", torch.full((rows, count), math.nan))

    @classmethod
    def fit(
        cls,
        attributes: Mapping[str, Sequence[Any]],
        vectors: Tensor,
        person: Tensor,
        pictures: Tensor,
        labels: Tensor,
        generator: Generator,
        most_people: int = 3000,
        most_rows: int = 6000,
    ) -> AttributePrior:
        """From labelled pictures.

        Args:
            attributes: see the class.
            vectors: (P, D) one a person.
            person: (P, 6) of everybody, in the order of `PERSON`.
            pictures: (N, A) attributes of all pictures.
            labels: (N,) whose they are.
            generator: chooses what is kept.
            most_people, most_rows: how many people and pictures are kept.
        """
        person = torch.cat([person, _shares(Vocabulary(attributes), pictures, labels)], 1)
        centred, mean = vectors - vectors.mean(0), person.mean(0)
        folds = torch.arange(len(vectors)) % 5

        def ridge(rows: Tensor) -> Tensor:
            some = centred[rows]
            shrink = 1e-2 * some.square().sum() / some.shape[1]  # of the mean variance along an axis
            return torch.linalg.solve(some.T @ some + shrink * torch.eye(some.shape[1]), some.T @ (person[rows] - mean))

        errors = torch.cat([centred[folds == f] @ ridge(folds != f) + mean - person[folds == f] for f in range(5)])
        probe = ridge(torch.ones(len(vectors), dtype=torch.bool))
        kept = torch.randperm(len(vectors), generator=generator)[:most_people].sort().values
        each = int(torch.bincount(labels).min())
        places = torch.stack([(labels == row).nonzero()[:each, 0] for row in kept])
        some = torch.randperm(len(pictures), generator=generator)[:most_rows]
        prior = cls(dict(attributes), vectors.shape[1], len(kept), each, len(some))
        of_habits = _columns(prior.vocabulary, HABITS)
        prior.probe.copy_(probe.T)
        prior.bias.copy_(mean - vectors.mean(0) @ probe)
        prior.usual.copy_(torch.stack([mean, person.std(0).clamp(min=0.02)]))
        prior.spread.copy_(torch.minimum(errors.square().mean(0).sqrt().clamp(min=0.02), prior.usual[1]))
        prior.person.copy_(person[kept])
        prior.habits[:, :, of_habits] = pictures[places][:, :, of_habits]
        of_pictures = _columns(prior.vocabulary, PICTURE)
        prior.looks[:, of_pictures] = pictures[some][:, of_pictures]
        return prior

    def traits(self, vectors: Tensor) -> Tensor:
        """What the probe reads from vectors (N, D): (N, 6), in the order of `PERSON`, in [0, 1]."""
        return self._read(vectors)[:, : len(PERSON)]

    def _read(self, vectors: Tensor) -> Tensor:
        return (vectors.to(self.probe) @ self.probe.T + self.bias).float().clamp(0, 1)

    @torch.no_grad()
    def draw(self, vector: Tensor, asked: Tensor, person: Generator, picture: Generator) -> Tensor:
        """A whole row of attributes.

        Args:
            vector: (D,) of the person.
            asked: (A,) numbers, NaN where nothing is asked.
            person, picture: generators that draw what the person, and what the picture is; as many draws whatever is
                asked.
        """
        # On the CPU, where the generators are: the same on any device.
        # Bayes: how likely people are by what is read, less how likely without: what cannot be read chooses nobody.
        told, (mean, deviation) = self.person.float(), self.usual.float()
        miss = ((told - self._read(vector[None])) / self.spread.float()).square()
        weights = (0.5 * (((told - mean) / deviation).square() - miss).sum(1)).softmax(0).cpu()
        donor = int(torch.multinomial(weights, 1, generator=person))
        chance = torch.rand(2, generator=picture, dtype=torch.float32, device="cpu").tolist()
        habits, looks = self.habits.cpu(), self.looks.cpu()
        row = self._fill(asked, HABITS, habits[donor], habits.flatten(0, 1), chance[0])
        return self._fill(row, PICTURE, looks, looks, chance[1])

    def _fill(self, asked: Tensor, groups: Any, usual: Tensor, all_rows: Tensor, chance: float) -> Tensor:
        """The attributes of some groups where they are open: from one of the usual rows, or, in a group of which a part
        is asked, from one of those that are nearest to it."""
        row = asked.clone()
        drawn = usual[int(chance * len(usual))].float()
        for group in groups:
            columns = _columns(self.vocabulary, (group,))
            given = [column for column in columns if not asked[column].isnan()]
            source = drawn
            if given and len(given) < len(columns):
                near = _smallest(self._distance(all_rows[:, given].float(), asked[given], given), _NEAR)
                source = all_rows[near[int(chance * len(near))]].float()
            for column in columns:
                if column not in given:
                    row[column] = source[column]
        return row

    def _distance(self, rows: Tensor, wanted: Tensor, columns: list[int]) -> Tensor:
        """(R,) how far rows (R, G) are from what is wanted (G,): numbers by their range, names by being others."""
        total = torch.zeros(len(rows))
        for place, column in enumerate(columns):
            name = self.vocabulary.names[column]
            gap = (rows[:, place] - wanted[place]).abs().nan_to_num(1e3)
            if self.vocabulary.named(name):
                total += (gap > 0.5).float()
            else:
                low, high = self.vocabulary.values[name]
                total += gap / (float(high) - float(low))
        return total


def _smallest(values: Tensor, count: int) -> Tensor:
    """(count,) places of the smallest of (N,), ties by their order: a stable sort's first, without sorting them all."""
    few = (values <= values.kthvalue(min(count, len(values))).values).nonzero()[:, 0]
    return few[values[few].argsort(stable=True)][:count]


def _habitual(vocabulary: Vocabulary) -> list[str]:
    """Habits that a person has more or less of, as far as the vector may tell: amounts, and what is yes or no."""
    habits = [name for group in HABITS for name in group if name in vocabulary and name not in PERSON]
    return [name for name in habits if not vocabulary.named(name) or len(vocabulary.values[name]) == 2]


def _shares(vocabulary: Vocabulary, pictures: Tensor, labels: Tensor) -> Tensor:
    """(P, T) everybody's mean of `_habitual`; of whom nothing is known, that of all."""
    rows = pictures[:, [vocabulary.names.index(name) for name in _habitual(vocabulary)]]
    means = torch.stack([rows[labels == label].nanmean(0) for label in labels.unique()])
    return torch.where(means.isnan(), rows.nanmean(0), means).nan_to_num()


def _columns(vocabulary: Vocabulary, groups: Any) -> list[int]:
    return [vocabulary.names.index(name) for group in groups for name in group if name in vocabulary]
