"""MEG: Maximum Entropy Generators for Energy-Based Models (Kumar, Ozair, Goyal, Courville, Bengio 2019).

MEG trains three networks. The energy E learns low values on data and high values on generated samples. The
generator G minimises E and maximises the entropy of G(z). That entropy equals the mutual information of z and
G(z) up to a constant. The network H bounds it from below by classifying true against shuffled pairs. "EnGAN"
is the paper's first version; equations and Algorithm 1 are cited from it. Config can switch off or replace
each term: the card's ablation variants do so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ebbench import Data, DataSpec, Model, Run, UsageError, sampler, score
from ebbench.nn.average import averaged, refresh_batch_norm, update_average
from ebbench.nn.calibration import Calibration, values_to_fit
from ebbench.nn.langevin import metropolis_adjusted_langevin
from ebbench.nn.mlp import mlp
from ebbench.nn.nets import generator, initialise, trunk
from ebbench.nn.penalty import squared_gradient_norm
from ebbench.nn.rate import cosine
from ebbench.nn.resampling import resampled_latents

# Each estimator takes the values T of H on pairs (x, latent), (k, n): row 0 are the true pairs, the other
# rows pair each x with another example's latent. It returns the bound that H and G maximise.


def jensen_shannon(values: Tensor) -> Tensor:
    """E[-softplus(-T(true))] - E[softplus(T(shuffled))] <= 2 JSD(joint || product) - log 4, a scalar.

    EnGAN's I_JSD (equation 5 uses it in place of the entropy), from Hjelm et al. (2019), equation 4.
    """
    return -softplus(-values[0]).mean() - softplus(values[1:]).mean()


def donsker_varadhan(values: Tensor, log_mean: Tensor | None = None) -> Tensor:
    """E[T(true)] - log E[exp T(shuffled)] <= the mutual information, in nats: a scalar.

    Belghazi et al. (2018, MINE), equation 5. The log of a batch mean biases the gradient of the second term,
    E[exp(T) grad T] / E[exp T], because it divides by the mean of the same batch. If `log_mean` is given, the
    log of a mean over many batches, that mean is the denominator instead (MINE, equation 12).
    """
    shuffled = values[1:].flatten()
    log_of_batch = shuffled.logsumexp(0) - math.log(len(shuffled))
    if log_mean is not None:
        corrected = (log_of_batch - log_mean.detach()).exp()
        log_of_batch = log_of_batch.detach() + corrected - corrected.detach()
    return values[0].mean() - log_of_batch


def info_nce(values: Tensor) -> Tensor:
    """E[log softmax of T(true) over k candidates] + log k <= the mutual information (nats), and <= log k.

    Returns a scalar. Van den Oord et al. (2018), equations 4 and 6.
    """
    return values.log_softmax(0)[0].mean() + math.log(len(values))


class MovingMean(nn.Module):
    """Log of the exponential moving average of exp(T) over batches, initialised with the first batch."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.log_mean: Tensor
        self.register_buffer("log_mean", torch.tensor(math.inf))

    @torch.no_grad()
    def update(self, shuffled: Tensor) -> Tensor:
        """Update the average with a batch of T, any shape; returns the log of the average, a scalar."""
        now = shuffled.flatten().logsumexp(0) - math.log(shuffled.numel())
        moved = torch.logaddexp(self.log_mean + math.log1p(-self.rate), now + math.log(self.rate))
        self.log_mean.copy_(torch.where(torch.isfinite(self.log_mean), moved, now))
        return self.log_mean


class MutualInformation(nn.Module):
    """H(x, z) for images: a network whose value is high if x and z belong together."""

    def __init__(self, features: nn.Module, n_features: int, z_dim: int, hidden: int) -> None:
        super().__init__()
        self.features = features
        self.to_z = nn.Linear(n_features, z_dim)
        self.join = nn.Sequential(nn.Linear(2 * z_dim, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))

    def forward(self, x: Tensor, candidates: Tensor) -> Tensor:
        """Values of H at x (n, ...) with each row of candidates (k, n, z_dim), shape (k, n).

        The convolutional trunk processes x once for all candidates.
        """
        h = self.to_z(self.features(x))
        pairs = torch.cat([h.expand(len(candidates), -1, -1), candidates], 2)
        values: Tensor = self.join(pairs).squeeze(2)
        return values


