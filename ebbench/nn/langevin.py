"""Langevin dynamics, unadjusted and Metropolis-adjusted, vectorised over chains."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench.errors import Diverged

LogDensity = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Chains:
    """Final states of the chains, and their diagnostics.

    `state` is (n, ...). `acceptance` is the share of accepted proposals, a scalar (1 without a Metropolis
    test). `trace` (steps, n) holds the log density before each step.
    """

    state: Tensor
    acceptance: Tensor
    trace: Tensor

    def diagnostics(self) -> dict[str, Tensor]:
        """Acceptance, and the effective sample size of the log density as a share of all steps."""
        share = effective_sample_size(self.trace) / self.trace.numel() if len(self.trace) > 3 else None
        return {"acceptance": self.acceptance} | ({} if share is None else {"effective_share": share})


def unadjusted_langevin(log_density: LogDensity, start: Tensor, *, steps: int, step_size: float) -> Chains:
    """Unadjusted Langevin dynamics (ULA): x <- x + step_size * grad log p(x) + sqrt(2 step_size) * noise.

    `log_density` maps (n, ...) to log p, (n,), up to a constant; `start` is (n, ...). The stationary
    distribution is p only in the limit of small steps. Raises Diverged if a chain is not finite.
    """
    x, trace = start, []
    for _ in range(steps):
        value, gradient = _value_and_gradient(log_density, x)
        trace.append(value)
        x = x + step_size * gradient + math.sqrt(2 * step_size) * torch.randn_like(x)
    return Chains(x.detach(), torch.ones((), device=start.device), _sound(trace, x, step_size))


def metropolis_adjusted_langevin(
    log_density: LogDensity, start: Tensor, *, steps: int, step_size: float, exact: bool = True
) -> Chains:
    """Metropolis-adjusted Langevin (MALA): ULA's proposals with a Metropolis-Hastings test.

    p is stationary. The acceptance ratio includes both proposal densities, with q(y|x) proportional to
    exp(-||y - x - step_size * grad log p(x)||^2 / (4 step_size)) (Roberts and Tweedie 1996). `exact=False`
    uses the norm instead of its square, as MEG's released code does. That chain has no known stationary
    distribution and only serves to reproduce published numbers. Arguments and errors are those of
    `unadjusted_langevin`.
    """
    x, trace = start, []
    value, gradient = _value_and_gradient(log_density, x)
    accepted = torch.zeros((), device=start.device)
    for _ in range(steps):
        trace.append(value)
        y = x + step_size * gradient + math.sqrt(2 * step_size) * torch.randn_like(x)
        value_y, gradient_y = _value_and_gradient(log_density, y)
        forth = _distance(y - x - step_size * gradient, exact)
        back = _distance(x - y - step_size * gradient_y, exact)
        log_ratio = value_y - value + (forth - back) / (4 * step_size)
        accept = torch.rand_like(log_ratio).log() < log_ratio
        wide = accept.view(-1, *[1] * (x.dim() - 1))
        x = torch.where(wide, y, x)
        gradient = torch.where(wide, gradient_y, gradient)
        value = torch.where(accept, value_y, value)
        accepted += accept.float().mean()
    return Chains(x, accepted / max(1, steps), _sound(trace, x, step_size))


def effective_sample_size(trace: Tensor) -> Tensor:
    """How many independent draws the chains' values are worth, a scalar; `trace` is (steps, chains).

    Gelman et al., Bayesian Data Analysis (2013), section 11.5. Autocorrelations combine variance within and
    between chains; their sum stops when two successive values add up to less than zero (Geyer 1992). Chains
    that have not mixed with each other therefore count little. Constant chains count as one draw.
    """
    trace = trace.double()
    steps, chains = trace.shape
    centred = trace - trace.mean(0)
    # Autocovariance by FFT, zero-padded so that it does not wrap around.
    transformed = torch.fft.rfft(centred, n=2 * steps, dim=0)
    products = torch.fft.irfft(transformed.abs().square(), n=2 * steps, dim=0)[:steps]
    within_at_lag = products.mean(1) / steps
    within = within_at_lag[0] * steps / (steps - 1)
    between = trace.mean(0).var() if chains > 1 else torch.zeros_like(within)
    variance = within_at_lag[0] + between
    if not variance > 0:
        return torch.ones_like(variance)
    correlation = 1 - (within - within_at_lag) / variance
    correlation[0] = 1.0
    even = steps // 2 * 2
    pairs = correlation[:even].view(-1, 2).sum(1)
    negative = (pairs < 0).nonzero()
    last = int(negative[0]) if len(negative) else len(pairs)
    time = 2 * pairs[:last].cummin(0).values.sum() - 1
    size: Tensor = steps * chains / time.clamp_min(1.0)
    return size


def _sound(trace: list[Tensor], x: Tensor, step_size: float) -> Tensor:
    """The trace as one tensor (steps, n). Raises Diverged, with the step, if a chain is not finite."""
    whole = torch.stack(trace) if trace else x.new_zeros(0, len(x))
    bad = ~torch.isfinite(whole).all(1)
    if bool(bad.any()) or not bool(torch.isfinite(x).all()):
        step = int(bad.nonzero()[0]) if bool(bad.any()) else len(whole)
        count = int((~torch.isfinite(whole[step])).sum()) if step < len(whole) else len(x)
        raise Diverged(
            f"the log-density of {count} of {len(x)} chains is not finite at step {step} of {len(whole)}",
            where=f"Langevin dynamics of step size {step_size:g}",
            expected="finite numbers at every step",
            fix="take smaller steps, or the Metropolis-adjusted sampler",
        )
    return whole


def _value_and_gradient(log_density: LogDensity, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        value = log_density(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


def _distance(difference: Tensor, exact: bool) -> Tensor:
    squared = difference.flatten(1).square().sum(1)
    return squared if exact else squared.sqrt()
