"""One training loop for every network: accelerate, a true EMA, checkpoints that resume exactly, validation, a log.

A task is an `nn.Module` that holds the network to train; its `forward(step, generator)` draws a batch and returns a
loss. Everything random in step *s* of process *r* comes from one generator seeded with (seed, s, r), so resuming needs
no data-loader state: a run that was killed and resumed equals one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from idgen import models
from idgen.errors import InputError
from idgen.weights import first_sentence

ORIGIN = "origin.json"
"""What a network was made from, see `train`; beside its weights."""

Network = TypeVar("Network", bound=ModelMixin)


@dataclass(kw_only=True)
class RunArgs:
    """How long, how fast and where a network trains; shared by all recipes."""

    out: Path
    """Folder of the run: `checkpoint/`, `log.jsonl`, `args.json` and, at the end, the network in `model/`."""
    steps: int = 4000
    """Optimiser steps."""
    batch_size: int = 128
    """Images a step and process."""
    lr: float = 1e-3
    """Peak learning rate."""
    warmup: int = 200
    """Steps of linear warm-up."""
    weight_decay: float = 0.05
    clip: float = 5.0
    """Largest norm of the gradient."""
    ema: float = 0.999
    """Decay of the exponential moving average; it starts lower, min(ema, (1 + n) / (10 + n))."""
    precision: str | None = None
    """`bf16` or `no` (float32); by default bf16 where the hardware computes in it."""
    seed: int = 0
    validate_every: int = 500
    """Steps between validations on held-out people."""
    checkpoint_minutes: float = 3.0
    decay: float = 1.0
    """Share of the steps, at the end, over which the rate falls to zero; 1 is one long cosine, less holds the peak
    first."""
    compile: bool = False
    """Use `torch.compile`: worth the wait for a transformer, not for a small convolutional network."""
    start: Path | None = None
    """Folder of a network of the same shape to start from; by default random weights."""
    resume: bool = True
    """Continue from `out/checkpoint` when there is one."""
    max_minutes: float | None = None
    """Stop (resumably) after this long."""
    size: int = 128
    """Side in pixels to which faces are resized before anything else; a multiple of 16."""
    device: str | None = None
    """`cpu` or `cuda`; by default the GPU where there is one."""

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.type in ("Path", "Path | None") and (value := getattr(self, item.name)) is not None:
                setattr(self, item.name, Path(value))
        for name in ("steps", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.size < 16 or self.size % 16:
            raise InputError(f"size is a multiple of 16, got {self.size}.")
        if self.seed < 0 or not 0 < self.lr < math.inf:
            raise InputError(f"seed must not be negative and lr be above 0, got {self.seed} and {self.lr}.")
        if self.device not in (None, "cpu", "cuda") or (self.device == "cuda" and not torch.cuda.is_available()):
            raise InputError(f"There is no device {self.device!r} here: give cpu, or cuda where there is a GPU.")
        if self.precision is None:
            self.precision = "bf16" if has_bf16(self.device) else "no"
        if self.precision not in ("bf16", "no"):
            raise InputError(f"precision is `bf16` or `no`, got {self.precision!r}.")


class Task(Protocol):
    """What the loop needs to know of a network's training. Implemented by an `nn.Module`."""

    network: ModelMixin
    """What is averaged, validated and exported. Other trained parts (class vectors) are the task's own parameters;
    frozen networks are kept in tuples, out of the task's state."""

    def __call__(self, step: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]: ...

    def optimizers(self) -> list[Optimizer]: ...

    def validate(self, network: ModelMixin, out: Path) -> dict[str, float]:
        """Figures on held-out people of the averaged network; pictures may be left in `out`."""


def digest(folder: Path) -> str:
    """Names the weights of a network that was trained before by their content."""
    return hashlib.sha256(trained_weights(folder).read_bytes()).hexdigest()[:16]


def trained_weights(folder: Path) -> Path:
    """The file of a network that was trained before; InputError where there is none."""
    file = Path(folder) / SAFETENSORS_WEIGHTS_NAME
    if not file.is_file():
        raise InputError(f"There is no trained network in {folder}: train it first, or name another folder.")
    return file


