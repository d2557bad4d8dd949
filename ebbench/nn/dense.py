"""Fully connected networks with batch norm and dropout, as in EBGAN's grid search on MNIST."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from ebbench.contract import DataSpec

Optimiser = Literal["adam", "sgd"]


def dense(sizes: Sequence[int], *, batch_norm: bool, dropout: float = 0.0) -> list[nn.Module]:
    """Linear layers from sizes[0] to sizes[-1], each followed by optional batch norm, ReLU and dropout.

    `dropout` is the dropout rate after each ReLU.
    """
    layers: list[nn.Module] = []
    for narrow, wide in pairwise(sizes):
        layers += [nn.Linear(narrow, wide), *([nn.BatchNorm1d(wide)] if batch_norm else []), nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return layers


def shaped(layers: Iterable[nn.Module], data: DataSpec) -> nn.Sequential:
    """`layers`, then tanh if the data have a range, then a reshape to the data's shape.

    The last of `layers` must output as many values as an example has.
    """
    return nn.Sequential(*layers, *([nn.Tanh()] if data.low is not None else []), nn.Unflatten(1, data.shape))


def draw_weights(net: nn.Module, std: float) -> None:
    """Draw the weights of all linear layers from N(0, std^2) and set their biases to zero, in place."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, std)
            nn.init.zeros_(module.bias)


def optimiser(
    name: Optimiser, parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float]
) -> torch.optim.Optimizer:
    """Adam with its `betas`, or plain stochastic gradient descent, without momentum."""
    if name == "sgd":
        return torch.optim.SGD(parameters, lr)
    return torch.optim.Adam(parameters, lr, betas, fused=True)
