"""The learning rate along a training."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor
from torch.optim import Optimizer


def cosine(lr: float, end: float, progress: float, *optimisers: Optimizer) -> None:
    """Set the rate of `optimisers`: from `lr` down to `end` times `lr` on half a cosine.

    `progress` runs from 0 to 1 (Loshchilov and Hutter 2017, equation 5, without restarts).
    """
    _set(lr * (end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2), optimisers)


def linear(lr: float, end: float, progress: float, *optimisers: Optimizer) -> None:
    """The same on a straight line."""
    _set(lr * (1 - (1 - end) * progress), optimisers)


DECAYS = {"cosine": cosine, "linear": linear}


def _set(rate: float, optimisers: Iterable[Optimizer]) -> None:
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            # A captured step reads its rate from a tensor, which must stay the same one.
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
