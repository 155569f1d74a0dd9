"""The command line. Every command is a thin coat over a function of the package; heavy imports happen inside them."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from idgen.errors import InputError

if TYPE_CHECKING:
    from idgen.identity import Identity

# Before torch is imported: waiting threads that spin starve those that work, here and in other programs.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_Refused: Any = typer.BadParameter.__mro__[2]  # ClickException; newer typer has its own copy of click
INTERRUPTED = 130


class _Commands(TyperGroup):
    """Says what the caller got wrong in one sentence on stderr and exits with 2: no usage screen, no traceback."""

    def main(self, args: Any = None, *rest: Any, **options: Any) -> Any:
        try:
            with _sentences():
                code = super().main(args, *rest, **{**options, "standalone_mode": False})
        except InputError as error:
            _refuse(str(error))
        except _Refused as error:
            _refuse(error.format_message())
        except (typer.Abort, KeyboardInterrupt):
            typer.echo("Interrupted.", err=True)
            sys.exit(INTERRUPTED)
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From a face-recognition vector, or from nobody at all, to pictures of one person, each with an honest score.",
)


class Method(str, Enum):
    """How people who do not exist are drawn."""

    flow = "flow"
    gaussian = "gaussian"
    sphere = "sphere"
    packed = "packed"
    file = "file"
    interpolate = "interpolate"
    mean = "mean"
    mixup = "mixup"


def _whole(text: Any) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number.") from None


_INTEGER: dict[str, Any] = {"parser": _whole, "metavar": "INTEGER"}
_MODEL = typer.Option(
    "nobody-128",
    "--model",
    metavar="NAME|DIR|user/repo",
    help="Named model, folder, or Hub repository; user/repo@revision pins it.",
)
_DEVICE = typer.Option(None, "--device", help="cpu, cuda or mps; by default the best there is.")
_SEED = typer.Option(0, "--seed", help="The same seed gives the same result.", **_INTEGER)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version."),
) -> None:
    if version:
        from idgen.version import __version__

        typer.echo(__version__)
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def sample(
    out: Path = typer.Option(..., "--out", help="File to write, such as people.safetensors."),
    n: int = typer.Option(1, "-n", help="How many people.", **_INTEGER),
    seed: int = _SEED,
    method: Method = typer.Option(
        None,
        help="By the flow trained on people's vectors, from a Gaussian fitted on them, or anywhere on the sphere "
        "(by default the flow, where the model has one); packed apart where they live; or made of a --from file: some "
        "of it, people between its first two, their mean, or mixed pairs.",
    ),
    origin: Path = typer.Option(
        None, "--from", help="File of people or vectors, for file, interpolate, mean and mixup."
    ),
    apart: int = typer.Option(
        0, "--apart", help="Keep only people told apart by the judge on so many pictures each.", **_INTEGER
    ),
    model: str = _MODEL,
    device: str = _DEVICE,
) -> None:
    """Draw people who do not exist."""
    _check_file(out)
    from idgen.model import load_model, sampler_of
    from idgen.sampling.draw import draw, write_soft_labels

    loaded = load_model(model, device)
    sampler = sampler_of(loaded)
    people, labels = draw(sampler, n, seed, None if method is None else method.value, origin)
    if apart:
        from idgen.choosing import apart as keep_apart

        kept = keep_apart(people, loaded, apart, seed)
        typer.echo(
            f"{len(kept.people):,} of {_count(len(people), 'person', 'people')} are told apart by the judge on "
            f"{_count(apart, 'picture', 'pictures')} each (means below {kept.threshold:.2f})."
        )
        labels = [labels[row] for row in kept.rows.tolist()] if labels else []
        people = kept.people
    people.save(out)
    if labels:
        typer.echo(f"What each is made of: {write_soft_labels(out, people, labels)}")
    n = len(people)
    if any(person.from_photo for person in people):
        typer.echo(f"{_count(n, 'person', 'people')}: {out}")
    else:
        typer.echo(f"{_count(n, 'person', 'people')} who {_does(n)} not exist: {out}")
    if not len(sampler.people):
        return
    cosine, _ = sampler.nearest(people.vectors)
    nearest = float(cosine.max())
    typer.echo(
        f"The nearest of the {len(sampler.people):,} people the sampler learned from is at cosine {nearest:.2f}."
    )


@app.command()
def identify(
    photos: list[Path] = typer.Argument(..., metavar="PHOTO...", help="One or several photos of one person."),
    out: Path = typer.Option(..., "--out", help="File to write, such as me.safetensors."),
    name: str = typer.Option(None, "--name", help="What to call the person; by default after the first photo's file."),
    aligned: bool = typer.Option(False, "--aligned", help="The photos are aligned face crops already."),
    model: str = _MODEL,
    device: str = _DEVICE,
) -> None:
    """Read the largest face of photos into an identity; of several photos, their mean."""
    _check_file(out)
    from idgen.identity import Identities
    from idgen.model import load_model

    encoder = load_model(model, device).encoder
    person = encoder.identify(photos, aligned, name)
    Identities.of([person]).save(out)
    typer.echo(f"{person.name} ({person.source}): {out}")
    if encoder.notice:
        typer.echo(encoder.notice)
    typer.echo("The file is biometric data: it can be used to recognise this person. Treat it like the photos.")


@app.command()
def generate(
    people: Path = typer.Argument(None, metavar="PEOPLE", help="A file of identities, by `sample` or `identify`."),
    out: Path = typer.Option(..., "--out", help="Folder to write."),
    sample: int = typer.Option(
        None, "--sample", help="Instead of a file: draw so many people who do not exist.", **_INTEGER
    ),
    images: int = typer.Option(8, "--images", help="Pictures a person, 1 to 1,000.", **_INTEGER),
    seed: int = _SEED,
    steps: int = typer.Option(None, "--steps", help="Denoising steps; by default the model's.", **_INTEGER),
    guidance: float = typer.Option(
        None, "--guidance", help="How strongly to follow the identity; by default the model's."
    ),
    variation: str = typer.Option(
        "0",
        "--variation",
        help="0: exactly this identity; up to 1: others around it; or cone:0.7, gaussian:0.03, similarity:0.5.",
    ),
    batch_size: int = typer.Option(
        8, "--batch-size", help="Pictures at a time; changes speed and memory only.", **_INTEGER
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace what other settings left in the folder."),
    model: str = _MODEL,
    device: str = _DEVICE,
) -> None:
    """Make pictures of people, with a score for each; called again, it goes on where it stopped."""
    if (people is None) == (sample is None):
        raise InputError("Give either a file of identities or --sample with a number of people.")
    from idgen import arguments
    from idgen.files import check_writable
    from idgen.painting import SHEET, check_options
    from idgen.painting import generate as make
    from idgen.sets import MANIFEST, read_manifest

    vary = _number(variation)
    arguments.images(images)
    check_options(steps, guidance, vary, batch_size)
    check_writable(out)
    from idgen.identity import Identities
    from idgen.model import load_model

    identities = None if people is None else Identities.load(people)
    loaded = load_model(model, device)
    if identities is None:
        identities = loaded.sampler.sample(sample, seed)
    try:
        make(
            identities,
            out,
            images,
            seed,
            loaded,
            steps,
            guidance,
            vary,
            batch_size=batch_size,
            overwrite=overwrite,
        )
    except KeyboardInterrupt:
        kept, wanted = len(read_manifest(out)), len(identities) * images
        typer.echo(
            f"Interrupted with {kept} of {wanted} pictures in {out}: the same command goes on from there.", err=True
        )
        raise typer.Exit(INTERRUPTED) from None
    lines = read_manifest(out)
    matches = sum(bool(line["match"]) for line in lines)
    typer.echo(
        f"{_count(len(lines), 'picture', 'pictures')} of {_count(len(identities), 'person', 'people')}: "
        f"{out}{os.sep} ({SHEET} shows them, {MANIFEST} has their scores)"
    )
    if not loaded.has("judge"):
        typer.echo("This model has no judge, so nothing says whether they are the wanted people.")
        if loaded.has("encoder"):
            from idgen.scoring import UNCALIBRATED

            typer.echo("The cosines by its own encoder are in the manifest; " + UNCALIBRATED)
        return
    typer.echo(
        f"{matches} of {len(lines)} are the wanted person, says the independent judge, "
        "at a false-match rate of 1 in 1,000."
    )


@app.command()
def evaluate(
    source: Path = typer.Argument(
        ...,
        metavar="SET",
        help="A folder by `generate`, Parquet, a folder a person, a file of vectors, or pairs (.bin).",
    ),
    out: Path = typer.Option(..., "--out", help="Folder for report.html and evaluation.json."),
    training: Path = typer.Option(None, "--training", help="What the generator was trained on: look for leaks."),
    real: Path = typer.Option(
        None, "--real", help="Real pictures to compare the whole set with; by default --training."
    ),
    pairs: Path = typer.Option(None, "--pairs", help="Compare only these: a line a pair, `picture picture 1` or 0."),
    photos: bool = typer.Option(False, "--photos", help="The pictures are photos: find and align the faces first."),
    seed: int = _SEED,
    model: str = _MODEL,
    device: str = _DEVICE,
) -> None:
    """Measure a set of labelled faces: are people told apart, varied, as wanted, and leaked from nobody?"""
    from idgen.evaluation.evaluate import REPORT
    from idgen.evaluation.evaluate import evaluate as measure

    with _needing("eval"):
        result = measure(
            source,
            out,
            model=model,
            training=training,
            real=real,
            pairs=pairs,
            aligned=not photos,
            device=device,
            seed=seed,
        )
    for level, text in result.summary:
        typer.echo(f"{'!' if level == 'bad' else '-'} {text}")
    typer.echo(f"Report: {out / REPORT}")


@app.command()
def compare(
    a: str = typer.Argument(
        ..., metavar="A", help="A photo, or a file of identities; of several: people.safetensors#NAME."
    ),
    b: str = typer.Argument(..., metavar="B", help="The other one."),
    fmr: float = typer.Option(1e-3, "--fmr", help="False-match rate of the verdict: 0.01, 0.001 or 0.0001."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
    model: str = _MODEL,
    device: str = _DEVICE,
) -> None:
    """Say whether two photos or identities are the same person."""
    sides = [_photo_or_identity(side) for side in (a, b)]
    from dataclasses import asdict

    from idgen.model import load_model
    from idgen.scoring import Scorer

    loaded = load_model(model, device)
    result = Scorer(loaded.encoder, loaded.judge, fmr).compare(*sides)
    if as_json:
        typer.echo(json.dumps({**asdict(result), "verdict": result.verdict}))
        return
    typer.echo(f"Encoder: cosine {result.cosine:.3f}, threshold {result.threshold:.3f}.")
    if result.judge_cosine is not None and result.judge_threshold is not None:
        typer.echo(f"Judge:   cosine {result.judge_cosine:.3f}, threshold {result.judge_threshold:.3f}.")
    typer.echo(result.sentence())


@app.command()
def provenance(
    files: list[Path] = typer.Argument(..., metavar="FILE...", help="PNG, JPEG or WebP files."),
    trust: Path = typer.Option(None, "--trust", help="PEM file of the authorities to trust in signatures."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Say what pictures tell about how they were made."""
    from idgen.provenance import report, sentence

    try:
        anchors = None if trust is None else trust.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise InputError(
            f"The file {trust} of authorities to trust cannot be read: give certificates as PEM."
        ) from error
    reports = [report(file, anchors) for file in files]
    typer.echo(json.dumps(reports, indent=1) if as_json else "\n".join(sentence(one) for one in reports))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def train(
    context: typer.Context,
    network: str = typer.Argument("", metavar="NETWORK", help="What to train; without it, a list."),
) -> None:
    """Train a network; `idgen train NETWORK --help` lists its options, --recipe FILE.yaml sets them."""
    from idgen.options import parse
    from idgen.training import recipe

    if network in ("", "--help"):
        typer.echo(f"idgen train {'|'.join(recipe.TRAINERS)} [--recipe FILE.yaml] [OPTIONS]\n")
        typer.echo("Options are those of the network: idgen train recognizer --help")
        raise typer.Exit(0 if network else 2)
    args_class, function = recipe.trainer(network)
    args: Any = parse(args_class, context.args, f"idgen train {network}", recipe.RECIPES / f"{network}.yaml")
    try:
        metrics = function(args)
    except FloatingPointError as error:
        raise InputError(str(error)) from error
    if isinstance(metrics, dict) and metrics:
        typer.echo(json.dumps(metrics))


