"""The matrix of the home page: methods against tasks, each by its primary metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ebbench.site import charts, views

from ebbench.board import labels
from ebbench.board.row import Row
from ebbench.board.tiers import TIERS, Tier
from ebbench.contract import Metric


@dataclass(frozen=True)
class MatrixCell:
    """A method on a task: the primary metric, the rank, and 0 (trivial) to 1 (the best there is).

    `code` says what its code is, where a run of today would not be by it.
    """

    text: str
    rank: str
    heat: float
    code: str


@dataclass(frozen=True)
class MatrixRow:
    """A row of the home page's matrix; `tier` is the least that its cells have."""

    label: str
    method: str
    control: bool
    tier: Tier
    cells: Sequence[MatrixCell | None] = field(default_factory=list)


def rows(tasks: Sequence[views.TaskView], all_methods: Sequence[views.MethodView]) -> list[MatrixRow]:
    """Methods (with their variants and samplers) against tasks, by each task's headline group."""
    found: dict[tuple[bool, str], MatrixRow] = {}
    columns = [task.headline for task in tasks]
    for column, (task, group) in enumerate(zip(tasks, columns, strict=True)):
        if not group:
            continue
        metric = metric_of(task)
        heat = _heat(group, metric)
        for row in group:
            if metric.name not in row.metrics:
                continue
            key = (row.kind == "control", charts.called(row, group))
            made = found.setdefault(
                key,
                MatrixRow(key[1], row.model, row.kind == "control", row.tier, [None] * len(tasks)),
            )
            cells = list(made.cells)
            cells[column] = MatrixCell(
                text=views.spelled(row.metrics[metric.name]),
                rank="" if row.rank is None else f"rank {labels.place(row, group)}",
                heat=heat(row.metrics[metric.name].interval.mean),
                code=views.code(row),
            )
            tier = min(made.tier, row.tier, key=TIERS.index)
            found[key] = MatrixRow(made.label, made.method, made.control, tier, cells)
    order = {method.name: i for i, method in enumerate(all_methods)}
    return sorted(
        found.values(),
        key=lambda r: (r.control, -sum(c is not None for c in r.cells), order.get(r.method, 0), r.label),
    )


def metric_of(task: views.TaskView) -> Metric:
    """The metric that the matrix shows of a task with rows: the first primary one that tells models apart."""
    shown = labels.scored(task.headline, task.primary)
    primary = [metric for metric in shown if metric.better != "neither"] or shown
    return primary[-1] if _flat(task.headline, primary[0]) else primary[0]


def _flat(group: Sequence[Row], metric: Metric) -> bool:
    """Whether the best of a metric is reached by several models: it decides nothing then."""
    means = [
        row.metrics[metric.name].interval.mean
        for row in group
        if row.kind == "model" and metric.name in row.metrics
    ]
    return len(means) > 1 and len(set(means)) == 1


def _heat(group: Sequence[Row], metric: Metric) -> Any:
    """0 at the worst control of the group, 1 at the best row."""
    means = [row.metrics[metric.name].interval.mean for row in group if metric.name in row.metrics]
    trivial = [
        row.metrics[metric.name].interval.mean
        for row in group
        if row.kind == "control" and metric.name in row.metrics
    ] or means
    sign = -1 if metric.better == "lower" else 1
    # As in the charts: what spans decades is coloured by its logarithm.
    floor = min((v for v in means if v > 0), default=0.0)
    decades = charts.spans_decades(metric, means)

    def scaled(value: float) -> float:
        return math.log(max(value, floor)) if decades else value

    best = scaled(max(means, key=lambda v: sign * v))
    worst = scaled(min(trivial, key=lambda v: sign * v))

    def heat(value: float) -> float:
        if best == worst:
            return 0.0
        return round(min(1.0, max(0.0, (scaled(value) - worst) / (best - worst))), 3)

    return heat
