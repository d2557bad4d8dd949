"""Compares two rows, metric by metric and seed by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ebbench.board import stats
from ebbench.board.labels import label
from ebbench.board.ranking import by_seed
from ebbench.board.row import Row
from ebbench.contract import Metric


@dataclass(frozen=True)
class Side:
    """One side of a comparison: its label, and the values of each metric by seed."""

    label: str
    values: Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Compared:
    """One metric of both sides of a comparison.

    `difference` is a - b, and `low` and `high` are its 95 % interval: paired over the common `seeds`; with
    fewer than two of them that of the means, by Welch. `low` and `high` are None if a side then has a single
    value. `p` is None without a test; `adjusted` is p after Holm's correction over all metrics compared in
    one call. `verdict` is the label of the better side, "tie", "untested", or "" if neither direction is
    better.
    """

    group: str
    metric: str
    a: str
    b: str
    mean_a: float
    mean_b: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    seeds: list[int]
    verdict: str

    def as_json(self) -> dict[str, Any]:
        """As JSON values, one key per field."""
        return dict(vars(self))


def side(row: Row) -> Side:
    """A row of a table as one side of a comparison."""
    return Side(label(row), {name: by_seed(row, name) for name in row.metrics})


def compare(pairs: Iterable[tuple[str, Side, Side]], metrics: Sequence[Metric]) -> list[Compared]:
    """Compare every metric that both sides of a pair have; each pair comes with its group's title.

    All tests of one call are one family: their p-values are adjusted by Holm's method.
    """
    asked = [
        (title, one, other, metric)
        for title, one, other in pairs
        for metric in metrics
        if one.values.get(metric.name) and other.values.get(metric.name)
    ]
    tested = [stats.p_value(one.values[m.name], other.values[m.name]) for _, one, other, m in asked]
    adjusted = iter(stats.holm([p for p in tested if p is not None]))
    return [
        _compared(*words, p, next(adjusted) if p is not None else None)
        for words, p in zip(asked, tested, strict=True)
    ]


def _compared(
    title: str, one: Side, other: Side, metric: Metric, p: float | None, adjusted: float | None
) -> Compared:
    ours, theirs = one.values[metric.name], other.values[metric.name]
    difference = stats.gap(ours, theirs)
    mean_a, mean_b = (stats.interval(list(values.values())).mean for values in (ours, theirs))
    if adjusted is None:
        verdict = "untested"
    elif adjusted >= stats.ALPHA:
        verdict = "tie"
    elif metric.better == "neither":
        verdict = ""
    else:
        verdict = (one if (mean_a > mean_b) == (metric.better == "higher") else other).label
    return Compared(
        group=title,
        metric=metric.name,
        a=one.label,
        b=other.label,
        mean_a=mean_a,
        mean_b=mean_b,
        difference=difference.mean,
        low=difference.low,
        high=difference.high,
        p=p,
        adjusted=adjusted,
        seeds=sorted(ours.keys() & theirs.keys()),
        verdict=verdict,
    )
