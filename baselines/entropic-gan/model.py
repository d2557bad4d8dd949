"""Entropic GAN: entropic optimal transport, and the likelihood that it assigns to an example.

Balaji, Hassani, Chellappa, Feizi, Entropic GANs meet VAEs: A Statistical Approach to Compute Sample
Likelihoods in GANs (ICML 2019), "the paper". The generator G minimises the entropic transport cost between
the data Y and G(X), X ~ N(0, I):

    min over couplings P of (X, Y) with these marginals:  E[l(Y, G(X))] + lambda KL(P || P_X x P_Y).

Its dual has two potentials, D1 on the data and D2 on the samples. By the paper, minimising the cost maximises
a lower bound on the likelihood. With f(y | x) = C exp(-l(y, G(x)) / lambda), the optimal coupling P* gives

    log f(y) >= E_{P*(x | y)}[log f(y | x) + log p(x)] + H(P*(. | y)),

with equality if P* is the posterior. The paper's code omits C and the prior's constant and counts the prior
twice; this code keeps every constant and counts it once (protocols.md 2.6).

The transport cost W between two batches from the same distribution is far from 0, so minimising W alone
favours averages of the data. The Sinkhorn divergence (Genevay et al. 2018; Feydy et al. 2019) subtracts the
costs of each side to itself: W(data, samples) - (W(data, data) + W(samples, samples)) / 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from ebbench import Data, DataSpec, Diverged, Model, Run, UsageError, sampler
from ebbench.nn.nets import generator, initialise, trunk
from ebbench.nn.noise import noise_of
from ebbench.nn.rate import cosine

from .sinkhorn import pair_costs, transport

# The released code starts with a larger lambda: (until this step, factor); the factor is 1 afterwards.
WARM_UP = ((49, 2.0), (99, 1.6), (199, 1.28))
# Number of Newton steps that reuse one Jacobian.
REFRESH = 5


class Quadratic(nn.Module):
    """D(y) = y'Qy / 2 + q'y, (n, d) -> (n,); initialised to zero."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.Q = nn.Parameter(torch.zeros(d, d))
        self.q = nn.Parameter(torch.zeros(d))

    def symmetric(self) -> Tensor:
        """The symmetric part of Q, which alone affects D."""
        return (self.Q + self.Q.T) / 2

    def forward(self, y: Tensor) -> Tensor:
        """The potential of each row, (n,)."""
        return (y @ self.symmetric() * y).sum(1) / 2 + y @ self.q


