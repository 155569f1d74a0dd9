"""What all processes of a training have, as each of them needs it."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def alone() -> bool:
    """Whether this is the only process."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1


def gathered(part: Tensor) -> Tensor:
    """The rows (N, …) of all processes, (P·N, …), in the processes' order; all have equally many. Gradients go back to
    whom a row came from, summed over the processes: the mean over processes that follows makes them those of one loss.
    """
    return part if alone() else torch.cat(list(all_gather(part.contiguous())))
