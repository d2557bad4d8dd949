"""Intervals over seeds, comparisons of two rows, and ranks with ties.

scipy is imported inside the functions, so that only callers who need an interval or a test pay for it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ebbench.errors import UsageError

Better = Literal["higher", "lower"]

# Significance level of the tests.
ALPHA = 0.05


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; `low` and `high` are None if n is too small for one."""

    mean: float
    low: float | None
    high: float | None
    n: int
    level: float
    method: str

    @property
    def half_width(self) -> float | None:
        """Half the interval's width, the number after "±"; None without an interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


@dataclass(frozen=True)
class Comparison:
    """The mean difference a - b over n pairs, and its two-sided p-value (None for n < 2)."""

    difference: float
    p: float | None
    n: int


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's t interval of the mean over independent runs (seeds).

    It assumes roughly normally distributed runs. A single value has no interval. Raises UsageError for no
    values, for values that are not finite, and for a level outside (0, 1).
    """
    _check(values, level)
    n, mean = len(values), _mean(values)
    if n == 1:
        return Interval(mean, None, None, n, level, "t")
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, (1 + level) / 2)) * statistics.stdev(values) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, level, "t")


def prediction(values: Sequence[float], further: int, level: float = 0.95) -> Interval:
    """Prediction interval for the mean of `further` more runs, from the given runs (Student's t).

    Assumptions and errors are those of `interval`. A single value has no interval.
    """
    _check(values, level)
    n, mean = len(values), _mean(values)
    if n == 1:
        return Interval(mean, None, None, n, level, "t, prediction")
    from scipy.special import stdtrit

    spread = statistics.stdev(values) * math.sqrt(1 / n + 1 / further)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * spread
    return Interval(mean, mean - half, mean + half, n, level, "t, prediction")


def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Comparison:
    """The paired t-test of a - b over common seeds; both map a seed to a value.

    Pairing removes a seed's effect on both rows. For differences that are all equal, p is 1 if they are zero,
    else 0.
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
    ours, theirs = _scaled([a[seed] for seed in seeds], [b[seed] for seed in seeds])
    differences = [x - y for x, y in zip(ours, theirs, strict=True)]
    # Equal differences still vary by rounding, about 1e-16 of the subtracted values.
    noise = 1e-14 * max(map(abs, [*ours, *theirs]))
    if statistics.stdev(differences) <= noise:
        return Comparison(mean, 1.0 if abs(_mean(differences)) <= noise else 0.0, n)
    from scipy.stats import ttest_rel

    return Comparison(mean, float(ttest_rel(ours, theirs).pvalue), n)


def p_value(a: Mapping[int, float], b: Mapping[int, float]) -> float | None:
    """The two-sided p-value of two rows; both map a seed to a value.

    The test is paired over common seeds; with fewer than two of them it is Welch's t-test. If a row has a
    single value there is no test: None.
    """
    found = paired(a, b)
    return found.p if found.p is not None else _welch(list(a.values()), list(b.values()))


def gap(a: Mapping[int, float], b: Mapping[int, float]) -> Interval:
    """The difference a - b with its 95 % interval, for the same test as `p_value`.

    Both map a seed to a value. It is paired over common seeds; with fewer than two of them it is that of the
    means, by Welch.
    """
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) > 1:
        return interval([a[seed] - b[seed] for seed in seeds])
    return welch_interval(list(a.values()), list(b.values()))


def _welch(a: Sequence[float], b: Sequence[float]) -> float | None:
    # Rows without common seeds (someone else's runs) cannot be paired.
    if len(a) < 2 or len(b) < 2:
        return None
    a, b = _scaled(a, b)
    means, spreads = (_mean(a), _mean(b)), (statistics.stdev(a), statistics.stdev(b))
    noise = 1e-14 * max(map(abs, [*a, *b]))
    if max(spreads) <= noise:
        return 1.0 if abs(means[0] - means[1]) <= noise else 0.0
    # Not `ttest_ind`, which warns if all values are equal, as counts often are.
    from scipy.stats import ttest_ind_from_stats

    found = ttest_ind_from_stats(means[0], spreads[0], len(a), means[1], spreads[1], len(b), equal_var=False)
    return float(found.pvalue)


def welch_interval(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Interval:
    """The difference of two means, a - b, over runs without common seeds, with Welch's interval.

    Variances may differ; degrees of freedom follow Welch and Satterthwaite. `n` is that of the smaller set.
    If one set has a single value there is no interval. Raises UsageError as `interval` does.
    """
    _check(a, level)
    _check(b, level)
    difference, n = _mean(a) - _mean(b), min(len(a), len(b))
    if n < 2:
        return Interval(difference, None, None, n, level, "t, Welch")
    # In terms of each variance's share of the total, so that no square overflows.
    errors = [statistics.stdev(values) / math.sqrt(len(values)) for values in (a, b)]
    error = math.hypot(*errors)
    if error == 0:
        return Interval(difference, difference, difference, n, level, "t, Welch")
    from scipy.special import stdtrit

    shares = [(one / error) ** 4 / (len(values) - 1) for one, values in zip(errors, (a, b), strict=True)]
    half = float(stdtrit(1 / math.fsum(shares), (1 + level) / 2)) * error
    return Interval(difference, difference - half, difference + half, n, level, "t, Welch")


def share(successes: int, n: int, level: float = 0.95) -> Interval:
    """The share of successes in n independent trials, with Wilson's score interval (Wilson 1927).

    Raises UsageError for no trials, and unless successes are a count from 0 to n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise UsageError(f"a share of {successes} among {n} is impossible", expected="0 to n, and n above 0")
    from scipy.stats import binomtest

    found = binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(successes / n, float(found.low), float(found.high), n, level, "Wilson")


