"""Noise with the shape of a task's data, used in place of the data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebbench import contract


class NoiseData:
    """Uniform noise in the range of a spec, or normal noise if it has no range, in place of a data set.

    Its density is known, for models that ask for it. If the spec has classes, every other example has a
    label, with each class in turn; the rest have -1.
    """

    labels: Tensor

    def __init__(self, data_spec: contract.DataSpec, examples: int = 512) -> None:
        self.spec = data_spec
        self.device = torch.device("cpu")
        self.values = self.fresh(examples, torch.Generator().manual_seed(0))
        if data_spec.classes:
            number = torch.arange(examples)
            self.labels = torch.where(number % 2 == 0, number // 2 % data_spec.classes, -1)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.values[index]

    def fresh(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw noise, (n, *shape)."""
        low, high = self.spec.low, self.spec.high
        if low is None or high is None:
            return torch.randn(n, *self.spec.shape, generator=generator)
        return low + (high - low) * torch.rand(n, *self.spec.shape, generator=generator)

    def log_density(self, x: Tensor) -> Tensor:
        """The log density of each example of `x` in nats, (n,)."""
        low, high = self.spec.low, self.spec.high
        flat = x.flatten(1)
        if low is None or high is None:
            return -(flat.square() + math.log(2 * math.pi)).sum(1) / 2
        return torch.full((len(x),), -flat.shape[1] * math.log(high - low))
