"""Put trained networks together into the folder that `idgen.hub.Model` and `from_pretrained` read.

Fits what is fitted on the training people (where identities live, the bridge to the judge's space) and measures what
has to be measured on people that no network has seen (the calibrations).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor

from idgen.errors import InputError
from idgen.faces.encoder import FaceEncoder, load_network
from idgen.faces.finder import FaceFinder
from idgen.identity import centres
from idgen.models import FaceAutoencoder, FaceFinderNet, IdentityDiT, IdentityFlow, ResNetRecognizer
from idgen.pipelines import IDiffFacePipeline
from idgen.sampling import IdentitySampler
from idgen.scoring import Bridge, Judge, write_calibrations
from idgen.training.data import Faces, load_faces
from idgen.training.loop import replace_folder
from idgen.training.recognition import cached_embeddings


@dataclass(kw_only=True)
class AssembleArgs:
    """Make a model folder of the networks in `runs/<network>/model`."""

    out: Path
    """The model's folder; its README.md is kept."""
    data: Path
    """The faces that the networks were trained on."""
    measure: Path
    """Faces of people that none of them has seen, for the calibrations."""
    measured_on: str
    """What those are, in words: it goes into the calibrations."""
    runs: Path = Path("runs")
    """Folder with the runs recognizer, judge, finder, autoencoder, generator and sampler."""
    name: str = "nobody-128"
    """Name of the model; its embedding spaces are called `<name>-encoder` and `<name>-judge`."""
    components: int = 48
    """Principal axes of the Gaussian that people can be sampled from; with all, vectors fall where no face is."""
    num_inference_steps: int = 15
    guidance_scale: float = 2.0


def assemble(args: AssembleArgs) -> Path:
    """Write the model's folder, beside and then in one move; returns it.

    Raises:
        InputError: a network is missing or does not fit.
    """
    out = Path(args.out)
    aside = out.with_name(f"{out.name}.{os.getpid()}")
    spaces = f"{args.name}-encoder", f"{args.name}-judge"

    def network(run: str) -> Path:
        folder = Path(args.runs) / run / "model"
        if not folder.is_dir():
            raise InputError(f"There is no trained {run} in {folder}: run `idgen train {run}` first.")
        return folder

    denoiser = load_network(network("generator"), IdentityDiT)
    autoencoder = load_network(network("autoencoder"), FaceAutoencoder)
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=1.0)
    pipeline = IDiffFacePipeline(
        # Half precision in the files only: everything is computed in float32 after loading.
        denoiser.half(),
        autoencoder.half(),
        scheduler,
        space=spaces[0],
        num_inference_steps=args.num_inference_steps,
        guidance_scale=args.guidance_scale,
    )
    pipeline.save_pretrained(aside)
    finder = FaceFinder(load_network(network("finder"), FaceFinderNet).half())
    recognizer, judge = (
        load_network(network("recognizer"), ResNetRecognizer).half(),
        load_network(network("judge"), ModelMixin).half(),
    )
    FaceEncoder(recognizer, finder, space=spaces[0]).save_pretrained(aside / "encoder")
    FaceEncoder(judge, space=spaces[1]).save_pretrained(aside / "judge")
    both = FaceEncoder.from_pretrained(aside / "encoder"), FaceEncoder.from_pretrained(aside / "judge")

    faces = load_faces(args.data)
    by_encoder, by_judge = (
        centres(cached_embeddings(network(run), faces), faces.labels) for run in ("recognizer", "judge")
    )
    flow = load_network(network("sampler"), IdentityFlow).half()
    IdentitySampler.fit(by_encoder, spaces[0], args.components, flow=flow).save_pretrained(aside / "sampler")
    Judge(both[1], Bridge.fit(by_encoder, by_judge, *spaces)).save_pretrained(aside / "judge")
    shutil.rmtree(aside / "judge" / "recognizer")
    judge.save_pretrained(aside / "judge" / "recognizer")  # the half-precision file again

    unseen = load_faces(args.measure)
    vectors = [embed_faces(recogniser, unseen) for recogniser in both]
    write_calibrations(aside, vectors[0], vectors[1], unseen.labels, args.measured_on)
    if (out / "README.md").exists():
        shutil.copy(out / "README.md", aside)
    replace_folder(aside, out)
    return out


def embed_faces(encoder: FaceEncoder, faces: Faces) -> Tensor:
    """(N, D) unit embeddings of aligned faces."""
    blocks = np.array_split(np.arange(len(faces)), max(1, len(faces) // 512))
    return torch.cat([encoder.encode(faces.pixels(rows)) for rows in blocks])
