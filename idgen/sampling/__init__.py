"""People who do not exist, and variations of a person: vectors only."""

from idgen.sampling.sampler import IdentitySampler
from idgen.sampling.variation import cone

__all__ = ["IdentitySampler", "cone"]
