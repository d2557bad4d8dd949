"""One-class SVM with an RBF kernel (Schölkopf et al. 2001), approximated by a linear model.

The exact solver is quadratic in the number of training examples, 198,000 on KDD99. Nyström's method therefore
approximates the kernel, and stochastic gradient descent solves the problem; both are scikit-learn's.
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
        """Upper bound on the share of training examples outside the boundary (our choice)."""
        components: int = 300
        """Number of training examples that span the approximate kernel (our choice)."""
        gamma: float = 0.0
        """gamma of the kernel exp(-gamma ||x - y||^2); 0 uses scikit-learn's 1 / (columns * variance)."""

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
        """Minus the signed distance to the boundary, (n,)."""
        return torch.from_numpy(-self.fitted.decision_function(x.flatten(1).double().cpu().numpy()))
