"""One training loop for every network: a true EMA, checkpoints that resume exactly, validation, a log.

Everything random in step *s* of process *r* comes from one generator seeded with (seed, s, r), so resuming needs no
data-loader state: a run that was killed and resumed equals one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from diffusers.models.modeling_utils import ModelMixin
from numpy.random import SeedSequence
from torch import Generator, nn
from torch.optim import AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

from idgen import models
from idgen.ground import arguments, devices, files
from idgen.ground.errors import InputError
from idgen.ground.weights import check_fit, first_sentence, read_shards, variant_in, weight_files
from idgen.training.averaging import average
from idgen.training.curve import draw_curve

ORIGIN = "origin.json"
"""What a network was made from, see `train`; beside its weights."""
BEST = "best.json"
"""When the best network so far was that, and how good; beside its weights."""

SETTLED = 100
"""Steps after the warm-up at which the running loss has forgotten how it began."""

Network = TypeVar("Network", bound=ModelMixin)


@dataclass(kw_only=True)
class RunArgs:
    """How long, how fast and where a network trains; shared by all recipes."""

    out: Path
    """Folder of the run: `checkpoint/`, `log.jsonl`, `curve.svg`, `args.json` and, at the end, the network in `model/`;
    of a recogniser also the best one so far, in `best/`."""
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
    drops: list[float] = field(default_factory=list)
    """Shares of the steps after each of which the rate is a tenth, such as [0.55, 0.75, 0.875], in place of `decay`."""
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
        for name in ("steps", "batch_size", "validate_every"):
            arguments.whole(name, getattr(self, name), 1)
        if self.size < 16 or self.size % 16:
            raise InputError(f"The size is a multiple of 16, got {self.size}.")
        arguments.seed(self.seed)
        for drop in self.drops:
            arguments.number("share of the steps (drops)", drop, 0, 1)
        if not 0 < self.lr < math.inf:
            raise InputError(f"The learning rate lr is above 0, got {self.lr}.")
        if self.device is not None:
            devices.device(self.device)
        if self.precision is None:
            self.precision = "bf16" if has_bf16(self.device) else "no"
        if self.precision not in ("bf16", "no"):
            raise InputError(f"The precision is `bf16` or `no`, got {self.precision!r}.")


@dataclass(kw_only=True)
class FacesArgs(RunArgs):
    """What every network needs that learns from labelled, aligned faces."""

    data: Path
    """Parquet file or folder, or a folder with one sub-folder a person."""
    held_out_people: int | None = None
    """The last people of `data`, kept for validation; by default a tenth of them, at most 300 (generator: 100)."""
    model: dict[str, Any] = field(default_factory=dict)
    """Arguments of the network."""


class Task(nn.Module):
    """What the loop trains: `forward(step, generator)` draws a batch and returns a loss and further figures to log;
    `validate(network, out)` returns figures of the averaged network on people it does not learn from, may leave
    pictures in `out`, and raises FloatingPointError where the network is broken.

    `network` is what is averaged, validated and exported. Other trained parts (class vectors) are the task's own
    parameters; frozen networks are kept in tuples, out of the task's state.
    """

    args: RunArgs
    network: Any
    betas = (0.9, 0.99)
    hopeless = math.inf
    """A running loss above which the training has diverged, after its warm-up."""

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def optimizers(self) -> list[Optimizer]:
        """What moves the parameters; one AdamW for all, unless a task knows better."""
        a = self.args
        return [AdamW(self.network.parameters(), a.lr, self.betas, weight_decay=a.weight_decay, fused=True)]

    def goodness(self, metrics: dict[str, float]) -> tuple[float, ...] | None:
        """Of a validation, larger for a better network; None where the last one counts as the best."""
        return None

    def kept(self, step: int) -> str | None:
        """The folder in the run's that the averaged network is kept in after so many steps, if it is."""
        return None


def digest(folder: Path) -> str:
    """Names the weights of a network that was trained before by their content."""
    content = hashlib.sha256()
    for file in trained_weights(folder):
        content.update(file.read_bytes())
    return content.hexdigest()[:16]


def trained_weights(folder: Path) -> list[Path]:
    """The files of a network that was trained before; InputError where there is none."""
    folder = Path(folder)
    try:
        return weight_files(folder, variant_in(folder))
    except InputError as error:
        lost = f"There is no trained network in {folder}: train it first, or name another folder."
        raise InputError(lost) from error


def frozen(folder: Path, kind: type[Network]) -> Network:
    """A network that was trained before and does not learn any more; see `models.load` and `trained_weights`."""
    trained_weights(folder)
    return models.load(folder, kind).requires_grad_(False)


