"""The matrix of the home page: methods against tasks, each by its primary metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ebbench.site import charts, views, wording

from ebbench.board import labels, ranking
from ebbench.board.row import Row
from ebbench.board.tiers import TIERS, Tier
from ebbench.contract import Metric

# With fewer seeds a test that is corrected for all pairs hardly ever shows a difference.
ENOUGH = 4
# What a method without a capability lacks, in words.
_LACKS = {
    "sample": "draws no samples",
    "energy": "gives no energy",
    "log_likelihood_bound": "gives no bound of the likelihood",
    "classify": "classifies nothing",
}


@dataclass(frozen=True)
class MatrixCell:
    """A row on one task: its primary metric, its rank, and its `heat` from 0 (worst control) to 1 (best row).

    `by` is the row's configuration, or "" for the plain one. `few` is the number of seeds if it is too small
    for most tests to show a difference, else 0. `code` says which code made the row, or is "" if
    this checkout would make the same row.
    """

    mean: str
    spread: str
    rank: str
    heat: float
    by: str
    code: str
    few: int = 0


@dataclass(frozen=True)
class MatrixLine:
    """One configuration on every task. A cell is None where the configuration was not run."""

    label: str
    control: bool
    tier: Tier
    cells: Sequence[MatrixCell | None]


@dataclass(frozen=True)
class MatrixRow:
    """One method: its best configuration on each task (`cells`) and all of its configurations (`variants`).

    `tier` is the lowest tier of the cells. For each task without a cell, `elsewhere` says at which
    settings the method was run instead, or is "", and `lacks` says why it cannot be run, or is "".
    """

    method: str
    title: str
    control: bool
    tier: Tier
    cells: Sequence[MatrixCell | None]
    variants: Sequence[MatrixLine] = field(default_factory=list)
    elsewhere: Sequence[str] = ()
    lacks: Sequence[str] = ()


def rows(tasks: Sequence[views.TaskView], all_methods: Sequence[views.MethodView]) -> list[MatrixRow]:
    """One row per method, from each task's headline group: methods on most tasks first, controls last."""
    made = []
    for method in all_methods:
        found = [[row for row in task.headline if row.model == method.name] for task in tasks]
        able = [
            [row for row in group if metric_of(task).name in row.metrics]
            for task, group in zip(tasks, found, strict=True)
        ]
        # An untrained net is a control, and no configuration of its method.
        own = [[row for row in group if method.control or row.kind == "model"] for group in able]
        if any(able):
            made.append(_row(method, tasks, own if any(own) else able, able))
    return sorted(made, key=lambda row: (row.control, -_count(row.cells), _places(row.cells), row.title))


def _row(
    method: views.MethodView,
    tasks: Sequence[views.TaskView],
    own: Sequence[Sequence[Row]],
    able: Sequence[Sequence[Row]],
) -> MatrixRow:
    firsts = [group[0] if group else None for group in own]
    lines: dict[tuple[bool, str], list[Row | None]] = {}
    for column, group in enumerate(able):
        for row in group:
            key = (row.kind == "control", _called(row, group))
            lines.setdefault(key, [None] * len(tasks))[column] = row
    variants = [
        MatrixLine(label or "default settings", control, _tier(held), _cells(tasks, held))
        for (control, label), held in sorted(lines.items(), key=lambda item: item[0])
    ]
    cells = _cells(tasks, firsts, named=True)
    control = method.control or not any(row and row.kind == "model" for row in firsts)
    return MatrixRow(
        method.name,
        method.title,
        control,
        _tier(firsts),
        cells,
        variants if len(variants) > 1 else [],
        ["" if cell else elsewhere(task, method.name) for cell, task in zip(cells, tasks, strict=True)],
        ["" if cell else lacks(task, method) for cell, task in zip(cells, tasks, strict=True)],
    )


def lacks(task: views.TaskView, method: views.MethodView) -> str:
    """What a method lacks that a task asks for, in words; "" if it lacks nothing or either is not here."""
    able, needs = method.known.capabilities, task.known.needs
    return "" if not able or not needs or needs in able else _LACKS.get(needs, f"has no {needs}")


