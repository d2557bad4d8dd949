"""i-SIR against an enumerated kernel, a law with a known distribution function, and chains that stay."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from ebbench.errors import Diverged
from ebbench.nn.calibration import Calibration
from ebbench.nn.langevin import metropolis_adjusted_langevin
from ebbench.nn.resampling import iterated_resampling, resampled_latents

PRIOR = np.array([0.5, 0.3, 0.2])
TARGET = np.array([0.1, 0.3, 0.6])
WEIGHT = TARGET / PRIOR


def enumerated(proposals: int) -> np.ndarray:
    """The kernel of one i-SIR step on three states, summed over every set of proposals."""
    kernel = np.zeros((3, 3))
    for x in range(3):
        for drawn in itertools.product(range(3), repeat=proposals):
            chance = np.prod(PRIOR[list(drawn)])
            candidates = [x, *drawn]
            for y in candidates:
                kernel[x, y] += chance * WEIGHT[y] / WEIGHT[candidates].sum()
    return kernel


@pytest.mark.parametrize("proposals", [1, 2, 4])
def test_one_step_is_the_enumerated_kernel(proposals: int):
    kernel = enumerated(proposals)
    assert np.allclose(kernel.sum(1), 1)
    flow = TARGET[:, None] * kernel
    assert np.allclose(flow, flow.T), "detailed balance, so that the target is stationary"

    torch.manual_seed(0)
    n = 200_000
    prior, log_weight = torch.from_numpy(PRIOR), torch.from_numpy(np.log(WEIGHT))
    for x in range(3):
        chains = iterated_resampling(
            lambda state: log_weight[state],
            lambda n: torch.multinomial(prior, n, replacement=True),
            torch.full((n,), x),
            steps=1,
            proposals=proposals,
        )
        shares = np.bincount(chains.state.numpy(), minlength=3) / n
        error = np.sqrt(kernel[x] * (1 - kernel[x]) / n)
        assert (np.abs(shares - kernel[x]) < 4.5 * error).all()


def test_the_share_of_moves_counts_proposals_and_not_states():
    torch.manual_seed(0)
    chains = iterated_resampling(
        lambda x: torch.zeros(len(x)),
        lambda n: torch.zeros(n, 1),
        torch.zeros(50_000, 1),
        steps=3,
        proposals=4,
    )
    # Of five candidates alike, four are new.
    assert chains.acceptance.item() == pytest.approx(0.8, abs=0.005)
    assert chains.trace.shape == (3, 50_000)
    assert chains.diagnostics().keys() == {"acceptance"}


CENTRES, SHARES, WIDTH = torch.tensor([-2.0, 2.0]), torch.tensor([0.2, 0.8]), 0.25


def two_modes(x: torch.Tensor) -> torch.Tensor:
    """The log-density of two Gaussians of unlike shares, (n, 1) -> (n,)."""
    parts = -((x - CENTRES) ** 2) / (2 * WIDTH**2) + SHARES.log() - math.log(WIDTH * math.sqrt(2 * math.pi))
    return parts.logsumexp(1)


def log_ratio(x: torch.Tensor) -> torch.Tensor:
    return two_modes(x) + x.square().sum(1) / 2


def distribution_function(x: np.ndarray) -> np.ndarray:
    return sum(
        share * norm.cdf((x - centre) / WIDTH)
        for share, centre in zip(SHARES.numpy(), CENTRES.numpy(), strict=True)
    )


@pytest.mark.parametrize("local_steps", [0, 2])
def test_the_chains_find_the_shares_of_two_modes(local_steps: int):
    torch.manual_seed(0)
    start = torch.randn(4000, 1)
    chains = resampled_latents(
        log_ratio, start, steps=60, proposals=10, local_steps=local_steps, step_size=0.01
    )
    assert kstest(chains.state[:, 0].numpy(), distribution_function).pvalue > 0.01
    assert ("local_acceptance" in chains.diagnostics()) == bool(local_steps)


def test_langevin_alone_keeps_the_shares_that_it_began_with():
    torch.manual_seed(0)
    chains = metropolis_adjusted_langevin(two_modes, torch.randn(4000, 1), steps=300, step_size=0.01)
    assert float((chains.state > 0).float().mean()) == pytest.approx(0.5, abs=0.05)


def test_local_steps_leave_the_target_as_it_is():
    """Begun on the target, with a weight that must be taken anew after each local step."""
    torch.manual_seed(0)
    start = CENTRES[torch.multinomial(SHARES, 4000, replacement=True)][:, None] + WIDTH * torch.randn(4000, 1)
    chains = resampled_latents(log_ratio, start, steps=15, proposals=1, local_steps=3, step_size=0.03)
    assert kstest(chains.state[:, 0].numpy(), distribution_function).pvalue > 0.01


def test_a_weight_that_is_no_number_is_said():
    with pytest.raises(Diverged, match="importance weight of 5 of 5"):
        resampled_latents(
            lambda z: z.sum(1) * math.nan, torch.zeros(5, 2), steps=2, proposals=1, local_steps=0, step_size=1
        )


def test_a_calibrated_critic_is_the_log_ratio():
    """Of N(1, 1) to N(-1, 1) the log-ratio is 2 x; a critic of another scale and shift is brought there."""
    torch.manual_seed(0)
    calibration = Calibration()
    calibration.fit(500 * (torch.randn(40_000) + 1) + 7, 500 * (torch.randn(40_000) - 1) + 7)
    x = torch.linspace(-2, 2, 9)
    assert torch.allclose(calibration(500 * x + 7), 2 * x, atol=0.1)
