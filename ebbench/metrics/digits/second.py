"""Checks on what the counting classifier cannot see: adversarial images, copies, and few distinct images.

None of them uses a neural network, so images that were optimised to fool the classifier do not fool them too.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Number of principal components of the second classifier.
COMPONENTS = 40
# Added to each variance, as a share of the mean variance in a class.
SHRINKAGE = 0.05
# Distance, for pixels in [0, 1], below which an image is a copy of its nearest training image: the 1 %
# quantile of the distances of training images to their nearest other training image. A test measures it.
COPY = {"mnist": 1.26, "digits": 1.54}
# Side of the squares whose means distinguish images, and the number of grey levels of a mean.
SQUARE, LEVELS = 4, 4


class Gaussians:
    """The second classifier: one Gaussian per digit in the space of the first principal components.

    This is quadratic discriminant analysis. `images` are uint8 (m, 28, 28), `labels` (m,).
    """

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        x = torch.from_numpy(images).flatten(1)
        y = torch.from_numpy(labels.astype(np.int64))
        # In parts, since all images at once would take half a gigabyte.
        parts = x.split(4096)
        self.mean = torch.stack([part.double().sum(0) for part in parts]).sum(0) / (255 * len(x))
        products = [_squares(part.double() / 255 - self.mean) for part in parts]
        self.axes = torch.linalg.eigh(torch.stack(products).sum(0) / len(x)).eigenvectors[:, -COMPONENTS:]
        z = torch.cat([(part.double() / 255 - self.mean) @ self.axes for part in parts])
        self.centres, self.roots, self.constants = [], [], []
        for digit in range(10):
            own = z[y == digit]
            covariance = torch.cov(own.T)
            covariance += SHRINKAGE * covariance.diagonal().mean() * torch.eye(COMPONENTS, dtype=z.dtype)
            root = torch.linalg.cholesky(covariance)
            self.centres.append(own.mean(0))
            self.roots.append(root)
            log_determinant = 2 * root.diagonal().log().sum()
            self.constants.append(math.log(len(own) / len(z)) - float(log_determinant) / 2)

    def digits(self, x: Tensor) -> Tensor:
        """The digits, int64 (n,), of images (n, 1, 28, 28) with values in [0, 1]."""
        z = (x.flatten(1).cpu().double() - self.mean) @ self.axes
        scores = [
            constant - torch.linalg.solve_triangular(root, (z - centre).T, upper=False).square().sum(0) / 2
            for centre, root, constant in zip(self.centres, self.roots, self.constants, strict=True)
        ]
        return torch.stack(scores).argmax(0)


def _squares(x: Tensor) -> Tensor:
    return x.T @ x


class Neighbours:
    """Nearest-neighbour search in the training images, `images` uint8 (m, 28, 28)."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = torch.from_numpy(images).flatten(1).float() / 255
        self.norms = self.images.square().sum(1)

    def distances(self, x: Tensor, k: int = 1) -> Tensor:
        """Euclidean distance to the k-th nearest training image, (n,), of images (n, 1, 28, 28) in [0, 1]."""
        flat = x.flatten(1).cpu().float()
        squares = flat.square().sum(1)[:, None] + self.norms - 2 * flat @ self.images.T
        return squares.topk(k, 1, largest=False).values[:, -1].clamp_min(0).sqrt()


def looks(x: Tensor) -> Tensor:
    """A hash of the coarse appearance, int64 (n,), of images (n, 1, 28, 28) in [0, 1].

    Images whose means over squares differ by less than a grey level mostly have the same hash.
    """
    means = torch.nn.functional.avg_pool2d(x.cpu().float(), SQUARE).flatten(1)
    levels = (means * LEVELS).long().clamp(0, LEVELS - 1)
    weights = torch.randint(2**62, (levels.shape[1],), generator=torch.Generator().manual_seed(0))
    return (levels * weights).sum(1)
