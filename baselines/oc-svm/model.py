"""One-class SVM with an RBF kernel (Schölkopf et al. 2001), in a linear approximation.

The exact solver grows with the square of the training set, 198,000 examples on KDD99. So the kernel is
approximated by Nyström's method and the problem solved by stochastic gradient descent, both by scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbench import Data, Model, Run


class OneClassSVM(Model):
    @dataclass(frozen=True)
    class Config:
        nu: float = 0.1
        """The share of the training data that may lie outside (our choice)."""
        components: int = 300
        """Training examples that span the approximate kernel (our choice)."""
        gamma: float = 0.0
        """The kernel's exp(-gamma ||x - y||^2); 0 takes 1 / (columns * variance), as scikit-learn does."""

    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        from sklearn.kernel_approximation import Nystroem
        from sklearn.linear_model import SGDOneClassSVM
        from sklearn.pipeline import make_pipeline

        c = self.config
        x = data[torch.arange(len(data), device=data.device)].flatten(1).double().cpu().numpy()
        seed = int(torch.randint(2**31, (1,)))
        self.fitted = make_pipeline(
            Nystroem(
                gamma=c.gamma or 1 / (x.shape[1] * x.var()), n_components=c.components, random_state=seed
            ),
            SGDOneClassSVM(nu=c.nu, random_state=seed),
        ).fit(x)

    def energy(self, x: Tensor) -> Tensor:
        """Minus the signed distance to the boundary."""
        return torch.from_numpy(-self.fitted.decision_function(x.flatten(1).double().cpu().numpy()))
