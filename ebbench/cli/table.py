"""`ebbench table`: the results of one task, one row a model, configuration, sampler and budget."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ebbench.contract import Metric
    from ebbench.table import Row


def table(
    task: Annotated[str, typer.Option(help="A task's name, or the path of its folder.")],
    format_: Annotated[
        str,
        typer.Option("--format", help="rich, json, csv, markdown or latex; json and csv hold every metric."),
    ] = "rich",
    results: Annotated[Path, typer.Option(help="The folder with the results.")] = Path("results"),
    budget: Annotated[str, typer.Option(help="Only this budget.")] = "",
    protocol: Annotated[str, typer.Option(help="Only this protocol.")] = "",
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="Show every metric, not the primary ones only.")
    ] = False,
) -> None:
    """Show the results of a task: mean and interval over the seeds, beside the published numbers.

    A result file that cannot be read is named on stderr and left out; the exit code is then 1.
    """
    from ebbench import loader
    from ebbench import table as tables
    from ebbench.errors import unknown
    from ebbench.result import load_all
    from ebbench.spec import BUDGETS

    if format_ not in _FORMATS:
        raise unknown("format", format_, _FORMATS, where="--format")
    plugin = loader.load("task", task)
    found, problems = load_all(results)
    rows = tables.rows(found, plugin.name, metrics=plugin.cls.metrics, published=plugin.cls.published)
    budgets, protocols = {*BUDGETS, *(row.budget for row in rows)}, set(plugin.cls.protocols)
    if budget and budget not in budgets:
        raise unknown("budget", budget, budgets, where="--budget")
    if protocol and protocol not in protocols:
        raise unknown("protocol", protocol, protocols, where=f"task '{plugin.name}'")
    rows = [row for row in rows if budget in ("", row.budget) and protocol in ("", row.protocol)]
    scored = {name for row in rows for name in row.metrics}
    metrics = [m for m in plugin.cls.metrics if m.name in scored or not rows]
    shown = [m for m in metrics if m.primary or all_metrics] or metrics
    _FORMATS[format_](rows, shown)
    if not rows:
        typer.echo(f"no results of task '{plugin.name}' in {results}", err=True)
    for problem in problems:
        typer.echo(f"left out: {problem.path}: {problem.reason}", err=True)
    if problems:
        raise typer.Exit(1)


def _json(rows: Sequence[Row], metrics: Sequence[Metric]) -> None:
    typer.echo(json.dumps([row.as_json() for row in rows], indent=2, ensure_ascii=False, allow_nan=False))


def _csv(rows: Sequence[Row], metrics: Sequence[Metric]) -> None:
    import csv
    import io

    names = list(dict.fromkeys(name for row in rows for name in (*row.metrics, *row.published)))
    lines = [_flat(row, names) for row in rows]
    text = io.StringIO()
    # No rows, no metrics: the header holds the columns that do not depend on them.
    writer = csv.DictWriter(text, list(lines[0]) if lines else list(_FLAT), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    typer.echo(text.getvalue(), nl=False)


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


def _rich(rows: Sequence[Row], metrics: Sequence[Metric]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width: nothing may be folded or cut
    for title, group in _groups(rows):
        # Text, not str: the "[" of a setting would be read as markup.
        sheet = Table(title=Text(title), title_justify="left", title_style="bold")
        for name, numeric in _header(group, metrics):
            sheet.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
        for row in group:
            cells = [Text(cell) for cell in _cells(row, group, metrics)]
            sheet.add_row(*cells, style="dim" if row.kind == "control" else "")
        console.print(sheet)
    for line in _footer(rows, metrics):
        console.print(Text(line))


def _markdown(rows: Sequence[Row], metrics: Sequence[Metric]) -> None:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    for title, group in _groups(rows):
        header = _header(group, metrics)
        typer.echo(f"### {_markdown_text(title)}\n")
        typer.echo(line([_markdown_text(name) for name, _ in header]))
        typer.echo(line(["---:" if numeric else "---" for _, numeric in header]))
        for row in group:
            typer.echo(line([_markdown_text(cell) for cell in _cells(row, group, metrics)]))
        typer.echo("")
    for note in _footer(rows, metrics):
        typer.echo(_markdown_text(note) + "  ")


def _latex(rows: Sequence[Row], metrics: Sequence[Metric]) -> None:
    for title, group in _groups(rows):
        header = _header(group, metrics)
        columns = "".join("r" if numeric else "l" for _, numeric in header)
        lines = [f"% {title}", rf"\begin{{tabular}}{{{columns}}}", r"\hline"]
        lines.append(" & ".join(_latex_text(name) for name, _ in header) + r" \\")
        lines.append(r"\hline")
        for row in group:
            lines.append(" & ".join(_latex_text(cell) for cell in _cells(row, group, metrics)) + r" \\")
        typer.echo("\n".join([*lines, r"\hline", r"\end{tabular}", ""]))
    for note in _footer(rows, metrics):
        typer.echo(f"% {note}")


_FORMATS: dict[str, Callable[[Sequence[Row], Sequence[Metric]], None]] = {
    "rich": _rich,
    "json": _json,
    "csv": _csv,
    "markdown": _markdown,
    "latex": _latex,
}


def _groups(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The rows that may be compared with each other, under a title that says what they share."""
    for _, found in itertools.groupby(rows, key=lambda row: row.group()):
        group = list(found)
        first = group[0]
        parts = [
            f"{first.task} v{first.task_version}",
            f"source={first.source}",
            _settings({name: value for name, value in first.options.items() if value != ""}),
        ]
        parts += [f"protocol {first.protocol}", f"budget {first.budget}"]
        yield ", ".join(part for part in parts if part), group