convert = typer.Typer(
    cls=_Commands,
    rich_markup_mode=None,
    help="Turn published checkpoints into folders for --model and from_pretrained.",
)
app.add_typer(convert, name="convert")

_CHECKPOINT_DIR = typer.Argument(..., metavar="CKPT_DIR", help="Folder with what was downloaded.")
_CONVERTED = typer.Argument(..., metavar="OUT", help="Folder to write.")
_CHECKPOINT = typer.Option(None, "--checkpoint", help="The diffusion weights, if they are not in their place.")
_AUTOENCODER = typer.Option(None, "--autoencoder", help="Folder with the two first_stage_*_state_dict.pt.")
_CONTEXTS = typer.Option(None, "--contexts", help="A published file of identities; becomes identities.safetensors.")
_FAST = typer.Option(False, "--fast", help="20 steps of DPM-Solver++ instead of the released sampling.")


@convert.command("idiff-face")
def convert_idiff_face(
    folder: Path = _CHECKPOINT_DIR,
    out: Path = _CONVERTED,
    checkpoint: Path = _CHECKPOINT,
    autoencoder: Path = _AUTOENCODER,
    contexts: Path = _CONTEXTS,
    encoder: Path = typer.Option(None, "--encoder", help="ElasticFace's Elastic_R100_295672backbone.pth."),
    fast: bool = _FAST,
) -> None:
    """IDiff-Face (Boutros et al. 2023)."""
    from idgen.convert.idiff_face import IDIFF_FACE
    from idgen.convert.idiff_face import convert as make

    made = make(
        IDIFF_FACE,
        folder,
        out,
        checkpoint=checkpoint,
        autoencoder=autoencoder,
        contexts=contexts,
        encoder=encoder,
        fast=fast,
    )
    typer.echo(f"IDiff-Face: {made}{os.sep} ({IDIFF_FACE.licence})")


