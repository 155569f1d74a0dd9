"""Is it the same person? Error rates, thresholds with their calibration, the bridge to a judge, and verdicts."""

from idgen.scoring.bridge import Bridge, fit_bridge
from idgen.scoring.calibration import BINS, EDGES, UNCALIBRATED, Calibration, ErrorRates
from idgen.scoring.scorer import Comparison, Score, Scorer

__all__ = [
    "BINS",
    "EDGES",
    "UNCALIBRATED",
    "Bridge",
    "Calibration",
    "Comparison",
    "ErrorRates",
    "Score",
    "Scorer",
    "fit_bridge",
]
