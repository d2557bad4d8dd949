"""Entropic optimal transport between two batches, solved directly instead of learned.

Sinkhorn's algorithm (Cuturi 2013) in the log domain. The regularisation decreases to its final value (Feydy
et al., Interpolating between Optimal Transport and MMD using Sinkhorn Divergences, AISTATS 2019).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# The regularisation decreases by the factor FALL per round; then ROUNDS rounds follow at its final value.
FALL = 0.7
ROUNDS = 50


def transport(costs: Tensor, strength: float, rounds: int = ROUNDS) -> tuple[Tensor, Tensor]:
    """Entropic transport cost of two equally weighted batches, a scalar, and its coupling (n, m).

    `costs` (n, m) holds the cost of each pair; `strength` is the regularisation, in units of the cost. The
    returned cost is min over couplings P of <P, costs> + strength KL(P || uniform), computed from its dual: a
    lower bound, tight after convergence. The coupling's columns sum to 1/m each, and its rows to 1/n after
    convergence. Neither carries a gradient: by the envelope theorem the cost's gradient is that of <P, costs>
    with P fixed.
    """
    with torch.no_grad():
        n, m = costs.shape
        g = costs.new_zeros(m)
        largest = float(costs.max())
        falling = max(0, math.ceil(math.log(strength / largest, FALL))) if largest > strength else 0
        for number in range(falling + rounds):
            now = max(strength, largest * FALL**number) if number < falling else strength
            f = -now * (((g - costs) / now).logsumexp(1) - math.log(m))
            g = -now * (((f[:, None] - costs) / now).logsumexp(0) - math.log(n))
        coupling = ((f[:, None] + g - costs) / strength).exp() / (n * m)
        return f.mean() + g.mean(), coupling


def pair_costs(one: Tensor, other: Tensor, cost: str) -> Tensor:
    """Costs l of all pairs of `one` (n, ...) and `other` (m, ...), (n, m); `cost` is "l1" or "squared".

    "squared" is half the squared distance.
    """
    one, other = one.flatten(1), other.flatten(1)
    if cost == "l1":
        return torch.cdist(one, other, p=1.0)
    # From differences: expanding the square loses precision for close pairs.
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist").square() / 2
