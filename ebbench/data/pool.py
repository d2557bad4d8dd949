"""Training data in memory: one tensor on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from ebbench.contract import Data, DataSpec


class Pool:
    """Training examples, and optionally held-out examples from the same distribution.

    Both are (n, *spec.shape): float32, used as they are, or uint8, scaled from 0..255 to the range of `spec`
    when indexed. Indexing returns a copy, which a model may change in place.
    """

    def __init__(
        self, examples: Tensor, held_out: Tensor | None, spec: DataSpec, device: torch.device
    ) -> None:
        self.spec = spec
        self._examples = examples.to(device)
        self._held_out = self._examples if held_out is None else held_out

    @property
    def device(self) -> torch.device:
        """The device that holds the examples."""
        return self._examples.device

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: Tensor) -> Tensor:
        """The examples at `index` (int64, (n,)): float32, (n, *spec.shape), a copy."""
        taken = self._examples[index]
        # A slice or a single index gives a view of the pool's own memory.
        own = taken.untyped_storage().data_ptr() == self._examples.untyped_storage().data_ptr()
        return in_range(taken.clone() if own else taken, self.spec)

    def fresh(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` held-out examples, drawn with replacement; training examples if none are held out."""
        index = torch.randint(len(self._held_out), (n,), generator=generator, device=generator.device)
        return in_range(self._held_out[index.to(self._held_out.device)].to(self.device), self.spec)


class Given:
    """What a model gets of a task's training data: the examples only."""

    def __init__(self, data: Data) -> None:
        self.spec = data.spec
        self.device = data.device
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: Tensor) -> Tensor:
        """The examples at `index` (int64, (n,)): float32, (n, *spec.shape), a copy."""
        return self._data[index]


def in_range(values: Tensor, spec: DataSpec) -> Tensor:
    """Scale uint8 values of 0 to 255 to float32 from spec.low to spec.high; floats are unchanged."""
    if values.dtype != torch.uint8:
        return values
    assert spec.low is not None and spec.high is not None
    return values.float().mul_((spec.high - spec.low) / 255).add_(spec.low)


def to_bytes(values: Tensor, spec: DataSpec) -> Tensor:
    """Round floats from spec.low to spec.high to uint8 of 0 to 255: the inverse of `in_range`."""
    assert spec.low is not None and spec.high is not None
    return values.sub(spec.low).mul_(255 / (spec.high - spec.low)).round_().clamp_(0, 255).to(torch.uint8)
