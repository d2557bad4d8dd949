"""Image quality from features: IS, FID, KID, precision, recall, density and coverage.

Features are extracted once per set of images; everything here uses them. IS and KID are torch-fidelity's own
functions. The Fréchet distance is ours: a symmetric eigendecomposition is faster than the eigenvalues of a
non-symmetric product, and stays real. Precision, recall, density and coverage are ours too: what depends only
on the real images is computed once, and the four share the distances of samples to real images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebbench.errors import ContractError

Array = NDArray[np.float64]

# Defaults of torch-fidelity and of the papers (Salimans et al. 2016: 10 splits; Binkowski et al. 2018: 100
# subsets of 1,000; Kynkaanniemi et al. 2019: 3 neighbours). The seed shuffles the samples before splitting.
SPLITS, SUBSETS, SUBSET_SIZE, NEIGHBOURS, SEED = 10, 100, 1000, 3, 2020
# Neighbours for density and coverage (Naeem et al. 2020: 5).
WIDE = 5
# Rows of distances held in memory at a time: 100 MB against 50,000 features.
ROWS = 500


class Moments:
    """Mean and covariance of features, accumulated batch by batch in float64."""

    def __init__(self, size: int) -> None:
        self.count = 0
        # Sums are centred at the first batch's mean, to keep precision for features of large mean and small
        # spread.
        self._centre: Array | None = None
        self._sum = np.zeros(size)
        self._products = np.zeros((size, size))

    def add(self, features: Tensor) -> None:
        """Add features (n, size)."""
        x = features.detach().cpu().numpy().astype(np.float64)
        if self._centre is None:
            self._centre = x.mean(0)
        x -= self._centre
        self.count += len(x)
        self._sum += x.sum(0)
        # NumPy computes only half of a product with its own transpose; torch computes all of it.
        self._products += x.T @ x

    def result(self) -> tuple[Array, Array]:
        """Mean (size,) and unbiased covariance (size, size). Raises ValueError for less than two features."""
        if self.count < 2 or self._centre is None:
            raise ValueError(f"a covariance of {self.count} features")
        shift = self._sum / self.count
        covariance = (self._products - self.count * np.outer(shift, shift)) / (self.count - 1)
        return self._centre + shift, covariance


def moments(features: Tensor) -> tuple[Array, Array]:
    """Mean (size,) and unbiased covariance (size, size) of features (n, size), in float64."""
    gathered = Moments(features.shape[1])
    for part in torch.split(features, 1024):
        gathered.add(part)
    return gathered.result()


@dataclass(frozen=True)
class Reference:
    """Real images to compare with: features (k, size) in float32, their `moments`, `radii` and `wide_radii`.

    The radii (k,) are each feature's distances to its third and fifth nearest neighbour among the real
    features.
    """

    features: Tensor
    moments: tuple[Array, Array]
    radii: Tensor
    wide_radii: Tensor


def reference(features: Tensor, device: torch.device) -> Reference:
    """The `Reference` of real features (k, size); distances are computed on `device`."""
    near, wide = radii(features, device, NEIGHBOURS, WIDE)
    return Reference(features, moments(features), near, wide)


def quality(features: Tensor, logits: Tensor, real: Reference, device: torch.device) -> dict[str, float]:
    """All metrics of one set of samples: is, is_std, fid, kid, and those of `neighbours`.

    `features` is (n, size), `logits` (n, classes). Distances are computed on `device`. The order of the
    samples affects `is` and `kid`, which split and subsample with a fixed seed.
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
    """Fréchet distance of two Gaussians, given as mean and covariance (FID, Heusel et al. 2017).

    The squared 2-Wasserstein distance |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2). With any R such that
    S1 = R R', the last trace is the sum of square roots of the eigenvalues of R' S2 R, which is symmetric. A
    singular covariance (fewer samples than features) needs no special treatment: its null space adds nothing.

    Raises ContractError for moments that are not finite.
    """
    (mean1, cov1), (mean2, cov2) = one, other
    # max() below would turn NaN into 0, the best value.
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
        # The covariance is singular; the eigendecomposition costs ten times as much.
        values, vectors = np.linalg.eigh(cov1)
        root = vectors * np.sqrt(values.clip(0))
    cross = np.linalg.eigvalsh(root.T @ cov2 @ root)
    difference = mean1 - mean2
    distance = difference @ difference + np.trace(cov1) + np.trace(cov2) - 2 * np.sqrt(cross.clip(0)).sum()
    # Rounding can give -1e-12 for equal sets.
    return max(0.0, float(distance))


def inception_score(logits: Tensor, splits: int = SPLITS) -> tuple[float, float]:
    """Inception score exp E KL(p(y | x) || p(y)) of logits (n, classes): mean and std over splits.

    Salimans et al. (2016), by torch-fidelity.
    """
    from torch_fidelity.metric_isc import isc_features_to_metric

    found = isc_features_to_metric(logits.cpu(), splits, shuffle=True, rng_seed=SEED)
    return found["inception_score_mean"], found["inception_score_std"]


def kernel_distance(one: Tensor, other: Tensor, size: int = SUBSET_SIZE) -> float:
    """KID (Binkowski et al. 2018): unbiased squared MMD with a cubic kernel, mean over random subsets.

    Subsets have `size` features, or as many as the smaller of the two sets (n, m).
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
    """For each k in `neighbours`: distances of features (n, size) to their k-th nearest other feature.

    Returns one tensor (n,) per k, on the CPU. k must be below n.
    """
    x = features.float().to(device)
    # Index 0 is the feature itself.
    nearest = [
        torch.cdist(part, x).topk(max(neighbours) + 1, largest=False).values for part in torch.split(x, ROWS)
    ]
    found = torch.cat(nearest).cpu()
    return [found[:, k] for k in neighbours]


def neighbours(samples: Tensor, real: Reference, device: torch.device) -> dict[str, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

    Precision is the share of `samples` (n, size) inside a ball around a `real` feature with the distance to
    its third nearest real neighbour as radius. Recall swaps the roles: the share of real features inside the
    balls of the samples. Density and coverage use the real features' balls out to the fifth neighbour.
    Density is the mean number of balls that contain a sample, divided by 5; it is about 1 for real images and
    may exceed 1. Coverage is the share of balls that contain a sample. Both sets need at least 6 features.
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
