"""Methods over many data sets: Demsar's own example, brute force, and what cannot be tested."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats

import boards
from ebbench.board import across
from ebbench.contract import Metric

# Demsar (2006), table 6: areas under the ROC curve of four decision trees on fourteen data sets. The last but
# one has "cf" before "m+cf" there (ranks 2 and 3), by less than the three decimals that are printed.
TREES = {
    "c45": [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.0, 0.940, 0.619, 0.972, 0.957],
    "m": [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.0, 0.962, 0.666, 0.981, 0.978],
    "cf": [0.771, 0.590, 0.968, 0.654, 0.886, 0.916, 0.609, 0.563, 0.866, 1.0, 0.965, 0.614, 0.9751, 0.946],
    "m+cf": [0.798, 0.569, 0.967, 0.657, 0.898, 0.931, 0.685, 0.625, 0.875, 1.0, 0.962, 0.669, 0.975, 0.970],
}


def named(table) -> dict[str, dict[str, float]]:
    return {name: {f"set{j}": value for j, value in enumerate(row)} for name, row in table.items()}


def test_the_paper_s_own_example():
    found = across.compared("auc", "higher", named(TREES))
    ranks = dict(zip(found.methods, found.ranks, strict=True))
    # As printed, to its three decimals.
    assert ranks == pytest.approx({"c45": 3.143, "m": 2.000, "cf": 2.893, "m+cf": 1.964}, abs=5e-4)
    # Printed as 1.25, from a table of q to three decimals.
    assert found.critical == pytest.approx(1.25, abs=0.005)
    assert found.methods == ["m+cf", "m", "cf", "c45"]
    # Printed without a correction for ties as F(3, 39) = 3.69.
    assert 0 < found.friedman < scipy.stats.f.sf(3.69, 3, 39) + 1e-3 < 0.05


def test_nemenyi_s_groups_are_the_longest_runs_within_the_critical_difference():
    found = across.compared("auc", "higher", named(TREES))
    # 3.143 - 1.964 = 1.179 is below 1.25.
    assert found.alike == [(0, 3)]
    rng = np.random.default_rng(0)
    table = {f"m{i}": list(rng.normal(i, 1.5, 30)) for i in range(6)}
    found = across.compared("x", "lower", named(table))
    k = len(found.ranks)
    alike = {
        (i, j) for i in range(k) for j in range(i + 1, k) if found.ranks[j] - found.ranks[i] < found.critical
    }
    inside = {(i, j) for a, b in found.alike for i in range(a, b + 1) for j in range(i + 1, b + 1)}
    assert inside == alike and 1 < len(found.alike) < k
    for a, b in found.alike:
        assert not any(c <= a and b <= d for c, d in found.alike if (c, d) != (a, b))


def test_pairs_are_wilcoxon_s_with_holm_s_correction():
    rng = np.random.default_rng(1)
    table = {name: list(rng.normal(shift, 1, 12)) for name, shift in (("a", 0), ("b", 0.2), ("c", 2))}
    found = across.compared("x", "higher", named(table))
    raw = {}
    for pair in found.pairs:
        one, other = np.array(table[pair.a]), np.array(table[pair.b])
        assert pair.p == pytest.approx(scipy.stats.wilcoxon(one, other).pvalue)
        assert (pair.wins, pair.losses, pair.ties) == ((one > other).sum(), (one < other).sum(), 0)
        assert pair.difference == pytest.approx(np.median(one - other))
        raw[pair.a, pair.b] = pair.p
    least, *_ = sorted(found.pairs, key=lambda pair: pair.p)
    assert least.adjusted == pytest.approx(min(1, 3 * least.p))


def test_lower_is_better_turns_the_ranks():
    up = across.compared("x", "higher", named(TREES))
    down = across.compared("x", "lower", named(TREES))
    for name in TREES:
        assert up.ranks[up.methods.index(name)] + down.ranks[down.methods.index(name)] == pytest.approx(5)
    assert {(p.wins, p.losses) for p in up.pairs if {p.a, p.b} == {"c45", "cf"}} <= {
        (p.wins, p.losses) for p in down.pairs if {p.a, p.b} == {"c45", "cf"}
    } | {(p.losses, p.wins) for p in down.pairs if {p.a, p.b} == {"c45", "cf"}}


def test_methods_that_are_the_same_everywhere_are_not_told_apart():
    same = [0.1, 0.2, 0.3, 0.4, 0.5]
    found = across.compared("x", "higher", named({"a": same, "b": same, "c": same}))
    assert found.ranks == [2, 2, 2] and found.friedman == 1.0
    assert all(pair.p == 1 and pair.ties == 5 and not pair.apart for pair in found.pairs)
    assert found.alike == [(0, 2)]


def test_one_order_on_every_set_leaves_no_doubt():
    base = np.linspace(0, 1, 8)
    found = across.compared("x", "higher", named({"a": list(base), "b": list(base + 1), "c": list(base + 2)}))
    assert found.ranks == [1, 2, 3] and found.friedman == 0.0


@pytest.mark.parametrize("table", [{"a": [1.0] * 9}, {"a": [1.0] * 4, "b": [2.0] * 4}])
def test_too_few_methods_or_sets_are_no_comparison(table):
    assert across.compared("x", "higher", named(table)) is None


def test_only_the_sets_that_all_have_count():
    table = named({"a": [1, 2, 3, 4, 5, 6], "b": [2, 3, 4, 5, 6, 7]})
    del table["b"]["set2"]
    assert across.compared("x", "higher", table).sets == ["set0", "set1", "set3", "set4", "set5"]


def test_many_methods_are_said_by_whom_they_beat():
    rng = np.random.default_rng(0)
    base = rng.normal(0, 1, 40)
    # Three good ones alike but for noise, three bad ones far below.
    table = {f"m{i}": list(base - 5 * (i >= 3) + rng.normal(0, 0.1, 40)) for i in range(6)}
    found = across.compared("x", "higher", named(table))
    lines = across.in_words("here", found)
    pairs = [line.split(" is better than ") for line in lines if " is better than " in line]
    said = {name.strip(): sorted(worse.split(", ")) for name, worse in pairs}
    for name in ("m0", "m1", "m2"):
        assert {"m3", "m4", "m5"} <= set(said[name])
    assert not {"m0", "m1", "m2"} & {worse for name in ("m3", "m4", "m5") for worse in said.get(name, [])}
    assert "15 pairs" in lines[-1]


def test_few_methods_are_said_pair_by_pair():
    lines = across.in_words("here", across.compared("auc", "higher", named(TREES)))
    assert sum(" is better than " in line for line in lines) == 6


def test_two_rows_of_one_label_both_count():
    metric = Metric(name="auc", unit="", better="higher", doc="", primary=True)
    rows = [boards.row("auc", "m", 0.5, runs=[score], score=score) for score in ("energy", "other")]
    rows.append(boards.row("auc", "n", 0.5))
    values = {"energy": TREES["m"], "other": TREES["c45"], "n0": TREES["cf"]}
    results = {run: SimpleNamespace(parts=parts(table)) for run, table in values.items()}
    found = across.of_rows(rows, results, metric)
    assert dict(zip(found.methods, found.values, strict=True)) == {
        "m by energy": TREES["m"],
        "m by other": TREES["c45"],
        "n": TREES["cf"],
    }


def parts(table) -> list[SimpleNamespace]:
    return [SimpleNamespace(name=f"set{j}", metrics={"auc": value}) for j, value in enumerate(table)]
