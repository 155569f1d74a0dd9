"""CosFace (Wang et al. 2018): s·(cos θ − m) in place of the own class's s·cos θ."""

from __future__ import annotations

from pytorch_metric_learning import losses

from idgen.training.losses.margin import PerPicture


class CosFace(PerPicture, losses.CosFaceLoss):
    """`people` class vectors of `size` numbers; `margin` m in cosine (0.35), `scale` s (64)."""

    def __init__(self, people: int, size: int, margin: float = 0.35, scale: float = 64.0):
        super().__init__(people, size, margin=margin, scale=scale)
