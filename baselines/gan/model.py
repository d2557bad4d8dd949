"""GAN: Generative Adversarial Networks (Goodfellow et al. 2014), with the non-saturating generator loss.

Networks for images: DCGAN's discriminator (Radford, Metz, Chintala 2016) as MEG's authors built it, and the
generator of SN-GAN's Table 3. Networks for vectors are Gulrajani's. These discriminators have no batch norm,
so the logit of an example depends on that example only. The fully connected networks with batch norm are
those of EBGAN's grid search (Zhao, Mathieu, LeCun 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ebbench import Data, DataSpec, Model, Run, sampler
from ebbench.nn.dense import Optimiser, dense, draw_weights, optimiser, shaped
from ebbench.nn.nets import initialise, trunk
from ebbench.nn.rate import cosine
from ebbench.nn.standard import standard_generator


class GAN(Model):
    @dataclass(frozen=True)
    class Config:
        steps: int = 100_000
        """Generator steps (our choice)."""
        batch_size: int = 128
        """Batch size of both networks (DCGAN)."""
        critic_steps: int = 1
        """Discriminator steps per generator step (Goodfellow et al., Algorithm 1: k = 1)."""
        z_dim: int = 100
        """Dimension of the latent prior N(0, I) (DCGAN: 100, with a uniform prior)."""
        nets: Literal["standard", "dense"] = "standard"
        """"standard": convolutions for images, MLPs for vectors. "dense": fully connected networks for both,
        with `batch_norm` and `dropout` (EBGAN, section 4.1)."""
        width: int = 64
        """Channels of the discriminator's first and the generator's last hidden layer (DCGAN: 128)."""
        kernel: int = 5
        """Kernel size of the discriminator for 28x28 images (DCGAN)."""
        layers: tuple[int, ...] = (512, 512, 512)
        """Hidden sizes of a fully connected discriminator (Gulrajani et al. 2017, gan_toy.py)."""
        generator_layers: tuple[int, ...] = (512, 512, 512)
        """Hidden sizes of a fully connected generator (Gulrajani et al. 2017, gan_toy.py)."""
        init: float = 0.02
        """Standard deviation of the initial convolution weights (DCGAN); 0 uses He et al. (2015)."""
        batch_norm: bool = True
        """Batch norm after the linear layers of both dense networks (EBGAN, appendix), except the
        discriminator's first (DCGAN)."""
        dropout: float = 0.0
        """Dropout rate after each hidden layer of the dense discriminator (EBGAN's grid: on or off)."""
        discriminator_optimiser: Optimiser = "adam"
        """Optimiser of the discriminator (DCGAN: Adam)."""
        generator_optimiser: Optimiser = "adam"
        """Optimiser of the generator (DCGAN: Adam)."""
        lr: float = 2e-4
        """Learning rate of both networks (DCGAN)."""
        lr_end: float = 1.0
        """Final learning rate as a share of `lr`, reached by cosine decay; 1 keeps it constant."""
        beta1: float = 0.5
        """Adam's beta_1 (DCGAN)."""
        beta2: float = 0.999
        """Adam's beta_2 (DCGAN)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        c = config
        self.z_dim = c.z_dim
        if c.nets == "dense":
            size = prod(data.shape)
            # No batch norm after D's first layer (DCGAN): it would hide the mean brightness of a batch.
            first = dense([size, c.layers[0]], batch_norm=False, dropout=c.dropout)
            rest = dense(c.layers, batch_norm=c.batch_norm, dropout=c.dropout)
            self.D: nn.Module = nn.Sequential(nn.Flatten(), *first, *rest, nn.Linear(c.layers[-1], 1))
            hidden_G = dense([c.z_dim, *c.generator_layers], batch_norm=c.batch_norm)
            self.G: nn.Module = shaped([*hidden_G, nn.Linear(c.generator_layers[-1], size)], data)
            # EBGAN's appendix. Weights this small train at this depth only with batch norm.
            if c.batch_norm:
                draw_weights(self.D, 0.002)
                draw_weights(self.G, 0.02)
            return
        features, n = trunk(data, width=c.width, kernel=c.kernel, layers=c.layers)
        self.D = initialise(nn.Sequential(features, nn.Linear(n, 1)), c.init)
        made = standard_generator(data, c.z_dim, width=c.width, layers=c.generator_layers)
        self.G = initialise(made, c.init)

    def train(self, data: Data, run: Run) -> None:
        c = self.config
        betas = (c.beta1, c.beta2)
        self.opt_D = optimiser(c.discriminator_optimiser, self.D.parameters(), c.lr, betas)
        self.opt_G = optimiser(c.generator_optimiser, self.G.parameters(), c.lr, betas)
        for batch in run.batches(data, size=c.batch_size * c.critic_steps, steps=c.steps):
            cosine(c.lr, c.lr_end, run.progress, self.opt_D, self.opt_G)

            # D (equation 1): max E[log D(x)] + E[log(1 - D(G(z)))], D(x) = sigmoid(logit(x))
            for x in batch.split(c.batch_size):
                with torch.no_grad():
                    fake = self.generate(self._z(len(x)))
                logit_real, logit_fake = self._logits(x, fake)
                loss = softplus(-logit_real).mean() + softplus(logit_fake).mean()
                self.opt_D.zero_grad()
                loss.backward()
                self.opt_D.step()

            # G (section 3): max E[log D(G(z))]
            self.D.requires_grad_(False)
            loss_G = softplus(-self.logit(self.generate(self._z(c.batch_size)))).mean()
            self.opt_G.zero_grad()
            loss_G.backward()
            self.D.requires_grad_(True)
            self.opt_G.step()

            run.log(loss_D=loss, loss_G=loss_G, logit_real=logit_real.mean(), logit_fake=logit_fake.mean())

    def _logits(self, x: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of examples and samples, (n,) each; in one forward pass unless batch norm would mix them."""
        if self.config.nets == "dense" and self.config.batch_norm:
            return self.logit(x), self.logit(fake)
        real, made = self.logit(torch.cat([x, fake])).split(len(x))
        return real, made

    def _z(self, n: int) -> Tensor:
        return torch.randn(n, self.z_dim, device=self.device)

    def generate(self, z: Tensor) -> Tensor:
        """G(z), (n, ...), differentiable."""
        made: Tensor = self.G(z)
        return made

    def logit(self, x: Tensor) -> Tensor:
        """log D(x) - log(1 - D(x)), (n,), differentiable: log p_data(x) - log p_G(x) for the optimal D."""
        values: Tensor = self.D(x).squeeze(1)
        return values

    @sampler("generator")
    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Draw G(z), (n, *shape), with z ~ N(0, I)."""
        return self.generate(self._z(n))

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """-logit(x), (n,): the discriminator is high on data."""
        return -self.logit(x)
