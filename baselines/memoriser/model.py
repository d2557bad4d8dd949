"""Control: the first examples of the training set, drawn again and again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench import Data, Model, Run


class Memoriser(Model):
    @dataclass(frozen=True)
    class Config:
        examples: int = 1000
        """How many training examples are remembered."""

    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        n = min(self.config.examples, len(data))
        self.memory = data[torch.arange(n, device=data.device)]

    def sample(self, n: int) -> Tensor:
        """(n, *shape), remembered examples drawn with replacement."""
        return self.memory[torch.randint(len(self.memory), (n,), device=self.memory.device)]
