"""Whether the pictures of a set are cut out as ArcFace has them, as far as it can be told."""

from __future__ import annotations

import numpy as np
from PIL import Image

from idgen.faces.align import template
from idgen.faces.finder import FaceFinder
from idgen.ground import hub
from idgen.ground.errors import InputError
from idgen.models import load
from idgen.models.finder import FaceFinderNet
from idgen.training.data import Faces

LOOKED_AT = 8
"""Pictures in which faces are looked for."""
FARTHEST = 0.08
"""Share of the side by which the landmarks of a set may be off, in the middle of its pictures."""


def check_aligned(faces: Faces, name: str) -> None:
    """Raise InputError where most pictures show a face that is not where an aligned one is: by the set's landmarks, or
    else by those that the built-in finder sees in some of them. Where it sees no face, nobody can say."""
    side = faces.images.shape[1]
    told = faces.columns.get("landmarks")
    if told is not None and told.shape[1:] == (5, 2):
        seen = [np.asarray(points, float) for points in told[: 50 * LOOKED_AT]]
    else:
        finder = FaceFinder(load(hub.BUILTIN / hub.DEFAULT_MODEL / "encoder" / "finder", FaceFinderNet))
        rows = np.linspace(0, len(faces) - 1, min(LOOKED_AT, len(faces))).astype(int)
        found = [finder.upright(Image.fromarray(faces.images[row])) for row in rows]
        seen = [each[0].landmarks for each in found if each]
        if len(seen) < len(rows) / 2:
            return
    off = float(np.median([np.linalg.norm(points - template(side), axis=1).mean() for points in seen])) / side
    if off > FARTHEST:
        raise InputError(
            f"The faces of {name} are not aligned: their eyes, nose and mouth are {off:.0%} of the side away from "
            "where ArcFace has them; cut them out first, as `FaceEncoder.detect_and_align` does."
        )
