"""Time of the evaluation after embedding: `python benchmarks/evaluation.py [--people 500] [--images 12]`.

Random vectors with the genuine and impostor cosines of a middling recogniser, through everything that `idgen evaluate`
computes from vectors: all pairs, figures, worst pairs, separability, diversity, leakage against as many training
people, FD, KID, precision, recall, six attributes, and both files.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from common import options, peak_gb, timed, use_cores
from torch.nn.functional import normalize

from idgen.evaluation.evaluate import evaluate
from idgen.ground.vectors import save_vectors


def pictures(people: int, images: int, dim: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    generator = torch.Generator().manual_seed(seed)
    centres = normalize(torch.randn(people, dim, generator=generator))
    spread = torch.randn(people, images, dim, generator=generator) / dim**0.5
    return normalize((centres[:, None] + 1.2 * spread).flatten(0, 1)), np.repeat(np.arange(people), images)


if __name__ == "__main__":
    args = options(__doc__, people=500, images=12, dim=512, threads=2)
    use_cores(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.safetensors" for name in ("set", "training")]
        for seed, file in enumerate(files):
            save_vectors(file, *pictures(args.people, args.images, args.dim, seed), "benchmark")
        worked = time.process_time()
        seconds, result = timed(evaluate, files[0], f"{folder}/out", training=files[1], progress=False)
    worked = time.process_time() - worked
    pairs = result.main.result.genuine_pairs + result.main.result.impostor_pairs
    figures = {"pictures": result.pictures, "people": result.people, "pairs": pairs, "threads": args.threads}
    took = {"after_embedding": result.seconds, "with_reading_and_report": seconds}
    figures |= {f"seconds_{name}": round(value, 1) for name, value in took.items()}
    print(json.dumps(figures | {"of_processor_time": round(worked, 1), "peak_gb": round(peak_gb(), 2)}))
