"""Put trained networks together into the folder that `idgen.model.Model` and `from_pretrained` read.

Fits what is fitted on the training people (where identities live, the bridge to the judge's space) and measures what
has to be measured on people that no network has seen (the calibrations).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from diffusers.models.modeling_utils import ModelMixin
from torch import Generator, Tensor

from idgen import models
from idgen.evaluation.attributes import reading_errors
from idgen.evaluation.completing import Seen, fit_parts
from idgen.faces.encoder import FaceEncoder
from idgen.faces.finder import FaceFinder
from idgen.faces.reader import AttributeReader
from idgen.ground import attributes, files
from idgen.ground.domain import RENDERED, check
from idgen.ground.errors import InputError
from idgen.ground.hub import BUILTIN, DEFAULT_MODEL
from idgen.ground.identity import centres
from idgen.models import (
    AttributeNet,
    AttributePrior,
    FaceAutoencoder,
    FaceFinderNet,
    IdentityDiT,
    IdentityFlow,
    ResNetRecognizer,
)
from idgen.pipelines import IDiffFacePipeline
from idgen.sampling.axes import axes_needed
from idgen.training.data import Faces, load_faces
from idgen.training.embedding import cached_embeddings, digest_of_latents
from idgen.training.loop import ORIGIN, digest


@dataclass(kw_only=True)
class AssembleArgs:
    """Make a model folder of the networks in `runs/<network>/model`."""

    out: Path
    """The model's folder; in one that is there, a README.md and its pictures are kept."""
    data: Path
    """The faces that the networks were trained on. The sampler's Gaussian, its known people and the bridge to the judge
    are fitted on all of them, those held out for validation included."""
    measure: Path
    """Faces of people that none of them has seen, for the calibrations; about 35 people with 10 pictures each suffice
    for verdicts at a false-match rate of 1 in 1,000."""
    measured_on: str | None = None
    """What those are, in words: it goes into the calibrations; by default how many people and pictures."""
    domain: str = RENDERED
    """What kind of pictures they are: rendered, or photographs."""
    runs: Path = Path("runs")
    """Folder with the runs recognizer, judge, finder, autoencoder, generator and sampler, and, if they are there,
    student and attributes. Without a finder, that of the built-in model is taken."""
    name: str | None = None
    """The embedding spaces are called `<name>-encoder` and `<name>-judge`. By default the folder's name and six digits
    of the recognisers' content: vectors from before another training are refused rather than mistaken."""
    components: int | None = None
    """Principal axes of the Gaussian that people can be sampled from; by default as many as carry 98 % of the
    variance."""
    num_inference_steps: int = 15
    """Denoising steps by default; with a student, where it cannot serve."""
    few_steps: int = 4
    """Steps of the student, where `runs` has one; with more, the denoiser works."""
    guidance_scale: Any = 2.0
    """By default; 1.4/2.4: 1.4 for heads turned by up to 30°, growing to 2.4 at 45°."""
    attribute_scale: float = 1.0
    """How strongly beard, glasses, hat and sunglasses are told by default; 1 as the networks learned."""
    sharpening: float = 0.0
    """How many times pictures get what a slight blur takes away from them; 0 leaves them as they are decoded."""
    size: int = 128
    """As the networks were trained with."""


def assemble(args: AssembleArgs) -> Path:
    """Write the model's folder, beside and then in one move; returns it. InputError if a network or faces are missing
    or do not fit, or the folder is there and no model."""
    out = Path(args.out).absolute()
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if (out.exists() and not out.is_dir()) or (there and "model_index.json" not in there):
        raise InputError(f"{out} is there and no model: give another --out, it would be replaced.")
    with files.aside(out) as beside:
        _write(args, out.name, beside)
        for name in there - {path.name for path in beside.iterdir()}:
            if (out / name).is_dir():
                raise InputError(f"{out} holds {name}, which is no part of the model: give another --out.")
            if not name.endswith(".safetensors"):  # a card and its pictures, but no vectors from before
                shutil.copy2(out / name, beside)
    return out


