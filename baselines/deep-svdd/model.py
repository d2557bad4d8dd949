"""Deep SVDD: a network that maps the training data close to one point (Ruff et al. 2018).

This is One-Class Deep SVDD, the paper's equation 4. The network has no biases and no bounded activations:
with either one it could map every input to the centre (propositions 2 and 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from ebbench import Data, DataSpec, Model, Run

CHUNK = 8192


class Sphere(nn.Module):
    """A network and the centre of its outputs, (m,)."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(sizes):
            layers += [nn.Linear(narrow, wide, bias=False), nn.LeakyReLU(0.1)]
        self.net = nn.Sequential(*layers[:-1])
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(sizes[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Squared distance of each output to the centre, (n,)."""
        distances: Tensor = (self.net(x.flatten(1)) - self.centre).square().sum(1)
        return distances


class DeepSVDD(Model):
    @dataclass(frozen=True)
    class Config:
        steps: int = 10_000
        """Training steps (our choice)."""
        batch_size: int = 200
        """Batch size (the paper, section 4.1)."""
        layers: tuple[int, ...] = (64, 32)
        """Layer sizes, the last being the output's (pyod's; the paper has networks for images)."""
        lr: float = 1e-4
        """Adam's learning rate (the paper's final rate; its first phase uses ten times that)."""
        weight_decay: float = 1e-6
        """lambda, the weight of the squared weights (the paper, section 4.1)."""
        least_centre: float = 0.1
        """Minimum absolute value of each coordinate of the centre: a network could reach a centre at 0 by
        vanishing weights (the released code)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        self.sphere = Sphere([prod(data.shape), *config.layers])

    def train(self, data: Data, run: Run) -> None:
        c = self.config
        self.opt = torch.optim.Adam(self.sphere.parameters(), c.lr, weight_decay=c.weight_decay, fused=True)
        self._set_centre(data)
        for x in run.batches(data, size=c.batch_size, steps=c.steps):
            loss = self.sphere(x).mean()
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            run.log(distance=loss)

    @torch.no_grad()
    def _set_centre(self, data: Data) -> None:
        """Set the centre to the mean output of the untrained network (section 3.3); it stays fixed."""
        parts = torch.arange(len(data), device=data.device).split(CHUNK)
        sums = torch.stack([self.sphere.net(data[part].flatten(1)).sum(0) for part in parts])
        centre = sums.sum(0) / len(data)
        away = torch.where(centre < 0, -self.config.least_centre, self.config.least_centre)
        self.sphere.centre.copy_(torch.where(centre.abs() < self.config.least_centre, away, centre))

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """Squared distance to the centre, (n,) (equation 5)."""
        distances: Tensor = self.sphere(x)
        return distances