class Potential(nn.Module):
    """A network with one output, (n, ...) -> (n,)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, y: Tensor) -> Tensor:
        """The potential of each example, (n,)."""
        values: Tensor = self.net(y).squeeze(1)
        return values


class Flat(nn.Module):
    """The zero potential, (n, ...) -> (n,). The coupling is then the posterior, and the bound is tight."""

    def forward(self, y: Tensor) -> Tensor:
        """Zeros."""
        return y.new_zeros(len(y))


@dataclass(frozen=True)
class Surrogate:
    """For each example, (n,): the bound, its Monte Carlo standard error, and the effective share of draws."""

    bound: Tensor
    error: Tensor
    effective: Tensor


class EntropicGAN(Model):
    @dataclass(frozen=True)
    class Config:
        form: Literal["network", "linear"] = "network"
        """"network": neural networks and sampled latents (the released code). "linear": an affine generator
        and a quadratic D2 (the paper's analysis), with exact Gaussian integrals over latents."""
        dual: Literal["full", "semi", "batch"] = "full"
        """"full" learns D1 and D2 (the released code). "semi" learns D2 and takes the optimal D1 for it, a
        soft minimum over the batch's samples (Genevay et al. 2016). "batch" learns neither and solves for
        both on each batch (Genevay et al. 2018). The linear form is always semi."""
        self_terms: Literal["none", "same", "fresh"] = "none"
        """Transport costs of data to data and of samples to samples to subtract, only with dual="batch":
        "same" of a batch to itself (Genevay et al. 2018), "fresh" to a second batch, so that a perfect
        generator has distance 0 on average even with small batches (Salimans et al. 2018)."""
        cost: Literal["squared", "l1"] = "l1"
        """l: "squared" is half the squared distance (the only one of the linear form), "l1" the sum of
        absolute differences (the released code)."""
        regularisation: float = 5.0
        """lambda, in units of the cost (the released code)."""
        warm_up: bool = True
        """Start with a larger lambda (the released code)."""
        primal: bool = True
        """Whether the generator minimises the mean cost under a fixed coupling (the released command:
        usePrimalLoss); false: the dual objective."""
        steps: int = 10_000
        """Generator steps (the released code)."""
        critic_steps: int = 5
        """Steps of the potentials per generator step (the released code)."""
        batch_size: int = 128
        """Number of examples, and of samples, per step; all pairs count (the released code: 128)."""
        z_dim: int = 128
        """Dimension of the latent prior (the released code); 0 uses the data's dimension."""
        width: int = 64
        """Channels of the networks for images (the released code)."""
        kernel: int = 5
        """Kernel size of the networks for images (the released code)."""
        layers: tuple[int, ...] = (512, 512, 512)
        """Hidden sizes of the potentials for vectors (Gulrajani et al. 2017, gan_toy.py)."""
        generator_layers: tuple[int, ...] = (512, 512, 512)
        """Hidden sizes of the generator for vectors (Gulrajani et al. 2017, gan_toy.py)."""
        init: float = 0.02
        """Standard deviation of the initial convolution weights (DCGAN); 0 uses He et al. (2015)."""
        lr: float = 2e-4
        """Adam's learning rate (the released code)."""
        lr_end: float = 1.0
        """Final learning rate as a share of `lr`, reached by cosine decay; 1 keeps it constant."""
        beta1: float = 0.5
        """Adam's beta_1 (the released code)."""
        beta2: float = 0.99
        """Adam's beta_2 (the released code)."""
        draws: int = 256
        """Latent draws per example to estimate the bound (our choice; the released code: 640)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        c = config
        self.size = prod(data.shape)
        self.z_dim = c.z_dim or self.size
        self.linear = c.form == "linear"
        if c.self_terms != "none" and (self.linear or c.dual != "batch"):
            raise UsageError(
                f"self_terms={c.self_terms} with {'form=linear' if self.linear else f'dual={c.dual}'}",
                where="the Config of entropic-gan",
                expected='self_terms with form="network" and dual="batch"',
                fix="--set form=network --set dual=batch, or --set self_terms=none",
            )
        if self.linear:
            self.G: nn.Module = nn.Linear(self.z_dim, self.size)
            self.D2: nn.Module = Quadratic(self.size)
            return
        self.G = initialise(
            generator(data, self.z_dim, width=c.width, kernel=c.kernel, layers=c.generator_layers), c.init
        )
        self.D2 = Flat() if c.dual == "batch" else self._potential(data)
        if c.dual == "full":
            self.D1 = self._potential(data)

    def _potential(self, data: DataSpec) -> nn.Module:
        c = self.config
        features, n = trunk(data, width=c.width, kernel=c.kernel, layers=c.layers)
        return initialise(Potential(nn.Sequential(features, nn.Linear(n, 1))), c.init)

    def train(self, data: Data, run: Run) -> None:
        c = self.config
        betas = (c.beta1, c.beta2)
        if c.dual == "batch" and not self.linear:
            self._train_without_potentials(data, run)
            return
        potentials = [self.D2] if self.linear or c.dual == "semi" else [self.D1, self.D2]
        self.opt_D = torch.optim.Adam([p for d in potentials for p in d.parameters()], c.lr, betas)
        self.opt_G = torch.optim.Adam(self.G.parameters(), c.lr, betas)
        objective = self._linear_objective if self.linear else self._sampled_objective
        for batch in run.batches(data, size=c.batch_size * c.critic_steps, steps=c.steps):
            cosine(c.lr, c.lr_end, run.progress, self.opt_D, self.opt_G)
            strength = c.regularisation * (_warm_up(run.progress * c.steps) if c.warm_up else 1.0)

            # The potentials maximise the dual, G minimises it.
            for y in batch.split(c.batch_size):
                dual, _ = objective(y, strength)
                self.opt_D.zero_grad()
                (-dual).backward()
                self.opt_D.step()
            dual, cost = objective(y, strength)
            self.opt_G.zero_grad()
            (cost if c.primal and not self.linear else dual).backward()
            self.opt_G.step()
            run.log(dual=dual, cost=cost)

    def _train_without_potentials(self, data: Data, run: Run) -> None:
        c = self.config
        self.opt_G = torch.optim.Adam(self.G.parameters(), c.lr, (c.beta1, c.beta2))
        sides = 2 if c.self_terms == "fresh" else 1
        for batch in run.batches(data, size=sides * c.batch_size, steps=c.steps):
            cosine(c.lr, c.lr_end, run.progress, self.opt_G)
            strength = c.regularisation * (_warm_up(run.progress * c.steps) if c.warm_up else 1.0)
            samples = self.G(torch.randn(len(batch), self.z_dim, device=self.device))
            divergence, loss = self._divergence(batch, samples, strength)
            self.opt_G.zero_grad()
            loss.backward()
            self.opt_G.step()
            run.log(divergence=divergence)

    def _divergence(self, y: Tensor, samples: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        """Transport cost minus self-terms, without gradient, and a scalar that carries its gradient."""

        def cost(one: Tensor, other: Tensor) -> Tensor:
            costs = pair_costs(one, other, self.config.cost)
            value, coupling = transport(costs, strength)
            # Envelope theorem: the cost's gradient is that of the mean cost under a fixed coupling.
            return torch.stack([value, (coupling * costs).sum()])

        match self.config.self_terms:
            case "none":
                both = cost(y, samples)
            case "same":
                both = cost(y, samples) - (cost(y, y) + cost(samples, samples)) / 2
            case _:
                (y, y_fresh), (samples, fresh) = y.chunk(2), samples.chunk(2)
                both = (cost(y, samples) + cost(y_fresh, fresh)) / 2
                both = both - (cost(y, y_fresh) + cost(samples, fresh)) / 2
        return both[0].detach(), both[1]

    def _sampled_objective(self, y: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        """The dual over all pairs of `y` and equally many samples, and the coupling's mean cost, scalars."""
        n = len(y)
        samples = self.G(torch.randn(n, self.z_dim, device=self.device))
        costs = pair_costs(y, samples, self.config.cost)
        d2 = self.D2(samples)
        if self.config.dual == "semi":
            # The best D1(y) = -lambda log E_x exp((-D2(G(x)) - l) / lambda): then E_x exp(v / lambda) = 1.
            logits = (-d2 - costs) / strength
            d1 = -strength * (logits.logsumexp(1) - math.log(n))
            weights = logits.softmax(1).detach() / n
            return d1.mean() - d2.mean(), (weights * costs).sum()
        # The dual with v(x, y) = D1(y) - D2(G(x)) - l(y, G(x)): E D1 - E D2 - lambda (E exp(v / lambda) - 1);
        # the coupling is exp(v / lambda) times the product of the marginals.
        d1 = self.D1(y)
        ratio = ((d1[:, None] - d2 - costs) / strength).exp()
        weights = ratio.detach() / n**2
        return d1.mean() - d2.mean() - strength * (ratio.mean() - 1), (weights * costs).sum()

    def _linear_objective(self, y: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        """The semi-dual for G(x) = Wx + b and a quadratic D2, with exact expectations over x ~ N(0, I)."""
        assert isinstance(self.G, nn.Linear) and isinstance(self.D2, Quadratic)
        w, b, q = self.G.weight, self.G.bias, self.D2.q
        curvature = self.D2.symmetric()
        # (-D2(G(x)) - |y - G(x)|^2 / 2) / lambda = -x'Mx / 2 + h(y)'x + k(y), so that
        # log E_x exp(that) = k + h'(I + M)^-1 h / 2 - log det(I + M) / 2.
        rest = y - b
        h = (rest - curvature @ b - q) @ w / strength
        k = -(b @ curvature @ b / 2 + q @ b + rest.square().sum(1) / 2) / strength
        m = (w.T @ curvature @ w + w.T @ w) / strength
        root, failed = torch.linalg.cholesky_ex(torch.eye(self.z_dim, device=self.device) + m)
        if failed:
            raise Diverged(
                "the potential D2 curves down faster than the cost curves up: the coupling does not exist",
                where="the training of entropic-gan, linear form",
                expected="I + W'(Q + I)W / lambda positive definite",
                fix="lower the learning rate: --set lr=...",
            )
        solved = torch.cholesky_solve(h.T, root).T
        log_mean = k + (h * solved).sum(1) / 2 - root.diagonal().log().sum()
        mean_d2 = (curvature * (w @ w.T)).sum() / 2 + b @ curvature @ b / 2 + q @ b
        # The coupling given y is N(solved, (I + M)^-1).
        spread = (torch.cholesky_inverse(root) * (w.T @ w)).sum() / 2
        cost = (rest - solved @ w.T).square().sum(1).mean() / 2 + spread
        return -strength * log_mean.mean() - mean_d2, cost.detach()

    @sampler("generator")
    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Draw G(x), (n, *shape), with x ~ N(0, I)."""
        made: Tensor = self.G(torch.randn(n, self.z_dim, device=self.device))
        return made.view(n, *self.data.shape)

    def log_likelihood_bound(self, x: Tensor) -> Tensor:
        """The paper's surrogate log-likelihood with all constants, (n,), nats; errors are in `surrogate`."""
        return torch.cat([self.surrogate(part).bound for part in x.split(64)])

    def surrogate(self, y: Tensor) -> Surrogate:
        """The bound at `y` (n, *data.shape), by importance sampling from the coupling P*(x | y).

        With t(x) = log p(x) - (D2(G(x)) + l(y, G(x))) / lambda, P*(x | y) = exp(t(x)) / Z(y), and the bound
        is log C + log Z(y) + E_{P*}[D2(G(x))] / lambda. Draws from the prior rarely reach P* (at 64
        dimensions never), so the proposal is a Gaussian at the mode of t with the precision of the prior and
        the cost. For a linear generator and a constant D2 it is P* itself.
        """
        c = self.config
        y = y.flatten(1)
        mode = self._mode(y)
        root = torch.linalg.cholesky(self._precision(y, mode))
        n, k = mode.shape
        standard = noise_of(y, c.draws, k)
        # x = mode + root^-T e has precision root root'.
        steps = torch.linalg.solve_triangular(root.mT, standard.permute(1, 2, 0), upper=True).permute(2, 0, 1)
        log_proposal = -(standard.square().sum(2) + k * math.log(2 * math.pi)) / 2
        log_proposal = log_proposal + root.diagonal(dim1=1, dim2=2).log().sum(1)
        with torch.no_grad():
            found = [self._target(y, mode + step) for step in steps]
        log_weights = torch.stack([target for target, _ in found]) - log_proposal
        d2 = torch.stack([value for _, value in found])
        log_z = log_weights.logsumexp(0) - math.log(c.draws)
        weights = log_weights.softmax(0)
        mean_d2 = (weights * d2).sum(0)
        # Delta method: each draw's influence on log Z and on the weighted mean.
        influence = weights * (1 + (d2 - mean_d2) / c.regularisation) - 1 / c.draws
        return Surrogate(
            bound=self._log_c() + log_z + mean_d2 / c.regularisation,
            error=influence.square().sum(0).sqrt(),
            effective=1 / (weights.square().sum(0) * c.draws),
        )

    def _log_c(self) -> float:
        """log C of f(y | x) = C exp(-l / lambda): N(G(x), lambda I), or Laplace with scale lambda."""
        strength = self.config.regularisation
        if self.config.cost == "squared":
            return -self.size / 2 * math.log(2 * math.pi * strength)
        return -self.size * math.log(2 * strength)

    def _target(self, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """t(x) and D2(G(x)), (n,) each."""
        c = self.config
        made = self.G(x)
        difference = y - made.flatten(1)
        each = difference.square() / 2 if c.cost == "squared" else difference.abs()
        d2 = self.D2(made)
        prior = -(x.square() + math.log(2 * math.pi)).sum(1) / 2
        return prior - (d2 + each.sum(1)) / c.regularisation, d2

    def _mode(self, y: Tensor, steps: int = 30) -> Tensor:
        """A mode of t, (n, z_dim), by damped Newton steps, each taken only if it increases t."""
        x = torch.zeros(len(y), self.z_dim, device=y.device)
        length = torch.ones(len(y), 1, device=y.device)
        for step_number in range(steps):
            x = x.detach().requires_grad_(True)
            value, _ = self._target(y, x)
            (gradient,) = torch.autograd.grad(value.sum(), x)
            with torch.no_grad():
                if step_number % REFRESH == 0:
                    root = torch.linalg.cholesky(self._precision(y, x))
                step = torch.cholesky_solve(gradient[:, :, None], root)[:, :, 0]
                tried, _ = self._target(y, x + length * step)
                better = (tried > value)[:, None]
                x = torch.where(better, x + length * step, x)
                length = torch.where(better, (2 * length).clamp_max(1.0), length / 2)
        return x.detach()

    def _precision(self, y: Tensor, x: Tensor) -> Tensor:
        """I + J'AJ / lambda, (n, z_dim, z_dim): J = dG/dx, and A the second derivative of the cost (smoothed
        for the absolute value, which has none)."""
        c = self.config
        x = x.detach()
        eye = torch.eye(self.z_dim, device=y.device)
        if self.linear:
            assert isinstance(self.G, nn.Linear)
            jacobian = self.G.weight.expand(len(x), -1, -1)
        else:
            jacobian = _jacobian(self.G, x)
        with torch.no_grad():
            curved = jacobian
            if c.cost != "squared":
                difference = y - self.G(x).flatten(1)
                curvature = 1 / (difference.square() + c.regularisation**2).sqrt()
                curved = curvature[:, :, None] * jacobian
            precision: Tensor = eye + jacobian.mT @ curved / c.regularisation
            return precision


def _jacobian(net: nn.Module, x: Tensor) -> Tensor:
    """dG/dx of each row, (n, outputs, z_dim), for a network that treats rows independently.

    Columns are derivatives of J'v, which is linear in v: one pass per latent dimension, fewer than outputs.
    """
    with torch.enable_grad():
        x = x.requires_grad_(True)
        made = net(x).flatten(1)
        v = torch.zeros_like(made, requires_grad=True)
        (pulled,) = torch.autograd.grad(made, x, v, create_graph=True)
        axes = torch.eye(x.shape[1], device=x.device)
        columns = [
            torch.autograd.grad(pulled, v, axis.expand_as(pulled), retain_graph=True)[0] for axis in axes
        ]
    return torch.stack(columns, 2)


def _warm_up(step: float) -> float:
    return next((factor for until, factor in WARM_UP if step < until), 1.0)
