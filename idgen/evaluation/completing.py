"""What a model needs beside its networks, from vectors of labelled people: bridge, calibrations and sampler."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from torch import Tensor

from idgen.ground import files
from idgen.ground.domain import RENDERED
from idgen.ground.identity import centres
from idgen.models import IdentityFlow
from idgen.sampling.fitting import fit_sampler
from idgen.sampling.sampler import IdentitySampler
from idgen.scoring.bridge import BRIDGE_NAME, Bridge
from idgen.scoring.calibration import CALIBRATION_NAME, Calibration, from_dict, to_dict, with_domain

NEAREST = "sampler-nearest.json"
"""How near a sampler comes to the people it was fitted on: for whoever fitted it, and left out by `push`."""


class Seen(NamedTuple):
    """Pictures of labelled people as two recognisers see them: (N, De) and (N, Dj) unit vectors, and labels (N,)."""

    by_encoder: Tensor
    by_judge: Tensor
    labels: NDArray[Any]

    def of(self, rows: NDArray[Any]) -> Seen:
        """Some of the pictures."""
        return Seen(self.by_encoder[rows], self.by_judge[rows], self.labels[rows])


@dataclass
class Parts:
    """What was fitted and measured.

    Args:
        bridge: from the encoder's space to the judge's.
        own, judged: calibrations of the encoder, and of the judge with the bridge.
        sampler: of people, or None where nobody asked for one.
        nearest: how near it comes to those it was fitted on, see `idgen.sampling.fitting.Fitted`; maybe empty.
    """

    bridge: Bridge
    own: Calibration
    judged: Calibration
    sampler: IdentitySampler | None
    nearest: dict[str, Any]

    def save(self, folder: str | Path) -> None:
        """Write them into a model's folder with `encoder/` and `judge/`: calibrations beside those of other domains."""
        folder = Path(folder)
        for part, new in (("encoder", self.own), ("judge", self.judged)):
            file = folder / part / CALIBRATION_NAME
            before = from_dict(files.read_json(file)) if file.is_file() else []
            files.write_json(file, to_dict(with_domain([one for one in before if one.space == new.space], new)))
        self.bridge.save(folder / "judge" / BRIDGE_NAME)
        if self.sampler is not None:
            self.sampler.save_pretrained(folder / "sampler")
        if self.nearest:
            files.write_json(folder / NEAREST, self.nearest)


def fit_parts(
    spaces: tuple[str, str],
    fit: Seen,
    measured: Seen,
    data: str,
    domain: str = RENDERED,
    *,
    unseen: Seen | None = None,
    crowd: Seen | None = None,
    components: int | None = None,
    flow: IdentityFlow | None = None,
) -> Parts:
    """Fit and measure all that.

    Args:
        spaces: names of the encoder's and of the judge's.
        fit: people that the bridge is fitted on.
        measured: people that neither recogniser has seen, for the calibrations.
        data: where these pictures come from, in words.
        domain: what kind of pictures they are.
        unseen: those of them that the bridge has not seen; by default all.
        crowd: people that the sampler is fitted on; without any there is none.
        components, flow: of the sampler, where they are known: of people who do not exist, whose vectors it keeps. By
            default they are fitted, and vectors are kept of rendered people only.

    Raises:
        InputError: there are too few people or pictures, or the vectors are broken.
    """
    bridge = Bridge.fit(centres(fit.by_encoder, fit.labels), centres(fit.by_judge, fit.labels), spaces[0], spaces[1])
    own = Calibration.measure(spaces[0], measured.by_encoder, measured.labels, data, domain)
    judged = Calibration.measure(spaces[1], measured.by_judge, measured.labels, data, domain)
    judged = judged.measure_bridge(bridge, *(measured if unseen is None else unseen))
    sampler, nearest = None, {}
    if crowd is not None:
        people = centres(crowd.by_encoder, crowd.labels)
        if flow is not None:
            sampler = IdentitySampler.fit(people, spaces[0], components, flow=flow)
        else:
            fitted = fit_sampler(people, spaces[0], domain == RENDERED)
            sampler, nearest = fitted.sampler, fitted.nearest
    return Parts(bridge, own, judged, sampler, nearest)