def build(kind: type[Network], options: dict[str, Any], **given: Any) -> Network:
    """A network to train, with the user's `options`; InputError where they do not fit."""
    try:
        return kind(**{**given, **options})
    except (TypeError, ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        raise InputError(f"--model does not fit {kind.__name__}: {first_sentence(error)}.") from error


def has_bf16(device: str | None = None) -> bool:
    """Whether a device, by default the GPU where there is one, computes in bfloat16; others imitate it, several times
    slower than float32."""
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    can = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(can.get("amx_bf16") or can.get("avx512_bf16"))


def schedule(step: int, args: RunArgs) -> float:
    """Share of the peak learning rate at a step: linear warm-up, a plateau, then half a cosine down to zero, or tenths
    of it step by step."""
    start = max(args.warmup, round(args.steps * (1 - args.decay)))
    if step < args.warmup:
        return (step + 1) / args.warmup
    if args.drops:
        return 0.1 ** sum(step >= round(drop * args.steps) for drop in args.drops)
    return 0.5 * (1 + math.cos(math.pi * max(0, step - start) / max(1, args.steps - start)))


def step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of a step's generator: one for each (seed of the run, step, process)."""
    return int(SeedSequence([seed, step, rank]).generate_state(1, "uint64")[0] >> 1)


def train(task: Any, args: RunArgs, origin: dict[str, str] | None = None) -> dict[str, float]:
    """Train a `Task`, write checkpoints and at the end the averaged network.

    Args:
        task, args: what and how.
        origin: what the network is made from, by content: its data, frozen networks, and whatever else one that
            resumes must share. It lies beside the network as `origin.json`.

    Returns:
        The last validation; empty if there was nothing left to do.

    Raises:
        InputError: the checkpoint in `args.out` is damaged, or of another network or origin; or the processes see
            different data.
        FloatingPointError: the loss became NaN, or the training diverged; the last weights that are kept are good.
    """
    run = _Run(task, args, origin or {})
    if run.is_main:
        if run.step >= args.steps:
            print(f"{args.out} is at step {run.step} already: more --steps go on, --no-resume anew.", file=sys.stderr)
        described = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(args).items()}
        files.write_json(args.out / "args.json", described)
    began = saved = time.monotonic()
    due, logs, metrics = False, dict[str, float](), dict[str, float]()
    bar = tqdm(
        total=args.steps, initial=run.step, desc=args.out.name, unit="step", disable=not run.is_main, mininterval=5
    )
    with bar:
        while run.step < args.steps and not due:
            for name, number in run.advance().items():
                logs[name] = 0.98 * logs.get(name, number) + 0.02 * number
            if logs["loss"] > run.hopeless and run.step > args.warmup + SETTLED:
                raise run.broken(f"The loss is {logs['loss']:.3g} at step {run.step}, more than guessing costs")
            bar.update()
            bar.set_postfix({name: f"{number:.4g}" for name, number in logs.items()}, refresh=False)
            due = run.any_process(args.max_minutes is not None and time.monotonic() - began > args.max_minutes * 60)
            if not run.is_main:
                continue
            if run.step % args.validate_every == 0 or run.step == args.steps:
                metrics = run.validate()
                line = {"step": run.step, "seconds": round(time.monotonic() - began), **logs, **metrics}
                with (args.out / "log.jsonl").open("a") as file:
                    file.write(json.dumps({name: round(value, 6) for name, value in line.items()}) + "\n")
                bar.write(json.dumps({name: round(value, 4) for name, value in line.items()}))
                draw_curve(args.out)
            if hasattr(task, "kept") and (folder := task.kept(run.step)) is not None:
                run.save_network(args.out / folder)
            if due or run.step == args.steps or time.monotonic() - saved > args.checkpoint_minutes * 60:
                run.save()
                saved = time.monotonic()
    if run.is_main and run.step < args.steps:
        print(f"{args.out} stopped at step {run.step} of {args.steps}: the same command goes on.", file=sys.stderr)
    return metrics


