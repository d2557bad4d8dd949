"""What a method's page has beside its tables: curves, pictures, and commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ebbench.site import charts, matrix, strips, wording
from ebbench.site.addresses import result_folder
from ebbench.site.result_page import pictures
from ebbench.site.views import MethodView, TaskView, spelled
from markupsafe import Markup

from ebbench.board import labels
from ebbench.board.row import Row
from ebbench.contract import Metric
from ebbench.record.schema import Result

# The number of training series that one task shows. Nobody reads more charts than this.
MOST_SERIES = 8


def drawings(method: MethodView) -> Iterator[charts.Chart]:
    """The training curves of a method on each task, one chart per series."""
    for task, rows in method.tasks:
        headline = [row for row in rows if row in task.headline and not row.variant] or rows
        results = [r for r in task.results_of(headline[0]) if len(r.training.curves.step) > 1]
        if not results:
            continue
        for series in list(results[0].training.curves.series)[:MOST_SERIES]:
            title = f"{series} of {method.title} on {task.title}"
            yield charts.Chart(
                f"{task.title}: {series}",
                f"{headline[0].budget} budget, one line per seed",
                partial(charts.along, {method.title: results}, series, title),
            )


@dataclass(frozen=True)
class Picture:
    """A picture of a method: its task, its kind, its file on the site, and the result that it shows."""

    task: str
    kind: str
    file: str
    result: Result


def gallery(method: MethodView, files: Mapping[int, Path]) -> list[Picture]:
    """The pictures of a method's first seed on each task, samples first."""
    made = []
    for task, rows in method.tasks:
        result = task.results_of(rows[0])[0]
        for name, picture in pictures(result, files[id(result)]):
            if not name.endswith("curves"):
                made.append(Picture(task.title, name, f"{result_folder(result)}/{picture.name}", result))
    return sorted(made, key=lambda one: one.kind != "samples")


@dataclass(frozen=True)
class Standing:
    """A method's best row on a task, among those that it is ranked with."""

    task: TaskView
    row: Row
    metric: Metric
    configuration: str
    place: str
    value: str
    ruler: Markup
    strip: Markup

    @property
    def leads(self) -> bool:
        """Whether no model is better."""
        return self.row.rank == 1

    @property
    def trails(self) -> bool:
        """Whether the row has the last rank, or the method's own untrained net does at least as well."""
        ranks = [row.rank for row in self.task.headline if row.rank is not None]
        last = self.row.rank is not None and self.row.rank == max(ranks) and self.row.rank > 1
        return last or self._behind_untrained()

    def _behind_untrained(self) -> bool:
        own = [row for row in self.task.headline if row.kind == "control" and row.model == self.row.model]
        ordered = wording.better(self.metric, [*own, self.row])
        return self.metric.better != "neither" and bool(own) and ordered[0] is not self.row


def standings(method: MethodView) -> list[Standing]:
    """The best row of a method on each task that ranks its rows."""
    made = []
    for task, _ in method.tasks:
        if not task.headline or task.own:
            continue
        metric = matrix.metric_of(task)
        kind = "control" if method.control else "model"
        own = [row for row in task.headline if row.model == method.name and row.kind == kind]
        able = [row for row in own if metric.name in row.metrics]
        on = strips.scale(task.headline, metric)
        if not able or on is None:
            continue
        row = able[0]
        ranked = sum(other.rank is not None for other in task.headline)
        place = labels.place(row, task.headline)
        made.append(
            Standing(
                task,
                row,
                metric,
                wording.configuration(row, task.headline),
                f"{place} of {ranked} ranked" if place else "no rank",
                spelled(row.metrics[metric.name]),
                strips.ruler(on),
                strips.strip(row, on),
            )
        )
    return made


def unranked(method: MethodView, best: Sequence[Standing]) -> list[TaskView]:
    """The tasks on which the method has rows, but no row at the settings of the ranked rows."""
    return [task for task, _ in method.tasks if not task.own and all(one.task is not task for one in best)]


@dataclass(frozen=True)
class Commands:
    """The commands that make a method's rows on one task.

    `first` makes the row that stands for the method, and `said` gives the rank of that row. `others` make the
    other rows.
    """

    task: str
    said: str
    first: str
    others: Sequence[str]


def commands(method: MethodView, best: Sequence[Standing]) -> list[Commands]:
    """The commands of each task. The first one makes the row in `best`, else the first declared row."""
    chosen = {one.task.name: one for one in best}
    made = []
    for task, rows in method.tasks:
        standing = chosen.get(task.name)
        plain = [row for row in rows if not row.overrides and not row.variant]
        first = standing.row if standing else (plain or rows)[0]
        found = {id(row): command for row in rows if (command := _command(task, row))}
        if not found:
            continue
        said = f"rank {standing.place}" if standing and standing.row.rank and id(first) in found else ""
        own = found.pop(id(first), "") or found.pop(next(iter(found)))
        made.append(Commands(task.title, said, own, list(found.values())))
    return made


def _command(task: TaskView, row: Row) -> str:
    """The command of a row, for all of its seeds."""
    seeds = ",".join(map(str, row.seeds))
    return re.sub(r"--seeds \S+$", f"--seeds {seeds}", labels.command(task.results_of(row)[0]))
