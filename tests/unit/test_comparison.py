"""Two sides of a comparison: tests, Holm's correction, verdicts."""

from __future__ import annotations

import pytest
from scipy import stats

from ebbench.board.compare import Side, compare
from ebbench.contract import Metric

KL = Metric(name="kl", unit="nats", better="lower", doc="", primary=True)
MODES = Metric(name="modes", unit="modes", better="higher", doc="")
FLOOR = Metric(name="floor", unit="nats", better="neither", doc="")


def of(label: str, **values: list[float]) -> Side:
    return Side(label, {name: dict(enumerate(column)) for name, column in values.items()})


def test_all_tests_of_one_comparison_are_a_family():
    a = of("a", kl=[1.0, 1.2, 0.9], modes=[10.0, 11.0, 10.5], floor=[1.0, 1.1, 1.3])
    b = of("b", kl=[2.0, 2.1, 2.0], modes=[9.0, 10.7, 9.5], floor=[1.0, 1.2, 1.1])
    found = compare([("g", a, b)], [KL, MODES, FLOOR])
    raw = [
        stats.ttest_rel(*(list(s.values[m].values()) for s in (a, b))).pvalue
        for m in ("kl", "modes", "floor")
    ]
    assert [one.p for one in found] == pytest.approx(raw)
    # Holm's own definition: the smallest p times three, the next times two, the last as it is, made monotone.
    order = sorted(range(3), key=raw.__getitem__)
    expected, least = [0.0] * 3, 0.0
    for k, i in enumerate(order):
        least = max(least, min(1.0, (3 - k) * raw[i]))
        expected[i] = least
    assert [one.adjusted for one in found] == pytest.approx(expected)
    assert found[0].verdict == "a" and found[2].verdict == "tie"


def test_what_cannot_be_tested_is_said():
    (one,) = compare([("g", of("a", kl=[1.0]), of("b", kl=[2.0]))], [KL])
    assert (one.p, one.adjusted, one.verdict, one.difference) == (None, None, "untested", -1.0)
    a, b = Side("a", {"kl": {0: 1.0, 1: 1.1}}), Side("b", {"kl": {5: 3.0, 6: 3.1}})
    (apart,) = compare([("g", a, b)], [KL])
    assert apart.seeds == [] and apart.difference == pytest.approx(-2.0)
    assert apart.p == pytest.approx(stats.ttest_ind([1.0, 1.1], [3.0, 3.1], equal_var=False).pvalue)
    low, high = stats.ttest_ind([1.0, 1.1], [3.0, 3.1], equal_var=False).confidence_interval()
    assert (apart.low, apart.high) == pytest.approx((low, high))
    assert apart.verdict == "a" and compare([("g", a, of("c", modes=[1.0]))], [KL]) == []
