"""How far out in the tails of the training data a value lies, column by column, for ECOD and COPOD."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


class Tails:
    """The empirical distribution of each column of `x`, float64 (n, d).

    `skew` is the sign of each column's skewness, (d,): -1, 0 or 1. A column that is constant has 0.
    """

    def __init__(self, x: Values) -> None:
        self.sorted = np.sort(x, axis=0)
        third = ((x - x.mean(0)) ** 3).mean(0)
        # The mean of a constant is the constant but for a rounding.
        self.skew = np.where(np.ptp(x, axis=0) > 0, np.sign(third), 0.0)

    def surprise(self, x: Values) -> tuple[Values, Values, Values]:
        """-log of the tail probabilities of the values `x` (m, d), each (m, d): left, right, and by skewness.

        A value is counted among those that it is compared with, so that no probability is 0. The last is the
        left one where the column leans to the left, the right one where it leans to the right, and both
        together where it leans nowhere.
        """
        n = len(self.sorted)
        columns = list(zip(self.sorted.T, x.T, strict=True))
        at_most = np.stack([np.searchsorted(seen, value, "right") for seen, value in columns], 1)
        below = np.stack([np.searchsorted(seen, value, "left") for seen, value in columns], 1)
        left, right = -np.log((at_most + 1) / (n + 1)), -np.log((n - below + 1) / (n + 1))
        return left, right, np.where(self.skew <= 0, left, 0.0) + np.where(self.skew >= 0, right, 0.0)
