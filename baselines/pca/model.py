"""PCA: squared reconstruction error from the first principal components."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench import Data, Model, Run


class PCA(Model):
    @dataclass(frozen=True)
    class Config:
        components: int = 10
        """Number of principal components (our choice)."""
        variance: float = 0.0
        """Minimum share of the training variance that the components keep, in (0, 1), instead of a fixed
        number; 0 uses `components`."""

    # The fit is fast, so nothing is stored.
    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        from sklearn.decomposition import PCA as Estimator

        x = data[torch.arange(len(data), device=data.device)].flatten(1).double().cpu().numpy()
        # A fixed solver, since "auto" draws random numbers for some shapes.
        kept = self.config.variance or self.config.components
        self.fitted = Estimator(kept, svd_solver="covariance_eigh").fit(x)

    def energy(self, x: Tensor) -> Tensor:
        """||x - its projection on the components||^2, (n,)."""
        flat = x.flatten(1).double().cpu().numpy()
        back = self.fitted.inverse_transform(self.fitted.transform(flat))
        return torch.from_numpy(((flat - back) ** 2).sum(1))
