"""Kernel PCA for novelty detection (Hoffmann 2007), fitted to a subsample of the training data.

The energy is the squared distance, in the feature space of an RBF kernel, between an example and the span of
the first principal components.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench import Data, Model, Run


class KernelPCA(Model):
    @dataclass(frozen=True)
    class Config:
        subsample: int = 2000
        """Number of training examples to fit (our choice: the cost is cubic in it)."""
        components: int = 30
        """Number of principal components (our choice)."""
        gamma: float = 0.0
        """gamma of the kernel exp(-gamma ||x - y||^2); 0 uses scikit-learn's 1 / (columns * variance)."""

    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        from sklearn.decomposition import KernelPCA as Estimator
        from sklearn.metrics.pairwise import rbf_kernel

        c = self.config
        chosen = torch.randperm(len(data))[: c.subsample].to(data.device)
        self.fitted_on = data[chosen].flatten(1).double().cpu().numpy()
        self.gamma = c.gamma or 1 / (self.fitted_on.shape[1] * self.fitted_on.var())
        self.fitted = Estimator(c.components, kernel="rbf", gamma=self.gamma, eigen_solver="dense").fit(
            self.fitted_on
        )
        self.mean_kernel = float(rbf_kernel(self.fitted_on, gamma=self.gamma).mean())

    def energy(self, x: Tensor) -> Tensor:
        """Reconstruction error in feature space, (n,) (Hoffmann 2007, section 3)."""
        from sklearn.metrics.pairwise import rbf_kernel

        flat = x.flatten(1).double().cpu().numpy()
        # Squared norm of phi(x) minus the mean of phi; k(x, x) is 1 for this kernel.
        kernel = rbf_kernel(flat, self.fitted_on, gamma=self.gamma)
        length = 1 - 2 * kernel.mean(1) + self.mean_kernel
        return torch.from_numpy(length - (self.fitted.transform(flat) ** 2).sum(1))
