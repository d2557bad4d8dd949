"""The learning rate along a training."""

from __future__ import annotations

import math

from torch.optim import Optimizer


def cosine(lr: float, end: float, progress: float, *optimisers: Optimizer) -> None:
    """Set the rate of `optimisers`: from `lr` down to `end` times `lr` on half a cosine.

    `progress` runs from 0 to 1 (Loshchilov and Hutter 2017, equation 5, without restarts).
    """
    rate = lr * (end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate
