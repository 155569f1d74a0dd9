"""What a picture of an encoder's vector should look like to a judge: a linear map between two embedding spaces."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

from idgen.ground import files
from idgen.ground.devices import pinned
from idgen.ground.errors import InputError

BRIDGE_NAME = "bridge.safetensors"


class Bridge:
    """A linear map from the encoder's vectors to the judge's: normalise(W x + b).

    Args:
        weight: W (Dj, De).
        bias: b (Dj,).
        source, target: names of the encoder's and of the judge's embedding space.
    """

    def __init__(self, weight: Tensor, bias: Tensor, source: str, target: str):
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise InputError(f"A bridge has a weight (Dj, De) and a bias (Dj,), got {weight.shape} and {bias.shape}.")
        # Rounded to half precision, as it is saved: what is saved is what is used.
        self.weight, self.bias = weight.detach().cpu().half().float(), bias.detach().cpu().half().float()
        self.source, self.target = source, target

    @classmethod
    @pinned()
    def fit(cls, encoder_vectors: Tensor, judge_vectors: Tensor, source: str, target: str) -> Bridge:
        """Ridge regression between people's centres (see `idgen.ground.identity.centres`), with an intercept and the
        penalty that has the least leave-one-out error (the PRESS statistic, Allen 1974).

        Args:
            encoder_vectors: (P, De), one a person; normalised here.
            judge_vectors: (P, Dj), the same people; normalised here.
            source, target: names of the two spaces.
        """
        a, b = tuple(encoder_vectors.shape), tuple(judge_vectors.shape)
        if len(a) != 2 or len(b) != 2 or a[0] != b[0] or a[0] < 3:
            raise InputError(
                f"A bridge is fitted on (P, De) and (P, Dj) vectors of at least 3 people, got {a} and {b}."
            )
        x, y = (normalize(vectors.detach().cpu().double()) for vectors in (encoder_vectors, judge_vectors))
        if not (x.isfinite().all() and y.isfinite().all()):
            raise InputError("The vectors to fit a bridge on hold NaN or infinity.")
        x_mean, y_mean = x.mean(0), y.mean(0)
        x, y = x - x_mean, y - y_mean
        variances, axes = torch.linalg.eigh(x.T @ x)
        variances = variances.clamp_min(0)
        rotated = x @ axes
        products = rotated.T @ y

        def solve(penalty: float) -> tuple[Tensor, float]:  # in units of the mean variance times P
            inverse = 1 / (variances + penalty * variances.mean())
            weights = inverse[:, None] * products
            leverage = (rotated**2 @ inverse + 1 / len(x)).clamp_max(1 - 1e-9)
            press = ((y - rotated @ weights) / (1 - leverage)[:, None]).square().sum()
            return weights, float(press)

        weights, _ = min((solve(10.0 ** (step / 2)) for step in range(-8, 7)), key=lambda fit: fit[1])
        weight = (axes @ weights).T
        return cls(weight, y_mean - weight @ x_mean, source, target)

    @pinned()
    def __call__(self, vectors: Tensor) -> Tensor:
        """The judge's unit vectors (N, Dj), or (Dj,), to expect of the encoder's vectors (N, De), or (De,)."""
        if vectors.shape[-1] != self.weight.shape[1]:
            raise InputError(
                f"The bridge takes vectors of {self.weight.shape[1]} numbers, got the shape {tuple(vectors.shape)}."
            )
        return normalize(vectors.detach().cpu().float() @ self.weight.T + self.bias, dim=-1)

    def save(self, path: str | Path) -> None:
        """Write safetensors: `weight`, `bias`, in half precision; metadata `from` and `to`."""
        tensors = {"weight": self.weight.half().contiguous(), "bias": self.bias.half().contiguous()}
        with files.aside(path) as beside:
            save_file(tensors, beside, {"format": "pt", "from": self.source, "to": self.target})

    @classmethod
    @pinned()
    def load(cls, path: str | Path) -> Bridge:
        """Read what `save` wrote; InputError when it cannot be read."""
        try:
            with safe_open(path, "pt") as file:
                metadata, names = file.metadata() or {}, sorted(file.keys())
                if names != ["bias", "weight"]:
                    raise ValueError(f"it has the tensors {names}, not bias and weight")
                tensors = {name: file.get_tensor(name) for name in names}
            return cls(tensors["weight"], tensors["bias"], metadata["from"], metadata["to"])
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise InputError(f"There is no readable bridge in {path} ({error!r}).") from error
