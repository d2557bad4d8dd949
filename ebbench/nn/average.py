"""The running average of a net's weights, by which a generator is sampled."""

from __future__ import annotations

import copy

import torch
from torch import nn


def averaged(net: nn.Module) -> nn.Module:
    """A copy of `net` to hold its average; it takes no gradient."""
    return copy.deepcopy(net).requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, rate: float) -> None:
    """Move `average` by `rate` towards `net`, in parameters and floating-point buffers."""
    old = [t for t in [*average.parameters(), *average.buffers()] if t.is_floating_point()]
    new = [t for t in [*net.parameters(), *net.buffers()] if t.is_floating_point()]
    torch._foreach_lerp_(old, new, rate)