class _Run:
    """A task on its way: its averaged network, its optimisers and the step, which a checkpoint holds."""

    def __init__(self, task: Any, args: RunArgs, origin: dict[str, str]):
        self.task, self.args, self.origin, self.step = task, args, origin, 0
        # Accelerate finds the processes and joins their gradients. Its precision and device are settled once a Python
        # process, so both are chosen here instead.
        self.accelerator = Accelerator(mixed_precision="no", device_placement=False)
        alone = self.accelerator.num_processes == 1
        self.device = torch.device(args.device) if args.device and alone else self.accelerator.device
        self.is_main = self.accelerator.is_main_process
        if not alone and len(set(gather_object([json.dumps(origin, sort_keys=True)]))) > 1:
            raise InputError("The processes of this training see different data: give all the same files and options.")
        self.hopeless = getattr(task, "hopeless", math.inf)
        self.best = args.out / "best"
        if args.start is not None:
            started = trained_weights(args.start)
            tensors = read_shards(started, "network to start from", "another training")
            check_fit(task.network.state_dict(), tensors, started[0], type(task.network).__name__)
            task.network.load_state_dict(tensors)
        task.to(self.device)
        self.average: Any = AveragedModel(task.network, multi_avg_fn=average(args.ema), use_buffers=True)
        self.average.module.requires_grad_(False).eval()
        if args.compile:
            task.network.compile()
        self.optimizers: list[Optimizer] = task.optimizers()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
        self.model = self.accelerator.prepare_model(task)
        args.out.mkdir(parents=True, exist_ok=True)
        self.checkpoint = args.out / "checkpoint"
        if args.resume and self.checkpoint.exists():
            self._resume()
        elif self.is_main:
            files.remove(self.best)

    def autocast(self) -> torch.autocast:
        """The precision of the networks' passes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.args.precision == "bf16")

    def advance(self) -> dict[str, float]:
        """One step; its loss, the gradient's norm, and what the task logs."""
        generator = Generator().manual_seed(step_seed(self.args.seed, self.step, self.accelerator.process_index))
        torch.manual_seed(generator.initial_seed())  # dropout and whatever else draws from the global state
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * schedule(self.step, self.args)
        with self.autocast():
            loss, values = self.model(self.step, generator)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.task.parameters(), self.args.clip)
        figures = {"loss": loss, "norm": norm, **values}  # read together: a GPU is waited for once
        seen = dict(
            zip(figures, torch.stack([value.detach().float() for value in figures.values()]).tolist(), strict=True)
        )
        if not math.isfinite(seen["loss"] + seen["norm"]):  # the norm is the same in all processes
            raise self.broken(f"The loss became {seen['loss']}, its gradient {seen['norm']} long, at step {self.step}")
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.average.update_parameters(self.task.network)
        self.step += 1
        return seen

    def broken(self, what: str) -> FloatingPointError:
        """The error of a training that went wrong, which says where its last good weights are."""
        kept = [folder for folder in (self.best, self.args.out / "model") if folder.is_dir()]
        where = f"the last good weights are in {kept[0]}" if kept else "no weights were kept before"
        return FloatingPointError(f"{what}: {where}; lower --lr. The checkpoint is older.")

    def any_process(self, due: bool) -> bool:
        """Whether a process has come to its end: all stop at once, or some wait for ever."""
        if self.args.max_minutes is None or self.accelerator.num_processes == 1:
            return due
        return bool(self.accelerator.gather(torch.tensor([due], device=self.device)).any())

    def validate(self) -> dict[str, float]:
        try:
            with torch.no_grad(), self.autocast():
                metrics: dict[str, float] = self.task.validate(self.average.module, self.args.out)
        except FloatingPointError as error:
            raise self.broken(f"{error} at step {self.step}") from error
        goodness = self.task.goodness(metrics) if hasattr(self.task, "goodness") else None
        if goodness is not None and goodness > self._best_so_far():
            self.save_network(self.best, {"step": self.step, "goodness": list(goodness), **metrics})
        return metrics

    def _best_so_far(self) -> tuple[float, ...]:
        file = self.best / BEST
        return tuple(files.read_json(file)["goodness"]) if file.is_file() else ()

    def save(self) -> None:
        """The checkpoint, and the averaged network as it is."""
        state = {"step": self.step, "origin": self.origin, "task": self.task.state_dict()}
        state["average"] = self.average.state_dict()
        state["optimizers"] = [optimizer.state_dict() for optimizer in self.optimizers]
        with files.aside(self.checkpoint) as beside:
            beside.mkdir()
            torch.save(state, beside / "state.pt")
        self.save_network(self.args.out / "model")

    def save_network(self, folder: Path, about: dict[str, Any] | None = None) -> None:
        """The averaged network as it is, with what is to be said of it."""
        with files.aside(folder) as beside:
            self.average.module.save_pretrained(beside)
            files.write_json(beside / ORIGIN, self.origin)
            if about is not None:
                files.write_json(beside / BEST, about)

    def _resume(self) -> None:
        folder = self.checkpoint
        try:
            state = torch.load(folder / "state.pt", map_location=self.device, weights_only=True)
        except Exception as error:  # what a damaged file raises depends on where it is damaged
            why = first_sentence(error)
            raise InputError(f"{folder} cannot be read ({why}): begin anew with --no-resume.") from error
        before = state.get("origin", {})
        if other := [name for name, value in self.origin.items() if before.get(name, value) != value]:
            raise InputError(
                f"{folder} was begun with another {' and another '.join(other)}: use another --out (--start "
                f"{folder.parent}/model goes on from its network), or --no-resume."
            )
        try:
            self.task.load_state_dict(state["task"])
            self.average.load_state_dict(state["average"])
        except RuntimeError as error:
            raise InputError(f"{folder} is of another network: use another --out, or --no-resume.") from error
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            given = [(group["initial_lr"], group["weight_decay"]) for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, (lr, decay) in zip(optimizer.param_groups, given, strict=True):
                group["initial_lr"], group["weight_decay"] = lr, decay  # a resumed run may be given others
        self.step = int(state["step"])
