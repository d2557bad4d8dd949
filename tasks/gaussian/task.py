"""Gaussians: how tight is a model's lower bound on the log-likelihood if the exact value is known?

The table of Balaji et al., Entropic GANs meet VAEs (2019). README.md describes how the covariances are drawn.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebbench import (
    Data,
    DataSpec,
    Limit,
    Metric,
    Model,
    Score,
    Store,
    Task,
    UsageError,
    derive_seed,
    mean_score,
)
from ebbench.data.pool import Pool

from .published import PUBLISHED

if TYPE_CHECKING:
    from ebbench import Scoring

# Mean log-eigenvalue of the covariance per dimension, derived from the published exact log-likelihoods: E log
# N(y; 0, S) = -(d / 2)(log 2 pi + 1 + mean log-eigenvalue) for y ~ N(0, S).
LOG_EIGENVALUES = {5: 3.71, 10: 4.19, 20: 2.97, 30: 3.28, 64: 3.52}
# Standard deviation of the log-eigenvalues around that mean.
SPREAD = 1.0
TRAIN, HELD_OUT = 50_000, 2_000
# A bound is invalid if its mean exceeds the exact mean by this many standard errors. These are the gap's, or
# the exact values' (sqrt(d / 2 / n) nats) if smaller, so that a noisy bound gains no tolerance.
TOLERANCE = 3.0
# It is also invalid if its mean excess over the exact values (0 for examples where it is below) is larger
# than this, in standard deviations of the exact values. The best constant has .4.
EXCESS = 0.2


@dataclass(frozen=True)
class Gaussian:
    """N(0, `covariance`), (d, d) float64. Raises UsageError if that matrix is not a covariance."""

    covariance: NDArray[np.float64]

    def __post_init__(self) -> None:
        s = self.covariance
        if s.ndim != 2 or s.shape[0] != s.shape[1] or not np.isfinite(s).all():
            raise self._refused(f"a matrix of shape {s.shape}" + ("" if s.ndim == 2 else ", no square"))
        if not np.allclose(s, s.T):
            raise self._refused("a matrix that is not symmetric")
        least = float(np.linalg.eigvalsh(s)[0])
        if least <= 0:
            raise self._refused(f"a matrix with an eigenvalue of {least:.3g}")

    @property
    def dim(self) -> int:
        """The dimension d."""
        return len(self.covariance)

    @cached_property
    def _root(self) -> NDArray[np.float64]:
        return np.asarray(np.linalg.cholesky(self.covariance), np.float64)

    def draw(self, n: int, seed: int) -> NDArray[np.float32]:
        """`n` independent examples, float32 (n, d)."""
        noise = np.random.default_rng(seed).standard_normal((n, self.dim))
        return (noise @ self._root.T).astype(np.float32)

    def log_density(self, y: NDArray[np.float32]) -> NDArray[np.float64]:
        """log N(y; 0, S), float64 (n,), nats."""
        whitened = np.linalg.solve(self._root, y.astype(np.float64).T)
        log_determinant = 2 * np.log(np.diag(self._root)).sum()
        values: NDArray[np.float64] = (
            -((whitened**2).sum(0) + log_determinant + self.dim * np.log(2 * np.pi)) / 2
        )
        return values

    @staticmethod
    def _refused(found: str) -> UsageError:
        return UsageError(
            f"{found} is no covariance",
            where="option 'covariance' of task gaussian",
            expected="a square symmetric matrix of finite numbers, all eigenvalues above 0",
        )


def random_gaussian(dim: int, seed: int) -> Gaussian:
    """A Gaussian with a random covariance of `dim` dimensions.

    Log-eigenvalues are N(0, SPREAD^2), shifted to the published mean; the axes are uniform over the
    orthogonal group.
    """
    rng = np.random.default_rng(derive_seed(seed, "gaussian covariance", dim))
    logs = rng.standard_normal(dim) * SPREAD
    logs += LOG_EIGENVALUES[dim] - logs.mean()
    # QR of a Gaussian matrix is uniform after multiplying by the signs of R's diagonal (Mezzadri 2007).
    q, r = np.linalg.qr(rng.standard_normal((dim, dim)))
    axes = q * np.sign(np.diag(r))
    covariance = (axes * np.exp(logs)) @ axes.T
    return Gaussian((covariance + covariance.T) / 2)


class GaussianPool(Pool):
    """Training examples from a Gaussian, and fresh draws on request."""

    def __init__(self, gaussian: Gaussian, seed: int, spec: DataSpec, device: torch.device) -> None:
        examples = torch.from_numpy(
            gaussian.draw(TRAIN, derive_seed(seed, "gaussian", gaussian.dim, "train"))
        )
        super().__init__(examples, examples[:0], spec, device)
        self._gaussian = gaussian

    def fresh(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` fresh draws, (n, d)."""
        seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
        return torch.from_numpy(self._gaussian.draw(n, seed)).to(self.device)

    def log_density(self, x: Tensor) -> Tensor:
        """log N(x; 0, S), (n,), nats."""
        return torch.from_numpy(self._gaussian.log_density(x.cpu().numpy())).to(x.device)


