"""PCA: the squared error of giving an example back from its first principal components."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench import Data, Model, Run


class PCA(Model):
    @dataclass(frozen=True)
    class Config:
        components: int = 10
        """Principal components kept (our choice)."""
        variance: float = 0.0
        """The least share of the training data's variance that the components keep, between 0 and 1, in place
        of their number; 0 counts `components`."""

    # The fit takes a moment, so nothing is stored.
    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        from sklearn.decomposition import PCA as Estimator

        x = data[torch.arange(len(data), device=data.device)].flatten(1).double().cpu().numpy()
        # The solver is named, since "auto" draws random numbers for some shapes.
        kept = self.config.variance or self.config.components
        self.fitted = Estimator(kept, svd_solver="covariance_eigh").fit(x)

    def energy(self, x: Tensor) -> Tensor:
        """||x - its projection||^2."""
        flat = x.flatten(1).double().cpu().numpy()
        back = self.fitted.inverse_transform(self.fitted.transform(flat))
        return torch.from_numpy(((flat - back) ** 2).sum(1))
