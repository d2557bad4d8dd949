"""Learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor
from torch.optim import Optimizer


def cosine(lr: float, end: float, progress: float, *optimisers: Optimizer) -> None:
    """Set the learning rate of `optimisers` by cosine decay from `lr` to `end` * `lr`.

    `progress` runs from 0 to 1. Loshchilov and Hutter (2017), equation 5, without restarts.
    """
    _set(lr * (end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2), optimisers)


def linear(lr: float, end: float, progress: float, *optimisers: Optimizer) -> None:
    """Set the learning rate of `optimisers` by linear decay from `lr` to `end` * `lr`."""
    _set(lr * (1 - (1 - end) * progress), optimisers)


DECAYS = {"cosine": cosine, "linear": linear}


def _set(rate: float, optimisers: Iterable[Optimizer]) -> None:
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            # A captured training step (a CUDA graph) reads the rate from this tensor, so it is updated in
            # place.
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