def frozen(folder: Path, kind: type[Network]) -> Network:
    """A network that was trained before and does not learn any more; see `load_network` and `trained_weights`."""
    return models.load(trained_weights(folder).parent, kind).requires_grad_(False)


def has_bf16(device: str | None = None) -> bool:
    """Whether a device computes in bfloat16; others imitate it, several times slower than float32.

    Args:
        device: `cpu` or `cuda`; by default the GPU where there is one.
    """
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    can = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(can.get("amx_bf16") or can.get("avx512_bf16"))


def schedule(step: int, args: RunArgs) -> float:
    """Share of the peak learning rate at a step: linear warm-up, a plateau, then half a cosine down to zero."""
    start = max(args.warmup, round(args.steps * (1 - args.decay)))
    if step < args.warmup:
        return (step + 1) / args.warmup
    if step < start:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - start) / max(1, args.steps - start)))


def step_seed(seed: int, step: int, rank: int) -> int:
    """One seed for each (run, step, process)."""
    from numpy.random import SeedSequence

    return int(SeedSequence([seed, step, rank]).generate_state(1, "uint64")[0] >> 1)


def _average(decay: float) -> Any:
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        n = float(count)
        share = 1 - min(decay, (1 + n) / (10 + n))
        for a, c in zip(averaged, current, strict=True):
            if torch.is_floating_point(a):
                a.lerp_(c.to(a.dtype), share)
            else:
                a.copy_(c)

    return update


