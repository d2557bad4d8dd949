"""What the home page says of each task: who leads, and a card with its picture and its best rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ebbench.site import charts, matrix, spreads, strips, svg, thumbs, wording
from ebbench.site.addresses import slug
from ebbench.site.result_page import pictures
from ebbench.site.views import TaskView, spelled
from markupsafe import Markup

from ebbench.board import across, labels
from ebbench.board.row import Row
from ebbench.contract import Metric

# Methods of a card.
BEST = 5
# The size of a card's drawing.
WIDTH, HEIGHT = 310.0, 170.0
# Points of a line there: the page is to stay light.
MOST_POINTS = 60
# Where a dash begins and ends beside its number; at 0 the pen is lifted.
SIDES = (-0.3, 0.3, 0)


@dataclass(frozen=True)
class Leader:
    """Who leads a task: the methods that share the first rank, and the best one's number."""

    task: TaskView
    metric: Metric
    direction: str
    value: str
    first: Row
    others: Sequence[Row]

    @property
    def few(self) -> bool:
        """Whether a row that shares the first rank has too few seeds to differ from another one."""
        return bool(self.others) and any(matrix.few(row) for row in (self.first, *self.others))


@dataclass(frozen=True)
class Line:
    """One row of a card: its name, its strip and its number; `colour` is its line's in the picture."""

    kind: str
    called: str
    row: Row | None
    strip: Markup
    value: str
    place: str = ""
    source: str = ""
    colour: int | None = None


@dataclass(frozen=True)
class Card:
    """A task on the home page. `drawing` or `image` is its picture; `shows` says of what."""

    task: TaskView
    metric: Metric
    ruler: Markup
    lines: Sequence[Line]
    # What the rows share: protocol, budget, data and options.
    setting: str
    drawing: Markup | None = None
    image: thumbs.Thumb | None = None
    shows: str = ""


def leaders(tasks: Sequence[TaskView]) -> list[Leader]:
    """The leaders of each task that ranks something."""
    found = []
    for task in tasks:
        first = wording.best_of_each([row for row in task.headline if row.rank == 1])
        metric = matrix.metric_of(task)
        by_value = wording.better(metric, first)
        if by_value:
            top, *others = by_value
            cell = spelled(top.metrics[metric.name])
            found.append(Leader(task, metric, _direction(metric), cell, top, others))
    return found


def _direction(metric: Metric) -> str:
    """Per cent where it is that, and an arrow to what is better."""
    arrow = {"higher": "\N{NO-BREAK SPACE}↑", "lower": "\N{NO-BREAK SPACE}↓"}.get(metric.better, "")
    return (", %" if metric.unit == "%" else "") + arrow


def card(task: TaskView, files: Mapping[int, Path], out: Path) -> Card:
    """The card of a task with rows: the five best, two controls, a paper. Its picture goes below `out`."""
    group, metric = task.headline, matrix.metric_of(task)
    best = [row for row in wording.best_of_each(group) if metric.name in row.metrics][:BEST]
    controls = wording.better(metric, [row for row in group if row.kind == "control"])
    # The best and the worst control: the first shows what a model has to beat or may hope for, the second
    # what is worth nothing.
    controls = controls if len(controls) < 2 else [controls[0], controls[-1]]
    published = strips.best_published(task.published, metric, group[0])
    on = strips.scale([*best, *controls], metric, [published[1]] if published else [], width=strips.NARROW)
    lines = []
    drawing, shows = _first(spreads.drawings(task, best, WIDTH, HEIGHT))
    image = None if drawing else _image(task, best, files, out)
    coloured = not (drawing or image)
    if coloured:
        drawing, shows = _first(_drawings(task, best))
    elif image:
        shows = image.alt
    for i, row in enumerate([*best, *controls]):
        lines.append(
            Line(
                row.kind,
                wording.called(row, group),
                row,
                strips.strip(row, on) if on else Markup(""),
                spelled(row.metrics[metric.name]),
                labels.place(row, group),
                colour=i if coloured and drawing and row.kind == "model" else None,
            )
        )
    if published and on:
        one, value = published
        shown = labels.spelled_published(value, one.metrics[metric.name][1], one.confidence)
        lines.append(
            Line("published", one.label, None, strips.published(value, on), shown, source=one.source)
        )
    ruler = strips.ruler(on) if on else Markup("")
    return Card(task, metric, ruler, lines, wording.group(group), drawing, image, shows)


def _first(drawings: Iterable[tuple[str, Callable[[], Markup]]]) -> tuple[Markup | None, str]:
    """The first drawing that can be drawn, and what it shows; None and "" if there is none."""
    # Results may hold anything: a chart that cannot be drawn must not break its card.
    made, _ = charts.drawn([charts.Chart("", words, draw) for words, draw in drawings], "")
    return next(((picture, chart.said) for chart, picture in made), (None, ""))


