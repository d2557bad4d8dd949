"""p-values of all pairs of many rows at once: those of `stats.p_value`, computed on arrays.

A board of a thousand rows has half a million pairs, and one library call per test takes a millisecond. Here a
row is tested against all later ones in a few array operations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Equal differences still vary by rounding, about 1e-16 of the subtracted values.
NOISE = 1e-14


def p_values(rows: Sequence[Mapping[int, float]]) -> np.ndarray:
    """Two-sided p-values of all pairs of rows, each a map from seed to finite value.

    The array is (k, k), symmetric, and NaN for pairs without a test and on the diagonal. Each pair is tested
    as by `stats.p_value`: the paired t-test over common seeds, or Welch's test with fewer than two of them.
    """
    p = np.full((len(rows), len(rows)), np.nan)
    if len(rows) < 2:
        return p
    columns = {seed: i for i, seed in enumerate(sorted(set().union(*rows)))}
    values = np.full((len(rows), len(columns)), np.nan)
    for row, found in zip(values, rows, strict=True):
        row[[columns[seed] for seed in found]] = list(found.values())
    alone = _alone(values)
    for i in range(len(rows) - 1):
        p[i, i + 1 :] = _paired(values[i], values[i + 1 :])
        untested = i + 1 + np.flatnonzero(np.isnan(p[i, i + 1 :]))
        if untested.size:
            p[i, untested] = _welch({key: found[i] for key, found in alone.items()}, alone, untested)
    both: np.ndarray = np.fmax(p, p.T)
    return both


def holm(p: np.ndarray) -> np.ndarray:
    """`stats.holm` for an array, (n,)."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    factors = len(p) - np.arange(len(p))
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * p[order]))
    return adjusted


def _paired(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Paired tests of a row, (s,), against others, (m, s); NaN marks a missing value, and no test."""
    from scipy.special import stdtr

    common = ~(np.isnan(one) | np.isnan(others))
    n = common.sum(axis=1)
    size = np.where(common, np.fmax(np.abs(one), np.abs(others)), 0.0).max(axis=1)
    # Exact scaling by a power of two, so that no square overflows or underflows.
    _, exponent = np.frexp(size)
    down = -exponent[:, None]
    gaps = np.where(common, np.ldexp(one, down) - np.ldexp(others, down), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = gaps.sum(axis=1) / n
        squares = np.where(common, gaps - mean[:, None], 0.0) ** 2
        spread = np.sqrt(squares.sum(axis=1) / (n - 1))
        p = 2 * stdtr(n - 1, -np.abs(mean / (spread / np.sqrt(n))))
    p = _without_spread(p, spread, mean, NOISE * np.ldexp(size, -exponent))
    return np.where(n > 1, p, np.nan)


def _alone(values: np.ndarray) -> dict[str, np.ndarray]:
    """Inputs of Welch's test for each row: n, and mean, spread and largest magnitude over 2 ** exponent."""
    there = ~np.isnan(values)
    n = there.sum(axis=1)
    size = np.where(there, np.abs(values), 0.0).max(axis=1)
    _, exponent = np.frexp(size)
    scaled = np.where(there, np.ldexp(values, -exponent[:, None]), 0.0)
    mean = scaled.sum(axis=1) / n
    squares = np.where(there, scaled - mean[:, None], 0.0) ** 2
    spread = np.sqrt(squares.sum(axis=1) / np.maximum(n - 1, 1))
    return {
        "n": n,
        "mean": mean,
        "spread": spread,
        "size": np.ldexp(size, -exponent),
        # All-zero rows have no scale, so the other row's applies.
        "exponent": np.where(size > 0, exponent, -10_000),
    }


def _welch(one: Mapping[str, Any], all_rows: Mapping[str, np.ndarray], others: np.ndarray) -> np.ndarray:
    """Welch's tests of a row against those at index `others`; NaN for rows with a single value."""
    from scipy.special import stdtr

    other = {key: found[others] for key, found in all_rows.items()}
    exponent = np.maximum(one["exponent"], other["exponent"])
    (mean_a, spread_a, size_a), (mean_b, spread_b, size_b) = (
        [np.ldexp(side[key], side["exponent"] - exponent) for key in ("mean", "spread", "size")]
        for side in (one, other)
    )
    errors_a, errors_b = spread_a**2 / one["n"], spread_b**2 / other["n"]
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (errors_a + errors_b) ** 2 / (errors_a**2 / (one["n"] - 1) + errors_b**2 / (other["n"] - 1))
        p = 2 * stdtr(freedom, -np.abs((mean_a - mean_b) / np.sqrt(errors_a + errors_b)))
    noise = NOISE * np.maximum(size_a, size_b)
    p = _without_spread(p, np.maximum(spread_a, spread_b), mean_a - mean_b, noise)
    return np.where(np.minimum(one["n"], other["n"]) > 1, p, np.nan)


def _without_spread(p: np.ndarray, spread: np.ndarray, mean: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """For values without spread, p is 1 if the difference is zero, else 0."""
    return np.where(spread <= noise, np.where(np.abs(mean) <= noise, 1.0, 0.0), p)
