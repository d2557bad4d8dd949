"""The rows of a table as text: JSON, CSV, Markdown, LaTeX, and the words that all of them share."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from ebbench.contract import Metric
from ebbench.table import Row


def as_json(rows: Sequence[Row], metrics: Sequence[Metric]) -> str:
    """A list of rows, with every metric."""
    whole = [row.as_json() for row in rows]
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(rows: Sequence[Row], metrics: Sequence[Metric]) -> str:
    """A line a row, with every metric."""
    names = list(dict.fromkeys(name for row in rows for name in (*row.metrics, *row.published)))
    lines = [_flat(row, names) for row in rows]
    text = io.StringIO()
    # No rows, no metrics: the header holds the columns that do not depend on them.
    writer = csv.DictWriter(text, list(lines[0]) if lines else list(_FLAT), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


_FLAT = (
    "task",
    "task_version",
    "protocol",
    "source",
    "options",
    "budget",
    "rank",
    "invalid",
    "kind",
    "model",
    "variant",
    "overrides",
    "sampler",
    "score",
    "n",
    "seeds",
    "tier",
    "level",
    "method",
)


def _flat(row: Row, metrics: Sequence[str]) -> dict[str, Any]:
    whole = row.as_json() | {
        "n": len(row.seeds),
        "seeds": " ".join(map(str, row.seeds)),
        "options": _compact(row.options),
        "overrides": _compact(row.overrides),
    }
    line = {name: whole[name] for name in _FLAT}
    for name in metrics:
        cell, reference = row.metrics.get(name), row.published.get(name)
        line[f"{name}_mean"] = cell.interval.mean if cell else None
        line[f"{name}_low"] = cell.interval.low if cell else None
        line[f"{name}_high"] = cell.interval.high if cell else None
        line[f"{name}_published"] = reference.value if reference else None
        line[f"{name}_published_plus_minus"] = reference.plus_minus if reference else None
    return line


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False) if value else ""


def as_markdown(rows: Sequence[Row], metrics: Sequence[Metric]) -> str:
    """A table a group, with the `metrics` given."""
    lines: list[str] = []

    def line(texts: Sequence[str]) -> str:
        return "| " + " | ".join(texts) + " |"

    for title, group in groups(rows):
        columns = scored(group, metrics)
        heads = header(group, columns)
        lines += [f"### {_markdown_text(title)}", ""]
        lines.append(line([_markdown_text(name) for name, _ in heads]))
        lines.append(line(["---:" if numeric else "---" for _, numeric in heads]))
        for row in group:
            lines.append(line([_markdown_text(cell) for cell in cells(row, group, columns)]))
        lines.append("")
    lines += [_markdown_text(note) + "  " for note in footer(rows, metrics)]
    return "".join(text + "\n" for text in lines)


def as_latex(rows: Sequence[Row], metrics: Sequence[Metric]) -> str:
    """A tabular a group, with the `metrics` given."""
    lines: list[str] = []
    for title, group in groups(rows):
        columns = scored(group, metrics)
        heads = header(group, columns)
        layout = "".join("r" if numeric else "l" for _, numeric in heads)
        lines += [f"% {title}", rf"\begin{{tabular}}{{{layout}}}", r"\hline"]
        lines.append(" & ".join(_latex_text(name) for name, _ in heads) + r" \\")
        lines.append(r"\hline")
        for row in group:
            lines.append(" & ".join(_latex_text(cell) for cell in cells(row, group, columns)) + r" \\")
        lines += [r"\hline", r"\end{tabular}", ""]
    lines += [f"% {note}" for note in footer(rows, metrics)]
    return "".join(text + "\n" for text in lines)


def groups(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The rows that may be compared with each other, under a title that says what they share."""
    for _, found in itertools.groupby(rows, key=lambda row: row.group()):
        group = list(found)
        first = group[0]
        parts = [
            f"{first.task} v{first.task_version}",
            f"source={first.source}",
            settings({name: value for name, value in first.options.items() if value != ""}),
        ]
        parts += [f"protocol {first.protocol}", f"budget {first.budget}"]
        yield ", ".join(part for part in parts if part), group


def scored(group: Sequence[Row], metrics: Sequence[Metric]) -> list[Metric]:
    """Those of the metrics that a row of the group has: their names may hang on a task's options."""
    return [metric for metric in metrics if any(metric.name in row.metrics for row in group)]


def _has_published(group: Sequence[Row], metric: Metric) -> bool:
    return any(metric.name in row.published for row in group)


