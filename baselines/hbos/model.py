"""HBOS: histogram-based outlier score (Goldstein, Dengel 2012), by pyod."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench import Data, Model, Run, UsageError


class HBOS(Model):
    @dataclass(frozen=True)
    class Config:
        bins: int = 10
        """Bins of each column's histogram, at least 2 (pyod's default, which ADBench ran)."""
        alpha: float = 0.1
        """Added to each bin's density before the logarithm, from 0 to 1 (pyod's default)."""
        tolerance: float = 0.5
        """Share of a bin's width by which a value outside still counts to the last bin (pyod's default)."""

    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        try:
            from pyod.models.hbos import HBOS as Estimator
        except ModuleNotFoundError as error:
            raise UsageError(
                f"model hbos needs the package pyod, which is not whole here: there is no {error.name}",
                where="model 'hbos'",
                fix="pip install 'ebbench[pyod]'",
            ) from error

        c = self.config
        x = data[torch.arange(len(data), device=data.device)].flatten(1).double().cpu().numpy()
        self.fitted = Estimator(n_bins=c.bins, alpha=c.alpha, tol=c.tolerance).fit(x)

    def energy(self, x: Tensor) -> Tensor:
        """Minus the sum over columns of log2(density of the bin + alpha), (n,)."""
        return torch.from_numpy(self.fitted.decision_function(x.flatten(1).double().cpu().numpy()))
