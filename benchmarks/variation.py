"""Does the measured similarity of a model's pictures meet the target? `python benchmarks/variation.py [--images 4]`.

Measures (or reads) the model's similarity curve, then, on *other* people, the mean similarity of pictures at targets
low + m · (high − low) for m in {.4, .5, .6, .7} of its reachable range.
"""

from __future__ import annotations

import json

from common import options

from idgen.model import load_model
from idgen.similarity import similarities, similarity_curve

if __name__ == "__main__":
    args = options(__doc__, model="nobody-128", device=None, people=100, images=4)
    model = load_model(args.model, args.device)
    curve = similarity_curve(model)
    low, high = curve.similarities[0], curve.similarities[-1]
    crowd = model.sampler.sample(args.people, 4242)
    for m in (0.4, 0.5, 0.6, 0.7):
        wanted = low + m * (high - low)
        found = similarities(model, crowd, curve.variation(wanted), args.images, 4242)
        # Pictures of one person hang together, so the error of the mean comes from people.
        error = found.reshape(args.people, -1).mean(1).std(ddof=1) / args.people**0.5
        line = {"m": m, "wanted": wanted, "measured": found.mean(), "off": found.mean() - wanted, "error": error}
        print(json.dumps({name: round(float(value), 4) for name, value in line.items()}), flush=True)
