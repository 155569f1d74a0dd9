"""What the buttons do, without the buttons: plain functions on an `idgen` model. No Gradio here.

Everything raises `InputError` with one sentence that a visitor can act on. What takes long is an iterator of snapshots,
the last of which is the result; closing it stops the work.
"""

from .explore import CROWD, NEIGHBOURS, POINT_IMAGES, SELF, VARIATIONS, Curve, Neighbour, Point, explore, nearest
from .files import identity_file, png, report, write
from .morph import MORPH, Morph, morph
from .painting import Progress, Result, generate
from .photos import Compared, Face, Found, compare, identify
from .recipe import MAX_SEED, MOST_GUIDANCE, MOST_IMAGES, MOST_STEPS, TRAITS, Recipe, sample, seed_of
from .scores import Line, reference
from .strip import GOES_WITH, STRIP, STRIPS, Strip, strip

__all__ = [
    "CROWD", "GOES_WITH", "MAX_SEED", "MORPH", "MOST_GUIDANCE", "MOST_IMAGES", "MOST_STEPS", "NEIGHBOURS",
    "POINT_IMAGES", "SELF", "STRIP", "STRIPS", "TRAITS", "VARIATIONS", "Compared", "Curve", "Face", "Found", "Line",
    "Morph", "Neighbour", "Point", "Progress", "Recipe", "Result", "Strip", "compare", "explore", "generate",
    "identify", "identity_file", "morph", "nearest", "png", "reference", "report", "sample", "seed_of", "strip",
    "write",
]  # fmt: skip
