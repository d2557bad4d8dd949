"""Entropic optimal transport between two batches, solved and not learned.

Cuturi 2013; in logarithms, and with a strength that falls to the wanted one (Feydy et al., Interpolating
between Optimal Transport and MMD using Sinkhorn Divergences, AISTATS 2019).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# The strength falls by this factor a round; then as many rounds follow at the wanted one.
FALL = 0.7
ROUNDS = 50


def transport(costs: Tensor, strength: float, rounds: int = ROUNDS) -> tuple[Tensor, Tensor]:
    """The entropic cost of two batches of equal weights, and its coupling, by the `costs` (n, m) of pairs.

    The cost, a scalar, is min over couplings P of <P, costs> + strength KL(P || uniform), by its dual: a
    lower bound, tight once the rounds have converged. The coupling (n, m) has columns that sum to 1/m each,
    and rows to 1/n once converged. Neither has a gradient: by the envelope theorem the cost's is that of
    <P, costs> with P held fixed.
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
    """l of every pair of `one` (n, ...) and `other` (m, ...), (n, m): `cost` "l1" or "squared"."""
    one, other = one.flatten(1), other.flatten(1)
    if cost == "l1":
        return torch.cdist(one, other, p=1.0)
    # By the difference itself: the expanded square loses what close pairs need.
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist").square() / 2
