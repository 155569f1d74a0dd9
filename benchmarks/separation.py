"""Time and memory of keeping people apart: `python benchmarks/separation.py [-n 200000] [--engine torch|faiss]`.

Half of the vectors are drawn uniformly, half lie near one of the first half, so that about half of them have to go.
Peak memory is what the process's peak grew by after the vectors were there (Linux). The cost grows as n² · D: the time
for a million is extrapolated so.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import torch

from idgen.sampling.separation import separate


def vectors(n: int, dim: int) -> torch.Tensor:
    """(n, dim) float32, made in place."""
    generator = torch.Generator().manual_seed(0)
    out = torch.empty(n, dim)
    out.normal_(generator=generator)
    half = n // 2
    for start in range(half, n, 8192):
        rows = out[start : start + 8192]
        rows.mul_(0.5).add_(out[torch.randint(half, (len(rows),), generator=generator)])  # at cosine 0.89
    return out


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-n", type=int, default=200_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--cosine", type=float, default=0.5)
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    people = vectors(args.n, args.dim)
    (people[:4096] @ people[:4096].T).amax()  # the libraries' own start-up counts as before
    before, since = peak_gb(), time.perf_counter()
    kept = separate(people, args.cosine, engine=args.engine)
    seconds = time.perf_counter() - since
    figures = {
        "vectors": args.n,
        "dim": args.dim,
        "engine": args.engine,
        "threads": args.threads,
        "kept": len(kept),
        "seconds": round(seconds, 1),
        "peak_over_vectors_gb": round(peak_gb() - before, 3),
        "seconds_for_a_million": round(seconds * (1e6 / args.n) ** 2),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