class MutualInformationOfVectors(nn.Module):
    """H(x, z) for vectors: an MLP on the concatenation of x and z, as in MEG's code."""

    def __init__(self, size: int, z_dim: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.join = mlp([size + z_dim, *layers, 1], nn.LeakyReLU(0.2))

    def forward(self, x: Tensor, candidates: Tensor) -> Tensor:
        """Values of H at x (n, size) with each row of candidates (k, n, z_dim), shape (k, n)."""
        pairs = torch.cat([x.expand(len(candidates), -1, -1), candidates], 2)
        values: Tensor = self.join(pairs).squeeze(2)
        return values


class MEG(Model):
    @dataclass(frozen=True)
    class Config:
        steps: int = 100_000
        """Generator steps (MEG's code: 100,000 iterations)."""
        epochs: int = 0
        """Training epochs; if above 0, they replace `steps`."""
        batch_size: int = 64
        """Batch size of every network (MEG's code)."""
        energy_steps: int = 5
        """Energy steps per generator step (EnGAN, Algorithm 1: n_phi = 5)."""
        fresh_latents: bool = True
        """Draw new latents for the generator step (MEG's code). False reuses those of the last energy step,
        which saves a forward pass of the generator."""
        z_dim: int = 128
        """Dimension of the latent prior N(0, I) (MEG's code)."""
        width: int = 64
        """Channels of the energy's first layer and of the generator's last hidden layer (MEG's code)."""
        mi_width: int = 64
        """Channels of the first layer of H (MEG's code)."""
        mi_hidden: int = 512
        """Hidden units of the layer of H that joins x and z (MEG's code)."""
        generator_maps: tuple[int, ...] = ()
        """Channels of the generator's four hidden layers for 28x28 images; empty: (8, 4, 2, 1) * `width`."""
        kernel: int = 5
        """Kernel size for 28x28 images (MEG's code)."""
        layers: tuple[int, ...] = (512, 512, 512)
        """Hidden sizes of the energy and of H for vectors (MEG's toy script)."""
        generator_layers: tuple[int, ...] = (512, 512, 512)
        """Hidden sizes of the generator for vectors (MEG's toy script)."""
        init: float = 0.02
        """Standard deviation of the initial convolution weights (MEG's code); 0 uses He et al. (2015)."""
        information: Literal["jensen-shannon", "donsker-varadhan", "infonce"] = "jensen-shannon"
        """The mutual-information estimator (EnGAN: Jensen-Shannon)."""
        information_weight: float = 0.5
        """Weight of the mutual information in G's loss; 0 removes it and H (MEG's code: a cross-entropy of
        weight 1, which is half of I_JSD; the paper's equation 5: 1)."""
        candidates: int = 0
        """Number of candidate latents in InfoNCE; 0 uses the whole batch (van den Oord et al. 2018). The
        other estimators always use two: the true latent and a shuffled one."""
        moving_rate: float = 0.01
        """Update rate of the moving average that corrects Donsker-Varadhan's gradient (MINE, section 3.2,
        gives no number: our choice)."""
        penalty: float = 10.0
        """Weight of the zero-centred gradient penalty at the data (score matching; MEG's code); 0: none."""
        penalty_end: float = 0.0
        """Final penalty weight, reached by geometric decay; 0 keeps `penalty` constant (MEG's code)."""
        penalty_norm: Literal["full", "channelwise"] = "channelwise"
        """"channelwise" is what MEG's code computes on images: the full squared norm over the pixel count."""
        lr: float = 1e-4
        """Adam's learning rate for all three networks (EnGAN, Algorithm 1)."""
        lr_end: float = 1.0
        """Final learning rate as a share of `lr`, by cosine decay; 1 keeps it constant (MEG's code)."""
        beta1: float = 0.5
        """Adam's beta_1 (EnGAN, Algorithm 1)."""
        beta2: float = 0.9
        """Adam's beta_2 (EnGAN, Algorithm 1)."""
        average: float = 1.0
        """Update rate of the weight average of G, which is sampled from; 1: no averaging (MEG's code)."""
        calibration_size: int = 10_000
        """Training examples, and as many samples, to calibrate the energy for sampler `isir` (our choice)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        c = config
        if c.candidates and not 2 <= c.candidates <= c.batch_size:
            raise UsageError(
                f"candidates={c.candidates} with batch_size={c.batch_size}",
                where="Config of model meg",
                expected="0 for the whole batch, or from 2 to batch_size",
            )
        self.z_dim = c.z_dim
        features, n = trunk(data, width=c.width, kernel=c.kernel, layers=c.layers)
        self.E = initialise(nn.Sequential(features, nn.Linear(n, 1)), c.init)
        self.H = initialise(self._mutual_information(data), c.init)
        made = generator(
            data,
            c.z_dim,
            width=c.width,
            kernel=c.kernel,
            layers=c.generator_layers,
            maps=c.generator_maps,
        )
        self.G = initialise(made, c.init)
        self.G_average = averaged(self.G)
        self.moving_mean = MovingMean(c.moving_rate)
        self.calibration = Calibration()

    def _mutual_information(self, data: DataSpec) -> nn.Module:
        c = self.config
        if len(data.shape) == 1:
            return MutualInformationOfVectors(data.shape[0], c.z_dim, c.layers)
        features, n = trunk(data, width=c.mi_width, kernel=c.kernel, layers=c.layers)
        return MutualInformation(features, n, c.z_dim, c.mi_hidden)

    def train(self, data: Data, run: Run) -> None:
        c = self.config
        betas = (c.beta1, c.beta2)
        self.opt_E = torch.optim.Adam(self.E.parameters(), c.lr, betas, fused=True)
        self.opt_GH = torch.optim.Adam([*self.G.parameters(), *self.H.parameters()], c.lr, betas, fused=True)
        length = {"epochs": c.epochs} if c.epochs else {"steps": c.steps}
        step = run.captured(self._step)
        for batch in run.batches(data, size=c.batch_size * c.energy_steps, **length):
            cosine(c.lr, c.lr_end, run.progress, self.opt_E, self.opt_GH)
            weight = c.penalty ** (1 - run.progress) * (c.penalty_end or c.penalty) ** run.progress
            run.log(**step(batch, weight))
        if c.average < 1:
            refresh_batch_norm(self.G_average, self._z)
        self.G_average.eval()
        self.calibration.fit(*values_to_fit(self.logit, self.sample, data, c.calibration_size))

    def _step(self, batch: Tensor, weight: float | Tensor) -> dict[str, Tensor]:
        """One step of G and H after the energy steps, with penalty weight `weight`; returns values to log."""
        c = self.config
        # E: Algorithm 1, equation 4: min E[E(x)] - E[E(G(z))] + lambda E||grad E(x)||^2
        for x in batch.split(c.batch_size):
            z = self._z(len(x))
            with torch.set_grad_enabled(not c.fresh_latents):
                fake = self.G(z)
            if c.penalty:
                energy_real, norms = squared_gradient_norm(self.energy_of, x, norm=c.penalty_norm)
                penalty = norms.mean()
            else:
                energy_real, penalty = self.energy_of(x), torch.zeros((), device=x.device)
            energy_fake = self.energy_of(fake.detach())
            self.opt_E.zero_grad()
            (energy_real.mean() - energy_fake.mean() + weight * penalty).backward()
            self.opt_E.step()

        # G and H: equation 5: min E[E(G(z))] - I(G(z), z). H maximises the bound on I.
        if c.fresh_latents:
            z = self._z(c.batch_size)
            fake = self.G(z)
        self.E.requires_grad_(False)
        loss = self.energy_of(fake).mean()
        information = torch.zeros((), device=fake.device)
        if c.information_weight:
            information = self._information(fake, z)
            loss = loss - c.information_weight * information
        self.opt_GH.zero_grad()
        loss.backward()
        self.E.requires_grad_(True)
        self.opt_GH.step()
        update_average(self.G_average, self.G, c.average)
        return {
            "energy_real": energy_real.mean(),
            "energy_fake": energy_fake.mean(),
            "penalty": penalty,
            "information": information,
        }

    def _information(self, x: Tensor, z: Tensor) -> Tensor:
        """The lower bound on the mutual information of x = G(z) and z, a differentiable scalar."""
        c = self.config
        if c.information == "infonce":
            # Candidate k pairs each x with the latent k places earlier in the batch.
            shifted = [z.roll(shift, 0) for shift in range(c.candidates or len(z))]
            return info_nce(self.H(x, torch.stack(shifted)))
        values = self.H(x, torch.stack([z, z[torch.randperm(len(z), device=z.device)]]))
        if c.information == "donsker-varadhan":
            return donsker_varadhan(values, self.moving_mean.update(values[1:]))
        return jensen_shannon(values)

    def _z(self, n: int) -> Tensor:
        return torch.randn(n, self.config.z_dim, device=self.device)

    def energy_of(self, x: Tensor) -> Tensor:
        """E(x), (n,), differentiable."""
        values: Tensor = self.E(x).squeeze(1)
        return values

    def generate(self, z: Tensor) -> Tensor:
        """G(z), (n, ...), differentiable."""
        images: Tensor = self.G_average(z)
        return images

    def logit(self, x: Tensor) -> Tensor:
        """-E(x), (n,), differentiable: high on data, like a discriminator's logit."""
        return -self.energy_of(x)

    @sampler("generator")
    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Draw G(z), (n, *shape), with z ~ N(0, I)."""
        images: Tensor = self.G_average(self._z(n))
        return images

    @sampler("mala")
    def mala(
        self,
        n: int,
        *,
        steps: int = 5,
        step_size: float = 0.01,
        inverse_temperature: float = 0.2,
        prior: bool = True,
        exact: bool = True,
    ) -> Tensor:
        """Draw G(z) with z from latent MALA, started at z ~ N(0, I) (MEG, section 4.2).

        The target is exp(-inverse_temperature * E(G(z))) times the prior. The authors' code omits the prior
        (`prior=false`) and has a wrong norm in the acceptance ratio (`exact=false`). The defaults are its 5
        steps of size 0.01 at inverse temperature 0.2.
        """

        def log_density(z: Tensor) -> Tensor:
            value = -inverse_temperature * self.energy_of(self.G_average(z))
            return value - z.square().sum(1) / 2 if prior else value

        chains = metropolis_adjusted_langevin(
            log_density, self._z(n), steps=steps, step_size=step_size, exact=exact
        )
        self.diagnostics = chains.diagnostics()
        with torch.no_grad():
            return self.generate(chains.state)

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
        """Draw G(z) with z from latent Ex2MCMC chains, which can change modes (Samsonov et al. 2022).

        Chains start at N(0, I). The target is the prior times exp(d(G(z))), where d is -E, calibrated to log
        p_data - log p_G by logistic regression; `calibrated=false` uses -E itself. Each of the `steps` draws
        `proposals` latents from the prior and moves to one of them, or stays, by weight exp(d). It then takes
        `local_steps` MALA steps of `step_size`.
        """

        def log_ratio(z: Tensor) -> Tensor:
            d = self.logit(self.G_average(z))
            return self.calibration(d) if calibrated else d

        chains = resampled_latents(
            log_ratio,
            self._z(n),
            steps=steps,
            proposals=proposals,
            local_steps=local_steps,
            step_size=step_size,
        )
        self.diagnostics = chains.diagnostics()
        with torch.no_grad():
            return self.generate(chains.state)

    @sampler("visible")
    def visible(
        self, n: int, *, steps: int = 100, step_size: float = 1e-4, inverse_temperature: float = 1.0
    ) -> Tensor:
        """Draw samples by MALA in data space, started at the generator's samples.

        The paper compares its latent chains with this (section 4.1). The target is exp(-inverse_temperature *
        E(x)). The paper states no step size: the default is ours, for the 2-D toy distributions.
        """

        def log_density(x: Tensor) -> Tensor:
            return -inverse_temperature * self.energy_of(x)

        chains = metropolis_adjusted_langevin(log_density, self.sample(n), steps=steps, step_size=step_size)
        self.diagnostics = chains.diagnostics()
        # Langevin steps can leave the data's range.
        bounded = (self.data.low, self.data.high) != (None, None)
        return chains.state.clamp(self.data.low, self.data.high) if bounded else chains.state

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """E(x), (n,)."""
        return self.energy_of(x)

    @score("gradient_norm")
    def gradient_norm(self, x: Tensor) -> Tensor:
        """||grad E(x)||^2, (n,): the score of MEG's anomaly tables (EnGAN, section 5.3)."""
        _, squares = squared_gradient_norm(self.energy_of, x, backward=False)
        return squares