def _has_published(group: Sequence[Row], metric: Metric) -> bool:
    return any(metric.name in row.published for row in group)


def _header(group: Sequence[Row], metrics: Sequence[Metric]) -> list[tuple[str, bool]]:
    """The columns: a name, and whether it holds numbers; "published" only where something was."""
    columns = [("rank", True), ("model", False), ("sampler", False), ("n", True)]
    for metric in metrics:
        unit = "" if metric.unit in ("", metric.name) else f" ({metric.unit})"
        columns.append((metric.name + unit, True))
        if _has_published(group, metric):
            columns.append(("published", True))
    return [*columns, ("tier", False)]


def _cells(row: Row, group: Sequence[Row], metrics: Sequence[Metric]) -> list[str]:
    shared = sum(other.rank == row.rank for other in group) > 1
    place = "" if row.rank is None else f"{row.rank}=" if shared else str(row.rank)
    # A sampler's knobs are overridden as "sampler.knob"; they belong in the sampler's column.
    prefix = f"{row.sampler}."
    knobs = {k.removeprefix(prefix): v for k, v in row.overrides.items() if k.startswith(prefix)}
    config = {k: v for k, v in row.overrides.items() if not k.startswith(prefix)}
    model = f"{row.model}:{row.variant}" if row.variant else row.model
    kind = "(control)" if row.kind == "control" else ""
    cells = [place, _join(model, _settings(config), kind), _join(row.sampler or "", _settings(knobs))]
    cells.append(str(len(row.seeds)))
    for metric in metrics:
        cell, reference = row.metrics.get(metric.name), row.published.get(metric.name)
        cells.append(_mean(cell.interval.mean, cell.interval.half_width) if cell else "")
        if _has_published(group, metric):
            cells.append(
                _published(reference.value, reference.plus_minus, reference.confidence) if reference else ""
            )
    return [*cells, row.tier]


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _settings(values: dict[str, Any]) -> str:
    shown = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return " ".join(f"{name}={value}" for name, value in sorted(shown.items()))


def _mean(mean: float, half_width: float | None) -> str:
    """The mean, to the second significant digit of the half-width; to four of its own without one."""
    if not half_width:
        plain = _fixed(mean, 4, mean)
        return plain if half_width is None else f"{plain} ± 0"
    return f"{_fixed(mean, 2, half_width)} ± {_fixed(half_width, 2, half_width)}"


def _fixed(value: float, digits: int, scale: float) -> str:
    """`value` with as many decimals as `scale` needs for `digits` significant ones."""
    import math

    decimals = digits - 1 - math.floor(math.log10(abs(scale))) if scale else 0
    # Beyond these a row of zeros says less than an exponent.
    return f"{value:.{max(0, decimals)}f}" if decimals <= 8 and abs(value) < 1e9 else f"{value:.3e}"


def _published(value: float, plus_minus: float | None, confidence: str) -> str:
    shown = f"{value:g}" if plus_minus is None else f"{value:g} ± {plus_minus:g}"
    return shown if confidence == "verbatim" else f"{shown} ({confidence})"


def _footer(rows: Sequence[Row], metrics: Sequence[Metric]) -> list[str]:
    """What the numbers mean: level, method, n; how rows were ranked; what was left out."""
    if not rows:
        return []
    n = sorted({len(row.seeds) for row in rows})
    seeds = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} to {n[-1]}"
    lines = [
        f"mean ± half-width of the {rows[0].level:.0%} interval, Student t over the seeds ({seeds}); "
        "one seed has no interval."
    ]
    deciding = [f"{m.name} ({m.better} is better)" for m in metrics if m.primary and m.better != "neither"]
    if deciding:
        lines.append(
            f"rank by {', then '.join(deciding)}; "
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
