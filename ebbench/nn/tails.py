"""Empirical tail probabilities of each column of the training data, for ECOD and COPOD."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


class Tails:
    """The empirical distribution of each column of `x`, float64 (n, d).

    `skew` (d,) is the sign of each column's skewness: -1, 0 or 1, and 0 for constant columns.
    """

    def __init__(self, x: Values) -> None:
        self.sorted = np.sort(x, axis=0)
        third = ((x - x.mean(0)) ** 3).mean(0)
        # Rounding gives constant columns a nonzero third moment.
        self.skew = np.where(np.ptp(x, axis=0) > 0, np.sign(third), 0.0)

    def surprise(self, x: Values) -> tuple[Values, Values, Values]:
        """Negative log tail probabilities (nats) of `x` (m, d): left, right and by skewness, (m, d) each.

        Each value is counted among the training values that it is compared with, so no probability is 0. The
        third array uses the left tail for left-skewed columns, the right tail for right-skewed columns, and
        the sum of both for columns without skewness.
        """
        n = len(self.sorted)
        columns = list(zip(self.sorted.T, x.T, strict=True))
        at_most = np.stack([np.searchsorted(seen, value, "right") for seen, value in columns], 1)
        below = np.stack([np.searchsorted(seen, value, "left") for seen, value in columns], 1)
        left, right = -np.log((at_most + 1) / (n + 1)), -np.log((n - below + 1) / (n + 1))
        return left, right, np.where(self.skew <= 0, left, 0.0) + np.where(self.skew >= 0, right, 0.0)
