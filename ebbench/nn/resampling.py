"""Iterated sampling importance resampling (i-SIR) with local steps, for chains that can change modes.

A Langevin chain stays in the mode where it starts. An i-SIR step draws new states from a prior that covers
every mode, and moves to one of them, or stays, with probabilities given by their importance weights
(Tjelmeland 2004; Andrieu, Lee and Vihola 2018). It leaves the target invariant for any number of proposals.
i-SIR steps that alternate with a local kernel are Ex2MCMC (Samsonov et al. 2022, arXiv 2111.02702, Algorithm
2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench.errors import Diverged
from ebbench.nn.langevin import Chains, LogDensity, metropolis_adjusted_langevin


@dataclass(frozen=True)
class ResampledChains(Chains):
    """Chains whose `acceptance` is the share of i-SIR steps that moved to a new state, a scalar.

    `local_acceptance` is the acceptance of the local steps, or None without local steps. `trace` (steps, n)
    holds the log weight before each i-SIR step.
    """

    local_acceptance: Tensor | None = None

    def diagnostics(self) -> dict[str, Tensor]:
        """The diagnostics of `Chains`, and the acceptance of the local steps."""
        local = self.local_acceptance
        return super().diagnostics() | ({} if local is None else {"local_acceptance": local})


def iterated_resampling(
    log_weight: LogDensity,
    prior: Callable[[int], Tensor],
    start: Tensor,
    *,
    steps: int,
    proposals: int,
    local: Callable[[Tensor], Chains] | None = None,
) -> ResampledChains:
    """Run `steps` rounds: one i-SIR step with `proposals` new states per chain, then `local`.

    `log_weight` is the log ratio of target to prior, up to a constant, (n, ...) -> (n,). `prior(n)` draws n
    independent states (n, ...). `start` is (n, ...). `local` runs a kernel that leaves the target invariant.
    The paper counts the current state among its N particles: N = proposals + 1.

    Raises Diverged if a log weight is not finite.
    """
    x, trace = start, []
    moved = torch.zeros((), device=start.device)
    kept: list[Tensor] = []
    with torch.no_grad():
        value = _finite(log_weight(x), 0)
    for step in range(steps):
        trace.append(value)
        with torch.no_grad():
            x, value, moves = _resample(log_weight, prior, x, value, proposals, step)
        moved += moves.float().mean()
        if local is not None:
            chains = local(x)
            x = chains.state
            kept.append(chains.acceptance)
            with torch.no_grad():
                value = _finite(log_weight(x), step)
    return ResampledChains(
        state=x,
        acceptance=moved / max(1, steps),
        trace=torch.stack(trace) if trace else start.new_zeros(0, len(start)),
        local_acceptance=torch.stack(kept).mean() if kept else None,
    )


def resampled_latents(
    log_ratio: LogDensity, start: Tensor, *, steps: int, proposals: int, local_steps: int, step_size: float
) -> ResampledChains:
    """Ex2MCMC on latents, with target N(0, I) * exp(log_ratio(z)) and proposals from N(0, I).

    `log_ratio` is (n, z_dim) -> (n,); `start` is (n, z_dim). After each i-SIR step come `local_steps` MALA
    steps with proposals z + step_size * grad + sqrt(2 step_size) * noise. Raises Diverged if a value is not
    finite.
    """

    def log_density(z: Tensor) -> Tensor:
        return log_ratio(z) - z.square().sum(1) / 2

    def langevin(z: Tensor) -> Chains:
        return metropolis_adjusted_langevin(log_density, z, steps=local_steps, step_size=step_size)

    def prior(n: int) -> Tensor:
        return torch.randn(n, *start.shape[1:], device=start.device)

    local = langevin if local_steps else None
    return iterated_resampling(log_ratio, prior, start, steps=steps, proposals=proposals, local=local)


def _resample(
    log_weight: LogDensity,
    prior: Callable[[int], Tensor],
    x: Tensor,
    value: Tensor,
    proposals: int,
    step: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw one of x and its proposals by weight; returns it, its log weight, and whether it is a proposal.

    Proposals are handled one at a time: the j-th replaces the current choice with probability equal to its
    share of the weight so far. In the end each is chosen by its share of the total weight (Chao 1982). This
    holds only one proposal per chain in memory at a time.
    """
    total = value
    moved = torch.zeros_like(value, dtype=torch.bool)
    for _ in range(proposals):
        y = prior(len(x))
        value_y = _finite(log_weight(y), step)
        total = torch.logaddexp(total, value_y)
        take = torch.rand_like(total).log() < value_y - total
        x = torch.where(take.view(-1, *[1] * (x.dim() - 1)), y, x)
        value = torch.where(take, value_y, value)
        moved |= take
    return x, value, moved


def _finite(values: Tensor, step: int) -> Tensor:
    if not bool(torch.isfinite(values).all()):
        raise Diverged(
            f"the importance weight of {int((~torch.isfinite(values)).sum())} of {len(values)} states is not "
            f"finite at step {step}",
            where="iterated sampling importance resampling (i-SIR)",
            expected="finite log-weights",
            fix="check the critic: its training may have diverged",
        )
    return values