@convert.command("uiface")
def convert_uiface(
    folder: Path = _CHECKPOINT_DIR,
    out: Path = _CONVERTED,
    checkpoint: Path = _CHECKPOINT,
    autoencoder: Path = _AUTOENCODER,
    contexts: Path = _CONTEXTS,
    fast: bool = _FAST,
) -> None:
    """UIFace (Lin et al. 2025)."""
    from idgen.convert.idiff_face import UIFACE
    from idgen.convert.idiff_face import convert as make

    made = make(UIFACE, folder, out, checkpoint=checkpoint, autoencoder=autoencoder, contexts=contexts, fast=fast)
    typer.echo(f"UIFace: {made}{os.sep} ({UIFACE.licence})")


@convert.command("arc2face")
def convert_arc2face(
    source: str = typer.Argument(..., metavar="SRC", help="Folder or hub repository of the official files."),
    out: Path = typer.Argument(..., metavar="OUT", help="Folder to write."),
    base: str = typer.Option(
        None, "--base", help="Folder or repository of Stable Diffusion 1.5, for vae/ and scheduler/."
    ),
    pack: str = typer.Option(
        None, "--pack", help="insightface pack that finds the faces in photos: name, folder or repository."
    ),
    controlnet: bool = typer.Option(False, "--controlnet", help="With the ControlNet for the pose."),
    expression: bool = typer.Option(False, "--expression", help="With the expression adapter."),
    few_step: bool = typer.Option(False, "--few-step", help="With the LCM-LoRA: 2 to 4 steps."),
    lora: str = typer.Option(None, "--lora", help="Where the LCM-LoRA is, if not on the hub."),
    revision: str = typer.Option(None, "--revision", help="Commit, tag or branch of SRC's repository."),
    base_revision: str = typer.Option(None, "--base-revision", help="The same for --base."),
    single: bool = typer.Option(False, "--float32", help="Keep single precision; twice the size."),
) -> None:
    """Arc2Face's official files to one folder for --model."""
    import torch

    from idgen.convert.arc2face import convert as make

    folder = make(
        source,
        out,
        base,
        few_step=lora or few_step,
        controlnet=controlnet,
        expression=expression,
        pack=pack,
        revision=revision,
        base_revision=base_revision,
        dtype=torch.float32 if single else torch.float16,
    )
    typer.echo(f"Arc2Face: {folder} (its README.md says under which licences)")
    if pack is None:
        typer.echo("It reads no photos: for that, give --pack, an insightface pack (non-commercial research only).")


