"""What a task's page has beside its table: charts, pictures, and notes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ebbench.site import charts, matrix, set_charts, thumbs, wording
from ebbench.site.addresses import result_folder
from ebbench.site.result_page import pictures
from ebbench.site.views import TaskView

from ebbench.board import across, labels
from ebbench.board.row import Row
from ebbench.contract import Metric
from ebbench.record.schema import Result

# Methods in one chart. More lines cannot be read.
MOST_LINES = 8
# A note names at most this many rows.
MOST_NAMED = 10


def drawings(task: TaskView) -> Iterator[charts.Chart]:
    """The charts of a task's page, apart from the large chart that is also the legend of the table."""
    for group in [task.headline] if task.headline else []:
        for metric in labels.scored(group, task.primary):
            able = [row for row in group if metric.name in row.metrics]
            if metric == matrix.metric_of(task) or len(able) < 2 or _all_equal(able, metric):
                continue
            words = wording.metric(metric)
            yield charts.Chart(
                f"{words}: {wording.group(group)}",
                "each seed (dots), mean (bar), 95 % interval (line), published (cross); controls muted",
                partial(charts.intervals, group, metric, f"{words} by method"),
            )
    if task.card and task.card.parts == "data sets":
        titles = {
            name: wording.called(row, task.headline)
            for name, row in zip(labels.distinct(task.headline), task.headline, strict=True)
        }
        words_of = {metric.name: wording.metric(metric) for metric in task.primary}
        for _, whole in across.of_group("", task.headline, task.results.values(), task.primary):
            yield from set_charts.drawings(set_charts.named(whole, words_of[whole.metric], titles))
    best = [row for row in task.headline if row.kind == "model"][:MOST_LINES]
    named = {wording.called(row, task.headline): task.results_of(row) for row in best}
    yield from _along_training(task, named)
    yield from _along_parts(task)
    first = {name: results[0] for name, results in named.items()}
    if curves := {
        name: found for name, one in first.items() if (found := charts.declared_curve(one)) is not None
    }:
        yield charts.Chart(
            "Precision and recall",
            "by the declared score, the first seed of each",
            partial(charts.precision_recall, curves, "precision against recall by method"),
            list(curves),
        )
    often = dict(_modes_by_count(task))
    if often:
        yield charts.Chart(
            "How often each mode was met",
            "the best control, and the best configuration of each method; the first seed of each; the last "
            "step also counts all modes with more samples",
            partial(charts.counts, often, "how often each mode was met"),
            list(often),
        )


def _modes_by_count(task: TaskView) -> Iterator[tuple[str, list[int]]]:
    """Names, and how many modes were met how often: many configurations would hide one another."""
    control = [row for row in task.headline if row.kind == "control"]
    best = wording.better(matrix.metric_of(task), control)[:1] if control else []
    for row in [*best, *wording.best_of_each(task.headline)][:MOST_LINES]:
        counted = task.results_of(row)[0].details.get("modes_by_count")
        if isinstance(counted, list):
            yield wording.called(row, task.headline), counted


def _along_training(task: TaskView, named: Mapping[str, Sequence[Result]]) -> Iterator[charts.Chart]:
    for metric in task.primary:
        by_series: dict[str, dict[str, Sequence[Result]]] = defaultdict(dict)
        for name, results in named.items():
            score = results[0].score
            series = f"{score}.{metric.name}" if score else metric.name
            if series in results[0].training.evaluations.series:
                by_series[series][name] = results
        for series, followed in by_series.items():
            words, score = wording.metric(metric), series.rpartition(".")[0]
            title = f"{words} along training"
            yield charts.Chart(
                title + (f", by the score {score}" if score else ""),
                "one line per seed, one colour per method",
                partial(charts.along, followed, series, title, words),
                list(followed),
            )


def _along_parts(task: TaskView) -> Iterator[charts.Chart]:
    """The primary metrics along training, averaged over the parts of a result, one line per seed."""
    for metric in task.primary:
        curves: dict[str, list[list[float]]] = {}
        for row in task.headline:
            results = task.results_of(row)
            series = f"{results[0].score}.{metric.name}" if results[0].score else metric.name
            lines = [line for one in results if (line := set_charts.learned(one, series)) is not None]
            if row.kind == "model" and lines and len(curves) < MOST_LINES:
                curves[wording.called(row, task.headline)] = lines
        if curves:
            words = wording.metric(metric)
            parts = task.card.parts if task.card and task.card.parts else "parts"
            yield charts.Chart(
                f"{words} along training",
                f"by the declared score; the mean over the {parts}, each training scaled to 0 to 1; "
                "one colour per method: faint lines are seeds, the bold one is their mean; "
                "methods that take no steps have no line",
                partial(set_charts.along, curves, f"{words} along training", words),
                list(curves),
            )


def _all_equal(rows: Sequence[Row], metric: Metric) -> bool:
    return len({row.metrics[metric.name].interval.mean for row in rows}) == 1


@dataclass(frozen=True)
class Picture:
    """A picture of a row: the row's name and kind (model or control), of what, file, size, and result."""

    called: str
    kind: str
    of: str
    file: str
    size: tuple[int, int] | None
    result: Result


def gallery(task: TaskView, files: Mapping[int, Path]) -> dict[str, list[Picture]]:
    """The pictures of each kind: the best control, the models, the other controls; the first seed of each."""
    models = [row for row in task.headline if row.kind == "model"]
    controls = [row for row in task.headline if row.kind == "control"]
    if task.headline and matrix.metric_of(task).better != "neither":
        controls = wording.better(matrix.metric_of(task), controls)
    made: dict[str, list[Picture]] = defaultdict(list)
    for row in [*controls[:1], *models, *controls[1:]]:
        result = task.results_of(row)[0]
        for name, picture in pictures(result, files[id(result)]):
            if not name.endswith("curves"):
                address = f"{result_folder(result)}/{picture.name}"
                called = wording.called(row, task.headline)
                made[name].append(Picture(called, row.kind, name, address, thumbs.size_of(picture), result))
    return made


def heroes(pictures: Mapping[str, Sequence[Picture]]) -> list[Picture]:
    """The best control's picture and the best model's of the same size, of the first kind with both."""
    for several in pictures.values():
        control = next((one for one in several if one.kind == "control"), None)
        models = [one for one in several if one.kind == "model" and control and one.size == control.size]
        if control and models:
            return [control, models[0]]
    return []


def notes(task: TaskView) -> list[str]:
    """Each note once, with its rows: what was left out, what has no rank, what older code made."""
    rows: dict[str, list[str]] = defaultdict(list)
    for _, group in task.groups:
        for row in group:
            for note in row.notes:
                rows[note].append(f"{wording.called(row, group)}, {row.budget}, {row.protocol}")
    # Many names would hide the note itself, and each row has its own mark anyway.
    return [
        f"{'; '.join(names)}: {note}" if len(names) <= MOST_NAMED else f"{len(names)} rows: {note}"
        for note, names in rows.items()
    ]
