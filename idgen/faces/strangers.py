"""Photos that are to be averaged into one person, and may not show one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn.functional import normalize

from idgen.ground.arguments import FMR
from idgen.ground.domain import RENDERED


def measured_on(calibration: dict[str, Any] | None, kinds: Sequence[str]) -> dict[str, Any] | None:
    """Of what an encoder's calibration.json says, what was measured on pictures of these domains; None for nothing."""
    known = [] if calibration is None else calibration.get("calibrations", [calibration])
    return next((one for one in known if {one.get("domain", RENDERED)} == set(kinds)), None)


def seen_by(calibrations: Sequence[dict[str, Any] | None], kinds: Sequence[str]) -> int:
    """Which of several recognisers, of these calibrations, is to say whether photos of these domains show one person:
    the first that was measured on such pictures, else the first."""
    return next((at for at, each in enumerate(calibrations) if measured_on(each, kinds) is not None), 0)


def strangers(vectors: Tensor, names: Sequence[str], space: str, calibration: dict[str, Any] | None) -> str:
    """Which of some photos may not show the same person as the others, in a sentence; "" for none.

    Each photo is compared with the mean of the others, and has to reach the cosine that one in 1,000 comparisons of
    different people reaches. Where that was not measured, the least alike one is named.

    Args:
        vectors: (N, D) unit vectors of the photos, by the encoder of `space`.
        names: N of them.
        calibration: what was measured on such pictures, see `measured_on`, or None.
    """
    if len(vectors) < 2:
        return ""
    pair = len(vectors) == 2
    cosines = (vectors * normalize(vectors.sum(0) - vectors, dim=1)).sum(1).tolist()
    worst = min(range(len(names)), key=cosines.__getitem__)
    told = calibration or {}
    kind = told.get("kinds", {}).get("image-image" if pair else "image-mean", {})
    threshold = kind.get("thresholds", {}).get(f"{FMR:g}")
    to = "each other" if pair else "the mean of the others"
    if threshold is None:
        least = f"{' and '.join(names)} have" if pair else f"{names[worst]} is the least alike of the photos, with"
        return (
            f"{least} the cosine {cosines[worst]:.2f} to {to}. From where on that is one person was not measured for "
            f"{space!r}: see for yourself."
        )
    low = [name for name, cosine in zip(names, cosines, strict=True) if cosine < threshold]
    if not low:
        return ""
    who, what = (" and ".join(names), "two people") if pair else (", ".join(low), "somebody else than the others")
    return (
        f"{who} may show {what}: the cosine to {to} is {cosines[worst]:.2f}, and {threshold:.2f} or more counts as one "
        f"person (measured on {told.get('data', 'other faces')}). The mean of two people is neither: leave out what is "
        "wrong."
    )