def _image(task: TaskView, best: Sequence[Row], files: Mapping[int, Path], out: Path) -> thumbs.Thumb | None:
    """A picture of the best row that has one: samples, else an energy, else what the task drew."""
    for row in best:
        result = task.results_of(row)[0]
        found = dict(pictures(result, files[id(result)]))
        names = [name for name in found if not name.endswith(("curves", "nearest"))]
        if names:
            name = min(names, key=lambda one: (one != "samples", one))
            return thumbs.write(
                found[name],
                out,
                f"thumbs/{slug(task.name)}.webp",
                f"{wording.picture(name)} of {wording.title(row)}",
                whole=name.endswith("landscape"),
            )
    return None


def _drawings(task: TaskView, best: Sequence[Row]) -> Iterator[tuple[str, Callable[[], Markup]]]:
    """What may be drawn of a task: precision against recall, or a metric over what the task counts by."""
    named = {i: task.results_of(row)[0] for i, row in enumerate(best)}
    drawn = {i: found for i, one in named.items() if (found := charts.declared_curve(one)) is not None}
    if drawn:
        lines = {i: (one["recall"], one["precision"]) for i, one in drawn.items()}
        yield "precision against recall, the first seed", partial(_lines, lines, "recall", "precision")
    for family, numbers in _families(best).items():
        at = list(map(float, numbers))
        means = {
            i: (at, [row.metrics[f"{family}_{n}"].interval.mean for n in numbers])
            for i, row in enumerate(best)
            if all(f"{family}_{n}" in row.metrics for n in numbers)
        }
        if means:
            # Single digits are names, such as of held-out digits: a line between them would say nothing.
            draw = _dashes if max(numbers) < 10 else _lines
            yield _said(task, family, numbers), partial(draw, means, "", _with_unit(task, family, numbers))
    if task.card and task.card.parts == "data sets":
        yield from _over_sets(task, best)


def _over_sets(task: TaskView, best: Sequence[Row]) -> Iterator[tuple[str, Callable[[], Markup]]]:
    """The primary metric over the data sets, each method's best first."""
    metric = matrix.metric_of(task)
    lines = {}
    for i, row in enumerate(best):
        means = across.by_set(row, task.results, metric.name).values()
        if len(means) >= across.LEAST_SETS:
            heights = sorted(means, reverse=metric.better != "lower")
            lines[i] = (list(range(1, len(heights) + 1)), heights)
    if lines:
        name = wording.metric(metric)
        yield (
            f"{name} on each data set, each method's best first",
            partial(_lines, lines, "data sets, best first", name),
        )


def _families(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Metrics that differ by a number at the end: what they are of, and the numbers."""
    found: dict[str, set[int]] = {}
    for row in rows:
        for name in row.metrics:
            if numbered := re.fullmatch(r"(.+?)_(\d{1,4})", name):
                found.setdefault(numbered[1], set()).add(int(numbered[2]))
    return {family: sorted(numbers) for family, numbers in found.items() if len(numbers) > 2}


def _said(task: TaskView, family: str, numbers: Sequence[int]) -> str:
    """What metrics that differ by a number are of, in the words of the first one's description."""
    words, first = wording.words(family), numbers[0]
    described = next((one.doc for one in task.metrics if one.name == f"{family}_{first}"), "")
    told = re.sub(rf"\b{first}\b", _listed(numbers), described, count=1)
    for name in (family, "the same"):
        if told.startswith(f"{name} ") or told.startswith(f"{name},"):
            return words + told.removeprefix(name)
    return f"{words} at {_listed(numbers)}"


def _with_unit(task: TaskView, family: str, numbers: Sequence[int]) -> str:
    """The name of metrics that differ by a number, with their unit if they have one."""
    unit = next((one.unit for one in task.metrics if one.name == f"{family}_{numbers[0]}"), "")
    return wording.words(family) + (f", {unit}" if unit and unit != "share" else "")


def _listed(numbers: Sequence[int]) -> str:
    if len(numbers) > 3 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))


def _dashes(named: Mapping[int, tuple[Sequence[float], Sequence[Any]]], x_title: str, y_title: str) -> Markup:
    """As `_lines`, with a dash for each point in place of a line through all."""
    dashes = {}
    for i, (at, heights) in named.items():
        ends = [(x + side, h if side else None) for x, h in zip(at, heights, strict=True) for side in SIDES]
        dashes[i] = ([x for x, _ in ends], [h for _, h in ends])
    return _lines(dashes, x_title, y_title, ticks=10)


def _lines(
    named: Mapping[int, tuple[Sequence[float], Sequence[Any]]], x_title: str, y_title: str, ticks: int = 5
) -> Markup:
    heights = [value for _, ys in named.values() for value in ys if value is not None]
    positive = min(heights) > 0 and max(heights) / min(heights) > charts.DECADES
    y = svg.Axis.around(heights, HEIGHT - (36 if x_title else 22), 8, log=positive)
    x = svg.Axis.around([value for xs, _ in named.values() for value in xs], 52, WIDTH - 12)
    parts = [charts.frame(x, y, x_title, y_title, most=ticks)]
    parts += [charts.line(colour, xs, ys, x, y, MOST_POINTS) for colour, (xs, ys) in named.items()]
    return svg.drawing(WIDTH, HEIGHT, y_title, f"a line for each of {len(named)} methods", *parts)