def elsewhere(task: views.TaskView, model: str) -> str:
    """Where a method was run, if not in the headline group: "only at version 1"; "" without a row."""
    held = [row for _, group in task.groups for row in group if row.model == model]
    if not held:
        return ""
    # A method that was trained elsewhere may have its untrained net, a control, among the headline.
    row = next((row for row in held if row.kind == "model"), held[0])
    first = task.headline[0]
    facts = [
        (f"protocol {row.protocol}", row.protocol != first.protocol),
        (f"budget {row.budget}", row.budget != first.budget),
        (f"data {row.source}", row.source != first.source),
        *(
            (labels.settings({name: value}), first.options.get(name) != value)
            for name, value in row.options.items()
        ),
        (f"version {row.task_version}", row.task_version != first.task_version),
        (row.block, bool(row.block)),
    ]
    settings = ", ".join(words for words, differs in facts if words and differs)
    # At the same settings, the row lacks the metric that decides there.
    return f"only at {settings}" if settings else "only by other metrics"


def _called(row: Row, group: Sequence[Row]) -> str:
    return wording.configuration(row, group)


def _tier(held: Sequence[Row | None]) -> Tier:
    return min((row.tier for row in held if row), key=TIERS.index)


def _count(cells: Sequence[MatrixCell | None]) -> int:
    return sum(cell is not None for cell in cells)


def _places(cells: Sequence[MatrixCell | None]) -> float:
    return -sum(cell.heat for cell in cells if cell) / max(1, _count(cells))


def _cells(
    tasks: Sequence[views.TaskView], held: Sequence[Row | None], *, named: bool = False
) -> list[MatrixCell | None]:
    return [_cell(task, row, named) if row else None for task, row in zip(tasks, held, strict=True)]


def _cell(task: views.TaskView, row: Row, named: bool) -> MatrixCell:
    metric = metric_of(task)
    found = row.metrics[metric.name]
    mean, _, spread = views.spelled(found).partition(" ± ")
    return MatrixCell(
        mean=mean,
        spread=spread,
        rank=labels.place(row, task.headline),
        heat=_heat(task.headline, metric)(found.interval.mean),
        by=wording.configuration(row, task.headline) if named else "",
        code=views.code(row),
        few=len(row.seeds) if few(row) else 0,
    )


def few(row: Row) -> bool:
    """Whether a row has an interval, but too few seeds for most tests to show a difference."""
    return 1 < len(row.seeds) < ENOUGH


def metric_of(task: views.TaskView) -> Metric:
    """The metric that stands for a task. The task must have rows."""
    return deciding(task.headline, task.primary)


def deciding(group: Sequence[Row], metrics: Sequence[Metric]) -> Metric:
    """The first metric of a group that tells its best models apart; the last one if the first does not."""
    shown = labels.scored(group, metrics)
    primary = ranking.deciding_metrics(ranking.placed(group), metrics)
    primary = primary or [metric for metric in shown if metric.better != "neither"] or shown
    return primary[-1] if _flat(group, primary[0]) else primary[0]


def _flat(group: Sequence[Row], metric: Metric) -> bool:
    """Whether several methods share the best value of a metric. The metric cannot decide between them."""
    firsts = wording.better(metric, wording.best_of_each(group))
    means = [row.metrics[metric.name].interval.mean for row in firsts]
    return len(means) > 1 and means[0] == means[1]


def _heat(group: Sequence[Row], metric: Metric) -> Callable[[float], float]:
    """0 at the worst control of the group, 1 at the best row."""
    means = [row.metrics[metric.name].interval.mean for row in group if metric.name in row.metrics]
    trivial = [
        row.metrics[metric.name].interval.mean
        for row in group
        if row.kind == "control" and metric.name in row.metrics
    ] or means
    sign = -1 if metric.better == "lower" else 1
    # A metric that spans decades is coloured by its logarithm, as in the charts.
    floor = min((v for v in means if v > 0), default=0.0)
    decades = charts.spans_decades(metric, means)

    def scaled(value: float) -> float:
        return math.log(max(value, floor)) if decades else value

    best = scaled(max(means, key=lambda v: sign * v))
    worst = scaled(min(trivial, key=lambda v: sign * v))

    def heat(value: float) -> float:
        if best == worst:
            return 0.0
        return round(min(1.0, max(0.0, (scaled(value) - worst) / (best - worst))), 2)

    return heat
