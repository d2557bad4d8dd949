"""Langevin dynamics, unadjusted and Metropolis-adjusted, vectorised over chains."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LogDensity = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Chains:
    """Where the chains ended, and the share of proposals that was accepted (1 without a test).

    `state` is (n, ...), `acceptance` a scalar tensor.
    """

    state: Tensor
    acceptance: Tensor


def unadjusted_langevin(log_density: LogDensity, start: Tensor, *, steps: int, step_size: float) -> Chains:
    """x <- x + step_size * grad log p(x) + sqrt(2 step_size) * noise, `steps` times.

    `log_density` maps (n, ...) to (n,), up to a constant; `start` is (n, ...). Its stationary law is
    p only in the limit of small steps.
    """
    x = start
    for _ in range(steps):
        _, gradient = _value_and_gradient(log_density, x)
        x = x + step_size * gradient + math.sqrt(2 * step_size) * torch.randn_like(x)
    return Chains(x.detach(), torch.ones((), device=start.device))


def metropolis_adjusted_langevin(
    log_density: LogDensity, start: Tensor, *, steps: int, step_size: float, exact: bool = True
) -> Chains:
    """The same proposals, each accepted with the Metropolis-Hastings probability, so that p is stationary.

    The ratio holds both proposal densities, q(y|x) proportional to
    exp(-||y - x - step_size * grad log p(x)||^2 / (4 step_size)) (Roberts and Tweedie 1996, MALA).
    `exact=False` puts the norm itself in place of its square, as MEG's released code does; that chain
    has no stationary law that one could name, and serves only to repeat published numbers.
    """
    x = start
    value, gradient = _value_and_gradient(log_density, x)
    accepted = torch.zeros((), device=start.device)
    for _ in range(steps):
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
    return Chains(x, accepted / max(1, steps))


def _value_and_gradient(log_density: LogDensity, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        value = log_density(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


def _distance(difference: Tensor, exact: bool) -> Tensor:
    squared = difference.flatten(1).square().sum(1)
    return squared if exact else squared.sqrt()
