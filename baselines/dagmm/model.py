"""DAGMM: deep autoencoding Gaussian mixture model (Zong et al. 2018).

An autoencoder compresses an example to a code and two measures of how badly it was given back; an
estimation net says which of K Gaussians the three numbers belong to. The energy is minus the mixture's
log-density.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from ebbench import Data, DataSpec, Model, Run, score
from ebbench.nn.mlp import mlp

# Examples at once where the mixture is measured on the whole training set.
CHUNK = 8192


class Mixture(nn.Module):
    """A Gaussian mixture by its moments: shares (K,), means (K, d), covariances (K, d, d), float64.

    In float32 covariances of features that go together are soon singular.
    """

    shares: Tensor
    means: Tensor
    covariances: Tensor

    def __init__(self, components: int, size: int) -> None:
        super().__init__()
        self.register_buffer("shares", torch.full((components,), 1 / components, dtype=torch.double))
        self.register_buffer("means", torch.zeros(components, size, dtype=torch.double))
        self.register_buffer("covariances", torch.eye(size, dtype=torch.double).repeat(components, 1, 1))

    def set(self, shares: Tensor, means: Tensor, covariances: Tensor) -> None:
        """Take these moments."""
        self.shares.copy_(shares)
        self.means.copy_(means)
        self.covariances.copy_(covariances)


def moments(features: Tensor, membership: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shares, means and covariances of features (n, d) under soft memberships (n, K) (equation 5)."""
    total = membership.sum(0)
    means = membership.T @ features / total[:, None]
    centred = features[:, None] - means
    covariances = torch.einsum("nk,nki,nkj->kij", membership, centred, centred) / total[:, None, None]
    return total / len(features), means, covariances


def mixture_energy(
    features: Tensor, shares: Tensor, means: Tensor, covariances: Tensor, jitter: float
) -> Tensor:
    """-log of the mixture's density at features (n, d), (n,) (equation 6)."""
    size = features.shape[1]
    widened = covariances + jitter * torch.eye(size, dtype=features.dtype, device=features.device)
    factors = torch.linalg.cholesky(widened)
    centred = (features[:, None] - means).movedim(0, 2)  # (K, d, n)
    whitened = torch.linalg.solve_triangular(factors, centred, upper=False)
    log_det = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(1)
    log_density = -(whitened.square().sum(1) + log_det[:, None] + size * math.log(2 * math.pi)) / 2
    return -torch.logsumexp(log_density + shares.clamp_min(1e-30).log()[:, None], 0)


class DAGMM(Model):
    @dataclass(frozen=True)
    class Config:
        steps: int = 100_000
        """Training steps (our choice; the paper counts epochs)."""
        epochs: int = 0
        """Passes over the data, in place of `steps`; 0 counts steps."""
        batch_size: int = 1024
        """Examples a step (the paper, KDD99)."""
        encoder_layers: tuple[int, ...] = (60, 30, 10, 1)
        """Sizes of the encoder to the code, backwards the decoder's (the paper, KDD99)."""
        estimation_layers: tuple[int, ...] = (10,)
        """Hidden sizes of the estimation net (the paper, KDD99)."""
        components: int = 4
        """Gaussians of the mixture (the paper, KDD99)."""
        dropout: float = 0.5
        """Dropout in the estimation net (the paper, KDD99)."""
        energy_weight: float = 0.1
        """lambda_1 (the paper, section 3.4)."""
        covariance_weight: float = 0.005
        """lambda_2, against singular covariances (the paper, section 3.4)."""
        jitter: float = 1e-6
        """Added to the covariances' diagonals, against singular ones (our choice)."""
        lr: float = 1e-4
        """Learning rate of Adam (the paper)."""
        beta1: float = 0.9
        """Adam's first decay (Kingma and Ba 2015)."""
        beta2: float = 0.999
        """Adam's second decay (Kingma and Ba 2015)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        c = config
        size = prod(data.shape)
        self.encoder = nn.Sequential(nn.Flatten(), mlp([size, *c.encoder_layers], nn.Tanh()))
        self.decoder = mlp([*c.encoder_layers[::-1], size], nn.Tanh())
        features = c.encoder_layers[-1] + 2
        hidden = mlp([features, *c.estimation_layers], nn.Tanh(), last_linear=False)
        self.estimation = nn.Sequential(
            hidden, nn.Dropout(c.dropout), nn.Linear(c.estimation_layers[-1], c.components), nn.Softmax(1)
        )
        self.mixture = Mixture(c.components, features)

    def train(self, data: Data, run: Run) -> None:
        c = self.config
        parameters = [p for net in (self.encoder, self.decoder, self.estimation) for p in net.parameters()]
        self.opt = torch.optim.Adam(parameters, c.lr, (c.beta1, c.beta2), fused=True)
        self._measure_mixture(data)
        length = {"epochs": c.epochs} if c.epochs else {"steps": c.steps}
        for x in run.batches(data, size=c.batch_size, **length):
            features, errors = self._features(x)
            shares, means, covariances = moments(features, self.estimation(features))
            energy = mixture_energy(features, shares, means, covariances, c.jitter).mean()
            # P of equation 7: the inverse variances keep the covariances from shrinking to nothing.
            singular = (1 / (covariances.diagonal(dim1=1, dim2=2) + c.jitter)).sum()
            reconstruction = errors.mean()
            loss = reconstruction + c.energy_weight * energy + c.covariance_weight * singular
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            if run.epoch_ends:
                self._measure_mixture(data)
            run.log(reconstruction=reconstruction, energy=energy, singularity=singular)

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The estimation net's input (n, code + 2), and the squared errors (n,) (section 3.2)."""
        code = self.encoder(x)
        flat, decoded = x.flatten(1), self.decoder(code)
        squares = (flat - decoded).square().sum(1)
        # The floor under a norm is for examples that are all zero.
        relative = (squares + 1e-12).sqrt() / flat.norm(dim=1).clamp_min(1e-6)
        cosine = cosine_similarity(flat, decoded, dim=1)
        return torch.cat([code, relative[:, None], cosine[:, None]], 1), squares

    @torch.no_grad()
    def _measure_mixture(self, data: Data) -> None:
        """The mixture of the whole training set under the nets as they are, in float64, without dropout."""
        nets = (self.encoder, self.decoder, self.estimation)
        was_training = [net.training for net in nets]
        for net in nets:
            net.eval()
        pieces = [
            self._features(data[part])[0] for part in torch.arange(len(data), device=data.device).split(CHUNK)
        ]
        membership = torch.cat([self.estimation(piece) for piece in pieces]).double()
        self.mixture.set(*moments(torch.cat(pieces).double(), membership))
        for net, mode in zip(nets, was_training, strict=True):
            net.train(mode)

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """E of equation 6 under the mixture of the training set, in float64."""
        m = self.mixture
        features, _ = self._features(x)
        return mixture_energy(features.double(), m.shares, m.means, m.covariances, self.config.jitter)

    @score("reconstruction")
    @torch.no_grad()
    def reconstruction(self, x: Tensor) -> Tensor:
        """The squared error of the autoencoder."""
        return self._features(x)[1]
