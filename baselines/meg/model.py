"""MEG: maximum entropy generators for energy-based models (Kumar, Ozair, Goyal, Courville, Bengio 2019).

Three nets. The energy E is lowered on data and raised on the generator's samples. The generator G
descends E and keeps its entropy: H(G(z)) is, up to a constant, the mutual information of z and G(z),
which the third net H bounds from below by telling true pairs from shuffled ones. "EnGAN" below is the
paper's first version, whose Algorithm 1 and equation numbers are meant. Each term can be turned off or
replaced by a value of Config: the card's variants are those ablations.
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

# Each estimator takes the values of H on pairs of x and candidate latents, (k, n): row 0 are the true
# pairs, the other rows pair each x with another's latent. It gives the bound that H and G maximise.


def jensen_shannon(values: Tensor) -> Tensor:
    """E[-softplus(-T(true))] - E[softplus(T(shuffled))] <= 2 JSD(joint || product) - log 4.

    EnGAN's I_JSD (equation 5 takes it in place of the entropy), after Hjelm et al. 2019, equation 4.
    """
    return -softplus(-values[0]).mean() - softplus(values[1:]).mean()


def donsker_varadhan(values: Tensor, log_mean: Tensor | None = None) -> Tensor:
    """E[T(true)] - log E[exp T(shuffled)] <= the mutual information, in nats.

    Belghazi et al. 2018 (MINE), equation 5. The logarithm of a batch's mean makes the gradient biased:
    that of the second term is E[exp(T) grad T] over the mean E[exp T] of this very batch. With
    `log_mean`, the logarithm of a mean over many batches, that mean takes its place (MINE, equation 12).
    """
    shuffled = values[1:].flatten()
    log_of_batch = shuffled.logsumexp(0) - math.log(len(shuffled))
    if log_mean is not None:
        corrected = (log_of_batch - log_mean.detach()).exp()
        log_of_batch = log_of_batch.detach() + corrected - corrected.detach()
    return values[0].mean() - log_of_batch


def info_nce(values: Tensor) -> Tensor:
    """E[log softmax of T(true) among its k candidates] + log k <= the mutual information, and <= log k.

    Van den Oord et al. 2018, equations 4 and 6.
    """
    return values.log_softmax(0)[0].mean() + math.log(len(values))


class MovingMean(nn.Module):
    """The logarithm of an exponentially moving mean of exp(T) over batches; the first batch begins it."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.log_mean: Tensor
        self.register_buffer("log_mean", torch.tensor(math.inf))

    @torch.no_grad()
    def update(self, shuffled: Tensor) -> Tensor:
        """Take in a batch of T, (m,) or more axes; returns the logarithm of the mean, a scalar."""
        now = shuffled.flatten().logsumexp(0) - math.log(shuffled.numel())
        moved = torch.logaddexp(self.log_mean + math.log1p(-self.rate), now + math.log(self.rate))
        self.log_mean.copy_(torch.where(torch.isfinite(self.log_mean), moved, now))
        return self.log_mean


class MutualInformation(nn.Module):
    """H(x, z) for images: high where x and z belong together."""

    def __init__(self, features: nn.Module, n_features: int, z_dim: int, hidden: int) -> None:
        super().__init__()
        self.features = features
        self.to_z = nn.Linear(n_features, z_dim)
        self.join = nn.Sequential(nn.Linear(2 * z_dim, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))

    def forward(self, x: Tensor, candidates: Tensor) -> Tensor:
        """The values at x (n, ...) with each row of candidates (k, n, z_dim), (k, n).

        x passes the trunk once for all of them.
        """
        h = self.to_z(self.features(x))
        pairs = torch.cat([h.expand(len(candidates), -1, -1), candidates], 2)
        values: Tensor = self.join(pairs).squeeze(2)
        return values


