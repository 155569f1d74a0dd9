"""Measure what a model's scores mean."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import ArrayLike
from torch import Tensor

from idgen.ground.domain import RENDERED
from idgen.scoring.bridge import BRIDGE_NAME, Bridge
from idgen.scoring.calibration import CALIBRATION_NAME, Calibration


def write_calibrations(
    model: str | Path,
    encoder_embeddings: Tensor,
    judge_embeddings: Tensor,
    labels: ArrayLike,
    data: str,
    domain: str = RENDERED,
) -> tuple[Calibration, Calibration]:
    """Measure the encoder and the judge of a model's folder on the same pictures, and write both `calibration.json`.

    Args:
        model: folder with `encoder/` and `judge/`, the latter with its bridge.
        encoder_embeddings, judge_embeddings: (N, De) and (N, Dj).
        labels: (N,) whose equality means the same person; of people that neither was trained on.
        data: where the pictures come from, in words.
        domain: what kind of pictures they are, see `idgen.ground.domain`.
    """
    encoder, judge = Path(model) / "encoder", Path(model) / "judge"
    bridge = Bridge.load(judge / BRIDGE_NAME)
    own = Calibration.measure(bridge.source, encoder_embeddings, labels, data, domain)
    judged = Calibration.measure(bridge.target, judge_embeddings, labels, data, domain)
    judged = judged.measure_bridge(bridge, encoder_embeddings, judge_embeddings, labels)
    own.save(encoder / CALIBRATION_NAME)
    judged.save(judge / CALIBRATION_NAME)
    return own, judged
