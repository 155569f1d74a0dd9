"""Time of the evaluation after embedding: `python benchmarks/evaluation.py [--people 500] [--images 12]`.

Random vectors with the genuine and impostor cosines of a middling recogniser, through everything that `idgen evaluate`
computes from vectors: all pairs, figures, worst pairs, separability, diversity, leakage against as many training
people, FD, KID, precision, recall, six attributes, and both files.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from idgen.evaluation.evaluate import evaluate
from idgen.ground.vectors import save_vectors


def pictures(people: int, images: int, dim: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    generator = torch.Generator().manual_seed(seed)
    centres = normalize(torch.randn(people, dim, generator=generator))
    spread = torch.randn(people, images, dim, generator=generator) / dim**0.5
    return normalize((centres[:, None] + 1.2 * spread).flatten(0, 1)), np.repeat(np.arange(people), images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{name}.safetensors" for name in ("set", "training")]
        for seed, file in enumerate(files):
            save_vectors(file, *pictures(args.people, args.images, args.dim, seed), "benchmark")
        since, worked = time.perf_counter(), time.process_time()
        result = evaluate(files[0], Path(folder) / "out", training=files[1], progress=False)
        seconds, working = time.perf_counter() - since, time.process_time() - worked
    figures = {
        "pictures": result.pictures,
        "people": result.people,
        "pairs": result.main.result.genuine_pairs + result.main.result.impostor_pairs,
        "threads": args.threads,
        "seconds_after_embedding": round(result.seconds, 1),
        "seconds_with_reading_and_report": round(seconds, 1),
        "of_processor_time": round(working, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
