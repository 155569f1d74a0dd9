"""Distance between two sets of pictures in a recogniser's features: Fréchet (FD) and kernel (KID), by torchmetrics.

Named after the feature space, `fd_<space>` and `kid_<space>`, because the numbers cannot be compared with Inception's,
nor between two recognisers. They also depend on how many pictures there are: compare only figures of equal counts.
"""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn

from idgen.ground.errors import require_package


class UnitFeatures(nn.Module):
    """Unit vectors as the feature extractor that torchmetrics asks for: (N, D) to (N, D), times √D.

    A feature then has about unit variance, which the kernel of KID, (x·y/D + 1)³, is made for; it would hardly see a
    difference between vectors of length 1. Embedding happens before, once, since the vectors serve other figures too.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.num_features = dim

    def forward(self, vectors: Tensor) -> Tensor:
        return vectors.float() * math.sqrt(self.num_features)


def distances(
    real: Tensor, fake: Tensor, space: str, *, subset_size: int = 500, subsets: int = 50, seed: int = 0
) -> dict[str, float]:
    """FD (Heusel et al. 2017, eq. 6) and KID (Bińkowski et al. 2018, eq. 4) between the embeddings of two sets.

    Args:
        real, fake: (N, D) and (M, D) unit vectors, two or more each. With fewer than about 2 D, the covariance is
            far from full rank and FD large for that reason alone.
        space: name of the embedding space.
        subset_size, subsets: KID is the mean over this many random subsets; smaller sets shrink the subsets.
        seed: of the subsets; the global generator is left as it was.

    Returns:
        `fd_<space>`, `kid_<space>` and `kid_<space>_std` (over the subsets).

    Raises:
        InputError: torchmetrics is missing.
    """
    what = "A distance between sets of pictures"
    frechet, kernel = (require_package(f"torchmetrics.image.{kind}", "eval", what) for kind in ("fid", "kid"))
    features, smaller = UnitFeatures(real.shape[1]), min(len(real), len(fake))
    fd = frechet.FrechetInceptionDistance(feature=features)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*save all extracted features.*")
        kid = kernel.KernelInceptionDistance(feature=features, subset_size=min(subset_size, smaller), subsets=subsets)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for metric in (fd, kid):
            metric.update(real, real=True)
            metric.update(fake, real=False)
        fd_value, (kid_mean, kid_std) = fd.compute(), kid.compute()
    return {f"fd_{space}": float(fd_value), f"kid_{space}": float(kid_mean), f"kid_{space}_std": float(kid_std)}
