"""What a training step costs beside its network and loss: ours ÷ a bare loop, on the same batches.

    python benchmarks/training.py [--architecture resnet] [--batch 64] [--steps 12]

The bare loop is forward, loss, backward and AdamW on pictures that lie ready; ours is the loop of `idgen train` on a
batch that lies ready, too: with the gradient's clipping, the average, the log, the schedule. Steps of both take turns,
and the ratio is of their medians. What making a batch takes (reading, augmenting) is printed beside it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import options, use_cores
from torch import Generator
from torch.optim import AdamW

from idgen.training.data import Faces
from idgen.training.loop import _Run
from idgen.training.mixture import Mixture, Part
from idgen.training.recognition import RecognizerArgs, RecognizerTask, cost

PEOPLE, PICTURES = 200, 4


def task(args: RecognizerArgs) -> RecognizerTask:
    """On pictures of noise."""
    images = np.random.default_rng(0).integers(0, 255, (PEOPLE * PICTURES, args.size, args.size, 3), np.uint8)
    who = np.repeat(np.arange(PEOPLE), PICTURES)
    faces = Faces(images, who)
    part = Part("noise", faces, np.arange(len(who)), who, who[:, None], np.ones((len(who), 1), np.float32))
    return RecognizerTask(args, Mixture([part]), faces)


def bare_step(network: Any, loss: Any, optimizer: AdamW, batch: Any, precision: str) -> None:
    pixels, targets, weights = batch
    pixels = (pixels * 2 - 1).contiguous(memory_format=torch.channels_last)
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=precision == "bf16"):
        embeddings = network(pixels)
    value = cost(loss, embeddings.float(), targets, weights)
    value.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    float(value.detach())


if __name__ == "__main__":
    given = options(__doc__, architecture="resnet", loss="cosface", batch=64, steps=12, cores=1, device="cpu")
    use_cores(given.cores)
    with tempfile.TemporaryDirectory() as folder:
        more: dict[str, Any] = {"architecture": given.architecture, "loss": given.loss, "batch_size": given.batch}
        args = RecognizerArgs(out=Path(folder), data=["noise"], device=given.device, steps=10**6, **more)
        ours, theirs = task(args), task(args)
        run = _Run(ours, args, {})
        theirs.to(run.device).network.train()
        optimizer = AdamW([*theirs.network.parameters(), *theirs.loss.parameters()], lr=args.lr, fused=True)
        began = time.perf_counter()
        batch = ours.batch(Generator().manual_seed(0))
        making = time.perf_counter() - began
        ours.batch = lambda generator: batch  # type: ignore[method-assign]
        seconds: dict[str, list[float]] = {"bare": [], "ours": []}
        for number in range(given.steps + 2):
            for name in seconds:
                since = time.perf_counter()
                if name == "ours":
                    run.advance()
                else:
                    bare_step(theirs.network, theirs.loss, optimizer, batch, str(args.precision))
                if number > 1:
                    seconds[name].append(time.perf_counter() - since)
        bare, whole = (statistics.median(each) for each in seconds.values())
        print(f"{given.architecture}, {given.loss}, batch {given.batch}, {args.precision}: bare {bare:.3f} s a step")
        print(f"ours ÷ bare {whole / bare:.3f}; making a batch took {making / bare:.2f} of a bare step")
