"""Control: the same energy for every example."""

from __future__ import annotations

import torch
from torch import Tensor

from ebbench import Model


class Constant(Model):
    keeps_state = False

    def energy(self, x: Tensor) -> Tensor:
        """Zeros, (n,)."""
        return torch.zeros(len(x), dtype=torch.float64)
