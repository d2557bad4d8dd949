"""Control: every value uniform over the data's range, or between the training data's extremes."""

from __future__ import annotations

import torch
from torch import Tensor

from ebbench import Data, Model, Run


class UniformNoise(Model):
    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        """Take the data's range; without one, each value's range over the first thousand examples."""
        self.low: float | Tensor
        self.high: float | Tensor
        if data.spec.low is not None and data.spec.high is not None:
            self.low, self.high = data.spec.low, data.spec.high
            return
        x = data[torch.arange(min(1000, len(data)), device=data.device)]
        self.low, self.high = x.amin(0), x.amax(0)

    def sample(self, n: int) -> Tensor:
        """Draw uniform noise: (n, *shape)."""
        low, high = self.low, self.high
        return low + (high - low) * torch.rand(n, *self.data.shape, device=self.device)
