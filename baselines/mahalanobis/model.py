"""Mahalanobis distance to the training mean: up to scale and shift, minus a Gaussian's log density."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench import Data, Model, Run


class Mahalanobis(Model):
    @dataclass(frozen=True)
    class Config:
        ridge: float = 1e-3
        """Added to the covariance's diagonal as a share of its mean, to keep it invertible (our choice)."""

    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        from sklearn.covariance import ShrunkCovariance

        x = data[torch.arange(len(data), device=data.device)].flatten(1).double().cpu().numpy()
        # Shrinkage s gives (1 - s) S + s m I, with m the mean variance. That is S + ridge m I, times 1 - s.
        self.fitted = ShrunkCovariance(shrinkage=self.config.ridge / (1 + self.config.ridge)).fit(x)

    def energy(self, x: Tensor) -> Tensor:
        """Squared Mahalanobis distance to the training mean, (n,)."""
        return torch.from_numpy(self.fitted.mahalanobis(x.flatten(1).double().cpu().numpy()))
