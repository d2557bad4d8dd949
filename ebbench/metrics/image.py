"""Image quality from features: inception score, Frechet and kernel distance, and shares of neighbours.

Features are taken once per set of images; everything here works on them. IS and KID are torch-fidelity's own
functions. The Frechet distance is ours: a symmetric eigendecomposition is faster than the eigenvalues of a
product that is not symmetric, and does not turn complex. So are precision, recall, density and coverage:
what they need of the real images alone is found once, and so is the distance of a sample to a real image.
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
# Of density and coverage (Naeem et al. 2020: 5 neighbours).
WIDE = 5
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
    """Real images to compare with: features (k, size) in float32, their `moments`, and their distances to the
    third and the fifth nearest among themselves, `radii` and `wide_radii` (k,)."""

    features: Tensor
    moments: tuple[Array, Array]
    radii: Tensor
    wide_radii: Tensor


def reference(features: Tensor, device: torch.device) -> Reference:
    """What samples are compared with, of the features (k, size) of real images; distances on `device`."""
    near, wide = radii(features, device, NEIGHBOURS, WIDE)
    return Reference(features, moments(features), near, wide)


def quality(features: Tensor, logits: Tensor, real: Reference, device: torch.device) -> dict[str, float]:
    """Every metric of one set of samples: is, is_std, fid, kid, and those of `neighbours`.

    Distances are taken on `device`. The order of the samples matters to `is` and `kid`, which split and draw
    by a fixed seed.
    """
    score, spread = inception_score(logits)
    return {
        "is": score,
        "is_std": spread,
        "fid": frechet_distance(moments(features), real.moments),
        "kid": kernel_distance(features, real.features),
        **neighbours(features, real, device),
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


def radii(features: Tensor, device: torch.device, *neighbours: int) -> list[Tensor]:
    """Distances of features (n, size) to their k-th nearest among the others, k < n: (n,) a k, on the CPU."""
    x = features.float().to(device)
    # Each is its own nearest.
    nearest = [
        torch.cdist(part, x).topk(max(neighbours) + 1, largest=False).values for part in torch.split(x, ROWS)
    ]
    found = torch.cat(nearest).cpu()
    return [found[:, k] for k in neighbours]


def neighbours(samples: Tensor, real: Reference, device: torch.device) -> dict[str, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

    Precision is the share of `samples` (n, size) inside the balls of the `real` features, each as wide as
    the distance to its third neighbour; recall that of the real ones inside those of the samples. Of the real
    features' balls to the fifth neighbour, density is how many hold a sample, over 5, on average (about 1 for
    real images, and it may be above), and coverage the share that hold any. Both sets have 6 or more.
    """
    x, reals = (features.float().to(device) for features in (samples, real.features))
    (of_samples,) = (found.to(device) for found in radii(samples, device, NEIGHBOURS))
    of_reals, wide = real.radii.to(device), real.wide_radii.to(device)
    precise = inside = 0
    recalled, covered = (torch.zeros(len(reals), dtype=torch.bool, device=device) for _ in range(2))
    for part, reach in zip(torch.split(x, ROWS), torch.split(of_samples, ROWS), strict=True):
        distances = torch.cdist(part, reals)
        precise += int((distances <= of_reals).any(1).sum())
        recalled |= (distances <= reach[:, None]).any(0)
        within = distances <= wide
        inside += int(within.sum())
        covered |= within.any(0)
    return {
        "precision": precise / len(x),
        "recall": int(recalled.sum()) / len(reals),
        "density": inside / (WIDE * len(x)),
        "coverage": int(covered.sum()) / len(reals),
    }
