"""BiGAN for anomaly detection: Efficient GAN-Based Anomaly Detection (Zenati et al. 2018).

A bidirectional GAN (Donahue, Krähenbühl, Darrell 2017) has three networks. The generator G maps latents to
examples, the encoder E maps examples to latents, and the discriminator D separates pairs (x, E(x)) from pairs
(G(z), z). The anomaly score adds the reconstruction error ||x - G(E(x))||_1 and the discriminator's loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ebbench import Data, DataSpec, Model, Run, sampler, score
from ebbench.nn.mlp import mlp
from ebbench.nn.nets import trunk
from ebbench.nn.standard import standard_generator


class Pairs(nn.Module):
    """D(x, z), the logit that a pair is (x, E(x)) and not (G(z), z): (n, ...) and (n, z_dim) -> (n,)."""

    def __init__(self, of_x: nn.Module, n_x: int, z_dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.of_x = of_x
        self.of_z = nn.Sequential(nn.Linear(z_dim, hidden), nn.LeakyReLU(0.2), nn.Dropout(dropout))
        self.join = nn.Sequential(
            nn.Linear(n_x + hidden, hidden), nn.LeakyReLU(0.2), nn.Dropout(dropout), nn.Linear(hidden, 1)
        )

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """The logits, (n,)."""
        joined: Tensor = self.join(torch.cat([self.of_x(x), self.of_z(z)], 1))
        return joined.squeeze(1)


class BiGAN(Model):
    @dataclass(frozen=True)
    class Config:
        steps: int = 100_000
        """Training steps of all networks (our choice)."""
        epochs: int = 0
        """Training epochs; if above 0, they replace `steps`."""
        batch_size: int = 100
        """Batch size (the paper's MNIST set-up, recalled)."""
        z_dim: int = 200
        """Dimension of the latent prior N(0, I) (the paper's MNIST set-up, recalled)."""
        width: int = 32
        """Channels of the first convolution and of the generator's last hidden layer, for images (our
        networks are DCGAN's and SN-GAN's, not the paper's)."""
        encoder_layers: tuple[int, ...] = (64,)
        """Hidden sizes of the encoder for vectors (the paper's KDD99 set-up, recalled)."""
        generator_layers: tuple[int, ...] = (64, 128)
        """Hidden sizes of the generator for vectors (the paper's KDD99 set-up, recalled)."""
        hidden: int = 128
        """Hidden units of the discriminator's branches for x and z, and of the layer that joins them (the
        paper's KDD99 set-up, recalled)."""
        dropout: float = 0.2
        """Dropout rate in the discriminator (the paper's KDD99 set-up, recalled)."""
        lr: float = 1e-5
        """Adam's learning rate for all networks (the paper's code, recalled)."""
        beta1: float = 0.5
        """Adam's beta_1 (the paper's code, recalled)."""
        beta2: float = 0.999
        """Adam's beta_2 (Kingma and Ba 2015)."""
        discriminator_weight: float = 0.1
        """Weight w of the discriminator in the score; the reconstruction has 1 - w (the paper's code)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        c = config
        if len(data.shape) == 1:
            size = prod(data.shape)
            self.E: nn.Module = mlp([size, *c.encoder_layers, c.z_dim], nn.LeakyReLU(0.2))
            self.G: nn.Module = mlp([c.z_dim, *c.generator_layers, size], nn.ReLU())
            of_x: nn.Module = nn.Sequential(
                nn.Linear(size, c.hidden), nn.LeakyReLU(0.2), nn.Dropout(c.dropout)
            )
            n_x = c.hidden
        else:
            (encoder, n_x), (of_x, _) = (
                trunk(data, width=c.width, kernel=4, layers=c.encoder_layers) for _ in range(2)
            )
            self.E = nn.Sequential(encoder, nn.Linear(n_x, c.z_dim))
            self.G = standard_generator(data, c.z_dim, width=c.width, layers=c.generator_layers)
        self.D = Pairs(of_x, n_x, c.z_dim, c.hidden, c.dropout)

    def train(self, data: Data, run: Run) -> None:
        c = self.config
        betas = (c.beta1, c.beta2)
        self.opt_D = torch.optim.Adam(self.D.parameters(), c.lr, betas, fused=True)
        self.opt_EG = torch.optim.Adam([*self.E.parameters(), *self.G.parameters()], c.lr, betas, fused=True)
        length = {"epochs": c.epochs} if c.epochs else {"steps": c.steps}
        for x in run.batches(data, size=c.batch_size, **length):
            z = torch.randn(len(x), c.z_dim, device=self.device)
            fake, code = self.G(z), self.E(x)

            # D (Donahue et al., section 3): max log D(x, E(x)) + log(1 - D(G(z), z))
            together, apart = self.D(x, code.detach()), self.D(fake.detach(), z)
            loss_D = softplus(-together).mean() + softplus(apart).mean()
            self.opt_D.zero_grad()
            loss_D.backward()
            self.opt_D.step()

            # E and G: the same loss with swapped labels, to avoid vanishing gradients
            self.D.requires_grad_(False)
            loss_EG = softplus(self.D(x, code)).mean() + softplus(-self.D(fake, z)).mean()
            self.opt_EG.zero_grad()
            loss_EG.backward()
            self.D.requires_grad_(True)
            self.opt_EG.step()

            run.log(loss_discriminator=loss_D, loss_generator=loss_EG)

    @sampler("generator")
    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Draw G(z), (n, *shape), with z ~ N(0, I)."""
        samples: Tensor = self.G(torch.randn(n, self.config.z_dim, device=self.device))
        return samples

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """A(x) = (1 - w) ||x - G(E(x))||_1 - w log D(x, E(x)), (n,): Zenati et al.'s cross-entropy score."""
        code = self.E(x)
        w = self.config.discriminator_weight
        energies: Tensor = (1 - w) * self._error(x, code) + w * softplus(-self.D(x, code))
        return energies

    @score("reconstruction")
    @torch.no_grad()
    def reconstruction(self, x: Tensor) -> Tensor:
        """||x - G(E(x))||_1, (n,)."""
        return self._error(x, self.E(x))

    def _error(self, x: Tensor, code: Tensor) -> Tensor:
        errors: Tensor = (x - self.G(code)).flatten(1).abs().sum(1)
        return errors
