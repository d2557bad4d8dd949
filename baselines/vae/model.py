"""VAE: Auto-Encoding Variational Bayes (Kingma and Welling 2014), with a learned decoder variance.

The decoder is Gaussian. One variance, shared by all pixels or columns, is learned (Rybkin, Daniilidis, Levine
2021), so that the bound is a log density in the data's own units, for images and for tabular data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from ebbench import Data, DataSpec, Model, Run, sampler, score
from ebbench.nn.mlp import mlp
from ebbench.nn.noise import noise_of


class VAE(Model):
    @dataclass(frozen=True)
    class Config:
        steps: int = 100_000
        """Training steps (our choice)."""
        epochs: int = 0
        """Training epochs; if above 0, they replace `steps`."""
        batch_size: int = 100
        """Batch size (Kingma and Welling, section 5: M = 100)."""
        z_dim: int = 20
        """Dimension of the latent prior N(0, I) (Kingma and Welling try 3 to 200)."""
        layers: tuple[int, ...] = (500, 500)
        """Hidden sizes of the encoder; the decoder mirrors them (Kingma and Welling: one layer of 500)."""
        lr: float = 1e-3
        """Adam's learning rate (our choice)."""
        beta1: float = 0.9
        """Adam's beta_1 (Kingma and Ba 2015)."""
        beta2: float = 0.999
        """Adam's beta_2 (Kingma and Ba 2015)."""
        first_variance: float = 1.0
        """Initial variance of the decoder, in units of the data squared (our choice). At the data's own
        variance the bound is stationary at a code without information, and training may not leave it."""
        least_variance: float = 1e-4
        """Lower limit of the decoder's variance, in units of the data squared: a column that is constant in
        the training data has variance 0 (our choice)."""
        draws: int = 16
        """Latent draws per example when the bound is a score (our choice)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        c = config
        size = prod(data.shape)
        self.encoder = nn.Sequential(nn.Flatten(), mlp([size, *c.layers, 2 * c.z_dim], nn.ReLU()))
        self.decoder = _decoder(data, c.z_dim, c.layers[::-1])
        self.variance = Variance(c.first_variance, c.least_variance)

    def train(self, data: Data, run: Run) -> None:
        c = self.config
        nets = [self.encoder, self.decoder, self.variance]
        parameters = [p for net in nets for p in net.parameters()]
        self.opt = torch.optim.Adam(parameters, c.lr, (c.beta1, c.beta2), fused=True)
        length = {"epochs": c.epochs} if c.epochs else {"steps": c.steps}
        for x in run.batches(data, size=c.batch_size, **length):
            mean, log_variance = self._posterior(x)
            z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
            # Equation 10 with one draw: log p(x|z) - KL(q(z|x) || p(z)).
            likelihood = self._log_likelihood(x, z).mean()
            divergence = _kl_to_prior(mean, log_variance).mean()
            self.opt.zero_grad()
            (divergence - likelihood).backward()
            self.opt.step()
            run.log(bound=likelihood - divergence, kl=divergence, variance=self.variance())

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z | x), (n, z_dim) each."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        # The clamp keeps examples far outside the training data finite; no real posterior comes near exp(30).
        return mean, log_variance.clamp(-30, 30)

    def _log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z), (n,), nats."""
        variance = self.variance()
        squares = (x - self.decoder(z)).flatten(1).square()
        values: Tensor = -(squares / variance + variance.log() + math.log(2 * math.pi)).sum(1) / 2
        return values

    @sampler("generator")
    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Draw the decoder's mean, (n, *shape), for z ~ N(0, I), without observation noise, as is usual."""
        means: Tensor = self.decoder(torch.randn(n, self.config.z_dim, device=self.device))
        return means

    @torch.no_grad()
    def log_likelihood_bound(self, x: Tensor) -> Tensor:
        """The evidence lower bound, (n,), nats (equation 3), with an exact KL term.

        The expected log p(x | z) is a mean over `draws` draws of q(z | x). The draws are seeded by the
        example, so an example's score is reproducible and independent of the others. Each estimate is
        unbiased for the bound.
        """
        c = self.config
        noise = noise_of(x, c.draws, c.z_dim)
        mean, log_variance = self._posterior(x)
        spread = (log_variance / 2).exp()
        likelihood = sum(self._log_likelihood(x, mean + e * spread) for e in noise) / c.draws
        bound: Tensor = likelihood - _kl_to_prior(mean, log_variance)
        return bound

    @score("reconstruction")
    @torch.no_grad()
    def reconstruction(self, x: Tensor) -> Tensor:
        """Squared error of decoding the posterior mean, (n,)."""
        mean, _ = self._posterior(x)
        errors: Tensor = (x - self.decoder(mean)).flatten(1).square().sum(1)
        return errors


class Variance(nn.Module):
    """One positive number, parametrised by its logarithm, with a lower limit."""

    def __init__(self, first: float, least: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(float(first)).log())
        self.least = least

    def forward(self) -> Tensor:
        """The variance, a scalar."""
        return self.log.exp() + self.least


def _kl_to_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag exp(log_variance)) || N(0, I)), (n,), nats (Kingma and Welling, appendix B)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2


def _decoder(data: DataSpec, z_dim: int, layers: Sequence[int]) -> nn.Module:
    last = [nn.Tanh()] if data.low is not None else []
    return nn.Sequential(
        mlp([z_dim, *layers, prod(data.shape)], nn.ReLU()), *last, nn.Unflatten(1, data.shape)
    )
