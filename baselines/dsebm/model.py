"""DSEBM: Deep Structured Energy-Based Models for Anomaly Detection (Zhai, Cheng, Lu, Zhang 2016).

A network gives the energy E. Denoising score matching trains it (Vincent 2011): x - grad E(x) must recover
the clean example from a noisy one. Two scores detect anomalies: the energy (DSEBM-e) and the reconstruction
error (DSEBM-r).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from ebbench import Data, DataSpec, Model, Run, score
from ebbench.nn.mlp import mlp


class Energy(nn.Module):
    """E(x) = ||x - b'||^2 / 2 - sum of h(x), (n, ...) -> (n,), where h is an MLP with softplus."""

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
        """Training epochs; if above 0, they replace `steps`."""
        batch_size: int = 100
        """Batch size (ALAD's code for KDD99)."""
        layers: tuple[int, ...] = (128, 512)
        """Hidden sizes (ALAD's code for KDD99, which then maps back through the same weights)."""
        noise: float = 1.0
        """Standard deviation of the noise, in units of the data (ALAD's code for KDD99)."""
        lr: float = 1e-4
        """Adam's learning rate (ALAD's code for KDD99)."""
        beta1: float = 0.9
        """Adam's beta_1 (ALAD's code for KDD99)."""
        beta2: float = 0.999
        """Adam's beta_2 (Kingma and Ba 2015)."""

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
        """f(x) = x - grad E(x), differentiable."""
        x = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.E(x).sum(), x, create_graph=True)
        return x - gradient

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """E(x), (n,): DSEBM-e."""
        energies: Tensor = self.E(x)
        return energies

    @score("reconstruction")
    def reconstruction(self, x: Tensor) -> Tensor:
        """||x - f(x)||^2 = ||grad E(x)||^2, (n,): DSEBM-r."""
        return (x - self._denoised(x)).flatten(1).square().sum(1).detach()
