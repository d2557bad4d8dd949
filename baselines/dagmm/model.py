"""DAGMM: Deep Autoencoding Gaussian Mixture Model (Zong et al. 2018).

An autoencoder turns an example into features: its code and two measures of its reconstruction error. An
estimation network predicts the features' memberships in the K components of a Gaussian mixture. The energy is
the negative log density of the mixture at the features.
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

# Batch size for estimating the mixture on the whole training set.
CHUNK = 8192


class Mixture(nn.Module):
    """A Gaussian mixture: shares (K,), means (K, d), covariances (K, d, d), in float64.

    In float32 the covariance of correlated features soon becomes singular.
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
        """Overwrite shares, means and covariances."""
        self.shares.copy_(shares)
        self.means.copy_(means)
        self.covariances.copy_(covariances)


def moments(features: Tensor, membership: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shares (K,), means (K, d) and covariances (K, d, d) of a mixture (equation 5).

    Computed from features (n, d) and soft memberships (n, K).
    """
    total = membership.sum(0)
    means = membership.T @ features / total[:, None]
    centred = features[:, None] - means
    covariances = torch.einsum("nk,nki,nkj->kij", membership, centred, centred) / total[:, None, None]
    return total / len(features), means, covariances


def mixture_energy(
    features: Tensor, shares: Tensor, means: Tensor, covariances: Tensor, jitter: float
) -> Tensor:
    """Negative log density of the mixture at features (n, d), (n,) (equation 6).

    `jitter` is added to the covariances' diagonals.
    """
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
        """Training epochs; if above 0, they replace `steps`."""
        batch_size: int = 1024
        """Batch size (the paper, KDD99)."""
        encoder_layers: tuple[int, ...] = (60, 30, 10, 1)
        """Layer sizes of the encoder down to the code; the decoder mirrors them (the paper, KDD99)."""
        estimation_layers: tuple[int, ...] = (10,)
        """Hidden sizes of the estimation network (the paper, KDD99)."""
        components: int = 4
        """Number of Gaussians in the mixture (the paper, KDD99)."""
        dropout: float = 0.5
        """Dropout rate in the estimation network (the paper, KDD99)."""
        energy_weight: float = 0.1
        """Weight lambda_1 of the energy in the loss (the paper, section 3.4)."""
        covariance_weight: float = 0.005
        """Weight lambda_2 of the penalty on small variances (the paper, section 3.4)."""
        jitter: float = 1e-6
        """Added to the covariances' diagonals so that they stay invertible (our choice)."""
        lr: float = 1e-4
        """Adam's learning rate (the paper)."""
        beta1: float = 0.9
        """Adam's beta_1 (Kingma and Ba 2015)."""
        beta2: float = 0.999
        """Adam's beta_2 (Kingma and Ba 2015)."""

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
            # P of equation 7: penalising inverse variances keeps the covariances from collapsing.
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
        """The estimation network's input (n, code + 2) and the squared errors (n,) (section 3.2)."""
        code = self.encoder(x)
        flat, decoded = x.flatten(1), self.decoder(code)
        squares = (flat - decoded).square().sum(1)
        # The floor of the norm is for examples that are all zero.
        relative = (squares + 1e-12).sqrt() / flat.norm(dim=1).clamp_min(1e-6)
        cosine = cosine_similarity(flat, decoded, dim=1)
        return torch.cat([code, relative[:, None], cosine[:, None]], 1), squares

    @torch.no_grad()
    def _measure_mixture(self, data: Data) -> None:
        """Set the mixture to the moments of the whole training set, in float64 and without dropout."""
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
        """Negative log density under the training set's mixture (equation 6), float64 (n,)."""
        m = self.mixture
        features, _ = self._features(x)
        return mixture_energy(features.double(), m.shares, m.means, m.covariances, self.config.jitter)

    @score("reconstruction")
    @torch.no_grad()
    def reconstruction(self, x: Tensor) -> Tensor:
        """Squared reconstruction error of the autoencoder, (n,)."""
        return self._features(x)[1]
