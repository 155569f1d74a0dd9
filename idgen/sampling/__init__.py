"""People who do not exist, and variations of a person: vectors only."""

from idgen.sampling.boundary import Boundary
from idgen.sampling.interpolation import SoftLabel, interpolate, mixup, slerp
from idgen.sampling.packing import pack, packed
from idgen.sampling.sampler import IdentitySampler
from idgen.sampling.separation import nearest_other, separate
from idgen.sampling.variation import Cone, Gaussian, SimilarityCurve, Variation, cone, parse_variation, vary

__all__ = [
    "Boundary",
    "Cone",
    "Gaussian",
    "IdentitySampler",
    "SimilarityCurve",
    "SoftLabel",
    "Variation",
    "cone",
    "interpolate",
    "mixup",
    "nearest_other",
    "pack",
    "packed",
    "parse_variation",
    "separate",
    "slerp",
    "vary",
]
