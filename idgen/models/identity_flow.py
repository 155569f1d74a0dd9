"""Where identity vectors live, learned: a flow that carries normal noise to people's recognition vectors."""

from __future__ import annotations

import math
from typing import cast

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class IdentityFlow(ModelMixin, ConfigMixin):
    """Flow matching (Lipman et al. 2023, arXiv 2210.02747) on vectors, in the principal axes of people's centres.

    A Gaussian in those axes fills the directions between people as well, where no face is; the flow bends it to where
    people are.

    Args:
        identity_dim: length D of an identity vector.
        components: K, how many principal axes; what lies beyond them is left out.
        width: of the residual layers.
        depth: number of residual layers.
        temperature: factor on the noise a sample starts from; below 1, samples are likelier and less varied.
        steps: Heun steps from noise to a vector.
    """

    mean: Tensor
    axes: Tensor
    deviations: Tensor

    @register_to_config
    def __init__(
        self,
        identity_dim: int = 512,
        components: int = 64,
        width: int = 256,
        depth: int = 3,
        temperature: float = 0.9,
        steps: int = 16,
    ):
        super().__init__()
        self.register_buffer("mean", torch.zeros(identity_dim))
        self.register_buffer("axes", torch.zeros(components, identity_dim))
        self.register_buffer("deviations", torch.ones(components))
        self.inputs, self.time = nn.Linear(components, width), nn.Linear(64, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
            for _ in range(depth)
        )
        self.outputs = nn.Linear(width, components)
        nn.init.zeros_(self.outputs.weight)

    def to_coordinates(self, vectors: Tensor) -> Tensor:
        """Vectors (N, D) in the whitened principal axes: (N, K)."""
        return (vectors - self.mean) @ self.axes.T / self.deviations

    def to_vectors(self, coordinates: Tensor) -> Tensor:
        """The way back, to unit length: (N, K) to (N, D)."""
        return nn.functional.normalize(self.mean + coordinates * self.deviations @ self.axes)

    def forward(self, coordinates: Tensor, time: Tensor) -> Tensor:
        """Velocity (N, K) at coordinates (N, K) and times (N,) in [0, 1]; 1 is noise."""
        frequencies = torch.exp(torch.linspace(0, math.log(100), 32, device=time.device, dtype=time.dtype))
        angles = time[:, None] * frequencies
        x = self.inputs(coordinates) + self.time(torch.cat([angles.cos(), angles.sin()], 1))
        for layer in self.layers:
            x = x + layer(x)
        return cast(Tensor, self.outputs(x))

    def loss(self, vectors: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """What training makes small: the error of the velocity at vectors (N, D) mixed with noise (N, K) at times
        (N,)."""
        clean = self.to_coordinates(vectors)
        mixed = (1 - time[:, None]) * clean + time[:, None] * noise
        # An error counts by what it moves: an axis by its variance.
        weight = self.deviations.square() / self.deviations.square().mean()
        return ((self(mixed, time).float() - (noise - clean)).square() * weight).mean()

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
