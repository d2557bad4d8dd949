"""k nearest neighbours: the distance to the k-th nearest training example (Ramaswamy, Rastogi, Shim 2000)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench import Data, Model, Run


class KNN(Model):
    @dataclass(frozen=True)
    class Config:
        neighbours: int = 5
        """k (pyod's default, which ADBench ran)."""

    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        from sklearn.neighbors import NearestNeighbors

        x = data[torch.arange(len(data), device=data.device)].flatten(1).double().cpu().numpy()
        self.fitted = NearestNeighbors(n_neighbors=min(self.config.neighbours, len(x))).fit(x)

    def energy(self, x: Tensor) -> Tensor:
        """The distance to the k-th nearest training example, (n,)."""
        distances, _ = self.fitted.kneighbors(x.flatten(1).double().cpu().numpy())
        return torch.from_numpy(distances[:, -1].copy())
