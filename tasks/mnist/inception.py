"""EBGAN's modified inception score."""

from __future__ import annotations

import torch
from torch import Tensor


def divergences(logits: Tensor) -> Tensor:
    """KL(p(y) || p(y | x)) of each sample, (n,), nats, from a classifier's logits (n, classes).

    p(y | x) is the softmax of a sample's logits, p(y) its mean over all samples. The usual inception score
    has the reverse direction, KL(p(y | x) || p(y)).
    """
    log_given = logits.double().log_softmax(1)
    log_marginal = log_given.logsumexp(0) - torch.tensor(len(logits), dtype=torch.float64).log()
    return (log_marginal.exp() * (log_marginal - log_given)).sum(1)


def modified_score(logits: Tensor, power: int = 2) -> float:
    """I' = E_x KL(p(y) || p(y | x))^2 of logits (n, classes), higher is better (EBGAN, section 4.1).

    As printed, the square is inside the mean. The 2 might also be a footnote mark and not an exponent:
    `power` 1 gives the mean divergence itself. The score is 0 if all samples have the same prediction. It has
    no upper limit, and a more confident classifier gives a higher score, so scores by different classifiers
    are not comparable.
    """
    return float(divergences(logits).pow(power).mean())