def header(group: Sequence[Row], metrics: Sequence[Metric]) -> list[tuple[str, bool]]:
    """The columns: a name, and whether it holds numbers; "published" only where something was."""
    columns = [("rank", True), ("model", False), ("sampler", False), ("n", True)]
    for metric in metrics:
        unit = "" if metric.unit in ("", metric.name) else f" ({metric.unit})"
        columns.append((metric.name + unit, True))
        if _has_published(group, metric):
            columns.append(("published", True))
    return [*columns, ("tier", False)]


def place(row: Row, group: Sequence[Row]) -> str:
    """The rank as it is shown: "1", or "1=" where it is shared; "" for a row without one."""
    if row.rank is None:
        return ""
    return f"{row.rank}=" if sum(other.rank == row.rank for other in group) > 1 else str(row.rank)


def cells(row: Row, group: Sequence[Row], metrics: Sequence[Metric]) -> list[str]:
    """The text of each column of `header` for one row of its group."""
    config, knobs = changed(row)
    model = f"{row.model}:{row.variant}" if row.variant else row.model
    kind = "(control)" if row.kind == "control" else ""
    cells = [
        place(row, group),
        _join(model, config, kind),
        _join(row.sampler or "", knobs),
    ]
    cells.append(str(len(row.seeds)))
    for metric in metrics:
        cell, reference = row.metrics.get(metric.name), row.published.get(metric.name)
        cells.append(spelled(cell.interval.mean, cell.interval.half_width) if cell else "")
        if _has_published(group, metric):
            cells.append(
                spelled_published(reference.value, reference.plus_minus, reference.confidence)
                if reference
                else ""
            )
    return [*cells, row.tier]


def changed(row: Row) -> tuple[str, str]:
    """The settings that a row changed, as text: the model's, and the knobs of its sampler."""
    # A knob is overridden as "sampler.knob"; beside the sampler its name need not be said again.
    prefix = f"{row.sampler}."
    knobs = {k.removeprefix(prefix): v for k, v in row.overrides.items() if k.startswith(prefix)}
    config = {k: v for k, v in row.overrides.items() if not k.startswith(prefix)}
    return settings(config), settings(knobs)


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def settings(values: dict[str, Any]) -> str:
    """`name=value` of each, by name."""
    shown = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return " ".join(f"{name}={value}" for name, value in sorted(shown.items()))


def spelled(mean: float, half_width: float | None) -> str:
    """The mean, to the second significant digit of the half-width; to four of its own without one."""
    if not half_width:
        plain = _fixed(mean, 4, mean)
        return plain if half_width is None else f"{plain} ± 0"
    return f"{_fixed(mean, 2, half_width)} ± {_fixed(half_width, 2, half_width)}"


def _fixed(value: float, digits: int, scale: float) -> str:
    """`value` with as many decimals as `scale` needs for `digits` significant ones."""
    decimals = digits - 1 - math.floor(math.log10(abs(scale))) if scale else 0
    # Beyond these a row of zeros says less than an exponent.
    return f"{value:.{max(0, decimals)}f}" if decimals <= 8 and abs(value) < 1e9 else f"{value:.3e}"


def spelled_published(value: float, plus_minus: float | None, confidence: str) -> str:
    """A published number as its source has it, and how sure that is where it was not seen there."""
    shown = f"{value:g}" if plus_minus is None else f"{value:g} ± {plus_minus:g}"
    return shown if confidence == "verbatim" else f"{shown} ({confidence})"


def footer(rows: Sequence[Row], metrics: Sequence[Metric]) -> list[str]:
    """What the numbers mean: level, method, n; how rows were ranked; what was left out."""
    if not rows:
        return []
    n = sorted({len(row.seeds) for row in rows})
    seeds = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
    lines = [
        f"mean ± half-width of the {rows[0].level:.0%} interval, Student t over the seeds ({seeds}); "
        "one seed has no interval."
    ]
    deciding = [m for m in metrics if m.primary and m.better != "neither"]
    by_group = (scored(group, deciding) for _, group in groups(rows))
    orders = [[f"{m.name} ({m.better} is better)" for m in found] for found in by_group if found]
    if orders:
        lines.append(
            f"rank by {', or by '.join(dict.fromkeys(', then '.join(order) for order in orders))}; "
            "rows that a paired t-test cannot tell apart (p of 0.05 or more) tie."
        )
    sources = {reference.source for row in rows for reference in row.published.values()}
    if sources:
        lines.append("published: " + "; ".join(sorted(sources)) + ".")
    for row in rows:
        name = _join(f"{row.model}:{row.variant}" if row.variant else row.model, row.sampler or "")
        lines += [f"{name}, {row.budget}, {row.protocol}: {note}." for note in row.notes]
    return lines


def _markdown_text(text: str) -> str:
    for character in "\\`*_[]|<>":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
}


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
