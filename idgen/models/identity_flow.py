"""Where identity vectors live, learned: a flow that carries normal noise to people's recognition vectors."""

from __future__ import annotations

import math

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

_LEVELS = 257


def _levels() -> Tensor:
    """(257,) values of a standard normal variable at equal steps of probability; the ends at half a thousandth."""
    return torch.special.ndtri(torch.linspace(0, 1, _LEVELS, dtype=torch.float64).clamp(0.0005, 0.9995)).float()


def _between(values: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Values (N,) carried by the line through ascending points `source` (Q,) → `target` (Q,)."""
    right = torch.searchsorted(source, values).clamp(1, len(source) - 1)
    low, high = source[right - 1], source[right]
    share = ((values - low) / (high - low).clamp_min(1e-6)).clamp(-1, 2)
    return target[right - 1] + share * (target[right] - target[right - 1])


class IdentityFlow(ModelMixin, ConfigMixin):
    """Flow matching (Lipman et al. 2023, arXiv 2210.02747) on vectors, in the principal axes of people's centres.

    A Gaussian in those axes fills the directions between people as well, where no face is; the flow bends it to where
    people are. Along some directions people come in camps (women and men) or evenly spread, of which little shows in
    the axes: there a coordinate is first carried to a Gaussian by its quantiles (Gaussianization, Chen & Gopinath
    2000), so that samples fall between two camps as rarely as people do.

    Args:
        identity_dim: length D of an identity vector.
        components: K, how many principal axes; what lies beyond them is left out.
        width: of the residual layers.
        depth: number of residual layers.
        temperature: factor on the noise a sample starts from; below 1, samples are likelier and less varied.
        steps: Heun steps from noise to a vector.
        shaped: of the coordinates, how many go by their quantiles; the first ones, after a turn of the axes.
        bent: of the coordinates, how many the network sees and moves, the first ones: along the others people hardly
            differ, and a Gaussian does. By default all.
    """

    mean: Tensor
    axes: Tensor
    deviations: Tensor
    turn: Tensor
    quantiles: Tensor

    @register_to_config
    def __init__(
        self,
        identity_dim: int = 512,
        components: int = 64,
        width: int = 256,
        depth: int = 3,
        temperature: float = 0.9,
        steps: int = 16,
        shaped: int = 0,
        bent: int | None = None,
    ):
        super().__init__()
        self.register_buffer("mean", torch.zeros(identity_dim))
        self.register_buffer("axes", torch.zeros(components, identity_dim))
        self.register_buffer("deviations", torch.ones(components))
        if shaped:
            self.register_buffer("turn", torch.eye(components))
            self.register_buffer("quantiles", _levels().repeat(shaped, 1))
        bent = components if bent is None else bent
        self.inputs, self.time = nn.Linear(bent, width), nn.Linear(64, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
            for _ in range(depth)
        )
        self.outputs = nn.Linear(width, bent)
        nn.init.zeros_(self.outputs.weight)

    @torch.no_grad()
    def fit(self, vectors: Tensor, mean: Tensor, axes: Tensor, deviations: Tensor, turn: Tensor) -> None:
        """Set the coordinates: people's unit vectors (P, D), their mean (D,), axes (K, D) and deviations (K,), and
        orthonormal rows (K, K) of which the first `shaped` are the directions that go by quantiles."""
        for buffer, fitted in ((self.mean, mean), (self.axes, axes), (self.deviations, deviations)):
            buffer.copy_(fitted)
        if self.config.shaped:
            self.turn.copy_(turn)
            along = self._whitened(vectors.to(self.mean)) @ self.turn[: self.config.shaped].T
            shares = torch.linspace(0, 1, _LEVELS, device=along.device, dtype=along.dtype)
            self.quantiles.copy_(torch.quantile(along, shares, dim=0).T)

    def _whitened(self, vectors: Tensor) -> Tensor:
        return (vectors - self.mean) @ self.axes.T / self.deviations

    def to_coordinates(self, vectors: Tensor) -> Tensor:
        """Vectors (N, D) in the network's coordinates: (N, K)."""
        out = self._whitened(vectors)
        return self._shape(out @ self.turn.T, to_normal=True) if self.config.shaped else out

    def to_vectors(self, coordinates: Tensor) -> Tensor:
        """The way back, to unit length: (N, K) to (N, D)."""
        if self.config.shaped:
            coordinates = self._shape(coordinates, to_normal=False) @ self.turn
        return nn.functional.normalize(self.mean + coordinates * self.deviations @ self.axes)

    def _shape(self, coordinates: Tensor, to_normal: bool) -> Tensor:
        """The first coordinates carried from people's quantiles to a Gaussian's, or back; linear in between and,
        beyond the last ones, along the line through them."""
        levels, out = _levels().to(coordinates), coordinates.clone()
        for place, quantiles in enumerate(self.quantiles):
            ends = (quantiles, levels) if to_normal else (levels, quantiles)
            out[:, place] = _between(coordinates[:, place].contiguous(), *ends)
        return out

    @property
    def importance(self) -> Tensor:
        """(K,) how much an error along each coordinate counts: by what it moves, its variance ÷ the mean; but what is
        shaped counts as the mean at least, for people in camps differ by little."""
        variances = self.deviations.square()
        if self.config.shaped:
            variances = self.turn.square() @ variances
        out = variances / variances.mean()
        out[: self.config.shaped] = out[: self.config.shaped].clamp_min(1)
        return out

    def forward(self, coordinates: Tensor, time: Tensor) -> Tensor:
        """Velocity (N, K) at coordinates (N, K) and times (N,) in [0, 1]; 1 is noise. None along what is not bent."""
        frequencies = torch.exp(torch.linspace(0, math.log(100), 32, device=time.device, dtype=time.dtype))
        angles = time[:, None] * frequencies
        seen = coordinates[:, : self.inputs.in_features]
        x = self.inputs(seen) + self.time(torch.cat([angles.cos(), angles.sin()], 1))
        for layer in self.layers:
            x = x + layer(x)
        return nn.functional.pad(self.outputs(x), (0, coordinates.shape[1] - self.outputs.out_features))

    def loss(self, vectors: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """What training makes small: the error of the velocity at vectors (N, D) mixed with noise (N, K) at times
        (N,)."""
        clean, bent = self.to_coordinates(vectors), self.outputs.out_features
        mixed = (1 - time[:, None]) * clean + time[:, None] * noise
        errors = (self(mixed, time).float() - (noise - clean)).square() * self.importance
        return errors[:, :bent].mean()

    @torch.no_grad()
    def sample(self, noise: Tensor) -> Tensor:
        """Standard normal noise (N, K) to unit vectors (N, D), by Heun's method."""
        x, steps = noise * self.config.temperature, self.config.steps
        for step in range(steps, 0, -1):
            now, following = (torch.full_like(x[:, 0], t / steps) for t in (step, step - 1))
            velocity = self(x, now)
            ahead = x - velocity / steps
            x = x - (velocity + self(ahead, following)) / (2 * steps)
        return self.to_vectors(x)
