"""All pairs at once against one pair at a time, and against scipy's tests."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from ebbench.board import across, pairwise, stats


def rows_of(random: np.random.Generator, k: int) -> list[dict[int, float]]:
    """Rows of one to seven seeds each, which share some, all or none of them."""
    made = []
    for i in range(k):
        seeds = random.choice(12, size=random.integers(1, 8), replace=False)
        values = random.normal(i % 3, 1, len(seeds))
        made.append(dict(zip(seeds.tolist(), values.tolist(), strict=True)))
    return made


def test_each_pair_is_scipy_s_test():
    rows = rows_of(np.random.default_rng(0), 40)
    p = pairwise.p_values(rows)
    met = {"paired": 0, "Welch": 0, "none": 0}
    for i, j in itertools.combinations(range(len(rows)), 2):
        a, b = rows[i], rows[j]
        common = sorted(a.keys() & b.keys())
        if len(common) > 1:
            expected = scipy.stats.ttest_rel([a[s] for s in common], [b[s] for s in common]).pvalue
            met["paired"] += 1
        elif min(len(a), len(b)) > 1:
            expected = scipy.stats.ttest_ind(list(a.values()), list(b.values()), equal_var=False).pvalue
            met["Welch"] += 1
        else:
            expected = math.nan
            met["none"] += 1
        assert p[i, j] == pytest.approx(expected, rel=1e-9, nan_ok=True)
        assert p[j, i] == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert min(met.values()) > 20


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_each_pair_is_the_test_of_two_rows_whatever_the_size_of_its_numbers(scale):
    rows = [
        {seed: value * scale for seed, value in row.items()} for row in rows_of(np.random.default_rng(1), 20)
    ]
    # Beside rows of another size, and rows that do not spread.
    rows += [{0: 1.0, 1: 2.0, 2: 4.0}, {0: 0.0, 1: 0.0}, {7: 0.0, 8: 0.0}, {0: scale, 1: scale, 5: scale}]
    p = pairwise.p_values(rows)
    for i, j in itertools.combinations(range(len(rows)), 2):
        one = stats.p_value(rows[i], rows[j])
        assert p[i, j] == pytest.approx(math.nan if one is None else one, rel=1e-9, abs=1e-12, nan_ok=True)


def test_holm_is_that_of_a_list():
    p = np.random.default_rng(2).random(300).round(2)
    assert pairwise.holm(p).tolist() == stats.holm(p.tolist())


@pytest.mark.medium
@pytest.mark.parametrize("sets", [7, 13, 20, 57])
def test_wilcoxon_of_many_pairs_is_scipy_s_of_each(sets):
    """Ties and zeros in some pairs leave the exact test of the others alone."""
    random = np.random.default_rng(sets)
    table = random.normal(0, 1, (8, sets))
    table[3:6] = table[3:6].round(1)
    table[6] = table[7]
    columns = [str(j) for j in range(sets)]
    named = {f"m{i}": dict(zip(columns, row.tolist(), strict=True)) for i, row in enumerate(table)}
    found = across.compared("auprc", "higher", named)
    assert len(found.pairs) == 28
    for pair in found.pairs:
        gaps = np.array(list(named[pair.a].values())) - np.array(list(named[pair.b].values()))
        gaps[np.abs(gaps) < 1e-13] = 0.0
        expected = scipy.stats.wilcoxon(gaps, zero_method="zsplit").pvalue if gaps.any() else 1.0
        assert pair.p == expected
        assert (pair.wins, pair.ties, pair.losses) == (
            (gaps > 0).sum(),
            (gaps == 0).sum(),
            (gaps < 0).sum(),
        )
