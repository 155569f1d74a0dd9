"""What is on the two sides of a person's identity boundary: `python benchmarks/boundary.py [--people 1] [--steps 4]`.

For every person the boundary's accuracy, and for each reach, below 0 on the other side, the judge's mean cosine of the
pictures to the person, and of the pictures to one another.
"""

from __future__ import annotations

import json

import torch
from common import options

from idgen.model import load_model
from idgen.sampling.variation import Along, vary
from idgen.similarity import boundaries, embed_pictures, keeping

if __name__ == "__main__":
    args = options(__doc__, model="nobody-128", device=None, people=1, images=8, steps=4, seed=1)
    model = load_model(args.model, args.device)
    crowd, boundary = model.sampler.sample(args.people, args.seed), boundaries(model, args.steps)
    for person in crowd:
        print(json.dumps({"person": person.name, "accuracy": round(boundary(person.vector).accuracy, 3)}), flush=True)
        kept = keeping(model.pipeline, person.vector.expand(args.images, -1))
        for reach in (0.5, -0.5, -4.0):
            people = vary(type(crowd).of([person]), Along(reach, boundary), args.images, args.seed)
            first = list(range(args.images))
            made = model.pipeline.iterate(people, 1, first=first, num_inference_steps=args.steps, **kept)
            seen = embed_pictures(model, model.judge.recognizer, [item.image for item in made])
            seen = seen[seen[:, 0].isfinite()]
            to_them = float((seen @ model.judge.bridge(person.vector)).mean())
            pairs = torch.ones(len(seen), len(seen)).triu(1).bool()
            line = {"reach": reach, "to the person": to_them, "to one another": float((seen @ seen.T)[pairs].mean())}
            print(json.dumps({name: round(value, 2) for name, value in line.items()}), flush=True)
