"""VAE: auto-encoding variational Bayes (Kingma and Welling 2014); the Gaussian decoder's variance is learned.

One variance for all pixels or columns, learned with the rest (Rybkin, Daniilidis, Levine 2021), makes the
bound a density of the data in their own units, for images as for records.
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
        """Passes over the data, in place of `steps`; 0 counts steps."""
        batch_size: int = 100
        """Examples a step (Kingma and Welling, section 5: M = 100)."""
        z_dim: int = 20
        """Dimension of the latent prior N(0, I) (Kingma and Welling try 3 to 200)."""
        layers: tuple[int, ...] = (500, 500)
        """Hidden sizes of the encoder, and backwards of the decoder (Kingma and Welling: 500, one layer)."""
        lr: float = 1e-3
        """Learning rate of Adam (our choice)."""
        beta1: float = 0.9
        """Adam's first decay (Kingma and Ba 2015)."""
        beta2: float = 0.999
        """Adam's second decay (Kingma and Ba 2015)."""
        first_variance: float = 1.0
        """The decoder's variance before training, in the data's units squared (our choice). At the data's own
        variance the bound is stationary where the code tells nothing, and training may never leave that."""
        least_variance: float = 1e-4
        """Floor of the decoder's variance, in the data's units squared: a column that is constant in the
        training data has none (our choice)."""
        draws: int = 16
        """Latent draws for each example when the bound is taken for a score (our choice)."""

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
            # Equation 10 with one draw: the likelihood of x given z, less KL(q(z|x) || p(z)).
            likelihood = self._log_likelihood(x, z).mean()
            divergence = _kl_to_prior(mean, log_variance).mean()
            self.opt.zero_grad()
            (divergence - likelihood).backward()
            self.opt.step()
            run.log(bound=likelihood - divergence, kl=divergence, variance=self.variance())

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), (n, z_dim) each."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        # exp(30) is far from any posterior; it keeps what lies far outside the training data finite.
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
        """The decoder's mean for z ~ N(0, I); its noise is left out, as is usual."""
        means: Tensor = self.decoder(torch.randn(n, self.config.z_dim, device=self.device))
        return means

    @torch.no_grad()
    def log_likelihood_bound(self, x: Tensor) -> Tensor:
        """The evidence lower bound (equation 3), the expectation over q(z | x) by draws, the KL exact.

        The draws are seeded by the example, so that a score repeats and depends on no other example; each
        one's bound is unbiased.
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
        """The squared error of decoding the posterior's mean."""
        mean, _ = self._posterior(x)
        errors: Tensor = (x - self.decoder(mean)).flatten(1).square().sum(1)
        return errors


class Variance(nn.Module):
    """One positive number, learned by its logarithm, with a floor."""

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
