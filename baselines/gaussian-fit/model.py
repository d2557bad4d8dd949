"""A Gaussian with the data's mean and covariance: the maximum-likelihood fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ebbench import ContractError, Data, DataSpec, Model, Run

CHUNK = 8192


class GaussianFit(Model):
    @dataclass(frozen=True)
    class Config:
        ridge: float = 0.0
        """Added to every variance, in units of the data squared; 0 is maximum likelihood."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        size = prod(data.shape)
        self.mean = torch.zeros(size, dtype=torch.float64)
        self.root = torch.eye(size, dtype=torch.float64)

    def train(self, data: Data, run: Run) -> None:
        n, total, squares = len(data), torch.zeros_like(self.mean), torch.zeros_like(self.root)
        for index in torch.arange(n, device=data.device).split(CHUNK):
            x = data[index].flatten(1).double().cpu()
            total += x.sum(0)
            squares += x.T @ x
        self.mean = total / n
        covariance = squares / n - torch.outer(self.mean, self.mean)
        covariance += self.config.ridge * torch.eye(len(covariance), dtype=torch.float64)
        self.root, failed = torch.linalg.cholesky_ex(covariance)
        if failed:
            raise ContractError(
                f"the covariance of '{data.spec.name}' is singular: a Gaussian has no density there",
                where="gaussian-fit",
                expected="data in which no column is a combination of others, or constant",
                fix="--set ridge=1e-3 adds that much to every variance",
            )

    def state_dict(self) -> dict[str, Tensor]:
        """The mean and the Cholesky factor of the covariance."""
        return {"mean": self.mean, "root": self.root}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:  # type: ignore[override]
        self.mean, self.root = state["mean"].cpu(), state["root"].cpu()

    def log_likelihood_bound(self, x: Tensor) -> Tensor:
        """log N(x; mean, covariance), (n,), nats: the exact value, not just a bound."""
        centred = (x.flatten(1).double().cpu() - self.mean).T
        whitened = torch.linalg.solve_triangular(self.root, centred, upper=False)
        log_determinant = 2 * self.root.diagonal().log().sum()
        values: Tensor = (
            -(whitened.square().sum(0) + log_determinant + len(self.mean) * math.log(2 * math.pi)) / 2
        )
        return values.to(x.device)

    def energy(self, x: Tensor) -> Tensor:
        """-log N(x; mean, covariance), (n,)."""
        return -self.log_likelihood_bound(x)

    def sample(self, n: int) -> Tensor:
        """Draw from the fitted Gaussian: (n, *shape)."""
        noise = torch.randn(n, len(self.mean), dtype=torch.float64)
        made = self.mean + noise @ self.root.T
        return made.float().view(n, *self.data.shape).to(self.device)
