"""The exponential moving average of a network's weights, used for sampling from a generator."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn


def averaged(net: nn.Module) -> nn.Module:
    """A copy of `net` that holds its average; it takes no gradient."""
    return copy.deepcopy(net).requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, rate: float) -> None:
    """Move `average` towards `net` by the share `rate`, in parameters and floating-point buffers."""
    old = [t for t in [*average.parameters(), *average.buffers()] if t.is_floating_point()]
    new = [t for t in [*net.parameters(), *net.buffers()] if t.is_floating_point()]
    torch._foreach_lerp_(old, new, rate)


def refresh_batch_norm(net: nn.Module, draw: Callable[[int], Tensor]) -> None:
    """Recompute the batch-norm statistics of an averaged `net` on inputs from `draw(n)`.

    The averaged statistics belong to none of the averaged weights (Izmailov et al. 2018, section 3.2). Uses
    10,000 inputs in batches of 500. A network without batch norm is unchanged.
    """
    update_bn([draw(500) for _ in range(20)], net)
