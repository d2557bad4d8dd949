"""Mahalanobis distance to the training mean: minus the log-density of one Gaussian, but for a constant."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench import Data, Model, Run


class Mahalanobis(Model):
    @dataclass(frozen=True)
    class Config:
        ridge: float = 1e-3
        """Added to the covariance's diagonal as a share of its mean, against singular ones (our choice)."""

    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        from sklearn.covariance import ShrunkCovariance

        x = data[torch.arange(len(data), device=data.device)].flatten(1).double().cpu().numpy()
        # Shrinking by s gives (1 - s) S + s m I with m the mean variance: S + ridge m I, times 1 - s.
        self.fitted = ShrunkCovariance(shrinkage=self.config.ridge / (1 + self.config.ridge)).fit(x)

    def energy(self, x: Tensor) -> Tensor:
        """The squared distance."""
        return torch.from_numpy(self.fitted.mahalanobis(x.flatten(1).double().cpu().numpy()))
