"""Control: resamples the first examples of the training set."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench import Data, Model, Run


class Memoriser(Model):
    @dataclass(frozen=True)
    class Config:
        examples: int = 1000
        """Number of training examples to remember."""

    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        n = min(self.config.examples, len(data))
        self.memory = data[torch.arange(n, device=data.device)]

    def sample(self, n: int) -> Tensor:
        """Draw remembered examples with replacement: (n, *shape)."""
        return self.memory[torch.randint(len(self.memory), (n,), device=self.memory.device)]
