"""WGAN-GP: Improved Training of Wasserstein GANs (Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville 2017).

The critic D estimates the Wasserstein distance of data and samples; a penalty keeps its gradient norm near 1
between them. The generator G minimises that estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ebbench import Data, DataSpec, Model, Run, UsageError, sampler, score
from ebbench.nn.average import averaged, refresh_batch_norm, update_average
from ebbench.nn.nets import generator, initialise, trunk
from ebbench.nn.penalty import squared_gradient_norm, two_sided_penalty
from ebbench.nn.rate import DECAYS
from ebbench.nn.residual import residual_nets


class WGANGP(Model):
    @dataclass(frozen=True)
    class Config:
        steps: int = 200_000
        """Generator steps (the paper's gan_mnist.py and gan_cifar.py: 200,000 iterations)."""
        epochs: int = 0
        """Training epochs; if above 0, they replace `steps`."""
        batch_size: int = 64
        """Batch size of both networks (the paper, Algorithm 1)."""
        critic_steps: int = 5
        """Critic steps per generator step (the paper, Algorithm 1: n_critic)."""
        generator_batch: int = 0
        """Batch size of the generator step; 0 uses `batch_size` (gan_cifar_resnet.py: twice that)."""
        fresh_latents: bool = True
        """Whether the generator step draws new latents (the paper). False reuses those of the last critic
        step and saves a forward pass of the generator."""
        z_dim: int = 128
        """Dimension of the latent prior N(0, I) (the paper's code)."""
        nets: Literal["dcgan", "residual"] = "dcgan"
        """Networks for images; "residual" are those of the paper's gan_cifar_resnet.py."""
        width: int = 64
        """Channels of the critic's first layer and of the generator's last hidden layer (the paper's code:
        DIM), or of every layer of both residual networks."""
        generator_maps: tuple[int, ...] = ()
        """Channels of the generator's four hidden layers for 28x28 images; empty: (8, 4, 2, 1) * `width`."""
        kernel: int = 5
        """Kernel size for 28x28 images (the paper's code)."""
        layers: tuple[int, ...] = (512, 512, 512)
        """Hidden sizes of the critic for vectors (the paper's gan_toy.py)."""
        generator_layers: tuple[int, ...] = (512, 512, 512)
        """Hidden sizes of the generator for vectors (the paper's gan_toy.py)."""
        init: float = 0.02
        """Standard deviation of the initial convolution weights (DCGAN); 0 uses He et al. (2015)."""
        penalty: float = 10.0
        """Weight of the gradient penalty (the paper, Algorithm 1: lambda)."""
        penalty_norm: Literal["full", "channelwise"] = "full"
        """Gradient norm of the penalty: over the whole example, or per pixel ("channelwise", MEG's bug)."""
        epsilon: Literal["sample", "element"] = "sample"
        """Interpolation weights: one per sample (the paper), or one per value ("element", MEG's bug)."""
        lr: float = 1e-4
        """Adam's learning rate (the paper, Algorithm 1)."""
        lr_end: float = 1.0
        """Final learning rate as a share of `lr`; 1 keeps it constant."""
        lr_decay: Literal["cosine", "linear"] = "cosine"
        """Decay schedule from `lr` to the final learning rate."""
        beta1: float = 0.5
        """Adam's beta_1 (the paper's image scripts; Algorithm 1 has 0)."""
        beta2: float = 0.9
        """Adam's beta_2 (the paper, Algorithm 1)."""
        average: float = 1.0
        """Update rate of the weight average of G, which is sampled from; 1: no averaging (the paper)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        c = config
        if c.generator_batch and not c.fresh_latents:
            raise UsageError(
                f"generator_batch={c.generator_batch} with fresh_latents=false",
                where="Config of model wgan-gp",
                expected="generator_batch=0 where the generator takes the critic's last latents",
                fix="leave out generator_batch, or set fresh_latents=true",
            )
        self.z_dim = c.z_dim
        features: nn.Module
        made: nn.Module
        if c.nets == "residual":
            features, made = residual_nets(data, c.z_dim, width=c.width, generator_width=c.width, pool="mean")
            n = features.features
        else:
            features, n = trunk(data, width=c.width, kernel=c.kernel, layers=c.layers)
            made = generator(
                data,
                c.z_dim,
                width=c.width,
                kernel=c.kernel,
                layers=c.generator_layers,
                maps=c.generator_maps,
            )
        self.D = initialise(nn.Sequential(features, nn.Linear(n, 1)), c.init)
        self.G = initialise(made, c.init)
        self.G_average = averaged(self.G)

    def train(self, data: Data, run: Run) -> None:
        c = self.config
        betas = (c.beta1, c.beta2)
        self.opt_D = torch.optim.Adam(self.D.parameters(), c.lr, betas, fused=True)
        self.opt_G = torch.optim.Adam(self.G.parameters(), c.lr, betas, fused=True)
        length = {"epochs": c.epochs} if c.epochs else {"steps": c.steps}
        step = run.captured(self._step)
        for batch in run.batches(data, size=c.batch_size * c.critic_steps, **length):
            DECAYS[c.lr_decay](c.lr, c.lr_end, run.progress, self.opt_D, self.opt_G)
            run.log(**step(batch))

        if c.average < 1:
            refresh_batch_norm(self.G_average, self._z)

    def _step(self, batch: Tensor) -> dict[str, Tensor]:
        """One generator step after the critic steps; returns the values to log."""
        c = self.config
        # D: Algorithm 1, lines 3 to 9: min E[D(G(z))] - E[D(x)] + lambda E(||grad D|| - 1)^2
        for x in batch.split(c.batch_size):
            with torch.set_grad_enabled(not c.fresh_latents):
                fake = self.G(self._z(len(x)))
            point = fake.detach()
            value_real, value_fake = self.critic(torch.cat([x, point])).split(len(x))
            penalty = two_sided_penalty(self.critic, x, point, norm=c.penalty_norm, epsilon=c.epsilon)
            wasserstein = value_real.mean() - value_fake.mean()
            self.opt_D.zero_grad()
            (c.penalty * penalty - wasserstein).backward()
            self.opt_D.step()

        # G: lines 11 and 12: min -E[D(G(z))]
        self.D.requires_grad_(False)
        if c.fresh_latents:
            fake = self.G(self._z(c.generator_batch or c.batch_size))
        loss = -self.critic(fake).mean()
        self.opt_G.zero_grad()
        loss.backward()
        self.D.requires_grad_(True)
        self.opt_G.step()
        update_average(self.G_average, self.G, c.average)
        return {"wasserstein": wasserstein, "penalty": penalty, "generator_loss": loss}

    def _z(self, n: int) -> Tensor:
        return torch.randn(n, self.config.z_dim, device=self.device)

    def critic(self, x: Tensor) -> Tensor:
        """D(x), (n,), differentiable."""
        values: Tensor = self.D(x).squeeze(1)
        return values

    def generate(self, z: Tensor) -> Tensor:
        """G(z), (n, ...), differentiable."""
        images: Tensor = self.G_average(z)
        return images

    def logit(self, x: Tensor) -> Tensor:
        """D(x), (n,), differentiable: a logit up to scale and shift (DDLS, section 3.3)."""
        return self.critic(x)

    @sampler("generator")
    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Draw G(z), (n, *shape), with z ~ N(0, I)."""
        images: Tensor = self.G_average(self._z(n))
        return images

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """-D(x), (n,): the critic is high on data."""
        return -self.critic(x)

    @score("gradient_norm")
    def gradient_norm(self, x: Tensor) -> Tensor:
        """||grad D(x)||^2, (n,)."""
        _, squares = squared_gradient_norm(self.critic, x, backward=False)
        return squares
