"""Train what says how surely a face can be told from others', for any recogniser, which does not learn itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize, smooth_l1_loss

from idgen.faces.encoder import QUALITY, FaceEncoder
from idgen.faces.resolve import folder_of, recogniser, user_quality
from idgen.ground import files
from idgen.ground.errors import InputError
from idgen.ground.identity import centres
from idgen.models.quality_net import QualityNet
from idgen.training import views
from idgen.training.data import Faces, load_faces
from idgen.training.loop import FacesArgs, Task, build, train
from idgen.training.recognition import certainty_ratio


@dataclass(kw_only=True)
class QualityArgs(FacesArgs):
    """Train a measure of quality for a recogniser (CR-FIQA, Boutros et al. 2023) on labelled, aligned faces."""

    recogniser: str
    """Whose: dlib, an insightface pack, an ONNX file, a folder, nobody-128 or nobody-128/judge."""
    often: float = 1.0
    """Factor on how often pictures are made worse; without bad pictures there is nothing to learn."""
    put: bool = True
    """Put the network where the recogniser is loaded with it: into its folder, or for what has none yours."""


class QualityTask(Task):
    """The measure; the recogniser and everybody's centre stay as they are."""

    args: QualityArgs

    def __init__(self, args: QualityArgs, encoder: FaceEncoder, faces: Faces, held_out: Faces):
        super().__init__()
        torch.manual_seed(args.seed)
        self.args, self.frozen = args, (encoder, faces, held_out)
        self.network = build(QualityNet, args.model, dim=encoder.dim)
        self.centres = [centres(self._embedded(some), some.labels) for some in (faces, held_out)]

    def _embedded(self, faces: Faces) -> Tensor:
        encoder, _, _ = self.frozen
        return torch.cat([encoder.encode(faces.pixels(rows)) for rows in _blocks(len(faces))])

    def _worse(self, faces: Faces, rows: np.ndarray, generator: Generator) -> Tensor:
        told = views.strengths({"colour": 0.7})
        return views.view(faces.pixels(rows), generator, faces.images.shape[1], told, self.args.often)

    def _targets(self, vectors: Tensor, rows: np.ndarray, side: int) -> Tensor:
        return certainty_ratio(
            normalize(vectors), self.centres[side], torch.from_numpy(self.frozen[1:][side].labels[rows])
        )

    def forward(self, step: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        encoder, faces, _ = self.frozen
        rows = torch.randint(len(faces), (self.args.batch_size,), generator=generator).numpy()
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            vectors = encoder.embed_raw(self._worse(faces, rows, generator))
            wanted = self._targets(vectors, rows, 0)
        rated = self.network.train()(vectors.to(self.device))
        return smooth_l1_loss(rated.float(), wanted.to(self.device), beta=0.5), {"certainty": wanted.mean()}

    def validate(self, network: QualityNet, out: Path) -> dict[str, float]:
        """Rank correlation with the certainty of held-out people, half of whose pictures are made worse."""
        encoder, _, held_out = self.frozen
        generator, rated, wanted = Generator().manual_seed(0), [], []
        for rows in _blocks(len(held_out)):
            vectors = encoder.embed_raw(self._worse(held_out, rows, generator))
            rated.append(network(vectors.to(self.device)).float().cpu())
            wanted.append(self._targets(vectors, rows, 1))
        ranks = np.stack([torch.cat(each).argsort().argsort().numpy() for each in (rated, wanted)])
        return {"rank_correlation": float(np.corrcoef(ranks)[0, 1])}


def _blocks(count: int) -> list[np.ndarray]:
    return np.split(np.arange(count), range(64, count, 64))


def train_quality(args: QualityArgs) -> dict[str, float]:
    """Train a recogniser's measure of quality; the network is written to `args.out/model`, and put to the recogniser.

    Raises:
        InputError: there is no such recogniser, or there are fewer than three people on either side.
    """
    encoder = recogniser(args.recogniser)
    everybody = load_faces(args.data, args.size)
    faces, held_out = everybody.split_people(args.held_out_people)
    if min(faces.people, held_out.people) < 2:
        raise InputError("How surely a face is told from others' needs two people at least, and as many held out.")
    origin = {"data": everybody.content, "recogniser": encoder.space}
    metrics = train(QualityTask(args, encoder, faces, held_out), args, origin)
    if args.put:
        folder = folder_of(args.recogniser)
        target = user_quality(encoder.space) if folder is None else folder / QUALITY
        with files.aside(target) as beside:
            QualityNet.from_pretrained(args.out / "model").save_pretrained(beside)
    return metrics
