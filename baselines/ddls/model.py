"""DDLS: discriminator-driven latent sampling from a trained GAN.

Che, Zhang, Sohl-Dickstein, Larochelle, Paull, Cao, Bengio, Your GAN is Secretly an Energy-based Model and You
Should Use Discriminator Driven Latent Sampling (2020), "the paper".

The logit of a GAN's optimal discriminator is d(x) = log p_data(x) - log p_G(x). The latents whose images
follow the data then have the density exp(-E(z)), up to a constant, with

    E(z) = -log p0(z) - d(G(z)),  p0 = N(0, I).

Langevin dynamics on E(z) therefore corrects the generator's samples. The GAN comes from another model's
training and is not changed. This model only fits a calibration of d on training data and, optionally,
fine-tunes a copy of the discriminator with the generator fixed.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ebbench import Data, DataSpec, Model, Run, sampler, score
from ebbench.nn.calibration import Calibration, values_to_fit
from ebbench.nn.langevin import Chains, metropolis_adjusted_langevin, unadjusted_langevin
from ebbench.nn.rate import cosine
from ebbench.nn.resampling import resampled_latents


class DDLS(Model):
    builds_on = "base"
    base_needs = ("generate", "logit")

    @dataclass(frozen=True)
    class Config:
        base: str = "sngan"
        """The GAN to sample from: sngan (the paper's), gan, wgan-gp, ebgan, meg, or a folder."""
        calibration_size: int = 10_000
        """Number of training examples, and of samples, that calibrate the logit (our choice; the paper
        calibrates on held-out data, which no model gets here, and does not say how much)."""
        fine_tune_steps: int = 0
        """Steps of fine-tuning a copy of the discriminator with the generator fixed; 0: none. DDLS assumes an
        optimal discriminator; DRS (Azadi et al. 2019) fine-tunes it in this way."""
        fine_tune_batch: int = 256
        """Number of real examples, and of samples, per fine-tuning step (our choice)."""
        fine_tune_lr: float = 1e-3
        """Adam's learning rate of the fine-tuning; it decays to 0 on a cosine (our choice)."""
        inversion_steps: int = 100
        """Optimisation steps that search the latent of an example to be scored (our choice)."""
        inversion_lr: float = 0.1
        """Adam's learning rate in that search (our choice)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        self.calibration = Calibration()
        # The last examples that were inverted and their latents: both scores need them.
        self.found: tuple[Tensor, Tensor] | None = None

    @property
    def base(self) -> Any:
        """The trained GAN."""
        return self.__dict__["base"]

    @base.setter
    def base(self, model: Any) -> None:
        self.__dict__["base"] = model
        if self.config.fine_tune_steps:
            # The copy's weights are part of this model's state; the base keeps its own.
            self.tuned = copy.deepcopy(model)

    def _logit(self, x: Tensor) -> Tensor:
        """The discriminator's logit before calibration, (n,): of the fine-tuned copy if there is one."""
        values: Tensor = (self.tuned if self.config.fine_tune_steps else self.base).logit(x)
        return values

    def train(self, data: Data, run: Run) -> None:
        """Fine-tune the copy of the discriminator if configured, then fit the calibration."""
        if self.config.fine_tune_steps:
            self._fine_tune(data, run)
        self._calibrate(data)

    def _fine_tune(self, data: Data, run: Run) -> None:
        """Train with the logistic loss, real against generated: the optimum is log p_data - log p_G."""
        c = self.config
        modules = [value for value in vars(self.tuned).values() if isinstance(value, nn.Module)]
        parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        used = torch.autograd.grad(
            self._logit(data[torch.arange(2, device=data.device)]).sum(), parameters, allow_unused=True
        )
        # The generator's parameters do not affect the logit, so they stay fixed.
        own = [p for p, gradient in zip(parameters, used, strict=True) if gradient is not None]
        self.opt_D = torch.optim.Adam(own, c.fine_tune_lr, fused=True)
        for module in modules:
            module.train()
        for x in run.batches(data, size=c.fine_tune_batch, steps=c.fine_tune_steps):
            cosine(c.fine_tune_lr, 0.0, run.progress, self.opt_D)
            with torch.no_grad():
                fake = self.base.generate(self._z(len(x)))
            real, made = self._logit(torch.cat([x, fake])).split(len(x))
            loss = softplus(-real).mean() + softplus(made).mean()
            self.opt_D.zero_grad()
            loss.backward()
            self.opt_D.step()
            run.log(loss=loss, logit_real=real.mean(), logit_fake=made.mean())
        for module in modules:
            module.eval()

    def _calibrate(self, data: Data) -> None:
        """Fit the logit d to training examples against samples by logistic regression."""

        def draw(n: int) -> Tensor:
            made: Tensor = self.base.generate(self._z(n))
            return made

        self.calibration.fit(*values_to_fit(self._logit, draw, data, self.config.calibration_size))

    @sampler("ddls")
    def sample(
        self, n: int, *, steps: int = 1000, step_size: float = 0.01, calibrated: bool = True
    ) -> Tensor:
        """Draw G(z), z from unadjusted Langevin dynamics on E(z), started at N(0, I) (Algorithm 1).

        Each step is z <- z - (step_size / 2) grad E(z) + sqrt(step_size) noise.
        """
        return self._chains(unadjusted_langevin, n, steps, step_size, calibrated)

    @sampler("mala")
    def mala(self, n: int, *, steps: int = 1000, step_size: float = 0.01, calibrated: bool = True) -> Tensor:
        """Draw G(z), z from the same steps with a Metropolis-Hastings test: exp(-E(z)) is stationary."""
        return self._chains(metropolis_adjusted_langevin, n, steps, step_size, calibrated)

    @sampler("isir")
    def isir(
        self,
        n: int,
        *,
        steps: int = 20,
        proposals: int = 10,
        local_steps: int = 1,
        step_size: float = 0.01,
        calibrated: bool = True,
    ) -> Tensor:
        """Draw G(z), z from Ex2MCMC chains on exp(-E(z)), which can change modes (Samsonov et al. 2022).

        Each of the `steps` draws `proposals` latents from the prior and moves to one of them, or stays, with
        probabilities proportional to exp(d(G(z))). Then it takes `local_steps` steps of `mala`.
        """

        def log_ratio(z: Tensor) -> Tensor:
            return self._log_ratio(z, calibrated)

        chains = resampled_latents(
            log_ratio,
            self._z(n),
            steps=steps,
            proposals=proposals,
            local_steps=local_steps,
            step_size=step_size / 2,
        )
        return self._made(chains)

    def _chains(self, dynamics: Any, n: int, steps: int, step_size: float, calibrated: bool) -> Tensor:
        def log_density(z: Tensor) -> Tensor:
            return -z.square().sum(1) / 2 + self._log_ratio(z, calibrated)

        # The shared dynamics' step size is half of the paper's.
        return self._made(dynamics(log_density, self._z(n), steps=steps, step_size=step_size / 2))

    def _log_ratio(self, z: Tensor, calibrated: bool) -> Tensor:
        """d(G(z)), (n,): estimates log p_data - log p_G at G(z)."""
        d = self._logit(self.base.generate(z))
        ratio: Tensor = self.calibration(d) if calibrated else d
        return ratio

    def _made(self, chains: Chains) -> Tensor:
        self.diagnostics = chains.diagnostics()
        with torch.no_grad():
            made: Tensor = self.base.generate(chains.state)
        return made

    @score("latent_energy")
    def latent_energy(self, x: Tensor) -> Tensor:
        """E(z) with the calibrated logit, (n,), at the latent that reconstructs x best.

        The paper samples from E and does not score examples. The latent of an example is found as in AnoGAN
        (Schlegl et al. 2017), by gradient descent on the distance of G(z) to x.
        """
        z = self._inverted(x)
        with torch.no_grad():
            prior = (z.square() + math.log(2 * math.pi)).sum(1) / 2
            energies: Tensor = prior - self.calibration(self._logit(self.base.generate(z)))
        return energies

    @score("reconstruction")
    def reconstruction(self, x: Tensor) -> Tensor:
        """||x - G(z)||^2, (n,), at the latent z that reconstructs x best."""
        z = self._inverted(x)
        with torch.no_grad():
            return self._distance(x, z)

    def _inverted(self, x: Tensor) -> Tensor:
        """The latents that reconstruct x best, (n, z_dim): Adam from z = 0, each example on its own."""
        if self.found is not None and torch.equal(self.found[0], x):
            return self.found[1]
        c = self.config
        z = torch.zeros(len(x), self.base.z_dim, device=x.device, requires_grad=True)
        optimiser = torch.optim.Adam([z], c.inversion_lr)
        for _ in range(c.inversion_steps):
            (z.grad,) = torch.autograd.grad(self._distance(x, z).sum(), z)
            optimiser.step()
        self.found = x, z.detach()
        return self.found[1]

    def _distance(self, x: Tensor, z: Tensor) -> Tensor:
        """||x - G(z)||^2, (n,)."""
        squares: Tensor = (x - self.base.generate(z)).flatten(1).square().sum(1)
        return squares

    def _z(self, n: int) -> Tensor:
        return torch.randn(n, self.base.z_dim, device=self.device)
