"""ArcFace (Deng et al. 2019): s·cos(θ + m) in place of the own class's s·cos θ; beyond π − m, s·(cos θ − m·sin m), so
that it never rises again."""

from __future__ import annotations

from pytorch_metric_learning import losses

from idgen.training.losses.margin import PerPicture


class ArcFace(PerPicture, losses.ArcFaceLoss):
    """`people` class vectors of `size` numbers; `margin` m in radians (0.5), `scale` s (64)."""

    def __init__(self, people: int, size: int, margin: float = 0.5, scale: float = 64.0):
        super().__init__(people, size, margin=margin * 57.29578, scale=scale)  # the package takes degrees
