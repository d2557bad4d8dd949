"""Names of rows and text of their numbers, the same in every table."""

from __future__ import annotations

import itertools
import json
import math
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ebbench.board.ranking import deciding_metrics, placed
from ebbench.board.row import Row
from ebbench.board.tiers import own_task
from ebbench.contract import Metric
from ebbench.record.commands import run_words
from ebbench.record.schema import EXTERNAL, Result


def full_name(name: str, variant: str) -> str:
    """The model's name as a user types it: "model", or "model:variant"."""
    return f"{name}:{variant}" if variant else name


def label(row: Row) -> str:
    """The label of a row with its settings: `Row.label`."""
    return row.label


def distinct(rows: Sequence[Row]) -> list[str]:
    """The labels of the rows of one group; rows that differ only in their declared score are told apart."""
    names = [row.label for row in rows]
    return [f"{row.label} by {row.score}" if names.count(row.label) > 1 else row.label for row in rows]


def groups(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The blocks of a table: rows that share all but the method, with a title that lists what they share.

    Rows whose tier has no rank form blocks of their own.
    """
    for (_, block), found in itertools.groupby(rows, key=lambda row: (row.group(), row.block)):
        group = list(found)
        first = group[0]
        parts = [
            f"{first.task} v{first.task_version}",
            f"source={first.source}",
            settings({name: value for name, value in first.options.items() if value != ""}),
            data_apart(first, rows),
        ]
        parts += [f"protocol {first.protocol}", f"budget {first.budget}"]
        parts += [f"{block}: not ranked"] if block else []
        yield ", ".join(part for part in parts if part), group


def data_apart(row: Row, rows: Iterable[Row]) -> str:
    """The digest of a row's data, where others of `rows` have different data of the same name; else ""."""
    alike = (other for other in rows if other.source == row.source and other.options == row.options)
    apart = any(other.data != row.data for other in alike)
    return f"data {row.data or 'without files'}" if apart else ""


def comparable(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """As `groups`, but rows of all tiers together: all that may be compared, whoever confirmed it."""
    whole: dict[Any, tuple[str, list[Row]]] = {}
    for title, group in groups(rows):
        whole.setdefault(group[0].group(), (title, []))[1].extend(group)
    yield from whole.values()


def command(result: Result) -> str:
    """The command that makes a result again, from its settings; "" for results made elsewhere.

    It is quoted for a shell. No part of it is a command from a submission.
    """
    if result.budget == EXTERNAL:
        return ""
    # For a bundle, the user must first get its folder.
    name = result.model.name if result.verification is None else f"./{result.model.name}"
    options = {key: value for key, value in result.task.options.items() if value != ""}
    words = run_words(
        task=f"./{result.task.name}" if own_task(result) else result.task.name,
        model=full_name(name, result.model.variant),
        budget=result.budget,
        protocol=result.task.protocol,
        sampler=result.sampler.name if result.sampler else "",
        settings=options | result.overrides,
        seeds=str(result.seed),
    )
    return shlex.join(["ebbench", *words])


def scored(group: Sequence[Row], metrics: Sequence[Metric]) -> list[Metric]:
    """Those of the metrics that a row of the group has; their names may depend on the task's options."""
    return [metric for metric in metrics if any(metric.name in row.metrics for row in group)]


def has_published(group: Sequence[Row], metric: Metric) -> bool:
    """Whether a row of the group has a published number for the metric."""
    return any(metric.name in row.published for row in group)


def header(group: Sequence[Row], metrics: Sequence[Metric]) -> list[tuple[str, bool]]:
    """The columns: name, and whether it is numeric; "published" only if something was published."""
    columns = [("tier", False), ("rank", True), ("model", False), ("sampler", False), ("n", True)]
    for metric in metrics:
        unit = "" if metric.unit in ("", metric.name) else f" ({metric.unit})"
        columns.append((metric.name + unit, True))
        if has_published(group, metric):
            columns.append(("published", True))
    return columns


def place(row: Row, group: Sequence[Row]) -> str:
    """The displayed rank: "1", or "1=" if it is shared; "" for a row without a rank."""
    if row.rank is None:
        return ""
    return f"{row.rank}=" if sum(other.rank == row.rank for other in group) > 1 else str(row.rank)


def cells(row: Row, group: Sequence[Row], metrics: Sequence[Metric]) -> list[str]:
    """The text of each column of `header`, for one row of its group."""
    config, knobs = changed(row)
    model = full_name(row.model, row.variant)
    # The declared score is only shown if it distinguishes two rows with the same label.
    twins = {other.score for other in group if label(other) == label(row)}
    score = f"by {row.score}" if len(twins) > 1 else ""
    kind = "(control)" if row.kind == "control" else ""
    cells = [
        # A current row gets no remark.
        joined(row.tier, f"({row.code})" if row.code == "older code" else ""),
        place(row, group),
        joined(model, config, score, kind),
        joined(row.sampler or "", knobs),
    ]
    cells.append(str(len(row.seeds)))
    for metric in metrics:
        cell, reference = row.metrics.get(metric.name), row.published.get(metric.name)
        cells.append(spelled(cell.interval.mean, cell.interval.half_width) if cell else "")
        if has_published(group, metric):
            cells.append(
                spelled_published(reference.value, reference.plus_minus, reference.confidence)
                if reference
                else ""
            )
    return cells


def changed(row: Row) -> tuple[str, str]:
    """The settings that a row changed, as text: the model's, and the knobs of its sampler."""
    # The override of a knob is "sampler.knob"; beside the sampler its name is redundant.
    prefix = f"{row.sampler}."
    knobs = {k.removeprefix(prefix): v for k, v in row.overrides.items() if k.startswith(prefix)}
    config = {k: v for k, v in row.overrides.items() if not k.startswith(prefix)}
    return settings(config), settings(knobs)


def joined(*parts: str) -> str:
    """The parts that are not empty, joined by spaces."""
    return " ".join(part for part in parts if part)


def settings(values: dict[str, Any]) -> str:
    """`name=value` pairs, sorted by name."""
    shown = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return " ".join(f"{name}={value}" for name, value in sorted(shown.items()))


def spelled(mean: float, half_width: float | None) -> str:
    """The mean, rounded to the second significant digit of the half-width; without one to four digits.

    An integer, such as a number of modes, then has no decimals.
    """
    if not half_width:
        plain = f"{mean:.0f}" if mean == round(mean) and abs(mean) < 1e9 else _fixed(mean, 4, mean)
        return plain if half_width is None else f"{plain} ± 0"
    return f"{_fixed(mean, 2, half_width)} ± {_fixed(half_width, 2, half_width)}"


def _fixed(value: float, digits: int, scale: float) -> str:
    """`value` with as many decimals as `scale` needs for `digits` significant digits."""
    decimals = digits - 1 - math.floor(math.log10(abs(scale))) if scale else 0
    # Beyond this an exponent is more readable than a row of zeros.
    return f"{value:.{max(0, decimals)}f}" if decimals <= 8 and abs(value) < 1e9 else f"{value:.3e}"


def spelled_published(value: float, plus_minus: float | None, confidence: str) -> str:
    """A published number as in its source, with its confidence unless it was seen verbatim."""
    shown = f"{value:g}" if plus_minus is None else f"{value:g} ± {plus_minus:g}"
    return shown if confidence == "verbatim" else f"{shown} ({confidence})"


def footer(rows: Sequence[Row], metrics: Sequence[Metric]) -> list[str]:
    """Explains the numbers: level, method, n, how rows were ranked, and what was excluded."""
    if not rows:
        return []
    n = sorted({len(row.seeds) for row in rows})
    seeds = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
    lines = [
        f"mean ± half-width of the {rows[0].level:.0%} interval, Student t over the seeds ({seeds}); "
        "one seed has no interval."
    ]
    by_group = (deciding_metrics(placed(group), metrics) for _, group in groups(rows))
    orders = [[f"{m.name} ({m.better} is better)" for m in found] for found in by_group if found]
    if orders:
        lines.append(
            f"rank by {', or by '.join(dict.fromkeys(', then '.join(order) for order in orders))}; "
            "rows that t-tests over the seeds cannot tell apart tie (p of 0.05 or more, by Holm over all "
            "pairs of a group)."
        )
    sources = {reference.source for row in rows for reference in row.published.values()}
    if sources:
        lines.append("published: " + "; ".join(sorted(sources)) + ".")
    for row in rows:
        name = joined(full_name(row.model, row.variant), row.sampler or "")
        lines += [f"{name}, {row.budget}, {row.protocol}: {note}." for note in row.notes]
    return lines
