"""Image quality from features: inception score, Frechet and kernel distance, precision and recall.

Features are taken once per set of images; everything here works on them. IS and KID are torch-fidelity's own
functions. The Frechet distance is ours: a symmetric eigendecomposition is faster than the eigenvalues of a
product that is not symmetric, and does not turn complex. So are precision and recall: what they need of the
real images alone is found once, and every pair of a sample and a real image is measured once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebbench.errors import ContractError

Array = NDArray[np.float64]

# torch-fidelity's defaults, and the papers' (Salimans et al. 2016: 10 splits; Binkowski et al. 2018: 100
# subsets of 1,000; Kynkaanniemi et al. 2019: 3 neighbours). The seed shuffles the samples before a split.
SPLITS, SUBSETS, SUBSET_SIZE, NEIGHBOURS, SEED = 10, 100, 1000, 3, 2020
# Rows of distances that are held at a time: 100 MB of them against 50,000 features.
ROWS = 500


class Moments:
    """Mean and covariance of features, gathered batch by batch in float64."""

    def __init__(self, size: int) -> None:
        self.count = 0
        # Sums around the first batch's mean: features of large mean and small spread keep their digits.
        self._centre: Array | None = None
        self._sum = np.zeros(size)
        self._products = np.zeros((size, size))

    def add(self, features: Tensor) -> None:
        """Take in features (n, size)."""
        x = features.detach().cpu().numpy().astype(np.float64)
        if self._centre is None:
            self._centre = x.mean(0)
        x -= self._centre
        self.count += len(x)
        self._sum += x.sum(0)
        # NumPy sees a product with its own transpose and computes half of it; torch does not.
        self._products += x.T @ x

    def result(self) -> tuple[Array, Array]:
        """Mean (size,) and unbiased covariance (size, size). Raises ValueError for less than two features."""
        if self.count < 2 or self._centre is None:
            raise ValueError(f"a covariance of {self.count} features")
        shift = self._sum / self.count
        covariance = (self._products - self.count * np.outer(shift, shift)) / (self.count - 1)
        return self._centre + shift, covariance


def moments(features: Tensor) -> tuple[Array, Array]:
    """Mean and covariance of features (n, size), gathered in float64."""
    gathered = Moments(features.shape[1])
    for part in torch.split(features, 1024):
        gathered.add(part)
    return gathered.result()


@dataclass(frozen=True)
class Reference:
    """Real images to compare with: features (k, size) in float32, their `moments` and their `radii` (k,)."""

    features: Tensor
    moments: tuple[Array, Array]
    radii: Tensor


def reference(features: Tensor, device: torch.device) -> Reference:
    """What samples are compared with, of the features (k, size) of real images; distances on `device`."""
    return Reference(features, moments(features), radii(features, device))


def quality(features: Tensor, logits: Tensor, real: Reference, device: torch.device) -> dict[str, float]:
    """Every metric of one set of samples: is, is_std, fid, kid, precision, recall; distances on `device`.

    The order of the samples matters to `is` and `kid`, which split and draw by a fixed seed.
    """
    score, spread = inception_score(logits)
    precision, recall = precision_recall(features, real, device)
    return {
        "is": score,
        "is_std": spread,
        "fid": frechet_distance(moments(features), real.moments),
        "kid": kernel_distance(features, real.features),
        "precision": precision,
        "recall": recall,
    }


def frechet_distance(one: tuple[Array, Array], other: tuple[Array, Array]) -> float:
    """Squared 2-Wasserstein distance of two Gaussians by mean and covariance (Heusel et al. 2017, FID).

    |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2); with any R such that S1 = R R', the last trace is
    the sum of the roots of the eigenvalues of R' S2 R, which is symmetric. A singular covariance (fewer
    samples than features) is as good as any other: its null space adds nothing.

    Raises ContractError for moments that are not finite.
    """
    (mean1, cov1), (mean2, cov2) = one, other
    # max() below would turn a NaN into the best value that there is.
    if not all(np.isfinite(part).all() for part in (mean1, cov1, mean2, cov2)):
        raise ContractError(
            "the features' mean or covariance is NaN or infinite",
            where="Frechet distance",
            expected="features that are finite",
            fix="look at the net that made them, and at the images that it was given",
        )
    try:
        root = np.linalg.cholesky(cov1)
    except np.linalg.LinAlgError:
        # It is singular; ten times the work.
        values, vectors = np.linalg.eigh(cov1)
        root = vectors * np.sqrt(values.clip(0))
    cross = np.linalg.eigvalsh(root.T @ cov2 @ root)
    difference = mean1 - mean2
    distance = difference @ difference + np.trace(cov1) + np.trace(cov2) - 2 * np.sqrt(cross.clip(0)).sum()
    # Rounding can leave -1e-12 where the sets are equal.
    return max(0.0, float(distance))


def inception_score(logits: Tensor, splits: int = SPLITS) -> tuple[float, float]:
    """exp E KL(p(y | x) || p(y)), logits (n, classes): mean and spread over splits (Salimans et al. 2016)."""
    from torch_fidelity.metric_isc import isc_features_to_metric

    found = isc_features_to_metric(logits.cpu(), splits, shuffle=True, rng_seed=SEED)
    return found["inception_score_mean"], found["inception_score_std"]


def kernel_distance(one: Tensor, other: Tensor, size: int = SUBSET_SIZE) -> float:
    """KID (Binkowski et al. 2018): the unbiased squared MMD with a cubic kernel, mean over random subsets.

    Subsets are of `size` or of as many features (n, m) as the smaller set has.
    """
    from torch_fidelity.metric_kid import kid_features_to_metric

    found = kid_features_to_metric(
        one.double().cpu(),
        other.double().cpu(),
        kid_subsets=SUBSETS,
        kid_subset_size=min(size, len(one), len(other)),
        rng_seed=SEED,
        verbose=False,
    )
    return float(found["kernel_inception_distance_mean"])


def radii(features: Tensor, device: torch.device) -> Tensor:
    """Distance of each feature (n, size) to its third nearest among the others: (n,), on the CPU."""
    x = features.float().to(device)
    # Each is its own nearest.
    nearest = [
        torch.cdist(part, x).topk(NEIGHBOURS + 1, largest=False).values for part in torch.split(x, ROWS)
    ]
    return torch.cat(nearest)[:, -1].cpu()


def precision_recall(samples: Tensor, real: Reference, device: torch.device) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019).

    The share of `samples` (n, size) inside the balls of the `real` features, each as wide as the distance to
    its third neighbour, and of the real ones inside those of the samples.
    """
    x, reals = (features.float().to(device) for features in (samples, real.features))
    of_samples, of_reals = (found.to(device) for found in (radii(samples, device), real.radii))
    precise = 0
    recalled = torch.zeros(len(reals), dtype=torch.bool, device=device)
    for part, reach in zip(torch.split(x, ROWS), torch.split(of_samples, ROWS), strict=True):
        distances = torch.cdist(part, reals)
        precise += int((distances <= of_reals).any(1).sum())
        recalled |= (distances <= reach[:, None]).any(0)
    return precise / len(x), int(recalled.sum()) / len(reals)