class MutualInformationOfVectors(nn.Module):
    """H(x, z) for vectors: one perceptron takes x and z side by side (MEG's code)."""

    def __init__(self, size: int, z_dim: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.join = mlp([size + z_dim, *layers, 1], nn.LeakyReLU(0.2))

    def forward(self, x: Tensor, candidates: Tensor) -> Tensor:
        """The values at x (n, size) with each row of candidates (k, n, z_dim), (k, n)."""
        pairs = torch.cat([x.expand(len(candidates), -1, -1), candidates], 2)
        values: Tensor = self.join(pairs).squeeze(2)
        return values


class MEG(Model):
    @dataclass(frozen=True)
    class Config:
        steps: int = 100_000
        """Generator steps (MEG's code: 100,000 iterations)."""
        epochs: int = 0
        """Passes over the data, in place of `steps`; 0 counts steps."""
        batch_size: int = 64
        """Examples a step of either net (MEG's code)."""
        energy_steps: int = 5
        """Energy steps for each generator step (EnGAN, Algorithm 1: n_phi = 5)."""
        fresh_latents: bool = True
        """Draw latents of its own for the generator's step (MEG's code); false takes those of the last
        energy step, and saves a pass of the generator."""
        z_dim: int = 128
        """Dimension of the latent prior N(0, I) (MEG's code)."""
        width: int = 64
        """Channels of the energy's first layer and before the generator's last (MEG's code)."""
        mi_width: int = 64
        """The same of the mutual-information net's trunk (MEG's code)."""
        mi_hidden: int = 512
        """Hidden units where it joins x and z (MEG's code)."""
        generator_maps: tuple[int, ...] = ()
        """Channels of the generator's four hidden maps for 28x28 images; empty: 8, 4, 2, 1 times `width`."""
        kernel: int = 5
        """Side of the kernels for 28x28 images (MEG's code)."""
        layers: tuple[int, ...] = (512, 512, 512)
        """Hidden sizes of the energy and the mutual-information net for vectors (MEG's toy script)."""
        generator_layers: tuple[int, ...] = (512, 512, 512)
        """Hidden sizes of the generator for vectors (MEG's toy script)."""
        init: float = 0.02
        """Standard deviation of the convolutions' weights (MEG's code); 0 draws by He et al. 2015."""
        information: Literal["jensen-shannon", "donsker-varadhan", "infonce"] = "jensen-shannon"
        """The estimator of the mutual information of z and G(z) (EnGAN: Jensen-Shannon)."""
        information_weight: float = 0.5
        """Its weight in the generator's loss; 0 leaves it, and H, out (MEG's code: a cross-entropy of
        weight 1, which is half of I_JSD; the paper's equation 5: 1)."""
        candidates: int = 0
        """Latents of the batch among which InfoNCE tells the true one; 0 takes the whole batch (van den
        Oord et al. 2018). The other estimators have two, the true and a shuffled one."""
        moving_rate: float = 0.01
        """Share of a batch in the moving mean by which Donsker-Varadhan's gradient is corrected (MINE,
        section 3.2, gives no number: our choice)."""
        penalty: float = 10.0
        """Weight of the zero-centred gradient penalty at the data, its score-matching term; 0 leaves it
        out (MEG's code)."""
        penalty_end: float = 0.0
        """Its weight at the end, reached geometrically; 0 keeps `penalty` throughout (MEG's code)."""
        penalty_norm: Literal["full", "channelwise"] = "channelwise"
        """"channelwise" is what MEG's code computes on images: the full squared norm over the pixels."""
        lr: float = 1e-4
        """Learning rate of Adam for all three nets (EnGAN, Algorithm 1)."""
        lr_end: float = 1.0
        """The rate at the end as a share of `lr`, reached on a cosine; 1 keeps it constant (MEG's code)."""
        beta1: float = 0.5
        """Adam's first decay (EnGAN, Algorithm 1)."""
        beta2: float = 0.9
        """Adam's second decay (EnGAN, Algorithm 1)."""
        average: float = 1.0
        """Rate at which the sampled generator follows the trained one; 1 samples that itself (MEG's code)."""
        calibration_size: int = 10_000
        """Training examples, and as many samples, on which the energy is calibrated for the sampler `isir`
        after the training (our choice)."""

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
        """One step of G and H after those of E, with the penalty's `weight`; what is logged of it."""
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

        # G and H: equation 5: min E[E(G(z))] - I(G(z), z), whose bound H maximises.
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
        """The bound of the mutual information of x = G(z) and z, a scalar with its graph."""
        c = self.config
        if c.information == "infonce":
            # The latents of the batch, each shifted by one more.
            shifted = [z.roll(shift, 0) for shift in range(c.candidates or len(z))]
            return info_nce(self.H(x, torch.stack(shifted)))
        values = self.H(x, torch.stack([z, z[torch.randperm(len(z), device=z.device)]]))
        if c.information == "donsker-varadhan":
            return donsker_varadhan(values, self.moving_mean.update(values[1:]))
        return jensen_shannon(values)

    def _z(self, n: int) -> Tensor:
        return torch.randn(n, self.config.z_dim, device=self.device)

    def energy_of(self, x: Tensor) -> Tensor:
        """E(x), (n,), with its graph."""
        values: Tensor = self.E(x).squeeze(1)
        return values

    def generate(self, z: Tensor) -> Tensor:
        """G(z), (n, ...), with its graph."""
        images: Tensor = self.G_average(z)
        return images

    def logit(self, x: Tensor) -> Tensor:
        """-E(x), (n,), with its graph: the energy is low on data."""
        return -self.energy_of(x)

    @sampler("generator")
    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """G(z), z ~ N(0, I)."""
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
        """Latent Metropolis-adjusted Langevin (MEG, section 4.2): z from N(0, I), then G(z).

        The target is exp(-inverse_temperature * E(G(z))) times the prior. The authors' code leaves the
        prior out (`prior=false`) and takes a wrong norm in the acceptance ratio (`exact=false`); their
        5 steps of 0.01 at 0.2 are the defaults here.
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
        """Latent chains that change modes (Ex2MCMC, Samsonov et al. 2022): z from N(0, I), then G(z).

        The target is the prior times exp(d(G(z))), where d is -E calibrated to log p_data - log p_G by a
        logistic regression; `calibrated=false` takes -E itself. Each of the `steps` draws `proposals`
        latents from the prior, moves to one of them or stays, by their weights exp(d), and takes
        `local_steps` Metropolis-adjusted Langevin steps of `step_size`.
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
        """Metropolis-adjusted Langevin on the data themselves, from the generator's samples.

        What the paper sets its latent chains against (section 4.1); the target is
        exp(-inverse_temperature * E(x)). Its step sizes are not stated: these are ours, for the toy laws.
        """

        def log_density(x: Tensor) -> Tensor:
            return -inverse_temperature * self.energy_of(x)

        chains = metropolis_adjusted_langevin(log_density, self.sample(n), steps=steps, step_size=step_size)
        self.diagnostics = chains.diagnostics()
        # Langevin steps know nothing of the data's range.
        bounded = (self.data.low, self.data.high) != (None, None)
        return chains.state.clamp(self.data.low, self.data.high) if bounded else chains.state

    @torch.no_grad()
    def energy(self, x: Tensor) -> Tensor:
        """E(x)."""
        return self.energy_of(x)

    @score("gradient_norm")
    def gradient_norm(self, x: Tensor) -> Tensor:
        """||grad E(x)||^2, the score of MEG's anomaly tables (EnGAN, section 5.3)."""
        _, squares = squared_gradient_norm(self.energy_of, x, backward=False)
        return squares
