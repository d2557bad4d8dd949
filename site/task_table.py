"""The table of a task's page. It is also a chart: blocks of rows, each block on an axis of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ebbench.site import matrix, strips, wording
from ebbench.site.views import TaskView, spelled
from markupsafe import Markup

from ebbench.board import labels
from ebbench.board.row import Row
from ebbench.contract import Metric


@dataclass(frozen=True)
class Block:
    """Rows that may be compared, and the strip of each by the `metric` that decides between them."""

    title: str
    rows: Sequence[Row]
    metric: Metric
    reference: str
    ruler: Markup
    drawn: Sequence[Markup]


def blocks(task: TaskView) -> list[Block]:
    """The blocks of a task's table, what stands for the task first."""
    made = []
    for _, group in task.groups:
        if not labels.scored(group, task.shown):
            continue
        metric = matrix.deciding(group, labels.scored(group, task.primary) or task.shown)
        on = strips.scale(group, metric)
        drawn = [strips.strip(row, on) if on else Markup("") for row in group]
        ruler = strips.ruler(on) if on else Markup("")
        made.append(
            Block(wording.group(group, task.rows), group, metric, on.name if on else "", ruler, drawn)
        )
    return made


def metrics(task: TaskView) -> list[Metric]:
    """The metrics of the columns: first the one of the strips, so that its numbers stand beside them."""
    drawn = next((block.metric for block in blocks(task)), None)
    return sorted(task.shown, key=lambda metric: metric != drawn)


def first(task: TaskView) -> set[str]:
    """The metrics whose columns a reader needs: the primary ones of the block that stands for the task."""
    group = task.groups[0][1] if task.rows else []
    return {metric.name for metric in labels.scored(group, task.primary)}


def sentences(task: TaskView) -> Iterator[str]:
    """The question, the protocol, the main metric, the values of the controls, and an older version."""
    if task.card and task.card.summary:
        yield wording.powers(task.card.summary)
    for name, words in list(task.known.protocols.items())[:1]:
        yield wording.powers(f"By the default protocol, {name}: {words.rstrip('.')}.")
    if not task.headline:
        return
    metric = matrix.metric_of(task)
    said = wording.unit(metric)
    unit = f" ({said})" if said else ""
    yield wording.powers(f"The main metric is {wording.metric(metric)}{unit}: {metric.doc.rstrip('.')}.")
    controls = [row for row in task.headline if row.kind == "control"]
    found = wording.better(metric, controls) if metric.better != "neither" else []
    if found:
        ends = [*found[1:][-1:], found[0]]
        named = [f"{spelled(row.metrics[metric.name])} ({wording.short(row)})" for row in ends]
        yield f"Controls have {' to '.join(named)}." if found[1:] else f"The control has {named[0]}."
    version, now = task.headline[0].task_version, task.known.version
    if now is not None and version != now:
        yield f"These rows are of version {version} of the task, which is now at version {now}."


def columns(task: TaskView) -> int:
    """The columns of the table."""
    of_papers = {name for row in task.rows for name in row.published}
    return 9 + sum(3 if metric.name in of_papers else 1 for metric in task.shown)
