"""What a task's page says beside its table: charts, pictures, notes, references."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ebbench.site import charts, set_charts
from ebbench.site.addresses import result_folder
from ebbench.site.result_page import pictures
from ebbench.site.views import MethodView, TaskView

from ebbench.board import across
from ebbench.board.row import Row
from ebbench.contract import Metric
from ebbench.plugins.cards import Card
from ebbench.record.schema import Result

# Methods in one chart; more are read by nobody.
MOST_LINES = 8
# Rows that a note names.
MOST_NAMED = 10


def drawings(task: TaskView) -> Iterator[charts.Chart]:
    """The charts of a task's page."""
    for title, group in task.groups:
        for metric in task.primary:
            able = [row for row in group if metric.name in row.metrics]
            if len(able) > 1 and not _all_equal(able, metric):
                yield charts.Chart(
                    f"{metric.name}: {title}",
                    "each seed (dots), mean (bar), 95 % interval (line), published (cross); controls muted",
                    partial(charts.intervals, group, metric, f"{metric.name} by method: {title}"),
                )
    if task.card and task.card.parts == "data sets":
        for _, whole in across.of_group("", task.headline, task.results.values(), task.primary):
            yield from set_charts.drawings(whole)
    best = [row for row in task.headline if row.kind == "model"][:MOST_LINES]
    named = {charts.called(row, task.headline): task.results_of(row) for row in best}
    yield from _along_training(task, named)
    first = {name: results[0] for name, results in named.items()}
    if curves := {name: found for name, one in first.items() if (found := _drawn(one)) is not None}:
        yield charts.Chart(
            "Precision and recall",
            "by the declared score, the first seed of each",
            partial(charts.precision_recall, curves, "precision against recall by method"),
        )
    counted = {name: one.details.get("modes_by_count") for name, one in first.items()}
    if often := {name: found for name, found in counted.items() if isinstance(found, list)}:
        yield charts.Chart(
            "How often each mode was met",
            "the first seed of each",
            partial(charts.counts, often, "how often each mode was met"),
        )


def _along_training(task: TaskView, named: Mapping[str, Sequence[Result]]) -> Iterator[charts.Chart]:
    for metric in task.primary:
        by_series: dict[str, dict[str, Sequence[Result]]] = defaultdict(dict)
        for name, results in named.items():
            score = results[0].score
            series = f"{score}.{metric.name}" if score else metric.name
            if series in results[0].training.evaluations.series:
                by_series[series][name] = results
        for series, followed in by_series.items():
            title = f"{metric.name} along training"
            yield charts.Chart(
                f"{title} ({series})",
                "a line a seed",
                partial(charts.along, followed, series, title, metric.name),
            )


def _all_equal(rows: Sequence[Row], metric: Metric) -> bool:
    return len({row.metrics[metric.name].interval.mean for row in rows}) == 1


def _drawn(result: Result) -> dict[str, Any] | None:
    """The precision and recall of the declared score, where the task drew them."""
    curves = result.details.get("drawn")
    chosen = curves.get(result.score) if isinstance(curves, dict) else None
    return chosen if isinstance(chosen, dict) and {"recall", "precision"} <= set(chosen) else None


def gallery(task: TaskView, files: Mapping[int, Path]) -> list[tuple[str, str, str, Result]]:
    """Pictures side by side: row, which picture, its file on the site, its result; the first seed of each."""
    made = []
    for row in task.headline:
        called = charts.called(row, task.headline)
        result = task.results_of(row)[0]
        for name, picture in pictures(result, files[id(result)]):
            if not name.endswith("curves"):
                made.append((called, name, f"{result_folder(result)}/{picture.name}", result))
    return made


def columns(task: TaskView) -> int:
    """The columns of a task's table."""
    of_papers = {name for row in task.rows for name in row.published}
    return 9 + sum(3 if metric.name in of_papers else 1 for metric in task.shown)


def notes(task: TaskView) -> list[str]:
    """What was left out, what is not ranked and what is of older code: each note once, with its rows."""
    rows: dict[str, list[str]] = defaultdict(list)
    for _, group in task.groups:
        for row in group:
            for note in row.notes:
                rows[note].append(f"{charts.called(row, group)}, {row.budget}, {row.protocol}")
    # A note of very many rows says less by all of their names; each row has its mark.
    return [
        f"{'; '.join(names)}: {note}" if len(names) <= MOST_NAMED else f"{len(names)} rows: {note}"
        for note, names in rows.items()
    ]


def bibtex(task: TaskView, all_methods: Sequence[MethodView]) -> str:
    """The papers of a task and of the methods with a row on it."""
    cited: dict[str, Card] = {task.name: task.card} if task.card else {}
    cited |= {m.name: m.card for m in all_methods if m.card and any(t.name == task.name for t, _ in m.tasks)}
    entries = []
    for name, card in cited.items():
        if not card.paper:
            continue
        authors = re.split(r",\s*|;\s*", card.authors)
        fields = {
            "title": card.paper,
            "author": " and ".join(author for author in authors if author),
            "year": str(card.year or ""),
            "url": card.url,
        }
        key = f"{re.sub(r'[^a-z0-9]', '', name)}{card.year or ''}"
        lines = [f"  {field} = {{{_bibtex_text(value)}}}," for field, value in fields.items() if value]
        entries.append("\n".join([f"@misc{{{key},", *lines, "}"]))
    return "\n\n".join(entries) + "\n" if entries else ""


def _bibtex_text(text: str) -> str:
    return " ".join(re.sub(r"[{}\\]", "", text).replace("&", r"\&").replace("%", r"\%").split())
