"""Local outlier factor (Breunig, Kriegel, Ng, Sander 2000), by scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench import Data, Model, Run


class LOF(Model):
    @dataclass(frozen=True)
    class Config:
        neighbours: int = 20
        """MinPts in the paper, the number of neighbours (pyod's default, which ADBench ran)."""

    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        from sklearn.neighbors import LocalOutlierFactor

        x = data[torch.arange(len(data), device=data.device)].flatten(1).double().cpu().numpy()
        neighbours = min(self.config.neighbours, len(x) - 1)
        self.fitted = LocalOutlierFactor(neighbours, novelty=True).fit(x)

    def energy(self, x: Tensor) -> Tensor:
        """The local outlier factor, (n,): about 1 at the neighbours' density, higher where it is lower."""
        return torch.from_numpy(-self.fitted.score_samples(x.flatten(1).double().cpu().numpy()))