dataset = typer.Typer(
    cls=_Commands,
    rich_markup_mode=None,
    help="Make a dataset of many people: plan, run, status, report, export.",
)
app.add_typer(dataset, name="dataset")


class DatasetEngine(str, Enum):
    """Who makes the shards."""

    local = "local"
    slurm = "slurm"
    ray = "ray"


class Layout(str, Enum):
    """What a dataset is exported as."""

    imagefolder = "imagefolder"
    webdataset = "webdataset"
    bin = "bin"


_DATASET = typer.Argument(..., metavar="DIR", help="Folder of a planned dataset.")


@dataset.command(
    "plan",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
def dataset_plan(
    context: typer.Context,
    out: Path = typer.Option(None, "--out", metavar="DIR", help="Folder of the dataset."),
    device: str = _DEVICE,
) -> None:
    """Draw the people of a plan: `idgen dataset plan plan.yaml --out DIR`; --help lists what a plan says."""
    with _needing("dataset"):
        from idgen.dataset.drawing import make_plan
        from idgen.dataset.plan import Plan
        from idgen.options import parse

        given = list(context.args)
        if given and not given[0].startswith("-"):
            given.insert(0, "--recipe")  # the plan file, which options after it change
        plan = parse(Plan, given, "idgen dataset plan [PLAN.yaml] --out DIR")
        if out is None:
            raise InputError("A plan needs a folder: add --out DIR.")
        planned = make_plan(plan, out, device)
    typer.echo(
        f"{_count(plan.people, 'person', 'people')} × {plan.images} = {plan.people * plan.images:,} pictures in "
        f"{_count(plan.shards, 'shard', 'shards')} of {plan.people_a_shard} people: {out}{os.sep}"
    )
    if any(person.from_photo for person in planned.people):
        typer.echo("Some of them come from a file: whether they exist, nobody can say.")
    typer.echo(f"Make them: idgen dataset run {out}")


@dataset.command("run")
def dataset_run(
    folder: Path = typer.Argument(..., metavar="DIR|PLAN.yaml", help="A planned dataset, or a plan file with --out."),
    out: Path = typer.Option(None, "--out", metavar="DIR", help="With a plan file: plan into this folder first."),
    workers: int = typer.Option(None, "--workers", help="By default one a core, or one a GPU.", **_INTEGER),
    engine: DatasetEngine = typer.Option(
        DatasetEngine.local, "--engine", help="This machine, Slurm (submits jobs and returns) or Ray."
    ),
    slurm: str = typer.Option(
        "{}", "--slurm", help="YAML for Slurm, such as {partition: gpu, time: '12:00:00', sbatch_args: {account: me}}."
    ),
    gpus: int = typer.Option(0, "--gpus", help="For Slurm and Ray: GPUs a worker.", **_INTEGER),
    batch_size: int = typer.Option(8, "--batch-size", help="Pictures at a time; changes speed only.", **_INTEGER),
    device: str = _DEVICE,
) -> None:
    """Make what is missing; called again, it goes on where it stopped."""
    with _needing("dataset"):
        from idgen.dataset.drawing import make_plan
        from idgen.dataset.plan import Plan
        from idgen.dataset.run import run
        from idgen.dataset.status import status
        from idgen.options import mapping

        if folder.is_file():
            if out is None:
                raise InputError(f"{folder} is a plan file: say where its dataset goes with --out DIR.")
            make_plan(Plan.read(folder), out, device)
            folder = out
        elif out is not None:
            raise InputError(f"--out goes with a plan file, and {folder} is none: leave it out, or name the plan file.")
        options = mapping(slurm, "--slurm")
        try:
            now = run(folder, workers, engine.value, batch_size=batch_size, device=device, slurm=options, gpus=gpus)
        except KeyboardInterrupt:
            now = status(folder)
            typer.echo(
                f"Interrupted with {now.done} of {now.shards} shards finished: the same command goes on from there.",
                err=True,
            )
            raise typer.Exit(INTERRUPTED) from None
    for line in now.lines():
        typer.echo(line)
    if engine is DatasetEngine.slurm and now.missing:
        typer.echo(f"Submitted; `squeue --me` and `idgen dataset status {folder}` say how far it is.")


@dataset.command("status")
def dataset_status(
    folder: Path = _DATASET,
    whole: bool = typer.Option(False, "--check", help="Read every finished file to be sure that it is whole."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Say how far a dataset is, from any shell."""
    with _needing("dataset"):
        from dataclasses import asdict

        from idgen.dataset.status import status

        now = status(folder, whole)
    if as_json:
        typer.echo(json.dumps({**asdict(now), "seconds_left": now.seconds_left}))
        return
    for line in now.lines():
        typer.echo(line)


@dataset.command("report")
def dataset_report(
    folder: Path = _DATASET,
    training: Path = typer.Option(None, "--training", help="What the generator was trained on: look for leaks."),
    most: int = typer.Option(20_000, "--most", help="Look at so many pictures at most.", **_INTEGER),
    device: str = _DEVICE,
) -> None:
    """Measure what is finished, and write report/, the contact sheet and the card (README.md)."""
    with _needing("eval,dataset"):
        from idgen.dataset.card import report

        result = report(folder, training=training, most=most, device=device)
    for level, text in result.summary if result is not None else []:
        typer.echo(f"{'!' if level == 'bad' else '-'} {text}")
    if result is None:
        typer.echo("The model has no independent recogniser, so nothing was measured.")
    typer.echo(f"Card: {folder / 'README.md'}")


@dataset.command("export")
def dataset_export(
    folder: Path = _DATASET,
    out: Path = typer.Argument(..., metavar="OUT", help="Folder, or for bin a file, to write."),
    layout: Layout = typer.Option(Layout.imagefolder, "--format", help="ImageFolder, WebDataset, or pairs (.bin)."),
    pairs: int = typer.Option(6000, "--pairs", help="For bin: how many, half of them of one person.", **_INTEGER),
    seed: int = _SEED,
) -> None:
    """Write what is finished in another layout."""
    with _needing("dataset"):
        from idgen.dataset.export import export

        now = export(folder, out, layout.value, pairs=pairs, seed=seed)
    if now.missing:
        typer.echo(f"{len(now.missing):,} of {now.shards:,} shards are not made yet and so not in it.", err=True)
    typer.echo(f"{now.pictures:,} pictures: {out}" if layout is not Layout.bin else f"{pairs:,} pairs: {out}")


@app.command()
def push(
    source: str = typer.Argument(..., metavar="DIR|NAME", help="The model: its folder or name."),
    repo: str = typer.Argument(..., metavar="user/repo", help="Where to on the Hugging Face Hub; made if need be."),
    private: bool = typer.Option(None, "--private/--public", help="When it is made; by default as the Hub does."),
    revision: str = typer.Option("main", "--revision", help="Branch to commit to; made if need be."),
    message: str = typer.Option(None, "--message", help="Of the commit."),
    licence: str = typer.Option(
        None, "--licence", "--license", help="Such as apache-2.0; not needed where README.md says it."
    ),
    data: str = typer.Option(None, "--data", help="What it was trained on, a sentence for a card that is made."),
    evaluation: Path = typer.Option(
        None, "--evaluation", help="Result of `idgen evaluate`, whose figures go into the card."
    ),
    measure: bool = typer.Option(
        True,
        "--measure/--no-measure",
        help="For a card that is made, without --evaluation: picture and measure 12 people.",
    ),
    device: str = _DEVICE,
) -> None:
    """Upload a model to the Hugging Face Hub, with a card and with code for people without idgen."""
    from idgen.sharing.push import push as upload

    done = upload(
        source,
        repo,
        private=private,
        revision=revision,
        message=message,
        licence=licence,
        data=data,
        evaluation=evaluation,
        measure=measure,
        device=device,
    )
    typer.echo(f"{_count(len(done.files), 'file', 'files')}: {done.url}")
    if done.left_out:
        typer.echo(f"Not uploaded: {', '.join(done.left_out)}.")
    for note in done.notes:
        typer.echo(note)
    typer.echo("Others load exactly this by one of:")
    people = "--sample 4" if "people.safetensors" in done.files else "people.safetensors"
    for line in (f"idgen generate {people} --images 8 --out pictures --model {done.name}", *done.lines()):
        typer.echo(f"    {line}")


export = typer.Typer(cls=_Commands, rich_markup_mode=None, help="Write a model's parts in other programs' formats.")
app.add_typer(export, name="export")


@export.command("onnx")
def export_onnx(
    model: str = typer.Argument(..., metavar="MODEL", help="Model or face encoder: name, folder or Hub repository."),
    out: Path = typer.Argument(..., metavar="OUT", help="recognizer.onnx, or a folder for an insightface pack."),
    judge: bool = typer.Option(False, "--judge", help="The judge's recogniser, not the encoder's."),
) -> None:
    """A recogniser as ONNX, for insightface's `model_zoo.get_model`."""
    from idgen.sharing.onnx import export_recognizer

    made = export_recognizer(model, out, judge=judge)
    typer.echo(f"{made.file}: crops {made.size}×{made.size} to {made.dim} numbers in the space {made.space!r}.")
    for note in made.notes:
        typer.echo(note)


@app.command()
def demo(
    model: str = typer.Option(
        None,
        "--model",
        metavar="NAME|DIR|user/repo",
        help="Named model, folder, or Hub repository, before those of IDGEN_MODELS; by default these, or nobody-128.",
    ),
    host: str = typer.Option(None, "--host", help="Address to listen on; by default this machine only."),
    port: int = typer.Option(None, "--port", min=1, max=65535, help="By default the first free one from 7860."),
    browser: bool = typer.Option(False, "--open", help="Open it in the browser."),
) -> None:
    """Run the app and print its address."""
    with _needing("app"):
        from space.app import main
    main(model, host, port, browser)


def _photo_or_identity(text: str) -> Path | Identity:
    path, _, name = text.partition("#") if not Path(text).exists() else (text, "", "")
    if Path(path).suffix.lower() != ".safetensors":
        return Path(text)
    from idgen.identity import Identities

    people = Identities.load(path)
    if not name and len(people) == 1:
        return people[0]
    if name in people.names:
        return people[people.names.index(name)]
    some = ", ".join(people.names[:3]) + (", ..." if len(people) > 3 else "")
    what = f"nobody called {name!r}" if name else f"{len(people)} people"
    raise InputError(f"{path} holds {what}: name one as {path}#NAME ({some}).")


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _check_file(out: Path) -> None:
    """Refuse a place that cannot be written before any work is done."""
    from idgen.files import check_writable

    if out.is_dir():
        raise InputError(f"Cannot write {out}: it is a folder; give a file, such as {out / 'people.safetensors'}.")
    check_writable(out.absolute().parent)


def _count(n: int, one: str, many: str) -> str:
    return f"{n:,} {one if n == 1 else many}"


def _does(n: int) -> str:
    return "does" if n == 1 else "do"


def _refuse(sentence: str) -> NoReturn:
    sentence = " ".join(sentence.split())
    typer.echo(sentence if sentence.endswith((".", "?", "!")) else f"{sentence}.", err=True)
    sys.exit(2)


@contextmanager
def _needing(extra: str) -> Iterator[None]:
    """Say which extra a missing package comes with."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("idgen", "space"):
            raise
        raise InputError(f"This needs the package {error.name}: pip install 'idgen[{extra}]'.") from error


@contextmanager
def _sentences() -> Iterator[None]:
    """Show idgen's own warnings as plain sentences on stderr, and no other package's."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if category is UserWarning and "idgen" in Path(filename).parts:
            typer.echo(f"Note: {message}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield


if __name__ == "__main__":
    app()
