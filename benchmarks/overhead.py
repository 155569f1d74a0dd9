"""How long `idgen.generate` takes, how much of that inside the networks, and in how much memory.

    python benchmarks/overhead.py [--model nobody-128] [--images 8] [--repeats 5] [--threads 2]

Everything that makes a user's folder counts as wall time: denoising, decoding, scoring by encoder and judge, PNG files,
manifest, contact sheet. The networks' share is the time in which at least one of them was at work, taken with forward
hooks in the same runs, so that both clocks see the same load of the machine. Run it in a process of its own: the peak
of memory is the process's, from its start.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import options, peak_gb, use_cores
from torch import nn

from idgen.model import load_model
from idgen.painting import generate


class NetworkClock:
    """Wall time during which at least one network is at work: several may be, each in a thread of its own.

    Attributes:
        total: seconds in any network.
        seconds: seconds in each, by name.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._running: Counter[str] = Counter()
        self._changed = 0.0
        self._lock = threading.Lock()
        self._local = threading.local()

    @contextmanager
    def watch(self, networks: Mapping[str, nn.Module]) -> Iterator[NetworkClock]:
        """Hook the networks and their direct children: an autoencoder is entered by `decode`, not by `forward`."""
        handles = []
        for name, network in networks.items():
            for module in (network, *network.children()):
                handles.append(module.register_forward_pre_hook(self._hook(name, 1)))
                handles.append(module.register_forward_hook(self._hook(name, -1), always_call=True))
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str, step: int) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            before = getattr(self._local, "depth", 0)
            self._local.depth = before + step
            if min(before, before + step):
                return  # a call within a call of this thread changes nothing
            with self._lock:
                now = time.perf_counter()
                working = [other for other, running in self._running.items() if running]
                self.total += now - self._changed if working else 0
                for other in working:
                    self.seconds[other] += now - self._changed
                self._changed = now
                self._running[name] += step

        return hook


def measure(model_name: str, images: int, repeats: int) -> dict[str, Any]:
    """Time warm runs of `generate` for one sampled person on the CPU.

    Returns:
        `seconds` (median of the repeats), `fastest`, `slowest`, `cold_seconds` (loading the model and the first run),
        `network_share` of all warm runs together, `networks` (share of each), `peak_gb`.
    """
    started = time.perf_counter()
    model = load_model(model_name, device="cpu")
    parts = ("denoiser", "student", "autoencoder")
    networks = {name: part for name in parts if (part := getattr(model.pipeline, name, None)) is not None}
    networks |= {"encoder": model.encoder.recognizer, "judge": model.judge.recognizer.recognizer}
    clock, walls = NetworkClock(), []
    with tempfile.TemporaryDirectory(prefix="idgen-overhead-") as folder:
        for repeat in range(repeats + 1):
            person, since = model.sampler.sample(1, seed=repeat), time.perf_counter()
            with clock.watch(networks if repeat else {}):  # the first run is the warm-up
                generate(person, Path(folder) / str(repeat), images, model=model, progress=False)
            walls.append(time.perf_counter() - (since if repeat else started))
    cold, *walls = walls
    total = sum(walls)
    shares = {name: seconds / total for name, seconds in clock.seconds.items()}
    out = {"seconds": statistics.median(walls), "fastest": min(walls), "slowest": max(walls), "cold_seconds": cold}
    out |= {"network_share": clock.total / total, "networks": shares}
    return out | {"peak_gb": peak_gb(), "images": images, "repeats": repeats}


if __name__ == "__main__":
    args = options(__doc__, model="nobody-128", images=8, repeats=5, threads=2)
    use_cores(args.threads)
    print(json.dumps(measure(args.model, args.images, args.repeats)))
