"""SN-GAN: Spectral Normalization for Generative Adversarial Networks (Miyato, Kataoka, Koyama, Yoshida 2018).

A GAN with the hinge loss. Each layer of the discriminator is divided by its largest singular value, which
bounds the discriminator's Lipschitz constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.parametrizations import spectral_norm

from ebbench import Data, DataSpec, Model, Run, sampler
from ebbench.nn.nets import initialise, trunk
from ebbench.nn.rate import DECAYS
from ebbench.nn.residual import residual_nets
from ebbench.nn.standard import standard_generator


class SNGAN(Model):
    @dataclass(frozen=True)
    class Config:
        steps: int = 100_000
        """Generator steps (the paper: 100,000)."""
        batch_size: int = 64
        """Batch size of both networks (the paper, section 4.1)."""
        critic_steps: int = 5
        """Discriminator steps per generator step (the paper, Table 1: n_dis)."""
        z_dim: int = 128
        """Dimension of the latent prior N(0, I) (the paper, section 4)."""
        nets: Literal["dcgan", "residual"] = "dcgan"
        """Networks for images; "residual" are the paper's for CIFAR-10 (Tables 4 and 5)."""
        width: int = 64
        """Channels of the discriminator's first layer and of the generator's last hidden layer (DCGAN's
        networks), or of every layer of the residual discriminator (the paper: 128)."""
        generator_width: int = 256
        """Channels of the residual generator (the paper: 256)."""
        kernel: int = 5
        """Kernel size of the discriminator for 28x28 images (DCGAN)."""
        layers: tuple[int, ...] = (512, 512, 512)
        """Hidden sizes of the discriminator for vectors (Gulrajani et al. 2017, gan_toy.py)."""
        generator_layers: tuple[int, ...] = (512, 512, 512)
        """Hidden sizes of the generator for vectors (Gulrajani et al. 2017, gan_toy.py)."""
        init: float = 0.02
        """Standard deviation of the initial convolution weights (DCGAN); 0 uses He et al. (2015)."""
        power_iterations: int = 1
        """Power iterations per training step (the paper, Algorithm 1)."""
        lr: float = 2e-4
        """Adam's learning rate (the paper, Table 1: C)."""
        lr_end: float = 1.0
        """Final learning rate as a share of `lr`; 1 keeps it constant."""
        lr_decay: Literal["cosine", "linear"] = "cosine"
        """Decay schedule from `lr` to the final learning rate."""
        beta1: float = 0.0
        """Adam's beta_1 (the paper's settings with the hinge loss)."""
        beta2: float = 0.9
        """Adam's beta_2 (the paper's settings with the hinge loss)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        c = config
        self.z_dim = c.z_dim
        features: nn.Module
        made: nn.Module
        if c.nets == "residual":
            features, made = residual_nets(
                data, c.z_dim, width=c.width, generator_width=c.generator_width, pool="sum"
            )
            n = features.features
        else:
            features, n = trunk(data, width=c.width, kernel=c.kernel, layers=c.layers)
            made = standard_generator(data, c.z_dim, width=c.width, layers=c.generator_layers)
        self.D = initialise(nn.Sequential(features, nn.Linear(n, 1)), c.init)
        for layer in self.D.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                spectral_norm(layer, n_power_iterations=c.power_iterations)
        self.G = initialise(made, c.init)

    def train(self, data: Data, run: Run) -> None:
        c = self.config
        betas = (c.beta1, c.beta2)
        self.opt_D = torch.optim.Adam(self.D.parameters(), c.lr, betas, fused=True)
        self.opt_G = torch.optim.Adam(self.G.parameters(), c.lr, betas, fused=True)
        step = run.captured(self._step)
        for batch in run.batches(data, size=c.batch_size * c.critic_steps, steps=c.steps):
            DECAYS[c.lr_decay](c.lr, c.lr_end, run.progress, self.opt_D, self.opt_G)
            run.log(**step(batch))

    def _step(self, batch: Tensor) -> dict[str, Tensor]:
        """One generator step after the discriminator steps; returns the values to log."""
        c = self.config
        # D (equation 16): min E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]
        for x in batch.split(c.batch_size):
            with torch.no_grad():
                fake = self.generate(self._z(len(x)))
            real, fake_value = self.logit(torch.cat([x, fake])).split(len(x))
            loss = relu(1 - real).mean() + relu(1 + fake_value).mean()
            self.opt_D.zero_grad()
            loss.backward()
            self.opt_D.step()

        # G (equation 17): max E[D(G(z))]
        self.D.requires_grad_(False)
        loss_G = -self.logit(self.generate(self._z(c.batch_size))).mean()
        self.opt_G.zero_grad()
        loss_G.backward()
        self.D.requires_grad_(True)
        self.opt_G.step()
        return {"loss_D": loss, "loss_G": loss_G, "D_real": real.mean(), "D_fake": fake_value.mean()}

    def _z(self, n: int) -> Tensor:
        return torch.randn(n, self.z_dim, device=self.device)

    def generate(self, z: Tensor) -> Tensor:
        """G(z), (n, ...), differentiable."""
        made: Tensor = self.G(z)
        return made

    def logit(self, x: Tensor) -> Tensor:
        """D(x), (n,), differentiable. With the hinge loss, a logit only up to scale and shift (DDLS)."""
        values: Tensor = self.D(x).squeeze(1)
        return values

    @sampler("generator")
    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Draw G(z), (n, *shape), with z ~ N(0, I)."""
        return self.generate(self._z(n))

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """-D(x), (n,): the discriminator is high on data."""
        return -self.logit(x)
