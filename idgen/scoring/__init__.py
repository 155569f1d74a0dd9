"""Is it the same person? Error rates, thresholds with their calibration, the bridge to a judge, and verdicts.

Where the threshold of a verdict is decided: `Scorer`, which asks the `Calibration` of the pictures' domain,
measured by `verification`.
"""

from idgen.scoring.bridge import Bridge
from idgen.scoring.calibration import BINS, Calibration, ErrorRates, Meaning, calibrations_of, explained, meaning
from idgen.scoring.score import OWN_PICTURES, Comparison, Score, verdicts
from idgen.scoring.verdict import Scorer

__all__ = [
    "BINS", "OWN_PICTURES", "Bridge", "Calibration", "Comparison", "ErrorRates", "Meaning", "Score", "Scorer",
    "calibrations_of", "explained", "meaning", "verdicts",
]  # fmt: skip
