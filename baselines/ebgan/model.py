"""EBGAN: Energy-Based Generative Adversarial Networks (Zhao, Mathieu, LeCun 2017).

The energy D(x) is the reconstruction error of an autoencoder. Training lowers it on data and raises it on
generated samples up to a margin. EBGAN-PT adds a pulling-away term, which makes the codes of a batch of
samples dissimilar.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from ebbench import Data, DataSpec, Model, Run, sampler, score
from ebbench.nn.autoencoder import deep_nets
from ebbench.nn.dense import Optimiser, dense, draw_weights, optimiser, shaped
from ebbench.nn.nets import generator, initialise, trunk
from ebbench.nn.penalty import squared_gradient_norm
from ebbench.nn.standard import standard_generator


def pulling_away(codes: Tensor) -> Tensor:
    """f_PT of codes (n, m): the mean squared cosine similarity of different examples (section 2.4)."""
    unit = nn.functional.normalize(codes, dim=1)
    squares = (unit @ unit.T).square()
    n = len(codes)
    return (squares.sum() - squares.diagonal().sum()) / (n * (n - 1))


class EBGAN(Model):
    @dataclass(frozen=True)
    class Config:
        steps: int = 100_000
        """Training steps of both networks (our choice: the paper gives no length for MNIST)."""
        epochs: int = 0
        """Training epochs; if above 0, they replace `steps`."""
        batch_size: int = 64
        """Batch size (our choice: the paper gives none for MNIST)."""
        nets: Literal["dense", "conv", "deep"] = "dense"
        """"dense": fully connected networks (the paper, section 4.1). "conv": convolutional ones for images
        (our own). "deep": the paper's autoencoder and generator for larger images (appendix, recalled)."""
        margin: float = 10.0
        """m, the margin up to which the energy of samples is raised (the paper, section 4.1)."""
        pulling: float = 0.0
        """Weight of the pulling-away term; 0.1 is EBGAN-PT (the paper, section 2.4)."""
        z_dim: int = 100
        """Dimension of the latent prior, uniform on [-1, 1] (DCGAN, whose set-up the paper takes)."""
        generator_layers: tuple[int, ...] = (800, 800, 800, 800)
        """Hidden sizes of the dense generator: 5 layers of 800 (the paper's best on MNIST, recalled)."""
        encoder_layers: tuple[int, ...] = (1024,)
        """Hidden sizes of the dense encoder: one layer of 1024; the decoder has one layer (the same)."""
        width: int = 64
        """Channels of the first convolution for `nets` "conv" (DCGAN) or "deep" (the appendix, recalled)."""
        code: int = 64
        """Code size for `nets` "conv" (our choice)."""
        batch_norm: bool = True
        """Batch norm between dense layers (the paper, appendix)."""
        dropout: float = 0.0
        """Dropout rate after each hidden layer of the dense encoder (the paper's grid: on or off)."""
        discriminator_optimiser: Optimiser = "adam"
        """Optimiser of the autoencoder (the paper, section 4.1: Adam)."""
        generator_optimiser: Optimiser = "adam"
        """Optimiser of the generator (the paper, section 4.1: Adam)."""
        lr: float = 1e-3
        """Learning rate of both networks (the paper, section 4.1)."""
        beta1: float = 0.5
        """Adam's beta_1 (DCGAN)."""
        beta2: float = 0.999
        """Adam's beta_2 (DCGAN)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        c = config
        self.z_dim = c.z_dim
        self.encoder: nn.Module
        self.decoder: nn.Module
        self.G: nn.Module
        if c.nets == "deep":
            self.encoder, self.decoder, self.G = deep_nets(data, c.z_dim, width=c.width)
        elif c.nets == "conv":
            features, n = trunk(data, width=c.width, kernel=4, layers=())
            self.encoder = nn.Sequential(features, nn.Linear(n, c.code))
            self.decoder = generator(data, c.code, width=c.width, kernel=4, layers=())
            self.G = standard_generator(data, c.z_dim, width=c.width, layers=())
        else:
            size = prod(data.shape)
            encoder = dense([size, *c.encoder_layers], batch_norm=c.batch_norm, dropout=c.dropout)
            self.encoder = nn.Sequential(nn.Flatten(), *encoder)
            self.decoder = shaped([nn.Linear(c.encoder_layers[-1], size)], data)
            hidden = dense([c.z_dim, *c.generator_layers], batch_norm=c.batch_norm)
            self.G = shaped([*hidden, nn.Linear(c.generator_layers[-1], size)], data)
        for net, std in ((self.encoder, 0.002), (self.decoder, 0.002), (self.G, 0.02)):
            # The paper's appendix. Weights this small train at this depth only with batch norm.
            if c.nets == "dense" and c.batch_norm:
                draw_weights(net, std)
            elif c.nets == "deep":
                initialise(net, std)

    def train(self, data: Data, run: Run) -> None:
        c = self.config
        betas = (c.beta1, c.beta2)
        D = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.opt_D = optimiser(c.discriminator_optimiser, D, c.lr, betas)
        self.opt_G = optimiser(c.generator_optimiser, self.G.parameters(), c.lr, betas)
        length = {"epochs": c.epochs} if c.epochs else {"steps": c.steps}
        step = run.captured(self._step)
        for x in run.batches(data, size=c.batch_size, **length):
            run.log(**step(x))

    def _step(self, x: Tensor) -> dict[str, Tensor]:
        """One step of D and one of G; returns the values to log."""
        c = self.config
        fake = self.G(self._z(len(x)))

        # D (section 2.1): min D(x) + [m - D(G(z))]^+
        real_energy = self.energy_of(x).mean()
        _track_batches(self.encoder, self.decoder, on=False)
        fake_energy = self.energy_of(fake.detach())
        loss = real_energy + (c.margin - fake_energy).clamp_min(0).mean()
        self.opt_D.zero_grad()
        loss.backward()
        self.opt_D.step()

        # G (section 2.1): min D(G(z)), plus the pulling-away term of its samples' codes
        self.encoder.requires_grad_(False)
        self.decoder.requires_grad_(False)
        codes = self.encoder(fake)
        descent = self._error(fake, self.decoder(codes)).mean()
        pull = pulling_away(codes.flatten(1))
        self.opt_G.zero_grad()
        (descent + c.pulling * pull).backward()
        self.encoder.requires_grad_(True)
        self.decoder.requires_grad_(True)
        self.opt_G.step()
        _track_batches(self.encoder, self.decoder, on=True)
        return {
            "energy_real": real_energy,
            "energy_fake": fake_energy.mean(),
            "energy_generated": descent,
            "pull": pull,
        }

    def _z(self, n: int) -> Tensor:
        return torch.rand(n, self.config.z_dim, device=self.device) * 2 - 1

    def _error(self, x: Tensor, decoded: Tensor) -> Tensor:
        # The Euclidean norm, not its square: the margin is on the norm's scale.
        return (decoded - x).flatten(1).square().sum(1).clamp_min(1e-12).sqrt()

    def energy_of(self, x: Tensor) -> Tensor:
        """D(x) = ||Dec(Enc(x)) - x||, (n,), differentiable (section 2.3)."""
        return self._error(x, self.decoder(self.encoder(x)))

    def generate(self, z: Tensor) -> Tensor:
        """G(z) for standard normal `z`, (n, ...), differentiable: erf maps z to the uniform prior."""
        samples: Tensor = self.G(torch.erf(z / math.sqrt(2)))
        return samples

    def logit(self, x: Tensor) -> Tensor:
        """-D(x), (n,), differentiable: high on data, like a discriminator's logit."""
        return -self.energy_of(x)

    @sampler("generator")
    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Draw G(z), (n, *shape), with z uniform on [-1, 1]."""
        samples: Tensor = self.G(self._z(n))
        return samples

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """Reconstruction error, (n,)."""
        return self.energy_of(x)

    @score("gradient_norm")
    def gradient_norm(self, x: Tensor) -> Tensor:
        """||grad D(x)||^2, (n,)."""
        _, squares = squared_gradient_norm(self.energy_of, x, backward=False)
        return squares


def _track_batches(*nets: nn.Module, on: bool) -> None:
    """Whether forward passes update batch norm's running statistics: on for data, off for samples.

    The trained energy is evaluated on data, so it needs the statistics of data.
    """
    for net in nets:
        for module in net.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.momentum = 0.1 if on else 0.0
