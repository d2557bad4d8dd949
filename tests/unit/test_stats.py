"""Statistics against scipy.stats, and by simulation against what they promise."""

import itertools
import math
import statistics
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from ebbench.board import stats
from ebbench.errors import UsageError

numbers = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_interval_is_scipy_s(n, level):
    values = np.random.default_rng(n).normal(3, 2, n)
    found = stats.interval(list(values), level)
    low, high = scipy.stats.t.interval(level, n - 1, loc=values.mean(), scale=scipy.stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)
    assert found.mean == pytest.approx(values.mean())
    assert found.half_width == pytest.approx((high - low) / 2)
    assert (found.n, found.level, found.method) == (n, level, "t")


def test_one_value_has_no_interval():
    found = stats.interval([7.0])
    assert (found.mean, found.low, found.high, found.n, found.half_width) == (7.0, None, None, 1, None)


def test_equal_values_have_an_interval_of_no_width():
    found = stats.interval([1000.0] * 5)
    assert (found.mean, found.low, found.high) == (1000.0, 1000.0, 1000.0)


def test_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0, 1, (4000, 5))
    covered = sum(found.low <= 0 <= found.high for found in (stats.interval(list(row)) for row in draws))
    # Four standard errors of a binomial share over 4,000 trials.
    assert covered / 4000 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf]])
def test_an_interval_needs_finite_values(values):
    with pytest.raises(UsageError):
        stats.interval(values)


@pytest.mark.parametrize("level", [0, 1, -1, 95, math.nan])
def test_a_level_lies_between_0_and_1(level):
    with pytest.raises(UsageError, match="level"):
        stats.interval([1.0, 2.0], level)


def test_paired_is_scipy_s_over_the_common_seeds():
    random = np.random.default_rng(5)
    a = {seed: float(random.normal(1, 1)) for seed in range(8)}
    b = {seed: float(random.normal(0, 1)) for seed in range(3, 12)}
    found = stats.paired(a, b)
    common = range(3, 8)
    expected = scipy.stats.ttest_rel([a[s] for s in common], [b[s] for s in common])
    assert found.p == pytest.approx(expected.pvalue, rel=1e-10)
    assert found.difference == pytest.approx(statistics.mean(a[s] - b[s] for s in common))
    assert found.n == 5


@given(shift=st.sampled_from([0.0, 0.1, 1e-9, -3.0]), values=st.lists(numbers, min_size=2, max_size=6))
def test_equal_differences_leave_no_doubt(shift, values):
    a = {i: value + shift for i, value in enumerate(values)}
    b = dict(enumerate(values))
    p = stats.paired(a, b).p
    if shift == 0:
        assert p == 1.0
    elif abs(shift) > 1e-7 * max(1.0, *map(abs, values)):
        assert p < 1e-4


def test_without_two_common_seeds_there_is_no_paired_test():
    assert stats.paired({0: 1.0}, {0: 2.0}).p is None
    found = stats.paired({0: 1.0}, {1: 2.0})
    assert (found.n, found.p) == (0, None)
    assert math.isnan(found.difference)


@pytest.mark.parametrize("t", [0.1, 1.0, 7.0])
def test_paired_is_the_closed_form_of_two_and_of_three_pairs(t):
    # Differences of mean m and standard deviation 1: t = m sqrt(n). One degree of freedom is Cauchy's law.
    mean = t / math.sqrt(2)
    found = stats.paired({0: mean - math.sqrt(0.5), 1: mean + math.sqrt(0.5)}, {0: 0.0, 1: 0.0})
    assert found.p == pytest.approx(1 - 2 / math.pi * math.atan(t))
    mean = t / math.sqrt(3)
    found = stats.paired({0: mean - 1, 1: mean, 2: mean + 1}, dict.fromkeys(range(3), 0.0))
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t))


def test_paired_is_near_every_exchange_of_signs():
    random = np.random.default_rng(8)
    differences = random.normal(0.6, 1, 12)
    signs = np.array(list(itertools.product([-1, 1], repeat=12)))
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
    found = stats.paired(dict(enumerate(differences)), dict.fromkeys(range(12), 0.0)).p
    assert 0.01 < exact < 0.5 and found == pytest.approx(exact, abs=0.01)


