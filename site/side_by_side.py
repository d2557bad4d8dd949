"""The page that compares methods over all tasks: one column per method. A script shows two or three."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ebbench.site import matrix, strips, verdicts, wording
from ebbench.site.views import MethodView, TaskView, spelled
from markupsafe import Markup

from ebbench.board import labels
from ebbench.board.row import Row
from ebbench.contract import Metric


@dataclass(frozen=True)
class Cell:
    """A method's best row on a task."""

    value: str
    place: str
    configuration: str
    strip: Markup
    seeds: int


@dataclass(frozen=True)
class Line:
    """One task: the axis that its strips share, and one cell per method."""

    task: TaskView
    metric: Metric
    ruler: Markup
    cells: Sequence[Cell | None]
    # For a method without a cell: the settings at which it was run instead, or what it lacks, or "not run".
    absent: Sequence[str]


def columns(rows: Sequence[matrix.MatrixRow], all_methods: Sequence[MethodView]) -> list[MethodView]:
    """The methods of the matrix, in its order, without the controls."""
    by_name = {method.name: method for method in all_methods}
    return [by_name[row.method] for row in rows if not row.control]


def lines(tasks: Sequence[TaskView], methods: Sequence[MethodView]) -> list[Line]:
    """One line for each task that ranks its rows."""
    made = []
    for task in tasks:
        metric = matrix.metric_of(task)
        on = strips.scale(task.headline, metric, width=strips.NARROW + 40)
        if on is None:
            continue
        cells = [_cell(task, metric, method, on) for method in methods]
        absent = [_absent(task, method) for method in methods]
        made.append(Line(task, metric, strips.ruler(on), cells, absent))
    return made


def _absent(task: TaskView, method: MethodView) -> str:
    return matrix.elsewhere(task, method.name) or matrix.lacks(task, method) or "not run"


def tests(found: Sequence[Line], methods: Sequence[MethodView]) -> list[dict[str, Any]]:
    """The tests between the methods on each task. The script of the page puts them into words."""
    return [
        verdicts.of_task(
            line.task.title, line.metric, [_best(line.task, line.metric, one) for one in methods]
        )
        for line in found
    ]


def _best(task: TaskView, metric: Metric, method: MethodView) -> Row | None:
    own = [row for row in task.headline if row.model == method.name and row.kind == "model"]
    return next((row for row in own if metric.name in row.metrics), None)


def _cell(task: TaskView, metric: Metric, method: MethodView, on: strips.Scale) -> Cell | None:
    row = _best(task, metric, method)
    if row is None:
        return None
    found = row.metrics[metric.name]
    return Cell(
        spelled(found),
        labels.place(row, task.headline),
        wording.configuration(row, task.headline),
        strips.strip(row, on),
        len(row.seeds),
    )
