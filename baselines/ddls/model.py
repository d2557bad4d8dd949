"""DDLS: discriminator-driven latent sampling over a trained GAN.

Che, Zhang, Sohl-Dickstein, Larochelle, Paull, Cao, Bengio, Your GAN is Secretly an Energy-based Model
and You Should Use Discriminator Driven Latent Sampling (2020), "the paper".

Where the discriminator is the best for its generator, its logit d(x) is log p_data(x) - log p_G(x), and
the data's law, pulled back to the latents, is exp(-E(z)) with

    E(z) = -log p0(z) - d(G(z)),  p0 = N(0, I).

So Langevin dynamics on E(z) corrects the generator's samples. Nothing is trained but, where it is asked
for, a calibration of d on held-out data; the GAN is another model's training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ebbench.contract import Data, DataSpec, Model, sampler
from ebbench.nn.langevin import metropolis_adjusted_langevin, unadjusted_langevin
from ebbench.training import Run

CHUNK = 1000


class Calibration(nn.Module):
    """d -> a d + c, the identity at first: what turns a critic's values into a logit."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, d: Tensor) -> Tensor:
        """The calibrated logit, (n,)."""
        return self.scale * d + self.shift


class DDLS(Model):
    builds_on = "base"
    base_needs = ("generate", "logit")
    base: Any

    @dataclass(frozen=True)
    class Config:
        base: str = "sngan"
        """The GAN whose latents are sampled: sngan (the paper's), gan, wgan-gp, ebgan, meg, or a folder."""
        calibration_size: int = 10_000
        """Held-out real examples, and as many samples, on which the logit is calibrated (our choice; the
        paper calibrates on held-out data and does not say how much)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        self.calibration = Calibration()

    def train(self, data: Data, run: Run) -> None:
        """Fit the calibration: logistic regression of real against generated on d alone."""
        n = self.config.calibration_size
        generator = torch.Generator(device=data.device)
        generator.manual_seed(int(torch.randint(2**62, (1,))))
        with torch.no_grad():
            counts = [min(CHUNK, n - begin) for begin in range(0, n, CHUNK)]
            real = torch.cat([self.base.logit(data.fresh(count, generator)) for count in counts])
            made = [self.base.logit(self.base.generate(self._z(count))) for count in counts]
        d = torch.cat([real, *made])
        target = torch.cat([torch.ones_like(real), torch.zeros_like(real)])
        # Fitted to standardised values, which are then given back their units: critics differ by thousands.
        mean, std = d.mean(), d.std().clamp_min(1e-12)
        standardised = (d - mean) / std
        optimiser = torch.optim.LBFGS(
            self.calibration.parameters(), max_iter=200, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            optimiser.zero_grad()
            value = binary_cross_entropy_with_logits(self.calibration(standardised), target)
            value.backward()
            return value

        optimiser.step(loss)
        with torch.no_grad():
            self.calibration.scale /= std
            self.calibration.shift -= self.calibration.scale * mean

    @sampler("ddls")
    def sample(
        self, n: int, *, steps: int = 1000, step_size: float = 0.01, calibrated: bool = True
    ) -> Tensor:
        """Unadjusted Langevin: z <- z - (step_size / 2) grad E(z) + sqrt(step_size) noise (Algorithm 1)."""
        return self._chains(unadjusted_langevin, n, steps, step_size, calibrated)

    @sampler("mala")
    def mala(self, n: int, *, steps: int = 1000, step_size: float = 0.01, calibrated: bool = True) -> Tensor:
        """The same steps, each accepted by Metropolis and Hastings, so that exp(-E(z)) is stationary."""
        return self._chains(metropolis_adjusted_langevin, n, steps, step_size, calibrated)

    def _chains(self, dynamics: Any, n: int, steps: int, step_size: float, calibrated: bool) -> Tensor:
        def log_density(z: Tensor) -> Tensor:
            d = self.base.logit(self.base.generate(z))
            return -z.square().sum(1) / 2 + (self.calibration(d) if calibrated else d)

        # The shared dynamics count a step by half of the paper's.
        chains = dynamics(log_density, self._z(n), steps=steps, step_size=step_size / 2)
        self.diagnostics = chains.diagnostics()
        with torch.no_grad():
            made: Tensor = self.base.generate(chains.state)
        return made

    def _z(self, n: int) -> Tensor:
        return torch.randn(n, self.base.z_dim, device=self.device)
