"""What a method's page says beside its tables: curves, pictures, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ebbench.site import charts
from ebbench.site.addresses import result_folder
from ebbench.site.result_page import pictures
from ebbench.site.views import MethodView

from ebbench.board import labels
from ebbench.record.schema import Result

# Series of one task's training; more are read by nobody.
MOST_SERIES = 8


def drawings(method: MethodView) -> Iterator[charts.Chart]:
    """The training curves of a method on each task: one chart a series."""
    for task, rows in method.tasks:
        headline = [row for row in rows if row in task.headline and not row.variant] or rows
        results = [r for r in task.results_of(headline[0]) if len(r.training.curves.step) > 1]
        if not results:
            continue
        for series in list(results[0].training.curves.series)[:MOST_SERIES]:
            title = f"{series} of {method.title} on {task.title}"
            yield charts.Chart(
                f"{task.title}: {series}",
                f"{headline[0].budget} budget, a line a seed",
                partial(charts.along, {method.title: results}, series, title),
            )


def gallery(method: MethodView, files: Mapping[int, Path]) -> list[tuple[str, str, str, Result]]:
    """The pictures of a method's first seed on each task: task, which picture, its file, its result."""
    made = []
    for task, rows in method.tasks:
        result = task.results_of(rows[0])[0]
        for name, picture in pictures(result, files[id(result)]):
            if not name.endswith("curves"):
                made.append((task.title, name, f"{result_folder(result)}/{picture.name}", result))
    return made


def commands(method: MethodView) -> list[str]:
    """The command of each row, for all of its seeds."""
    made = []
    for task, rows in method.tasks:
        for row in rows:
            command = labels.command(task.results_of(row)[0])
            seeds = ",".join(map(str, row.seeds))
            made.append(re.sub(r"--seeds \S+$", f"--seeds {seeds}", command))
    return [command for command in made if command]