def _write(args: AssembleArgs, called: str, folder: Path) -> None:
    def network(run: str) -> Path:
        trained = args.runs / run / "model"
        if run == "finder" and not trained.is_dir():
            return BUILTIN / DEFAULT_MODEL / "encoder" / "finder"
        if not trained.is_dir():
            raise InputError(f"There is no trained {run} in {trained}: run `idgen train {run}` first.")
        return trained

    denoiser = models.load(network("generator"), IdentityDiT)
    autoencoder = models.load(network("autoencoder"), FaceAutoencoder)
    finder = models.load(network("finder"), FaceFinderNet)
    recognizer = models.load(network("recognizer"), ResNetRecognizer)
    judge = models.load(network("judge"), ModelMixin)
    flow = models.load(network("sampler"), IdentityFlow)
    student = models.load(network("student"), IdentityDiT) if (args.runs / "student" / "model").is_dir() else None
    for run in ("generator", "sampler", *([] if student is None else ["student"])):
        _check_origin(network, run)
    faces, unseen = load_faces(args.data, args.size), load_faces(args.measure, args.size)
    marks = ({hashlib.blake2b(image.tobytes()).digest() for image in part.images} for part in (faces, unseen))
    if both := len(set.intersection(*marks)):
        raise InputError(
            f"{both:,} pictures of --measure are in --data too: measure on people whom no network has seen."
        )

    said = f"{len(unseen):,} pictures of {unseen.people:,} people who are not in the training data"
    content = " ".join(digest(network(run)) for run in ("recognizer", "judge"))
    name = args.name or f"{called}-{hashlib.sha256(content.encode()).hexdigest()[:6]}"
    spaces = f"{name}-encoder", f"{name}-judge"
    by_both = [cached_embeddings(network(run), faces) for run in ("recognizer", "judge")]
    shown = Seen(by_both[0], by_both[1], faces.labels)
    by_encoder = centres(shown.by_encoder, faces.labels)
    prior = _prior(denoiser, faces, by_encoder)
    # Half precision in the files only: everything is computed in float32 after loading.
    IDiffFacePipeline(
        denoiser.half(),
        autoencoder.half(),
        DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=1.0),
        space=spaces[0],
        num_inference_steps=args.num_inference_steps,
        guidance_scale=args.guidance_scale,
        prior=None if prior is None else prior.half(),
        student=None if student is None else student.half(),
        few_steps=args.few_steps,
        attribute_scale=args.attribute_scale,
        sharpening=args.sharpening,
    ).save_pretrained(folder)
    blocks = np.array_split(np.arange(len(unseen)), max(1, len(unseen) // 512))
    if (args.runs / "attributes" / "model").is_dir():
        reader = AttributeReader(models.load(network("attributes"), AttributeNet), {}, said, check(args.domain))
        told = reader.vocabulary.rows(attributes.labels(unseen.columns))
        reader.errors = reading_errors(
            reader.read(unseen.pixels(np.arange(len(unseen)))).numpy(), told, reader.vocabulary
        )
        reader.network.half()
        reader.save_pretrained(folder / "attributes")
    FaceEncoder(recognizer.half(), FaceFinder(finder.half()), space=spaces[0]).save_pretrained(folder / "encoder")
    FaceEncoder(judge.half(), space=spaces[1]).save_pretrained(folder / "judge")
    two = FaceEncoder.from_pretrained(folder / "encoder"), FaceEncoder.from_pretrained(folder / "judge")

    vectors = [torch.cat([recogniser.encode(unseen.pixels(rows)) for rows in blocks]) for recogniser in two]
    most = min(len(by_encoder) - 1, by_encoder.shape[1])
    components = axes_needed(by_encoder, most) if args.components is None else args.components
    measured, how = Seen(vectors[0], vectors[1], unseen.labels), {"components": components, "flow": flow.half()}
    parts = fit_parts(spaces, shown, measured, args.measured_on or said, check(args.domain), crowd=shown, **how)
    parts.save(folder)
    parts.own.threshold("image-mean", 1e-3), parts.judged.threshold("image-bridge", 1e-3)  # what every verdict needs


def _prior(denoiser: IdentityDiT, faces: Faces, vectors: Tensor) -> AttributePrior | None:
    """What draws attributes that nobody asks for; None where the denoiser knows none, or the faces do not say who."""
    known, labels = denoiser.config.attributes, attributes.labels(faces.columns)
    if not known or not set(attributes.PERSON) <= labels.keys():
        return None
    first = np.unique(faces.labels, return_index=True)[1]
    person = torch.from_numpy(np.stack([labels[name][first] for name in attributes.PERSON], 1).astype(np.float32))
    rows = torch.from_numpy(attributes.Vocabulary(known).rows(labels))
    return AttributePrior.fit(known, vectors, person, rows, torch.from_numpy(faces.labels), Generator().manual_seed(0))


def _check_origin(network: Callable[[str], Path], run: str) -> None:
    """Refuse a network that was trained with others than those it would be put together with."""
    file = network(run) / ORIGIN
    origin = files.read_json(file) if file.is_file() else {}
    for other in ("recognizer", "autoencoder", "generator"):
        named = (digest_of_latents if other == "autoencoder" else digest)(network(other))
        if origin.get(other, named) != named:
            raise InputError(
                f"The {run} in {network(run)} was trained with another {other} than {network(other)}: train it again."
            )