def share_difference(a: tuple[int, int], b: tuple[int, int], level: float = 0.95) -> Interval:
    """The difference of two independent shares, a - b, each (successes, n), with Newcombe's interval.

    Computed from the two Wilson intervals (Newcombe 1998, method 10). `n` is the smaller one. Raises as
    `share` does.
    """
    one, other = share(*a, level), share(*b, level)
    difference = one.mean - other.mean
    down = math.hypot(one.mean - (one.low or 0.0), (other.high or 0.0) - other.mean)
    up = math.hypot((one.high or 0.0) - one.mean, other.mean - (other.low or 0.0))
    return Interval(difference, difference - down, difference + up, min(one.n, other.n), level, "Newcombe")


def _scaled(a: Sequence[float], b: Sequence[float]) -> tuple[list[float], list[float]]:
    """Both rows, exactly scaled by one power of two: t-tests are unchanged, and no square overflows."""
    _, exponent = math.frexp(max(map(abs, [*a, *b])))
    return [math.ldexp(x, -exponent) for x in a], [math.ldexp(x, -exponent) for x in b]


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of one family of tests, adjusted by Holm's step-down method, in the given order.

    If tests with an adjusted p below alpha count as findings, the probability of any false finding in the
    family is at most alpha, whatever the dependence between the tests (Holm 1979).
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for position, i in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - position) * p_values[i]))
        adjusted[i] = least
    return adjusted


def rank(rows: Sequence[Mapping[int, float]], better: Better, alpha: float = ALPHA) -> list[int]:
    """The rank of each row, 1 for the best; each row maps a seed to a value, at least one.

    Every pair of rows is one test (`p_value`) of a family of k (k - 1) / 2 tests, whose p-values are adjusted
    by Holm's method. Two rows tie if the adjusted p is at least `alpha`. A pair without a test, because a row
    has a single value, is not part of the family and ties if the means are equal.

    Rows are processed in the order of their means. A row that ties with every row of the current group joins
    it. Otherwise it opens a new group, whose rank is its position. So ranks never contradict means, and no
    test tells rows of one rank apart. (Ties are not transitive: rows of different ranks may tie too. If the
    group's first row alone decided, one row of few and scattered seeds at the top would tie with all.)
    """
    if any(not row for row in rows):
        raise UsageError("a row without values cannot be ranked", expected="one value per seed")
    for row in rows:
        _check(list(row.values()), 0.95)
    means = [_mean(list(row.values())) for row in rows]
    apart, tested = _told_apart(rows, alpha)
    order = sorted(range(len(rows)), key=lambda i: -means[i] if better == "higher" else means[i])
    ranks = [0] * len(rows)
    group: list[int] = []
    for position, i in enumerate(order):
        if any(apart[j, i] if tested[j, i] else means[j] != means[i] for j in group):
            group = []
        group.append(i)
        ranks[i] = position + 2 - len(group)
    return ranks


def _told_apart(rows: Sequence[Mapping[int, float]], alpha: float) -> tuple[Any, Any]:
    """For each pair of rows whether they differ, and whether there is a test: two (k, k) arrays."""
    import numpy as np

    from ebbench.board import pairwise

    p = pairwise.p_values(rows)
    tested = np.isfinite(p)
    family = np.triu(tested)
    apart = np.zeros_like(tested)
    apart[family] = pairwise.holm(p[family]) < alpha
    return apart | apart.T, tested


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _check(values: Sequence[float], level: float) -> None:
    if not values:
        raise UsageError("cannot compute an interval: there are no values", expected="at least one value")
    for value in values:
        if not math.isfinite(value):
            raise UsageError(f"cannot compute an interval over the value {value}", expected="finite values")
    if not 0 < level < 1:
        raise UsageError(f"the confidence level is {level}", expected="between 0 and 1, such as 0.95")
