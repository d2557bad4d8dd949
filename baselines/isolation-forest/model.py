"""Isolation forest (Liu, Ting, Zhou 2008), by scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench import Data, Model, Run


class IsolationForest(Model):
    @dataclass(frozen=True)
    class Config:
        trees: int = 100
        """Number of trees (the paper, section 4)."""
        subsample: int = 256
        """Number of training examples per tree (the paper, section 4)."""

    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        from sklearn.ensemble import IsolationForest as Estimator

        c = self.config
        x = data[torch.arange(len(data), device=data.device)].flatten(1).cpu().numpy()
        seed = int(torch.randint(2**31, (1,)))
        self.fitted = Estimator(n_estimators=c.trees, max_samples=c.subsample, random_state=seed).fit(x)

    def energy(self, x: Tensor) -> Tensor:
        """The paper's anomaly score in (0, 1), (n,)."""
        return torch.from_numpy(-self.fitted.score_samples(x.flatten(1).cpu().numpy()))