class GaussianTask(Task):
    """How tight a bound on the log-likelihood is; each dimension is a part with a training of its own."""

    @dataclass(frozen=True)
    class Options:
        dim: int | Literal["all"] = "all"
        """Dimension of the data: 5, 10, 20, 30 or 64; "all" trains once on each."""
        covariance: str = ""
        """A CSV file, one row per line, with a covariance to use instead of the random ones."""

    # 2: validity of a bound is judged by the spread of the exact values, no longer by its own.
    version = 2
    protocols = {
        "clean": "a covariance drawn by the run's seed, 50,000 examples to train on, the bound and the exact "
        "log-likelihood of 2,000 others",
    }
    needs = "log_likelihood_bound"
    metrics = (
        Metric(
            name="relative_gap",
            unit="%",
            better="lower",
            primary=True,
            doc="exact mean log-likelihood less the mean bound, over the exact one's size; mean over the "
            "dimensions",
        ),
        Metric(
            name="valid",
            unit="share",
            better="higher",
            gate=True,
            doc="1 if no dimension's bound lies above the exact log-likelihood: on average by more than "
            "three standard errors, or at single examples by more than a fifth of the exact values' spread",
        ),
        Metric(name="gap", unit="nats", better="lower", doc="the gap itself; mean over the dimensions"),
        Metric(
            name="gap_error",
            unit="nats",
            better="neither",
            doc="standard error of the gap over the held-out examples, which holds the bound's Monte-Carlo "
            "error",
        ),
        Metric(
            name="excess",
            unit="nats",
            better="lower",
            doc="how far the bound lies above the exact log-likelihood, 0 where it lies below; mean over the "
            "examples, then over the dimensions",
        ),
        Metric(name="bound", unit="nats", better="higher", doc="mean bound; mean over the dimensions"),
        Metric(
            name="exact",
            unit="nats",
            better="neither",
            doc="mean exact log-likelihood; mean over the dimensions",
        ),
        *(
            Metric(
                name=f"relative_gap_{dim}", unit="%", better="lower", doc=f"relative_gap at {dim} dimensions"
            )
            for dim in LOG_EIGENVALUES
        ),
    )
    limits = (
        Limit(
            metric="relative_gap",
            least=-5.0,
            why="a lower bound of a log-likelihood does not lie above it",
        ),
    )
    published = PUBLISHED

    def __init__(self, options: Options, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        if options.dim != "all" and (isinstance(options.dim, bool) or options.dim not in LOG_EIGENVALUES):
            raise UsageError(
                f"dim={options.dim}",
                where="option 'dim' of task gaussian",
                expected=", ".join(map(str, LOG_EIGENVALUES)) + ', or "all"',
                fix="for another dimension give a covariance: --set covariance=FILE.csv",
            )
        self.source = "random"
        self.data_hashes: Mapping[str, str] = {}
        self.seed = 0
        self.gaussian: Gaussian | None = None
        if options.covariance:
            if options.dim != "all":
                raise UsageError(
                    "a covariance and a dimension",
                    where="options 'covariance' and 'dim' of task gaussian",
                    expected="one of the two: the covariance has its own dimension",
                )
            self._read(Path(options.covariance))

    def _read(self, path: Path) -> None:
        try:
            content = path.read_bytes()
            covariance = np.loadtxt(content.decode().splitlines(), delimiter=",", ndmin=2)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"'{path.name}' cannot be read as a covariance: {error}",
                where="option 'covariance' of task gaussian",
                expected="comma-separated numbers, one row of the matrix a line",
            ) from error
        self.gaussian = Gaussian(covariance)
        self.source = "file"
        # The result records the file's name and content, not its path.
        self.options = replace(self.options, covariance=path.name)
        self.data_hashes = {path.name: hashlib.sha256(content).hexdigest()}

    def parts(self, seed: int) -> Mapping[str, Task]:
        """One training per dimension, with the covariance drawn by the seed."""
        if self.gaussian is not None or self.options.dim != "all":
            return {"": self.part(self.options.dim, seed)}
        return {f"dim {dim}": self.part(dim, seed) for dim in LOG_EIGENVALUES}

    def part(self, dim: int | Literal["all"], seed: int) -> GaussianTask:
        """This task at one dimension; a given covariance is kept."""
        part = copy.copy(self)
        part.seed = seed
        if self.gaussian is None:
            assert dim != "all"
            part.options = replace(self.options, dim=dim)
            part.gaussian = random_gaussian(dim, seed)
        return part

    def data_key(self) -> dict[str, Any]:
        """The dimension, and the seed of the covariance and of the draws."""
        return {"dim": self.options.dim, "seed": self.seed, "train": TRAIN, "spread": SPREAD}

    def spec(self) -> DataSpec:
        """Unbounded vectors (dim,); for the whole task, those of the lowest dimension."""
        dim = min(LOG_EIGENVALUES) if self.gaussian is None else self.gaussian.dim
        return DataSpec(name="gaussian", shape=(dim,))

    def data(self, device: torch.device) -> Data:
        """The training examples."""
        return GaussianPool(self._known, self.seed, self.spec(), device)

    def score(self, model: Model, scoring: Scoring) -> Score:
        """Compare the bound on held-out examples with their exact log-likelihood."""
        gaussian = self._known
        y = gaussian.draw(HELD_OUT, derive_seed(self.seed, "gaussian", gaussian.dim, "held out"))
        exact = gaussian.log_density(y)
        bound = -scoring.scores(torch.from_numpy(y))["log_likelihood_bound"]
        gaps = exact - bound
        gap, error = float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps)))
        relative = 100 * gap / abs(float(exact.mean()))
        spread = float(exact.std(ddof=1))
        excess = float(np.maximum(-gaps, 0).mean())
        valid = gap >= -TOLERANCE * min(error, spread / np.sqrt(len(exact))) and excess <= EXCESS * spread
        by_dim = {f"relative_gap_{gaussian.dim}": relative} if gaussian.dim in LOG_EIGENVALUES else {}
        return Score(
            metrics={
                "relative_gap": relative,
                "valid": float(valid),
                "gap": gap,
                "gap_error": error,
                "excess": excess,
                "bound": float(bound.mean()),
                "exact": float(exact.mean()),
            }
            | by_dim,
            details={"eigenvalues": np.linalg.eigvalsh(gaussian.covariance).tolist()},
        )

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """The means over the dimensions; valid if the bound is valid at every dimension."""
        whole = mean_score(scores)
        if len(scores) == 1:
            return whole
        errors = [score.metrics["gap_error"] for score in scores.values()]
        return Score(
            {
                **whole.metrics,
                "gap_error": float(np.sqrt(np.square(errors).sum()) / len(errors)),
                "valid": min(score.metrics["valid"] for score in scores.values()),
            }
        )

    @property
    def _known(self) -> Gaussian:
        assert self.gaussian is not None, "only a part knows its Gaussian"
        return self.gaussian