def test_rows_of_different_seeds_are_compared_by_welch():
    random = np.random.default_rng(6)
    for shift in (0.0, 1.0, 2.0):
        a, b = list(random.normal(0, 1, 6)), list(random.normal(shift, 3, 9))
        p = scipy.stats.ttest_ind(a, b, equal_var=False).pvalue
        assert stats.p_value(dict(enumerate(a)), dict(enumerate(b, start=100))) == pytest.approx(p)
    twos, threes = {0: 2.0, 1: 2.0}, {8: 3.0, 9: 3.0}
    assert stats.p_value(twos, {8: 2.0, 9: 2.0}) == 1.0
    assert stats.p_value(twos, threes) == 0.0
    # One of them never varies: one degree of freedom, t = 1 / sqrt(2 / 2).
    assert stats.p_value(twos, {8: 2.0, 9: 4.0}) == pytest.approx(0.5)


def test_the_interval_of_rows_of_different_seeds_is_welch_s():
    random = np.random.default_rng(7)
    for shift, n in ((0.0, 2), (1.0, 5), (2.0, 30)):
        a, b = list(random.normal(0, 1, n)), list(random.normal(shift, 3, n + 3))
        found = stats.welch_interval(a, b)
        expected = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval()
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
        assert found.mean == pytest.approx(np.mean(a) - np.mean(b)) and found.n == n
        large = stats.welch_interval([1e200 * x for x in a], [1e200 * x for x in b])
        assert large.half_width == pytest.approx(1e200 * found.half_width)
    assert stats.welch_interval([1.0], [2.0, 3.0]).low is None
    same = stats.welch_interval([2.0, 2.0], [3.0, 3.0])
    assert (same.mean, same.low, same.high) == (-1.0, -1.0, -1.0)
    assert stats.welch_interval([2.0, 2.0], [2.0, 4.0]).low < -1.0
    # It holds the truth as often as it says, also where spreads and numbers of runs differ.
    held = 0
    for _ in range(2000):
        one = stats.welch_interval(list(random.normal(0, 1, 4)), list(random.normal(0, 5, 9)))
        held += one.low <= 0 <= one.high
    assert 0.93 < held / 2000 < 0.97


@pytest.mark.parametrize("scale", [1e299, 1e-299, 5e-324])
def test_no_size_of_numbers_fells_a_test(scale):
    small = {seed: value * 1e5 for seed, value in enumerate([1.0, 2.0, 4.0])}
    other = {seed: value * 1e5 for seed, value in enumerate([2.0, 5.0, 4.5])}

    def times(row, start=0):
        return {seed + start: value * 1e-5 * scale for seed, value in row.items()}

    if scale > 1e-300:
        assert stats.p_value(times(small), times(other)) == pytest.approx(stats.p_value(small, other))
        apart = times(other, start=5)
        assert stats.p_value(times(small), apart) == pytest.approx(
            stats.p_value(small, {seed + 5: value for seed, value in other.items()})
        )
    assert stats.rank([times(small), times(other)], "lower") == [1, 1]
    found = stats.interval(list(times(small).values()))
    assert math.isfinite(found.low) and math.isfinite(found.high)


def tie(a, b):
    return stats.p_value(a, b) >= stats.ALPHA


def test_pairing_finds_what_the_spread_over_seeds_hides():
    seeds = {0: 0.0, 1: 10.0, 2: -7.0, 3: 3.0, 4: 22.0}
    worse = {seed: value + 0.5 + 0.01 * seed for seed, value in seeds.items()}
    assert not tie(seeds, worse)
    assert tie(seeds, {seed + 100: value for seed, value in worse.items()})


def test_a_true_tie_is_split_as_rarely_as_alpha_says():
    draws = np.random.default_rng(7).normal(0, 1, (1000, 2, 5))
    split = sum(not tie(dict(enumerate(a)), dict(enumerate(b))) for a, b in draws) / len(draws)
    assert split == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / len(draws)))


def test_holm_steps_down():
    assert stats.holm([]) == []
    assert stats.holm([0.2]) == [0.2]
    # 4 x 0.01; 3 x 0.02; 2 x 0.03, no less than the one before; 1 x 0.8.
    assert stats.holm([0.8, 0.01, 0.03, 0.02]) == pytest.approx([0.8, 0.04, 0.06, 0.06])
    assert stats.holm([0.6, 0.9]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=6), st.floats(0.001, 0.5))