def build(kind: type[Network], options: dict[str, Any], **given: Any) -> Network:
    """A network to train, with the user's `options`; InputError where they do not fit."""
    try:
        return kind(**{**given, **options})
    except (TypeError, ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        raise InputError(f"--model does not fit {kind.__name__}: {first_sentence(error)}.") from error


def train(task: Any, args: RunArgs, origin: dict[str, str] | None = None) -> dict[str, float]:
    """Train `task`, write checkpoints and at the end the averaged network.

    Args:
        task: see `Task`.
        args: how.
        origin: what the network is made from, by content: its data, frozen networks, and whatever else one that
            resumes must share. It lies beside the network as `origin.json`.

    Returns:
        The last validation; empty if there was nothing left to do.

    Raises:
        InputError: the checkpoint in `args.out` is damaged, or of another network or origin.
        FloatingPointError: the loss became NaN; the last checkpoint is from before.
    """
    accelerator = Accelerator(mixed_precision=args.precision, cpu=args.device == "cpu")
    if args.start is not None:
        _start(task.network, args.start)
    task.to(accelerator.device)
    average = AveragedModel(task.network, multi_avg_fn=_average(args.ema), use_buffers=True)
    average.module.requires_grad_(False).eval()
    if args.compile:
        task.network.compile()
    optimizers = task.optimizers()
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    model = accelerator.prepare_model(task)
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / "checkpoint"
    step = 0
    if args.resume and checkpoint.exists():
        step = _resume(checkpoint, task, average, optimizers, accelerator.device, origin)
    main = accelerator.is_main_process
    if main and step >= args.steps:
        print(f"{args.out} is at step {step} already: more --steps go on, --no-resume starts anew.", file=sys.stderr)
    if main:
        described = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(args).items()}
        (args.out / "args.json").write_text(json.dumps(described, indent=1))
    began, saved, metrics = time.monotonic(), time.monotonic(), {}
    logs: dict[str, float] = {}
    bar = tqdm(total=args.steps, initial=step, desc=args.out.name, unit="step", disable=not main, mininterval=5)
    while step < args.steps:
        generator = Generator().manual_seed(step_seed(args.seed, step, accelerator.process_index))
        torch.manual_seed(generator.initial_seed())  # dropout and whatever else draws from the global state
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * schedule(step, args)
        with accelerator.autocast():
            loss, values = model(step, generator)
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(task.parameters(), args.clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        average.update_parameters(task.network)
        step += 1
        seen = {name: float(value.detach()) for name, value in {"loss": loss, "norm": norm, **values}.items()}
        for name, number in seen.items():
            logs[name] = 0.98 * logs.get(name, number) + 0.02 * number
        if not math.isfinite(seen["loss"] + seen["norm"]):  # the norm is the same in all processes
            raise FloatingPointError(
                f"The loss became {seen['loss']}, its gradient {seen['norm']} long, at step {step}: lower --lr. The "
                "checkpoint is older."
            )
        bar.update()
        bar.set_postfix({k: f"{v:.4g}" for k, v in logs.items()}, refresh=False)
        due = args.max_minutes is not None and time.monotonic() - began > args.max_minutes * 60
        if args.max_minutes is not None and accelerator.num_processes > 1:  # all stop at once, or some wait for ever
            due = bool(accelerator.gather(torch.tensor([due], device=accelerator.device)).any())
        if main and (step % args.validate_every == 0 or step == args.steps):
            with torch.no_grad(), accelerator.autocast():
                metrics = task.validate(average.module, args.out)
            line = {"step": step, "seconds": round(time.monotonic() - began), **logs, **metrics}
            with (args.out / "log.jsonl").open("a") as file:
                file.write(json.dumps({k: round(v, 6) for k, v in line.items()}) + "\n")
            bar.write(json.dumps({k: round(v, 4) for k, v in line.items()}))
        if main and (due or step == args.steps or time.monotonic() - saved > args.checkpoint_minutes * 60):
            _save(checkpoint, step, task, average, optimizers, origin)
            export_atomically(average.module, args.out / "model", origin)
            saved = time.monotonic()
        if due:
            break
    bar.close()
    if main and step < args.steps:
        print(f"{args.out} stopped at step {step} of {args.steps}: the same command goes on.", file=sys.stderr)
    return metrics


def _start(network: ModelMixin, folder: Path) -> None:
    try:
        network.load_state_dict(load_file(folder / SAFETENSORS_WEIGHTS_NAME))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise InputError(f"The network in {folder} cannot be started from: {' '.join(str(error).split())}") from error


def _save(
    folder: Path,
    step: int,
    task: nn.Module,
    average: nn.Module,
    optimizers: list[Optimizer],
    origin: dict[str, str] | None,
) -> None:
    aside = folder.with_name(f"{folder.name}.{os.getpid()}")
    aside.mkdir(parents=True, exist_ok=True)
    state = {
        "step": step,
        "task": task.state_dict(),
        "average": average.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "origin": origin or {},
    }
    torch.save(state, aside / "state.pt")
    replace_folder(aside, folder)


def _resume(
    folder: Path,
    task: nn.Module,
    average: nn.Module,
    optimizers: list[Optimizer],
    device: Any,
    origin: dict[str, str] | None,
) -> int:
    try:
        state = torch.load(folder / "state.pt", map_location=device, weights_only=True)
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        raise InputError(f"{folder} cannot be read ({first_sentence(error)}): begin anew with --no-resume.") from error
    before = state.get("origin", {})
    if other := [name for name, value in (origin or {}).items() if before.get(name, value) != value]:
        raise InputError(
            f"{folder} was begun with another {' and another '.join(other)}: use another --out (--start "
            f"{folder.parent}/model goes on from its network), or --no-resume."
        )
    try:
        task.load_state_dict(state["task"])
        average.load_state_dict(state["average"])
    except RuntimeError as error:
        raise InputError(f"{folder} is of another network: use another --out, or --no-resume. ({error})") from error
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        initial = [(group["initial_lr"], group["weight_decay"]) for group in optimizer.param_groups]
        optimizer.load_state_dict(saved)
        for group, (lr, decay) in zip(optimizer.param_groups, initial, strict=True):
            group["initial_lr"] = lr  # a resumed run may be given another peak
            group["weight_decay"] = decay
    return int(state["step"])


def export_atomically(network: ModelMixin, folder: Path, origin: dict[str, str] | None = None) -> None:
    """`save_pretrained` into a folder beside, then swap: a reader never sees half a network."""
    aside = folder.with_name(f"{folder.name}.{os.getpid()}")
    network.save_pretrained(aside)
    (aside / ORIGIN).write_text(json.dumps(origin or {}, indent=1) + "\n")
    replace_folder(aside, folder)


def replace_folder(new: Path, old: Path) -> None:
    """Put `new` where `old` is."""
    gone = old.with_name(f"{old.name}.old")
    shutil.rmtree(gone, ignore_errors=True)
    if old.exists():
        old.rename(gone)
    new.rename(old)
    shutil.rmtree(gone, ignore_errors=True)
