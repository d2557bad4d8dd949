"""Control: the Euclidean distance to the mean of the training data."""

from __future__ import annotations

import torch
from torch import Tensor

from ebbench import Data, Model, Run


class MeanDistance(Model):
    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        parts = torch.arange(len(data), device=data.device).split(8192)
        nothing = torch.zeros((), dtype=torch.float64, device=data.device)
        self.mean = sum((data[part].double().sum(0) for part in parts), nothing) / len(data)

    def energy(self, x: Tensor) -> Tensor:
        """||x - mean||, (n,)."""
        distances: Tensor = (x.double() - self.mean).flatten(1).norm(dim=1)
        return distances