def test_holm_rejects_what_its_definition_rejects(p_values, alpha):
    rejected = set()
    for position, (p, i) in enumerate(sorted((p, i) for i, p in enumerate(p_values))):
        if (len(p_values) - position) * p >= alpha:
            break
        rejected.add(i)
    assert {i for i, p in enumerate(stats.holm(p_values)) if p < alpha} == rejected


def row(*values):
    return dict(enumerate(values))


def test_ties_share_a_rank_and_the_next_one_counts_them():
    best, same, worst = row(1.0, 1.1, 0.9), row(1.05, 0.98, 1.0), row(5.0, 5.1, 5.2)
    assert stats.rank([worst, best, same], "lower") == [3, 1, 1]
    assert stats.rank([worst, best, same], "higher") == [1, 2, 2]


def test_many_equal_rows_are_split_as_rarely_as_alpha_says():
    draws = np.random.default_rng(9).normal(0, 1, (200, 6, 5))
    split = sum(set(stats.rank([row(*values) for values in one], "lower")) != {1} for one in draws)
    # Without a correction it is about a third of them.
    assert split / len(draws) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / len(draws))


def test_a_rank_is_the_test_of_every_pair():
    random = np.random.default_rng(10)
    rows = [row(*random.normal(i, 0.6, 4)) for i in range(5)]
    pairs = list(itertools.combinations(range(5), 2))
    p_values = [scipy.stats.ttest_rel(*(list(rows[i].values()) for i in pair)).pvalue for pair in pairs]
    apart = {pair: p < 0.05 for pair, p in zip(pairs, stats.holm(p_values), strict=True)}
    order = sorted(range(5), key=lambda i: statistics.mean(rows[i].values()))
    expected, group = {}, []
    for position, i in enumerate(order):
        if not group or any(apart[min(other, i), max(other, i)] for other in group):
            group, place = [], position + 1
        group.append(i)
        expected[i] = place
    assert stats.rank(rows, "lower") == [expected[i] for i in range(5)]
    assert len(set(expected.values())) > 1 and len(set(expected.values())) < 5


def test_rows_of_one_rank_are_told_apart_by_no_test():
    # The best mean is of few and scattered seeds, so that no test tells it from any other row.
    top = {0: 0.96, 1: 0.91}
    others = [row(*(height + 0.001 * i for i in range(5))) for height in (0.9, 0.6, 0.3)]
    ranks = stats.rank([top, *others], "higher")
    assert all(stats.p_value(top, other) > 0.01 for other in others)
    assert ranks == [1, 1, 3, 4]


def test_single_values_rank_by_value_and_tie_when_equal():
    assert stats.rank([row(3.0), row(1.0), row(3.0)], "higher") == [1, 3, 1]
    assert stats.rank([row(3.0), row(1.0), row(3.0)], "lower") == [2, 1, 2]


def test_a_single_row_and_none():
    assert stats.rank([row(3.0)], "lower") == [1]
    assert stats.rank([], "lower") == []


def test_a_row_without_values_cannot_be_ranked():
    with pytest.raises(UsageError, match="without values"):
        stats.rank([row(1.0), {}], "lower")


@given(
    rows=st.lists(st.dictionaries(st.integers(0, 4), numbers, min_size=1, max_size=5), max_size=6),
    better=st.sampled_from(["higher", "lower"]),
)
def test_ranks_never_contradict_the_means(rows, better):
    ranks = stats.rank(rows, better)
    means = [math.fsum(r.values()) / len(r) for r in rows]
    for i, j in ((i, j) for i in range(len(rows)) for j in range(len(rows))):
        if ranks[i] < ranks[j]:
            assert means[i] <= means[j] if better == "lower" else means[i] >= means[j]
    for found in set(ranks):
        # Competition ranking: as many rows are strictly better as the rank says.
        assert sum(other < found for other in ranks) == found - 1


def test_importing_stats_loads_no_scipy():
    code = "import sys, ebbench.board.stats; print({'scipy', 'numpy', 'torch'} & set(sys.modules))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert made.stdout.strip() == "set()"
