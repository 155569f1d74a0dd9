"""What a vector says of a person besides who it is, learned along with a recogniser.

A recogniser that learned to look past colours forgets the skin's, and one can then choose nobody by it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from idgen.ground.attributes import PERSON
from idgen.training.mixture import Mixture


class PersonHead(nn.Module):
    """One linear layer that reads gender, age, skin tone and ancestry off unit vectors of length `size`.

    Args:
        faces: whose sets tell these in numbers, all or some.
        size: of the vectors.

    Raises:
        LookupError: no set tells any.
    """

    told: Tensor

    def __init__(self, faces: Mixture, size: int):
        super().__init__()
        told = np.full((len(faces), len(PERSON)), np.nan, np.float32)
        for start, part in zip(faces.starts, faces.parts, strict=False):
            for place, name in enumerate(PERSON):
                values = part.faces.columns.get(name)
                if values is not None and values.dtype.kind in "fiu":  # other people's sets have words there
                    told[start : start + len(part), place] = values[part.rows]
        known = np.isfinite(told).any(0)
        if not known.any():
            raise LookupError(f"No set tells what its people are like ({', '.join(PERSON)}): that is not learned.")
        told = told[:, known]
        told = (told - np.nanmean(told, 0)) / np.maximum(np.nanstd(told, 0), 1e-6)
        self.register_buffer("told", torch.from_numpy(told.astype(np.float32)), persistent=False)
        self.layer = nn.Linear(size, told.shape[1])
        nn.init.zeros_(self.layer.weight)

    def cost(self, embeddings: Tensor, rows: Tensor) -> Tensor:
        """Mean squared error, ÷ the variance over the sets, of embeddings (N, D) of pictures in these rows (N,)."""
        wanted = self.told[rows.to(self.told.device)]
        known = wanted.isfinite()
        read = self.layer(normalize(embeddings) * embeddings.shape[1] ** 0.5)
        return ((read - wanted.nan_to_num()).square() * known).sum() / known.sum().clamp(min=1)
