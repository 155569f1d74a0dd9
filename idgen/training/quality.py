"""Train what says how surely a face can be told from others', for any recogniser, which does not learn itself.

A recogniser that was made with a quality head has that head fitted; for any other, a small network on its vectors is
trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize, smooth_l1_loss
from tqdm.auto import tqdm

from idgen.faces.encoder import QUALITY, FaceEncoder
from idgen.faces.resolve import folder_of, recogniser, user_quality
from idgen.ground import files
from idgen.ground.arguments import FMR
from idgen.ground.errors import InputError
from idgen.ground.identity import centres
from idgen.models.quality_net import QualityNet
from idgen.scoring.verification import threshold_at_fmr
from idgen.training import views
from idgen.training.data import Album, Faces, load_faces
from idgen.training.loop import FacesArgs, Task, build, train
from idgen.training.recognition import certainty_ratio

_RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0)  # of the mean variance of a map's value
_SOFT = 0.1  # of a cosine


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

    def _targets(self, vectors: Tensor, rows: np.ndarray, side: int) -> Tensor:
        return certainty_ratio(
            normalize(vectors), self.centres[side], torch.from_numpy(self.frozen[1:][side].labels[rows])
        )

    def forward(self, step: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        encoder, faces, _ = self.frozen
        rows = torch.randint(len(faces), (self.args.batch_size,), generator=generator).numpy()
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            vectors = encoder.embed_raw(_worse(self.args, faces.pixels(rows), generator))
            wanted = self._targets(vectors, rows, 0)
        rated = self.network.train()(vectors.to(self.device))
        return smooth_l1_loss(rated.float(), wanted.to(self.device), beta=0.5), {"certainty": wanted.mean()}

    def validate(self, network: QualityNet, out: Path) -> dict[str, float]:
        """Rank correlation with the certainty of held-out people, half of whose pictures are made worse."""
        encoder, _, held_out = self.frozen
        generator, rated, wanted = Generator().manual_seed(0), [], []
        for rows in _blocks(len(held_out)):
            vectors = encoder.embed_raw(_worse(self.args, held_out.pixels(rows), generator))
            rated.append(network(vectors.to(self.device)).float().cpu())
            wanted.append(self._targets(vectors, rows, 1))
        return {"rank_correlation": _rank_correlation(torch.cat(rated), torch.cat(wanted))}


def _worse(args: QualityArgs, pixels: Tensor, generator: Generator) -> Tensor:
    return views.view(pixels, generator, pixels.shape[-1], views.strengths({"colour": 0.7}), args.often)


def _blocks(count: int) -> list[np.ndarray]:
    return np.split(np.arange(count), range(64, count, 64))


def train_quality(args: QualityArgs) -> dict[str, float]:
    """Train a recogniser's measure of quality; the network is written to `args.out/model`, and put to the recogniser.
    Where that has a quality head of its own, the head is fitted, see `fit_head`.

    Raises:
        InputError: there is no such recogniser, or there are fewer than three people on either side.
    """
    encoder = recogniser(args.recogniser)
    everybody = load_faces(args.data, args.size)
    faces, held_out = everybody.split_people(args.held_out_people)
    if min(faces.people, held_out.people) < 2:
        raise InputError("How surely a face is told from others' needs two people at least, and as many held out.")
    folder = folder_of(args.recogniser)
    if encoder.has_head:
        metrics = fit_head(args, encoder, faces, held_out)
        network, target = encoder.recognizer, None if folder is None else folder / "recognizer"
    else:
        origin = {"data": everybody.content, "recogniser": encoder.space}
        metrics = train(QualityTask(args, encoder, faces, held_out), args, origin)
        network = QualityNet.from_pretrained(args.out / "model")
        target = user_quality(encoder.space) if folder is None else folder / QUALITY
    for place in (args.out / "model" if encoder.has_head else None, target if args.put else None):
        if place is not None:
            with files.aside(place) as beside:
                network.save_pretrained(beside)
    return metrics


def fit_head(args: QualityArgs, encoder: FaceEncoder, faces: Faces, held_out: Faces) -> dict[str, float]:
    """Fit the recogniser's own quality head, in place: how many of the person's other pictures a picture matches at FMR
    1e-3, by ridge regression on the maps before the last layer, which tell more of it than the vector does.

    Every picture is looked at as it is and, unless `args.often` is 0, once more made worse. How much is shrunk is what
    ranks the pictures of held-out people best. It is exact: there are no steps, and a moment is enough.

    Returns:
        `rank_correlation` with the matches of held-out people, and the `ridge`.
    """
    generator = Generator().manual_seed(args.seed)
    seen, other = (_Seen(args, encoder, some, generator) for some in (faces, held_out))
    threshold = seen.threshold()
    gram = sums = torch.zeros(())
    for maps, wanted in seen.matches(threshold):
        gram, sums = gram + maps.T @ maps, sums + maps.T @ wanted
    shown = [torch.cat(parts) for parts in zip(*other.matches(threshold), strict=True)]
    count, usual = gram[-1, -1], gram[:-1, -1] / gram[-1, -1]
    usual_variance = (gram.diagonal()[:-1] / count - usual**2).mean()
    least = torch.ones(len(gram), dtype=torch.float64)
    least[-1] = 0  # the constant
    found = []
    for ridge in _RIDGES:
        weights = torch.linalg.solve(gram + torch.diag(ridge * count * usual_variance * least), sums)
        found.append((_rank_correlation(shown[0] @ weights, shown[1]), ridge, weights))
    correlation, ridge, weights = max(found, key=lambda one: one[0])
    layer = encoder.recognizer.quality_head[1]
    with torch.no_grad():
        layer.weight.copy_(weights[None, :-1])
        layer.bias.copy_(weights[-1:])
    return {"rank_correlation": correlation, "ridge": ridge}


class _Seen:
    """Pictures, their vectors, and who else is on which."""

    def __init__(self, args: QualityArgs, encoder: FaceEncoder, faces: Faces, generator: Generator):
        self.args, self.encoder, self.faces, self.generator = args, encoder, faces, generator
        blocks = tqdm(_blocks(len(faces)), desc="embedding", unit="block")
        self.vectors = torch.cat([encoder.encode(faces.pixels(rows)) for rows in blocks])
        self.labels = torch.from_numpy(faces.labels)

    def threshold(self) -> float:
        """Where a random picture of somebody else matches once in a thousand times."""
        first, second = torch.randint(len(self.labels), (2, 200_000), generator=self.generator)
        first, second = (rows[self.labels[first] != self.labels[second]] for rows in (first, second))
        scores = torch.cat(
            [
                (self.vectors[a] * self.vectors[b]).sum(1)
                for a, b in zip(first.split(4096), second.split(4096), strict=True)
            ]
        )
        return threshold_at_fmr(scores.numpy(), FMR)

    def matches(self, threshold: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Blocks of (n, M + 1) maps, flat, with a constant, and (n,) which share of the person's other pictures each
        matches, in double precision; a little below the threshold still counts a little."""
        album = Album(self.faces.labels)
        for rows in tqdm(_blocks(len(self.faces)), desc="learning", unit="block"):
            plain = self.faces.pixels(rows)
            for pixels in (plain, _worse(self.args, plain, self.generator)) if self.args.often else (plain,):
                vectors, maps = self.encoder.encode(pixels), self.encoder.maps(pixels).double()
                wanted = torch.tensor([self._match(album, *one, threshold) for one in zip(vectors, rows, strict=True)])
                known = wanted.isfinite()
                yield torch.cat([maps, torch.ones(len(maps), 1)], 1)[known], wanted[known].double()

    def _match(self, album: Album, vector: Tensor, row: int, threshold: float) -> float:
        others = album.of(int(self.labels[row]))
        scores = self.vectors[others[others != row]] @ vector
        return float(((scores - threshold) / _SOFT).sigmoid().mean())


def _rank_correlation(one: Tensor, other: Tensor) -> float:
    ranks = np.stack([each.argsort().argsort().numpy() for each in (one, other)])
    return float(np.corrcoef(ranks)[0, 1])
