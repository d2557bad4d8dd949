"""The running average of a net's weights, by which a generator is sampled."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn


def averaged(net: nn.Module) -> nn.Module:
    """A copy of `net` to hold its average; it takes no gradient."""
    return copy.deepcopy(net).requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, rate: float) -> None:
    """Move `average` by `rate` towards `net`, in parameters and floating-point buffers."""
    old = [t for t in [*average.parameters(), *average.buffers()] if t.is_floating_point()]
    new = [t for t in [*net.parameters(), *net.buffers()] if t.is_floating_point()]
    torch._foreach_lerp_(old, new, rate)


def refresh_batch_norm(net: nn.Module, draw: Callable[[int], Tensor]) -> None:
    """Measure anew the batch-norm statistics of an averaged `net`, on inputs from `draw(n)`.

    The statistics that were averaged along with the weights belong to none of them (Izmailov et al.
    2018, section 3.2). 10,000 inputs in batches of 500; a net without batch norm stays as it is.
    """
    update_bn([draw(500) for _ in range(20)], net)
