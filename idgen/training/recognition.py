"""Train a recogniser, or the judge: another architecture and another loss by recipe, the same code."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate, normalize, smooth_l1_loss
from torch.optim import SGD, AdamW, Optimizer

from idgen.ground import arguments
from idgen.ground.errors import InputError
from idgen.models.adapted import adapted, usual_detail
from idgen.scoring import verification
from idgen.training import architectures, losses, views
from idgen.training.curve import LOG
from idgen.training.data import Faces
from idgen.training.embedding import embed
from idgen.training.loop import RunArgs, Task, digest, frozen, step_seed, train
from idgen.training.losses.partial_fc import LazyAdam, PartialFC
from idgen.training.losses.usynthface import TwoViews
from idgen.training.mixture import Mixture, load_mixture
from idgen.training.person import PersonHead
from idgen.training.symmetry import Symmetry
from idgen.training.teacher import SNAPSHOTS, Teacher
from idgen.training.trial import Test, load_test, measure

_ALL = 2**20  # in place of a process's number: what all processes draw alike
_DIVERGED = 1.5  # times what guessing costs


@dataclass(kw_only=True)
class RecognizerArgs(RunArgs):
    """Train a recogniser on labelled, aligned faces."""

    data: list[str]
    """A labelled set, see `idgen evaluate`; or several, each after its own --data: PATH, or PATH:SHARE of every batch.
    People of two sets are different people."""
    people: int | None = None
    """Of every set, the first so many people."""
    pictures: int | None = None
    """Of every person, the first so many pictures."""
    held_out_people: int | None = None
    """The last people of every set, kept for validation; by default a tenth of them, at most 300 together."""
    soft_labels: bool = False
    """Pictures are of those whom the sets' column soft_label names, each by its share (identity mixup)."""
    domain_mixup: bool = False
    """Every picture is a mixture of one of the first set and one of the second (SynFace)."""
    pretrain: list[str] = field(default_factory=list)
    """Sets to learn from first, as --data: generated people, before the few real ones."""
    pretrain_share: float = 0.5
    """Share of the steps that is spent on them."""
    finetune_lr: float = 0.3
    """Factor on the learning rate after them."""
    test: list[str] = field(default_factory=list)
    """Labelled sets and .bin files that are measured at every validation; they choose nothing."""
    architecture: str = "resnet"
    """resnet, plain, iresnet18, iresnet34, iresnet50, iresnet100; pocketnet_s128, _s256, _m128 or _m256."""
    model: dict[str, Any] = field(default_factory=dict)
    """Arguments of the network."""
    loss: str = "cosface"
    """cosface, arcface, adaface, elastic_cos, elastic_arc, proxy_anchor, triplet or multibatch; usynthface, without
    labels."""
    margin: float | None = None
    """By default as published; in cosine, or radians for arcface and elastic_arc."""
    scale: float | None = None
    """Of the cosines; by default 32, and 1/0.07 for usynthface."""
    margin_warmup: float = 0.33
    """Share of the steps over which the margin grows from 0: a small network does not start with the full one."""
    sampled: float = 1.0
    """Share of the people with whom a step compares (partial FC), for very many."""
    queue: int = 32_768
    """Of usynthface: pictures of others to compare with, few against the set's, many against a batch's."""
    teacher: Path | None = None
    """Folder of a trained network whose vectors are learned, too; or a run's snapshots/, each for its part of the
    steps."""
    teacher_weight: float = 1.0
    """Of the mean 1 - cosine to the teacher's vectors, beside the loss; PocketNet's is 200 / the vectors' length."""
    snapshots: int = 0
    """Networks to keep in snapshots/, evenly over the steps: teachers as far as their students are."""
    adapt: Path | None = None
    """Folder of a trained network that stays as it is, with small adapters that learn beside its layers (LoRA), weighed
    by how much detail a picture has: for low resolution (PETALface). In place of architecture and model."""
    rank: int = 8
    """Channels of an adapter."""
    symmetry: float = 0.0
    """Weight of 1 - cosine between the two halves of frontal faces, each completed by its mirror image (SymFace)."""
    person_weight: float = 0.0
    """Of the error with which gender, age, skin tone and ancestry can be read off a vector by one linear layer, where
    the sets tell them: for people to be chosen by them. Not with domain_mixup, as a mixture is like neither person."""
    a_person: int | None = None
    """Pictures of a person in a batch; by default 1, triplet 4, multibatch 16, usynthface 2: its views."""
    optimizer: str = "adamw"
    """adamw, or sgd with a momentum of 0.9."""
    augment: dict[str, Any] = field(default_factory=dict)
    """Strengths of the augmentations, such as {jpeg: 0, randaugment: 1}: 1 is usual, 0 off; usual: 0 leaves only those
    that are named. flip, affine, colour, grey, background, occlude, low_resolution, blur, noise, jpeg; and crop, erase,
    randaugment, which are off unless named."""
    colour: float = 0.7
    """Factor on the strength of the colour augmentation."""
    often: float = 1.0
    """Factor on how often images are augmented; resuming with less at the end of a training brings it closer to the
    pictures that it is measured on (Touvron et al. 2019), at the cost of some robustness."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("data", "pretrain", "test"):
            value = getattr(self, name)
            setattr(self, name, [str(one) for one in ([value] if isinstance(value, (str, Path)) else value)])
        for name in ("people", "pictures", "a_person"):
            if getattr(self, name) is not None:
                arguments.whole(name, getattr(self, name), 1)
        arguments.number("weight of left and right (symmetry)", self.symmetry, 0, 100)
        arguments.number("weight of what people are like (person_weight)", self.person_weight, 0, 100)
        arguments.whole("rank of the adapters", self.rank, 1, 512)
        if self.adapt is not None and (self.start is not None or self.pretrain):
            raise InputError("A network that is adapted stays as it is: leave --start and --pretrain out.")
        arguments.number("share of the steps for pre-training (pretrain_share)", self.pretrain_share, 0.01, 0.99)
        if self.optimizer not in ("adamw", "sgd"):
            raise InputError(f"The optimizer is adamw or sgd, got {self.optimizer!r}.")
        views.strengths(self.augment)
        losses.find(self.loss)  # refused before the faces are decoded
        if (self.soft_labels or self.domain_mixup) and self.loss not in losses.BY_CLASS:
            what = "soft labels" if self.soft_labels else "domain mixup"
            raise InputError(f"The loss {self.loss} knows nothing of {what}: take one of {', '.join(losses.BY_CLASS)}.")
        if self.loss in losses.OF_PAIRS and self.several < 2:
            raise InputError(f"The loss {self.loss} compares pictures of one person: let a_person be 2 or more.")
        if self.loss in losses.OF_VIEWS and (self.several != 2 or self.batch_size < 4 or self.batch_size % 2):
            raise InputError(
                f"The loss {self.loss} sees two pictures of a person: leave a_person out, batch_size even."
            )
        if self.domain_mixup and len(self.data) != 2:
            raise InputError(f"Domain mixup mixes the pictures of two sets, got {len(self.data)}: give --data twice.")

    @property
    def several(self) -> int:
        """Pictures of a person in a batch."""
        return self.a_person or {"triplet": 4, "multibatch": 16, "usynthface": 2}.get(self.loss, 1)


class RecognizerTask(Task):
    """A recogniser and the class vectors of its loss."""

    args: RecognizerArgs

    def __init__(self, args: RecognizerArgs, faces: Mixture, held_out: Faces, tests: list[Test] | None = None):
        super().__init__()
        torch.manual_seed(args.seed)
        self.args, self.faces, self.held_out, self.tests = args, faces, held_out, tests or []
        self.network = self._made(args, faces).to(memory_format=torch.channels_last)
        self.counts = faces.counts(args.batch_size)
        size = self.network.config.embedding_dim
        how = (args.margin, args.scale, args.sampled, args.queue)
        self.loss: Any = losses.make(args.loss, faces.people, size, *how)
        self.views = TwoViews(self.network) if args.loss in losses.OF_VIEWS else None
        self.full_margin = self.loss.margin
        self.strengths = views.strengths(args.augment)
        self.strengths["colour"] *= args.colour
        if self.network.config.get("quality") and not hasattr(self.loss, "vectors"):
            raise InputError(f"The loss {args.loss} has no class vectors, which a quality head learns from.")
        # The package draws class vectors of length √D; only their direction counts, and short ones turn faster.
        for vectors in (p for p in self.loss.parameters() if p.ndim > 1):
            nn.init.normal_(vectors, std=0.05)
        self.symmetry = (Symmetry(faces, args.device or "cpu"),) if args.symmetry else ()
        self.person = None
        if args.person_weight and not args.domain_mixup:
            try:
                self.person = PersonHead(faces, size)
            except LookupError as error:  # the recipe asks for it of any set
                print(error, file=sys.stderr)
        self.teacher = () if args.teacher is None else (Teacher(args.teacher, size),)
        if hasattr(self.loss, "chance"):
            self.hopeless = _DIVERGED * self.loss.chance()

    @staticmethod
    def _made(args: RecognizerArgs, faces: Mixture) -> Any:
        if args.adapt is None:
            return architectures.make(args.architecture, args.model)
        some = np.unique(np.linspace(0, len(faces) - 1, min(len(faces), 500)).round().astype(np.int64))
        network: Any = frozen(args.adapt, ModelMixin)  # type: ignore[type-abstract]
        side = network.config.image_size
        pixels = interpolate(faces.pixels(some) * 2 - 1, size=(side, side), mode="bilinear", antialias=True)
        return adapted(network, args.rank, usual_detail(pixels))

    def optimizers(self) -> list[Optimizer]:
        args = self.args
        networks = [p for p in self.network.parameters() if p.ndim > 1]
        scales = [p for p in self.network.parameters() if p.ndim <= 1]
        own = list(self.loss.parameters())
        groups: list[dict[str, Any]] = [
            {"params": networks, "weight_decay": args.weight_decay},
            {"params": scales, "weight_decay": 0.0},
        ]
        if self.person is not None:
            groups.append({"params": list(self.person.parameters()), "weight_decay": 0.0})
        if isinstance(self.loss, PartialFC):
            more: list[Optimizer] = [LazyAdam(own, args.lr)]
        else:  # few images reach each class vector, so none decays
            more, one = [], {"params": own, "weight_decay": 0.0, "lr": args.lr * self.loss.faster}
            groups += [one] * bool(own)
        if args.optimizer == "sgd":
            return [SGD(groups, lr=args.lr, momentum=0.9), *more]
        return [AdamW(groups, lr=args.lr, betas=(0.9, 0.99), fused=True), *more]

    def forward(self, step: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        self.network.train()
        device = self.device
        with torch.autocast(device.type, enabled=False):
            rows, pixels, targets, weights = self.batch(generator)
        pixels = (pixels * 2 - 1).contiguous(memory_format=torch.channels_last)
        rated = None
        if self.network.config.get("quality"):
            embeddings, rated = self.network.embed_and_rate(pixels)
        elif self.views is not None:
            embeddings = self.views.embed(self.network, pixels)
        else:
            embeddings = self.network(pixels)
        self.loss.margin = self.full_margin * min(1.0, step / max(1.0, self.args.margin_warmup * self.args.steps))
        if isinstance(self.loss, PartialFC):
            self.loss.generator.manual_seed(step_seed(self.args.seed, step, _ALL))
        with torch.autocast(device.type, enabled=False):
            loss, seen = cost(self.loss, embeddings.float(), targets, weights), {}
            for teacher in self.teacher:
                seen["teacher"] = teacher.cost(step / self.args.steps, pixels, embeddings.float())
                loss = loss + self.args.teacher_weight * seen["teacher"]
            if self.person is not None:
                seen["person"] = self.person.cost(embeddings.float(), rows)
                loss = loss + self.args.person_weight * seen["person"]
            for halves in self.symmetry:
                seen["symmetry"] = halves.cost(self.network, max(1, len(pixels) // 4), generator)
                loss = loss + self.args.symmetry * seen["symmetry"]
            if rated is None:
                return loss, seen
            certainty = certainty_ratio(embeddings.detach().float(), self.loss.vectors.detach(), targets[:, 0])
            quality = smooth_l1_loss(rated.float(), certainty, beta=0.5)
        return loss + 10 * quality, {**seen, "certainty": certainty.mean(), "quality": quality}  # λ of CR-FIQA

    def batch(self, generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows (N,); augmented pictures (N, 3, S, S) in [0, 1]; and of whom they are, (N, K) targets and weights."""
        if not self.args.domain_mixup:
            return self._seen(self.counts, generator)
        number = self.args.batch_size
        share = int(torch.randint(21, (), generator=generator)) / 20  # ψ of SynFace, one a batch
        (rows, one, whom, much), (_, other, whom_else, rest) = (
            self._seen(counts, generator) for counts in ([number, 0], [0, number])
        )
        mixed = share * one + (1 - share) * other
        return rows, mixed, torch.cat([whom, whom_else], 1), torch.cat([share * much, (1 - share) * rest], 1)

    def _seen(self, counts: list[int], generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows = self.faces.draw(counts, generator, self.args.several)
        pixels = self.faces.pixels(rows, self.device)
        size = self.network.config.image_size
        pixels = views.view(pixels, generator, size, self.strengths, self.args.often)
        targets, weights = (values[rows].to(self.device) for values in (self.faces.targets, self.faces.weights))
        return torch.from_numpy(rows), pixels, targets, weights

    def validate(self, network: ModelMixin, out: Path) -> dict[str, float]:
        """EER and TAR at FMR 1e-3 over all pairs of the held-out people; and figures of the tests."""
        vectors = embed(network, self.held_out)
        if not vectors.isfinite().all():
            raise FloatingPointError("The network's vectors became NaN or infinite")
        genuine, impostor = verification.pair_scores(vectors, self.held_out.labels)
        found = {
            "eer": verification.eer(genuine, impostor),
            "tar_1e-3": verification.tar_at_fmr(genuine, impostor, 1e-3),
        }
        for test in self.tests:
            found |= {f"{test.name} {figure}": value for figure, value in measure(network, test).items()}
        return found

    def kept(self, step: int) -> str | None:
        number = self.args.snapshots
        due = [k for k in range(1, number + 1) if round(k * self.args.steps / number) == step]
        return f"{SNAPSHOTS}/{due[0]}" if due else None

    def goodness(self, metrics: dict[str, float]) -> tuple[float, ...]:
        """By the held-out part of the people to learn from, never by a test."""
        return metrics["tar_1e-3"], -metrics["eer"]


def cost(loss: Any, embeddings: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The mean over pictures of Σ φⱼ·L(z, yⱼ): the loss for each label is taken by itself (SynFace's paper; its code
    mixes the margin logits first). Of embeddings (N, D), targets and weights (N, K)."""
    if targets.shape[1] == 1:
        first: Tensor = loss(embeddings, targets[:, 0]).mean()
        return first
    parts = [loss(embeddings, targets[:, k]) * weights[:, k] for k in range(targets.shape[1])]
    return torch.stack(parts).sum(0).mean()


def certainty_ratio(embeddings: Tensor, class_vectors: Tensor, labels: Tensor) -> Tensor:
    """(N,) how surely faces are of their class: the cosine to the own class vector ÷ (that to the nearest other one +
    1), CR-FIQA's certainty ratio (Boutros et al. 2023); of embeddings (N, D), class vectors (C, D) and labels (N,)."""
    cosines = normalize(embeddings) @ normalize(class_vectors).T
    own = cosines.gather(1, labels[:, None])[:, 0]
    nearest = cosines.scatter(1, labels[:, None], -1.0).amax(1)
    return own / (nearest + 1 + 1e-9)


def train_recognizer(args: RecognizerArgs) -> dict[str, float]:
    """Train a recogniser; the network is written to `args.out/model`, the best one by the people held out to `best`."""
    if args.pretrain:
        return _pretrained(args)
    faces, held_out, content = load_mixture(
        args.data,
        args.size,
        people=args.people,
        pictures=args.pictures,
        soft=args.soft_labels,
        held_out=args.held_out_people,
        several=args.several > 1 and args.loss not in losses.OF_VIEWS,
    )
    if faces.people < 2:
        raise InputError(
            f"A recogniser learns to tell people apart, and {', '.join(args.data)} has but {faces.people} to learn "
            f"from, beside {held_out.people} held out: give more people, or hold out fewer (--held-out-people)."
        )
    tests = [load_test(path, args.size) for path in args.test]
    origin = {"data": content, "number of held-out people": str(held_out.people)}
    origin |= {"architecture": args.architecture, "loss": args.loss}
    if args.adapt is not None:
        origin["adapted network"] = digest(args.adapt)
    task = RecognizerTask(args, faces, held_out, tests)
    for teacher in task.teacher:
        origin["teacher"] = teacher.content()
    return train(task, args, origin)


def _pretrained(args: RecognizerArgs) -> dict[str, float]:
    """First on the one data, then on the other from the best network so far, in as many steps together."""
    steps = round(args.steps * args.pretrain_share)
    alike: dict[str, Any] = {"pretrain": [], "people": None, "pictures": None, "domain_mixup": False, "test": []}
    first = replace(args, data=args.pretrain, out=args.out / "pretrained", steps=steps, **alike)
    metrics = train_recognizer(first)
    if not finished(first):
        return metrics
    best = first.out / "best"
    lr = args.lr * args.finetune_lr
    return train_recognizer(replace(args, pretrain=[], start=best, steps=args.steps - steps, lr=lr))


def finished(args: RunArgs) -> bool:
    """Whether a run has come to its end."""
    file = args.out / LOG
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    return bool(lines) and lines[-1].endswith("}") and json.loads(lines[-1])["step"] >= args.steps
