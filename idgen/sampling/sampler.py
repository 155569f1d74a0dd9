"""Vectors of people who do not exist, where vectors of people live."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors.torch import save_file
from torch import Generator, Tensor

from idgen import models
from idgen.ground import arguments, files
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError
from idgen.ground.identity import SAMPLED, Identities, person_seed
from idgen.ground.vectors import check_vectors
from idgen.ground.weights import read_tensors
from idgen.sampling.axes import principal_axes

Method = Literal["flow", "gaussian", "sphere"]

_TENSORS = ("mean", "axes", "deviations", "people")
_HOW = {"flow": "by the flow", "gaussian": "from a Gaussian", "sphere": "uniform on the sphere"}
_BLOCK = 8  # people drawn together where that decides a bit
_TOGETHER = 128  # people drawn together elsewhere; more are no faster
_SLACK = 5e-15  # how many are drawn together changes a number an eighth as much at most
_TILE = 4096  # rows and columns of a matrix product


class IdentitySampler:
    """Draws vectors. Use `fit` or `from_pretrained`.

    - "flow": by a network that was trained on people's vectors (`IdentityFlow`). The default where there is one.
    - "gaussian": a Gaussian in the principal axes of people's vectors: x = normalise(μ + V(λ^½ z)), z standard normal,
      as Vec2Face (arXiv 2409.02979) and Arc2Face (arXiv 2403.11641) sample. Needs no training; the default otherwise.
    - "sphere": uniform on the unit sphere, as IDiff-Face samples (arXiv 2308.04995).

    Args:
        space: name of the embedding space.
        mean: μ (D,).
        axes: V (K, D), one principal axis a row.
        deviations: λ^½ (K,), standard deviations along them.
        people: (P, D) vectors of the people it was fitted on; kept as directions of whole numbers from -127 to 127,
            which moves a cosine by about 0.0005.
        flow: a trained `IdentityFlow`.
    """

    def __init__(
        self,
        space: str,
        mean: Tensor,
        axes: Tensor,
        deviations: Tensor,
        people: Tensor,
        flow: models.IdentityFlow | None = None,
    ):
        self.space, self.people = space, people
        if people.is_floating_point() and len(people):
            self.people = (people * (127 / people.abs().amax(1, keepdim=True))).round().to(torch.int8)
        # What is saved is what is used: the same bits come back from a folder.
        self.mean, self.axes, self.deviations = mean.float(), axes.float(), deviations.float()
        self.flow = flow
        self._exact_flow = None if flow is None else copy.deepcopy(flow).double().eval()

    @property
    def method(self) -> Method:
        """The default method."""
        return "gaussian" if self.flow is None else "flow"

    @property
    def dim(self) -> int:
        return len(self.mean)

    @classmethod
    @pinned()
    def fit(
        cls, vectors: Tensor, space: str, components: int | None = None, flow: models.IdentityFlow | None = None
    ) -> IdentitySampler:
        """Fit the Gaussian on people's centres.

        Args:
            vectors: (P, D), one a person (the mean of their embeddings); normalised here.
            space: name of the embedding space.
            components: K, how many principal axes to keep; by default all that P people support.
            flow: trained on the same people (`idgen train sampler`).

        Raises:
            InputError: fewer than 3 people, broken vectors, or more components than they support.
        """
        if vectors.ndim != 2 or len(vectors) < 3:
            raise InputError(f"The vectors of at least 3 people (P, D) are needed, got {tuple(vectors.shape)}.")
        people = vectors.detach().cpu().double()
        check_vectors(people, "The set of people")
        most = min(people.shape[1], len(people) - 1)
        components = most if components is None else components
        if not 1 <= components <= most:
            raise InputError(f"{len(people)} people in {people.shape[1]} dimensions give 1 to {most} components.")
        people = people / people.norm(dim=1, keepdim=True)
        return cls(space, *principal_axes(people, components), people, flow)

    @pinned()
    def sample(self, n: int, seed: int, method: Method | None = None, first: int = 0) -> Identities:
        """Draw people number `first` to `first + n − 1`; each depends only on the seed, the method and its number.

        Args:
            n: how many.
            seed: of the run, see `idgen.ground.identity.person_seed`.
            method: "flow", "gaussian" or "sphere", see the class; by default `self.method`.
            first: number of the first.

        Returns:
            Identities called like "person-7-0002" (seed 7, number 2), or like "sphere-7-0002" when the method is not
            the default one.

        Raises:
            InputError: anything of the above is not usable.
        """
        seed, n = arguments.seed(seed), arguments.whole("number of people to sample", n, 1, 1_000_000)
        first = arguments.whole("number of the first person", first, 0)
        method = self.method if method is None else method
        if method not in get_args(Method):
            raise InputError(f"There is no sampling method {method!r}: choose one of {', '.join(get_args(Method))}.")
        if not len(self.axes) and method != "sphere":
            raise InputError(
                "This model has no sampler, so nothing is known of where its people live: draw from the whole sphere "
                "(method sphere, as IDiff-Face does), or take people from a file."
            )
        if method == "flow" and self.flow is None:
            raise InputError("This sampler was saved without a flow: sample with the method `gaussian` or `sphere`.")
        vectors = self._vectors(seed, range(first, first + n), method)
        prefix, suffix = ("person", "") if method == self.method else (method, f", {_HOW[method]}")
        sources = [f"{SAMPLED}, seed {seed}, number {number}{suffix}" for number in range(first, first + n)]
        return Identities(vectors, self.space, sources, [f"{prefix}-{seed}-{first + i:04d}" for i in range(n)])

    def _vectors(self, seed: int, people: range, method: Method) -> Tensor:
        """(len(people), D) float32 unit vectors, of which nothing but seed, method and number decides a bit, since
        every later seed depends on them: they come out of double precision, and where a number lies so near the middle
        of two floats that how many are drawn together could decide, `_BLOCK` are."""
        parts = (people[start : start + _TOGETHER] for start in range(0, len(people), _TOGETHER))
        exact = torch.cat([self._drawn(seed, part, method) for part in parts])
        vectors = exact.float()
        unsure = ((exact - _SLACK).float() != (exact + _SLACK).float()).any(1)
        for row in unsure.nonzero()[:, 0].tolist():
            block, place = divmod(people[row], _BLOCK)
            vectors[row] = self._drawn(seed, range(block * _BLOCK, (block + 1) * _BLOCK), method)[place].float()
        return vectors

    def _drawn(self, seed: int, people: range, method: Method) -> Tensor:
        """(len(people), D) unit vectors in double precision."""
        flow = self._exact_flow if method == "flow" else None
        length = len(flow.axes) if flow is not None else len(self.axes) if method == "gaussian" else self.dim
        generators = [Generator().manual_seed(person_seed(seed, number)) for number in people]
        noise = torch.stack([torch.randn(length, generator=g, dtype=torch.float64) for g in generators])
        if flow is not None:
            return flow.sample(noise)
        if method == "gaussian":
            noise = self.mean.double() + noise @ (self.axes.double() * self.deviations.double()[:, None])
        return torch.nn.functional.normalize(noise)

    @pinned()
    def nearest(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine (N,) to the nearest of the people it was fitted on, and that person's row (N,), for vectors (N, D), of
        which only the directions count."""
        vectors = torch.nn.functional.normalize(vectors.detach().cpu().float())
        best = torch.full((len(vectors),), -torch.inf, dtype=torch.float32)
        index = torch.zeros(len(vectors), dtype=torch.long)
        for start in range(0, len(self.people), _TILE):  # tiles keep memory flat
            people = torch.nn.functional.normalize(self.people[start : start + _TILE].float())
            for rows in torch.arange(len(vectors)).split(_TILE):
                cosine, row = (vectors[rows] @ people.T).max(1)
                better = cosine > best[rows]
                best[rows] = torch.where(better, cosine, best[rows])
                index[rows] = torch.where(better, row + start, index[rows])
        return best, index

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json`, `sampler.safetensors` and, where there is one, `flow/`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / "config.json", {"_class_name": type(self).__name__, "space": self.space})
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        save_file(tensors, folder / "sampler.safetensors", {"format": "pt"})
        if self.flow is not None:
            self.flow.save_pretrained(folder / "flow")

    @classmethod
    @pinned()
    def from_pretrained(cls, folder: str | Path) -> IdentitySampler:
        """Read what `save_pretrained` wrote. InputError if the folder is not a sampler's, or a tensor is missing, extra
        or of the wrong shape."""
        folder = Path(folder)
        space = files.read_json(folder / "config.json").get("space")
        if not isinstance(space, str):
            raise InputError(f"{folder / 'config.json'} does not name an embedding space: is this a sampler's folder?")
        tensors = read_tensors(folder / "sampler.safetensors", "sampler", "where the model came from")
        if set(tensors) != set(_TENSORS):
            raise InputError(f"The sampler in {folder} has the tensors {sorted(tensors)}, needed: {sorted(_TENSORS)}.")
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        dim, count = tensors["mean"].numel(), tensors["deviations"].numel()
        rows = (*shapes["people"][:1], dim)
        if shapes != {"mean": (dim,), "axes": (count, dim), "deviations": (count,), "people": rows}:
            raise InputError(f"The tensors of the sampler in {folder} do not fit together: {shapes}.")
        flow = models.load(folder / "flow", models.IdentityFlow) if (folder / "flow").is_dir() else None
        return cls(space, **tensors, flow=flow)
