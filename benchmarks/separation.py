"""Time and memory of keeping people apart: `python benchmarks/separation.py [-n 200000] [--engine torch|faiss]`.

Half of the vectors are drawn uniformly, half lie near one of the first half, so that about half of them have to go.
Peak memory is what the process's peak grew by after the vectors were there (Linux). The cost grows as n² · D: the time
for a million is extrapolated so.
"""

from __future__ import annotations

import json

import torch
from common import options, peak_gb, timed, use_cores

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


if __name__ == "__main__":
    args = options(__doc__, n=200_000, dim=512, cosine=0.5, engine="torch", threads=2)
    use_cores(args.threads)
    people = vectors(args.n, args.dim)
    (people[:4096] @ people[:4096].T).amax()  # the libraries' own start-up counts as before
    before = peak_gb()
    seconds, kept = timed(separate, people, args.cosine, engine=args.engine)
    figures = {"vectors": args.n, "dim": args.dim, "engine": args.engine, "threads": args.threads, "kept": len(kept)}
    figures |= {"seconds": round(seconds, 1), "peak_over_vectors_gb": round(peak_gb() - before, 3)}
    print(json.dumps(figures | {"seconds_for_a_million": round(seconds * (1e6 / args.n) ** 2)}))
