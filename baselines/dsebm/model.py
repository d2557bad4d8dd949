"""DSEBM: deep structured energy-based models for anomaly detection (Zhai, Cheng, Lu, Zhang 2016).

A net gives the energy; it is trained by score matching in its denoising form (Vincent 2011), in which
x - grad E(x) must give a clean example back from a noisy one. Both the energy (DSEBM-e) and the
reconstruction error (DSEBM-r) tell anomalies.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from ebbench import Data, DataSpec, Model, Run, score
from ebbench.nn.mlp import mlp


class Energy(nn.Module):
    """E(x) = ||x - b'||^2 / 2 - sum of h(x), (n, ...) -> (n,), h of dense layers with softplus."""

    def __init__(self, size: int, layers: tuple[int, ...]) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(size))
        self.h = mlp([size, *layers], nn.Softplus(), last_linear=False)

    def forward(self, x: Tensor) -> Tensor:
        """The energies, (n,)."""
        flat = x.flatten(1)
        energies: Tensor = (flat - self.centre).square().sum(1) / 2 - self.h(flat).sum(1)
        return energies


class DSEBM(Model):
    @dataclass(frozen=True)
    class Config:
        steps: int = 100_000
        """Training steps (our choice)."""
        epochs: int = 0
        """Passes over the data, in place of `steps`; 0 counts steps."""
        batch_size: int = 100
        """Examples a step (ALAD's code for KDD99)."""
        layers: tuple[int, ...] = (128, 512)
        """Hidden sizes (ALAD's code for KDD99, which then goes back down through the same weights)."""
        noise: float = 1.0
        """Standard deviation of the noise, in the data's units (ALAD's code for KDD99)."""
        lr: float = 1e-4
        """Learning rate of Adam (ALAD's code for KDD99)."""
        beta1: float = 0.9
        """Adam's first decay (ALAD's code for KDD99)."""
        beta2: float = 0.999
        """Adam's second decay (Kingma and Ba 2015)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        self.E = Energy(prod(data.shape), config.layers)

    def train(self, data: Data, run: Run) -> None:
        c = self.config
        self.opt = torch.optim.Adam(self.E.parameters(), c.lr, (c.beta1, c.beta2), fused=True)
        length = {"epochs": c.epochs} if c.epochs else {"steps": c.steps}
        for x in run.batches(data, size=c.batch_size, **length):
            # Denoising score matching: min ||x - f(x + noise)||^2 with f(x) = x - grad E(x)
            noisy = x + c.noise * torch.randn_like(x)
            loss = (x - self._denoised(noisy)).flatten(1).square().sum(1).mean()
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            run.log(denoising=loss)

    def _denoised(self, x: Tensor) -> Tensor:
        """x - grad E(x), with its graph."""
        x = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.E(x).sum(), x, create_graph=True)
        return x - gradient

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """E(x): DSEBM-e."""
        energies: Tensor = self.E(x)
        return energies

    @score("reconstruction")
    def reconstruction(self, x: Tensor) -> Tensor:
        """||x - f(x)||^2 = ||grad E(x)||^2: DSEBM-r."""
        return (x - self._denoised(x)).flatten(1).square().sum(1).detach()
