"""Intervals over seeds, paired comparisons, and ranks in which ties share a place.

Everything here is exact or seeded. scipy is imported inside the functions: only those who ask for
an interval pay for it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ebbench.errors import UsageError

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; `low` and `high` are None where n says nothing of spread."""

    mean: float
    low: float | None
    high: float | None
    n: int
    level: float
    method: str

    @property
    def half_width(self) -> float | None:
        """Half the interval's width, the number behind "±"; None without an interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


@dataclass(frozen=True)
class Comparison:
    """The mean difference a - b over n pairs, and the two-sided p-value; None where n < 2."""

    difference: float
    p: float | None
    n: int


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The Student-t interval of the mean over independent runs (seeds).

    It assumes that the runs are drawn from roughly a normal distribution. One value has no
    interval. UsageError for no value, one that is not finite, or a level outside (0, 1).
    """
    _check(values, level)
    n, mean = len(values), _mean(values)
    if n == 1:
        return Interval(mean, None, None, n, level, "t")
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, (1 + level) / 2)) * statistics.stdev(values) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, level, "t")


def prediction(values: Sequence[float], further: int, level: float = 0.95) -> Interval:
    """Where the mean of `further` more runs is to be expected, from the runs that there are (Student's t).

    It assumes what `interval` does, and raises as it does. One value says nothing of spread: no interval.
    """
    _check(values, level)
    n, mean = len(values), _mean(values)
    if n == 1:
        return Interval(mean, None, None, n, level, "t, prediction")
    from scipy.special import stdtrit

    spread = statistics.stdev(values) * math.sqrt(1 / n + 1 / further)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * spread
    return Interval(mean, mean - half, mean + half, n, level, "t, prediction")


def bootstrap(
    values: Sequence[float],
    level: float = 0.95,
    *,
    method: Literal["percentile", "bca"] = "bca",
    resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """The bootstrap interval of the mean, for values that are far from normal.

    The same arguments give the same interval. Below about 10 values it is too narrow: prefer
    `interval` over seeds. Errors are those of `interval`.
    """
    _check(values, level)
    n, mean = len(values), _mean(values)
    name = f"bootstrap-{method}"
    if n == 1:
        return Interval(mean, None, None, n, level, name)
    if min(values) == max(values):  # no resample differs, and BCa would divide by zero
        return Interval(mean, mean, mean, n, level, name)
    import numpy as np
    from scipy.stats import bootstrap as resample

    found = resample(
        (np.asarray(values, dtype=float),),
        np.mean,
        n_resamples=resamples,
        confidence_level=level,
        method="BCa" if method == "bca" else "percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high), n, level, name)


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Comparison:
    """The paired t-test of a - b over the seeds that both have; both map a seed to a value.

    Pairing takes out what a seed does to both alike. Differences that are all equal leave no doubt:
    p is 1 where they are zero and 0 where they are not.
    """
    seeds = sorted(a.keys() & b.keys())
    differences = [a[seed] - b[seed] for seed in seeds]
    n = len(seeds)
    if n == 0:
        return Comparison(math.nan, None, 0)
    _check(differences, 0.95)
    mean = _mean(differences)
    if n == 1:
        return Comparison(mean, None, n)
    spread = statistics.stdev(differences)
    # Differences of equal size still spread by rounding, about 1e-16 of the values subtracted.
    scale = max(abs(value) for seed in seeds for value in (a[seed], b[seed]))
    if spread <= 1e-14 * scale:
        return Comparison(mean, 1.0 if abs(mean) <= 1e-14 * scale else 0.0, n)
    return Comparison(mean, _two_sided(mean / (spread / math.sqrt(n)), n - 1), n)


def _welch(a: Sequence[float], b: Sequence[float]) -> float | None:
    # Two rows without common seeds (someone else's runs) cannot be paired.
    if len(a) < 2 or len(b) < 2:
        return None
    parts = [statistics.variance(values) / len(values) for values in (a, b)]
    difference = _mean(a) - _mean(b)
    if sum(parts) == 0:
        return 1.0 if difference == 0 else 0.0
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (a, b), strict=True)
    )
    return _two_sided(difference / math.sqrt(sum(parts)), freedom)


def _two_sided(t: float, freedom: float) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))


def tie(a: Mapping[int, float], b: Mapping[int, float], alpha: float = 0.05) -> bool:
    """Whether two rows cannot be told apart at the level `alpha`; both map a seed to a value.

    The test is paired over the common seeds; with fewer than two of those it is Welch's t-test; and
    where a row has a single value there is no test, and only equal means tie.
    """
    comparison = paired(a, b)
    p = comparison.p if comparison.p is not None else _welch(list(a.values()), list(b.values()))
    if p is None:
        return _mean(list(a.values())) == _mean(list(b.values()))
    return p >= alpha


def rank(rows: Sequence[Mapping[int, float]], better: Better, alpha: float = 0.05) -> list[int]:
    """The rank of each row, 1 for the best; each row maps a seed to a value, at least one.

    Rows are taken in the order of their means. A row that ties with the first of the current group
    joins it; the first that does not opens the next group, whose rank is its position. (A tie is
    not transitive: the group's first row decides, so a rank never contradicts the means.)
    """
    if any(not row for row in rows):
        raise UsageError("a row without values cannot be ranked", expected="one value per seed")
    for row in rows:
        _check(list(row.values()), 0.95)
    means = [_mean(list(row.values())) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: -means[i] if better == "higher" else means[i])
    ranks = [0] * len(rows)
    first = -1
    for position, i in enumerate(order):
        if first < 0 or not tie(rows[first], rows[i], alpha):
            first = i
            ranks[i] = position + 1
        else:
            ranks[i] = ranks[first]
    return ranks


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _check(values: Sequence[float], level: float) -> None:
    if not values:
        raise UsageError("an interval over no values", expected="at least one value")
    for value in values:
        if not math.isfinite(value):
            raise UsageError(f"an interval over the value {value}", expected="finite values")
    if not 0 < level < 1:
        raise UsageError(f"a confidence level of {level}", expected="a number between 0 and 1, such as 0.95")
