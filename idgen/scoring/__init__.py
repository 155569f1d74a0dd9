"""Is it the same person? Error rates, thresholds with their calibration, the bridge to a judge, and verdicts.

Where the threshold of a verdict is decided: `Scorer`, which asks a `Calibration`, measured by `verification`.
"""

from idgen.scoring.bridge import Bridge
from idgen.scoring.calibration import BINS, UNCALIBRATED, Calibration, ErrorRates
from idgen.scoring.verdict import Comparison, Score, Scorer

__all__ = ["BINS", "UNCALIBRATED", "Bridge", "Calibration", "Comparison", "ErrorRates", "Score", "Scorer"]
