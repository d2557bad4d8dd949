"""Control: every value uniform over the data's range."""

from __future__ import annotations

import torch
from torch import Tensor

from ebbench.contract import Model
from ebbench.errors import ContractError


class UniformNoise(Model):
    def sample(self, n: int) -> Tensor:
        """(n, *shape), uniform. Raises ContractError where the data have no range."""
        low, high = self.data.low, self.data.high
        if low is None or high is None:
            raise ContractError(
                "uniform noise needs a range", where=f"data '{self.data.name}'", expected="low and high"
            )
        return low + (high - low) * torch.rand(n, *self.data.shape, device=self.device)
