"""Multilayer perceptrons for tabular data and points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(sizes: Sequence[int], activation: nn.Module, *, last_linear: bool = True) -> nn.Sequential:
    """Linear layers from sizes[0] to sizes[-1] with `activation` in between.

    With `last_linear=False` the activation also follows the last layer.
    """
    layers: list[nn.Module] = []
    for narrow, wide in pairwise(sizes):
        layers += [nn.Linear(narrow, wide), activation]
    return nn.Sequential(*(layers[:-1] if last_linear else layers))
